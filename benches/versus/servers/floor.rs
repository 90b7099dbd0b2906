//! The floor: what the kernel costs for the same bytes, and nothing else.
//!
//! A bare loop over an edge-triggered epoll. Behind the handshake it neither parses nor unmasks: it is told the
//! size of the messages, so the bytes that have come say how many messages have, and what it sends are frames made
//! beforehand. It keeps no deadline, no order between publishers, no limit. No server can do less. Who asks for the
//! same path is in the same room; only plain sends know more rooms than one.

use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::net::TcpListener;
use std::os::fd::OwnedFd;

use fanfare::protocol::{Opcode, push_server_frame, server_frame_bytes};
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::sockopt::set_tcp_nodelay;
use rustix::net::{RecvFlags, SendFlags, SocketFlags, accept_with, recv, send};

use super::handshake;
use super::ring::Ring;

/// Bytes that one call may receive: more than all connections of a cell have under way.
const RECEIVE_BYTES: usize = 512 << 10;
/// Frames made beforehand take at least so many bytes: what one call may send.
const CANNED_BYTES: usize = 512 << 10;
/// Connections that one wait may report.
const EVENTS_MAX: usize = 1024;
/// The event of the listener; those of connections have their index.
const LISTENER: u64 = u64::MAX;
/// A client's frame has a mask key, a server's not.
const MASK_KEY_BYTES: usize = 4;

/// What becomes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It goes back: one send for all that one receive brought.
    Echo,
    /// It goes to all others of its room: one send for each message and member.
    Plain,
    /// It goes to all others: one send for each member, of all messages of the turn.
    Coalescing,
    /// The same, and many sends in one call of the kernel.
    Ring,
}

impl Mode {
    pub fn name(self) -> &'static str {
        match self {
            Mode::Echo => "echo",
            Mode::Plain => "plain",
            Mode::Coalescing => "coalescing",
            Mode::Ring => "ring",
        }
    }

    fn parse(name: &str) -> Option<Mode> {
        [Mode::Echo, Mode::Plain, Mode::Coalescing, Mode::Ring].into_iter().find(|mode| mode.name() == name)
    }
}

/// Serves on `listener` until it is killed; `arguments` are the mode and the bytes of a message.
pub fn serve(listener: TcpListener, arguments: &[String]) -> io::Result<()> {
    let [mode, message_bytes] = arguments else {
        return Err(io::Error::other(format!("floor {arguments:?}: expected MODE BYTES")));
    };
    let mode = Mode::parse(mode)
        .ok_or_else(|| io::Error::other(format!("floor {mode}: expected echo, plain, coalescing or ring")))?;
    let message_bytes = message_bytes
        .parse()
        .map_err(|_| io::Error::other(format!("floor {mode:?} {message_bytes}: expected a number")))?;
    Floor::new(listener, mode, message_bytes)?.run()
}

/// A connection; an index of [`Floor::connections`] names it.
struct Connection {
    socket: OwnedFd,
    /// Its room, once the handshake is done.
    room: Option<usize>,
    /// Bytes of a message that has not come whole.
    begun_bytes: u32,
    /// Where in a canned frame the next byte to send is.
    at: u32,
    /// Bytes that are to be sent.
    owed_bytes: usize,
}

struct Floor {
    epoll: OwnedFd,
    listener: TcpListener,
    mode: Mode,
    connections: Vec<Option<Connection>>,
    free: Vec<usize>,
    /// The rooms by their paths, and the connections of each.
    rooms: HashMap<String, usize>,
    members: Vec<Vec<usize>>,
    /// Whole server frames, one behind the other.
    canned: &'static [u8],
    client_frame_bytes: usize,
    server_frame_bytes: usize,
    received: Vec<u8>,
    /// Who has published in this turn, and how many messages.
    published: Vec<(usize, usize)>,
    ring: Option<Ring>,
}

impl Floor {
    fn new(listener: TcpListener, mode: Mode, message_bytes: usize) -> io::Result<Floor> {
        listener.set_nonblocking(true)?;
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
        let mut canned = Vec::new();
        while canned.len() < CANNED_BYTES {
            push_server_frame(&mut canned, Opcode::Binary, &vec![0x2a; message_bytes]);
        }
        let server_frame_bytes = server_frame_bytes(message_bytes);
        Ok(Floor {
            epoll,
            listener,
            mode,
            connections: Vec::new(),
            free: Vec::new(),
            rooms: HashMap::new(),
            members: Vec::new(),
            // Until the process ends.
            canned: canned.leak(),
            client_frame_bytes: server_frame_bytes + MASK_KEY_BYTES,
            server_frame_bytes,
            received: vec![0; RECEIVE_BYTES],
            published: Vec::new(),
            ring: if mode == Mode::Ring { Some(Ring::new()?) } else { None },
        })
    }

