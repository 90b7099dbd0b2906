//! Honest members of rooms: they publish, come and go, and check everything.

use std::time::Duration;

use super::books::Books;
use super::http::Head;
use super::play::{Drop, End, Next, Play, Reading, Turn};
use super::websocket::{Came, WebSocket};
use crate::load::cast::{Habit, Member, Publish};
use crate::load::checker::Checker;
use crate::load::payload::{self, Stamp};

/// How long the server may take to end a connection after our Close.
const CLOSE_PATIENCE: Duration = Duration::from_secs(60);
/// Bytes that may wait in front of a message; over it the server is not reading us.
const QUEUED_MAX: usize = 256 << 10;
/// What the kernel may keep for one that pauses.
const PAUSING_RECEIVE_BUFFER: usize = 16 << 10;
/// Messages in a turn at most.
const BURST_MAX: u32 = 64;
/// Longer after it was due a message is not made up for.
const LATE_MAX: u64 = 5_000_000_000;

/// One member.
pub struct Player {
    member: Member,
    player: usize,
    /// Its room's number, and how often it has moved on to another.
    room: usize,
    moves: usize,
    socket: WebSocket,
    /// Where it is in its room; `None` before it has been in it.
    checker: Option<Checker>,
    /// It asked for this position.
    asked: Option<u64>,
    schedule: Option<Schedule>,
    /// When its habit asks for something.
    act_at: Option<u64>,
    paused: bool,
    drops: u32,
    leave_by: Option<u64>,
    /// Its account is wrong: once is enough.
    broken: bool,
    leaving_for_good: bool,
}

/// What a publisher has to send.
struct Schedule {
    publisher: u32,
    publish: Publish,
    next_at: u64,
    sent: u64,
    room: u32,
}

impl Schedule {
    fn interval(&self) -> u64 {
        (1e9 / self.publish.rate.max(1e-3)) as u64
    }
}

impl Player {
    pub fn new(member: &Member, player: usize, publisher: u32, books: &mut Books) -> Player {
        let stays = matches!(member.habit, Habit::Stay | Habit::Pause { .. });
        assert!(stays || member.publish.is_none(), "what is on its way when a publisher drops may be lost");
        let name = member.rooms.of(player);
        let schedule = member.publish.map(|publish| Schedule {
            publisher,
            publish,
            next_at: 0,
            sent: 0,
            room: payload::room_mark(&name),
        });
        Player {
            member: member.clone(),
            player,
            room: books.room(&name),
            moves: 0,
            socket: WebSocket::default(),
            checker: None,
            asked: None,
            schedule,
            act_at: None,
            paused: false,
            drops: 0,
            leave_by: None,
            broken: false,
            leaving_for_good: false,
        }
    }

    fn target(&mut self, books: &Books) -> String {
        let room = &books.rooms[self.room];
        let mut target = format!("/rooms/{}?echo={}", room.name, self.schedule.is_some());
        self.asked = self.checker.as_ref().map(|checker| checker.offset);
        if let Some(offset) = self.asked {
            target.push_str(&format!("&since={}:{offset}", room.epoch()));
        }
        target
    }

    /// Takes everything that came of some bytes; what is wrong is said and ends the account.
    fn take(&mut self, bytes: &mut [u8], turn: &mut Turn<'_>) {
        let Player { socket, checker, broken, asked, room, member, .. } = self;
        let (cast, now, player) = (turn.cast, turn.now, turn.player);
        let comes_back = matches!(member.habit, Habit::Return { .. });
        // What was kept for somebody who was away or did not read is late by his own doing.
        let is_prompt = matches!(member.habit, Habit::Stay | Habit::Churn { .. });
        let mut restart = false;
        socket.take(bytes, turn, &mut |came, books| match came {
            Came::Open(head) => {
                if let Err(text) = begin(head, *room, *asked, checker, books) {
                    books.complain(cast, player, &text);
                    *broken = true;
                }
            }
            Came::Refused(head) if head.status == 410 && comes_back => {
                restart = true;
                let is_new_life = head.header("Fanfare-Epoch") != Some(books.rooms[*room].epoch());
                // Only a new process forgets a room that has members.
                let is_explained = is_new_life && books.tolerates(0);
                if let Some(text) = unexplained(head, member.habit, *asked).filter(|_| !is_explained) {
                    books.complain(cast, player, &text);
                }
                books.casts[cast].count("410, too old");
            }
            Came::Refused(head) => {
                books.complain(cast, player, &format!("the handshake was answered with {}", head.status));
            }
            Came::Message(message) => {
                let tally = &mut books.casts[cast];
                tally.received += 1;
                tally.received_bytes += message.len() as u64;
                let Some(checker) = checker.as_mut().filter(|_| !*broken) else { return };
                let room = &mut books.rooms[*room];
                match checker.take(room, message) {
                    Ok(stamp) if is_prompt => {
                        tally.latency.record_nanoseconds(now.saturating_sub(stamp.intended));
                    }
                    Ok(_) => {}
                    Err(violation) => {
                        *broken = true;
                        let text = format!("room {}: {violation}", room.name);
                        books.complain(cast, player, &text);
                    }
                }
            }
            Came::Close(..) => {}
            Came::Wrong(text) => books.complain(cast, player, &format!("the server sent {text}")),
        });
        if restart {
            self.checker = None;
            turn.wants.drop = Some(Drop::Close);
        }
    }

