//! Who takes part: how each server is found and started.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cells::{Cell, Work};
use crate::common::machine::{self, locked, output};
use crate::names::{Names, all_meant, meant};
use crate::processes::Ready;
use crate::report::{Absent, Listed};
use crate::results::{FANFARE, FLOOR, FLOOR_PLAIN, FLOOR_RING};
use crate::servers::floor::Mode;
use crate::servers::load::Load;
use crate::servers::ring::Ring;
use crate::servers::{self, ECHO_PATH};
use crate::settings::Settings;

const ROOM: &str = "versus";
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/versus/peers");
/// Where Debian has the sources of Go's packages.
const GO_PATH: &str = "/usr/share/gocode";
const GORILLA_FOLDER: &str = "/usr/share/gocode/src/github.com/gorilla/websocket";
const NCHAN_MODULE: &str = "/usr/lib/nginx/modules/ngx_nchan_module.so";

/// A server that can be started.
pub struct Server {
    pub listed: Listed,
    how: How,
}

enum How {
    Fanfare,
    /// In a mode, or in the one that is the floor of a load.
    Floor(Option<Mode>),
    /// A role of this program.
    Role(&'static str),
    /// A program with its arguments, and where packages of Node are found.
    Program {
        program: PathBuf,
        arguments: Vec<String>,
        packages: Option<PathBuf>,
    },
    Nchan,
}

/// How a server is started for a load.
pub struct Launch {
    pub command: Command,
    pub ready: Ready,
}

impl Server {
    fn new([key, name]: Names, version: String, how: How) -> Server {
        Server { listed: Listed { key, name, version }, how }
    }

    pub fn key(&self) -> &'static str {
        self.listed.key
    }

    /// What others are held against.
    fn is_floor(&self) -> bool {
        matches!(self.how, How::Floor(_))
    }

    /// Whether it can do that work, and would say something by it.
    pub fn does(&self, cell: &Cell) -> bool {
        match self.how {
            How::Floor(Some(Mode::Plain)) => cell.work == Work::Fanout && cell.in_flight > 1,
            How::Floor(Some(_)) => cell.work == Work::Fanout,
            How::Nchan => cell.work == Work::Fanout,
            How::Fanfare | How::Floor(None) | How::Role(_) | How::Program { .. } => true,
        }
    }

    /// Whether what comes back is what was sent, and nothing else: nchan tells a publisher how each message went,
    /// which counts as one more delivery.
    pub fn is_checked(&self) -> bool {
        !matches!(self.how, How::Floor(_) | How::Nchan)
    }

    /// Where a server on `address` is met, and by whom who publishes if that is elsewhere.
    pub fn urls(&self, address: &str, cell: &Cell) -> (String, Option<String>) {
        match cell.work {
            Work::Echo | Work::Storm | Work::Idle => (format!("ws://{address}{ECHO_PATH}"), None),
            Work::Fanout => {
                let publisher =
                    matches!(self.how, How::Nchan).then(|| format!("ws://{address}/publish/{ROOM}"));
                (format!("ws://{address}/rooms/{ROOM}"), publisher)
            }
        }
    }

    /// How it is started, on this core.
    pub fn launch(&self, cell: &Cell, core: usize, scratch: &Path) -> Result<Launch, String> {
        let command = match &self.how {
            How::Nchan => return nchan(scratch),
            How::Fanfare => fanfare(core),
            How::Floor(mode) => {
                let fitting = match cell.work {
                    Work::Echo | Work::Storm | Work::Idle => Mode::Echo,
                    Work::Fanout if cell.in_flight == 1 => Mode::Plain,
                    Work::Fanout => Mode::Coalescing,
                };
                let mode = mode.unwrap_or(fitting);
                role(&[servers::FLOOR, mode.name(), &cell.size_bytes.to_string()])
            }
            How::Role(name) => role(&[name, &cell.size_bytes.to_string(), &cell.in_flight.to_string()]),
            How::Program { program, arguments, packages } => {
                let mut command = Command::new(program);
                command.args(arguments);
                // What a connection has under way, for those who choose their buffers by it.
                let burst = Load { message_bytes: cell.size_bytes, in_flight: cell.in_flight }.burst_bytes();
                command.env("VERSUS_BURST_BYTES", burst.to_string());
                if let Some(packages) = packages {
                    command.env("NODE_PATH", packages);
                }
                command
            }
        };
        Ok(Launch { command, ready: Ready::Says })
    }
}