    fn run(&mut self) -> io::Result<()> {
        let mut events = Vec::with_capacity(EVENTS_MAX);
        loop {
            events.clear();
            match epoll::wait(&self.epoll, spare_capacity(&mut events), None) {
                Ok(_) => {}
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            }
            for event in &events {
                let (data, flags) = (event.data, event.flags);
                if data.u64() == LISTENER {
                    self.accept()?;
                    continue;
                }
                let index = data.u64() as usize;
                let gone = flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR)
                    && self.receive(index).is_err();
                if gone || self.flush(index).is_err() {
                    self.remove(index)?;
                }
            }
            match self.mode {
                Mode::Echo => {}
                Mode::Plain => self.deliver_plain(),
                Mode::Coalescing => self.deliver_coalescing(),
                Mode::Ring => self.deliver_by_ring()?,
            }
            self.published.clear();
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            let socket = match accept_with(&self.listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
                Ok(socket) => socket,
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::CONNABORTED | Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            };
            set_tcp_nodelay(&socket, true)?;
            let index = self.free.pop().unwrap_or_else(|| {
                self.connections.push(None);
                self.connections.len() - 1
            });
            // Once, for all that can happen: no call changes it later.
            let interest = EventFlags::IN | EventFlags::OUT | EventFlags::ET;
            epoll::add(&self.epoll, &socket, EventData::new_u64(index as u64), interest)?;
            if let Some(ring) = &self.ring {
                ring.register(index, &socket)?;
            }
            self.connections[index] =
                Some(Connection { socket, room: None, begun_bytes: 0, at: 0, owed_bytes: 0 });
        }
    }

    fn remove(&mut self, index: usize) -> io::Result<()> {
        if let Some(connection) = self.connections[index].take() {
            if let Some(ring) = &self.ring {
                ring.unregister(index)?;
            }
            if let Some(room) = connection.room {
                self.members[room].retain(|member| *member != index);
            }
        }
        self.free.push(index);
        Ok(())
    }

    /// Counts the messages that have come; an error ends the connection.
    fn receive(&mut self, index: usize) -> io::Result<()> {
        let Some(connection) = &mut self.connections[index] else { return Ok(()) };
        loop {
            let received = match recv(&connection.socket, &mut self.received[..], RecvFlags::empty()) {
                Ok((0, _)) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok((received, _)) => received,
                Err(Errno::AGAIN) => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            if connection.room.is_some() {
                let bytes = connection.begun_bytes as usize + received;
                connection.begun_bytes = (bytes % self.client_frame_bytes) as u32;
                let messages = bytes / self.client_frame_bytes;
                match self.mode {
                    Mode::Echo => connection.owed_bytes += messages * self.server_frame_bytes,
                    _ if messages > 0 => self.published.push((index, messages)),
                    _ => {}
                }
            } else {
                // Heads come in one piece from the generator.
                let (path, response) = handshake::answer(&self.received[..received])
                    .ok_or_else(|| io::Error::other("no whole request to upgrade"))?;
                send(&connection.socket, &response, SendFlags::NOSIGNAL)?;
                let room = *self.rooms.entry(path).or_insert_with(|| {
                    self.members.push(Vec::new());
                    self.members.len() - 1
                });
                self.members[room].push(index);
                connection.room = Some(room);
            }
            // A short read has emptied the socket: what comes later is an event of its own.
            if received < self.received.len() {
                return Ok(());
            }
        }
    }

    /// Sends as much of what a connection is owed as its socket takes.
    fn flush(&mut self, index: usize) -> io::Result<()> {
        let Some(connection) = &mut self.connections[index] else { return Ok(()) };
        send_owed(connection, self.canned, self.server_frame_bytes)
    }

    fn deliver_plain(&mut self) {
        let room_of = |connections: &[Option<Connection>], sender: usize| connections[sender].as_ref()?.room;
        for (sender, messages) in &self.published {
            let Some(room) = room_of(&self.connections, *sender) else { continue };
            for _ in 0..*messages {
                for index in &self.members[room] {
                    if let Some(connection) = &mut self.connections[*index]
                        && index != sender
                    {
                        let waits = connection.owed_bytes > 0;
                        connection.owed_bytes += self.server_frame_bytes;
                        // The event of a socket that takes bytes again, or of its end, goes on from here.
                        if !waits {
                            let _ = send_owed(connection, self.canned, self.server_frame_bytes);
                        }
                    }
                }
            }
        }
    }

    fn deliver_coalescing(&mut self) {
        let (all, published) = (messages(&self.published), &self.published);
        if all == 0 {
            return;
        }
        for (index, slot) in self.connections.iter_mut().enumerate() {
            if let Some(connection) = slot
                && connection.room.is_some()
            {
                let waits = connection.owed_bytes > 0;
                connection.owed_bytes += (all - own(published, index)) * self.server_frame_bytes;
                if !waits {
                    let _ = send_owed(connection, self.canned, self.server_frame_bytes);
                }
            }
        }
    }

    fn deliver_by_ring(&mut self) -> io::Result<()> {
        let (all, published) = (messages(&self.published), &self.published);
        let Some(ring) = self.ring.as_mut().filter(|_| all > 0) else { return Ok(()) };
        let frames_max = self.canned.len() / self.server_frame_bytes;
        for (index, slot) in self.connections.iter().enumerate() {
            if slot.as_ref().is_some_and(|connection| connection.room.is_some()) {
                let mut frames = all - own(published, index);
                while frames > 0 {
                    let block = frames.min(frames_max);
                    ring.send(index, &self.canned[..block * self.server_frame_bytes])?;
                    frames -= block;
                }
            }
        }
        ring.submit()
    }
}

/// How many messages there are to deliver.
fn messages(published: &[(usize, usize)]) -> usize {
    published.iter().map(|(_, messages)| messages).sum()
}

/// How many of them a connection has sent itself.
fn own(published: &[(usize, usize)], index: usize) -> usize {
    published.iter().filter(|(sender, _)| *sender == index).map(|(_, messages)| messages).sum()
}

fn send_owed(connection: &mut Connection, canned: &[u8], frame_bytes: usize) -> io::Result<()> {
    while connection.owed_bytes > 0 {
        let rest = &canned[connection.at as usize..];
        let block = &rest[..rest.len().min(connection.owed_bytes)];
        match send(&connection.socket, block, SendFlags::NOSIGNAL) {
            Ok(sent) => {
                connection.owed_bytes -= sent;
                connection.at = ((connection.at as usize + sent) % frame_bytes) as u32;
            }
            Err(Errno::AGAIN) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
