//! Layer 2: rooms. A room gives its messages one order for everybody; it knows no socket and no
//! frame on the wire.
//!
//! Two short locks exist here and nowhere else below the server: a registry stripe's (taken when a
//! shard's first member joins or its last one leaves) and a room's own (taken to give offsets). A
//! stripe's lock may be held while a room's is taken, never the other way round.

mod batch;
mod idempotency;
mod lag;
mod log;
mod name;
mod position;
mod registry;
mod room;

pub use batch::{Batch, Encoded, Encoding, Entry, Sender};
pub use idempotency::IDEMPOTENCY_KEY_BYTES_MAX;
pub use lag::{LagPolicy, LagRule, LagRuleError};
pub use log::{Extent, HistoryLimits, OutOfWindow, Piece};
pub use name::{ROOM_NAME_BYTES_MAX, RoomName, RoomNameError};
pub use position::{Epoch, Position, PositionError, Start};
pub use registry::{Registry, RoomSettings, RoomSummary};
pub use room::{Forgotten, Published, Room, Route};
