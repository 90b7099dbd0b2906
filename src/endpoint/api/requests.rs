//! The bodies as they are written, and calls out of them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::checks::{broadcast, channels, disconnect, history, publish, room_name, unsubscribe};
use super::{ApiCall, ApiError, ApiMethod, ApiRequest, BATCH_COMMANDS_MAX, PUBLICATIONS_MAX, WHITELIST_MAX};
use crate::endpoint::client_protocol::ErrorCode;
use crate::endpoint::http::{Object, Text, bad_json, given};
use crate::protocol::{Refusal, server_frame_bytes};

/// Reads the body of `POST /api/{method}`. What is not offered may have any body.
///
/// # Errors
///
/// 400 for what is not JSON of the method's form, with line and column where the parser stopped; 413 for
/// a batch of more than [`BATCH_COMMANDS_MAX`] commands. Both have the API's own number as `code` too.
pub fn parse_api(method: ApiMethod, body: &[u8]) -> Result<ApiRequest<'_>, Refusal> {
    let mut parser = serde_json::Deserializer::from_slice(body);
    let request = match method {
        ApiMethod::NotOffered(_) => return Ok(ApiRequest::One(Err(not_offered(method)))),
        ApiMethod::Batch => Object::<WireBatch<'_>>::deserialize(&mut parser).map(Parsed::Batch),
        method => CallOf(method).deserialize(&mut parser).map(Parsed::One),
    };
    let request = request.and_then(|request| parser.end().map(|()| request));
    let expected = || format!("{} is expected", method.form());
    let request = request.map_err(|error| with_code(bad_json(&error, &expected()), ErrorCode::BadRequest))?;
    match request {
        Parsed::One(Some(call)) => Ok(ApiRequest::One(call)),
        Parsed::One(None) => {
            let refusal = Refusal::new(400, format!("the body is null; {}", expected()));
            Err(with_code(refusal, ErrorCode::BadRequest))
        }
        Parsed::Batch(Object(batch)) => {
            let Listed { items, more } = batch.commands.unwrap_or_default();
            if more > 0 {
                let seen = items.len() + more;
                let text = format!("the batch has {seen} commands; up to {BATCH_COMMANDS_MAX} are allowed");
                return Err(ApiError::new(ErrorCode::LimitExceeded, text).into_refusal());
            }
            Ok(ApiRequest::Batch(items.into_iter().map(WireCommand::only).collect()))
        }
    }
}

/// Checks what a request publishes in all: to how many rooms, and how many bytes their copies have. What
/// publishes once is bounded by the size of a message alone.
///
/// # Errors
///
/// [`ErrorCode::LimitExceeded`] for more than [`PUBLICATIONS_MAX`] rooms or `bytes_max` bytes.
pub fn check_api_publications<'c>(
    calls: impl IntoIterator<Item = &'c ApiCall<'c>>,
    bytes_max: usize,
) -> Result<(), ApiError> {
    let (mut publications, mut bytes) = (0, 0);
    for call in calls {
        if let ApiCall::Publish(_, message) | ApiCall::Broadcast(_, message) = call {
            publications += call.publications();
            bytes += call.publications() * server_frame_bytes(message.payload.len());
        }
    }
    let limit = |message: String| Err(ApiError::new(ErrorCode::LimitExceeded, message));
    if publications > PUBLICATIONS_MAX {
        return limit(format!(
            "the request publishes to {publications} channels; up to {PUBLICATIONS_MAX} are allowed"
        ));
    }
    if publications > 1 && bytes > bytes_max {
        return limit(format!(
            "{publications} publications of {bytes} bytes together are more than one request may publish; up to \
             {bytes_max} bytes are allowed (--mailbox-bytes)"
        ));
    }
    Ok(())
}

fn with_code(refusal: Refusal, code: ErrorCode) -> Refusal {
    refusal.with_detail("code", code.code())
}

