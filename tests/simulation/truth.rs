//! What the oracle knows: every message that was sent, by whom, and the log of every room as it grew.
//!
//! The logs are read from the rooms after each turn. They are not believed: each entry must be a message
//! that somebody has sent, in the sender's order, and all that members, streams, histories and answers
//! say must agree with them. Messages that a small window has lost again within one turn are holes, which
//! agree with everything; so is what a room that was forgotten within a turn had been told in it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::rc::Rc;
use std::sync::{Arc, Weak};

use fanfare::rooms::{Batch, Extent, ReadLimits, Registry, RoomName, Sender, Start};
use fanfare::time::Time;

use crate::chance::Chance;
use crate::plan::Plan;

/// What a message says.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Content {
    pub text: bool,
    pub bytes: Rc<[u8]>,
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = &self.bytes[..self.bytes.len().min(24)];
        write!(f, "{}{}\"{}\"", if self.text { "t" } else { "b" }, self.bytes.len(), shown.escape_ascii())
    }
}

impl Content {
    pub fn new(text: bool, bytes: &[u8]) -> Content {
        Content { text, bytes: bytes.into() }
    }
}

/// A message of a room.
#[derive(Clone, Debug)]
pub struct Entry {
    pub content: Content,
    /// The member that sent it.
    pub sender: Option<String>,
    /// The member that a back end spared it.
    pub spared: Option<String>,
}

/// One life of a room: its messages from offset 1 on; none where a hole is.
#[derive(Debug, Default)]
pub struct RoomLog(Vec<Option<Entry>>);

impl RoomLog {
    pub fn last(&self) -> u64 {
        self.0.len() as u64
    }

    /// The message at an offset, from 1 on; none for a hole.
    pub fn entry(&self, offset: u64) -> Option<&Entry> {
        self.0.get(offset as usize - 1)?.as_ref()
    }

    fn holes(&self) -> usize {
        self.0.iter().filter(|entry| entry.is_none()).count()
    }
}

/// What one member has sent; none stands for what was refused.
type Sent = Vec<Option<Content>>;

/// A room and one life of it.
type Life = (String, String);

#[derive(Debug)]
pub struct Truth {
    registry: Arc<Registry>,
    rooms: Vec<RoomName>,
    logs: BTreeMap<Life, RoomLog>,
    /// What each member has sent, by room and client id; those with the same id one behind the other.
    sent: BTreeMap<(String, String), Vec<Sent>>,
    /// How many messages of a member must have entered.
    due: BTreeMap<(String, String), usize>,
    /// Members whose messages may have been refused.
    refusable: BTreeSet<(String, String)>,
    /// How many messages of a member were acknowledged.
    taken: BTreeMap<(String, String), usize>,
    /// What back ends have sent, and how often at most each message may stand in a room.
    api: BTreeMap<(String, Content), usize>,
    /// What was acknowledged before the log was known so far.
    acknowledged: Vec<(Life, u64, Content)>,
    /// Where what was published under a key entered first, by room and key.
    keys: BTreeMap<(String, String), (String, u64)>,
    composed: u64,
    /// Where each room was when the order to drain was given.
    drained_at: BTreeMap<Life, u64>,
    pub now: Time,
    /// Messages that members have missed, as far as they know.
    pub missed: u64,
    /// How often clients have met what a run should not always miss.
    pub met: BTreeMap<&'static str, u64>,
    /// Messages whose memory has to be free in the end. To look at it keeps it from being used again, so
    /// only some runs do.
    batches: Vec<Weak<Batch>>,
    watches_memory: bool,
    /// Rooms are forgotten for want of memory, at any time that nobody is in them.
    forgetful: bool,
}

