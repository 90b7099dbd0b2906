//! What a client may ask for, and what it is told when it may not.

use std::borrow::Cow;

use super::state::State;
use super::{Connect, DisconnectCode, ErrorCode, Framing, HISTORY_LIMIT_MAX, History, Subscribe};
use crate::endpoint::{AskError, HistoryQuery, OpenRequest, OwnMessages, Recover, Subscription};
use crate::protocol::Refusal;
use crate::rooms::{Encoding, Epoch, Identity, NoList, RoomName};

/// The subprotocol of [`Framing::Protobuf`].
const PROTOBUF: &str = "centrifuge-protobuf";
/// The subprotocol that names [`Framing::Json`], which is that of a connection without one, too.
const JSON: &str = "centrifuge-json";

/// Why a command is not carried out.
#[derive(Clone, Debug)]
pub(super) enum Refused {
    /// The client is told, and goes on.
    Error(ErrorCode, Cow<'static, str>),
    /// The client is told to try again, which says nothing against it.
    Busy(Cow<'static, str>),
    /// The connection ends.
    Disconnect(DisconnectCode, Cow<'static, str>),
}

impl From<ErrorCode> for Refused {
    fn from(code: ErrorCode) -> Refused {
        Refused::Error(code, code.message().into())
    }
}

/// The framing that a client asks for, and the subprotocol to answer.
pub(super) fn framing(request: &OpenRequest<'_>) -> Result<(Framing, Option<String>), Refusal> {
    for offered in request.subprotocols() {
        let framing = match offered {
            PROTOBUF => Framing::Protobuf,
            JSON => Framing::Json,
            _ => continue,
        };
        return Ok((framing, Some(offered.to_owned())));
    }
    for name in ["format", "cf_protocol"] {
        match request.query(name)?.as_deref() {
            None => {}
            Some("json") => return Ok((Framing::Json, None)),
            Some("protobuf") => return Ok((Framing::Protobuf, None)),
            Some(other) => {
                let seen = other.escape_debug();
                let message = format!("{name}={seen} is not allowed here; {name}=json or {name}=protobuf is");
                return Err(Refusal::new(400, message));
            }
        }
    }
    Ok((Framing::Json, None))
}

pub(super) fn check_connect(state: &State, connect: &Connect<'_>) -> Result<Option<Identity>, Refused> {
    if state.connected {
        return Err(bad_request("connect is the first command, and only that"));
    }
    if connect.token {
        let reason = "this server does not know tokens; connect without one";
        return Err(Refused::Disconnect(DisconnectCode::InvalidToken, reason.into()));
    }
    let identity = connect.display_name().map(|name| Identity::new(&name)).transpose();
    identity.map_err(|error| Refused::Error(ErrorCode::BadRequest, error.to_string().into()))
}

pub(super) fn check_subscribe(
    framing: Framing,
    subscribe: &Subscribe<'_>,
) -> Result<(RoomName, Subscription), Refused> {
    let room = room_name(&subscribe.channel)?;
    let not_offered = |what: &'static str| Refused::Error(ErrorCode::NotAvailable, what.into());
    if subscribe.token {
        return Err(not_offered("this server does not know tokens; subscribe without one"));
    }
    if subscribe.filter || subscribe.not_a_stream {
        return Err(not_offered("channels are plain streams here, without filters by tags"));
    }
    let encoding = match framing {
        Framing::Json => Encoding::JsonPushes,
        Framing::Protobuf => Encoding::ProtobufPushes,
    };
    let recover = subscribe.recover.then(|| recover(subscribe.offset, &subscribe.epoch));
    let own = OwnMessages::Receive;
    Ok((room, Subscription { own, recover, encoding, watches: subscribe.join_leave }))
}

pub(super) fn check_history(history: &History<'_>) -> Result<(RoomName, HistoryQuery), Refused> {
    let room = room_name(&history.channel)?;
    let since = history.since.as_ref().map(|since| recover(since.offset, &since.epoch));
    // Negative is all that there are.
    let limit = usize::try_from(history.limit).unwrap_or(HISTORY_LIMIT_MAX).min(HISTORY_LIMIT_MAX);
    Ok((room, HistoryQuery { since, limit, reverse: history.reverse }))
}

/// A place as a client wrote it; an epoch that is none of ours is of another life of any room.
pub(in crate::endpoint) fn recover(offset: u64, epoch: &str) -> Recover {
    let epoch = (!epoch.is_empty()).then(|| epoch.parse().unwrap_or(Epoch::NONE));
    Recover { epoch, offset }
}

pub(super) fn room_name(channel: &str) -> Result<RoomName, Refused> {
    RoomName::new(channel).map_err(|error| Refused::Error(ErrorCode::BadRequest, error.to_string().into()))
}

impl AskError {
    /// The protocol's number for it.
    pub(in crate::endpoint) fn code(&self) -> ErrorCode {
        match self {
            AskError::AlreadyMember => ErrorCode::AlreadySubscribed,
            AskError::TooManyMemberships { .. } => ErrorCode::LimitExceeded,
            AskError::NotMember => ErrorCode::PermissionDenied,
            AskError::OutOfWindow(_) => ErrorCode::UnrecoverablePosition,
            AskError::NotCounted => ErrorCode::NotAvailable,
            AskError::NoList(NoList::NotKept { .. }) => ErrorCode::NotAvailable,
            AskError::NoList(NoList::TooMany { .. }) => ErrorCode::LimitExceeded,
            AskError::Busy { .. } => ErrorCode::TooManyRequests,
        }
    }
}

pub(super) fn refused(error: AskError) -> Refused {
    let message = error.to_string().into();
    match error {
        AskError::Busy { .. } => Refused::Busy(message),
        _ => Refused::Error(error.code(), message),
    }
}

pub(super) fn too_many_commands(rate: u32) -> Refused {
    let message = format!("more than {rate} commands in a second (--command-rate); try again");
    Refused::Error(ErrorCode::TooManyRequests, message.into())
}

pub(super) fn bad_request(reason: &'static str) -> Refused {
    Refused::Disconnect(DisconnectCode::BadRequest, reason.into())
}
