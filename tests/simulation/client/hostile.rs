//! Clients that send what nobody should: garbage, mutated requests and frames, closes at bad times. What
//! they are answered has to be as strict as ever.

use super::{Actor, Deed, End, Hand, percent};
use crate::chance::Chance;
use crate::proxy;
use crate::wire::{Ear, Mode, close_payload, push_frame, upgrade_request};

#[derive(Debug, Default)]
pub struct Hostile {
    ear: Ear,
    /// Not sent yet, to be sent byte by byte.
    drip: Vec<u8>,
}

/// Changes some bytes, or leaves some out, or says some twice.
fn mutate(chance: &mut Chance, bytes: &mut Vec<u8>) {
    for _ in 0..chance.within(1..=4) {
        if bytes.is_empty() {
            return;
        }
        let at = chance.below(bytes.len());
        match chance.below(6) {
            0 => bytes[at] ^= 1 << chance.below(8),
            1 => bytes[at] = chance.bits() as u8,
            2 => bytes.truncate(at),
            3 => {
                bytes.remove(at);
            }
            4 => {
                let again = bytes[at..bytes.len().min(at + 8)].to_vec();
                bytes.splice(at..at, again);
            }
            _ => {
                let noise = chance.within(1..=16);
                let noise = chance.bytes(noise);
                bytes.splice(at..at, noise);
            }
        }
    }
}

impl Hostile {
    fn request(hand: &mut Hand<'_>) -> Vec<u8> {
        let mut request = Hostile::plain_request(hand);
        if hand.chance.one_in(2) {
            let behind_first_line = request.iter().position(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            request.splice(behind_first_line..behind_first_line, proxy::forwarded(hand.chance));
        }
        request
    }

    fn plain_request(hand: &mut Hand<'_>) -> Vec<u8> {
        let room = percent(hand.chance.pick(&hand.plan.rooms).as_str());
        match hand.chance.below(9) {
            0 => upgrade_request("/echo"),
            1 => upgrade_request(&format!("/rooms/{room}?last=1&echo=true&name=x")),
            2 => upgrade_request(&format!("/rooms/{room}?since=0123456789abcdef:1")),
            3 => upgrade_request("/connection/websocket"),
            4 => format!("GET /rooms/{room}?limit=3 HTTP/1.1\r\nHost: sim\r\n\r\n").into_bytes(),
            5 => format!("POST /rooms/{room} HTTP/1.1\r\nHost: sim\r\nContent-Length: 3\r\n\r\nabc").into_bytes(),
            6 => format!(
                "POST /rooms/{room} HTTP/1.1\r\nHost: sim\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
            )
            .into_bytes(),
            7 => {
                let body = r#"{"channel":"d0","data":[1,2,3]}"#;
                let length = body.len();
                format!("POST /api/publish HTTP/1.1\r\nHost: sim\r\nContent-Length: {length}\r\n\r\n{body}").into()
            }
            _ => format!("GET /rooms/{room}/events?last=2 HTTP/1.1\r\nHost: sim\r\n\r\n").into_bytes(),
        }
    }

    fn frames(hand: &mut Hand<'_>) -> Vec<u8> {
        const CODES: [u16; 10] = [0, 999, 1000, 1004, 1005, 1006, 1015, 2999, 3000, 65535];
        let mut out = Vec::new();
        let mask = (hand.chance.bits() as u32).to_be_bytes();
        let size = hand.chance.magnitude(0..=300);
        let noise = hand.chance.bytes(size);
        match hand.chance.below(9) {
            0 => push_frame(&mut out, hand.chance.bits() as u8, &noise, mask),
            1 => push_frame(&mut out, 0x81, &noise, mask),
            2 => push_frame(&mut out, 0x00, &noise, mask),
            3 => push_frame(&mut out, 0x02, &noise, mask),
            4 => push_frame(&mut out, 0x89, &noise, mask),
            5 => push_frame(&mut out, 0x88, &close_payload(*hand.chance.pick(&CODES), "?"), mask),
            6 => {
                push_frame(&mut out, 0x82, &noise, mask);
                let end = hand.chance.within(1..=out.len());
                out.truncate(end);
            }
            7 => {
                // A length that nobody can mean.
                out.extend([0x82, 0xff]);
                out.extend(hand.chance.bits().to_be_bytes());
                out.extend(mask);
            }
            _ => {
                let command = br#"{"id":1,"connect":{"name":"js"}}"#;
                push_frame(&mut out, 0x81, command, mask);
            }
        }
        out
    }

    fn say(&mut self, mut bytes: Vec<u8>, hand: &mut Hand<'_>) {
        if hand.chance.one_in(3) {
            mutate(hand.chance, &mut bytes);
        }
        if hand.chance.one_in(4) || !self.drip.is_empty() {
            self.drip.extend(bytes);
        } else {
            hand.out.extend(bytes);
        }
    }
}

impl Actor for Hostile {
    fn name(&self) -> &'static str {
        "hostile"
    }

    fn greet(&mut self, hand: &mut Hand<'_>) {
        let bytes = match hand.chance.below(8) {
            0 => {
                let size = hand.chance.magnitude(1..=10_000);
                hand.chance.bytes(size)
            }
            1 => Vec::new(),
            _ => Hostile::request(hand),
        };
        self.say(bytes, hand);
    }

    fn act(&mut self, hand: &mut Hand<'_>) -> Deed {
        if !self.drip.is_empty() {
            hand.out.push(self.drip.remove(0));
            return Deed::GoOn;
        }
        let bytes = match self.ear.mode {
            Mode::Frames => Hostile::frames(hand),
            _ => Hostile::request(hand),
        };
        self.say(bytes, hand);
        if hand.chance.one_in(12) { Deed::HalfClose } else { Deed::GoOn }
    }

    fn hear(&mut self, bytes: &[u8], _: &mut Hand<'_>) {
        self.ear.hear(bytes);
    }

    fn end(&mut self, _: End, hand: &mut Hand<'_>) -> Option<Box<dyn Actor>> {
        Some(Box::new(Hostile::default()))
            .filter(|_| hand.chance.one_in(2))
            .map(|again| again as Box<dyn Actor>)
    }

    fn rest(&mut self, _: &mut Hand<'_>) {}

    fn leave(&mut self, _: &mut Hand<'_>) -> Deed {
        Deed::HalfClose
    }
}
