//! The loop of a client process: one thread, one poller, thousands of players.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::io::{BufRead, ErrorKind, Write};
use std::sync::mpsc::{Receiver, channel};

use fanfare::reactor::{Io, MonotonicClock, PollIo, Ready, Wake};
use fanfare::slab::{Key, Slab};
use fanfare::time::Time;
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, nice, setrlimit};
use rustix::time::{ClockId, clock_gettime};

use super::books::{Books, Tally};
use super::link::{Link, is_later};
use super::play::{Drop, End, Next, Play, Reading, Turn, Wants, player};
use crate::load::cast::Cast;
use crate::load::wire::{Begin, Said, Tell};

const SECOND: u64 = 1_000_000_000;
/// How often the unsettled are counted before the end.
const LOOK_EVERY: u64 = SECOND / 20;
/// Connections that are begun in one turn at most.
const CONNECTS_PER_TURN: usize = 32;
/// Bytes that one player is given in one turn.
const RECEIVE_BYTES: usize = 64 << 10;
/// Publishers of one process that can be told apart.
const PUBLISHERS_MAX: u32 = 1 << 20;

/// One player and its connection.
struct Seat {
    play: Box<dyn Play>,
    /// Its cast, and its number in it.
    cast: usize,
    number: usize,
    link: Option<Link>,
    /// The wake-up that counts; 0 for none.
    wake_at: u64,
    stopping: bool,
}

/// Runs a client process until it is told to end, or its conductor is gone.
pub fn run() {
    raise_descriptor_limit();
    // Test harnesses leave a line unfinished.
    println!();
    let mut lines = std::io::stdin().lock().lines();
    let first = lines.next().and_then(Result::ok).and_then(|line| serde_json::from_str(&line).ok());
    let Some(Tell::Begin(begin)) = first else { panic!("the first line says who this process is") };
    drop(lines);
    if begin.niceness != 0 {
        // Without it measurements are less exact, and nothing else.
        let _ = nice(begin.niceness);
    }
    let server = begin.server_process;
    let mut process = Process::new(begin);
    let (sender, commands) = channel();
    let waker = process.io.waker();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            let tell: Tell = serde_json::from_str(&line).expect("a command");
            if sender.send(tell).is_err() {
                return;
            }
            waker.wake();
        }
        // The conductor is gone without a word: nobody else would end its server.
        if let Some(server) = Pid::from_raw(server as i32) {
            let _ = kill_process(server, Signal::KILL);
        }
        std::process::exit(1);
    });
    process.serve(&commands);
}

fn raise_descriptor_limit() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}

struct Process {
    begin: Begin,
    io: PollIo,
    /// What the shared clock shows more than that of the poller.
    ahead: u64,
    books: Books,
    seats: Slab<Seat>,
    /// Players that want a connection.
    waiting: VecDeque<Key>,
    connect_at: u64,
    connects: usize,
    timers: BinaryHeap<Reverse<(u64, u64)>>,
    publishers: u32,
    buffer: Vec<u8>,
}

impl Process {
    fn new(begin: Begin) -> Process {
        let io = PollIo::new(MonotonicClock::start()).expect("a poller");
        let now = clock_gettime(ClockId::Monotonic);
        let shared = now.tv_sec as u64 * SECOND + now.tv_nsec as u64;
        Process {
            ahead: shared - io.now().as_nanos(),
            io,
            books: Books::new(begin.process, begin.server, begin.seed),
            seats: Slab::default(),
            waiting: VecDeque::new(),
            connect_at: 0,
            connects: 0,
            timers: BinaryHeap::new(),
            publishers: 0,
            buffer: vec![0; RECEIVE_BYTES],
            begin,
        }
    }

    /// The clock that all processes share.
    fn now(&self) -> u64 {
        self.io.now().as_nanos() + self.ahead
    }

