//! [`Io`] over the `polling` package and non-blocking sockets.
//!
//! Level-triggered: a shard reads each ready stream once per turn and is told again about what it
//! left, so no stream has to be drained at once and none is forgotten.
//!
//! What is watched is the package's; the wait is one `epoll_wait` on the descriptor of its poller, and a
//! wake-up one write to an eventfd. The package's own wait takes five system calls: it sets a timerfd and
//! re-arms it, waits, and reads and re-arms its own eventfd.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use polling::{Event, PollMode, Poller};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, epoll, eventfd, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown};

use super::{Interest, Io, MonotonicClock, READY_PER_WAIT, Ready, Wake, WakeFlag};
use crate::slab::Key;
use crate::time::Time;

#[cfg(not(target_pointer_width = "64"))]
compile_error!("a connection's key fills a 64-bit poller key; other pointer widths are not supported");

/// Reports taken per wait: enough to share one wait among many, few enough to bound a turn. One may be of a
/// wake-up, which is not shown.
const EVENTS_PER_WAIT: usize = READY_PER_WAIT + 1;
/// The key of wake-ups. No stream has it: the generation of a present one is odd.
const WAKE_KEY: u64 = 0;
/// Longest single wait. It ends early then, which is allowed; what a wait of weeks would take, not every
/// kernel has.
const WAIT_MAX: Duration = Duration::from_secs(24 * 3600);
/// What is left of a fine wait when whole milliseconds are too coarse for it.
const FINE: Duration = Duration::from_millis(2);
/// The part of a longer one that is kept for then: the kernel may end a wait late by a 200th of it.
const KEPT: u32 = 100;

/// The real [`Io`] of one shard.
#[derive(Debug)]
pub struct PollIo {
    poller: Arc<Poller>,
    wake_ups: Arc<WakeUps>,
    clock: MonotonicClock,
}

/// A watched socket. [`Io::close`] ends the watch, then closes it; where it is dropped, the kernel does both.
#[derive(Debug)]
pub struct PollStream {
    socket: OwnedFd,
}

/// How other threads end a wait.
#[derive(Debug)]
struct WakeUps {
    /// An eventfd, watched for edges: each write ends one wait, and its number is never read.
    event: OwnedFd,
    poller: Arc<Poller>,
    flag: WakeFlag,
}

impl WakeUps {
    #[allow(unsafe_code)]
    fn new(poller: &Arc<Poller>) -> io::Result<WakeUps> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let wanted = Event::readable(WAKE_KEY as usize);
        // SAFETY: as for a stream: the eventfd moves into a `WakeUps`, whose `Drop` deletes it first.
        unsafe {
            poller.add_with_mode(&event, wanted, PollMode::Edge)?;
        }
        Ok(WakeUps { event, poller: Arc::clone(poller), flag: WakeFlag::default() })
    }
}

impl Drop for WakeUps {
    fn drop(&mut self) {
        let _ = self.poller.delete(&self.event);
    }
}

/// Wakes the shard whose [`PollIo`] it came from.
#[derive(Clone, Debug)]
pub struct PollWaker(Arc<WakeUps>);

impl Wake for PollWaker {
    fn wake(&self) {
        if self.0.flag.raise() {
            // It would fail at 2⁶⁴ − 1 wake-ups.
            let _ = rustix::io::write(&self.0.event, &1_u64.to_ne_bytes());
        }
    }
}

impl PollIo {
    /// A poller of its own on the shared clock.
    ///
    /// # Errors
    ///
    /// When the operating system has no descriptor left for it.
    pub fn new(clock: MonotonicClock) -> io::Result<PollIo> {
        let poller = Arc::new(Poller::new()?);
        let wake_ups = Arc::new(WakeUps::new(&poller)?);
        Ok(PollIo { poller, wake_ups, clock })
    }

    /// What other threads wake this one with.
    pub fn waker(&self) -> PollWaker {
        PollWaker(Arc::clone(&self.wake_ups))
    }

