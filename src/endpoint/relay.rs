//! `/rooms/{room}`: connecting joins, and every message goes to the room's members as it is.

use super::{Accept, Effects, Endpoint, OpenRequest, OwnMessages};
use crate::id::ConnectionId;
use crate::protocol::{Message, Refusal};
use crate::rooms::RoomName;

/// Relays every message to all other members of the room that the path names; with `?echo=true` to
/// its sender too.
#[derive(Clone, Copy, Debug, Default)]
pub struct Relay;

impl Endpoint for Relay {
    fn open<'m>(
        &mut self,
        _: ConnectionId,
        request: &OpenRequest<'_>,
        effects: &mut Effects<'m>,
    ) -> Result<Accept, Refusal> {
        let room = RoomName::new(request.parameter("room").unwrap_or_default())
            .map_err(|error| Refusal::new(400, error.to_string()))?;
        effects.join(room, own_messages(request)?);
        Ok(Accept::default())
    }

    fn message<'m>(&mut self, _: ConnectionId, message: Message<'m>, effects: &mut Effects<'m>) {
        effects.publish(message);
    }
}

fn own_messages(request: &OpenRequest<'_>) -> Result<OwnMessages, Refusal> {
    match request.query("echo")?.as_deref() {
        None | Some("false") => Ok(OwnMessages::Skip),
        Some("true") => Ok(OwnMessages::Receive),
        Some(other) => Err(Refusal::new(
            400,
            format!("echo={} is not allowed here; echo=true or echo=false is", other.escape_debug()),
        )),
    }
}