fn not_offered(method: ApiMethod) -> ApiError {
    let message =
        format!("method not found: {} is not offered here; {} are", method.name(), ApiMethod::offered());
    ApiError::new(ErrorCode::MethodNotFound, message)
}

enum Parsed<'b> {
    One(Option<Result<ApiCall<'b>, ApiError>>),
    Batch(Object<WireBatch<'b>>),
}

/// Reads the call of a method; none out of `null`.
struct CallOf(ApiMethod);

impl<'de> DeserializeSeed<'de> for CallOf {
    type Value = Option<Result<ApiCall<'de>, ApiError>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        match self.0 {
            ApiMethod::Publish => read(deserializer, publish),
            ApiMethod::Broadcast => read(deserializer, broadcast),
            ApiMethod::Presence => {
                read(deserializer, |wire: WireChannel<'de>| room_name(wire.channel).map(ApiCall::Presence))
            }
            ApiMethod::PresenceStats => read(deserializer, |wire: WireChannel<'de>| {
                room_name(wire.channel).map(ApiCall::PresenceStats)
            }),
            ApiMethod::History => read(deserializer, history),
            ApiMethod::Channels => read(deserializer, channels),
            ApiMethod::Info => read(deserializer, |_: Nothing| Ok(ApiCall::Info)),
            ApiMethod::Disconnect => read(deserializer, disconnect),
            ApiMethod::Unsubscribe => read(deserializer, unsubscribe),
            method @ (ApiMethod::Batch | ApiMethod::NotOffered(_)) => {
                Option::<IgnoredAny>::deserialize(deserializer)
                    .map(|there| there.map(|_| Err(not_offered(method))))
            }
        }
    }
}

type Checked<'de> = Result<ApiCall<'de>, ApiError>;

fn read<'de, D: Deserializer<'de>, W: Deserialize<'de>>(
    deserializer: D,
    check: impl FnOnce(W) -> Checked<'de>,
) -> Result<Option<Checked<'de>>, D::Error> {
    Option::<Object<W>>::deserialize(deserializer).map(|wire| wire.map(|Object(wire)| check(wire)))
}

/// The calls that one command of a batch names. It has to be one; others are only counted.
#[derive(Default)]
struct WireCommand<'b> {
    call: Option<(ApiMethod, Checked<'b>)>,
    seen: usize,
}

impl<'b> WireCommand<'b> {
    fn only(self) -> (Option<ApiMethod>, Checked<'b>) {
        match (self.call, self.seen) {
            (Some((method, call)), 1) => (Some(method), call),
            (None, _) => {
                let message = format!("the command names no method; {} are known", ApiMethod::offered());
                (None, Err(ApiError::new(ErrorCode::MethodNotFound, message)))
            }
            (Some(_), seen) => {
                let message = format!("the command names {seen} methods; 1 is allowed");
                (None, Err(ApiError::new(ErrorCode::BadRequest, message)))
            }
        }
    }
}

impl<'de: 'b, 'b> Deserialize<'de> for WireCommand<'b> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<WireCommand<'b>, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = WireCommand<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a command, an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<WireCommand<'de>, A::Error> {
                let mut command = WireCommand::default();
                while let Some(Text(name)) = members.next_key()? {
                    let Some(method) = ApiMethod::find(&name).filter(|method| *method != ApiMethod::Batch)
                    else {
                        members.next_value::<IgnoredAny>()?;
                        continue;
                    };
                    if let Some(call) = members.next_value_seed(CallOf(method))? {
                        command.seen += 1;
                        command.call = Some((method, call));
                    }
                }
                Ok(command)
            }
        }
        deserializer.deserialize_map(Members)
    }
}

/// A list of which up to `MAX` items are kept.
pub(super) struct Listed<T, const MAX: usize> {
    pub items: Vec<T>,
    /// How many there are beyond.
    pub more: usize,
}

impl<T, const MAX: usize> Default for Listed<T, MAX> {
    fn default() -> Self {
        Listed { items: Vec::new(), more: 0 }
    }
}

