//! `/livez` and `/readyz`: whether the server should be started anew, and whether it should be sent clients.

use std::time::Duration;

use crate::endpoint::http::Answer;
use crate::endpoint::{DynamicResource, RouterPlan};
use crate::id::ShardId;
use crate::protocol::Refusal;
use crate::server::{Health, View};

/// How long one look waits for the shards to turn. An idle one answers in less than a millisecond.
pub const PATIENCE: Duration = Duration::from_millis(200);
/// A thread that has owed a turn for so long hangs: a turn is bounded to a small part of that, whatever the load.
pub const UNANSWERED_MAX: Duration = Duration::from_secs(5);

/// Adds both paths.
pub fn add(plan: &mut RouterPlan, view: &View) {
    let seen = view.clone();
    plan.add_dynamic("/livez", DynamicResource::new(move |_| live(&seen.health())));
    let seen = view.clone();
    plan.add_dynamic(
        "/readyz",
        DynamicResource::new(move |_| {
            let (health, silent) = look(&seen);
            ready(&health, &silent)
        }),
    );
}

/// How the server is now, and which shards have not answered in time. The acceptor of a server that has just
/// started may still have to make its first turn, which each look asks for.
fn look(view: &View) -> (Health, Vec<ShardId>) {
    let clock = view.parts().clock;
    let deadline = clock.now() + PATIENCE;
    loop {
        let silent = view.ask_shards(deadline.since(clock.now()));
        let health = view.health();
        if health.has_begun() || health.is_draining || clock.now() >= deadline {
            return (health, silent);
        }
    }
}

fn live(health: &Health) -> Result<Answer, Refusal> {
    match health.slowest().filter(|thread| thread.unanswered > UNANSWERED_MAX) {
        Some(hung) => {
            let for_ms = hung.unanswered.as_millis();
            Err(unavailable(format!("{} has not turned for {for_ms} ms", hung.thread)))
        }
        None => Ok(Answer::new("text/plain", b"live\n".into())),
    }
}

fn ready(health: &Health, silent: &[ShardId]) -> Result<Answer, Refusal> {
    if health.is_draining {
        return Err(unavailable("the server is shutting down".to_owned()));
    }
    if !health.is_listening {
        return Err(unavailable("a listener is lost".to_owned()));
    }
    live(health)?;
    if let Some(shard) = silent.first() {
        let for_ms = PATIENCE.as_millis();
        return Err(unavailable(format!("worker {shard} has not turned within {for_ms} ms")));
    }
    if !health.has_begun() {
        return Err(unavailable("the server has not begun to turn".to_owned()));
    }
    Ok(Answer::new("text/plain", b"ready\n".into()))
}

fn unavailable(why: String) -> Refusal {
    Refusal::new(503, why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::{ServerThread, ThreadHealth};

    fn health(unanswered: Duration) -> Health {
        let worker = ServerThread::Worker(ShardId::new(1));
        let thread = |thread, unanswered| ThreadHealth { thread, turns: 1, unanswered, has_ended: false };
        let threads = vec![thread(worker, unanswered), thread(ServerThread::Acceptor, Duration::ZERO)];
        Health { threads, is_listening: true, is_draining: false }
    }

    fn answered(answer: Result<Answer, Refusal>) -> (u16, String) {
        match answer {
            Ok(answer) => (answer.status, String::from_utf8(answer.body).unwrap()),
            Err(refusal) => (refusal.status, refusal.body),
        }
    }

    #[test]
    fn a_thread_that_owes_a_turn_for_long_hangs() {
        let step = Duration::from_nanos(1);
        for (unanswered, status) in [
            (Duration::ZERO, 200),
            (UNANSWERED_MAX - step, 200),
            (UNANSWERED_MAX, 200),
            (UNANSWERED_MAX + step, 503),
        ] {
            assert_eq!(answered(live(&health(unanswered))).0, status, "{unanswered:?}");
            assert_eq!(answered(ready(&health(unanswered), &[])).0, status, "{unanswered:?}");
        }
        let why = answered(live(&health(Duration::from_secs(6)))).1;
        assert_eq!(why, "worker 1 has not turned for 6000 ms");
    }

    #[test]
    fn who_is_not_ready_says_why() {
        let well = health(Duration::ZERO);
        assert_eq!(answered(ready(&well, &[])), (200, "ready\n".to_owned()));
        let mut unborn = well.clone();
        unborn.threads[1].turns = 0;
        for (health, silent, why) in [
            (Health { is_draining: true, ..well.clone() }, vec![], "shutting down"),
            (Health { is_listening: false, ..well.clone() }, vec![], "a listener is lost"),
            (unborn, vec![], "has not begun"),
            (well, vec![ShardId::new(3)], "worker 3 has not turned within 200 ms"),
        ] {
            let (status, body) = answered(ready(&health, &silent));
            assert!(status == 503 && body.contains(why), "{body}");
        }
    }
}
