//! A simulated operating system: sockets in memory and a clock that only the test moves.
//!
//! [`SimIo::wait`] never blocks: it reports what is ready, level-triggered, in the order of
//! registration, and keeps the deadline it was given for whoever drives the clock.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io::{self, ErrorKind, IoSlice};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fanfare::reactor::{Interest, Io, READY_PER_WAIT, Ready, Wake};
use fanfare::slab::Key;
use fanfare::time::Time;

/// How often a socket was the subject of each call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Calls {
    pub receive: usize,
    pub send: usize,
    pub set_interest: usize,
    pub shutdown_write: usize,
    pub close: usize,
}

/// Both ends of one connection.
#[derive(Debug)]
pub struct Socket {
    /// What the peer has sent and the shard has not read: bytes from `read_at` on.
    inbound: Vec<u8>,
    read_at: usize,
    /// The most bytes that one receive gives.
    pub read_max: usize,
    /// The peer has ended its stream.
    pub eof: bool,
    /// Both directions are gone.
    pub hung_up: bool,
    /// What each receive and send fails with.
    pub error: Option<ErrorKind>,
    /// Bytes that the kernel still takes.
    pub room: usize,
    /// What the kernel took.
    pub output: Vec<u8>,
    /// The bytes of each send that took some.
    pub sends: Vec<usize>,
    /// The slices that the latest of them was given.
    pub slices: usize,
    pub key: Option<Key>,
    pub interest: Interest,
    pub calls: Calls,
}

impl Socket {
    fn new() -> Socket {
        Socket {
            inbound: Vec::new(),
            read_at: 0,
            read_max: usize::MAX,
            eof: false,
            hung_up: false,
            error: None,
            room: usize::MAX,
            output: Vec::new(),
            sends: Vec::new(),
            slices: 0,
            key: None,
            interest: Interest { readable: false, writable: false },
            calls: Calls::default(),
        }
    }

    /// Makes the peer send bytes.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.inbound.extend_from_slice(bytes);
    }

    /// Takes back what was not read, and keeps its memory.
    pub fn forget_input(&mut self) {
        self.inbound.clear();
        self.read_at = 0;
    }

    /// Bytes that the shard has not read.
    pub fn unread(&self) -> usize {
        self.inbound.len() - self.read_at
    }

    fn ready(&self, key: Key) -> Option<Ready> {
        let broken = self.error.is_some() || self.hung_up;
        let readable = self.interest.readable && (self.unread() > 0 || self.eof || broken);
        let writable = self.interest.writable && (self.room > 0 || broken);
        (readable || writable || self.hung_up).then_some(Ready {
            key,
            readable,
            writable,
            hung_up: self.hung_up,
        })
    }

    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(kind) = self.error {
            return Err(kind.into());
        }
        let count = self.unread().min(buffer.len()).min(self.read_max);
        if count == 0 {
            return if self.eof || self.hung_up { Ok(0) } else { Err(ErrorKind::WouldBlock.into()) };
        }
        buffer[..count].copy_from_slice(&self.inbound[self.read_at..self.read_at + count]);
        self.read_at += count;
        if self.read_at == self.inbound.len() {
            self.inbound.clear();
            self.read_at = 0;
        }
        Ok(count)
    }

    /// The kernel takes at most `most` bytes.
    fn send(&mut self, slices: &[IoSlice<'_>], most: usize) -> io::Result<usize> {
        if let Some(kind) = self.error {
            return Err(kind.into());
        }
        assert_eq!(self.calls.shutdown_write, 0, "nothing is sent after the end of the stream");
        let mut taken = 0;
        for slice in slices {
            let part = &slice[..slice.len().min(self.room).min(most - taken)];
            self.room -= part.len();
            self.output.extend_from_slice(part);
            taken += part.len();
        }
        if taken == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        self.sends.push(taken);
        self.slices = slices.len();
        Ok(taken)
    }
}

thread_local! {
    /// A socket has been registered, and nothing else asked of the simulation since.
    pub static ADOPTING: Cell<bool> = const { Cell::new(false) };
}

/// The calls of [`Io`] that can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    Register,
    SetInterest,
    Receive,
    Send,
    /// It gives no error, but what the peer has done shows at the next one.
    ShutdownWrite,
}

