//! Who a connection is to others: most are known by their own id and say nothing of themselves, and take no
//! memory for it.

use std::sync::Arc;

use crate::id::ConnectionId;
use crate::rooms::Identity;
use crate::slab::{Key, NONE, Slab};

use super::Core;
use super::publish::Publisher;
use super::session::Session;

/// Who a connection is to others.
#[derive(Debug)]
struct Persona {
    /// Its own id, or that of the connection that it comes back for.
    client: ConnectionId,
    /// What it says of itself.
    identity: Option<Arc<Identity>>,
}

/// Those connections of a shard that have more than their own id.
#[derive(Debug, Default)]
pub struct Personas(Slab<Persona>);

impl Personas {
    /// Forgets who a connection was.
    pub fn remove(&mut self, session: &mut Session) {
        self.0.remove_at(std::mem::replace(&mut session.persona, NONE));
    }
}

impl<S> Core<S> {
    /// How others know a connection: by its own id, or that of the connection that it comes back for.
    pub(super) fn client(&self, key: Key, session: &Session) -> ConnectionId {
        let persona = self.personas.0.at(session.persona);
        persona.map_or_else(|| self.connection_id(key), |persona| persona.client)
    }

    /// What a connection says of itself.
    pub(super) fn identity<'a>(&'a self, session: &Session) -> Option<&'a Arc<Identity>> {
        self.personas.0.at(session.persona)?.identity.as_ref()
    }

    /// Has a connection say something of itself, and be known as `client` if that is not its own id.
    pub(super) fn set_persona(
        &mut self,
        key: Key,
        session: &mut Session,
        identity: Option<Arc<Identity>>,
        client: Option<ConnectionId>,
    ) {
        let own = self.connection_id(key);
        let client = client.unwrap_or_else(|| self.client(key, session));
        match self.personas.0.at_mut(session.persona) {
            Some(persona) => *persona = Persona { client, identity },
            None if identity.is_none() && client == own => {}
            None => session.persona = self.personas.0.insert(Persona { client, identity }).index(),
        }
    }

    /// A connection as the publisher of a message.
    pub(super) fn publisher(&self, key: Key, session: &Session) -> Publisher {
        match self.personas.0.at(session.persona) {
            None => Publisher { connection: key, client: self.connection_id(key), identity: None },
            Some(Persona { client, identity }) => {
                Publisher { connection: key, client: *client, identity: identity.clone() }
            }
        }
    }
}
