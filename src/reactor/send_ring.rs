//! Many sends in one call of the kernel, by an io_uring (`io_uring(7)`).
//!
//! Each is what `send(2)` with `MSG_DONTWAIT` is: the kernel does it before it returns from the call that hands it over,
//! as far as the socket has room. So nothing is under way from one call to the next, and what a socket does not take
//! goes the way of all that is left over.

use std::fmt;
use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, BorrowedFd};

use io_uring::types::Fd;
use io_uring::{IoUring, opcode, squeue};
use rustix::net::SendFlags;

/// Sends of one call: enough to share it among many, few enough to stay in the nearest cache.
pub const SENDS_MAX: usize = 256;

/// What one socket is sent.
#[derive(Clone, Copy, Debug)]
pub struct Send<'a> {
    pub socket: BorrowedFd<'a>,
    pub bytes: &'a [u8],
}

/// The kernel took no more: nothing was sent from this place on, and the ring is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused(pub usize);

/// A ring, for one thread at a time.
pub struct SendRing(IoUring);

impl SendRing {
    /// Has the kernel make one.
    ///
    /// # Errors
    ///
    /// If it has none (before Linux 5.18), or a sandbox or `kernel.io_uring_disabled` keeps it from this process.
    pub fn new() -> io::Result<SendRing> {
        Ok(SendRing(IoUring::builder().setup_submit_all().build(SENDS_MAX as u32)?))
    }

    /// Sends to at most [`SENDS_MAX`] sockets, each of which stands there once. Tells `cut`, in any order, of those that
    /// did not take everything: the place, and what `send(2)` would have said.
    ///
    /// # Errors
    ///
    /// [`Refused`] for what the kernel did not even look at.
    pub fn send(
        &mut self,
        sends: &[Send<'_>],
        mut cut: impl FnMut(usize, io::Result<usize>),
    ) -> Result<(), Refused> {
        self.queue(sends);
        let mut answered = 0;
        loop {
            let result = self.0.submit_and_wait(sends.len() - answered);
            for answer in self.0.completion() {
                answered += 1;
                let at = answer.user_data() as usize;
                match usize::try_from(answer.result()) {
                    Ok(sent) if sent == sends[at].bytes.len() => {}
                    Ok(sent) => cut(at, Ok(sent)),
                    Err(_) => cut(at, Err(io::Error::from_raw_os_error(-answer.result()))),
                }
            }
            // What it looked at it answers, so that none is left with it that refers to the bytes.
            let handed_over = sends.len() - self.0.submission().len();
            match result {
                _ if answered == sends.len() => return Ok(()),
                Err(error) if error.kind() != ErrorKind::Interrupted && answered == handed_over => {
                    return Err(Refused(handed_over));
                }
                _ => {}
            }
        }
    }

    #[allow(unsafe_code)]
    fn queue(&mut self, sends: &[Send<'_>]) {
        let entries = sends.iter().enumerate().map(|(at, send)| entry(at, send));
        let mut queue = self.0.submission();
        for entry in entries {
            // SAFETY: the socket and the bytes have to be there until the kernel has answered. They are borrowed by the
            // caller, `send`, which does not return before all that was handed over is answered. What was not handed
            // over is never looked at: a ring that refuses is dropped, and there is no thread of the kernel's that reads
            // the queue by itself.
            let pushed = unsafe { queue.push(&entry) };
            pushed.expect("a ring has room for what one call may bring");
        }
    }
}

fn entry(at: usize, send: &Send<'_>) -> squeue::Entry {
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

#[cfg(test)]
impl SendRing {
    /// One that was never switched on, where this machine lets us have one.
    pub fn that_refuses() -> Option<SendRing> {
        IoUring::builder().setup_submit_all().setup_r_disabled().build(SENDS_MAX as u32).ok().map(SendRing)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    /// A ring, where this machine lets us have one.
    fn ring() -> Option<SendRing> {
        let ring = SendRing::new();
        if let Err(error) = &ring {
            eprintln!("skipped: needs an io_uring: {error}");
        }
        ring.ok()
    }

    fn pair() -> (UnixStream, UnixStream) {
        let (near, far) = UnixStream::pair().unwrap();
        near.set_nonblocking(true).unwrap();
        (near, far)
    }

    /// What was told of those that were cut, in the order of their places.
    fn cut(ring: &mut SendRing, sends: &[Send<'_>]) -> Vec<(usize, Result<usize, ErrorKind>)> {
        let mut cut = Vec::new();
        ring.send(sends, |at, sent| cut.push((at, sent.map_err(|error| error.kind())))).unwrap();
        cut.sort_unstable_by_key(|(at, _)| *at);
        cut
    }

    #[test]
    fn a_ring_that_refuses_has_sent_nothing() {
        let Some(mut ring) = SendRing::that_refuses() else { return };
        let (near, far) = pair();
        let sends = [Send { socket: near.as_fd(), bytes: b"x" }];
        assert_eq!(ring.send(&sends, |at, sent| panic!("{at} {sent:?}")), Err(Refused(0)));
        drop(near);
        assert_eq!((&far).read(&mut [0; 8]).unwrap(), 0);
    }

    #[test]
    fn each_gets_its_own_as_many_as_there_may_be() {
        let Some(mut ring) = ring() else { return };
        let pairs: Vec<_> = (0..SENDS_MAX).map(|_| pair()).collect();
        let pieces: Vec<Vec<u8>> = (0..SENDS_MAX).map(|number| vec![number as u8; 1 + number]).collect();
        for count in [1, 2, SENDS_MAX - 1, SENDS_MAX] {
            let sends = pairs.iter().zip(&pieces).take(count);
            let sends: Vec<Send<'_>> =
                sends.map(|((near, _), bytes)| Send { socket: near.as_fd(), bytes }).collect();
            assert_eq!(cut(&mut ring, &sends), []);
            for ((_, far), bytes) in pairs.iter().zip(&pieces).take(count) {
                let mut received = vec![0; bytes.len()];
                (&mut &*far).read_exact(&mut received).unwrap();
                assert_eq!(&received, bytes);
            }
        }
    }

    #[test]
    fn what_a_socket_does_not_take_is_told_and_harms_nobody_else() {
        let Some(mut ring) = ring() else { return };
        let [free, narrow, full, gone] = [(); 4].map(|()| pair());
        for (near, _) in [&narrow, &full] {
            rustix::net::sockopt::set_socket_send_buffer_size(near, 4 << 10).unwrap();
        }
        while (&full.0).write(&[0; 512]).is_ok() {}
        let (gone, far) = gone;
        drop(far);
        let bytes = vec![7; 1 << 20];
        let sends =
            [(&free.0, &bytes[..100]), (&narrow.0, &bytes[..]), (&full.0, &bytes[..]), (&gone, &bytes[..])];
        let sends = sends.map(|(near, bytes)| Send { socket: near.as_fd(), bytes });
        let told = cut(&mut ring, &sends);
        let [(1, Ok(part)), (2, Err(ErrorKind::WouldBlock)), (3, Err(ErrorKind::BrokenPipe))] = told[..]
        else {
            panic!("{told:?}")
        };
        assert!(0 < part && part < bytes.len());
        for ((_, far), expected) in [(&free, 100), (&narrow, part)] {
            far.set_nonblocking(true).unwrap();
            let mut received = vec![0; bytes.len()];
            assert_eq!((&mut &*far).read(&mut received).unwrap(), expected);
            assert_eq!(received[..expected], bytes[..expected]);
        }
    }
}
