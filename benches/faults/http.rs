//! What the server says of its rooms over HTTP.

use std::io::{Read, Write};
use std::net::{SocketAddrV4, TcpStream};
use std::time::Duration;

use serde::Deserialize;

const TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Deserialize)]
struct Page {
    rooms: Vec<Room>,
    next: Option<String>,
}

#[derive(Deserialize)]
struct Room {
    members: u64,
}

/// Members of all rooms together.
pub fn members_of_all_rooms(server: SocketAddrV4) -> Result<u64, String> {
    let (mut members, mut after) = (0, String::new());
    loop {
        let body = get(server, &format!("/rooms?limit=1000{after}")).map_err(|error| error.to_string())?;
        let page: Page = serde_json::from_str(&body).map_err(|error| format!("{error}: {body}"))?;
        members += page.rooms.iter().map(|room| room.members).sum::<u64>();
        match page.next {
            // The names here need no escapes.
            Some(next) => after = format!("&after={next}"),
            None => return Ok(members),
        }
    }
}

/// The body of an answer.
fn get(server: SocketAddrV4, target: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(server)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    write!(stream, "GET {target} HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or(answer))
}
