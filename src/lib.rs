//! A WebSocket fan-out server; so far its protocol layer and the base that it stands on.

pub mod protocol;
pub mod slab;
pub mod time;
