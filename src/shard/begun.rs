//! What members who joined in this turn begin with. It is read together with the join: at the flush the
//! room's window may have moved on, and who wants all of it would never get it from a busy room.

use std::collections::HashMap;

use crate::rooms::{Extent, LagPolicy, OutOfWindow, Piece, ReadLimits, Room, Start};
use crate::time::Time;

use super::TURN_BYTES_HIGH;

/// What is kept for one: about what a turn sends to one who catches up.
const BEGIN_READ: ReadLimits =
    ReadLimits { bytes_max: TURN_BYTES_HIGH, messages_max: u64::MAX, batches_max: 256 };

/// The pieces by membership, until the end of the turn.
#[derive(Debug, Default)]
pub struct Begun(HashMap<u32, Vec<Piece>>);

impl Begun {
    /// Keeps what a membership begins with.
    pub fn keep(&mut self, membership: u32, pieces: Vec<Piece>) {
        if !pieces.is_empty() {
            self.0.insert(membership, pieces);
        }
    }

    /// Reads behind a membership's cursor, and says whether there was something.
    pub fn read(&self, membership: u32, cursor: u64, batches_max: usize, pieces: &mut Vec<Piece>) -> bool {
        let Some(kept) = self.0.get(&membership) else { return false };
        let from = kept.partition_point(|piece| piece.last_offset() <= cursor);
        pieces.extend(kept[from..].iter().take(batches_max).map(|piece| piece.behind(cursor)));
        from < kept.len()
    }

    /// Lets go of what one membership begins with.
    pub fn forget(&mut self, membership: u32) {
        self.0.remove(&membership);
    }

    /// Lets go of everything.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

/// Reads what a member begins with. Where only ever the newest message is sent, no more can be promised.
pub fn begin(
    (room, policy): (&Room, LagPolicy),
    start: Start,
    now: Time,
    pieces: &mut Vec<Piece>,
) -> Result<(u64, Extent), OutOfWindow> {
    let only_newest = policy == LagPolicy::Latest;
    let start = match start {
        Start::Last(count) if only_newest => Start::Last(count.min(1)),
        other => other,
    };
    let (from, extent) = room.read_from(start, now, BEGIN_READ, pieces)?;
    if only_newest && from + 1 < extent.last {
        return Err(OutOfWindow(extent));
    }
    Ok((from, extent))
}
