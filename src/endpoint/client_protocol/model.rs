//! Commands and replies as values, whatever framing they travel in.

use std::borrow::Cow;

use serde::Deserialize;

use crate::endpoint::Told;
use crate::endpoint::http::Object;
use crate::id::ConnectionId;
use crate::protocol::Kind;
use crate::rooms::{Epoch, Identity, Present};

/// The names that the SDKs send when the application gave none, so they name nobody.
pub const SDK_NAMES: [&str; 7] = ["js", "go", "python", "dart", "swift", "java", "csharp"];

/// [`Subscribe::flag`]: the client would take a number for the channel's name in pushes. Pushes with the
/// name are always right.
pub const FLAG_CHANNEL_COMPACTION: u64 = 1;

/// [`Subscribe::flag`]: a subscribe that cannot recover is to be refused with
/// [`super::ErrorCode::UnrecoverablePosition`].
pub const FLAG_REJECT_UNRECOVERED: u64 = 2;

/// One command of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command<'m> {
    /// What the reply is to carry; 0 only for [`Request::Pong`] and [`Request::Send`], which get none.
    pub id: u32,
    /// What is asked for.
    pub request: Request<'m>,
}

/// What a command asks for. A channel's name is as the client wrote it, unchecked; it is empty if there was
/// none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request<'m> {
    /// The empty command: the answer to our ping.
    Pong,
    /// The first command of a connection.
    Connect(Connect<'m>),
    /// Join a channel.
    Subscribe(Subscribe<'m>),
    /// Leave a channel.
    Unsubscribe {
        /// The channel.
        channel: Cow<'m, str>,
    },
    /// Publish to a channel.
    Publish {
        /// The channel.
        channel: Cow<'m, str>,
        /// The message; empty if there was none.
        data: Data<'m>,
    },
    /// Publish to or remove from a channel that is a map of keys, which ours are not.
    MapPublish,
    /// Who is in a channel.
    Presence {
        /// The channel.
        channel: Cow<'m, str>,
    },
    /// How many are in a channel.
    PresenceStats {
        /// The channel.
        channel: Cow<'m, str>,
    },
    /// What was published to a channel.
    History(History<'m>),
    /// A ping of the client's own.
    Ping,
    /// A message to the server that wants no reply.
    Send,
    /// A call of the application behind the server.
    Rpc,
    /// A new token for the connection.
    Refresh,
    /// A new token for a subscription.
    SubRefresh,
}

/// A payload as the client wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Data<'m> {
    /// The bytes: of the JSON value in JSON framing, of the field in Protobuf framing.
    pub bytes: &'m [u8],
    /// JSON is text. Bytes of Protobuf framing are text if they are UTF-8, so that JSON which a Protobuf
    /// client publishes is JSON for everybody.
    pub kind: Kind,
}

impl<'m> Data<'m> {
    /// Text, for example JSON.
    pub(super) fn text(text: &'m str) -> Data<'m> {
        Data { bytes: text.as_bytes(), kind: Kind::Text }
    }

    /// Bytes that say nothing of what they are.
    pub(super) fn bytes(bytes: &'m [u8]) -> Data<'m> {
        let kind = match simdutf8::basic::from_utf8(bytes) {
            Ok(_) => Kind::Text,
            Err(_) => Kind::Binary,
        };
        Data { bytes, kind }
    }
}

/// Who connects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Connect<'m> {
    /// What the client calls itself; often the name of its SDK. See [`Connect::display_name`].
    pub name: Cow<'m, str>,
    /// The version of the client.
    pub version: Cow<'m, str>,
    /// Whether there is a token. The token itself stays out of the model, and so out of every log.
    pub token: bool,
    /// What the application gave along.
    pub data: Option<Data<'m>>,
}

impl Connect<'_> {
    /// The name that the connection gives itself: a string `name` in `data`, if that is a JSON object,
    /// else [`Connect::name`] unless it is one of [`SDK_NAMES`]. Not empty, otherwise unchecked.
    pub fn display_name(&self) -> Option<Cow<'_, str>> {
        let own = Some(&*self.name).filter(|name| !name.is_empty() && !SDK_NAMES.contains(name));
        self.name_in_data().filter(|name| !name.is_empty()).or(own.map(Cow::Borrowed))
    }

    fn name_in_data(&self) -> Option<Cow<'_, str>> {
        #[derive(Deserialize)]
        struct Named<'a> {
            #[serde(borrow)]
            name: Cow<'a, str>,
        }
        let Object(Named { name }) = serde_json::from_slice(self.data?.bytes).ok()?;
        Some(name)
    }
}

