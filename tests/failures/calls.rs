//! The n-th register, receive, send and change of interest fails with each error that it can give.

use std::io::ErrorKind;

use crate::common::sim::{Call, PlannedFailure};

use super::scenario::Day;

/// More calls of one kind than a day has.
const CALLS_MAX: usize = 10_000;

/// Lets the n-th call fail for every n, and returns how many there are. With `lasting` the connection
/// whose call it was may lose everything, else it may lose nothing either.
fn sweep(call: Call, error: ErrorKind, lasting: bool) -> usize {
    for after in 0..CALLS_MAX {
        let evening =
            Day::begin(Some(PlannedFailure { after, ..PlannedFailure::of_the_next(call, error) }), 0).end();
        let Some(victim) = evening.victim else { return after };
        evening.check(|seen| !lasting || seen.socket != victim);
    }
    panic!("a day has fewer than {CALLS_MAX} calls");
}

#[test]
fn a_day_without_failures_shows_everything_to_everybody() {
    let evening = Day::begin(None, 0).end();
    assert_eq!(evening.victim, None);
    evening.check(|_| true);
}

#[test]
fn the_nth_receive_fails_and_nobody_else_loses_anything() {
    let errors =
        [ErrorKind::ConnectionReset, ErrorKind::TimedOut, ErrorKind::HostUnreachable, ErrorKind::OutOfMemory];
    for error in errors {
        assert!(sweep(Call::Receive, error, true) > 20, "{error}");
    }
}

#[test]
fn the_nth_send_fails_and_nobody_else_loses_anything() {
    let errors = [
        ErrorKind::ConnectionReset,
        ErrorKind::BrokenPipe,
        ErrorKind::TimedOut,
        ErrorKind::NetworkUnreachable,
        ErrorKind::OutOfMemory,
    ];
    for error in errors {
        assert!(sweep(Call::Send, error, true) > 20, "{error}");
    }
}

#[test]
fn the_nth_call_is_interrupted_or_would_block_and_nobody_loses_anything() {
    for error in [ErrorKind::Interrupted, ErrorKind::WouldBlock] {
        assert!(sweep(Call::Receive, error, false) > 20, "{error}");
        assert!(sweep(Call::Send, error, false) > 20, "{error}");
    }
}

#[test]
fn the_nth_socket_cannot_be_watched_and_nobody_else_loses_anything() {
    // ENOMEM, and ENOSPC for too many watches of one user.
    for error in [ErrorKind::OutOfMemory, ErrorKind::StorageFull] {
        assert_eq!(sweep(Call::Register, error, true), 7, "{error}: each client of the day once");
    }
}

#[test]
fn the_nth_change_of_interest_fails_and_nobody_else_loses_anything() {
    for error in [ErrorKind::OutOfMemory, ErrorKind::NotFound] {
        assert!(sweep(Call::SetInterest, error, true) > 1, "{error}");
    }
}
