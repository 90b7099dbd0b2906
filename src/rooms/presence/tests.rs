//! Presence against a plain list of clients, and an observer that knows only what it is told.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::rooms::NAME_BYTES_MAX;

fn at(milliseconds: u64) -> Time {
    Time::ZERO + Duration::from_millis(milliseconds)
}

/// Clients whose order is not that of their numbers.
fn client(number: u64) -> ConnectionId {
    ConnectionId { shard: ShardId::new(number as usize % 3), key: Key::from_u64(1 << 32 | number) }
}

fn identity(name: &str) -> Option<Arc<Identity>> {
    Some(Arc::new(Identity::new(name).unwrap()))
}

fn enter(presence: &mut Presence, number: u64, identity: Option<Arc<Identity>>) -> Entered {
    presence.enter(Present { client: client(number), identity }, true)
}

fn stats(presence: &Presence) -> (usize, usize) {
    let stats = presence.stats().unwrap();
    (stats.clients, stats.users)
}

#[test]
fn rules_have_the_words_of_the_levels() {
    for text in ["off", "count", "full", "big-*=count"] {
        assert_eq!(text.parse::<PresenceRule>().unwrap().to_string(), text);
    }
    assert_eq!(
        "on".parse::<PresenceRule>().unwrap_err().to_string(),
        "\"on\" is no presence level; off, count or full is allowed, or PATTERN=LEVEL with * in the pattern \
         for any characters"
    );
    assert_eq!(PresenceLevel::default().to_string(), "full");
}

#[test]
fn who_is_not_listed_is_counted_and_costs_nothing() {
    let mut presence = Presence::new(PresenceLevel::Full);
    assert_eq!(enter(&mut presence, 0, None), Entered::New);
    let bytes = presence.bytes();
    for number in 1..4 {
        let member = Present { client: client(number), identity: None };
        assert_eq!(presence.enter(member, false), Entered::Unlisted);
    }
    assert_eq!((stats(&presence), presence.bytes()), ((4, 1), bytes));
    assert_eq!(presence.list(1).unwrap().len(), 1, "only the listed count for a list's limit");
    assert!(!presence.linger(client(2), at(1)));
    for number in 1..4 {
        assert_eq!(presence.leave(client(number), None, false), None);
    }
    assert_eq!(stats(&presence), (1, 1));
    assert!(presence.leave(client(0), None, true).is_some());
    assert_eq!(presence.bytes(), 0);
}

#[test]
fn clients_without_a_name_are_one_user() {
    let mut presence = Presence::new(PresenceLevel::Full);
    for (number, name, expected) in
        [(1, None, (1, 1)), (2, None, (2, 1)), (3, identity("Ada"), (3, 2)), (4, identity("Ada"), (4, 2))]
    {
        assert_eq!(enter(&mut presence, number, name), Entered::New);
        assert_eq!(stats(&presence), expected, "{number}");
    }
    for (number, expected) in [(4, (3, 2)), (3, (2, 1)), (1, (1, 1)), (2, (0, 0))] {
        assert_eq!(presence.leave(client(number), None, true).unwrap().client, client(number));
        assert_eq!(stats(&presence), expected, "{number}");
    }
}

#[test]
fn a_list_is_whole_or_refused() {
    let mut presence = Presence::new(PresenceLevel::Full);
    assert_eq!(presence.list(0), Ok(Vec::new()));
    for number in [5, 4, 3, 2] {
        enter(&mut presence, number, None);
    }
    let clients = |list: Vec<Present>| list.into_iter().map(|one| one.client).collect::<Vec<_>>();
    let all = [3, 4, 2, 5].map(client);
    assert_eq!(presence.list(3), Err(NoList::TooMany { clients: 4, limit: 3 }));
    assert_eq!(presence.list(3).unwrap_err().to_string(), "4 clients are in the room; a list has at most 3");
    for limit in [4, 5] {
        assert_eq!(clients(presence.list(limit).unwrap()), all, "{limit}");
    }
}

