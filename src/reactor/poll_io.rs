//! [`Io`] over the `polling` package and non-blocking sockets.
//!
//! Level-triggered: a shard reads each ready stream once per turn and is told again about what it
//! left, so no stream has to be drained at once and none is forgotten.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use polling::{Event, Events, PollMode, Poller};
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown};

use super::{Interest, Io, MonotonicClock, READY_PER_WAIT, Ready, Wake};
use crate::slab::Key;
use crate::time::Time;

#[cfg(not(target_pointer_width = "64"))]
compile_error!("a connection's key fills a 64-bit poller key; other pointer widths are not supported");

/// Reports taken per wait: enough to share one wait among many, few enough to bound a turn. Two may be the
/// poller's own, of a wake-up and of the deadline, and are not shown.
const EVENTS_PER_WAIT: NonZeroUsize = NonZeroUsize::new(READY_PER_WAIT + 2).expect("not zero");

/// The real [`Io`] of one shard.
#[derive(Debug)]
pub struct PollIo {
    poller: Arc<Poller>,
    events: Events,
    clock: MonotonicClock,
}

/// A watched socket. [`Io::close`] ends the watch, then closes it; where it is dropped, the kernel does both.
#[derive(Debug)]
pub struct PollStream {
    socket: OwnedFd,
}

/// Wakes the shard whose [`PollIo`] it came from.
#[derive(Clone, Debug)]
pub struct PollWaker(Arc<Poller>);

impl Wake for PollWaker {
    fn wake(&self) {
        // It fails only if the eventfd is full, and then the shard is awake already.
        let _ = self.0.notify();
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
        Ok(PollIo { poller, events: Events::with_capacity(EVENTS_PER_WAIT), clock })
    }

    /// What other threads wake this one with.
    pub fn waker(&self) -> PollWaker {
        PollWaker(Arc::clone(&self.poller))
    }
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
        self.events.clear();
        let timeout = deadline.map(|deadline| deadline.since(self.clock.now()));
        match self.poller.wait(&mut self.events, timeout) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        ready.extend(self.events.iter().map(|event| {
            let hung_up = event.is_interrupt() || event.is_err().unwrap_or(false);
            Ready {
                key: Key::from_u64(event.key as u64),
                readable: event.readable,
                writable: event.writable,
                hung_up,
            }
        }));
        Ok(())
    }
}

impl AsFd for PollStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
