//! What is known of a client beside its rooms, which are known where they are: in the shard.

use std::time::Duration;

use super::Framing;
use crate::endpoint::Heartbeat;
use crate::time::Time;

/// One client.
#[derive(Clone, Copy, Debug)]
pub(super) struct State {
    pub framing: Framing,
    pub heartbeat: Heartbeat,
    pub connected: bool,
    /// Pings without an answer yet. Whatever else comes shows that the client lives, so there may be more.
    pub pongs_awaited: u32,
    pub errors_in_a_row: u8,
    /// Commands that it may send at once.
    tokens: u32,
    /// The time up to which tokens have been given.
    refilled_at: Time,
}

impl State {
    /// One that has just opened, with all the tokens of a second.
    pub fn new(framing: Framing, heartbeat: Heartbeat, rate: u32, now: Time) -> State {
        State {
            framing,
            heartbeat,
            connected: false,
            pongs_awaited: 0,
            errors_in_a_row: 0,
            tokens: rate,
            refilled_at: now,
        }
    }

    /// Takes the right to one command. What a second gives comes in evenly, and a second's worth is kept.
    pub fn take_token(&mut self, rate: u32, now: Time) -> bool {
        let each = Duration::from_secs(1) / rate;
        let since = now.since(self.refilled_at);
        let given = u32::try_from(since.as_nanos() / each.as_nanos().max(1)).unwrap_or(u32::MAX);
        if given >= rate - self.tokens {
            self.tokens = rate;
            self.refilled_at = now;
        } else {
            self.tokens += given;
            self.refilled_at = self.refilled_at + each * given;
        }
        let taken = self.tokens > 0;
        self.tokens = self.tokens.saturating_sub(1);
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: u64) -> Time {
        Time::ZERO + Duration::from_millis(milliseconds)
    }

    fn taken(state: &mut State, rate: u32, now: Time, wanted: u32) -> u32 {
        (0..wanted).map(|_| u32::from(state.take_token(rate, now))).sum()
    }

    #[test]
    fn a_second_gives_as_many_as_the_rate_evenly_and_no_more_are_kept() {
        for rate in [1, 2, 7, 1000, 1 << 20] {
            let mut state = State::new(Framing::Json, Heartbeat::Own, rate, at(0));
            assert_eq!(taken(&mut state, rate, at(0), rate - 1), rate - 1);
            assert_eq!(taken(&mut state, rate, at(0), 2), 1, "the last of {rate}, and no other");
            let half = taken(&mut state, rate, at(500), rate + 1);
            assert!(half.abs_diff(rate / 2) <= 1 + rate / 1000, "{half} of {rate}");
            assert_eq!(taken(&mut state, rate, at(60_000), rate + 1), rate, "after a minute");
        }
    }

    #[test]
    fn what_a_moment_gives_is_not_lost_however_often_it_is_looked_at() {
        let mut state = State::new(Framing::Json, Heartbeat::Own, 10, at(0));
        assert_eq!(taken(&mut state, 10, at(0), 11), 10);
        let given: u32 = (1..=1000).map(|now| taken(&mut state, 10, at(now), 1)).sum();
        assert_eq!(given, 10);
    }
}