/// Which channel to join, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subscribe<'m> {
    /// The channel.
    pub channel: Cow<'m, str>,
    /// Whether there is a token.
    pub token: bool,
    /// Whether the publications behind `offset` of `epoch` are wanted.
    pub recover: bool,
    /// The life of the channel that `offset` counts in; empty if the client knows none.
    pub epoch: Cow<'m, str>,
    /// The offset of the last publication that the client has.
    pub offset: u64,
    /// Whether the client wants gaps to be noticed.
    pub positioned: bool,
    /// Whether the client wants to recover later.
    pub recoverable: bool,
    /// Whether joins and leaves are wanted.
    pub join_leave: bool,
    /// Whether differences instead of whole payloads would do. Whole ones are always right, as the reply
    /// says what it is going to be.
    pub delta: bool,
    /// Whether only publications with certain tags are wanted.
    pub filter: bool,
    /// Whether a kind of channel other than a stream is meant: a map, or a shared poll.
    pub not_a_stream: bool,
    /// [`FLAG_CHANNEL_COMPACTION`], [`FLAG_REJECT_UNRECOVERED`]; others are to be ignored.
    pub flag: u64,
}

/// Which part of a channel's history is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History<'m> {
    /// The channel.
    pub channel: Cow<'m, str>,
    /// The most publications: 0 is none, only the position; negative is all that there are.
    pub limit: i32,
    /// Only publications behind this position, or before it in reverse.
    pub since: Option<StreamPosition<'m>>,
    /// Whether the latest comes first.
    pub reverse: bool,
}

/// A place in a channel, as a client wrote it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamPosition<'m> {
    /// The offset of a publication, 0 for the place before the first.
    pub offset: u64,
    /// The life of the channel that it counts in; may be empty.
    pub epoch: Cow<'m, str>,
}

/// A publication on its way to a client.
#[derive(Clone, Copy, Debug)]
pub struct Publication<'a> {
    /// Its offset, from 1. The SDKs in JavaScript hold it in a double, exact to 2^53 - 1; a room would have
    /// to take a million messages a second for 285 years to get there.
    pub offset: u64,
    /// The connection that published it; `None` for a back end.
    pub client: Option<ConnectionId>,
    /// Who that says it is.
    pub identity: Option<&'a Identity>,
    /// Whether it was published as text, else as binary.
    pub text: bool,
    /// The payload.
    pub payload: &'a [u8],
}

impl<'a> Publication<'a> {
    /// Who published it.
    pub(super) fn sender(&self) -> Option<Client<'a>> {
        self.client.map(|client| Client { client, identity: self.identity })
    }
}

impl<'a> From<Told<'a>> for Publication<'a> {
    fn from(told: Told<'a>) -> Publication<'a> {
        Publication {
            offset: told.offset,
            client: told.entry.sender.member(),
            identity: told.entry.identity.as_deref(),
            text: told.entry.text,
            payload: told.payload,
        }
    }
}

/// A member of a channel.
#[derive(Clone, Copy, Debug)]
pub struct Client<'a> {
    /// Its connection: the protocol's client id.
    pub client: ConnectionId,
    /// Who it says it is: the protocol's user, empty for `None`.
    pub identity: Option<&'a Identity>,
}

