//! Members that stop reading, and what the server has done to them in the end.

use fanfare::protocol::{Opcode, push_client_frame};
use fanfare::slab::Key;
use fanfare::time::Time;

use super::Worker;
use crate::load::peer::{Life, Reader};
use crate::load::plan::Part;

/// What a member that had stopped asks in a Ping at the end.
pub(super) const QUESTION: &[u8] = b"still there?";

/// What is read at most at the end by a member that had stopped: more than any kernel holds for it.
const REST_BYTES_MAX: usize = 64 << 20;

impl Worker<'_> {
    /// Reads no more from those that are to stall.
    pub(super) fn stall(&mut self) -> Result<(), String> {
        for key in self.keys() {
            let Some(peer) = self.peers.get_mut(key) else { continue };
            if matches!(peer.spec.part, Part::Stalling(_)) {
                self.traffic.tally.stalled.members += 1;
                let stopped = peer.stop(&mut self.io, key);
                stopped.map_err(|error| format!("cannot stop watching a socket: {error}"))?;
            }
        }
        Ok(())
    }

    /// Lets those that had stopped read again and send a Ping, and gives them. A server that has cut one may not
    /// have been able to say so, as the sockets were full: what it has done is known by its answer alone.
    pub(super) fn ask_stopped(&mut self, now: Time) -> Result<Vec<Key>, String> {
        // They have their own time.
        self.arrived = self.arrived.max(now);
        let mut asked = Vec::new();
        for key in self.keys() {
            let Some(peer) = self.peers.get_mut(key).filter(|peer| peer.has_stopped()) else { continue };
            // Servers that send back what they do not understand are not asked.
            if !matches!(peer.life, Life::Open(Reader::Strict(_))) {
                continue;
            }
            let resumed = peer.ask(&mut self.io, key, REST_BYTES_MAX);
            resumed.map_err(|error| format!("cannot watch a socket: {error}"))?;
            self.out.clear();
            push_client_frame(&mut self.out, Opcode::Ping, true, QUESTION, self.traffic.key());
            // What broke is found by the next read.
            let _ = peer.send(&mut self.io, key, &self.out);
            asked.push(key);
        }
        Ok(asked)
    }

    /// Reads what is left for a member that had stopped and was not asked.
    pub(super) fn read_rest(&mut self, key: Key) -> Result<(), String> {
        let mut rest = REST_BYTES_MAX;
        while rest > 0 {
            match self.receive(key)? {
                0 => return Ok(()),
                received => rest = rest.saturating_sub(received),
            }
        }
        Ok(())
    }
}
