//! What the endpoints of the server were told of each connection: exactly one close for each open.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use fanfare::ConnectionId;
use fanfare::config::Config;
use fanfare::endpoint::client_protocol::ClientProtocol;
use fanfare::endpoint::{
    Accept, Answer, CloseCause, Echo, Effects, Endpoint, EndpointSettings, Following, OpenRequest, Relay,
    Removal, Resource, RouterPlan,
};
use fanfare::protocol::{CloseCode, Message, Refusal};
use fanfare::rooms::RoomName;

/// One connection, as its endpoint saw it.
#[derive(Clone, Debug, Default)]
struct Told {
    closed: Option<CloseCause>,
    /// It was closed when nothing went wrong any more.
    closed_in_calm: bool,
}

#[derive(Clone, Debug, Default)]
pub struct Ledger {
    connections: Arc<Mutex<BTreeMap<String, Told>>>,
    /// Nothing goes wrong any more.
    pub calm: Arc<AtomicBool>,
}

impl Ledger {
    /// An endpoint whose calls are noted here.
    pub fn watch(&self, endpoint: impl Endpoint + 'static) -> Box<dyn Endpoint> {
        Box::new(Watched { endpoint, ledger: self.clone() })
    }

    /// The paths of a server, with endpoints that are watched.
    pub fn router_plan(&self, config: &Config) -> RouterPlan {
        let mut router = RouterPlan::default();
        router.add_rooms_door();
        let healthz = Resource { content_type: "text/plain", body: b"ok\n".into(), ..Resource::default() };
        router.add_resource("/healthz", healthz);
        let watch = self.clone();
        router.add_endpoint("/echo", Arc::new(move |_| watch.watch(Echo)));
        let watch = self.clone();
        let relay = Relay { member_publish: true };
        router.add_endpoint("/rooms/{room}", Arc::new(move |_| watch.watch(relay)));
        let watch = self.clone();
        let settings = config.endpoint_settings();
        let make = move || Following::new(ClientProtocol::new(settings), ClientProtocol::set_settings);
        router.add_endpoint("/connection/websocket", Arc::new(move |_| watch.watch(make())));
        router
    }

    fn with<R>(&self, connection: ConnectionId, act: impl FnOnce(&mut Told) -> R) -> R {
        let mut told = self.connections.lock().expect("no holder panics");
        let told = told.get_mut(&connection.to_string());
        act(told.unwrap_or_else(|| panic!("{connection} was not opened")))
    }

    /// Why a connection was closed that was open, by its own id.
    pub fn cause_of(&self, connection: &str) -> Option<CloseCause> {
        self.connections.lock().expect("no holder panics").get(connection)?.closed.clone()
    }

    /// Whether a connection that was open was closed when nothing went wrong any more: then it hears why.
    pub fn closed_in_calm(&self, connection: &str) -> bool {
        let told = self.connections.lock().expect("no holder panics");
        told.get(connection).is_some_and(|told| told.closed_in_calm)
    }

    /// At the end: whoever was opened has been closed.
    pub fn conclude(&self) {
        for (connection, told) in self.connections.lock().expect("no holder panics").iter() {
            assert!(told.closed.is_some(), "{connection} was never closed: {told:?}");
        }
    }
}

struct Watched<E> {
    endpoint: E,
    ledger: Ledger,
}

impl<E: Endpoint> Watched<E> {
    fn is_open(&self, connection: ConnectionId) {
        let closed = self.ledger.with(connection, |told| told.closed.clone());
        assert!(closed.is_none(), "{connection} was closed before: {closed:?}");
    }
}

impl<E: Endpoint> Endpoint for Watched<E> {
    fn open<'m>(
        &mut self,
        connection: ConnectionId,
        request: &OpenRequest<'_>,
        effects: &mut Effects<'m>,
    ) -> Result<Accept, Refusal> {
        let accept = self.endpoint.open(connection, request, effects)?;
        let mut told = self.ledger.connections.lock().expect("no holder panics");
        let before = told.insert(connection.to_string(), Told::default());
        assert!(before.is_none(), "{connection} was opened before: {before:?}");
        Ok(accept)
    }

    fn message<'m>(&mut self, connection: ConnectionId, message: Message<'m>, effects: &mut Effects<'m>) {
        self.is_open(connection);
        self.endpoint.message(connection, message, effects);
    }

    fn answered<'m>(
        &mut self,
        connection: ConnectionId,
        question: u32,
        answer: Answer<'_>,
        effects: &mut Effects<'m>,
    ) {
        self.is_open(connection);
        self.endpoint.answered(connection, question, answer, effects);
    }

    fn removed<'m>(
        &mut self,
        connection: ConnectionId,
        room: &RoomName,
        removal: Removal,
        effects: &mut Effects<'m>,
    ) {
        self.is_open(connection);
        self.endpoint.removed(connection, room, removal, effects);
    }

    fn heartbeat<'m>(&mut self, connection: ConnectionId, effects: &mut Effects<'m>) {
        self.is_open(connection);
        self.endpoint.heartbeat(connection, effects);
    }

    fn close_with(&self, cause: &CloseCause) -> Option<(CloseCode, Cow<'static, str>)> {
        self.endpoint.close_with(cause)
    }

    fn close(&mut self, connection: ConnectionId, cause: &CloseCause) {
        self.is_open(connection);
        let calm = self.ledger.calm.load(Ordering::Relaxed);
        self.ledger.with(connection, |told| {
            told.closed = Some(cause.clone());
            told.closed_in_calm = calm;
        });
        self.endpoint.close(connection, cause);
    }

    fn reload(&mut self, settings: &EndpointSettings) {
        self.endpoint.reload(settings);
    }
}
