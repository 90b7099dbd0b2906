//! A short day of a server with two shards: members who come, speak, fall behind and go, an echo, a
//! stream of events and a publisher over HTTP; and what all of them must have seen in the end.

use std::time::Duration;

use fanfare::endpoint::CloseKind;
use fanfare::shard::Counter;

use crate::common::frames::frames_and_rest;
use crate::common::sim::{PlannedFailure, SocketId};
use crate::common::{Client, Server, close, request, settings, split_response, text};

const ROUNDS: usize = 5;
/// The round in which one member's socket takes nothing.
const STALLED_ROUND: usize = 2;

/// A server and its clients in the middle of the day.
pub struct Day {
    /// A connection whose call has failed is gone at once.
    pub failure_ends: bool,
    server: Server,
    members: Vec<Client>,
    echo: Client,
    events: Client,
    poster: Client,
}

/// What is left to look at when everybody has gone.
pub struct Evening {
    /// Whose call failed, if a call has.
    pub victim: Option<SocketId>,
    members: Vec<Seen>,
    echo: Seen,
    events: Seen,
    poster: Seen,
}

/// What one client was sent.
pub struct Seen {
    pub socket: SocketId,
    pub output: Vec<u8>,
}

impl Day {
    /// Everybody comes. `more` members beside the four that the day needs.
    pub fn begin(failure: Option<PlannedFailure>, more: usize) -> Day {
        let server = Server::new(2, settings());
        server.net.borrow_mut().failure = failure;
        Day::begin_with(server, more, |server, shard| server.adopt(shard))
    }

    /// Everybody comes, by way of `come` with the shard that is wished for.
    pub fn begin_with(
        mut server: Server,
        more: usize,
        mut come: impl FnMut(&mut Server, usize) -> Client,
    ) -> Day {
        let mut ask = |server: &mut Server, shard: usize, request: &[u8]| {
            let client = come(server, shard);
            server.feed(client, request);
            server.settle();
            client
        };
        let hall = request("/rooms/hall?echo=true");
        let members = (0..4 + more).map(|number| ask(&mut server, number % 2, &hall)).collect();
        let echo = ask(&mut server, 0, &request("/echo"));
        let poster = ask(&mut server, 1, b"");
        let events = ask(&mut server, 1, b"GET /rooms/hall/events HTTP/1.1\r\nHost: test\r\n\r\n");
        Day { failure_ends: false, server, members, echo, events, poster }
    }

    /// Everybody speaks, and goes.
    pub fn end(mut self) -> Evening {
        let slow = self.members[3];
        for round in 0..ROUNDS {
            self.server.socket(slow).room = if round == STALLED_ROUND { 7 } else { usize::MAX };
            for speaker in 0..2 {
                self.server.feed(self.members[speaker], &text(&format!("member {speaker} {round}")));
            }
            self.server.feed(self.echo, &text(&format!("echo {round}")));
            let body = format!("post {round}");
            let head = format!("POST /rooms/hall HTTP/1.1\r\nHost: test\r\nContent-Length: {}", body.len());
            self.server.feed(self.poster, format!("{head}\r\n\r\n{body}").as_bytes());
            self.server.settle();
            self.check_victim();
        }
        self.server.socket(slow).room = usize::MAX;
        self.server.settle();
        for client in self.members.iter().chain([&self.echo]) {
            self.server.feed(*client, &close(1000, ""));
        }
        for client in self.members.iter().chain([&self.echo, &self.events, &self.poster]) {
            self.server.socket(*client).eof = true;
        }
        self.server.settle();
        self.check_victim();
        let victim = self.server.net.borrow().failure.and_then(|failure| failure.met);
        let seen = |server: &mut Server, client: &Client| Seen {
            socket: client.socket,
            output: server.take_output(*client),
        };
        let evening = Evening {
            victim,
            members: self.members.iter().map(|client| seen(&mut self.server, client)).collect(),
            echo: seen(&mut self.server, &self.echo),
            events: seen(&mut self.server, &self.events),
            poster: seen(&mut self.server, &self.poster),
        };
        self.finish();
        evening
    }

    /// Who could not go on is not kept.
    fn check_victim(&self) {
        let net = self.server.net.borrow();
        if let Some(victim) = net.failure.and_then(|failure| failure.met).filter(|_| self.failure_ends) {
            assert_eq!(net.sockets[victim.0].calls.close, 1, "{:?}", net.sockets[victim.0]);
        }
    }

    /// Every socket that was taken over has one cause of its end, and nothing is left.
    fn finish(mut self) {
        self.server.advance(Duration::from_secs(60));
        let closes: u64 = CloseKind::ALL.iter().map(|kind| self.server.closes(*kind)).sum();
        assert_eq!(closes, self.server.counter(Counter::Accepted));
        self.server.finish();
    }
}

impl Evening {
    /// Everybody for whom `spared` holds has had all that they were there for, members all in one order.
    pub fn check(&self, spared: impl Fn(&Seen) -> bool) {
        let heard: Vec<Vec<String>> =
            self.members.iter().filter(|seen| spared(seen)).map(Seen::messages).collect();
        assert!(!heard.is_empty());
        assert!(heard.iter().all(|messages| *messages == heard[0]), "{heard:?}");
        let from = |name: &str| -> Vec<String> {
            heard[0].iter().filter(|message| message.starts_with(name)).cloned().collect()
        };
        let all_of =
            |name: &str| -> Vec<String> { (0..ROUNDS).map(|round| format!("{name} {round}")).collect() };
        for speaker in (0..2).filter(|speaker| spared(&self.members[*speaker])) {
            let name = format!("member {speaker}");
            assert_eq!(from(&name), all_of(&name));
        }
        if spared(&self.poster) {
            let answers = String::from_utf8_lossy(&self.poster.output);
            assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), ROUNDS, "{answers}");
            assert_eq!(from("post"), all_of("post"));
        }
        if spared(&self.echo) {
            assert_eq!(self.echo.messages(), all_of("echo"));
        }
        if spared(&self.events) {
            let stream = String::from_utf8_lossy(&self.events.output);
            let data: Vec<&str> = stream.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
            assert_eq!(data, heard[0]);
        }
    }

    /// Those who were not let in.
    pub fn turned_away(&self) -> usize {
        let all = self.members.iter().chain([&self.echo, &self.events, &self.poster]);
        all.filter(|seen| seen.is_turned_away()).count()
    }
}

impl Seen {
    /// It never got a byte, or was told that there is no place for it.
    pub fn is_turned_away(&self) -> bool {
        self.output.is_empty() || self.output.starts_with(b"HTTP/1.1 503 ")
    }

    /// The texts that came over a WebSocket, which was closed in order.
    fn messages(&self) -> Vec<String> {
        let (status, rest) = split_response(&self.output);
        assert_eq!(status, 101);
        let (mut frames, cut) = frames_and_rest(rest);
        assert!(cut.is_empty(), "{cut:?}");
        let last = frames.pop().and_then(|frame| frame.close());
        assert_eq!(last.map(|(code, _)| code), Some(1000));
        frames.into_iter().map(|frame| String::from_utf8(frame.payload).expect("text")).collect()
    }
}