    fn serve(&mut self, commands: &Receiver<Tell>) {
        let mut ready: Vec<Ready> = Vec::new();
        let (mut report_at, mut look_at) = (self.now() + SECOND, 0);
        loop {
            while let Ok(tell) = commands.try_recv() {
                if !self.obey(tell) {
                    return;
                }
            }
            self.connect_waiting();
            let timer = self.timers.peek().map_or(report_at, |Reverse((at, _))| *at);
            let connect = if self.waiting.is_empty() { report_at } else { self.connect_at };
            let look = if self.books.quiet { look_at } else { report_at };
            let next = report_at.min(timer).min(connect).min(look);
            let deadline = Time::from_nanos(next.saturating_sub(self.ahead));
            self.io.wait(&mut ready, Some(deadline)).expect("it can wait");
            for ready in &ready {
                self.handle(*ready);
            }
            self.run_timers();
            let now = self.now();
            if now >= report_at {
                self.report();
                report_at = (report_at + SECOND).max(now);
                look_at = now + LOOK_EVERY;
            } else if self.books.quiet && now >= look_at {
                // The last one to settle ends the wait.
                look_at = now + LOOK_EVERY;
                if self.unsettled() == 0 || self.seats.is_empty() {
                    self.report();
                }
            }
        }
    }

    /// Does as it is told; `false` for the end.
    fn obey(&mut self, tell: Tell) -> bool {
        match tell {
            Tell::Begin(_) => panic!("it has begun"),
            Tell::Start(cast) => self.start(&cast),
            Tell::Stop(name) => {
                let of_cast = |process: &Process, seat: &Seat| process.books.casts[seat.cast].name == name;
                self.for_each(of_cast, |seat, turn| seat.play.stop(turn), true);
            }
            Tell::Quiet => {
                self.books.quiet = true;
                self.for_each(|_, _| true, |seat, turn| seat.play.quiet(turn), false);
            }
            Tell::Rooms => say(&Said::Rooms(self.books.last_offsets())),
            Tell::Goals(goals) => self.books.set_goals(&goals),
            Tell::Blame => self.blame(),
            Tell::Report => {
                self.books.told += 1;
                self.report();
                return true;
            }
            Tell::Tolerate(codes) => self.books.tolerated = codes,
            Tell::End => return false,
        }
        self.books.told += 1;
        true
    }

    fn start(&mut self, cast: &Cast) {
        let known = self.books.casts.iter().position(|tally| tally.name == cast.name);
        let number = known.unwrap_or_else(|| {
            self.books.casts.push(Tally::new(&cast.name));
            self.books.casts.len() - 1
        });
        self.books.casts[number].players += cast.count as u64;
        for index in cast.first..cast.first + cast.count {
            self.publishers += 1;
            assert!(self.publishers < PUBLISHERS_MAX, "more players than can be told apart");
            let publisher = self.begin.process as u32 * PUBLISHERS_MAX + self.publishers;
            let play = player(&cast.role, index, publisher, &mut self.books);
            let seat = Seat { play, cast: number, number: index, link: None, wake_at: 0, stopping: false };
            let key = self.seats.insert(seat);
            self.waiting.push_back(key);
        }
    }

