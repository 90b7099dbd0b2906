//! Asks all shards what they hold, with a bounded wait.

use std::cmp::Reverse;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::bounded;

use crate::endpoint::RouterPlan;
use crate::id::ShardId;
use crate::reactor::MonotonicClock;
use crate::shard::{Findings, Found, Inspection, LISTED_MAX, Mail, Mesh, Query};
use crate::time::Time;

/// How long a shard may look before it answers with what it has seen.
const LOOK: Duration = Duration::from_millis(100);
/// How long an answer is waited for: a shard that is busy or hung must not hold up who looks.
pub const INSPECTION_WAIT: Duration = Duration::from_millis(200);

/// Asks the shards of a server what they hold.
#[derive(Clone, Debug)]
pub struct Inspector {
    mesh: Arc<Mesh<OwnedFd>>,
    plan: Arc<RouterPlan>,
}

/// What the shards have answered.
#[derive(Clone, Debug)]
pub struct Inspected {
    /// The highest rank, or the latest, first.
    pub found: Found,
    /// At how many connections, rooms or closes was looked.
    pub looked_at: usize,
    /// Shards that did not answer in time.
    pub missing: Vec<ShardId>,
    /// Shards that had not looked at everything in time.
    pub partial: Vec<ShardId>,
}

impl Inspector {
    pub(super) fn new(mesh: Arc<Mesh<OwnedFd>>, plan: Arc<RouterPlan>) -> Inspector {
        Inspector { mesh, plan }
    }

    /// The path of the endpoint at this place, as it was given to the builder.
    pub fn endpoint_path(&self, endpoint: u16) -> Option<&str> {
        self.plan.endpoint_path(endpoint)
    }

    /// Asks all shards, and lists up to `limit` of what they have found, never more than [`LISTED_MAX`]. Waits for at
    /// most [`INSPECTION_WAIT`]; not to be called on a shard's thread, which could not answer then.
    pub fn ask(&self, query: Query, limit: usize) -> Inspected {
        let [inspected] = self.ask_all([(query, limit)]);
        inspected
    }

    /// The same for several questions at once, with one wait for all.
    pub fn ask_all<const N: usize>(&self, queries: [(Query, usize); N]) -> [Inspected; N] {
        let shards = self.mesh.shards();
        let (reply, answers) = bounded(shards * N);
        for shard in (0..shards).map(ShardId::new) {
            for (number, (query, limit)) in queries.iter().enumerate() {
                let (query, limit, reply) = (query.clone(), *limit, reply.clone());
                let inspection = Inspection { number, query, limit, patience: LOOK, reply };
                self.mesh.send(shard, Mail::Inspect(Box::new(inspection)));
            }
            self.mesh.wake(shard);
        }
        drop(reply);
        let clock = MonotonicClock::start();
        let left = || INSPECTION_WAIT.saturating_sub(clock.now().since(Time::ZERO));
        let mut findings: [Vec<Findings>; N] = std::array::from_fn(|_| Vec::new());
        while let Ok(found) = answers.recv_timeout(left()) {
            findings[found.number].push(found);
        }
        let mut queries = queries.into_iter();
        findings.map(|findings| {
            let (query, limit) = queries.next().expect("there are as many");
            gather(&query, findings, shards, limit.min(LISTED_MAX))
        })
    }
}

/// Puts the answers of the shards together.
fn gather(query: &Query, mut answers: Vec<Findings>, shards: usize, limit: usize) -> Inspected {
    answers.sort_by_key(|findings| findings.shard);
    let has_answered = |shard: &ShardId| answers.iter().any(|findings| findings.shard == *shard);
    let missing = (0..shards).map(ShardId::new).filter(|shard| !has_answered(shard)).collect();
    let partial = answers.iter().filter(|findings| !findings.is_complete);
    let partial = partial.map(|findings| findings.shard).collect();
    let looked_at = answers.iter().map(|findings| findings.looked_at).sum();
    let (mut connections, mut rooms, mut closes) = (Vec::new(), Vec::new(), Vec::new());
    for findings in answers {
        match findings.found {
            Found::Connections(found) => connections.extend(found),
            Found::Rooms(found) => rooms.extend(found),
            Found::Closes(found) => closes.extend(found),
        }
    }
    let found = match query {
        Query::Connections { .. } => Found::Connections(highest(connections, limit)),
        Query::Rooms { .. } => Found::Rooms(highest(rooms, limit)),
        Query::Closes(_) => {
            closes.sort_by_key(|closed| Reverse(closed.unix_time));
            closes.truncate(limit);
            Found::Closes(closes)
        }
    };
    Inspected { found, looked_at, missing, partial }
}

fn highest<T>(mut ranked: Vec<(u64, T)>, limit: usize) -> Vec<(u64, T)> {
    ranked.sort_by_key(|(rank, _)| Reverse(*rank));
    ranked.truncate(limit);
    ranked
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::reactor::Wake;

    #[derive(Clone, Default)]
    struct CountWakes(Arc<AtomicUsize>);

    impl Wake for CountWakes {
        fn wake(&self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn shards_that_do_not_answer_are_named_and_not_waited_for_for_long() {
        let wakes = CountWakes::default();
        let wakers = (0..3).map(|_| Box::new(wakes.clone()) as Box<dyn Wake>).collect();
        let (mesh, mailboxes) = Mesh::new(wakers, 1 << 20);
        let inspector = Inspector::new(mesh, Arc::default());
        let query = || Query::Closes(Default::default());
        let Inspected { missing, partial, looked_at, .. } = inspector.ask(query(), 10);
        assert_eq!(missing, [0, 1, 2].map(ShardId::new));
        assert_eq!((partial.len(), looked_at), (0, 0));
        assert_eq!(wakes.0.load(Ordering::SeqCst), 3, "each was woken");
        assert!(mailboxes.iter().all(|mailbox| matches!(mailbox.take(), Some(Mail::Inspect(_)))));
        drop(mailboxes);
        assert_eq!(
            inspector.ask(query(), 10).missing.len(),
            3,
            "shards that have ended do not answer either"
        );
    }

    #[test]
    fn answers_are_put_together_by_rank_up_to_the_limit() {
        let summary = |rank: u64| (rank, room(rank));
        let answer = |shard: usize, ranks: &[u64], is_complete| Findings {
            shard: ShardId::new(shard),
            number: 0,
            is_complete,
            looked_at: ranks.len(),
            found: Found::Rooms(ranks.iter().map(|rank| summary(*rank)).collect()),
        };
        let answers = vec![answer(2, &[9, 4], false), answer(0, &[7, 5, 1], true)];
        let query = Query::Rooms { sort: Default::default() };
        let gathered = gather(&query, answers, 3, 4);
        let Found::Rooms(rooms) = gathered.found else { panic!("rooms were asked for") };
        assert_eq!(rooms.iter().map(|(rank, _)| *rank).collect::<Vec<_>>(), [9, 7, 5, 4]);
        assert_eq!(gathered.looked_at, 5);
        assert_eq!((gathered.missing, gathered.partial), (vec![ShardId::new(1)], vec![ShardId::new(2)]));
    }

    fn room(number: u64) -> crate::rooms::RoomSummary {
        let registry = crate::rooms::Registry::new(crate::Config::default().room_settings());
        let name = crate::rooms::RoomName::new(&number.to_string()).unwrap();
        let route = crate::rooms::Route { shard: ShardId::new(0), local_room: crate::slab::Key::from_u64(0) };
        registry
            .add_route(&name, route, crate::time::Time::ZERO)
            .0
            .summary(crate::time::Time::ZERO, crate::rooms::LagPolicy::Disconnect)
    }
}
