//! What the benches that run a server of their own share.

#![allow(dead_code)] // each bench uses its part

pub mod arguments;
pub mod child;
pub mod machine;
pub mod numbers;
pub mod output;
pub mod server_flags;

use std::io::{BufRead, BufReader, Lines, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStderr, Command, Stdio};

use core_affinity::CoreId;

/// A process that ends with its owner.
pub struct Owned(pub Child);

impl Drop for Owned {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A server on a free port with these flags beside, without an admin listener unless they name one, its address, and
/// the rest of its log, which somebody has to read.
pub fn start_server<'a>(
    flags: impl IntoIterator<Item = &'a str>,
) -> (Owned, String, Lines<BufReader<ChildStderr>>) {
    start_server_on(None, flags)
}

/// The same on a core, if on one.
pub fn start_server_on<'a>(
    core: Option<CoreId>,
    flags: impl IntoIterator<Item = &'a str>,
) -> (Owned, String, Lines<BufReader<ChildStderr>>) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fanfare"));
    command.args(server_flags::all(flags)).stdin(Stdio::null()).stderr(Stdio::piped());
    child::bind(&mut command, core);
    let mut child = command.spawn().expect("the server starts");
    let mut lines = BufReader::new(child.stderr.take().expect("it is piped")).lines();
    let process = Owned(child);
    let mut said = String::new();
    loop {
        let Some(Ok(line)) = lines.next() else { panic!("the server ended: {said}") };
        if let Some((_, address)) = line.split_once("listening on ") {
            return (process, address.trim().to_owned(), lines);
        }
        said.push_str(&line);
    }
}

/// A WebSocket on a path, blocking.
pub fn connect(address: &str, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).expect("the server accepts");
    stream.set_nodelay(true).expect("a socket option");
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).expect("the server reads");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("the server answers");
        head.push(byte[0]);
    }
    assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", head.escape_ascii());
    stream
}

/// The middle one; of an even count the mean of the two; 0 without any.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => 0.0,
        count if count.is_multiple_of(2) => (values[middle - 1] + values[middle]) / 2.0,
        _ => values[middle],
    }
}
