//! What one peer may make us hold: the numbers every parser below is checked against.
//!
//! Holds no policy about rooms, rates or queues; those belong to the layers above.

/// Upper bounds on what a peer may send. Every bound is inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a request head, from the request line to the empty line inclusive.
    ///
    /// Default 8192 (8 KiB): what browsers with large cookies stay below and common proxies
    /// enforce. Set by `--max-head`.
    pub head_bytes_max: usize,
    /// Header lines in a request head.
    ///
    /// Default 64: browsers send about 20, proxies add about 10. Set by `--max-headers`.
    pub headers_max: usize,
    /// Payload bytes of one message, all its fragments together.
    ///
    /// Default 1048576 (1 MiB): the worst a single peer can make us hold while a message is
    /// incomplete. Set by `--max-message`.
    pub message_bytes_max: usize,
    /// Frames that one fragmented message may consist of, empty ones included.
    ///
    /// Default 1024: a message of 1 MiB in fragments of 1 KiB still passes, an endless train of
    /// empty fragments does not. Set by `--max-fragments`.
    pub fragments_max: u32,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            head_bytes_max: 8 * 1024,
            headers_max: 64,
            message_bytes_max: 1024 * 1024,
            fragments_max: 1024,
        }
    }
}