impl Truth {
    pub fn new(registry: Arc<Registry>, plan: &Plan) -> Truth {
        Truth {
            registry,
            rooms: plan.rooms.clone(),
            logs: BTreeMap::new(),
            sent: BTreeMap::new(),
            due: BTreeMap::new(),
            refusable: BTreeSet::new(),
            taken: BTreeMap::new(),
            api: BTreeMap::new(),
            acknowledged: Vec::new(),
            keys: BTreeMap::new(),
            composed: 0,
            drained_at: BTreeMap::new(),
            now: Time::ZERO,
            missed: 0,
            met: BTreeMap::new(),
            batches: Vec::new(),
            watches_memory: plan.watches_memory,
            forgetful: plan.is_forgetful(),
        }
    }

    /// A message that nobody has sent before, unless it is too short to be told from others.
    pub fn compose(&mut self, chance: &mut Chance, bytes_max: usize) -> Content {
        const PATTERN: &str = "the quick \"brown\" fox \\ jumps over\nthe lazy dog, grüßt und läuft davon; ";
        self.composed += 1;
        let text = chance.one_in(2);
        let size = chance.magnitude(0..=bytes_max);
        let json = text && chance.one_in(3);
        let mut composed = if json { format!("[{}", self.composed) } else { format!("#{} ", self.composed) };
        if json {
            composed.push_str(&",7".repeat(size.saturating_sub(composed.len() + 1) / 2));
            composed.push(']');
        }
        while composed.len() < size {
            composed.push_str(PATTERN);
        }
        let mut bytes = composed.into_bytes();
        bytes.truncate(size);
        while text && std::str::from_utf8(&bytes).is_err() {
            bytes.pop();
        }
        Content::new(text, &bytes)
    }

    /// A member is there, and has sent nothing. What it sends may be refused, and it may not hear of that.
    pub fn refusable_member_opened(&mut self, room: &str, client: &str) -> usize {
        self.refusable.insert((room.to_owned(), client.to_owned()));
        self.member_opened(room, client)
    }

    /// A member is there, and has sent nothing. Returns which life of its client id that is.
    pub fn member_opened(&mut self, room: &str, client: &str) -> usize {
        let lives = self.sent.entry((room.to_owned(), client.to_owned())).or_default();
        lives.push(Vec::new());
        lives.len() - 1
    }

    /// A member sends a message. Returns which of its messages that is.
    pub fn member_sent(&mut self, (room, client, life): (&str, &str, usize), content: Content) -> usize {
        let sent = self.sent_of(room, client, life);
        sent.push(Some(content));
        sent.len() - 1
    }

    /// One of the messages that a member has sent was refused.
    pub fn member_was_refused(&mut self, (room, client, life): (&str, &str, usize), which: usize) {
        self.sent_of(room, client, life)[which] = None;
    }

    fn sent_of(&mut self, room: &str, client: &str, life: usize) -> &mut Sent {
        let lives = self.sent.get_mut(&(room.to_owned(), client.to_owned()));
        lives.and_then(|lives| lives.get_mut(life)).expect("it has opened before")
    }

    /// A message that a member has sent was taken.
    pub fn member_acknowledged(&mut self, room: &str, client: &str) {
        *self.taken.entry((room.to_owned(), client.to_owned())).or_default() += 1;
    }

    /// All that a member has sent so far must be in the room by now.
    pub fn all_entered(&mut self, room: &str, client: &str) {
        let key = (room.to_owned(), client.to_owned());
        let sent = self.sent.get(&key).map_or(0, |lives| lives.iter().flatten().flatten().count());
        self.due.insert(key, sent);
    }

    /// A back end sends a message, perhaps once more.
    pub fn api_sent(&mut self, room: &str, content: Content) {
        *self.api.entry((room.to_owned(), content)).or_default() += 1;
    }

    pub fn acknowledge(&mut self, room: &str, epoch: &str, offset: u64, content: Content) {
        self.acknowledged.push(((room.to_owned(), epoch.to_owned()), offset, content));
    }