#[test]
fn who_lingers_stays_until_the_time_has_come() {
    for (now, ended) in [(at(9), false), (at(10), true), (at(11), true)] {
        let mut presence = Presence::new(PresenceLevel::Full);
        enter(&mut presence, 1, identity("Ada"));
        assert_eq!(presence.expire(client(1), at(99)), None, "it lives");
        assert!(presence.linger(client(1), at(10)));
        assert_eq!(stats(&presence), (1, 1));
        let told = presence.expire(client(1), now);
        assert_eq!(told, ended.then(|| Present { client: client(1), identity: identity("Ada") }), "{now:?}");
        let back = enter(&mut presence, 1, identity("Ada"));
        assert_eq!(back, if ended { Entered::New } else { Entered::Returned });
        assert_eq!(presence.expire(client(1), at(99)), None, "it is back");
        assert_eq!(enter(&mut presence, 1, None), Entered::Again);
        assert_eq!(presence.list(1).unwrap()[0].identity, identity("Ada"), "as it is listed");
    }
}

#[test]
fn a_timer_of_an_earlier_death_ends_nothing() {
    let mut presence = Presence::new(PresenceLevel::Full);
    enter(&mut presence, 1, identity("Ada"));
    assert!(presence.linger(client(1), at(10)));
    enter(&mut presence, 1, identity("Ada"));
    assert!(presence.linger(client(1), at(17)));
    assert_eq!(presence.expire(client(1), at(10)), None);
    assert!(presence.expire(client(1), at(17)).is_some());
}

#[test]
fn who_is_not_here_cannot_leave_or_linger() {
    let mut presence = Presence::new(PresenceLevel::Full);
    enter(&mut presence, 1, identity("Ada"));
    assert_eq!(presence.leave(client(2), identity("Ada").as_deref(), true), None);
    assert!(!presence.linger(client(2), at(1)));
    assert_eq!(presence.expire(client(2), at(1)), None);
    assert_eq!(stats(&presence), (1, 1));
}

#[test]
fn at_level_count_only_counts_are_kept() {
    let mut presence = Presence::new(PresenceLevel::Count);
    for number in 0..1000 {
        let name = if number % 2 == 0 { identity("Ada") } else { None };
        assert_eq!(enter(&mut presence, number, name), Entered::Unlisted);
    }
    assert_eq!(stats(&presence), (1000, 2));
    assert_eq!(presence.bytes(), KEPT_BYTES + USER_BYTES + 3, "nothing for each client");
    assert!(!presence.linger(client(1), at(10)));
    let none = presence.list(usize::MAX).unwrap_err();
    assert_eq!(
        none.to_string(),
        "the room's presence level is count; who is in a room is known at full (--presence)"
    );
    assert_eq!(presence.leave(client(0), identity("Grace").as_deref(), true), None);
    assert_eq!(stats(&presence), (1000, 2), "nobody of that name was here");
    assert_eq!(presence.leave(client(0), identity("Ada").as_deref(), true), None, "nobody is told");
    assert_eq!(stats(&presence), (999, 2));
}

#[test]
fn at_level_off_nothing_is_kept() {
    let mut presence = Presence::new(PresenceLevel::Off);
    assert_eq!(enter(&mut presence, 1, identity("Ada")), Entered::Unlisted);
    assert!(!presence.linger(client(1), at(10)));
    assert_eq!(presence.leave(client(1), None, true), None);
    assert_eq!(presence.list(9), Err(NoList::NotKept { level: PresenceLevel::Off }));
    assert_eq!((presence.stats(), presence.bytes(), presence.kept.is_none()), (None, 0, true));
}

