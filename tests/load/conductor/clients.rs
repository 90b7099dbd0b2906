//! The client processes; each is ended by its id when it goes out of scope.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::Sender;

use crate::load::wire::{Begin, Said, Tell};

/// How a process is started.
#[derive(Clone, Debug)]
pub struct Launcher {
    pub program: PathBuf,
    pub arguments: Vec<OsString>,
}

impl Launcher {
    /// The real server, which flags follow.
    pub fn of_the_server() -> Launcher {
        Launcher { program: env!("CARGO_BIN_EXE_fanfare").into(), arguments: Vec::new() }
    }

    /// This same program, which calls [`crate::load::client::run`] for these arguments.
    pub fn this_program(arguments: &[&str]) -> Launcher {
        let program = std::env::current_exe().expect("this program is a file");
        Launcher { program, arguments: arguments.iter().map(OsString::from).collect() }
    }
}

/// What came from a process: a word, or the end of all.
pub type Heard = (usize, Option<Said>);

/// A client process.
pub struct ClientProcess {
    child: Child,
    input: Option<ChildStdin>,
}

impl ClientProcess {
    pub fn start(launcher: &Launcher, begin: &Begin, heard: Sender<Heard>) -> ClientProcess {
        let mut child = Command::new(&launcher.program)
            .args(&launcher.arguments)
            // It ends with its input, and ends the server that does not end then: a signal would come before that.
            // A signal from the terminal reaches the conductor alone, which ends the others in order.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a client process starts");
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        let process = begin.process;
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let Ok(said) = serde_json::from_str(&line) else { continue };
                if heard.send((process, Some(said))).is_err() {
                    return;
                }
            }
            let _ = heard.send((process, None));
        });
        let input = child.stdin.take();
        let mut process = ClientProcess { child, input };
        process.tell(&Tell::Begin(begin.clone()));
        process
    }

    /// Tells it something. If it is gone, that is heard from it.
    pub fn tell(&mut self, tell: &Tell) {
        let mut line = serde_json::to_string(tell).expect("it is JSON");
        line.push('\n');
        if let Some(input) = &mut self.input {
            let _ = input.write_all(line.as_bytes());
        }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for ClientProcess {
    fn drop(&mut self) {
        self.tell(&Tell::End);
        // Without the end of its input: that would mean that the conductor has died.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
