//! A client of `/echo`: everything comes back, in order.

use std::collections::VecDeque;

use super::{Actor, Deed, End, Hand};
use crate::truth::Content;
use crate::wire::{BINARY, CLOSE, Ear, Frame, Heard, PING, PONG, TEXT, push_frame, upgrade_request};

#[derive(Debug, Default)]
pub struct EchoClient {
    ear: Ear,
    /// Its id, once it is open.
    client: Option<String>,
    close_sent: bool,
    close_heard: bool,
    /// Sent, and not back yet.
    awaited: VecDeque<Content>,
}

impl EchoClient {
    fn frame(&mut self, frame: &Frame, hand: &mut Hand<'_>) {
        match frame.opcode {
            TEXT | BINARY => {
                let back = Content::new(frame.opcode == TEXT, &frame.payload);
                assert_eq!(Some(back), self.awaited.pop_front(), "an echo");
            }
            PING => self.send(PONG, &frame.payload, hand),
            CLOSE => {
                self.close_heard = true;
                if !self.close_sent {
                    self.close_sent = true;
                    self.send(CLOSE, &[], hand);
                }
            }
            _ => panic!("{frame:?} was not asked for"),
        }
    }

    fn send(&self, opcode: u8, payload: &[u8], hand: &mut Hand<'_>) {
        let mask = (hand.chance.bits() as u32).to_be_bytes();
        push_frame(hand.out, 0x80 | opcode, payload, mask);
    }

    fn is_open(&self) -> bool {
        self.client.is_some() && !self.close_sent
    }
}

impl Actor for EchoClient {
    fn name(&self) -> &'static str {
        "echo"
    }

    fn connection(&self) -> Option<&str> {
        self.client.as_deref()
    }

    fn greet(&mut self, hand: &mut Hand<'_>) {
        self.ear.asked(false);
        hand.out.extend(upgrade_request("/echo"));
    }

    fn act(&mut self, hand: &mut Hand<'_>) -> Deed {
        if self.is_open() {
            for _ in 0..hand.chance.within(1..=4) {
                let content = hand.truth.compose(hand.chance, hand.plan.payload_max);
                self.send(if content.text { TEXT } else { BINARY }, &content.bytes, hand);
                self.awaited.push_back(content);
            }
        }
        Deed::GoOn
    }

    fn hear(&mut self, bytes: &[u8], hand: &mut Hand<'_>) {
        for heard in self.ear.hear(bytes) {
            match heard {
                Heard::Response(response) => {
                    assert!(matches!(response.status, 101 | 408 | 429 | 503), "{response:?}");
                    self.client = response.header("fanfare-client").map(str::to_owned);
                    assert_eq!(self.client.is_some(), response.status == 101);
                }
                Heard::Frame(frame) => self.frame(&frame, hand),
                Heard::Event(event) => panic!("{event:?} on a WebSocket"),
            }
        }
    }

    fn end(&mut self, end: End, hand: &mut Hand<'_>) -> Option<Box<dyn Actor>> {
        if let Some(client) = &self.client {
            let told = self.close_heard || hand.half_closed || end == End::Broken;
            assert!(told || !hand.ledger.closed_in_calm(client), "{client} was dropped without a word");
        }
        Some(Box::new(EchoClient::default()))
    }

    fn rest(&mut self, hand: &mut Hand<'_>) {
        if self.is_open() && !hand.half_closed {
            assert!(self.awaited.is_empty(), "{} echoes are missing", self.awaited.len());
        }
    }

    fn leave(&mut self, hand: &mut Hand<'_>) -> Deed {
        if !self.is_open() {
            return Deed::HalfClose;
        }
        self.close_sent = true;
        self.send(CLOSE, &[], hand);
        Deed::GoOn
    }
}
