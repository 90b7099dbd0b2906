//! `/livez` and `/readyz`: whether the server should be started anew, and whether it should be sent clients.

use std::time::Duration;

use crate::endpoint::http::Answer;
use crate::endpoint::{DynamicResource, RouterPlan};
use crate::protocol::Refusal;
use crate::server::View;

/// How long one look waits for the shards to turn. An idle one answers in less than a millisecond.
pub const PATIENCE: Duration = Duration::from_millis(200);
/// A shard that has owed an answer for so long hangs: a turn is bounded to a small part of that, whatever the
/// load.
pub const SILENCE_MAX: Duration = Duration::from_secs(5);

/// Adds both paths.
pub fn add(plan: &mut RouterPlan, view: &View) {
    let seen = view.clone();
    plan.add_dynamic("/livez", DynamicResource::new(move |_| live(&seen.ask_shards(PATIENCE))));
    let seen = view.clone();
    plan.add_dynamic(
        "/readyz",
        DynamicResource::new(move |_| {
            if seen.is_stopping() {
                return Err(unavailable("the server is shutting down".to_owned()));
            }
            ready(&seen.ask_shards(PATIENCE))
        }),
    );
}

fn live(silences: &[Duration]) -> Result<Answer, Refusal> {
    match silences.iter().position(|silence| *silence > SILENCE_MAX) {
        Some(shard) => Err(silent(shard, silences[shard])),
        None => Ok(Answer::new("text/plain", b"live\n".into())),
    }
}

fn ready(silences: &[Duration]) -> Result<Answer, Refusal> {
    match silences.iter().position(|silence| !silence.is_zero()) {
        Some(shard) => Err(silent(shard, silences[shard])),
        None => Ok(Answer::new("text/plain", b"ready\n".into())),
    }
}

fn silent(shard: usize, silence: Duration) -> Refusal {
    unavailable(format!("worker {shard} has not turned for {} ms", silence.as_millis()))
}

fn unavailable(why: String) -> Refusal {
    Refusal::new(503, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(answered: Result<Answer, Refusal>) -> u16 {
        answered.map_or_else(|refusal| refusal.status, |answer| answer.status)
    }

    #[test]
    fn a_silent_shard_is_not_ready_at_once_and_not_alive_after_a_while() {
        let step = Duration::from_nanos(1);
        for (silence, alive, is_ready) in [
            (Duration::ZERO, 200, 200),
            (step, 200, 503),
            (SILENCE_MAX - step, 200, 503),
            (SILENCE_MAX, 200, 503),
            (SILENCE_MAX + step, 503, 503),
        ] {
            let silences = [Duration::ZERO, silence];
            assert_eq!((status(live(&silences)), status(ready(&silences))), (alive, is_ready), "{silence:?}");
        }
        let refusal = live(&[Duration::ZERO, Duration::from_secs(6)]).unwrap_err();
        assert_eq!(refusal.body, "worker 1 has not turned for 6000 ms");
    }
}
