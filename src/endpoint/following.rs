//! An endpoint that goes with the server's settings, where those of its own type may have others.

use std::borrow::Cow;

use super::{Accept, Answer, CloseCause, Effects, Endpoint, EndpointSettings, OpenRequest, Removal};
use crate::id::ConnectionId;
use crate::protocol::{CloseCode, Message, Refusal};
use crate::rooms::RoomName;

/// An endpoint, and how it takes other settings.
#[derive(Debug)]
pub struct Following<E> {
    endpoint: E,
    take: fn(&mut E, &EndpointSettings),
}

impl<E> Following<E> {
    /// Makes `endpoint` go with the settings; `take` hands it those of a reload.
    pub fn new(endpoint: E, take: fn(&mut E, &EndpointSettings)) -> Following<E> {
        Following { endpoint, take }
    }
}

impl<E: Endpoint> Endpoint for Following<E> {
    fn open<'m>(
        &mut self,
        connection: ConnectionId,
        request: &OpenRequest<'_>,
        effects: &mut Effects<'m>,
    ) -> Result<Accept, Refusal> {
        self.endpoint.open(connection, request, effects)
    }

    fn message<'m>(&mut self, connection: ConnectionId, message: Message<'m>, effects: &mut Effects<'m>) {
        self.endpoint.message(connection, message, effects);
    }

    fn answered<'m>(
        &mut self,
        connection: ConnectionId,
        question: u32,
        answer: Answer<'_>,
        effects: &mut Effects<'m>,
    ) {
        self.endpoint.answered(connection, question, answer, effects);
    }

    fn removed<'m>(
        &mut self,
        connection: ConnectionId,
        room: &RoomName,
        removal: Removal,
        effects: &mut Effects<'m>,
    ) {
        self.endpoint.removed(connection, room, removal, effects);
    }

    fn heartbeat<'m>(&mut self, connection: ConnectionId, effects: &mut Effects<'m>) {
        self.endpoint.heartbeat(connection, effects);
    }

    fn close_with(&self, cause: &CloseCause) -> Option<(CloseCode, Cow<'static, str>)> {
        self.endpoint.close_with(cause)
    }

    fn close(&mut self, connection: ConnectionId, cause: &CloseCause) {
        self.endpoint.close(connection, cause);
    }

    fn reload(&mut self, settings: &EndpointSettings) {
        (self.take)(&mut self.endpoint, settings);
    }
}