    /// Sends what is due.
    fn publish(&mut self, turn: &mut Turn<'_>) {
        let Some(schedule) = &mut self.schedule else { return };
        if turn.books.quiet || !self.socket.is_open() {
            return;
        }
        let interval = schedule.interval();
        if schedule.next_at == 0 {
            // Publishers begin anywhere in their interval, and so do not all send at once.
            schedule.next_at = turn.now + turn.books.random(0, interval);
        }
        if schedule.next_at + LATE_MAX < turn.now {
            turn.books.casts[turn.cast].count("publications given up, too late");
            schedule.next_at = turn.now;
        }
        let mut message = Vec::new();
        for _ in 0..BURST_MAX {
            if schedule.next_at > turn.now || turn.queued + turn.wants.out.len() > QUEUED_MAX {
                break;
            }
            schedule.sent += 1;
            let stamp = Stamp {
                room: schedule.room,
                publisher: schedule.publisher,
                sequence: schedule.sent,
                intended: schedule.next_at,
            };
            message.clear();
            payload::push(&mut message, &stamp, schedule.publish.bytes);
            self.socket.text(&message, turn);
            schedule.next_at += interval;
        }
        turn.wake_at(schedule.next_at.max(turn.now + 1_000_000));
    }

    /// When the habit asks for something next.
    fn plan(&mut self, turn: &mut Turn<'_>) {
        let wait = match self.member.habit {
            Habit::Stay => return,
            Habit::Churn { stay_ms } | Habit::Return { stay_ms, .. } => turn.about(stay_ms),
            Habit::Pause { for_ms, .. } if self.paused => Duration::from_millis(for_ms),
            Habit::Pause { every_ms, .. } => turn.about(every_ms),
        };
        self.act_at = Some(turn.now + wait.as_nanos() as u64);
        turn.wake_in(wait);
    }

    /// Does what its habit asks for.
    fn act(&mut self, turn: &mut Turn<'_>) {
        if !self.socket.is_open() || turn.books.quiet {
            return;
        }
        match self.member.habit {
            Habit::Stay => {}
            Habit::Churn { .. } => self.leave(turn),
            Habit::Return { .. } => {
                self.drops += 1;
                turn.count("dropped, to come back");
                turn.wants.drop = Some(if self.drops.is_multiple_of(2) { Drop::Reset } else { Drop::Close });
            }
            Habit::Pause { .. } => {
                self.paused = !self.paused;
                turn.wants.reading = Some(if self.paused { Reading::Off } else { Reading::On });
                self.plan(turn);
            }
        }
    }

    fn leave(&mut self, turn: &mut Turn<'_>) {
        self.socket.leave(turn);
        turn.wants.reading = Some(Reading::On);
        self.leave_by = Some(turn.now + CLOSE_PATIENCE.as_nanos() as u64);
        turn.wake_in(CLOSE_PATIENCE);
    }

    /// Where it goes after an end that it wanted.
    fn next(&mut self, turn: &mut Turn<'_>) -> Next {
        if self.leaving_for_good {
            return Next::Done;
        }
        match self.member.habit {
            Habit::Return { away_ms, .. } if !turn.books.quiet => Next::Again(turn.about(away_ms)),
            Habit::Return { .. } => Next::Again(Duration::ZERO),
            Habit::Churn { .. } => {
                self.moves += 1;
                let name = self.member.rooms.of(self.player + self.moves);
                self.room = turn.books.room(&name);
                self.checker = None;
                Next::Again(Duration::ZERO)
            }
            Habit::Stay | Habit::Pause { .. } => Next::Done,
        }
    }
}

