//! The n-th accept fails with each error that it can give.

use fanfare::reactor::AcceptError;
use fanfare::server::ACCEPT_REST;

use crate::common::listener::{Gate, acceptor_settings};
use crate::common::{Client, Server, settings};

use super::scenario::Day;

/// More accepts than a day has, and more turns than one takes.
const MANY: usize = 1000;

/// Comes through the acceptor, which may have to rest before.
fn come(gate: &mut Gate, server: &mut Server) -> Client {
    let socket = gate.dial(0);
    for _ in 0..MANY {
        gate.turn();
        server.settle();
        if gate.waiting(0) == 0 {
            // Which shard it got matters to nobody here.
            return Client { socket, shard: 0 };
        }
        server.advance(ACCEPT_REST);
    }
    panic!("{socket:?} waits for ever");
}

/// Lets the n-th accept fail for every n, and returns for how many a client was turned away, and how many
/// accepts there are.
fn sweep(error: AcceptError) -> (usize, usize) {
    let mut turned_away = 0;
    for after in 0..MANY {
        let server = Server::new(2, settings());
        let mut gate = Gate::new(&server, 1, acceptor_settings(MANY));
        gate.kernel().failing_after = after;
        gate.kernel().failing.push_back(error);
        let day = Day::begin_with(server, 0, |server, _| come(&mut gate, server));
        let met = gate.kernel().failing.is_empty();
        let evening = day.end();
        turned_away += evening.turned_away();
        evening.check(|seen| !seen.is_turned_away());
        if !met {
            return (turned_away, after);
        }
    }
    panic!("a day has fewer than {MANY} accepts");
}

#[test]
fn the_nth_accept_fails_and_nobody_is_turned_away() {
    for error in
        [AcceptError::NobodyWaits, AcceptError::Aborted, AcceptError::OutOfMemory, AcceptError::Failed]
    {
        let (turned_away, accepts) = sweep(error);
        assert_eq!(turned_away, 0, "{error:?}");
        assert!(accepts >= 14, "{error:?}: each client is let in, and then nobody waits");
    }
}

#[test]
fn the_nth_accept_finds_no_descriptor_and_only_its_client_is_told_so() {
    let (turned_away, accepts) = sweep(AcceptError::OutOfDescriptors);
    assert!(accepts >= 14);
    assert_eq!(turned_away, 7, "each client once, and none when nobody waits");
}
