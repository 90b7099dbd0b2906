//! Layer 2: rooms. A room gives its messages one order for everybody; it knows no socket and no
//! frame on the wire.
//!
//! A room is an ordered log with a window of its latest messages ([`Room`]); all rooms together are the
//! [`Registry`], which forgets them when they are old or hold too much.
//!
//! Who is in a room stands under the room's own lock ([`Presence`]), and who of all may come back as the
//! one it was in a directory of its own ([`Returning`]).
//!
//! Five short locks exist here and nowhere else below the server: a room's own (to give offsets and to
//! read the window), a registry stripe's (to find a room by name), that of the queue of idle rooms (when
//! one is made or ended), that of the rules by room (when a room is made or gets a first member, or at a
//! reload), and that of the directory of who may come back (when a named connection comes or dies). The first
//! three are taken in the order idle, stripe, room, and that of the rules behind any of them; the last one alone.

mod batch;
mod idempotency;
mod identity;
mod lag;
mod live_limits;
mod log;
mod name;
mod position;
mod presence;
mod registry;
mod returning;
mod room;
mod rule;
mod traffic;

pub use batch::{Batch, Encoded, Encoding, Entry, Sender};
pub use idempotency::IDEMPOTENCY_KEY_BYTES_MAX;
pub use identity::{Identity, IdentityError, NAME_BYTES_MAX};
pub use lag::{LagPolicy, LagRule, LagRuleError};
pub use log::{Extent, HistoryLimits, OutOfWindow, Piece, ReadLimits};
pub use name::{ROOM_NAME_BYTES_MAX, RoomName, RoomNameError};
pub use position::{Epoch, Position, PositionError, Start};
pub use presence::{Entered, NoList, Presence, PresenceLevel, PresenceRule, PresenceStats, Present};
pub use registry::{Registry, RoomRules, RoomSettings, RoomSummary, TooManyRooms};
pub use returning::{RETURNING_MAX, Returning};
pub use room::{Published, Room, Route};
pub use rule::{Rule, RuleError, Word};
pub use traffic::{TRAFFIC_SPAN, Traffic};
