//! A command out of a Protobuf message behind its length.
//!
//! Field numbers are those of `client.proto`. Strings and bytes are borrowed from the frame.

use buffa::DecodeError;
use buffa::encoding::{Tag, WireType, check_wire_type, decode_varint, skip_field};
use buffa::types::{borrow_bytes, borrow_str, decode_bool, decode_int32, decode_int64, decode_uint64};

use super::decode::{Problem, only};
use super::{Command, Connect, Data, History, Request, StreamPosition, Subscribe};

/// What is wrong with a message.
pub(super) enum Wrong {
    Bytes(DecodeError),
    Id(u64),
    Command(Problem),
}

impl Wrong {
    /// The problem of the command that begins at byte `at` of the frame.
    pub(super) fn at(self, at: usize) -> Problem {
        match self {
            Wrong::Bytes(error) => Problem::Protobuf { at, what: error.to_string() },
            Wrong::Id(id) => Problem::Protobuf { at, what: format!("the id {id} has more than 32 bits") },
            Wrong::Command(problem) => problem,
        }
    }
}

impl From<DecodeError> for Wrong {
    fn from(error: DecodeError) -> Wrong {
        Wrong::Bytes(error)
    }
}

/// Reads a command and leaves what is behind it.
pub(super) fn command<'m>(frame: &mut &'m [u8]) -> Result<Command<'m>, Wrong> {
    let message = borrow_bytes(frame)?;
    let (mut id, mut first, mut seen) = (0, None, 0);
    fields(message, |tag, bytes| {
        if tag.field_number() == 1 {
            check_wire_type(tag, WireType::Varint)?;
            id = decode_varint(bytes)?;
            return Ok(());
        }
        if !(4..=15).contains(&tag.field_number()) {
            return skip_field(tag, bytes);
        }
        let request = request(tag.field_number(), message_field(tag, bytes)?)?;
        first.get_or_insert(request);
        seen += 1;
        Ok(())
    })?;
    let id = u32::try_from(id).map_err(|_| Wrong::Id(id))?;
    if seen > 1 {
        return Err(Wrong::Command(Problem::Requests { seen }));
    }
    only(id, first).map_err(Wrong::Command)
}

/// Calls `read` with each field's tag and the bytes from its value on.
fn fields<'m>(
    mut message: &'m [u8],
    mut read: impl FnMut(Tag, &mut &'m [u8]) -> Result<(), DecodeError>,
) -> Result<(), DecodeError> {
    while !message.is_empty() {
        let tag = Tag::decode(&mut message)?;
        read(tag, &mut message)?;
    }
    Ok(())
}

fn message_field<'m>(tag: Tag, bytes: &mut &'m [u8]) -> Result<&'m [u8], DecodeError> {
    check_wire_type(tag, WireType::LengthDelimited)?;
    borrow_bytes(bytes)
}

fn string<'m>(tag: Tag, bytes: &mut &'m [u8]) -> Result<&'m str, DecodeError> {
    check_wire_type(tag, WireType::LengthDelimited)?;
    borrow_str(bytes)
}

fn boolean(tag: Tag, bytes: &mut &[u8]) -> Result<bool, DecodeError> {
    check_wire_type(tag, WireType::Varint)?;
    decode_bool(bytes)
}

fn int32(tag: Tag, bytes: &mut &[u8]) -> Result<i32, DecodeError> {
    check_wire_type(tag, WireType::Varint)?;
    decode_int32(bytes)
}

fn int64(tag: Tag, bytes: &mut &[u8]) -> Result<i64, DecodeError> {
    check_wire_type(tag, WireType::Varint)?;
    decode_int64(bytes)
}

fn uint64(tag: Tag, bytes: &mut &[u8]) -> Result<u64, DecodeError> {
    check_wire_type(tag, WireType::Varint)?;
    decode_uint64(bytes)
}

/// The request in field `number` of a command.
fn request(number: u32, message: &[u8]) -> Result<Request<'_>, DecodeError> {
    Ok(match number {
        4 => Request::Connect(connect(message)?),
        5 => Request::Subscribe(subscribe(message)?),
        6 => Request::Unsubscribe { channel: channel(message)?.into() },
        7 => publish(message)?,
        8 => Request::Presence { channel: channel(message)?.into() },
        9 => Request::PresenceStats { channel: channel(message)?.into() },
        10 => Request::History(history(message)?),
        11 => ignored(message, Request::Ping)?,
        12 => ignored(message, Request::Send)?,
        13 => ignored(message, Request::Rpc)?,
        14 => ignored(message, Request::Refresh)?,
        _ => ignored(message, Request::SubRefresh)?,
    })
}

