//! Connections that a back end ends, or takes out of a room.

use std::sync::Arc;

use crate::endpoint::{CloseCause, Removal};
use crate::id::ConnectionId;
use crate::protocol::CloseCode;
use crate::reactor::Io;
use crate::rooms::{Identity, RoomName};
use crate::slab::Key;

use super::mailbox::{RemovalOrder, RemovedFrom};
use super::session::{Flag, Session};
use super::{Core, Shard};

impl<I: Io> Shard<I> {
    /// Ends the connections that a back end wants ended, or takes them out of a room. Returns at how many
    /// it has looked.
    pub(super) fn remove_ordered(&mut self, order: &RemovalOrder) -> usize {
        let Shard { connections, core, .. } = self;
        let keys: Vec<Key> = connections.keys().collect();
        let looked_at = keys.len();
        for key in keys {
            let Some(slot) = connections.get_mut(key) else { continue };
            let (client, identity) = (core.client(key, &slot.session), core.identity(&slot.session));
            if slot.session.is(Flag::Ended) || !order.names(client, identity.map(Arc::as_ref)) {
                continue;
            }
            let cause = match &order.from {
                RemovedFrom::Server(code, reason) => Some(CloseCause::Api(*code, reason.clone())),
                RemovedFrom::Room(room) => core.remove_from(key, &mut slot.session, room),
            };
            if let Some(cause) = cause {
                core.finish(key, slot, cause);
            }
        }
        looked_at
    }
}

impl<S> Core<S> {
    /// Takes a connection out of a room. Where it cannot be told, its connection ends.
    fn remove_from(&mut self, key: Key, session: &mut Session, name: &RoomName) -> Option<CloseCause> {
        let room = self.rooms.find(name)?;
        let membership = self.rooms.membership_in(session.memberships, room)?;
        let encoding = self.rooms.membership(membership)?.encoding;
        if !encoding.tells_removal() {
            let reason = format!("removed from room {name} by a back end");
            return Some(CloseCause::Api(CloseCode::POLICY_VIOLATION, reason));
        }
        self.leave_room(key, session, name);
        self.tell_removed(key, session, name, Removal::Api)
    }
}

impl RemovalOrder {
    fn names(&self, client: ConnectionId, identity: Option<&Identity>) -> bool {
        let user = identity.map_or("", |identity| identity.user());
        self.client.is_none_or(|wanted| wanted == client)
            && self.user.as_deref().is_none_or(|wanted| wanted == user)
            && !self.spared.contains(&client)
    }
}
