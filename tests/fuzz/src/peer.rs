//! One peer's side: what it has sent, and what came to it, checked as it comes.

use fanfare::Config;
use fanfare::endpoint::client_protocol::Framing;
use fanfare::protocol::{BodyLength, Limits};

use super::common::Client;
use super::http_reference::{self as reference, Head};
use super::wire::{self, Frame, Response};

/// What the server speaks to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaks {
    Http,
    /// A stream of events behind the head of a response.
    Events,
    Frames,
    /// Nothing any more: the last response or the Close is out.
    Nothing,
}

#[derive(Debug)]
pub struct Peer {
    pub client: Client,
    pub sent: Vec<u8>,
    pub speaks: Speaks,
    /// How it speaks the client protocol, if it does.
    pub framing: Option<Framing>,
    /// Bytes that came and are not whole.
    unread: Vec<u8>,
    /// Interim responses (RFC 9110 §15.2).
    pub continues: usize,
    pub responses: Vec<Response>,
    pub frames: Vec<Frame>,
    /// Whole lines of the stream of events.
    pub events: Vec<String>,
}

/// What a peer has asked for, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    Request(Head, Vec<u8>),
    /// Something that ends the connection: it has to be refused with this status.
    Wrong(u16),
}

impl Peer {
    pub fn new(client: Client) -> Peer {
        Peer {
            client,
            sent: Vec::new(),
            speaks: Speaks::Http,
            framing: None,
            unread: Vec::new(),
            continues: 0,
            responses: Vec::new(),
            frames: Vec::new(),
            events: Vec::new(),
        }
    }

    /// Whether the server has ended the conversation.
    pub fn is_over(&self) -> bool {
        self.speaks == Speaks::Nothing
    }

    /// Takes what came.
    pub fn receive(&mut self, bytes: &[u8], config: &Config) {
        self.unread.extend_from_slice(bytes);
        loop {
            let before = self.unread.len();
            match self.speaks {
                Speaks::Http => self.read_response(config),
                Speaks::Events => self.read_line(),
                Speaks::Frames => self.read_frame(),
                Speaks::Nothing => {
                    let more = self.unread.escape_ascii();
                    assert!(self.unread.is_empty(), "behind the end comes \"{more}\"");
                }
            }
            if self.unread.len() == before {
                return;
            }
        }
    }

    fn read_response(&mut self, config: &Config) {
        if self.unread.is_empty() {
            return;
        }
        let asked = asked(&self.sent, config);
        let method = asked.get(self.responses.len()).and_then(|asked| match asked {
            Asked::Request(head, _) => Some(head.method.as_str()),
            Asked::Wrong(_) => None,
        });
        let head_only = method == Some("HEAD");
        let Some((size, response)) = wire::response(&self.unread, head_only) else { return };
        self.unread.drain(..size);
        let streams = response.header("content-type") == Some("text/event-stream");
        match response.status {
            100 => {
                self.continues += 1;
                return;
            }
            101 => self.speaks = Speaks::Frames,
            _ if streams && !head_only => self.speaks = Speaks::Events,
            _ if response.closes() => self.speaks = Speaks::Nothing,
            _ => {}
        }
        if let Some(Asked::Wrong(status)) = asked.get(self.responses.len()) {
            // Before it was read, its time or that of the server may have been over.
            assert!([*status, 408, 503].contains(&response.status), "{status} is due: {response:?}");
        }
        self.responses.push(response);
    }

    fn read_line(&mut self) {
        let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') else { return };
        let line: Vec<u8> = self.unread.drain(..=end).collect();
        let line = String::from_utf8(line).expect("a stream of events is UTF-8");
        let line = line.trim_end_matches('\n').to_owned();
        let known = ["id: ", "event: ", "data: "].iter().any(|field| line.starts_with(field));
        assert!(known || line.is_empty() || line == ":", "no line of a stream of events: {line:?}");
        assert!(!line.contains('\r'), "{line:?}");
        self.events.push(line);
    }

    fn read_frame(&mut self) {
        let Some((size, frame)) = wire::frame(&self.unread) else { return };
        self.unread.drain(..size);
        if frame.opcode == 8 {
            self.speaks = Speaks::Nothing;
        }
        self.frames.push(frame);
    }

    /// Its data messages.
    pub fn messages(&self) -> impl Iterator<Item = &Frame> {
        self.frames.iter().filter(|frame| frame.opcode < 8)
    }

    /// The Close that came.
    pub fn close(&self) -> Option<(u16, &str)> {
        self.frames.last().and_then(Frame::close)
    }
}

/// The whole requests in what a peer has sent, up to an upgrade or to something that is none.
pub fn asked(sent: &[u8], config: &Config) -> Vec<Asked> {
    let limits: Limits = config.settings().limits;
    let (mut all, mut at) = (Vec::new(), 0);
    loop {
        let head = match reference::head(&sent[at..], &limits) {
            None => return all,
            Some(Err((_, status))) => {
                all.push(Asked::Wrong(status));
                return all;
            }
            Some(Ok((size, head))) => {
                at += size;
                head
            }
        };
        if !head.http_1_0 && head.has_token("upgrade", "websocket") {
            all.push(Asked::Request(head, Vec::new()));
            return all;
        }
        if matches!(head.body, BodyLength::Length(length) if length > config.max_message as u64) {
            // Its answer ends the connection.
            all.push(Asked::Request(head, Vec::new()));
            return all;
        }
        match reference::body(&sent[at..], head.body, config.max_message, &limits) {
            None => {
                // It may be refused by its head alone.
                all.push(Asked::Request(head, Vec::new()));
                return all;
            }
            Some(Err(_)) => {
                // The body ends it, unless the head has already.
                all.push(Asked::Request(head, Vec::new()));
                return all;
            }
            Some(Ok((size, body))) => {
                at += size;
                all.push(Asked::Request(head, body));
            }
        }
    }
}