/// One call that fails once.
#[derive(Clone, Copy, Debug)]
pub struct PlannedFailure {
    pub call: Call,
    /// Calls of its kind that succeed before it.
    pub after: usize,
    pub error: ErrorKind,
    /// Whose call it was, once it has happened.
    pub met: Option<SocketId>,
}

impl PlannedFailure {
    pub fn of_the_next(call: Call, error: ErrorKind) -> PlannedFailure {
        PlannedFailure { call, after: 0, error, met: None }
    }
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Proceed,
    /// It moves at most so many bytes, one at least.
    Short(usize),
    /// It fails. What is not "later" is so for every later call on the socket, too.
    Fail(ErrorKind),
}

/// Decides what goes wrong, call by call.
pub trait Faults: fmt::Debug {
    /// What becomes of a call on a socket.
    fn judge(&mut self, call: Call, id: SocketId) -> Verdict;

    /// Changes what the wait of a shard reports.
    fn report(&mut self, watched: &[(SocketId, Key)], ready: &mut Vec<Ready>);
}

/// All sockets and the clock.
#[derive(Debug, Default)]
pub struct Net {
    pub now: Time,
    pub sockets: Vec<Socket>,
    /// Calls that moved something, to see when nothing moves any more.
    pub activity: u64,
    pub failure: Option<PlannedFailure>,
    pub faults: Option<Box<dyn Faults>>,
}

/// A socket by its place in [`Net::sockets`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketId(pub usize);

impl Net {
    /// A socket that no shard has seen.
    pub fn open(&mut self) -> SocketId {
        self.sockets.push(Socket::new());
        SocketId(self.sockets.len() - 1)
    }

    /// What becomes of a call: how many bytes it moves at most, if it does not fail.
    fn judge(&mut self, call: Call, id: SocketId) -> Result<usize, ErrorKind> {
        self.may_fail(call, id)?;
        let Some(faults) = &mut self.faults else { return Ok(usize::MAX) };
        match faults.judge(call, id) {
            Verdict::Proceed => Ok(usize::MAX),
            Verdict::Short(bytes) => Ok(bytes.max(1)),
            Verdict::Fail(kind) => {
                let later = matches!(kind, ErrorKind::WouldBlock | ErrorKind::Interrupted);
                let socket = &mut self.sockets[id.0];
                socket.error = socket.error.or(Some(kind).filter(|_| !later));
                Err(kind)
            }
        }
    }

    /// Fails if it is this call's turn to do so.
    fn may_fail(&mut self, call: Call, id: SocketId) -> Result<(), ErrorKind> {
        let Some(failure) = self.failure.as_mut().filter(|failure| failure.call == call) else {
            return Ok(());
        };
        if failure.met.is_some() {
            return Ok(());
        }
        if failure.after > 0 {
            failure.after -= 1;
            return Ok(());
        }
        failure.met = Some(id);
        Err(failure.error)
    }
}

/// Notes that a shard was woken.
#[derive(Clone, Debug, Default)]
pub struct SimWaker(Arc<AtomicBool>);

