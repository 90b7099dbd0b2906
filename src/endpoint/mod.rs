//! Layer 3: what a path means. An endpoint is told what happened on a connection and answers with
//! [`Effects`] as data; it sees no socket, no poller and no thread, so nothing can call back into it.
//!
//! This is the contract for embedders too: implement [`Endpoint`], give it a path with
//! [`crate::ServerBuilder::endpoint`].

pub mod api;
mod api_keys;
mod asks;
mod cause;
pub mod client_protocol;
mod dynamic;
mod echo;
mod effects;
pub mod events;
mod following;
pub mod http;
mod origin;
pub mod page;
mod query;
mod relay;
mod router;

use std::borrow::Cow;
use std::time::Duration;

use crate::id::ConnectionId;
use crate::protocol::{CloseCode, Message, Refusal};
use crate::rooms::RoomName;

pub use api_keys::{API_KEY_BYTES_MAX, API_KEY_BYTES_MIN, API_KEYS_MAX, ApiKeys, ApiKeysError, authorize};
pub use asks::{
    Answer, Ask, AskError, HistoryQuery, Messages, Recover, Removal, Subscribed, Subscription, Told,
};
pub use cause::{Behind, CloseCause, CloseKind, PeerRate, Scarcity};
pub use dynamic::{Asked, DynamicResource};
pub use echo::Echo;
pub use effects::{Audience, Effect, Effects, OwnMessages, Payload};
pub use following::Following;
pub use origin::{OriginPolicy, OriginRule, OriginRuleError};
pub use query::{QueryError, query_value};
pub use relay::Relay;
pub use router::{EndpointFactory, OpenRequest, Resolved, Resource, Router, RouterPlan};

/// An accepted WebSocket connection, as the endpoint wants it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accept {
    /// The subprotocol, one of those offered (RFC 6455 §4.2.2), or none.
    pub subprotocol: Option<String>,
    /// Whether it has to ask [`Ask::Introduce`] within `--handshake-timeout`.
    pub introduces_itself: bool,
    /// How the shard finds out whether it lives.
    pub heartbeat: Heartbeat,
}

/// How the shard finds out whether a silent peer lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Heartbeat {
    /// By a ping (RFC 6455 §5.5.2), after a silence of `--ping-interval`.
    #[default]
    Ping,
    /// By [`Endpoint::heartbeat`], every `--ping-interval`, whatever else comes and goes.
    Own,
}

/// What the endpoints of the `fanfare` binary are told, and others that want to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndpointSettings {
    /// Whether members may publish (`--member-publish`).
    pub member_publish: bool,
    /// Between two signs of life that a silent peer is asked for (`--ping-interval`).
    pub ping_interval: Duration,
    /// Commands of the client protocol in a second, and as many at once (`--command-rate`).
    pub command_rate: u32,
}

/// What the connections of one path do. Each shard has an instance of its own, so `&mut self` needs
/// no lock, and state that all shards must see belongs into a room.
///
/// The order of calls for one connection is `open`, any number of `message`, `close`. A panic in any
/// of them ends that connection (1011, or 500 in `open`) and leaves the others alone; the instance lives on, so
/// its own state should stay usable.
pub trait Endpoint: Send {
    /// A client asks to connect. The effects take place after the 101 response has been queued.
    ///
    /// # Errors
    ///
    /// A [`Refusal`] becomes the HTTP response; its effects are dropped and nothing else is called.
    fn open<'m>(
        &mut self,
        connection: ConnectionId,
        request: &OpenRequest<'_>,
        effects: &mut Effects<'m>,
    ) -> Result<Accept, Refusal>;

    /// A whole message arrived. Text is valid UTF-8.
    fn message<'m>(&mut self, connection: ConnectionId, message: Message<'m>, effects: &mut Effects<'m>);

    /// The answer to a question of [`Effects::ask`].
    fn answered<'m>(
        &mut self,
        connection: ConnectionId,
        question: u32,
        answer: Answer<'_>,
        effects: &mut Effects<'m>,
    ) {
        let _ = (connection, question, answer, effects);
    }

    /// The connection has been removed from a room that it had subscribed to with an encoding that can
    /// say so.
    fn removed<'m>(
        &mut self,
        connection: ConnectionId,
        room: &RoomName,
        removal: Removal,
        effects: &mut Effects<'m>,
    ) {
        let _ = (connection, room, removal, effects);
    }

    /// It is time to send what the peer has to answer within `--pong-timeout` ([`Heartbeat::Own`]).
    fn heartbeat<'m>(&mut self, connection: ConnectionId, effects: &mut Effects<'m>) {
        let _ = (connection, effects);
    }

    /// The code and the reason of the Close for this cause, where the endpoint's protocol has its own.
    fn close_with(&self, cause: &CloseCause) -> Option<(CloseCode, Cow<'static, str>)> {
        let _ = cause;
        None
    }

    /// The connection ended: exactly once for every `open` that accepted. One whose upgrade is refused all the
    /// same ([`CloseCause::Refused`]), as it joins a room from a position that is not held any more (410) or
    /// chose a subprotocol that was not offered (500), ends behind its `open`.
    fn close(&mut self, connection: ConnectionId, cause: &CloseCause) {
        let _ = (connection, cause);
    }

    /// The server goes on with other settings ([`crate::ServerHandle::reload`]). An endpoint with settings of
    /// its own keeps those; [`Following`] makes one go with the server's. A panic here ends no connection.
    fn reload(&mut self, settings: &EndpointSettings) {
        let _ = settings;
    }
}