#[test]
fn bytes_count_entries_and_names_and_an_empty_room_owns_none() {
    let mut presence = Presence::new(PresenceLevel::Full);
    assert_eq!((presence.bytes(), presence.kept.is_none()), (0, true));
    enter(&mut presence, 1, None);
    assert_eq!(presence.bytes(), KEPT_BYTES + MEMBER_BYTES, "no name, no other heap");
    let name = "x".repeat(NAME_BYTES_MAX);
    let named = MEMBER_BYTES + IDENTITY_BYTES + NAME_BYTES_MAX;
    enter(&mut presence, 2, identity(&name));
    enter(&mut presence, 3, identity(&name));
    let user = USER_BYTES + NAME_BYTES_MAX;
    assert_eq!(presence.bytes(), KEPT_BYTES + MEMBER_BYTES + 2 * named + user);
    assert!(presence.leave(client(2), None, true).is_some());
    assert_eq!(presence.bytes(), KEPT_BYTES + MEMBER_BYTES + named + user);
    assert!(
        presence.leave(client(3), None, true).is_some() && presence.leave(client(1), None, true).is_some()
    );
    assert_eq!((presence.bytes(), presence.kept.is_none()), (0, true));
}

#[derive(Clone, Debug)]
enum Step {
    /// A client, and which of the names it says.
    Enter(u64, usize),
    Leave(u64),
    /// The connection dies; how long the grace is, in milliseconds.
    Die(u64, u64),
    /// The timer of a client, early or late.
    Expire(u64),
    /// The timers of all.
    ExpireAll,
    Pass(u64),
    List(usize),
}

const CLIENTS: u64 = 24;
const NAMES: [&str; 4] = ["", "Ada", "Ad", "Grace"];

fn step() -> impl Strategy<Value = Step> {
    let client = || 0..CLIENTS;
    prop_oneof![
        8 => (client(), 0..NAMES.len()).prop_map(|(client, name)| Step::Enter(client, name)),
        4 => client().prop_map(Step::Leave),
        4 => (client(), 1u64..100).prop_map(|(client, grace)| Step::Die(client, grace)),
        4 => client().prop_map(Step::Expire),
        1 => Just(Step::ExpireAll),
        4 => (1u64..40).prop_map(Step::Pass),
        1 => (0usize..CLIENTS as usize).prop_map(Step::List),
    ]
}

/// A client in the model: its number, its name and until when it lingers.
#[derive(Clone, Copy, Debug)]
struct Known {
    number: u64,
    name: &'static str,
    until: Option<Time>,
}

impl Known {
    fn present(&self) -> Present {
        let identity = if self.name.is_empty() { None } else { identity(self.name) };
        Present { client: client(self.number), identity }
    }
}

struct Run {
    presence: Presence,
    known: Vec<Known>,
    /// What somebody knows who only hears of joins and leaves.
    observed: BTreeMap<Place, Present>,
    now: Time,
}

impl Run {
    fn find(&self, number: u64) -> Option<usize> {
        self.known.iter().position(|known| known.number == number)
    }

    fn is_full(&self) -> bool {
        self.presence.level() == PresenceLevel::Full
    }

    fn told_of_leave(&mut self, told: Option<Present>, expected: Option<Known>) {
        let expected = expected.filter(|_| self.is_full()).map(|known| known.present());
        assert_eq!(told, expected);
        if let Some(left) = told {
            assert_eq!(self.observed.remove(&place_of(left.client)), Some(left), "a leave behind its join");
        }
    }

    fn enter(&mut self, number: u64, name: &'static str) {
        let found = self.find(number);
        if found.is_some() && !self.is_full() {
            return; // The caller lets each enter once.
        }
        let entering = Known { number, name, until: None };
        let entered = self.presence.enter(entering.present(), true);
        let lingered = found.map(|found| self.known[found].until.take().is_some());
        let expected = match lingered {
            _ if !self.is_full() => Entered::Unlisted,
            None => Entered::New,
            Some(true) => Entered::Returned,
            Some(false) => Entered::Again,
        };
        assert_eq!(entered, expected);
        if found.is_none() {
            self.known.push(entering);
        }
        if entered == Entered::New {
            let before = self.observed.insert(place_of(client(number)), entering.present());
            assert_eq!(before, None, "a join behind its leave");
        }
    }