/// Those that were asked for, of those that are here.
///
/// # Errors
///
/// If a name is none of theirs, or only of one that is not here.
pub fn chosen(here: Vec<Server>, absent: &[Absent], asked: &[String]) -> Result<Vec<Server>, String> {
    let names: Vec<Names> = (here.iter().map(|server| [server.key(), server.listed.name]))
        .chain(absent.iter().map(|absent| [absent.key, absent.name]))
        .collect();
    let all = all_meant("--servers", asked, &names)?;
    for asked in asked {
        if let Some(missing) = meant(asked, &names)[0].checked_sub(here.len()) {
            let Absent { name, why, .. } = &absent[missing];
            return Err(format!("--servers {asked}: expected one that is here, and {name} is {why}"));
        }
    }
    let is_chosen = |at: usize, server: &Server| asked.is_empty() || server.is_floor() || all.contains(&at);
    let chosen = here.into_iter().enumerate().filter(|(at, server)| is_chosen(*at, server));
    Ok(chosen.map(|(_, server)| server).collect())
}

/// Those that are here, and those that are not.
pub fn find(settings: &Settings) -> (Vec<Server>, Vec<Absent>) {
    let crate_of = |name: &str| format!("{} on tokio {}", locked(name), locked("tokio"));
    let floor = |names, mode| Ok(Server::new(names, String::new(), How::Floor(mode)));
    let found: Vec<Result<Server, Absent>> = vec![
        floor([FLOOR, "floor"], None),
        floor([FLOOR_PLAIN, "floor, a send each"], Some(Mode::Plain)),
        floor_ring(),
        Ok(Server::new([FANFARE, "fanfare"], machine::version(), How::Fanfare)),
        Ok(Server::new(
            ["fastwebsockets", "fastwebsockets"],
            crate_of("fastwebsockets"),
            How::Role(servers::FAST),
        )),
        Ok(Server::new(
            ["tungstenite", "tokio-tungstenite"],
            crate_of("tokio-tungstenite"),
            How::Role(servers::TUNGSTENITE),
        )),
        node(settings),
        bun(settings),
        gorilla(),
        nginx(),
    ];
    let (mut servers, mut absent) = (Vec::new(), Vec::new());
    for found in found {
        match found {
            Ok(server) => servers.push(server),
            Err(missing) => absent.push(missing),
        }
    }
    (servers, absent)
}

fn role(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this bench is a file"));
    command.arg(servers::ROLE).args(arguments);
    command
}

fn floor_ring() -> Result<Server, Absent> {
    const NAME: &str = "floor, io_uring";
    match Ring::new() {
        Ok(_) => Ok(Server::new([FLOOR_RING, NAME], String::new(), How::Floor(Some(Mode::Ring)))),
        Err(error) => {
            let why = format!("left out: the kernel refuses one: {error}");
            Err(Absent { key: FLOOR_RING, name: NAME, why })
        }
    }
}

/// The path of the binary.
pub const BINARY: &str = env!("CARGO_BIN_EXE_fanfare");

fn fanfare(core: usize) -> Command {
    let mut command = Command::new(BINARY);
    command.args(["--listen", "127.0.0.1:0", "--admin", "none", "--log", "info"]);
    command.args(["--workers", "1", "--pin", &core.to_string()]);
    // Whoever sends as fast as it can is what is measured.
    command.args(["--message-rate", "1000000", "--byte-rate", "1TiB", "--handshakes-per-second", "1000000"]);
    command
}

fn script(name: &str) -> String {
    format!("{FOLDER}/{name}")
}

fn not_installed([key, name]: Names, what: &str) -> Absent {
    Absent { key, name, why: format!("not installed: {what}") }
}

