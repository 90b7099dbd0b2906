//! `/echo`: every message comes back, its type kept.

use super::{Accept, Effects, Endpoint, OpenRequest};
use crate::id::ConnectionId;
use crate::protocol::{Message, Refusal};

/// Sends every message back to its sender.
#[derive(Clone, Copy, Debug, Default)]
pub struct Echo;

impl Endpoint for Echo {
    fn open<'m>(
        &mut self,
        _: ConnectionId,
        _: &OpenRequest<'_>,
        _: &mut Effects<'m>,
    ) -> Result<Accept, Refusal> {
        Ok(Accept::default())
    }

    fn message<'m>(&mut self, _: ConnectionId, message: Message<'m>, effects: &mut Effects<'m>) {
        effects.send(message);
    }
}
