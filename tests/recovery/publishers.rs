//! Publishers on every shard, by WebSocket and by HTTP, that publish when they are told to.

use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{Scope, ScopedJoinHandle};

use crate::support::{Frame, Raw, frame};

/// Connections are spread round robin, so two of each kind are on both shards.
pub const PUBLISHERS: usize = 4;

/// The message of a publisher: who, the how-manyth, and some filling; text and binary in turns.
pub fn message(publisher: usize, count: usize) -> (bool, Vec<u8>) {
    let mut payload = format!("p{publisher} {count} ").into_bytes();
    let filling = (publisher * 31 + count * 17) % 150;
    payload.resize(payload.len() + filling, b'a' + (count % 26) as u8);
    (count.is_multiple_of(2), payload)
}

/// Publisher and count of a message, which must be as it was sent.
pub fn identify(text: bool, payload: &[u8]) -> (usize, usize) {
    let start = std::str::from_utf8(payload).expect("ASCII");
    let mut words = start.split(' ');
    let publisher = words.next().and_then(|word| word.strip_prefix('p')).and_then(|word| word.parse().ok());
    let count = words.next().and_then(|word| word.parse().ok());
    let who = (publisher.expect("a publisher"), count.expect("a count"));
    assert_eq!((text, payload), (message(who.0, who.1).0, &message(who.0, who.1).1[..]));
    who
}

/// The frame of a message as the server sends it.
pub fn frame_of(text: bool, payload: &[u8]) -> Frame {
    Frame { first: if text { 0x81 } else { 0x82 }, payload: payload.to_vec() }
}

/// Publishers in threads of their own. They end when this goes away.
pub struct Publishers<'scope> {
    permits: Vec<Sender<()>>,
    done: Receiver<()>,
    issued: usize,
    threads: Vec<ScopedJoinHandle<'scope, usize>>,
}

impl<'scope> Publishers<'scope> {
    pub fn start(scope: &'scope Scope<'scope, '_>, address: SocketAddr) -> Publishers<'scope> {
        let (tell, done) = channel();
        let mut permits = Vec::new();
        let mut threads = Vec::new();
        for number in 0..PUBLISHERS {
            let (permit, permitted) = channel();
            permits.push(permit);
            let tell = tell.clone();
            // Connected here, so that they are where they are by their number.
            let http = number >= PUBLISHERS / 2;
            let raw = if http { Raw::connect(address) } else { Raw::open(address, "/rooms/r?echo=true") };
            threads.push(scope.spawn(move || match http {
                true => publish_by_http(raw, number, &permitted, &tell),
                false => publish_by_websocket(raw, number, &permitted, &tell),
            }));
        }
        Publishers { permits, done, issued: 0, threads }
    }

    /// Has one of them publish a message, at any time from now on.
    pub fn permit(&mut self, which: usize) {
        self.permits[which % PUBLISHERS].send(()).expect("a publisher goes on");
        self.issued += 1;
    }

    /// Waits until everything that was permitted is published, and says how much that was.
    pub fn settle(&mut self, settled: &mut usize) -> usize {
        while *settled < self.issued {
            self.done.recv().expect("a publisher goes on");
            *settled += 1;
        }
        self.issued
    }

    /// How many messages each has published in the end.
    pub fn stop(self) -> Vec<usize> {
        drop(self.permits);
        self.threads.into_iter().map(|thread| thread.join().expect("a publisher ends well")).collect()
    }
}

fn publish_by_http(mut raw: Raw, number: usize, permitted: &Receiver<()>, tell: &Sender<()>) -> usize {
    let (mut count, mut last) = (0, 0);
    while permitted.recv().is_ok() {
        let (text, payload) = message(number, count);
        let kind = if text { "" } else { "Content-Type: application/octet-stream\r\n" };
        let offset = raw.publish("/rooms/r", kind, &payload);
        assert!(offset > last, "{offset} behind {last}");
        (count, last) = (count + 1, offset);
        // Nobody waits any more at the end.
        let _ = tell.send(());
    }
    count
}

/// Reads what the others publish too, or it would be a slow consumer.
fn publish_by_websocket(mut raw: Raw, number: usize, permitted: &Receiver<()>, tell: &Sender<()>) -> usize {
    let mut count = 0;
    while permitted.recv().is_ok() {
        let (text, payload) = message(number, count);
        let own = frame_of(text, &payload);
        raw.send(&frame(own.first, &payload));
        while raw.frame() != own {}
        count += 1;
        let _ = tell.send(());
    }
    count
}
