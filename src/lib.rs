//! A WebSocket fan-out server: a message that enters a room leaves to everyone in it, on every core,
//! in the same order, and no slow, dead or hostile peer can hurt anybody else.
//!
//! # Embedding
//!
//! ```
//! use fanfare::endpoint::{Accept, Effects, Endpoint, OpenRequest};
//! use fanfare::protocol::{Message, Refusal};
//! use fanfare::{Config, ConnectionId, ServerBuilder};
//!
//! /// Answers every text in capitals.
//! struct Shout;
//!
//! impl Endpoint for Shout {
//!     fn open<'m>(
//!         &mut self,
//!         _: ConnectionId,
//!         _: &OpenRequest<'_>,
//!         effects: &mut Effects<'m>,
//!     ) -> Result<Accept, Refusal> {
//!         effects.send("say something");
//!         Ok(Accept::default())
//!     }
//!
//!     fn message<'m>(&mut self, _: ConnectionId, message: Message<'m>, effects: &mut Effects<'m>) {
//!         if let Some(text) = message.text() {
//!             effects.send(text.to_uppercase());
//!         }
//!     }
//! }
//!
//! # fn main() -> Result<(), fanfare::StartError> {
//! let config = Config { listen: vec!["127.0.0.1:0".parse().unwrap()], ..Config::default() };
//! let server = ServerBuilder::standard(config).endpoint("/shout", |_shard| Shout).start()?;
//! println!("ws://{}/shout", server.addresses()[0]);
//! server.handle().shutdown(); // a real program would do this when it is told to stop
//! server.wait();
//! # Ok(())
//! # }
//! ```
//!
//! # Architecture
//!
//! ```text
//! acceptor thread ── Adopt(socket), round robin ──▶ shard 0 … N-1   one pinned thread each
//!                                                     │   Poller + slab of connections + local rooms
//!   bytes ─▶ protocol::Connection ─▶ Message ─▶ endpoint ─▶ effects ─┬─▶ publish queue ─▶ room gives offsets
//!   bytes ◀─ one send per turn ◀─ own queue, then cursors ◀─ mailbox ◀┴── crossbeam channel: Arc batches
//! ```
//!
//! One way in, one way out, nothing calls back up. The protocol sees no socket and no clock. The
//! endpoint sees neither poller nor frames. The reactor sees bytes and readiness, no room.
//!
//! An endpoint that needs to know what came of something asks ([`endpoint::Ask`]): the shard carries the
//! question out in its place among the effects and hands the answer to the endpoint, whose effects follow.
//! [`endpoint::client_protocol`] is built so: the protocol of others' SDKs, whose channels are our rooms.
//! Requests over HTTP become calls as values ([`endpoint::http`] for rooms, [`endpoint::api`] for the server
//! API of the same protocol), which the shard carries out and answers.
//!
//! A room is an ordered log, and the log is the send queue ([`rooms`]): its window of the latest messages
//! is the history, the source for who comes back, and what a slow member is served from. A membership is a
//! cursor into it. What arrives is sent to all members that are in step from the very same batches, over several
//! turns if they are many; a connection owns only its answers and the frame that is half out.
//!
//! Who gets in is decided before the shards, on the acceptor's thread: how many handshakes a second, how many
//! connections an address may have, and whether memory and descriptors are nearly used up; then nobody else is let
//! in, and shards are told to end slow consumers (admission and shedding). Those who operate the server meet a second,
//! small one, the admin listener, which reads counters where they are and asks shards by their mailboxes. A reload
//! checks all new settings before the first is taken, and hands them to the acceptor and to each shard as values;
//! no connection ends by it.
//!
//! | layer | module | knows | never names |
//! |---|---|---|---|
//! | 0 base | [`time`], [`rate`], [`flood`], [`slab`], [`id`], [`network`], `sync`, `mutant` (faults for a test) | – | everything else |
//! | 1 protocol | [`protocol`] | RFC 6455 over byte slices, both roles | sockets, `std::io`, threads, clocks, rooms |
//! | 2 reactor | [`reactor`] | sockets, readiness, timers, wake-ups: [`reactor::Io`], [`reactor::Listen`] | frames, rooms, endpoints |
//! | 2 rooms | [`rooms`] | a room's log, its window, who is there, and where it goes | sockets, pollers, frames |
//! | 3 endpoint | [`endpoint`] | what a path means | sockets, pollers, threads |
//! | 4 shard | [`shard`] | joins the above: the turn, the mailbox, effects, outbound queues | listeners, affinity, signals |
//! | 5 server | [`server`], [`config`], the binary | listeners, cores, signals, start and stop | – |
//! | 5 service | `src/service/`, in the binary | signals, the service manager | endpoints, rooms, sockets of peers |
//! | 5 logs | `--log`, in the binary | records: to standard error or the journal | everything else |
//! | 5 load | `fanfare load`, in the binary | what a server looks like from outside | endpoints, rooms, shards |
//!
//! A test (`tests/tidy.rs`) holds the code to this table. The turn of a shard is described in
//! [`shard`]; start reading there, then [`protocol::Connection`], then [`endpoint::Endpoint`].
//!
//! # Invariants
//!
//! 1. A member of a room receives every message of the room once, in offset order, the same on every
//!    shard, from where it begins until its connection is closed with a code that says why; unless the
//!    room's lag policy lets it skip, which is counted. A position is honoured in full or not at all.
//! 2. Limits are checked before allocating and before queueing, against the bytes that are really
//!    pinned, overhead included. Every limit is on; none can be switched off.
//! 3. `close` of an endpoint runs exactly once per accepted `open`; every close has one cause
//!    ([`endpoint::CloseCause`]), and the frame, the log line and the counter come from it.
//! 4. The same bytes give the same events however they are split; time is a parameter.
//! 5. No thread is created per connection or message. On the steady path a message allocates nothing
//!    per receiver, and an idle connection owns no heap beside its slab slot
//!    ([`shard::Shard::CONNECTION_BYTES`]).
//! 6. Below the server only [`rooms`] locks: a room's own lock to give offsets, to read its window and to
//!    list who is there, a stripe of the registry when a room is looked up by name, the queue of idle rooms
//!    when one is made or ended, the rules by room when one is made or gets a first member, and the list of
//!    those who died and may come back. All are short, and nothing
//!    blocks under them. The server's table of addresses has one more, which a shard meets when a proxy has
//!    named a client ([`shard::AddressGate`]), and nowhere else.

#![warn(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]

pub mod config;
pub mod endpoint;
pub mod flood;
pub mod id;
#[cfg(feature = "mutants")]
pub mod mutant;
#[cfg(not(feature = "mutants"))]
mod mutant;
pub mod network;
pub mod protocol;
pub mod rate;
pub mod reactor;
pub mod rooms;
pub mod server;
pub mod shard;
pub mod slab;
#[cfg(loom)]
pub mod sync;
#[cfg(not(loom))]
mod sync;
pub mod time;

pub use config::{Config, ConfigError};
pub use id::{ConnectionId, ShardId};
pub use server::{ReloadError, ReloadReport, Server, ServerBuilder, ServerHandle, StartError};
