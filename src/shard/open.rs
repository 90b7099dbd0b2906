//! Opening a WebSocket: the endpoint decides, the rooms that it wants joined are joined, and only then
//! is the 101 sent, so that a position that cannot be honoured refuses the upgrade.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::endpoint::http::{CLIENT_HEADER, EPOCH_HEADER, FROM_HEADER, OFFSET_HEADER, gone};
use crate::endpoint::{CloseCause, Effect, Effects, Heartbeat, OpenRequest};
use crate::id::ConnectionId;
use crate::protocol::Refusal;
use crate::reactor::Tick;
use crate::rooms::{Encoding, OutOfWindow};
use crate::slab::Key;

use super::http::RESPONSE_BYTES;
use super::membership::{JoinError, Joined, Wish};
use super::session::{Flag, Session};
use super::{Core, Step};

impl<S> Core<S> {
    /// Asks the endpoint whether a connection may open, and answers the request.
    pub(super) fn open(
        &mut self,
        key: Key,
        session: &mut Session,
        endpoint: u16,
        open: &OpenRequest<'_>,
    ) -> Step {
        let id = self.connection_id(key);
        let mut effects = self.take_effects();
        let instance = self.router.endpoint(endpoint).expect("the plan made the router");
        let opened = catch_unwind(AssertUnwindSafe(|| instance.open(id, open, &mut effects)));
        let accept = match opened {
            Ok(Ok(accept)) => accept,
            Ok(Err(refusal)) => return self.refuse(session, &refusal),
            Err(_) => return Step::Finish(CloseCause::EndpointPanic),
        };
        let chosen = accept.subprotocol.as_deref();
        if chosen.is_some_and(|chosen| !open.subprotocols().any(|offered| offered == chosen)) {
            tracing::error!(path = %open.path().escape_debug(), "the endpoint chose a subprotocol that was not offered");
            let refusal = Refusal::new(500, "internal error".to_owned());
            return self.refuse_accepted(id, session, endpoint, &refusal);
        }
        let joined = match self.join_first(key, session, &mut effects) {
            Ok(joined) => joined,
            Err(refusal) => {
                self.leave_rooms(key, session, false);
                return self.refuse_accepted(id, session, endpoint, &refusal);
            }
        };
        session.endpoint = endpoint;
        session.set(Flag::IntroducesItself, accept.introduces_itself);
        session.deadline = Tick::after(self.now + self.settings.handshake_timeout);
        session.set(Flag::OwnHeartbeat, accept.heartbeat == Heartbeat::Own);
        let mut headers = vec![(CLIENT_HEADER, self.client(key, session).to_string())];
        headers.extend(joined.iter().flat_map(position_headers));
        let headers: Vec<(&str, &str)> =
            headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        session.outbound.push_response(&mut self.arena, RESPONSE_BYTES, |out| {
            open.upgrade().push_response(out, chosen, &headers);
        });
        self.mark_dirty(key.index(), session);
        Step::Accept(self.apply(key, session, effects))
    }

    /// Refuses what the endpoint had accepted, which hears of it as of every end.
    fn refuse_accepted(
        &mut self,
        id: ConnectionId,
        session: &mut Session,
        endpoint: u16,
        refusal: &Refusal,
    ) -> Step {
        self.tell_endpoint(id, endpoint, &CloseCause::Refused(refusal.status));
        self.refuse(session, refusal)
    }

    /// Joins the rooms among the effects and takes that out of them; returns where it begins in the first.
    fn join_first(
        &mut self,
        key: Key,
        session: &mut Session,
        effects: &mut Effects<'_>,
    ) -> Result<Option<Joined>, Refusal> {
        let (mut first, mut joins) = (None, 0);
        for effect in effects.list() {
            let (name, own, start) = match effect {
                Effect::Join(name, own, start) => (name, *own, *start),
                Effect::Name(identity) => {
                    self.set_persona(key, session, Some(Arc::new(identity.clone())), None);
                    continue;
                }
                Effect::Close(..) => break,
                _ => continue,
            };
            let wish = Wish { own, start, encoding: Encoding::Frames, watches: false };
            match self.try_join(key, session, name, wish) {
                Ok(joined) => {
                    first = first.or(Some(joined));
                    joins += 1;
                }
                // The endpoint asked for it: it is said in a Close, as for one that asks later.
                Err(JoinError::TooManyMemberships) => break,
                Err(JoinError::OutOfWindow(OutOfWindow(extent))) => {
                    let wanted = start.wanted(extent.position());
                    return Err(gone(name, wanted, extent.position(), extent.first()));
                }
            }
        }
        effects.forget_joins(joins);
        Ok(first)
    }
}

/// The headers that say where in its room a connection begins.
pub(super) fn position_headers(joined: &Joined) -> [(&'static str, String); 3] {
    [
        (EPOCH_HEADER, joined.extent.epoch.to_string()),
        (OFFSET_HEADER, joined.extent.last.to_string()),
        (FROM_HEADER, joined.from.to_string()),
    ]
}