    /// Gives a turn to each player that is chosen.
    fn for_each(
        &mut self,
        chosen: impl Fn(&Process, &Seat) -> bool,
        mut play: impl FnMut(&mut Seat, &mut Turn<'_>),
        stop: bool,
    ) {
        let keys: Vec<Key> = self.seats.keys().collect();
        for key in keys {
            let Some(seat) = self.seats.get(key).filter(|seat| chosen(self, seat)) else { continue };
            let is_absent = seat.link.is_none();
            if stop && let Some(seat) = self.seats.get_mut(key) {
                seat.stopping = true;
            }
            self.turn(key, &mut play);
            if stop && is_absent {
                self.leave(key);
            }
        }
    }

    /// Connects those that wait, no faster than it may.
    fn connect_waiting(&mut self) {
        let interval = SECOND / u64::from(self.begin.connects_per_second.max(1));
        let now = self.now();
        // What could not be begun in time is not made up for at once.
        self.connect_at = self.connect_at.max(now.saturating_sub(interval * CONNECTS_PER_TURN as u64));
        while self.connect_at <= now
            && let Some(key) = self.waiting.pop_front()
        {
            let Some(seat) = self.seats.get_mut(key).filter(|seat| seat.link.is_none()) else { continue };
            self.connect_at += interval;
            self.connects += 1;
            let source = self.begin.sources[self.connects % self.begin.sources.len()];
            let way = (source, self.begin.server);
            match Link::begin(&mut self.io, key, way, seat.play.receive_buffer(), now) {
                Ok(link) => {
                    seat.link = Some(link);
                    self.turn(key, |seat, turn| seat.play.connected(turn));
                }
                Err(error) => self.end(key, End::Unreachable(error.kind())),
            }
        }
    }

    fn handle(&mut self, ready: Ready) {
        let Some(seat) = self.seats.get_mut(ready.key) else { return };
        let Some(link) = &mut seat.link else { return };
        if ready.writable
            && let Err(error) = link.send(&mut self.io, &[])
        {
            return self.end(ready.key, End::Broken(error.kind()));
        }
        if ready.readable && link.reads() || ready.hung_up {
            return self.receive(ready.key, RECEIVE_BYTES);
        }
        self.watch(ready.key, None);
    }

    /// Gives a player at most so many bytes.
    fn receive(&mut self, key: Key, bytes_max: usize) {
        let mut buffer = std::mem::take(&mut self.buffer);
        let link = self.seats.get(key).and_then(|seat| seat.link.as_ref());
        let received =
            link.map(|link| link.receive(&mut self.io, &mut buffer[..bytes_max.min(RECEIVE_BYTES)]));
        match received {
            None => {}
            Some(Ok(0)) => self.end(key, End::Eof),
            Some(Ok(count)) => self.turn(key, |seat, turn| seat.play.received(&mut buffer[..count], turn)),
            Some(Err(error)) if is_later(&error) => {}
            Some(Err(error)) if error.kind() == ErrorKind::ConnectionRefused => {
                self.end(key, End::Unreachable(error.kind()));
            }
            Some(Err(error)) => self.end(key, End::Broken(error.kind())),
        }
        self.buffer = buffer;
    }

    fn run_timers(&mut self) {
        let now = self.now();
        while let Some(Reverse((at, key))) = self.timers.peek().copied().filter(|Reverse((at, _))| *at <= now)
        {
            self.timers.pop();
            let key = Key::from_u64(key);
            let Some(seat) = self.seats.get_mut(key).filter(|seat| seat.wake_at == at) else { continue };
            seat.wake_at = 0;
            if seat.link.is_some() {
                self.turn(key, |seat, turn| seat.play.woken(turn));
            } else {
                self.waiting.push_back(key);
            }
        }
    }

    /// Lets a player do something, and does what it asks for.
    fn turn(&mut self, key: Key, play: impl FnOnce(&mut Seat, &mut Turn<'_>)) {
        let now = self.now();
        let Some(seat) = self.seats.get_mut(key) else { return };
        let mut wants = Wants::default();
        let link = seat.link.as_ref();
        let (local, queued) = (link.and_then(|link| link.local), link.map_or(0, Link::queued));
        let (player, cast) = (seat.number, seat.cast);
        play(seat, &mut Turn { now, player, cast, local, queued, books: &mut self.books, wants: &mut wants });
        if let Some(at) = wants.wake_at {
            self.wake(key, at);
        }
        self.carry_out(key, wants);
    }

    fn carry_out(&mut self, key: Key, wants: Wants) {
        let Process { seats, books, io, ahead, .. } = self;
        let Some(seat) = seats.get_mut(key) else { return };
        let Some(link) = &mut seat.link else { return };
        if let Some(shard) = wants.opened.filter(|_| !link.open) {
            (link.open, link.shard) = (true, shard);
            let tally = &mut books.casts[seat.cast];
            tally.open += 1;
            tally.count("opened");
            let took = (io.now().as_nanos() + *ahead).saturating_sub(link.began);
            tally.connect.record_nanoseconds(took);
            if let Some(shard) = shard {
                books.shard_opened(shard);
            }
        }
        if wants.half_close {
            link.half_close();
        }
        if (!wants.out.is_empty() || wants.half_close)
            && let Err(error) = link.send(io, &wants.out)
        {
            return self.end(key, End::Broken(error.kind()));
        }
        match wants.drop {
            Some(how) => {
                if how == Drop::Reset {
                    link.reset_on_drop();
                }
                return self.end(key, End::Own);
            }
            None => self.watch(key, wants.reading),
        }
        if wants.take > 0 {
            self.receive(key, wants.take);
        }
    }

    fn watch(&mut self, key: Key, reading: Option<Reading>) {
        let Some(link) = self.seats.get_mut(key).and_then(|seat| seat.link.as_mut()) else { return };
        let readable = reading.map_or(link.reads(), |reading| reading == Reading::On);
        if let Err(error) = link.watch(&mut self.io, key, readable) {
            self.end(key, End::Broken(error.kind()));
        }
    }

    fn wake(&mut self, key: Key, at: u64) {
        let Some(seat) = self.seats.get_mut(key) else { return };
        // Never twice at once, and an earlier one takes the place of a later one.
        if seat.wake_at == 0 || at < seat.wake_at {
            seat.wake_at = at;
            self.timers.push(Reverse((at, key.as_u64())));
        }
    }

    /// A connection has ended.
    fn end(&mut self, key: Key, end: End) {
        let now = self.now();
        let Some(seat) = self.seats.get_mut(key) else { return };
        let link = seat.link.take();
        let local = link.as_ref().and_then(|link| link.local);
        if let Some(link) = link.filter(|link| link.open) {
            self.books.casts[seat.cast].open -= 1;
            if let Some(shard) = link.shard {
                self.books.shards[shard] -= 1;
            }
        }
        let mut wants = Wants::default();
        let (player, cast) = (seat.number, seat.cast);
        let books = &mut self.books;
        let turn = &mut Turn { now, player, cast, local, queued: 0, books, wants: &mut wants };
        let next = seat.play.ended(end, turn);
        // What it wanted to be woken for was of that connection.
        seat.wake_at = 0;
        match next {
            Next::Again(wait) if !seat.stopping => self.wake(key, now + wait.as_nanos() as u64 + 1),
            _ => self.leave(key),
        }
    }

    /// A player leaves for good.
    fn leave(&mut self, key: Key) {
        if self.seats.get(key).is_some()
            && let Some(seat) = self.seats.remove_at(key.index())
        {
            self.books.casts[seat.cast].players -= 1;
        }
    }

    fn lacking(&self) -> impl Iterator<Item = (&Seat, String)> {
        let seats = self.seats.keys().filter_map(|key| self.seats.get(key));
        seats.filter_map(|seat| Some((seat, seat.play.lacks(&self.books)?)))
    }

    fn unsettled(&self) -> u64 {
        if self.books.quiet { self.lacking().count() as u64 } else { 0 }
    }

    fn blame(&mut self) {
        let lacking: Vec<(usize, usize, String)> =
            self.lacking().map(|(seat, text)| (seat.cast, seat.number, text)).collect();
        for (cast, player, text) in lacking {
            self.books.complain(cast, player, &text);
        }
    }

    fn report(&mut self) {
        let (at, unsettled) = (self.now() as f64 / SECOND as f64, self.unsettled());
        say(&Said::Report(self.books.report(at, unsettled)));
    }
}

fn say(said: &Said) {
    let mut line = serde_json::to_string(said).expect("it is JSON");
    line.push('\n');
    // If nobody listens any more the end of the input says so too.
    let _ = std::io::stdout().write_all(line.as_bytes());
}