    /// How long a wait may last, `None` for ever. Rounded up to whole milliseconds, which every kernel has the
    /// call for, so that no wait ends just before its deadline and is made again and again.
    fn timeout(&self, deadline: Option<Time>) -> Option<Timespec> {
        let left = match deadline? {
            Time::ZERO => Duration::ZERO,
            deadline => deadline.since(self.clock.now()).min(WAIT_MAX),
        };
        Some(timespec(Duration::from_millis((left.as_nanos() as u64).div_ceil(1_000_000))))
    }

    /// Waits as [`Io::wait`] does, but ends nearer to the deadline than in the next whole millisecond: what is left
    /// behind the last whole one is waited for on the poller's descriptor. That takes one more system call if
    /// something is ready then, which a server would only pay for.
    ///
    /// `epoll_pwait2` would do it in one, but is not on every kernel nor in every sandbox; `ppoll` is.
    ///
    /// # Errors
    ///
    /// As for [`Io::wait`].
    pub fn wait_finely(&mut self, ready: &mut Vec<Ready>, deadline: Option<Time>) -> io::Result<()> {
        ready.clear();
        let timeout = match fine_step(deadline.map(|deadline| deadline.since(self.clock.now()))) {
            Step::Coarse(timeout) => timeout,
            Step::Fine(timeout) => {
                match poll(&mut [PollFd::new(&*self.poller, PollFlags::IN)], Some(&timeout)) {
                    Ok(0) | Err(Errno::INTR) => return Ok(()),
                    Ok(_) => Some(timespec(Duration::ZERO)),
                    Err(error) => return Err(error.into()),
                }
            }
        };
        self.report(ready, timeout.as_ref()).map(|_| ())
    }

    /// Waits once, and says whether a wake-up was among what has ended that.
    fn report(&self, ready: &mut Vec<Ready>, timeout: Option<&Timespec>) -> io::Result<bool> {
        let mut events = [const { MaybeUninit::uninit() }; EVENTS_PER_WAIT];
        let events = match epoll::wait(&*self.poller, &mut events, timeout) {
            Ok((events, _)) => events,
            Err(Errno::INTR) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        let mut woken = false;
        for event in events {
            if event.data.u64() == WAKE_KEY {
                self.wake_ups.flag.lower();
                woken = true;
            } else {
                ready.push(ready_of(*event));
            }
        }
        Ok(woken)
    }
}

/// What a fine wait does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Waits in whole milliseconds, for ever without a timeout, and never up to the deadline.
    Coarse(Option<Timespec>),
    /// Waits for all that is left.
    Fine(Timespec),
}

/// What is done first of what is `left` of a fine wait.
fn fine_step(left: Option<Duration>) -> Step {
    match left {
        None => Step::Coarse(None),
        Some(Duration::ZERO) => Step::Coarse(Some(timespec(Duration::ZERO))),
        Some(left) if left < FINE => Step::Fine(timespec(left)),
        Some(left) => {
            let coarse = left.min(WAIT_MAX);
            let milliseconds = (coarse - coarse / KEPT).as_millis() as u64;
            Step::Coarse(Some(timespec(Duration::from_millis(milliseconds))))
        }
    }
}

fn timespec(duration: Duration) -> Timespec {
    Timespec { tv_sec: duration.as_secs() as i64, tv_nsec: duration.subsec_nanos().into() }
}

fn poll_event(key: Key, interest: Interest) -> Event {
    Event::new(key.as_u64() as usize, interest.readable, interest.writable)
}

impl Io for PollIo {
    type Socket = OwnedFd;
    type Stream = PollStream;

    fn now(&self) -> Time {
        self.clock.now()
    }

    fn unix_time(&self) -> Duration {
        self.clock.unix_time()
    }

    #[allow(unsafe_code)]
    fn register(&mut self, socket: OwnedFd, key: Key) -> io::Result<PollStream> {
        let interest = Interest { readable: true, writable: false };
        // SAFETY: the source must not stay in the poller when it is closed. It moves into a `PollStream`
        // right here, which `close` deletes first. One that is dropped without it goes with its whole shard
        // or acceptor, whose poller is not used any more, and is the only descriptor of its socket, with
        // which the kernel forgets it. If this call fails it was never added.
        unsafe {
            self.poller.add_with_mode(&socket, poll_event(key, interest), PollMode::Level)?;
        }
        Ok(PollStream { socket })
    }