fn node(settings: &Settings) -> Result<Server, Absent> {
    const NAMES: Names = ["ws", "Node ws"];
    let node = output("node", &["--version"]).ok_or_else(|| not_installed(NAMES, "no node"))?;
    let packages = settings.npm.join("node_modules");
    let version = std::fs::read_to_string(packages.join("ws/package.json"))
        .ok()
        .and_then(|text| serde_json::from_str::<serde_json::Value>(&text).ok())
        .and_then(|manifest| Some(manifest.get("version")?.as_str()?.to_owned()))
        .ok_or_else(|| not_installed(NAMES, &format!("no package ws in {}", packages.display())))?;
    let how =
        How::Program { program: "node".into(), arguments: vec![script("ws.cjs")], packages: Some(packages) };
    Ok(Server::new(NAMES, format!("{version} on Node {node}"), how))
}

fn bun(settings: &Settings) -> Result<Server, Absent> {
    const NAMES: Names = ["bun", "Bun"];
    let local = settings.npm.join("node_modules/.bin/bun");
    let found = [PathBuf::from("bun"), local].into_iter().find_map(|program| {
        let version = output(program.to_str()?, &["--version"])?;
        Some((program, version))
    });
    let (program, version) = found.ok_or_else(|| not_installed(NAMES, "no bun on PATH or in --npm"))?;
    let how = How::Program { program, arguments: vec![script("bun.js")], packages: None };
    Ok(Server::new(NAMES, version, how))
}

/// Built here, from Debian's golang-go and golang-github-gorilla-websocket-dev.
fn gorilla() -> Result<Server, Absent> {
    const NAMES: Names = ["gorilla", "Go gorilla"];
    let go = output("go", &["version"]).ok_or_else(|| not_installed(NAMES, "no go"))?;
    if !Path::new(GORILLA_FOLDER).is_dir() {
        return Err(not_installed(NAMES, &format!("no {GORILLA_FOLDER}")));
    }
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("versus-gorilla");
    let built = Command::new("go")
        .args(["build", "-o"])
        .arg(&program)
        .arg(script("gorilla.go"))
        .envs([("GO111MODULE", "off"), ("GOPATH", GO_PATH)])
        .output();
    let failure = match built {
        Ok(built) if built.status.success() => None,
        Ok(built) => Some(String::from_utf8_lossy(&built.stderr).trim().replace('\n', "; ")),
        Err(error) => Some(error.to_string()),
    };
    if let Some(failure) = failure {
        let [key, name] = NAMES;
        return Err(Absent { key, name, why: format!("left out: go build failed: {failure}") });
    }
    let package = "golang-github-gorilla-websocket-dev";
    let version = output("dpkg-query", &["-W", "-f", "${Version}", package]).unwrap_or_default();
    let go = go.trim_start_matches("go version ").to_owned();
    let how = How::Program { program, arguments: Vec::new(), packages: None };
    Ok(Server::new(NAMES, format!("{version} on {go}"), how))
}

fn nginx() -> Result<Server, Absent> {
    const NAMES: Names = ["nchan", "nchan"];
    let nginx = output("nginx", &["-v"]).ok_or_else(|| not_installed(NAMES, "no nginx"))?;
    if !Path::new(NCHAN_MODULE).exists() {
        return Err(not_installed(NAMES, &format!("no {NCHAN_MODULE}")));
    }
    let module = output("dpkg-query", &["-W", "-f", "${Version}", "libnginx-mod-nchan"]).unwrap_or_default();
    let nginx = nginx.trim_start_matches("nginx version: ").to_owned();
    Ok(Server::new(NAMES, format!("{module} on {nginx}"), How::Nchan))
}

/// nginx cannot choose a port itself, and has its settings in a file.
fn nchan(scratch: &Path) -> Result<Launch, String> {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
    let address = free.map_err(|error| format!("a free port: {error}"))?.to_string();
    let settings = include_str!("peers/nchan.conf")
        .replace("@MODULE@", NCHAN_MODULE)
        .replace("@ADDRESS@", &address)
        .replace("@FOLDER@", &scratch.display().to_string());
    let file = scratch.join("nchan.conf");
    std::fs::create_dir_all(scratch)
        .and_then(|()| std::fs::write(&file, settings))
        .map_err(|error| format!("{}: {error}", file.display()))?;
    let mut command = Command::new("nginx");
    command.arg("-p").arg(scratch).arg("-c").arg(&file);
    Ok(Launch { command, ready: Ready::On { line: "event method", address } })
}
