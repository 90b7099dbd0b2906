//! What an endpoint wants done, as data.

use std::borrow::Cow;

use super::Ask;
use crate::protocol::{CloseCode, Kind, Message};
use crate::rooms::{Identity, RoomName, Start};
use crate::time::Time;

/// A message to send: borrowed from the one being handled, or owned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload<'m> {
    kind: Kind,
    data: Cow<'m, [u8]>,
}

impl<'m> Payload<'m> {
    /// A message of this kind; text has to be valid UTF-8.
    pub(super) fn new(kind: Kind, data: impl Into<Cow<'m, [u8]>>) -> Payload<'m> {
        let data = data.into();
        debug_assert!(kind == Kind::Binary || simdutf8::basic::from_utf8(&data).is_ok());
        Payload { kind, data }
    }

    /// Text or binary.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The bytes; valid UTF-8 if the kind is text.
    pub fn data(&self) -> &[u8] {
        &self.data
    }
}

impl<'m> From<Message<'m>> for Payload<'m> {
    fn from(message: Message<'m>) -> Self {
        Payload { kind: message.kind, data: Cow::Borrowed(message.payload) }
    }
}

impl<'m> From<&'m str> for Payload<'m> {
    fn from(text: &'m str) -> Self {
        Payload { kind: Kind::Text, data: Cow::Borrowed(text.as_bytes()) }
    }
}

impl From<String> for Payload<'_> {
    fn from(text: String) -> Self {
        Payload { kind: Kind::Text, data: Cow::Owned(text.into_bytes()) }
    }
}

impl<'m> From<&'m [u8]> for Payload<'m> {
    fn from(bytes: &'m [u8]) -> Self {
        Payload { kind: Kind::Binary, data: Cow::Borrowed(bytes) }
    }
}

impl From<Vec<u8>> for Payload<'_> {
    fn from(bytes: Vec<u8>) -> Self {
        Payload { kind: Kind::Binary, data: Cow::Owned(bytes) }
    }
}

/// To whom a message is published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Every room that the connection is a member of.
    Joined,
    /// One room, whether the connection is a member or not.
    Room(RoomName),
}

/// Whether a member receives what it publishes itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OwnMessages {
    /// It receives only the others' messages.
    #[default]
    Skip,
    /// It receives its own messages too, in their place in the room's order.
    Receive,
}