    fn set_interest(&mut self, stream: &PollStream, key: Key, interest: Interest) -> io::Result<()> {
        self.poller.modify_with_mode(&stream.socket, poll_event(key, interest), PollMode::Level)
    }

    fn receive(&mut self, stream: &PollStream, buffer: &mut [u8]) -> io::Result<usize> {
        let (received, _) = rustix::net::recv(&stream.socket, buffer, RecvFlags::empty())?;
        Ok(received)
    }

    fn send(&mut self, stream: &PollStream, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        if let [slice] = slices {
            return Ok(rustix::net::send(&stream.socket, slice, SendFlags::NOSIGNAL)?);
        }
        let mut no_control: [MaybeUninit<u8>; 0] = [];
        let mut control = SendAncillaryBuffer::new(&mut no_control);
        Ok(rustix::net::sendmsg(&stream.socket, slices, &mut control, SendFlags::NOSIGNAL)?)
    }

    fn shutdown_write(&mut self, stream: &PollStream) {
        let _ = rustix::net::shutdown(&stream.socket, Shutdown::Write);
    }

    fn close(&mut self, stream: PollStream) {
        // It fails only if the kernel has forgotten the socket already.
        let _ = self.poller.delete(&stream.socket);
    }

    fn wait(&mut self, ready: &mut Vec<Ready>, deadline: Option<Time>) -> io::Result<()> {
        ready.clear();
        let timeout = self.timeout(deadline);
        self.report(ready, timeout.as_ref()).map(|_| ())
    }
}

fn ready_of(event: epoll::Event) -> Ready {
    use epoll::EventFlags;
    let flags = event.flags;
    let hung_up = EventFlags::HUP | EventFlags::ERR;
    Ready {
        key: Key::from_u64(event.data.u64()),
        readable: flags.intersects(EventFlags::IN | EventFlags::PRI | hung_up),
        writable: flags.intersects(EventFlags::OUT | hung_up),
        hung_up: flags.intersects(hung_up),
    }
}