impl Wake for SimWaker {
    fn wake(&self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl SimWaker {
    /// Whether a wake-up has come since the last wait.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// One shard's view of the [`Net`].
#[derive(Debug)]
pub struct SimIo {
    net: Rc<RefCell<Net>>,
    waker: SimWaker,
    watched: Vec<(SocketId, Key)>,
    /// Reported by the next wait before anything else: for stale keys.
    pub injected: Vec<Ready>,
    /// How often it was waited.
    pub waits: usize,
    /// What the latest wait was given.
    pub deadline: Option<Time>,
    /// How far its clock, which is read once per turn, is behind the others' by now.
    pub lag: Duration,
    latest: Cell<Time>,
}

impl SimIo {
    pub fn new(net: Rc<RefCell<Net>>, waker: SimWaker) -> SimIo {
        let (watched, injected, lag) = (Vec::new(), Vec::new(), Duration::ZERO);
        SimIo { net, waker, watched, injected, waits: 0, deadline: None, lag, latest: Cell::default() }
    }

    /// Whether a wait would report something.
    pub fn is_ready(&self) -> bool {
        let net = self.net.borrow();
        self.watched.iter().any(|(id, key)| net.sockets[id.0].ready(*key).is_some())
    }

    fn with<R>(&self, id: SocketId, act: impl FnOnce(&mut Socket) -> R) -> R {
        ADOPTING.set(false);
        let mut net = self.net.borrow_mut();
        net.activity += 1;
        let socket = &mut net.sockets[id.0];
        assert_eq!(socket.calls.close, 0, "a closed socket is left alone");
        act(socket)
    }

    /// The same for a call that can fail. `act` is told how many bytes it may move.
    fn attempt<R>(
        &self,
        call: Call,
        id: SocketId,
        act: impl FnOnce(&mut Socket, usize) -> io::Result<R>,
    ) -> io::Result<R> {
        let judged = self.net.borrow_mut().judge(call, id);
        self.with(id, |socket| {
            match call {
                Call::Register => socket.calls.close += usize::from(judged.is_err()),
                Call::SetInterest => socket.calls.set_interest += 1,
                Call::Receive => socket.calls.receive += 1,
                Call::Send => socket.calls.send += 1,
                Call::ShutdownWrite => socket.calls.shutdown_write += 1,
            }
            act(socket, judged?)
        })
    }
}

impl Io for SimIo {
    type Socket = SocketId;
    type Stream = SocketId;

    fn now(&self) -> Time {
        let lag = self.lag.as_nanos() as u64;
        let lagging = Time::from_nanos(self.net.borrow().now.as_nanos().saturating_sub(lag));
        self.latest.set(self.latest.get().max(lagging));
        self.latest.get()
    }

    /// The simulated clock starts in 2026.
    fn unix_time(&self) -> Duration {
        Duration::from_secs(1_767_225_600) + self.now().since(Time::ZERO)
    }

    fn register(&mut self, socket: SocketId, key: Key) -> io::Result<SocketId> {
        self.attempt(Call::Register, socket, |socket, _| {
            socket.key = Some(key);
            socket.interest = Interest { readable: true, writable: false };
            Ok(())
        })?;
        self.watched.push((socket, key));
        ADOPTING.set(true);
        Ok(socket)
    }

    fn set_interest(&mut self, stream: &SocketId, key: Key, interest: Interest) -> io::Result<()> {
        self.attempt(Call::SetInterest, *stream, |socket, _| {
            assert_eq!(socket.key, Some(key));
            socket.interest = interest;
            Ok(())
        })
    }

    fn receive(&mut self, stream: &SocketId, buffer: &mut [u8]) -> io::Result<usize> {
        self.attempt(Call::Receive, *stream, |socket, most| {
            let end = buffer.len().min(most);
            socket.receive(&mut buffer[..end])
        })
    }

    fn send(&mut self, stream: &SocketId, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.attempt(Call::Send, *stream, |socket, most| socket.send(slices, most))
    }

    /// As a kernel may that is given all of them together: each for itself, and what came of it in any order.
    fn send_each<'a>(
        &mut self,
        slices: &[IoSlice<'_>],
        streams: impl Iterator<Item = &'a SocketId>,
        mut cut: impl FnMut(usize, io::Result<usize>),
    ) {
        let mut told = Vec::new();
        let bytes: usize = slices.iter().map(|slice| slice.len()).sum();
        for (at, stream) in streams.enumerate() {
            match self.send(stream, slices) {
                Ok(sent) if sent == bytes => {}
                sent => told.push((at, sent)),
            }
        }
        for (at, sent) in told.into_iter().rev() {
            cut(at, sent);
        }
    }

    fn shutdown_write(&mut self, stream: &SocketId) {
        let _ = self.attempt(Call::ShutdownWrite, *stream, |_, _| Ok(()));
    }

    fn close(&mut self, stream: SocketId) {
        self.with(stream, |socket| socket.calls.close += 1);
        self.watched.retain(|(watched, _)| *watched != stream);
    }

    fn wait(&mut self, ready: &mut Vec<Ready>, deadline: Option<Time>) -> io::Result<()> {
        ADOPTING.set(false);
        self.waits += 1;
        self.deadline = deadline;
        self.waker.0.store(false, Ordering::SeqCst);
        ready.clear();
        ready.append(&mut self.injected);
        let mut net = self.net.borrow_mut();
        let mut looked_at = 0;
        for (id, key) in &self.watched {
            if ready.len() >= READY_PER_WAIT {
                break;
            }
            looked_at += 1;
            ready.extend(net.sockets[id.0].ready(*key));
        }
        // Who was left out is first the next time.
        self.watched.rotate_left(looked_at);
        if let Some(faults) = &mut net.faults {
            faults.report(&self.watched, ready);
        }
        Ok(())
    }
}
