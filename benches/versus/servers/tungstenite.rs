//! tokio-tungstenite, as a user writes it who has read its documentation and its source: one flush for all that is
//! ready instead of one for each message.
//!
//! Buffers by load (`load.rs`): the read buffer has the 4 KiB that the documentation names for many connections, as the
//! crate zeroes all of what is free of it before each read; by itself it would be 128 KiB. Where a connection has more
//! than 4 KiB under way, a reader of at least 128 KiB is put between it and the socket, and the write buffer takes all of
//! it: one receive and one send. A read buffer of the crate's own of that size was dearer: 45 instead of 36 µs for an echo of
//! 64 KiB, medians of five interleaved rounds. For the rest, and idle, the write buffer is as it comes.

use std::io;
use std::net::TcpListener;

use futures_util::{FutureExt, SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite, BufReader};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async_with_config};

use super::load::Load;
use super::room::Room;
use super::{ECHO_PATH, accept_on_this_thread};

/// What the documentation calls appropriate for many connections.
const READ_BUFFER_BYTES: usize = 4 << 10;

/// Serves on `listener` until it is killed.
pub fn serve(listener: TcpListener, load: Load) -> io::Result<()> {
    let room = Room::new();
    accept_on_this_thread(listener, move |stream| serve_one(stream, room.clone(), load))
}

async fn serve_one(stream: TcpStream, room: Room<Message>, load: Load) {
    match load.large_bytes() {
        Some(bytes) => talk(BufReader::with_capacity(bytes, stream), room, load).await,
        None => talk(stream, room, load).await,
    }
}

async fn talk<S>(stream: S, room: Room<Message>, load: Load)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut is_echo = false;
    #[allow(clippy::result_large_err)] // it is the crate's
    let callback = |request: &Request, response: Response| -> Result<Response, ErrorResponse> {
        is_echo = request.uri().path() == ECHO_PATH;
        Ok(response)
    };
    let mut config = WebSocketConfig::default().read_buffer_size(READ_BUFFER_BYTES);
    if let Some(bytes) = load.large_bytes() {
        config = config.write_buffer_size(bytes);
    }
    let Ok(socket) = accept_hdr_async_with_config(stream, callback, Some(config)).await else { return };
    // An error is a peer that has gone.
    let _ = if is_echo { echo(socket).await } else { member(socket, room).await };
}

async fn echo<S: AsyncRead + AsyncWrite + Unpin>(mut socket: WebSocketStream<S>) -> Result<(), Error> {
    loop {
        // Only when nothing more is there to answer.
        let next = match socket.next().now_or_never() {
            Some(next) => next,
            None => {
                socket.flush().await?;
                socket.next().await
            }
        };
        match next {
            Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) => socket.feed(message).await?,
            // Pings and closes are answered by the crate.
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(error),
            None => return Ok(()),
        }
    }
}

async fn member<S>(socket: WebSocketStream<S>, room: Room<Message>) -> Result<(), Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sink, mut stream) = socket.split();
    let (number, _, mut queue) = room.join();
    let writer = tokio::spawn(async move {
        while let Some(message) = queue.recv().await {
            sink.feed(message).await?;
            while let Ok(message) = queue.try_recv() {
                sink.feed(message).await?;
            }
            sink.flush().await?;
        }
        Ok::<(), Error>(())
    });
    while let Some(Ok(message)) = stream.next().await {
        if message.is_text() || message.is_binary() {
            room.publish(number, &message);
        }
    }
    room.leave(number);
    writer.abort();
    Ok(())
}
