//! One connection of a player: a socket, what is still to be sent, and what it is watched for.

use std::io::{self, ErrorKind, IoSlice};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::OwnedFd;
use std::time::Duration;

use fanfare::reactor::{Interest, Io, PollIo, PollStream};
use fanfare::slab::Key;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, getsockname, socket_with, sockopt};

/// A connection.
pub struct Link {
    stream: PollStream,
    pub local: Option<SocketAddr>,
    out: Vec<u8>,
    half_close: bool,
    interest: Interest,
    /// When it was begun.
    pub began: u64,
    /// Whether it counts as open, and on which shard.
    pub open: bool,
    pub shard: Option<usize>,
}

impl Link {
    /// Begins a connection from an address.
    pub fn begin(
        io: &mut PollIo,
        key: Key,
        (source, server): (Ipv4Addr, SocketAddr),
        receive_buffer: Option<usize>,
        began: u64,
    ) -> io::Result<Link> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket: OwnedFd = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
        sockopt::set_tcp_nodelay(&socket, true)?;
        if let Some(bytes) = receive_buffer {
            sockopt::set_socket_recv_buffer_size(&socket, bytes)?;
        }
        bind(&socket, &SocketAddrV4::new(source, 0))?;
        match connect(&socket, &server) {
            Ok(()) | Err(rustix::io::Errno::INPROGRESS) => {}
            Err(error) => return Err(error.into()),
        }
        let local = getsockname(&socket).ok().and_then(|address| SocketAddr::try_from(address).ok());
        let stream = io.register(socket, key)?;
        let interest = Interest { readable: true, writable: false };
        Ok(Link {
            stream,
            local,
            out: Vec::new(),
            half_close: false,
            interest,
            began,
            open: false,
            shard: None,
        })
    }

    pub fn queued(&self) -> usize {
        self.out.len()
    }

    pub fn receive(&self, io: &mut PollIo, buffer: &mut [u8]) -> io::Result<usize> {
        io.receive(&self.stream, buffer)
    }

    /// Whether it is watched for bytes to read.
    pub fn reads(&self) -> bool {
        self.interest.readable
    }

    /// Sends what it can of what waits and of these bytes, and then what `half_close` asks for.
    pub fn send(&mut self, io: &mut PollIo, bytes: &[u8]) -> io::Result<()> {
        self.out.extend_from_slice(bytes);
        let mut sent = 0;
        while sent < self.out.len() {
            match io.send(&self.stream, &[IoSlice::new(&self.out[sent..])]) {
                Ok(count) => sent += count,
                // A socket that is not connected yet says the same.
                Err(error) if is_later(&error) || error.kind() == ErrorKind::NotConnected => break,
                Err(error) => return Err(error),
            }
        }
        self.out.drain(..sent);
        if self.out.is_empty() {
            // Most have nothing to send for long.
            self.out = Vec::new();
            if std::mem::take(&mut self.half_close) {
                io.shutdown_write(&self.stream);
            }
        }
        Ok(())
    }

    /// Ends the direction from here once everything is sent.
    pub fn half_close(&mut self) {
        self.half_close = true;
    }

    /// Watches it for what it is to be watched for now.
    pub fn watch(&mut self, io: &mut PollIo, key: Key, readable: bool) -> io::Result<()> {
        let interest = Interest { readable, writable: !self.out.is_empty() };
        if interest != self.interest {
            io.set_interest(&self.stream, key, interest)?;
            self.interest = interest;
        }
        Ok(())
    }

    /// Makes its end a reset, which also destroys what the kernel still has to send.
    pub fn reset_on_drop(&self) {
        let _ = sockopt::set_socket_linger(&self.stream, Some(Duration::ZERO));
    }
}

/// Whether an error only means that it is not the time yet.
pub fn is_later(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
