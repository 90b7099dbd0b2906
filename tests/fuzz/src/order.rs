//! Who was in room `a` has got its messages from where it began, each once and in order: as the honest members
//! have them, by offset.

use super::peer::{Peer, Speaks};
use super::replies::{Said, said};
use super::shard::{HONEST, is_open};
use super::wire::Frame;
use super::world::World;

/// Checks everybody against everybody; all sockets have taken what they can.
pub fn check(world: &World) {
    let honest: Vec<Vec<&Frame>> =
        world.peers[..HONEST].iter().map(|peer| peer.messages().collect()).collect();
    let log = honest.iter().max_by_key(|log| log.len()).expect("somebody is honest");
    let honest_lives = (0..HONEST).any(|at| is_open(world, at));
    for (at, peer) in world.peers.iter().enumerate() {
        match (peer.speaks, path(peer)) {
            (_, None) => {}
            (_, Some(path)) if path.starts_with("/rooms/a?echo=true") => {
                let got: Vec<&Frame> = peer.messages().collect();
                let from = from(peer);
                let expected = &log[from.min(log.len())..];
                // A drain may end the honest before others.
                let both = got.len().min(expected.len());
                assert_eq!(got[..both], expected[..both], "{at}: in order from {from}");
                let hears = is_open(world, at) && !is_broken(world, at) && !world.is_closed(at);
                assert!(!hears || both == expected.len(), "{at}: {} are missing", expected.len() - both);
            }
            (_, Some("/rooms/a")) if honest_lives => {
                check_subsequence(peer.messages(), &log[from(peer).min(log.len())..]);
            }
            (Speaks::Events | Speaks::Nothing, Some(path)) if path.starts_with("/rooms/a/events") => {
                check_events(peer, log);
            }
            _ => {}
        }
        check_publications(peer, log);
    }
}

fn is_broken(world: &World, at: usize) -> bool {
    let net = world.server.net.borrow();
    let socket = &net.sockets[world.peers[at].client.socket.0];
    socket.eof || socket.hung_up || socket.error.is_some()
}

/// The target of the one request that was accepted, if that was all a peer has asked for.
fn path(peer: &Peer) -> Option<&str> {
    let accepted = peer.responses.first().is_some_and(|response| matches!(response.status, 101 | 200));
    let line = peer.sent.split(|byte| *byte == b'\r').next()?;
    let target = std::str::from_utf8(line).ok()?.strip_prefix("GET ")?.strip_suffix(" HTTP/1.1")?;
    (accepted && peer.responses.len() == 1).then_some(target)
}

/// The offset behind which a member begins.
fn from(peer: &Peer) -> usize {
    let from = peer.responses[0].header("fanfare-from").expect("a member is told where it begins");
    from.parse().expect("a number")
}

fn check_subsequence<'f>(got: impl Iterator<Item = &'f Frame>, log: &[&Frame]) {
    let mut log = log.iter();
    for frame in got {
        assert!(log.any(|known| *known == frame), "not in the room, or out of order: {frame:?}");
    }
}

/// Events with consecutive ids, and the data that the room has there.
fn check_events(peer: &Peer, log: &[&Frame]) {
    let mut next = None;
    for event in peer.events.split(|line| line.is_empty()) {
        let id = event.iter().find_map(|line| line.strip_prefix("id: "));
        let Some((_, offset)) = id.and_then(|id| id.split_once(':')) else { continue };
        let offset: usize = offset.parse().expect("a number");
        let kind = event.iter().find_map(|line| line.strip_prefix("event: "));
        assert!(next.is_none_or(|next| next == offset), "{offset} comes, {next:?} was due");
        next = Some(offset + 1);
        let whole = event.len() > 1 && kind.is_none();
        let Some(frame) = log.get(offset.wrapping_sub(1)).filter(|_| whole) else { continue };
        let data: Vec<&str> = event.iter().filter_map(|line| line.strip_prefix("data: ")).collect();
        let text = std::str::from_utf8(&frame.payload).expect("text is UTF-8");
        let text = text.replace("\r\n", "\n").replace('\r', "\n");
        assert_eq!(data.join("\n"), text);
    }
}

/// What clients of the client protocol are pushed of room `a`.
fn check_publications(peer: &Peer, log: &[&Frame]) {
    let Some(framing) = peer.framing else { return };
    let mut last = 0;
    for said in peer.frames.iter().flat_map(|frame| said(framing, frame)) {
        match &said {
            Said::Publication { channel, offset, .. } if channel == "a" => {
                assert!(last == 0 || *offset == last + 1, "{offset} comes behind {last}");
                last = *offset;
                if let Some(frame) = log.get(*offset as usize - 1) {
                    said.check_payload(&frame.payload);
                }
            }
            // It has left and may come back.
            Said::Reply { .. } | Said::Push => last = 0,
            _ => {}
        }
    }
}