/// A request that nothing is wanted of but that it is well formed.
fn ignored<'m>(message: &'m [u8], request: Request<'m>) -> Result<Request<'m>, DecodeError> {
    fields(message, skip_field)?;
    Ok(request)
}

fn channel(message: &[u8]) -> Result<&str, DecodeError> {
    let mut channel = "";
    fields(message, |tag, bytes| {
        match tag.field_number() {
            1 => channel = string(tag, bytes)?,
            _ => skip_field(tag, bytes)?,
        }
        Ok(())
    })?;
    Ok(channel)
}

fn connect(message: &[u8]) -> Result<Connect<'_>, DecodeError> {
    let mut connect = Connect::default();
    fields(message, |tag, bytes| {
        match tag.field_number() {
            1 => connect.token = !string(tag, bytes)?.is_empty(),
            2 => {
                connect.data =
                    Some(message_field(tag, bytes)?).filter(|data| !data.is_empty()).map(Data::bytes)
            }
            4 => connect.name = string(tag, bytes)?.into(),
            5 => connect.version = string(tag, bytes)?.into(),
            _ => skip_field(tag, bytes)?,
        }
        Ok(())
    })?;
    Ok(connect)
}

fn subscribe(message: &[u8]) -> Result<Subscribe<'_>, DecodeError> {
    let mut subscribe = Subscribe::default();
    fields(message, |tag, bytes| {
        match tag.field_number() {
            1 => subscribe.channel = string(tag, bytes)?.into(),
            2 => subscribe.token = !string(tag, bytes)?.is_empty(),
            3 => subscribe.recover = boolean(tag, bytes)?,
            6 => subscribe.epoch = string(tag, bytes)?.into(),
            7 => subscribe.offset = uint64(tag, bytes)?,
            9 => subscribe.positioned = boolean(tag, bytes)?,
            10 => subscribe.recoverable = boolean(tag, bytes)?,
            11 => subscribe.join_leave = boolean(tag, bytes)?,
            12 => subscribe.delta = !string(tag, bytes)?.is_empty(),
            13 => {
                message_field(tag, bytes)?;
                subscribe.filter = true;
            }
            14 => subscribe.flag = int64(tag, bytes)?.cast_unsigned(),
            15 => subscribe.not_a_stream = int32(tag, bytes)? != 0,
            _ => skip_field(tag, bytes)?,
        }
        Ok(())
    })?;
    Ok(subscribe)
}

fn publish(message: &[u8]) -> Result<Request<'_>, DecodeError> {
    let (mut channel, mut data, mut map) = ("", &[][..], false);
    fields(message, |tag, bytes| {
        match tag.field_number() {
            1 => channel = string(tag, bytes)?,
            2 => data = message_field(tag, bytes)?,
            3 => map = int32(tag, bytes)? != 0,
            _ => skip_field(tag, bytes)?,
        }
        Ok(())
    })?;
    Ok(match map {
        true => Request::MapPublish,
        false => Request::Publish { channel: channel.into(), data: Data::bytes(data) },
    })
}

fn history(message: &[u8]) -> Result<History<'_>, DecodeError> {
    let mut history = History::default();
    fields(message, |tag, bytes| {
        match tag.field_number() {
            1 => history.channel = string(tag, bytes)?.into(),
            7 => history.limit = int32(tag, bytes)?,
            8 => history.since = Some(position(message_field(tag, bytes)?)?),
            9 => history.reverse = boolean(tag, bytes)?,
            _ => skip_field(tag, bytes)?,
        }
        Ok(())
    })?;
    Ok(history)
}

fn position(message: &[u8]) -> Result<StreamPosition<'_>, DecodeError> {
    let mut position = StreamPosition::default();
    fields(message, |tag, bytes| {
        match tag.field_number() {
            1 => position.offset = uint64(tag, bytes)?,
            2 => position.epoch = string(tag, bytes)?.into(),
            _ => skip_field(tag, bytes)?,
        }
        Ok(())
    })?;
    Ok(position)
}
