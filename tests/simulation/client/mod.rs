//! Who talks to the server: each kind of client says its own and checks what it is told.

use crate::chance::Chance;
use crate::ledger::Ledger;
use crate::plan::Plan;
use crate::truth::Truth;

mod api;
mod echo;
mod events;
mod forms;
mod hostile;
mod http;
mod member;
mod sdk;

pub use echo::EchoClient;
pub use events::EventsClient;
pub use hostile::Hostile;
pub use http::HttpClient;
pub use member::Member;
pub use sdk::Sdk;

/// What a client has at hand when it is its turn.
pub struct Hand<'a> {
    pub chance: &'a mut Chance,
    pub truth: &'a mut Truth,
    pub plan: &'a Plan,
    pub ledger: &'a Ledger,
    /// What it sends goes here.
    pub out: &'a mut Vec<u8>,
    /// It has said that it sends no more.
    pub half_closed: bool,
}

/// How a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// All that the server has sent was read, and then its end of stream.
    Finished,
    /// It broke; what was on its way may be lost.
    Broken,
}

/// What a client does with its connection, beside sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    GoOn,
    /// It says that it sends no more.
    HalfClose,
}

/// A client on one connection.
pub trait Actor {
    fn name(&self) -> &'static str;

    /// The id of its connection as its endpoint knows it, once it is open.
    fn connection(&self) -> Option<&str> {
        None
    }

    /// The rooms that it is a member of, as far as it knows.
    fn rooms(&self) -> Vec<&str> {
        Vec::new()
    }

    /// Whether it has broken the protocol on purpose.
    fn is_doomed(&self) -> bool {
        false
    }

    /// Says the first it has to say.
    fn greet(&mut self, hand: &mut Hand<'_>);

    /// Says something of its own accord.
    fn act(&mut self, hand: &mut Hand<'_>) -> Deed;

    /// Hears what the server has said.
    fn hear(&mut self, bytes: &[u8], hand: &mut Hand<'_>);

    /// The connection has ended. Who comes back, if it does?
    fn end(&mut self, end: End, hand: &mut Hand<'_>) -> Option<Box<dyn Actor>>;

    /// Everything that was under way has come: checks that nothing is missing.
    fn rest(&mut self, hand: &mut Hand<'_>);

    /// Ends the conversation as one should.
    fn leave(&mut self, hand: &mut Hand<'_>) -> Deed;
}

/// A path segment or a query value.
pub fn percent(text: &str) -> String {
    let keep = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~".contains(byte);
    text.bytes()
        .map(|byte| if keep(&byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}
