//! Whose connection has died and may come back under the same client id.
//!
//! Names are claims that nobody has verified. Whoever says the name of one that died within the grace gets
//! its client id, and is for the others the one that was there before: nobody is told of a leave and a
//! join, and whoever of that name comes next, perhaps the true one, is a new client. A client id thus
//! proves nothing and must open nothing; it only says that it is the same name again. Only ids of dead
//! connections are given out, each once, so that no two live ones share an id by this.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::presence::{ALLOCATION_BYTES, Place, client_at, map_entry_bytes, place_of};
use super::{Identity, NAME_BYTES_MAX};
use crate::id::{ConnectionId, ShardId};
use crate::sync::Mutex;
use crate::time::Time;

/// The most clients that may come back at a time: as many as die at once when a network between many and
/// the server fails, and it bounds what dying ones can make the server remember
/// ([`Returning::BYTES_MAX`]). Over it one that dies has just left.
pub const RETURNING_MAX: usize = 65_536;

/// By name, then by the end of its grace.
type Waiting = (Arc<str>, Time, Place);

/// Names to the client ids that wait for them, shared by all shards. Owns no heap while nobody is awaited.
///
/// No call looks at more than a few entries, however many there are and whatever they are called.
#[derive(Debug)]
pub struct Returning {
    max: usize,
    waiting: Mutex<BTreeSet<Waiting>>,
}

impl Default for Returning {
    fn default() -> Self {
        Returning::new()
    }
}

impl Returning {
    /// Bytes that all who may come back pin at most: 13 MB.
    pub const BYTES_MAX: usize = RETURNING_MAX
        * (map_entry_bytes(size_of::<Waiting>())
            + NAME_BYTES_MAX
            + 2 * size_of::<usize>()
            + ALLOCATION_BYTES);

    /// Nobody is awaited.
    pub fn new() -> Returning {
        Returning::bounded(RETURNING_MAX)
    }

    fn bounded(max: usize) -> Returning {
        Returning { max, waiting: Mutex::default() }
    }

    /// Notes that the connection of a client died without a word, and until when its id waits.
    ///
    /// False if [`RETURNING_MAX`] wait already: nobody gets this id, so the client has just left.
    #[must_use = "who is not awaited has left"]
    pub fn note(&self, identity: &Identity, client: ConnectionId, until: Time) -> bool {
        let entry = waiting(identity, client, until);
        let mut waiting = self.waiting.lock();
        if waiting.len() >= self.max {
            return false;
        }
        waiting.insert(entry);
        true
    }

    /// Somebody of this name connects: of the ids that wait for it and have time left, `until` behind
    /// `now`, the one whose time ends first, and so with one grace for all has waited longest. Nobody else
    /// gets it.
    pub fn take(&self, identity: &Identity, now: Time) -> Option<ConnectionId> {
        let mut waiting = self.waiting.lock();
        if waiting.is_empty() {
            return None;
        }
        let user: Arc<str> = identity.user().into();
        let behind_now = Time::from_nanos(now.as_nanos().saturating_add(1));
        let first: Waiting = (user, behind_now, (ShardId::new(0), 0));
        let next = waiting.range(&first..).next();
        let found = next.filter(|(user, ..)| *user == first.0).cloned()?;
        remove(&mut waiting, &found);
        Some(client_at(found.2))
    }

    /// Ends the waiting of a client at the end of its grace, whether or not it is back: the same three that
    /// were noted, so that nothing is forgotten that was noted again since. Without this call it would count
    /// for [`RETURNING_MAX`] for ever.
    pub fn forget(&self, identity: &Identity, client: ConnectionId, until: Time) {
        let entry = waiting(identity, client, until);
        remove(&mut self.waiting.lock(), &entry);
    }

    /// How many are awaited, those whose time is over but who are not forgotten included.
    pub fn len(&self) -> usize {
        self.waiting.lock().len()
    }

    /// Whether nobody is awaited.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn waiting(identity: &Identity, client: ConnectionId, until: Time) -> Waiting {
    (identity.user().into(), until, place_of(client))
}

