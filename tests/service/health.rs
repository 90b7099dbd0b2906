//! Readiness and liveness, for those who embed the server.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};

use fanfare::endpoint::{Accept, Effects, Endpoint, OpenRequest};
use fanfare::id::ShardId;
use fanfare::protocol::{Message, Refusal};
use fanfare::server::{Health, ServerThread};
use fanfare::{Config, ConnectionId, ServerBuilder, ServerHandle};

use crate::support::{PATIENCE, Raw, TestServer, config, text};

/// Looks until it is so.
fn until(server: &ServerHandle, what: &str, mut is_so: impl FnMut(&Health) -> bool) -> Health {
    for _ in 0..1_000_000 {
        let health = server.health();
        if is_so(&health) {
            return health;
        }
        std::thread::yield_now();
    }
    panic!("{what}: never");
}

#[test]
fn a_server_is_ready_when_every_thread_has_turned_and_idle_ones_turn_when_they_are_looked_at() {
    let server = TestServer::start(Config { workers: Some(3), ..config() });
    let handle = server.handle();
    let ready = until(&handle, "ready", Health::is_ready);
    let threads: Vec<String> = ready.threads.iter().map(|thread| thread.thread.to_string()).collect();
    assert_eq!(threads, ["worker 0", "worker 1", "worker 2", "the acceptor"]);
    let mut last = ready;
    for _ in 0..10 {
        last = until(&handle, "every thread turns", |health| health.has_turned_since(&last));
        assert!(last.is_ready());
    }
}

/// Holds up the worker that serves it until the test lets it go on.
struct Hanging {
    reached: SyncSender<()>,
    go_on: Arc<Mutex<Receiver<()>>>,
}

impl Endpoint for Hanging {
    fn open<'m>(
        &mut self,
        _: ConnectionId,
        _: &OpenRequest<'_>,
        _: &mut Effects<'m>,
    ) -> Result<Accept, Refusal> {
        Ok(Accept::default())
    }

    fn message<'m>(&mut self, _: ConnectionId, _: Message<'m>, effects: &mut Effects<'m>) {
        self.reached.send(()).expect("the test waits");
        self.go_on.lock().expect("no panic").recv_timeout(PATIENCE).expect("the test goes on");
        effects.send("over");
    }
}

#[test]
fn a_worker_that_hangs_is_named_until_it_turns_again() {
    let ((reached, has_reached), (go, go_on)) = (sync_channel(1), sync_channel(1));
    let go_on = Arc::new(Mutex::new(go_on));
    let hanging = move |_| Hanging { reached: reached.clone(), go_on: Arc::clone(&go_on) };
    let server = TestServer::build(ServerBuilder::standard(config()).endpoint("/hang", hanging));
    let handle = server.handle();
    let before = until(&handle, "ready", Health::is_ready);
    let mut first = Raw::open(server.address(), "/hang");
    first.send(&text("hang"));
    has_reached.recv_timeout(PATIENCE).expect("a worker hangs");
    let hung = ServerThread::Worker(ShardId::new(0));
    let start = handle.health();
    let owed = until(&handle, "the others turn, twice", |health| {
        health.threads.iter().zip(&start.threads).skip(1).all(|(now, then)| now.turns > then.turns + 1)
    });
    assert!(!owed.has_turned_since(&start));
    let slowest = *owed.slowest().expect("one owes a turn");
    assert_eq!((slowest.thread, slowest.turns), (hung, start.threads[0].turns));
    let later = handle.health();
    assert!(later.slowest().expect("it still does").unanswered > slowest.unanswered);
    assert!(later.is_ready(), "it may come back: that is for those to judge who know how long is too long");
    go.send(()).unwrap();
    assert_eq!(first.frame(), crate::support::Frame::text("over"));
    let after = until(&handle, "all turn again", |health| health.has_turned_since(&owed));
    assert!(after.has_turned_since(&before));
    until(&handle, "nobody owes", |health| health.slowest().is_none());
}

#[test]
fn a_server_that_was_told_to_stop_is_not_ready_and_what_has_ended_owes_nothing() {
    let server = TestServer::start(config());
    let handle = server.handle();
    let ready = until(&handle, "ready", Health::is_ready);
    let member = Raw::open(server.address(), "/echo");
    handle.shutdown();
    let draining = handle.health();
    assert!(draining.is_draining && !draining.is_ready());
    drop(member);
    server.stop();
    let ended = handle.health();
    assert!(ended.threads.iter().all(|thread| thread.has_ended), "{ended:?}");
    assert!(ended.slowest().is_none() && ended.has_turned_since(&ready) && ended.has_turned_since(&ended));
}
