//! fastwebsockets, as a user writes it who wants it fast: split without a lock, and a buffer in front of the socket
//! that is flushed once for all that is ready. The handshake is done by hand, which costs less than its `upgrade`
//! on hyper.
//!
//! Buffers by load (`load.rs`): up to 4 KiB under way, and idle, the crate's own 8 KiB for reading, and tokio's 8 KiB
//! for writing. Where several messages come to more than that, a reader of at least 128 KiB is put before the crate, whose own
//! buffer cannot be made larger, and a writer that takes all of them: one receive and one send. A large message that is
//! alone is read into its own place, and written from there: a reader before it costs a copy, and was dearer (34 instead
//! of 30 µs for an echo of 64 KiB, medians of five interleaved rounds).

use std::io;
use std::net::TcpListener;
use std::pin::pin;

use bytes::Bytes;
use fastwebsockets::{
    FragmentCollectorRead, Frame, OpCode, Payload, Role, WebSocketError, WebSocketRead, WebSocketWrite,
    after_handshake_split,
};
use futures_util::FutureExt;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader, BufWriter};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::mpsc::UnboundedSender;

use super::load::Load;
use super::room::Room;
use super::{ECHO_PATH, accept_on_this_thread, handshake};

/// What tokio has by itself.
const WRITE_BUFFER_BYTES: usize = 8 << 10;
/// Of a request's head.
const HEAD_BYTES_MAX: usize = 8 << 10;

type Writer = WebSocketWrite<BufWriter<OwnedWriteHalf>>;

/// What a member is to be sent.
#[derive(Clone)]
struct Outgoing {
    opcode: OpCode,
    payload: Bytes,
}

/// Serves on `listener` until it is killed.
pub fn serve(listener: TcpListener, load: Load) -> io::Result<()> {
    let room = Room::new();
    accept_on_this_thread(listener, move |stream| serve_one(stream, room.clone(), load))
}

async fn serve_one(mut stream: TcpStream, room: Room<Outgoing>, load: Load) {
    let Some(path) = shake_hands(&mut stream).await else { return };
    let (read, write) = stream.into_split();
    let write_bytes = load.large_bytes().filter(|_| !load.is_one_by_one());
    let write = BufWriter::with_capacity(write_bytes.unwrap_or(WRITE_BUFFER_BYTES), write);
    match load.large_bytes().filter(|_| !load.is_one_by_one()) {
        Some(bytes) => talk(BufReader::with_capacity(bytes, read), write, path, room).await,
        None => talk(read, write, path, room).await,
    }
}

async fn talk<R>(read: R, write: BufWriter<OwnedWriteHalf>, path: String, room: Room<Outgoing>)
where
    R: AsyncRead + Unpin,
{
    let (mut reader, writer): (WebSocketRead<_>, Writer) = after_handshake_split(read, write, Role::Server);
    // Reader and writer may be in two tasks: what a ping asks for goes the way of all messages.
    reader.set_auto_pong(false);
    reader.set_auto_close(false);
    let reader = FragmentCollectorRead::new(reader);
    // An error is a peer that has gone.
    let _ = if path == ECHO_PATH { echo(reader, writer).await } else { member(reader, writer, room).await };
}

async fn shake_hands(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::with_capacity(1024);
    loop {
        if stream.read_buf(&mut head).await.ok()? == 0 || head.len() > HEAD_BYTES_MAX {
            return None;
        }
        if let Some((path, response)) = handshake::answer(&head) {
            stream.write_all(&response).await.ok()?;
            return Some(path);
        }
    }
}

async fn echo<R: AsyncRead + Unpin>(
    mut reader: FragmentCollectorRead<R>,
    mut writer: Writer,
) -> Result<(), WebSocketError> {
    loop {
        let frame = {
            let mut nothing = nothing_to_send;
            let mut reading = pin!(reader.read_frame(&mut nothing));
            // Only when nothing more is there to answer.
            match reading.as_mut().now_or_never() {
                Some(frame) => frame?,
                None => {
                    writer.flush().await?;
                    reading.await?
                }
            }
        };
        let opcode = match frame.opcode {
            OpCode::Text | OpCode::Binary => frame.opcode,
            OpCode::Ping => OpCode::Pong,
            OpCode::Close => return Ok(()),
            _ => continue,
        };
        writer.write_frame(Frame::new(true, opcode, None, frame.payload)).await?;
    }
}

async fn member<R: AsyncRead + Unpin>(
    mut reader: FragmentCollectorRead<R>,
    writer: Writer,
    room: Room<Outgoing>,
) -> Result<(), WebSocketError> {
    let (number, own, mut queue) = room.join();
    let writer = tokio::spawn(async move {
        let mut writer = writer;
        while let Some(outgoing) = queue.recv().await {
            write(&mut writer, &outgoing).await?;
            while let Ok(outgoing) = queue.try_recv() {
                write(&mut writer, &outgoing).await?;
            }
            writer.flush().await?;
        }
        Ok::<(), WebSocketError>(())
    });
    let result = publish_all(&mut reader, number, &own, &room).await;
    room.leave(number);
    writer.abort();
    result
}

async fn publish_all<R: AsyncRead + Unpin>(
    reader: &mut FragmentCollectorRead<R>,
    number: u64,
    own: &UnboundedSender<Outgoing>,
    room: &Room<Outgoing>,
) -> Result<(), WebSocketError> {
    loop {
        let frame = reader.read_frame(&mut nothing_to_send).await?;
        let opcode = frame.opcode;
        let payload = match frame.payload {
            Payload::Bytes(bytes) => bytes.freeze(),
            other => Bytes::copy_from_slice(&other),
        };
        match opcode {
            OpCode::Text | OpCode::Binary => room.publish(number, &Outgoing { opcode, payload }),
            OpCode::Ping => {
                let _ = own.send(Outgoing { opcode: OpCode::Pong, payload });
            }
            OpCode::Close => return Ok(()),
            _ => {}
        }
    }
}

async fn write(writer: &mut Writer, outgoing: &Outgoing) -> Result<(), WebSocketError> {
    writer.write_frame(Frame::new(true, outgoing.opcode, None, Payload::Borrowed(&outgoing.payload))).await
}

/// The reader owes nothing: it answers neither pings nor closes by itself.
async fn nothing_to_send(_: Frame<'_>) -> Result<(), WebSocketError> {
    Ok(())
}
