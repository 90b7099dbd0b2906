//! The floor's other way to send: many sends in one call of the kernel, by an io_uring.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use io_uring::squeue::Flags;
use io_uring::types::Fixed;
use io_uring::{IoUring, opcode};
use rustix::net::SendFlags;

/// Sends per call of the kernel.
const ENTRIES: u32 = 1024;
/// Connections that the kernel keeps, so that it has not to look for them at each send.
const CONNECTIONS_MAX: u32 = 4096;

/// Sends that need no answer: the kernel waits for room itself, which no server could let it do.
pub struct Ring(IoUring);

impl Ring {
    /// A ring, if the kernel has them and lets this process have one.
    pub fn new() -> io::Result<Ring> {
        let ring = IoUring::builder().setup_submit_all().build(ENTRIES)?;
        ring.submitter().register_files_sparse(CONNECTIONS_MAX)?;
        Ok(Ring(ring))
    }

    /// A socket is `index` from here on.
    pub fn register(&self, index: usize, socket: &impl AsFd) -> io::Result<()> {
        let descriptor = socket.as_fd().as_raw_fd();
        self.0.submitter().register_files_update(index as u32, &[descriptor]).map(drop)
    }

    pub fn unregister(&self, index: usize) -> io::Result<()> {
        self.0.submitter().register_files_update(index as u32, &[-1]).map(drop)
    }

    /// Queues a send; the kernel is called when the queue is full, and by [`Ring::submit`].
    #[allow(unsafe_code)]
    pub fn send(&mut self, index: usize, bytes: &'static [u8]) -> io::Result<()> {
        let flags = SendFlags::NOSIGNAL.bits() | MSG_WAITALL;
        let send = opcode::Send::new(Fixed(index as u32), bytes.as_ptr(), bytes.len() as u32)
            .flags(flags as i32)
            .build()
            .flags(Flags::SKIP_SUCCESS);
        if self.0.submission().is_full() {
            self.submit()?;
        }
        // SAFETY: the bytes are there for good, and the socket is one that the kernel keeps itself.
        unsafe { self.0.submission().push(&send) }.map_err(io::Error::other)
    }

    /// Has the kernel do all that is queued.
    pub fn submit(&mut self) -> io::Result<()> {
        while !self.0.submission().is_empty() {
            self.0.submit()?;
        }
        // Only failures are told of: peers that are gone, which the poller tells of too.
        self.0.completion().for_each(drop);
        Ok(())
    }
}

/// `MSG_WAITALL` of `send(2)` in a ring: a short send goes on when there is room.
const MSG_WAITALL: u32 = 0x100;