/// One thing that an endpoint wants done with its connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect<'m> {
    /// Send a message to this connection.
    Send(Payload<'m>),
    /// Publish a message to rooms.
    Publish(Audience, Payload<'m>),
    /// Become a member of a room; a member already only changes its [`OwnMessages`].
    Join(RoomName, OwnMessages, Start),
    /// Stop being a member of a room; no effect for others.
    Leave(RoomName),
    /// Take this name, before any room is joined.
    Name(Identity),
    /// Ask the rooms something; the number comes back with the answer.
    Ask(u32, Ask<'m>),
    /// Start the closing handshake; what comes after it in the list is dropped.
    Close(CloseCode, Cow<'static, str>),
}

/// The list that an endpoint fills. The shard carries it out, in order, after the call returns.
#[derive(Debug, Default)]
pub struct Effects<'m> {
    list: Vec<Effect<'m>>,
    now: Time,
}

impl<'m> Effects<'m> {
    /// Sends a message to this connection.
    pub fn send(&mut self, message: impl Into<Payload<'m>>) {
        self.list.push(Effect::Send(message.into()));
    }

    /// Publishes a message to every room that this connection is a member of.
    pub fn publish(&mut self, message: impl Into<Payload<'m>>) {
        self.list.push(Effect::Publish(Audience::Joined, message.into()));
    }

    /// Publishes a message to one room.
    pub fn publish_to(&mut self, room: RoomName, message: impl Into<Payload<'m>>) {
        self.list.push(Effect::Publish(Audience::Room(room), message.into()));
    }

    /// Makes this connection a member of a room. Over the limit of memberships
    /// (`--max-memberships`) the connection is closed with 1008.
    pub fn join(&mut self, room: RoomName, own: OwnMessages) {
        self.join_from(room, own, Start::Live);
    }

    /// Makes this connection a member of a room that begins with messages of the past. In `open`, a
    /// [`Start::Since`] that the room does not hold in full any more refuses the upgrade with 410; later
    /// it closes the connection with 1008.
    pub fn join_from(&mut self, room: RoomName, own: OwnMessages, start: Start) {
        self.list.push(Effect::Join(room, own, start));
    }

    /// Ends this connection's membership of a room.
    pub fn leave(&mut self, room: RoomName) {
        self.list.push(Effect::Leave(room));
    }

    /// Gives this connection a name that the others see with its messages and where it is present. Only
    /// in `open`; later ask with [`Ask::Introduce`].
    pub fn name(&mut self, name: Identity) {
        self.list.push(Effect::Name(name));
    }

    /// Asks the rooms something. [`super::Endpoint::answered`] is called with `question` and the answer
    /// when the effects before it are carried out and before those behind it are.
    pub fn ask(&mut self, question: u32, ask: Ask<'m>) {
        self.list.push(Effect::Ask(question, ask));
    }

    /// Starts the closing handshake. A reason over 123 bytes is cut at a character's edge.
    pub fn close(&mut self, code: CloseCode, reason: impl Into<Cow<'static, str>>) {
        self.list.push(Effect::Close(code, reason.into()));
    }

    /// The time of the shard's turn.
    pub fn now(&self) -> Time {
        self.now
    }

    /// What has been asked for so far.
    pub fn list(&self) -> &[Effect<'m>] {
        &self.list
    }

    /// Takes the name and the first `joins` joins out, which are done.
    pub(crate) fn forget_joins(&mut self, mut joins: usize) {
        self.list.retain(|effect| match effect {
            Effect::Name(_) => false,
            Effect::Join(..) if joins > 0 => {
                joins -= 1;
                false
            }
            _ => true,
        });
    }

    /// Takes the only effect out, if that is a message to this connection: what most messages are answered with.
    #[inline]
    pub(crate) fn take_lone_message(&mut self) -> Option<Payload<'m>> {
        if self.list.len() != 1 {
            return None;
        }
        match self.list.pop() {
            Some(Effect::Send(payload)) => Some(payload),
            other => {
                self.list.extend(other);
                None
            }
        }
    }

    /// Takes the effects out and leaves the list empty, with its memory.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = Effect<'m>> + '_ {
        self.list.drain(..)
    }

    /// Sets the time of the turn that the next call happens in.
    pub(crate) fn set_now(&mut self, now: Time) {
        self.now = now;
    }

    /// The emptied list for another lifetime, so that one allocation serves every call. The standard
    /// library collects in place when the layout is the same.
    pub(crate) fn recycle<'n>(mut self) -> Effects<'n> {
        self.list.clear();
        let list = self.list.into_iter().map(|_| unreachable!("the list is empty")).collect();
        Effects { list, now: self.now }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_message_alone_is_taken_and_all_else_stays() {
        let mut effects = Effects::default();
        assert_eq!(effects.take_lone_message(), None);
        effects.send("alone");
        assert_eq!(effects.take_lone_message(), Some(Payload::from("alone")));
        assert_eq!(effects.list(), []);
        for second in [Effect::Send("second".into()), Effect::Publish(Audience::Joined, "second".into())] {
            effects.publish("first");
            assert_eq!(effects.take_lone_message(), None);
            effects.list.push(second.clone());
            assert_eq!(effects.take_lone_message(), None);
            assert_eq!(effects.list(), [Effect::Publish(Audience::Joined, "first".into()), second]);
            assert_eq!(effects.drain().count(), 2);
        }
    }

    #[test]
    fn recycling_keeps_the_allocation() {
        let mut effects = Effects::default();
        let text = String::from("borrowed");
        effects.send(text.as_str());
        effects.send("x");
        let address = effects.list.as_ptr().cast::<u8>();
        let recycled: Effects<'static> = effects.recycle();
        assert!(recycled.list.is_empty());
        assert_eq!(recycled.list.as_ptr().cast::<u8>(), address);
        assert!(recycled.list.capacity() >= 2);
    }
}