impl AsFd for PollStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::slab::Slab;

    const PATIENCE: Duration = Duration::from_secs(60);

    /// Waits for what must come, and says what was ready.
    fn wait(io: &mut PollIo) -> Vec<Ready> {
        let (mut ready, deadline) = (Vec::new(), io.now() + PATIENCE);
        io.wait(&mut ready, Some(deadline)).unwrap();
        assert!(io.now() < deadline, "nothing has ended the wait");
        ready
    }

    /// Whether a wake-up is there to be reported, which this takes.
    fn takes_wake_up(io: &PollIo) -> bool {
        io.report(&mut Vec::new(), io.timeout(Some(Time::ZERO)).as_ref()).unwrap()
    }

    #[test]
    fn each_wake_up_ends_one_wait_the_present_or_the_next() {
        let mut io = PollIo::new(MonotonicClock::start()).unwrap();
        let waker = io.waker();
        for _ in 0..3 {
            let other = waker.clone();
            let thread = std::thread::spawn(move || other.wake());
            assert_eq!(wait(&mut io), []);
            thread.join().unwrap();
            waker.wake();
            waker.wake();
            assert_eq!(wait(&mut io), []);
            assert!(!takes_wake_up(&io), "two before a wait are one");
        }
    }

    #[test]
    fn a_wake_up_beside_a_ready_stream_shows_the_stream_only_and_that_again_until_it_is_read() {
        let mut io = PollIo::new(MonotonicClock::start()).unwrap();
        let (near, far) = UnixStream::pair().unwrap();
        let mut slab = Slab::default();
        let stream = io.register(near.into(), slab.next_key()).unwrap();
        let key = slab.insert(());
        io.waker().wake();
        rustix::io::write(&far, b"x").unwrap();
        let readable = [Ready { key, readable: true, writable: false, hung_up: false }];
        assert_eq!(wait(&mut io), readable);
        assert_eq!(wait(&mut io), readable);
        assert_eq!(io.receive(&stream, &mut [0; 8]).unwrap(), 1);
        drop(far);
        let [hung_up] = wait(&mut io)[..] else { panic!("the end is reported once") };
        assert!(hung_up.readable && hung_up.hung_up);
        io.close(stream);
        io.waker().wake();
        assert_eq!(wait(&mut io), [], "a closed stream is not watched");
    }

    #[test]
    fn a_fine_wait_is_left_for_what_is_ready_and_for_a_wake_up() {
        let mut io = PollIo::new(MonotonicClock::start()).unwrap();
        let (near, far) = UnixStream::pair().unwrap();
        let mut slab = Slab::default();
        let stream = io.register(near.into(), slab.next_key()).unwrap();
        let key = slab.insert(());
        let mut ready = Vec::new();
        for left in [Duration::ZERO, FINE / 2, PATIENCE] {
            rustix::io::write(&far, b"x").unwrap();
            let deadline = io.now() + left;
            io.wait_finely(&mut ready, Some(deadline)).unwrap();
            assert_eq!(ready, [Ready { key, readable: true, writable: false, hung_up: false }], "{left:?}");
            assert_eq!(io.receive(&stream, &mut [0; 8]).unwrap(), 1);
            io.waker().wake();
            let deadline = io.now() + left;
            io.wait_finely(&mut ready, Some(deadline)).unwrap();
            assert!(ready.is_empty() && !takes_wake_up(&io), "{left:?}");
        }
        io.waker().wake();
        io.wait_finely(&mut ready, None).unwrap();
        let deadline = io.now() + FINE / 4;
        while io.now() < deadline {
            io.wait_finely(&mut ready, Some(deadline)).unwrap();
            assert_eq!(ready, []);
        }
    }

    #[test]
    fn a_fine_wait_goes_in_whole_milliseconds_near_to_the_deadline_and_then_to_the_nanosecond() {
        let nanoseconds = |time: Timespec| time.tv_sec as u128 * 1_000_000_000 + time.tv_nsec as u128;
        assert_eq!(fine_step(None), Step::Coarse(None));
        assert_eq!(fine_step(Some(Duration::ZERO)), Step::Coarse(Some(timespec(Duration::ZERO))));
        for left in [1, 999, 1000, 999_999, 1_000_000, 1_000_001, 1_999_999].map(Duration::from_nanos) {
            assert_eq!(fine_step(Some(left)), Step::Fine(timespec(left)));
            assert_eq!(nanoseconds(timespec(left)), left.as_nanos());
        }
        for microseconds in [2000, 2001, 3000, 10_500, 999_999, 1_000_000, 1_000_001, 3_600_000_000] {
            let left = Duration::from_micros(microseconds);
            let Step::Coarse(Some(timeout)) = fine_step(Some(left)) else { panic!("{left:?}") };
            let waited = nanoseconds(timeout);
            assert_eq!(waited % 1_000_000, 0, "{left:?}");
            assert!(waited >= 1_000_000 && waited + waited / 200 < left.as_nanos(), "{left:?} {waited}");
            assert!(waited + 1_000_000 + left.as_nanos() / 100 >= left.as_nanos(), "{left:?} {waited}");
        }
        let Step::Coarse(Some(longest)) = fine_step(Some(Duration::MAX)) else { panic!("it is long") };
        assert!(nanoseconds(longest) < WAIT_MAX.as_nanos());
    }

    #[test]
    fn no_wait_is_shorter_than_what_is_left_and_none_is_longer_than_a_day() {
        let io = PollIo::new(MonotonicClock::start()).unwrap();
        let now = io.now();
        let nanoseconds = |deadline| io.timeout(Some(deadline)).map(|t| t.tv_sec * 1_000_000_000 + t.tv_nsec);
        assert_eq!(io.timeout(None), None);
        assert_eq!(nanoseconds(Time::ZERO), Some(0));
        assert_eq!(nanoseconds(now), Some(0), "it has passed");
        let in_an_hour = now + Duration::from_secs(3600);
        let timeout = nanoseconds(in_an_hour).unwrap();
        assert_eq!(timeout % 1_000_000, 0);
        assert!(timeout as u128 >= in_an_hour.since(io.now()).as_nanos());
        assert_eq!(nanoseconds(Time::NEVER), Some(WAIT_MAX.as_nanos() as i64));
    }
}