    fn leave(&mut self, number: u64) {
        let found = self.find(number).map(|found| self.known.remove(found));
        if found.is_none() && !self.is_full() {
            return; // The caller lets only those leave who entered.
        }
        let identity = found.and_then(|known| known.present().identity);
        let told = self.presence.leave(client(number), identity.as_deref(), true);
        self.told_of_leave(told, found);
    }

    fn die(&mut self, number: u64, until: Time) {
        let found = self.find(number);
        let lingers = self.presence.linger(client(number), until);
        assert_eq!(lingers, found.is_some() && self.is_full());
        match found {
            Some(found) if lingers => self.known[found].until = Some(until),
            _ => self.leave(number),
        }
    }

    fn expire(&mut self, number: u64) {
        let over = |known: &Known| known.until.is_some_and(|until| until <= self.now);
        let found = self.find(number).filter(|found| over(&self.known[*found]));
        let found = found.map(|found| self.known.remove(found));
        let told = self.presence.expire(client(number), self.now);
        self.told_of_leave(told, found);
    }

    fn check_list(&self, limit: usize) {
        let level = self.presence.level();
        let clients = self.known.len();
        let list = self.presence.list(limit);
        if level != PresenceLevel::Full {
            assert_eq!(list, Err(NoList::NotKept { level }));
        } else if clients > limit {
            assert_eq!(list, Err(NoList::TooMany { clients, limit }));
        } else {
            let mut expected: Vec<Present> = self.known.iter().map(Known::present).collect();
            expected.sort_by_key(|present| (present.client.shard, present.client.key.as_u64()));
            assert_eq!(list.as_ref(), Ok(&expected));
            let observed: Vec<Present> = self.observed.values().cloned().collect();
            assert_eq!(observed, expected, "who has heard everything knows who is here");
        }
    }

    fn check(&self) {
        self.check_list(CLIENTS as usize);
        let users: HashSet<&str> = self.known.iter().map(|known| known.name).collect();
        let stats = PresenceStats { clients: self.known.len(), users: users.len() };
        let level = self.presence.level();
        assert_eq!(self.presence.stats(), (level != PresenceLevel::Off).then_some(stats));
        let mut bytes: usize =
            users.iter().filter(|name| !name.is_empty()).map(|name| USER_BYTES + name.len()).sum();
        if level == PresenceLevel::Full {
            bytes += self
                .known
                .iter()
                .map(|known| member_bytes(known.present().identity.as_deref()))
                .sum::<usize>();
        }
        let empty = self.known.is_empty() || level == PresenceLevel::Off;
        assert_eq!(self.presence.bytes(), if empty { 0 } else { KEPT_BYTES + bytes });
        assert_eq!(self.presence.kept.is_none(), empty);
    }
}

fn run(steps: Vec<Step>, level: PresenceLevel) {
    let (presence, observed) = (Presence::new(level), BTreeMap::new());
    let mut run = Run { presence, known: Vec::new(), observed, now: Time::ZERO };
    for step in steps {
        match step {
            Step::Enter(number, name) => run.enter(number, NAMES[name]),
            Step::Leave(number) => run.leave(number),
            Step::Die(number, grace) => run.die(number, run.now + Duration::from_millis(grace)),
            Step::Expire(number) => run.expire(number),
            Step::ExpireAll => (0..CLIENTS).for_each(|number| run.expire(number)),
            Step::Pass(milliseconds) => run.now = run.now + Duration::from_millis(milliseconds),
            Step::List(limit) => run.check_list(limit),
        }
        run.check();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn presence_agrees_with_a_list_and_with_who_hears_everything(
        steps in prop::collection::vec(step(), 1..2000),
        level in prop_oneof![4 => Just(PresenceLevel::Full), 2 => Just(PresenceLevel::Count), 1 => Just(PresenceLevel::Off)],
    ) {
        run(steps, level);
    }
}
