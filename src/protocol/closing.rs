//! The life of a connection as one table, with the closing handshake (RFC 6455 §7.1) in it.
//!
//! Knows no bytes: [`Connection`](super::Connection) says what happened, the table says what the
//! connection is afterwards and whether a Close frame is due.

/// Where a connection is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// HTTP requests are served; one of them may become the opening handshake (RFC 6455 §4).
    Handshaking,
    /// Frames travel both ways.
    Open,
    /// Our Close is sent, the peer's is awaited.
    Closing,
    /// Nothing the peer sends counts any more; only a due Close and the transport are left.
    Closed,
}

/// What happened to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// The opening handshake was accepted.
    Accepted,
    /// The opening handshake was refused.
    Refused,
    /// We sent a Close frame.
    CloseSent,
    /// The peer's Close frame arrived.
    CloseReceived,
    /// The peer broke a rule or a limit.
    Failed,
    /// The transport ended or broke.
    TransportLost,
}

/// Which Close frame is to be sent now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Due {
    /// None.
    Nothing,
    /// A reply with the peer's status code (RFC 6455 §5.5.1).
    CloseReply,
    /// One of our own that names the failure (RFC 6455 §7.1.7).
    CloseFailure,
}

/// What follows from a [`Cause`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Transition {
    /// The state afterwards.
    pub next: State,
    /// The Close frame to send.
    pub due: Due,
}

/// The next state and the Close frame due.
///
/// | in            | `Accepted` | `Refused` | `CloseSent` | `CloseReceived`    | `Failed`             | `TransportLost` |
/// |---------------|------------|-----------|-------------|--------------------|----------------------|-----------------|
/// | `Handshaking` | `Open`     | `Closed`  | –           | –                  | `Closed`             | `Closed`        |
/// | `Open`        | –          | –         | `Closing`   | `Closed`, reply due | `Closed`, Close due | `Closed`        |
/// | `Closing`     | –          | –         | –           | `Closed`           | `Closed`             | `Closed`        |
/// | `Closed`      | –          | –         | `Closed`    | –                  | –                    | `Closed`        |
///
/// `CloseSent` in `Closed` is the Close that was due. A dash is a bug of ours: the state stays
/// (and debug builds stop).
pub fn transition(state: State, cause: Cause) -> Transition {
    let found = lookup(state, cause);
    debug_assert!(found.is_some(), "{cause:?} cannot happen in {state:?}");
    found.unwrap_or(Transition { next: state, due: Due::Nothing })
}

fn lookup(state: State, cause: Cause) -> Option<Transition> {
    let (next, due) = match (state, cause) {
        (_, Cause::TransportLost) => (State::Closed, Due::Nothing),
        (State::Handshaking, Cause::Accepted) => (State::Open, Due::Nothing),
        (State::Handshaking, Cause::Refused | Cause::Failed) => (State::Closed, Due::Nothing),
        (State::Open, Cause::CloseSent) => (State::Closing, Due::Nothing),
        (State::Open, Cause::CloseReceived) => (State::Closed, Due::CloseReply),
        (State::Open, Cause::Failed) => (State::Closed, Due::CloseFailure),
        (State::Closing, Cause::CloseReceived | Cause::Failed) => (State::Closed, Due::Nothing),
        (State::Closed, Cause::CloseSent) => (State::Closed, Due::Nothing),
        _ => return None,
    };
    Some(Transition { next, due })
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATES: [State; 4] = [State::Handshaking, State::Open, State::Closing, State::Closed];
    const CAUSES: [Cause; 6] = [
        Cause::Accepted,
        Cause::Refused,
        Cause::CloseSent,
        Cause::CloseReceived,
        Cause::Failed,
        Cause::TransportLost,
    ];

    #[test]
    fn the_table_is_the_documented_one() {
        let (open, closing) = (Some(State::Open), Some(State::Closing));
        let closed = Some(State::Closed);
        let table = [
            [open, closed, None, None, closed, closed],
            [None, None, closing, closed, closed, closed],
            [None, None, None, closed, closed, closed],
            [None, None, closed, None, None, closed],
        ];
        for (state, row) in STATES.into_iter().zip(table) {
            for (cause, next) in CAUSES.into_iter().zip(row) {
                let found = lookup(state, cause).map(|found| found.next);
                assert_eq!(found, next, "{state:?} {cause:?}");
            }
        }
    }

    #[test]
    fn a_close_is_due_only_from_open() {
        for state in STATES {
            for cause in CAUSES {
                let due = lookup(state, cause).map_or(Due::Nothing, |found| found.due);
                let expected = match (state, cause) {
                    (State::Open, Cause::CloseReceived) => Due::CloseReply,
                    (State::Open, Cause::Failed) => Due::CloseFailure,
                    _ => Due::Nothing,
                };
                assert_eq!(due, expected, "{state:?} {cause:?}");
            }
        }
    }

    #[test]
    fn closed_is_final() {
        for cause in CAUSES {
            let next = lookup(State::Closed, cause).map(|found| found.next);
            assert!(next.is_none_or(|next| next == State::Closed));
        }
    }

    #[test]
    #[cfg_attr(debug_assertions, should_panic = "cannot happen")]
    fn an_impossible_cause_changes_nothing() {
        let found = transition(State::Closing, Cause::Accepted);
        assert_eq!(found.next, State::Closing);
        assert_eq!(found.due, Due::Nothing);
    }
}