impl<'a> From<&'a Present> for Client<'a> {
    fn from(present: &'a Present) -> Client<'a> {
        Client { client: present.client, identity: present.identity.as_deref() }
    }
}

impl<'a> Client<'a> {
    /// The protocol's user.
    pub(super) fn user(&self) -> &'a str {
        self.identity.map_or("", Identity::user)
    }
}

/// What is answered to `connect`.
#[derive(Clone, Copy, Debug)]
pub struct ConnectReply<'a> {
    /// The connection's id.
    pub client: ConnectionId,
    /// The server's name and version.
    pub version: &'a str,
    /// Seconds between our pings; the client closes when none comes for 10 s more.
    pub ping_seconds: u32,
    /// Whether the client is to answer them.
    pub pong: bool,
}

/// What is answered to `subscribe`.
#[derive(Clone, Copy, Debug)]
pub struct SubscribeReply<I> {
    /// Whether the client can recover later; it keeps its position only then.
    pub recoverable: bool,
    /// Whether we notice when it missed something.
    pub positioned: bool,
    /// The life of the channel.
    pub epoch: Epoch,
    /// The position from which `publications` go on: each of them moves the client's position. Without
    /// any, the position of the channel.
    pub offset: u64,
    /// Whether all that was missed is in `publications`.
    pub recovered: bool,
    /// Whether the client asked to recover.
    pub was_recovering: bool,
    /// What the client missed, oldest first.
    pub publications: I,
}

/// What is answered to `history`.
#[derive(Clone, Copy, Debug)]
pub struct HistoryReply<I> {
    /// The life of the channel.
    pub epoch: Epoch,
    /// The offset of its latest publication.
    pub offset: u64,
    /// What was asked for, in the order that was asked for.
    pub publications: I,
}

/// A command whose result has nothing in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// `unsubscribe`.
    Unsubscribe,
    /// `publish`.
    Publish,
    /// `ping`.
    Ping,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str, data: Option<&str>) -> Option<String> {
        let data = data.map(Data::text);
        let connect = Connect { name: name.into(), data, ..Connect::default() };
        connect.display_name().map(Cow::into_owned)
    }

    #[test]
    fn a_name_in_data_wins_over_the_name_of_the_client() {
        let given = |text: &str| Some(text.to_owned());
        assert_eq!(name("shop", Some(r#"{"name":"ann","age":1}"#)), given("ann"));
        assert_eq!(name("shop", Some(r#"{"name":"\u00fc"}"#)), given("ü"));
        assert_eq!(name("js", Some(r#"{"name":"ann"}"#)), given("ann"));
        assert_eq!(name("shop", Some(r#"{"name":"js"}"#)), given("js"));
        for no_name in
            ["{}", "null", "[\"ann\"]", r#"{"name":1}"#, r#"{"name":null}"#, r#"{"name":""}"#, "ann", "{", ""]
        {
            assert_eq!(name("shop", Some(no_name)), given("shop"), "{no_name}");
            assert_eq!(name("js", Some(no_name)), None, "{no_name}");
        }
    }

    #[test]
    fn the_name_of_an_sdk_names_nobody() {
        for sdk in SDK_NAMES {
            assert_eq!(name(sdk, None), None);
        }
        assert_eq!(name("", None), None);
        assert_eq!(name("JS", None).as_deref(), Some("JS"));
    }

    #[test]
    fn deep_data_has_no_name_and_does_no_harm() {
        let deep = format!(r#"{{"name":"ann","a":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(name("shop", Some(&deep)).as_deref(), Some("ann"));
        let open = format!(r#"{{"name":{}"#, "[".repeat(100_000));
        assert_eq!(name("shop", Some(&open)).as_deref(), Some("shop"));
    }

    #[test]
    fn bytes_that_are_utf8_are_text() {
        assert_eq!(Data::bytes(b"{}").kind, Kind::Text);
        assert_eq!(Data::bytes(b"").kind, Kind::Text);
        assert_eq!(Data::bytes(b"\xff").kind, Kind::Binary);
    }
}
