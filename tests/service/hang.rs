//! A worker that hangs, of the real binary: one thread of it is held by a debugger.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use crate::manager::Manager;
use crate::support::Raw;
use crate::support::running::Running;

/// Holds one thread of a process in its wait.
struct Held(Child);

impl Held {
    /// Nothing where there is no debugger, or it may not.
    fn new(process: u32, name: &str) -> Option<Held> {
        let tasks = std::fs::read_dir(format!("/proc/{process}/task")).expect("its threads");
        let thread = tasks.map(|entry| entry.expect("a thread").path()).find(|task| {
            std::fs::read_to_string(task.join("comm")).is_ok_and(|comm| comm.trim_end() == name)
        });
        let thread = thread.unwrap_or_else(|| panic!("no thread {name}"));
        let mut command = Command::new("strace");
        command.arg("-p").arg(thread.file_name().expect("a number"));
        command.args(["-e", "trace=/epoll", "-e", "inject=/epoll:delay_enter=600000000", "-o", "/dev/null"]);
        let mut strace = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().ok()?;
        let mut said = String::new();
        BufReader::new(strace.stderr.take().expect("a pipe")).read_line(&mut said).expect("a line");
        let held = Held(strace);
        said.contains("attached").then_some(held)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // The kernel lets the thread go on then.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn one_thread_that_hangs_gets_no_sign_of_life_out_until_it_goes_on() {
    for name in ["fanfare-1", "fanfare-accept"] {
        let mut manager = Manager::new();
        let mut command = manager.command(&[]);
        command.env("WATCHDOG_USEC", "400000");
        let mut running = Running::spawn(command);
        let mut client = Raw::open(running.address, "/echo");
        manager.until("WATCHDOG=1");
        let Some(held) = Held::new(running.child.id(), name) else {
            eprintln!("skipped: needs strace, and that it may attach");
            return;
        };
        let hangs =
            if name == "fanfare-accept" { "the acceptor has not turned" } else { "worker 1 has not turned" };
        manager.until_one("STATUS=", |status| status.starts_with(hangs));
        let said = manager.told.len();
        for _ in 0..5 {
            manager.until_one("STATUS=", |status| status.starts_with(hangs));
        }
        let meanwhile = &manager.told[said..];
        assert!(meanwhile.iter().all(|line| line.starts_with(&format!("STATUS={hangs}"))), "{meanwhile:?}");
        // The other threads are well.
        client.round_trip(b"alive");
        running.wait_for(hangs);
        drop(held);
        manager.until("WATCHDOG=1");
        running.wait_for("every thread turns again");
        manager.until_one("STATUS=", |status| status.contains("1 connection"));
    }
}
