//! The WebSocket protocol as values and functions: bytes in, events out; messages in, bytes out.
//!
//! Nothing here owns a socket, a thread, a clock or a room. A driver reads bytes, wraps them in an
//! [`Input`], and pulls [`Event`]s out of a [`Connection`] until there are none left. What is to be
//! sent is appended to a buffer of the driver by [`push_server_frame`], [`push_close_frame`],
//! [`Upgrade::push_response`], [`push_http_response`] and their like.
//!
//! Covers RFC 6455 without extensions, and as much of HTTP/1.1 (RFC 9110, RFC 9112) as the opening
//! handshake and plain requests need: bodies that are held whole, persistent connections, pipelining; and what
//! proxies say of whom they speak for, in the PROXY protocol and in headers (RFC 7239).

mod close;
mod closing;
mod connection;
mod error;
mod handshake;
mod header;
mod limits;
mod mask;
mod message;
mod proxy_header;
mod shown;
mod utf8;

pub use close::{CLOSE_REASON_BYTES_MAX, CloseCode, parse_close, push_close_frame};
pub use closing::{Cause, Due, State, Transition, transition};
pub use connection::{Connection, Event, Input};
pub use error::{Failure, LimitError, ProtocolError};
pub use handshake::{
    Accepted, BodyLength, ClientHandshake, ForwardedHeader, ForwardedHeaderError, HandshakeError,
    Persistence, Refusal, Request, Upgrade, accept_key, body_too_large, push_continue, push_http_response,
    push_stream_head, reason_phrase,
};
pub use header::{
    CONTROL_FRAME_BYTES_MAX, Decoded, EncodedHeader, FrameHeader, Opcode, SERVER_HEADER_BYTES_MAX,
    decode_header, encode_server_header, push_client_frame, push_server_frame, server_frame_bytes,
};
pub use limits::Limits;
pub use mask::{MaskKeys, push_masked, push_unmasked, unmask};
pub use message::{Kind, Message, Role};
pub use proxy_header::{ProxyHeaderError, ProxySource};
pub use shown::shown;
pub use utf8::{InvalidUtf8, Utf8Validator};
