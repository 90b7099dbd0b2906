//! `/rooms/{room}`: connecting joins, and every message goes to the room's members as it is.

use super::http::{identity_from_query, start_from_query};
use super::{Accept, Effects, Endpoint, OpenRequest, OwnMessages};
use crate::id::ConnectionId;
use crate::protocol::{CloseCode, Message, Refusal};
use crate::rooms::RoomName;

/// Relays every message to all other members of the room that the path names; with `?echo=true` to
/// its sender too. `?last=N` and `?since=EPOCH:OFFSET` begin with messages of the past; `?name=` is who the
/// others see where senders and members are shown.
#[derive(Clone, Copy, Debug)]
pub struct Relay {
    /// Whether members may publish; if not, a message closes its connection with 1008.
    pub member_publish: bool,
}

impl Endpoint for Relay {
    fn open<'m>(
        &mut self,
        _: ConnectionId,
        request: &OpenRequest<'_>,
        effects: &mut Effects<'m>,
    ) -> Result<Accept, Refusal> {
        let room = RoomName::new(request.parameter("room").unwrap_or_default())
            .map_err(|error| Refusal::new(400, error.to_string()))?;
        let start = start_from_query(request.query("since")?.as_deref(), request.query("last")?.as_deref())?;
        if let Some(identity) = identity_from_query(request.query("name")?.as_deref())? {
            effects.name(identity);
        }
        effects.join_from(room, own_messages(request)?, start);
        Ok(Accept::default())
    }

    fn message<'m>(&mut self, _: ConnectionId, message: Message<'m>, effects: &mut Effects<'m>) {
        if self.member_publish {
            effects.publish(message);
        } else {
            let reason = "members may not publish here, only read (--member-publish)";
            effects.close(CloseCode::POLICY_VIOLATION, reason);
        }
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
