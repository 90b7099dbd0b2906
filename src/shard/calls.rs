//! The calls of the HTTP door to the rooms: publish, read the history, list. What came of one is an answer
//! or a refusal; `http.rs` sends it.

use crate::endpoint::AskError;
use crate::endpoint::http::{
    Answer, History, HistoryItem, RoomEntry, RoomsCall, check_payload, gone, list_answer, parse_publish_many,
    publish_answer, publish_many_answer,
};
use crate::protocol::{Refusal, server_frame_bytes};
use crate::rooms::{Extent, OutOfWindow, Piece, Position, Published, ReadLimits, RoomName, Sender, Start};
use crate::slab::Key;
use crate::time::Time;

use super::Core;
use super::publish::batch_of_one;

/// Bytes over which an answer with history ends and says that there is more.
const HISTORY_ANSWER_BYTES: usize = 256 << 10;

impl<S> Core<S> {
    /// Carries out a call of the HTTP door, but for a stream of events, and says what to answer.
    pub(super) fn carry_out_call(
        &mut self,
        key: Key,
        call: RoomsCall,
        body: &[u8],
    ) -> Result<Answer, Refusal> {
        match call {
            RoomsCall::Publish { room, exclude, idempotency_key, kind } => {
                check_payload(kind, body)?;
                let batch = batch_of_one((Sender::Api { exclude }, None), kind, body);
                let published = self.publish_at_once(&room, &batch, key, idempotency_key.as_deref());
                Ok(match published {
                    Published::Entered(position) => publish_answer(&room, position, false),
                    Published::Repeat(position) => publish_answer(&room, position, true),
                })
            }
            RoomsCall::PublishMany => self.publish_many(key, body),
            RoomsCall::History { room, since, limit } => self.history(&room, since, limit),
            RoomsCall::List { after, limit } => {
                self.check_http_bytes().map_err(|busy| try_again(&busy))?;
                Ok(self.list(after.as_ref(), limit))
            }
            RoomsCall::Api(method) => self.carry_out_api(key, method, body),
            RoomsCall::Events { .. } => unreachable!("streamed by the caller"),
        }
    }

    fn publish_many(&mut self, key: Key, body: &[u8]) -> Result<Answer, Refusal> {
        let many = parse_publish_many(body, self.settings.limits.message_bytes_max)?;
        let (each, limit) = (server_frame_bytes(many.data.len()), self.mailbox.mesh().bytes_max());
        // Each room keeps a copy of its own.
        if each * many.rooms.len() > limit {
            let message = format!(
                "{} rooms times {each} bytes are more than one request may publish; up to {limit} bytes are \
                 allowed (--mailbox-bytes)",
                many.rooms.len()
            );
            return Err(Refusal::new(413, message));
        }
        let from = Sender::Api { exclude: many.exclude };
        let mut results = Vec::with_capacity(many.rooms.len());
        for room in many.rooms {
            let batch = batch_of_one((from, None), many.kind, &many.data);
            let (Published::Entered(position) | Published::Repeat(position)) =
                self.publish_at_once(&room, &batch, key, None);
            results.push((room, position));
        }
        Ok(publish_many_answer(&results))
    }

    fn history(&self, name: &RoomName, since: Option<Position>, limit: usize) -> Result<Answer, Refusal> {
        self.check_http_bytes().map_err(|busy| try_again(&busy))?;
        let Some(room) = self.rooms.registry().find(name) else { return Err(unknown(name, since)) };
        let start = since.map_or(Start::Last(u64::MAX), Start::Since);
        let mut pieces = Vec::new();
        let (bytes_max, messages_max) = (HISTORY_ANSWER_BYTES, limit as u64);
        let limits = ReadLimits { bytes_max, messages_max, ..ReadLimits::NONE };
        let read = room.read_from(start, self.now, limits, &mut pieces);
        let (after, extent) = read.map_err(|OutOfWindow(extent)| {
            gone(name, since.unwrap_or(extent.position()), extent.position(), extent.first())
        })?;
        let items = pieces.iter().flat_map(|piece| self.items_of(piece));
        let mut bytes = 0;
        let fits = |item: &HistoryItem<'_>| {
            let fits = bytes < HISTORY_ANSWER_BYTES;
            bytes += encoded_bytes(item);
            fits
        };
        let items: Vec<HistoryItem<'_>> = items.take_while(fits).collect();
        let read_until = items.last().map_or(after, |item| item.offset);
        let Extent { epoch, last: offset, .. } = extent;
        let (first, more) = (extent.first(), read_until < offset);
        Ok(History { room: name, epoch, offset, first, more, items: &items }.answer())
    }

    fn items_of<'p>(&self, piece: &'p Piece) -> impl Iterator<Item = HistoryItem<'p>> {
        let time_unix_ms = self.unix_ms(piece.time);
        (piece.first..piece.end).map(move |index| {
            let entry = &piece.batch.entries()[index as usize];
            HistoryItem {
                offset: piece.offset_before + 1 + u64::from(index - piece.first),
                time_unix_ms,
                text: entry.text,
                payload: piece.batch.payload(index),
                sender: entry.sender.member(),
                name: entry.identity.as_ref().map(|identity| identity.user()),
            }
        })
    }

    /// A time of ours as others write it.
    fn unix_ms(&self, time: Time) -> u64 {
        let ago = self.now.since(time);
        u64::try_from(self.unix_time.saturating_sub(ago).as_millis()).unwrap_or(u64::MAX)
    }

    fn list(&self, after: Option<&RoomName>, limit: usize) -> Answer {
        let (rooms, more) = self.rooms.registry().list(after, limit, self.now);
        let next = rooms.last().filter(|_| more).map(|room| room.name.clone());
        let entries: Vec<RoomEntry> = rooms
            .into_iter()
            .map(|room| RoomEntry {
                name: room.name,
                members: room.members,
                epoch: room.extent.epoch,
                offset: room.extent.last,
                bytes: room.bytes,
                messages: room.extent.last - room.extent.start,
            })
            .collect();
        list_answer(&entries, next.as_ref())
    }
}

/// About what a message takes in an answer: control characters and quotes of text are escaped.
fn encoded_bytes(item: &HistoryItem<'_>) -> usize {
    let escaped = |byte: &&u8| byte.is_ascii_control() || matches!(byte, b'"' | b'\\');
    match item.text {
        true => item.payload.len() + 5 * item.payload.iter().filter(escaped).count(),
        false => item.payload.len() / 3 * 4,
    }
}

/// The refusal of a room that is not there: with a position it may have been.
fn unknown(name: &RoomName, since: Option<Position>) -> Refusal {
    let shown = name.as_str().escape_debug();
    match since {
        None => Refusal::new(404, format!("room {shown} has no member and no history")),
        Some(wanted) => Refusal::new(
            410,
            format!(
                "room {shown} holds nothing behind {wanted}: it has no member and no history; begin without since"
            ),
        ),
    }
}

fn try_again(busy: &AskError) -> Refusal {
    Refusal::new(503, busy.to_string()).with_header("Retry-After", "1")
}