    /// Where a message has entered under a key, or had entered before: the same place as long as it is held.
    pub fn entered_under_key(&mut self, room: &str, key: &str, (epoch, offset): (String, u64)) {
        let known = self.keys.insert((room.to_owned(), key.to_owned()), (epoch.clone(), offset));
        let Some((first_epoch, first)) = known else { return };
        if (&first_epoch, first) == (&epoch, offset) {
            return self.meet("a publication repeated under its key");
        }
        let held = self.holds(room, &first_epoch, first.saturating_sub(1));
        assert!(!held, "what entered at {first} of {room} under a key entered again at {offset}");
    }

    /// Messages that were looked at, to see whether somebody still holds them.
    pub fn take_batches(&mut self) -> Vec<Weak<Batch>> {
        std::mem::take(&mut self.batches)
    }

    pub fn meet(&mut self, what: &'static str) {
        *self.met.entry(what).or_default() += 1;
    }

    /// Reads on in all logs.
    pub fn poll(&mut self, now: Time) {
        for name in &self.rooms {
            let Some(room) = self.registry.find(name) else { continue };
            let life = (name.as_str().to_owned(), room.epoch().to_string());
            let log = self.logs.entry(life).or_default();
            let mut pieces = Vec::new();
            let from = Start::After(log.last());
            if room.read_from(from, now, ReadLimits::NONE, &mut pieces).is_err() {
                let all = room.read_from(Start::Last(u64::MAX), now, ReadLimits::NONE, &mut pieces);
                let (start, _) = all.expect("what is held can be read");
                assert!(start > log.last(), "the log of {name} goes back from {} to {start}", log.last());
                log.0.resize(start as usize, None);
            }
            if self.watches_memory {
                self.batches.extend(pieces.iter().map(|piece| Arc::downgrade(&piece.batch)));
            }
            for piece in pieces {
                assert_eq!(piece.offset_before, log.last(), "offsets of {name} follow each other");
                for index in piece.first..piece.end {
                    let entry = &piece.batch.entries()[index as usize];
                    log.0.push(Some(Entry {
                        content: Content::new(entry.text, piece.batch.payload(index)),
                        sender: entry.sender.member().map(|id| id.to_string()),
                        spared: match entry.sender {
                            Sender::Api { exclude } => exclude.map(|id| id.to_string()),
                            Sender::Member(_) => None,
                        },
                    }));
                }
            }
        }
    }

    /// What a room holds now, and in which life.
    pub fn extent(&self, room: &str, now: Time) -> Option<Extent> {
        Some(self.registry.find(&RoomName::new(room).ok()?)?.extent(now))
    }

    pub fn log(&self, room: &str, epoch: &str) -> Option<&RoomLog> {
        self.logs.get(&(room.to_owned(), epoch.to_owned()))
    }

    /// Whether a room may have been forgotten within the turn in which it was told something: then it is not
    /// there any more, or in another life.
    pub fn lacks_an_end(&self, room: &str, epoch: &str) -> bool {
        let is_over = || self.extent(room, self.now).is_none_or(|extent| extent.epoch.to_string() != epoch);
        self.forgetful && is_over()
    }

    /// Whether a room holds all that is behind a position; then it has held it ever since that was there.
    pub fn holds(&self, room: &str, epoch: &str, offset: u64) -> bool {
        let extent = self.extent(room, self.now).filter(|extent| extent.epoch.to_string() == epoch);
        extent.is_some_and(|extent| extent.start <= offset)
    }

    /// A position that was refused is none that the room could have gone on from.
    pub fn assert_not_held(&self, room: &str, epoch: &str, offset: u64) {
        assert!(
            !self.holds(room, epoch, offset),
            "position {epoch}:{offset} of {room} was refused, and is held"
        );
    }

    /// Whether a member that was told of a shutdown has had all that the server held for it then.
    pub fn is_drained(&self, room: &str, epoch: &str, at: u64) -> bool {
        let life = (room.to_owned(), epoch.to_owned());
        let until = self.drained_at.get(&life).copied().unwrap_or_default();
        at >= until || !self.holds(room, epoch, at)
    }

