//! Target `http_requests`: what one peer asks of the HTTP doors, however it comes. Each request has one answer,
//! in order, and the answers do not depend on how the stream is cut.

use fanfare::Config;

use super::choices::{Choices, Cuts};
use super::peer::{Asked, Speaks, asked};
use super::wire::Response;
use super::world::{World, small};

const STREAM_BYTES_MAX: usize = 4096;

/// Choices: limits, four cuts. Then the stream.
pub fn run(data: &[u8]) {
    let mut choices = Choices::new(data);
    let config = if choices.byte() & 1 == 0 { small() } else { Config::default() };
    let cuts = Cuts::new(&mut choices);
    let stream = choices.rest();
    let stream = &stream[..stream.len().min(STREAM_BYTES_MAX)];
    let whole = answers(&[stream], &config);
    let cut = answers(&cuts.pieces(stream), &config);
    if let (Some(whole), Some(cut)) = (whole, cut) {
        assert_eq!(whole, cut, "cut by {cuts:?}");
    }
}

/// The answers to a stream in pieces, each of which is read before the next one comes; without what is random.
/// `None` if a WebSocket was opened.
fn answers(pieces: &[&[u8]], config: &Config) -> Option<Vec<Response>> {
    let mut world = World::new(1, config.clone());
    let peer = world.open(0);
    for piece in pieces {
        world.send(peer, piece);
        world.server.turn(0);
    }
    world.server.settle();
    world.look();
    let it = &world.peers[peer];
    let opened = it.speaks == Speaks::Frames || it.responses.iter().any(|response| response.status == 101);
    if !opened {
        check_answers(&it.responses, &asked(&it.sent, config), it.speaks);
    }
    let answers = it.responses.iter().map(without_chance).collect();
    world.end();
    (!opened).then_some(answers)
}

/// One answer for each request; fewer only if one of them ended the connection, or if the last is not whole.
fn check_answers(answers: &[Response], asked: &[Asked], speaks: Speaks) {
    assert!(answers.len() <= asked.len(), "{} answers to {} requests", answers.len(), asked.len());
    if speaks == Speaks::Http {
        assert!(answers.len() + 1 >= asked.len(), "{} answers to {} requests", answers.len(), asked.len());
    }
    for answer in answers {
        assert_ne!(answer.status, 500, "{answer:?}");
        assert!(reason_is_known(answer.status), "{}", answer.status);
    }
}

fn reason_is_known(status: u16) -> bool {
    !fanfare::protocol::reason_phrase(status).is_empty()
}

/// An answer in which the epochs of rooms, which are random, are all the same.
fn without_chance(answer: &Response) -> Response {
    let headers = answer.headers.iter().map(|(name, value)| (name.clone(), without_epochs(value.as_bytes())));
    let headers = headers.map(|(name, value)| (name, String::from_utf8(value).unwrap())).collect();
    Response { status: answer.status, headers, body: without_epochs(&answer.body) }
}

/// Every 16 hexadecimal digits between other bytes become zeros.
fn without_epochs(bytes: &[u8]) -> Vec<u8> {
    let hexadecimal = |byte: &u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte);
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < out.len() {
        let run = out[at..].iter().take_while(|byte| hexadecimal(byte)).count();
        if run == 16 {
            out[at..at + run].fill(b'0');
        }
        at += run.max(1);
    }
    out
}