fn remove(waiting: &mut BTreeSet<Waiting>, entry: &Waiting) {
    if waiting.remove(entry) && waiting.is_empty() {
        // An emptied set keeps a node.
        *waiting = BTreeSet::new();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::slab::Key;

    fn at(nanoseconds: u64) -> Time {
        Time::from_nanos(nanoseconds)
    }

    fn client(number: usize) -> ConnectionId {
        ConnectionId { shard: ShardId::new(number % 3), key: Key::from_u64(1 << 32 | number as u64) }
    }

    fn identity(name: &str) -> Identity {
        Identity::new(name).unwrap()
    }

    #[test]
    fn an_id_goes_once_to_the_first_of_its_name() {
        let returning = Returning::new();
        let (ada, grace) = (identity("Ada"), identity("Grace"));
        assert!(returning.note(&ada, client(1), at(20)));
        assert!(returning.note(&ada, client(2), at(10)));
        assert!(returning.note(&grace, client(3), at(5)));
        assert_eq!(returning.take(&identity("Ad"), at(0)), None);
        assert_eq!(returning.take(&ada, at(0)), Some(client(2)), "it has waited longest");
        assert_eq!(returning.take(&ada, at(0)), Some(client(1)));
        assert_eq!(returning.take(&ada, at(0)), None, "the other name's id is not for it");
        assert_eq!(returning.take(&grace, at(0)), Some(client(3)));
        assert!(returning.is_empty());
    }

    #[test]
    fn an_id_waits_until_its_time_and_no_longer() {
        let ada = identity("Ada");
        for (now, taken) in [(9, Some(client(1))), (10, None), (11, None)] {
            let returning = Returning::new();
            assert!(returning.note(&ada, client(1), at(10)));
            assert_eq!(returning.take(&ada, at(now)), taken, "{now}");
        }
        let returning = Returning::new();
        assert!(returning.note(&ada, client(1), at(10)) && returning.note(&ada, client(2), at(11)));
        assert_eq!(returning.take(&ada, at(10)), Some(client(2)), "what is over is passed over");
        assert_eq!(returning.len(), 1, "and stays until it is forgotten");
        assert_eq!(returning.take(&ada, Time::NEVER), None);
    }

    #[test]
    fn only_what_was_noted_with_that_time_is_forgotten() {
        let (returning, ada) = (Returning::new(), identity("Ada"));
        assert!(returning.note(&ada, client(1), at(10)));
        assert_eq!(returning.take(&ada, at(5)), Some(client(1)));
        assert!(returning.note(&ada, client(1), at(17)), "it died again");
        returning.forget(&ada, client(1), at(10));
        returning.forget(&ada, client(2), at(17));
        returning.forget(&identity("Grace"), client(1), at(17));
        assert_eq!(returning.take(&ada, at(12)), Some(client(1)));
    }

    #[test]
    fn over_the_most_the_newest_is_not_noted() {
        let (returning, ada) = (Returning::new(), identity("Ada"));
        for number in 0..RETURNING_MAX {
            assert!(returning.note(&ada, client(number), at(number as u64)), "{number}");
        }
        assert!(!returning.note(&identity("Grace"), client(RETURNING_MAX), at(1)));
        assert_eq!((returning.len(), returning.take(&identity("Grace"), at(0))), (RETURNING_MAX, None));
        returning.forget(&ada, client(7), at(7));
        assert!(returning.note(&identity("Grace"), client(RETURNING_MAX), at(1)));
        assert!(!returning.note(&ada, client(7), at(7)), "full again");
    }

    #[derive(Clone, Debug)]
    enum Step {
        Note(usize, u64),
        Take(usize),
        Forget(usize),
        Pass(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0usize..4, 1u64..50).prop_map(|(name, grace)| Step::Note(name, grace)),
            4 => (0usize..5).prop_map(Step::Take),
            2 => (0usize..20).prop_map(Step::Forget),
            2 => (1u64..20).prop_map(Step::Pass),
        ]
    }

    /// The directory against a list of all that wait; each id is noted once, so none may come out twice.
    fn run(steps: Vec<Step>, max: usize) {
        let names = ["a", "aa", "b", "ü", "nobody"].map(identity);
        let returning = Returning::bounded(max);
        let mut list: Vec<(usize, ConnectionId, Time)> = Vec::new();
        let mut now = Time::ZERO;
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                Step::Note(name, grace) => {
                    let until = at(now.as_nanos() + grace);
                    let noted = returning.note(&names[name], client(number), until);
                    assert_eq!(noted, list.len() < max);
                    if noted {
                        list.push((name, client(number), until));
                    }
                }
                Step::Take(name) => {
                    let in_time = list.iter().filter(|waiting| waiting.0 == name && waiting.2 > now);
                    let expected = in_time.min_by_key(|waiting| (waiting.2, place_of(waiting.1)));
                    let expected = expected.map(|waiting| waiting.1);
                    assert_eq!(returning.take(&names[name], now), expected);
                    list.retain(|waiting| Some(waiting.1) != expected);
                }
                Step::Forget(which) => {
                    let Some(&(name, client, until)) = list.get(which) else { continue };
                    returning.forget(&names[name], client, until);
                    list.remove(which);
                }
                Step::Pass(nanoseconds) => now = at(now.as_nanos() + nanoseconds),
            }
            assert_eq!((returning.len(), returning.is_empty()), (list.len(), list.is_empty()));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn the_directory_agrees_with_a_list(
            steps in prop::collection::vec(step(), 1..200),
            max in prop_oneof![Just(RETURNING_MAX), 0usize..6],
        ) {
            run(steps, max);
        }
    }
}