    /// Somebody says that this is the message at an offset.
    pub fn confirm(
        &self,
        (room, epoch): (&str, &str),
        offset: u64,
        who: &str,
        same: impl Fn(&Content) -> bool,
    ) {
        let Some(log) = self.log(room, epoch) else {
            return assert!(self.forgetful, "{who} names {epoch} of room {room}");
        };
        let known = offset <= log.last() || self.lacks_an_end(room, epoch);
        assert!(offset > 0 && known, "{who} has {offset} of {room}, which is at {}", log.last());
        if let Some(entry) = log.entry(offset) {
            assert!(same(&entry.content), "{who} has another message at {offset} of {room}: {entry:?}");
        }
    }

    /// The order to drain is given: what is in the rooms now still reaches everybody.
    pub fn drain_ordered(&mut self) {
        self.drained_at = self.logs.iter().map(|(life, log)| (life.clone(), log.last())).collect();
    }

    /// At the end: every entry was sent by who it says, in order; what was acknowledged is there.
    pub fn conclude(&self) {
        for ((room, epoch), offset, content) in &self.acknowledged {
            self.confirm((room, epoch), *offset, "an acknowledgement", |found| found == content);
        }
        for ((room, client), lives) in &self.sent {
            self.conclude_member(room, client, lives);
        }
        let mut entered: BTreeMap<(&str, &Content), usize> = BTreeMap::new();
        for ((room, _), log) in &self.logs {
            for entry in log.0.iter().flatten().filter(|entry| entry.sender.is_none()) {
                *entered.entry((room, &entry.content)).or_default() += 1;
            }
        }
        for ((room, content), count) in entered {
            let sent = self.api.get(&(room.to_owned(), content.clone()));
            // What the hostile say does not begin as ours does, or is too short to tell.
            let from_elsewhere = content.bytes.len() < 4 || (sent.is_none() && content.bytes[0] != b'#');
            assert!(
                from_elsewhere || sent.is_some_and(|sent| count <= *sent),
                "{content:?} is {count} times in {room}, and was sent {sent:?} times by a back end"
            );
        }
    }

    /// The messages of a member stand in each life of its room in the order in which it has sent them, and
    /// none is left out, as far as that is known.
    fn conclude_member(&self, room: &str, client: &str, lives: &[Sent]) {
        let logs: Vec<&RoomLog> =
            self.logs.iter().filter(|((name, _), _)| name == room).map(|(_, log)| log).collect();
        let sent: Vec<&Content> = lives.iter().flatten().flatten().collect();
        let mut count = 0;
        for log in &logs {
            let entries = log.0.iter().flatten();
            let entered = entries.filter(|entry| entry.sender.as_deref() == Some(client));
            let entered: Vec<&Content> = entered.map(|entry| &entry.content).collect();
            let mut rest = sent.iter();
            let in_order = entered.iter().all(|content| rest.any(|sent| sent == content));
            assert!(in_order, "{client} has sent {sent:?} to {room}, and there stand {entered:?}");
            count += entered.len();
        }
        if self.forgetful || logs.iter().any(|log| log.holes() > 0) {
            return;
        }
        let key = (room.to_owned(), client.to_owned());
        let taken = self.taken.get(&key).copied().unwrap_or_default();
        let due = self.due.get(&key).copied().unwrap_or_default().max(taken);
        assert!(
            count >= due,
            "{due} messages of {client} have entered {room}, and {count} are there: {sent:?}"
        );
        if let ([log], 1, false) = (logs.as_slice(), lives.len(), self.refusable.contains(&key)) {
            let entries = log.0.iter().flatten();
            let entered = entries.filter(|entry| entry.sender.as_deref() == Some(client));
            let first = entered.zip(&sent).all(|(entry, sent)| entry.content == **sent);
            assert!(first, "a message of {client} was left out in {room}, and later ones were not");
        }
    }
}
