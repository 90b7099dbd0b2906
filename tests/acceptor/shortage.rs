//! The machine runs out of what a connection needs.

use std::time::Duration;

use fanfare::endpoint::CloseKind;
use fanfare::flood::QUIET;
use fanfare::reactor::AcceptError;
use fanfare::server::ACCEPT_REST;
use fanfare::shard::Counter;

use super::{finish, is_closed, refusal};
use crate::common::capture::{self, lines_of};
use crate::common::{Gate, Server, acceptor_settings, settings};

fn pass(server: &Server, time: Duration) {
    let mut net = server.net.borrow_mut();
    net.now = net.now + time;
}

#[test]
fn out_of_descriptors_everybody_who_waits_is_told_so_and_goes() {
    let mut server = Server::new(1, settings());
    let mut gate = Gate::new(&server, 1, acceptor_settings(1000));
    gate.kernel().descriptors_max = 3; // one is the reserve
    let sockets: Vec<_> = (0..5).map(|_| gate.dial(0)).collect();
    gate.turn();
    server.settle();
    assert_eq!(gate.waiting(0), 0, "nobody is left hanging");
    assert_eq!(server.counter(Counter::Connections), 2);
    for socket in &sockets[2..] {
        let (status, body) = refusal(&server, *socket);
        assert_eq!(status, 503);
        assert!(body.contains("descriptor"), "{body}");
        assert!(is_closed(&server, *socket));
    }
    assert_eq!(gate.acceptor.stats().refused_at_once(CloseKind::OutOfDescriptors), 3);
    gate.turn();
    assert_eq!(gate.deadline(), Some(server.now() + QUIET), "the reserve is there again: no rest");
    // A place is free again.
    server.net.borrow_mut().sockets[sockets[0].0].eof = true;
    server.settle();
    assert!(is_closed(&server, sockets[0]));
    gate.dial(0);
    gate.turn();
    server.settle();
    assert_eq!(server.counter(Counter::Connections), 2);
    finish(gate, server);
}

#[test]
fn out_of_descriptors_with_nobody_waiting_is_no_reason_to_rest() {
    let server = Server::new(1, settings());
    let mut gate = Gate::new(&server, 1, acceptor_settings(1000));
    gate.kernel().descriptors_max = 1;
    gate.dial(0);
    gate.turn();
    let accepts = gate.accepts();
    // The first fails, the reserve takes the one who waits; the next finds none, and finds that nobody waits.
    assert_eq!(accepts, 4);
    gate.turn();
    assert_eq!(gate.accepts(), accepts, "there is nothing to do");
    assert_eq!(gate.deadline(), Some(server.now() + QUIET), "but to say when it is over");
    finish(gate, server);
}

#[test]
fn a_lost_reserve_means_a_rest_and_is_had_again_after_it() {
    let mut server = Server::new(1, settings());
    let mut gate = Gate::new(&server, 2, acceptor_settings(1000));
    gate.kernel().descriptors_max = 1;
    gate.kernel().thief = true;
    for _ in 0..3 {
        gate.dial(0);
        gate.dial(1);
    }
    gate.turn();
    assert_eq!((gate.waiting(0), gate.waiting(1)), (3, 3));
    let accepts = gate.accepts();
    // No spinning on what cannot be accepted, over any listener, whatever wakes the acceptor.
    for _ in 0..5 {
        gate.turn();
    }
    assert_eq!(gate.accepts(), accepts);
    let now = server.now();
    assert_eq!(gate.deadline(), Some(now + ACCEPT_REST));
    // After the rest there is still none: it tries once, and rests again.
    pass(&server, ACCEPT_REST);
    for _ in 0..5 {
        gate.turn();
    }
    assert_eq!(gate.accepts(), accepts + 1);
    // Whoever took it gives it back.
    gate.kernel().thief = false;
    gate.kernel().others = 0;
    pass(&server, ACCEPT_REST);
    gate.turn();
    gate.turn();
    assert_eq!((gate.waiting(0), gate.waiting(1)), (0, 0), "all are told at last");
    // And with descriptors it goes on as if nothing had been.
    gate.kernel().descriptors_max = usize::MAX;
    gate.dial(0);
    gate.turn();
    server.settle();
    assert_eq!(server.counter(Counter::Connections), 1);
    finish(gate, server);
}

#[test]
fn without_memory_the_listeners_rest_and_nobody_is_lost() {
    let mut server = Server::new(1, settings());
    let mut gate = Gate::new(&server, 2, acceptor_settings(1000));
    for error in [AcceptError::OutOfMemory, AcceptError::Failed] {
        gate.dial(0);
        gate.dial(1);
        gate.kernel().failing.push_back(error);
        gate.turn();
        assert_eq!((gate.waiting(0), gate.waiting(1)), (1, 1), "{error:?}");
        let accepts = gate.accepts();
        pass(&server, ACCEPT_REST - Duration::from_nanos(1));
        gate.turn();
        assert_eq!(gate.accepts(), accepts, "it rests to the end");
        pass(&server, Duration::from_nanos(1));
        gate.turn();
        gate.turn();
        assert_eq!((gate.waiting(0), gate.waiting(1)), (0, 0));
        pass(&server, QUIET);
        gate.turn();
        gate.turn();
        assert_eq!(gate.deadline(), None);
    }
    server.settle();
    assert_eq!(server.counter(Counter::Connections), 4);
    finish(gate, server);
}

#[test]
fn a_shortage_that_comes_and_goes_is_two_lines_of_the_log() {
    capture::install();
    let mut server = Server::new(1, settings());
    let mut gate = Gate::new(&server, 1, acceptor_settings(1000));
    gate.kernel().descriptors_max = 2;
    let lines = lines_of(|| {
        for _ in 0..20 {
            let sockets = [gate.dial(0), gate.dial(0)];
            gate.turn();
            server.settle();
            server.net.borrow_mut().sockets[sockets[0].0].eof = true;
            server.settle();
            pass(&server, Duration::from_secs(1));
        }
        pass(&server, QUIET);
        gate.turn();
    });
    let loud = lines.iter().filter(|line| line["level"] != "DEBUG");
    let said: Vec<String> = loud.map(|line| format!("{} {}", line["level"], line["message"])).collect();
    assert_eq!(
        said,
        [
            "WARN out of descriptors: new connections are refused or wait until that is over",
            "INFO out of descriptors: over after 20 failures in 19 s",
        ]
    );
    finish(gate, server);
}

#[test]
fn a_listener_that_is_lost_is_known_to_be_and_the_turns_go_on() {
    for unwatchable in [false, true] {
        let server = Server::new(1, settings());
        let mut gate = Gate::new(&server, 1, acceptor_settings(1000));
        gate.kernel().failing.push_back(AcceptError::OutOfMemory);
        gate.kernel().unwatchable = unwatchable;
        gate.dial(0);
        gate.turn();
        pass(&server, ACCEPT_REST);
        gate.turn();
        let stats = gate.acceptor.stats();
        assert_eq!((stats.has_lost_listener(), stats.turns()), (unwatchable, 2));
        finish(gate, server);
    }
}
