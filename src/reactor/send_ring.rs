//! Many sends in one call of the kernel, by an io_uring (`io_uring(7)`).
//!
//! Each is what `send(2)` with `MSG_DONTWAIT` is: the kernel does it before it returns from the call that hands it over,
//! as far as the socket has room. So nothing is under way from one call to the next, and what a socket does not take
//! goes the way of all that is left over.

use std::fmt;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use io_uring::types::Fd;
use io_uring::{IoUring, opcode, squeue};
use rustix::net::SendFlags;

#[cfg(test)]
pub(super) mod tests;

/// Sends of one call: enough to share it among many, few enough to stay in the nearest cache.
pub const SENDS_MAX: usize = 256;

/// What one socket is sent.
#[derive(Clone, Copy, Debug)]
pub struct OneSend<'a> {
    pub socket: BorrowedFd<'a>,
    pub bytes: &'a [u8],
}

/// The kernel took no more: from this place on nothing was sent, and as the queue keeps that the ring is of no use.
#[derive(Debug)]
pub struct Refused {
    pub from: usize,
    pub error: io::Error,
}

/// A ring, of the thread that has made it: when it is gone the kernel interrupts whatever call that thread is in.
pub struct SendRing {
    /// None is one that was refused.
    ring: Option<IoUring>,
    /// What the kernel said of each of the latest sends.
    answers: Box<[i32; SENDS_MAX]>,
}

impl SendRing {
    /// Has the kernel make one.
    ///
    /// # Errors
    ///
    /// If it has none (before Linux 5.18), or a sandbox or `kernel.io_uring_disabled` keeps it from this process.
    pub fn new() -> io::Result<SendRing> {
        let ring = IoUring::builder().setup_submit_all().build(SENDS_MAX as u32)?;
        Ok(SendRing { ring: Some(ring), answers: Box::new([0; SENDS_MAX]) })
    }

    /// Whether this process may have one and send by it.
    ///
    /// # Errors
    ///
    /// What keeps it from that.
    pub fn probe() -> io::Result<()> {
        SendRing::new()?.try_out()
    }

    fn try_out(&mut self) -> io::Result<()> {
        let (near, _far) = UnixStream::pair()?;
        let sends = [OneSend { socket: near.as_fd(), bytes: b"?" }];
        let mut result = Ok(1);
        self.send(&sends, |_, sent| result = sent).map_err(|refused| refused.error)?;
        match result? {
            1 => Ok(()),
            _ => Err(ErrorKind::Unsupported.into()),
        }
    }

    /// Sends to at most [`SENDS_MAX`] sockets, each of which stands there once. Tells `cut` of those that did not take
    /// everything: the place, and what `send(2)` would have said.
    ///
    /// # Errors
    ///
    /// [`Refused`] for what the kernel did not even look at.
    pub fn send(
        &mut self,
        sends: &[OneSend<'_>],
        mut cut: impl FnMut(usize, io::Result<usize>),
    ) -> Result<(), Refused> {
        // Out of its place, so that whatever ends this early no later call meets what it has left in the queue.
        let Some(mut ring) = self.ring.take() else { return Err(refused(0, ErrorKind::NotConnected.into())) };
        let (looked_at, result) = hand_over(&mut ring, sends, &mut self.answers);
        if result.is_ok() {
            self.ring = Some(ring);
        }
        // Whom it tells runs code of others: nothing is under way now.
        for (at, (send, answer)) in sends.iter().zip(&*self.answers).take(looked_at).enumerate() {
            match usize::try_from(*answer) {
                Ok(sent) if sent == send.bytes.len() => {}
                Ok(sent) => cut(at, Ok(sent)),
                Err(_) => cut(at, Err(io::Error::from_raw_os_error(-answer))),
            }
        }
        result.map_err(|error| refused(looked_at, error))
    }
}

fn refused(from: usize, error: io::Error) -> Refused {
    Refused { from, error }
}

/// Gives all sends to the kernel and waits for its answers. Says how many of them, from the first on, it has looked at.
fn hand_over(
    ring: &mut IoUring,
    sends: &[OneSend<'_>],
    answers: &mut [i32; SENDS_MAX],
) -> (usize, io::Result<()>) {
    if !queue(ring, sends) {
        return (0, Err(ErrorKind::InvalidInput.into()));
    }
    let mut answered = 0;
    loop {
        let result = ring.submit_and_wait(sends.len() - answered);
        for answer in ring.completion() {
            answered += 1;
            if let Some(place) = answers.get_mut(answer.user_data() as usize) {
                *place = answer.result();
            }
        }
        // It answers all that it looks at, and that before it returns: what is not answered it does not know of.
        let looked_at = sends.len() - ring.submission().len();
        match result {
            _ if answered == sends.len() => return (answered, Ok(())),
            Err(error) if error.kind() != ErrorKind::Interrupted && answered == looked_at => {
                return (looked_at, Err(error));
            }
            _ => {}
        }
    }
}

/// Puts all of them into the queue of a ring that is empty, if there is room.
#[allow(unsafe_code)]
fn queue(ring: &mut IoUring, sends: &[OneSend<'_>]) -> bool {
    if sends.len() > SENDS_MAX {
        return false;
    }
    let mut queue = ring.submission();
    sends.iter().enumerate().all(|(at, send)| {
        // SAFETY: the socket and the bytes have to be there until the kernel has answered. Both are borrowed by
        // `SendRing::send`, and `hand_over`, which runs no code of others, does not return before all that the kernel has
        // looked at is answered. What it has not looked at it never will: no thread of its own reads the queue, and a ring
        // with something left in it is dropped there, on an unwind too.
        unsafe { queue.push(&entry(at, send)) }.is_ok()
    })
}

fn entry(at: usize, send: &OneSend<'_>) -> squeue::Entry {
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    // A longer piece is cut.
    let bytes = send.bytes.len().min(i32::MAX as usize) as u32;
    opcode::Send::new(Fd(send.socket.as_raw_fd()), send.bytes.as_ptr(), bytes)
        .flags(flags.bits() as i32)
        .build()
        .user_data(at as u64)
}

impl fmt::Debug for SendRing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SendRing(..)")
    }
}
