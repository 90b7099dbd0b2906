//! Floods of control frames: one answer waits at most, whatever comes.

use fanfare::Config;

use crate::common::{Frame, ping, pong};
use crate::counting::asked;
use crate::peers::{assert_served, everything, open_crowd};

/// What bounds the rate stands elsewhere; here it is what they cost if they are let through.
fn unlimited() -> Config {
    Config { ping_rate: 1 << 20, byte_rate: 1 << 30, ..Config::default() }
}

const BURST: usize = 1_000;
const BURSTS: usize = 100;

#[test]
fn pings_of_a_peer_that_never_reads_cost_one_pong_to_the_byte() {
    let mut server = everything(1, &unlimited());
    let neighbour = server.connect(0, "/echo");
    let burst = ping(&[7; 125]).repeat(BURST);
    let flood = open_crowd(&mut server, "/echo", 1, burst.len(), 1 << 10)[0];
    server.socket(flood).room = 0;
    let mut round = || {
        asked(|| {
            server.feed(flood, &burst);
            server.settle();
        })
    };
    // The shard's spare room for a turn's answers grows once.
    round();
    for _ in 1..BURSTS {
        let asked = round();
        assert_eq!(asked.growth, 0, "{asked:?}");
        assert!(asked.peak_growth < 4 << 10, "{asked:?}");
    }
    assert_served(&mut server, neighbour);
    server.socket(flood).room = usize::MAX;
    server.settle();
    assert_eq!(server.take_frames(flood), [Frame::pong(&[7; 125])], "for {} pings", BURST * BURSTS);
    server.finish();
}

#[test]
fn unasked_pongs_cost_nothing_and_are_not_answered() {
    let mut server = everything(1, &unlimited());
    let burst = pong(&[7; 125]).repeat(BURST);
    let flood = open_crowd(&mut server, "/echo", 1, burst.len(), 1 << 10)[0];
    for _ in 0..BURSTS {
        let asked = asked(|| {
            server.feed(flood, &burst);
            server.turn(0);
        });
        assert_eq!((asked.growth, asked.largest <= 256), (0, true), "{asked:?}");
    }
    assert_eq!(server.socket(flood).output, b"");
    assert_served(&mut server, flood);
    server.finish();
}
