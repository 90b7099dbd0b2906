//! The servers that this bench brings with it, each in a process of its own: the bench started again with a role.

pub mod fast;
pub mod floor;
mod handshake;
pub mod load;
pub mod ring;
mod room;
pub mod tungstenite;

use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::process::ExitCode;

use tokio::net::TcpStream;

use load::Load;

/// The first argument of such a process; the server and what it is told follow.
pub const ROLE: &str = "versus-serve";
pub const FLOOR: &str = "floor";
pub const FAST: &str = "fastwebsockets";
pub const TUNGSTENITE: &str = "tungstenite";

/// Where messages come back; on every other path they go to all others.
pub const ECHO_PATH: &str = "/echo";

/// Connections that may wait to be accepted, as many as the kernel allows by default.
const BACKLOG: i32 = 4096;

/// Serves on a free port, which is printed, until it is killed.
pub fn run(arguments: &[String]) -> ExitCode {
    match serve(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{arguments:?}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(arguments: &[String]) -> io::Result<()> {
    let [server, rest @ ..] = arguments else { return Err(io::Error::other("expected a server")) };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    rustix::net::listen(&listener, BACKLOG)?;
    println!("listening on {}", listener.local_addr()?);
    match server.as_str() {
        FLOOR => floor::serve(listener, rest),
        FAST => fast::serve(listener, Load::parse(rest)?),
        TUNGSTENITE => tungstenite::serve(listener, Load::parse(rest)?),
        _ => Err(io::Error::other(format!("expected {FLOOR}, {FAST} or {TUNGSTENITE}"))),
    }
}

/// A runtime on one thread, and a task for each connection.
fn accept_on_this_thread<F>(listener: TcpListener, serve: impl Fn(TcpStream) -> F) -> io::Result<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    listener.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio::spawn(serve(stream));
        }
    })
}
