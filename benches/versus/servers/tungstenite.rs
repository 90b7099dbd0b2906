//! tokio-tungstenite, as a user writes it who has read its documentation: a small read buffer instead of 128 KiB for
//! each connection, and one flush for all that is ready instead of one for each message.

use std::io;
use std::net::TcpListener;

use futures_util::{FutureExt, SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async_with_config};

use super::room::Room;
use super::{ECHO_PATH, accept_on_this_thread};

const READ_BUFFER_BYTES: usize = 16 << 10;

/// Serves on `listener` until it is killed.
pub fn serve(listener: TcpListener) -> io::Result<()> {
    let room = Room::new();
    accept_on_this_thread(listener, move |stream| serve_one(stream, room.clone()))
}

async fn serve_one(stream: TcpStream, room: Room<Message>) {
    let mut is_echo = false;
    #[allow(clippy::result_large_err)] // it is the crate's
    let callback = |request: &Request, response: Response| -> Result<Response, ErrorResponse> {
        is_echo = request.uri().path() == ECHO_PATH;
        Ok(response)
    };
    let config = WebSocketConfig::default().read_buffer_size(READ_BUFFER_BYTES);
    let Ok(socket) = accept_hdr_async_with_config(stream, callback, Some(config)).await else { return };
    // An error is a peer that has gone.
    let _ = if is_echo { echo(socket).await } else { member(socket, room).await };
}

async fn echo(mut socket: WebSocketStream<TcpStream>) -> Result<(), Error> {
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

async fn member(socket: WebSocketStream<TcpStream>, room: Room<Message>) -> Result<(), Error> {
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