impl<'de, T: Deserialize<'de>, const MAX: usize> Deserialize<'de> for Listed<T, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Items<T, const MAX: usize>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for Items<T, MAX> {
            type Value = Listed<T, MAX>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Listed<T, MAX>, A::Error> {
                let mut listed = Listed::default();
                while listed.items.len() < MAX
                    && let Some(item) = list.next_element()?
                {
                    listed.items.push(item);
                }
                while listed.items.len() == MAX && list.next_element::<IgnoredAny>()?.is_some() {
                    listed.more += 1;
                }
                Ok(listed)
            }
        }
        deserializer.deserialize_seq(Items(PhantomData))
    }
}

// An `Option` is for `null`, which stands for a field that is not there.

#[derive(Deserialize)]
struct Nothing {}

#[derive(Deserialize)]
struct WireBatch<'b> {
    #[serde(borrow)]
    commands: Option<Listed<WireCommand<'b>, BATCH_COMMANDS_MAX>>,
}

#[derive(Deserialize)]
struct WireChannel<'b> {
    #[serde(borrow)]
    channel: Option<Text<'b>>,
}

/// `publish` with a channel, or `broadcast` with channels.
#[derive(Deserialize)]
pub(super) struct WirePublish<'b> {
    #[serde(borrow)]
    pub channel: Option<Text<'b>>,
    #[serde(borrow)]
    pub channels: Option<Listed<Text<'b>, PUBLICATIONS_MAX>>,
    #[serde(borrow, default, deserialize_with = "given")]
    pub data: Option<&'b RawValue>,
    #[serde(borrow)]
    pub b64data: Option<Text<'b>>,
    pub skip_history: Option<bool>,
    pub tags: Option<BTreeMap<String, String>>,
    #[serde(borrow)]
    pub idempotency_key: Option<Text<'b>>,
    /// Whether differences may be sent. Whole payloads, as they are sent here, are always right.
    #[serde(rename = "delta")]
    pub _delta: Option<bool>,
    pub version: Option<u64>,
    #[serde(borrow)]
    pub version_epoch: Option<Text<'b>>,
}

#[derive(Deserialize)]
pub(super) struct WireHistory<'b> {
    #[serde(borrow)]
    pub channel: Option<Text<'b>>,
    pub limit: Option<i32>,
    #[serde(borrow)]
    pub since: Option<Object<WirePosition<'b>>>,
    pub reverse: Option<bool>,
}

#[derive(Deserialize)]
pub(super) struct WirePosition<'b> {
    pub offset: Option<u64>,
    #[serde(borrow)]
    pub epoch: Option<Text<'b>>,
}

#[derive(Deserialize)]
pub(super) struct WireChannels<'b> {
    #[serde(borrow)]
    pub pattern: Option<Text<'b>>,
}

#[derive(Deserialize)]
pub(super) struct WireDisconnect<'b> {
    #[serde(borrow)]
    pub user: Option<Text<'b>>,
    #[serde(borrow)]
    pub client: Option<Text<'b>>,
    #[serde(borrow)]
    pub session: Option<Text<'b>>,
    pub whitelist: Option<Listed<String, WHITELIST_MAX>>,
    pub disconnect: Option<Object<WireClose>>,
}

#[derive(Deserialize)]
pub(super) struct WireClose {
    pub code: Option<u32>,
    pub reason: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct WireUnsubscribe<'b> {
    #[serde(borrow)]
    pub channel: Option<Text<'b>>,
    #[serde(borrow)]
    pub user: Option<Text<'b>>,
    #[serde(borrow)]
    pub client: Option<Text<'b>>,
    #[serde(borrow)]
    pub session: Option<Text<'b>>,
}

/// The text of a field; empty if it is not there.
pub(super) fn text(text: Option<Text<'_>>) -> Cow<'_, str> {
    text.unwrap_or_default().0
}
