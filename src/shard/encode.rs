//! The encodings of a room's messages other than the frames that they came as: each is made once, for
//! everybody, when somebody first needs it.

use crate::endpoint::client_protocol::{
    Client, Framing, Publication, push_join, push_leave, push_publication,
};
use crate::endpoint::events::push_event;
use crate::protocol::{Opcode, push_server_frame};
use crate::rooms::{Batch, Encoded, Encoding, Entry, Room};

/// Makes an encoding of a batch that entered the room behind `offset_before`, unless it is there.
pub fn encode(room: &Room, batch: &Batch, encoding: Encoding, offset_before: u64) {
    let added = batch.make(encoding, |batch| {
        let mut encoded = Encoded::default();
        let mut push = Vec::new();
        for (index, entry) in (0..).zip(batch.entries()) {
            let offset = offset_before + u64::from(index) + 1;
            let payload = batch.payload(index);
            encoded.push(|out| match framing_of(encoding) {
                None => push_event(out, room.epoch(), offset, entry.text, payload),
                Some(framing) => {
                    let publication = publication(offset, entry, payload);
                    push_publication(&mut push, framing, room.name().as_str(), &publication);
                    push_frame(out, framing, &mut push);
                }
            });
        }
        encoded
    });
    if added > 0 {
        room.add_encoded(offset_before, added);
    }
}

/// Makes an encoding of the joining or leaving of the sender of a batch's one message, unless it is there.
/// Says whether it has one.
pub fn encode_presence(room: &Room, batch: &Batch, encoding: Encoding, joined: bool) -> bool {
    let Some(framing) = framing_of(encoding) else { return false };
    batch.make(encoding, |batch| {
        let mut encoded = Encoded::default();
        let mut push = Vec::new();
        for entry in batch.entries() {
            let Some(client) = entry.sender.member() else { continue };
            let client = Client { client, identity: entry.identity.as_deref() };
            let push_change = if joined { push_join } else { push_leave };
            push_change(&mut push, framing, room.name().as_str(), &client);
            encoded.push(|out| push_frame(out, framing, &mut push));
        }
        encoded
    });
    true
}

/// A message of a room, as the client protocol says it.
fn publication<'a>(offset: u64, entry: &'a Entry, payload: &'a [u8]) -> Publication<'a> {
    let (client, identity) = (entry.sender.member(), entry.identity.as_deref());
    Publication { offset, client, identity, text: entry.text, payload }
}

fn framing_of(encoding: Encoding) -> Option<Framing> {
    match encoding {
        Encoding::JsonPushes => Some(Framing::Json),
        Encoding::ProtobufPushes => Some(Framing::Protobuf),
        Encoding::Frames | Encoding::Events => None,
    }
}

/// Appends a push in a frame of its own, and empties it.
fn push_frame(out: &mut Vec<u8>, framing: Framing, push: &mut Vec<u8>) {
    push_server_frame(out, Opcode::from(framing.kind()), push);
    push.clear();
}
