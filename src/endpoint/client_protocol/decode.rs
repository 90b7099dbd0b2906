//! A frame's commands, one after the other.

use super::{Command, Framing, Request, json_commands, protobuf_commands};

/// The most commands in one frame. SDKs put all commands of one tick into a frame, so that it is above what
/// `--command-rate` allows by default: that decides first, and who breaks it may come back. A frame of
/// commands of a few bytes each could otherwise ask for as many replies.
pub const COMMANDS_PER_MESSAGE_MAX: usize = 4096;

/// Why a frame is not the protocol. The client is to be closed with [`super::DisconnectCode::BadRequest`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("command {command} of the frame: {problem}")]
pub struct DecodeError {
    /// Which command it is, from 1; in JSON framing also its line.
    pub command: usize,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong with a command.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The frame has no bytes.
    #[error("the frame is empty; at least one command is expected")]
    Empty,
    /// The frame has too many commands.
    #[error("the frame has more than {COMMANDS_PER_MESSAGE_MAX} commands, the most that are allowed")]
    TooMany,
    /// The frame is no text.
    #[error("byte {at} of the frame is not UTF-8, which JSON is written in")]
    NotUtf8 {
        /// The byte, from 1.
        at: usize,
    },
    /// It is not the JSON of a command.
    #[error("column {column}: {what}; a command is one JSON object on a line of its own")]
    Json {
        /// Where the parser stopped, in bytes from 1.
        column: usize,
        /// The parser's words, with the peer's bytes escaped and cut.
        what: String,
    },
    /// It is not the Protobuf of a command.
    #[error("from byte {at} of the frame: {what}; a command is a Protobuf message behind its length")]
    Protobuf {
        /// The first byte of the command, from 1.
        at: usize,
        /// The parser's words.
        what: String,
    },
    /// It asks for more than one thing, or has an id and asks for nothing that we know.
    #[error("it has {seen} requests; a command with an id has exactly 1 of those that the protocol knows")]
    Requests {
        /// How many.
        seen: usize,
    },
    /// It wants a reply and has no id.
    #[error("it has no id; only an empty command and send go without one, others have 1 to 4294967295")]
    NoId,
}

/// The commands of one frame, in order. The last item may be an error; those before it stand.
#[derive(Clone, Debug)]
pub struct Commands<'m> {
    rest: Rest<'m>,
    taken: usize,
}

/// What is still to be read.
#[derive(Clone, Copy, Debug)]
enum Rest<'m> {
    Json(&'m str),
    /// With the size of the whole frame, which tells positions.
    Protobuf(&'m [u8], usize),
    Wrong(usize),
    Empty,
    Done,
}

/// Reads a frame.
///
/// Fields that the protocol's present version does not have are skipped, `null` is a field that is not
/// there. Of a field that is twice in a JSON object, neither can be meant: an error. Twice in a Protobuf
/// message, the last one holds, as its specification has it. The reference server does the same. It also
/// takes empty lines for broken commands; a line feed at the end of the frame makes none.
///
/// Nothing here goes deeper with the peer's nesting: payloads and unknown fields are skipped in a loop,
/// and groups in Protobuf to a limit.
pub fn decode(framing: Framing, message: &[u8]) -> Commands<'_> {
    let rest = match framing {
        _ if message.is_empty() => Rest::Empty,
        Framing::Protobuf => Rest::Protobuf(message, message.len()),
        Framing::Json => match simdutf8::compat::from_utf8(message) {
            Ok(text) => Rest::Json(text),
            Err(error) => Rest::Wrong(error.valid_up_to() + 1),
        },
    };
    Commands { rest, taken: 0 }
}

impl<'m> Commands<'m> {
    /// The next command and what is behind it.
    fn first(&self) -> Result<(Command<'m>, Rest<'m>), Problem> {
        if self.taken >= COMMANDS_PER_MESSAGE_MAX {
            return Err(Problem::TooMany);
        }
        match self.rest {
            Rest::Json(text) => {
                let (line, rest) = text.split_once('\n').unwrap_or((text, ""));
                let rest = if rest.is_empty() { Rest::Done } else { Rest::Json(rest) };
                Ok((json_commands::command(line)?, rest))
            }
            Rest::Protobuf(bytes, whole) => {
                let mut rest = bytes;
                let command = protobuf_commands::command(&mut rest)
                    .map_err(|wrong| wrong.at(whole - bytes.len() + 1))?;
                let rest = if rest.is_empty() { Rest::Done } else { Rest::Protobuf(rest, whole) };
                Ok((command, rest))
            }
            Rest::Wrong(at) => Err(Problem::NotUtf8 { at }),
            Rest::Empty | Rest::Done => Err(Problem::Empty),
        }
    }
}

impl<'m> Iterator for Commands<'m> {
    type Item = Result<Command<'m>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if matches!(self.rest, Rest::Done) {
            return None;
        }
        let first = self.first();
        self.taken += 1;
        Some(match first {
            Ok((command, rest)) => {
                self.rest = rest;
                Ok(command)
            }
            Err(problem) => {
                self.rest = Rest::Done;
                Err(DecodeError { command: self.taken, problem })
            }
        })
    }
}

/// A command out of its id and the requests that it has.
pub(super) fn only<'m>(
    id: u32,
    requests: impl IntoIterator<Item = Request<'m>>,
) -> Result<Command<'m>, Problem> {
    let mut requests = requests.into_iter();
    let request = match (requests.next(), requests.count()) {
        (Some(request), 0) => request,
        (None, _) if id == 0 => Request::Pong,
        (first, more) => return Err(Problem::Requests { seen: usize::from(first.is_some()) + more }),
    };
    match id {
        0 if !matches!(request, Request::Pong | Request::Send) => Err(Problem::NoId),
        _ => Ok(Command { id, request }),
    }
}

#[cfg(test)]
mod tests;