/// Takes the position that a connection begins with.
fn begin(
    head: &Head,
    room: usize,
    asked: Option<u64>,
    checker: &mut Option<Checker>,
    books: &mut Books,
) -> Result<(), String> {
    let (Some(epoch), Some(from)) = (head.header("Fanfare-Epoch"), head.number("Fanfare-From")) else {
        return Err("the 101 has no position".to_owned());
    };
    let room = &mut books.rooms[room];
    room.enter(epoch);
    match (asked, &checker) {
        (Some(asked), Some(_)) if asked != from => {
            Err(format!("room {}: it asked to go on behind {asked} and begins behind {from}", room.name))
        }
        (Some(_), Some(_)) => Ok(()),
        _ => {
            *checker = Some(Checker::behind(from));
            Ok(())
        }
    }
}

/// What is wrong with a 410, if the room should have held what was asked for.
fn unexplained(head: &Head, habit: Habit, asked: Option<u64>) -> Option<String> {
    let Habit::Return { held, .. } = habit else { return None };
    let (Some(asked), Some(now)) = (asked, head.number("Fanfare-Offset")) else {
        return Some("a 410 without a position".to_owned());
    };
    let missed = now.saturating_sub(asked);
    (missed <= held).then(|| format!("a 410 for {missed} missed messages, {held} are held at least"))
}

impl Play for Player {
    fn connected(&mut self, turn: &mut Turn<'_>) {
        let target = self.target(turn.books);
        self.paused = false;
        self.leave_by = None;
        self.socket.shake_hands(&target, turn);
    }

    fn received(&mut self, bytes: &mut [u8], turn: &mut Turn<'_>) {
        let was_open = self.socket.is_open();
        self.take(bytes, turn);
        if !was_open && self.socket.is_open() {
            if self.asked.is_some() {
                turn.count("came back where it was");
            }
            self.plan(turn);
            self.publish(turn);
        }
    }

    fn woken(&mut self, turn: &mut Turn<'_>) {
        self.publish(turn);
        if self.act_at.is_some_and(|at| at <= turn.now) {
            self.act_at = None;
            self.act(turn);
        }
        if let Some(at) = self.act_at {
            turn.wake_at(at);
        }
        match self.leave_by {
            Some(by) if by <= turn.now => {
                turn.violation("the server has not ended the connection after a Close");
                turn.wants.drop = Some(Drop::Reset);
            }
            Some(by) => turn.wake_at(by),
            None => {}
        }
    }

    fn ended(&mut self, end: End, turn: &mut Turn<'_>) -> Next {
        let socket = std::mem::take(&mut self.socket);
        self.act_at = None;
        match (&socket.closed, end) {
            (_, End::Own) => {}
            (Some((1000, _)), End::Eof) if socket.leaving => turn.count("left"),
            (Some((code, _)), _) if turn.books.tolerates(*code) => turn.count(&format!("close {code}")),
            (None, _) if turn.books.tolerates(0) => turn.count("ended without a Close"),
            (Some((code, reason)), _) => {
                turn.count("cut");
                turn.violation(&format!("cut with {code}: {reason}"));
            }
            (None, end) => {
                turn.count("cut");
                turn.violation(&format!("cut without a Close: {end:?}"));
            }
        }
        self.next(turn)
    }

    fn stop(&mut self, turn: &mut Turn<'_>) {
        self.leaving_for_good = true;
        if self.socket.is_open() {
            self.leave(turn);
        } else if !self.socket.leaving {
            turn.wants.drop = Some(Drop::Close);
        }
    }

    fn receive_buffer(&self) -> Option<usize> {
        // Else the kernel takes for it what comes in a pause, and the server knows of none.
        matches!(self.member.habit, Habit::Pause { .. }).then_some(PAUSING_RECEIVE_BUFFER)
    }

    fn quiet(&mut self, turn: &mut Turn<'_>) {
        if self.paused {
            self.paused = false;
            turn.wants.reading = Some(Reading::On);
        }
    }

    fn lacks(&self, books: &Books) -> Option<String> {
        let room = &books.rooms[self.room].name;
        let Some(checker) = self.checker.as_ref().filter(|_| self.socket.is_open()) else {
            return Some(format!("room {room}: it is not in it"));
        };
        if self.broken {
            // It has been said.
            return None;
        }
        if let Some(schedule) = &self.schedule {
            let own = checker.last_of(schedule.publisher);
            if own != schedule.sent {
                return Some(format!("room {room}: of its own {} messages {own} came back", schedule.sent));
            }
        }
        let goal = books.goals.as_ref().and_then(|goals| goals.get(&self.room));
        goal.filter(|goal| checker.offset != **goal)
            .map(|goal| format!("room {room}: it is at offset {} of {goal}", checker.offset))
    }
}
