//! SIGHUP: what changes, what is said of it in the log and to the service manager, and what changes nothing.

use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Signal;
use rustix::time::{ClockId, clock_gettime};

use crate::manager::Manager;
use crate::support::Raw;
use crate::support::running::Running;

/// A file with settings, which is removed at the end.
struct Settings(PathBuf);

impl Settings {
    fn new(test: &str, more: &str) -> Settings {
        let name = format!("fanfare-reload-{}-{test}.toml", std::process::id());
        let settings = Settings(std::env::temp_dir().join(name));
        settings.write(more);
        settings
    }

    fn write(&self, more: &str) {
        let text = format!("listen = \"127.0.0.1:0\"\nadmin = \"none\"\npin = \"off\"\n{more}\n");
        std::fs::write(&self.0, text).expect("a file");
    }

    fn start(&self, manager: &Manager) -> Running {
        Running::spawn(manager.bare_command(&["--config", self.0.to_str().expect("UTF-8")]))
    }
}

impl Drop for Settings {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Has it reload, and gives the status behind that.
fn reload(running: &Running, manager: &mut Manager) -> String {
    let machine_time = || {
        let time = clock_gettime(ClockId::Monotonic);
        Duration::new(time.tv_sec as u64, time.tv_nsec as u32).as_micros() as u64
    };
    let before = machine_time();
    running.signal(Signal::HUP);
    manager.until("RELOADING=1");
    let began = manager.told.iter().rev().find_map(|line| line.strip_prefix("MONOTONIC_USEC="));
    let began: u64 = began.expect("with its time").parse().expect("a number");
    assert!((before..=machine_time()).contains(&began));
    let ready = manager.next();
    assert_eq!(ready[0], "READY=1", "{ready:?}");
    ready[1].strip_prefix("STATUS=").expect("a status").to_owned()
}

#[test]
fn what_can_change_does_and_what_cannot_is_named() {
    let mut manager = Manager::new();
    let settings = Settings::new("changes", "workers = 2\nmax-message = \"1KiB\"");
    let mut running = settings.start(&manager);
    manager.until("READY=1");
    let mut old = Raw::open(running.address, "/echo");
    settings.write("workers = 3\nmax-message = \"2KiB\"\nlog = \"debug\"");
    let status = reload(&running, &mut manager);
    assert!(status.ends_with("; needs a restart: --workers"), "{status}");
    for line in [
        "reload: --max-message: 1KiB → 2KiB",
        "reload: --log: info → debug",
        "reload: --workers: 2 → 3 needs a restart",
    ] {
        running.wait_for(line);
    }
    let large = [7; 1500];
    old.round_trip(&large);
    Raw::open(running.address, "/echo").round_trip(&large);
    // Closes are for who looks closely.
    running.wait_for("DEBUG");
    let again = reload(&running, &mut manager);
    assert!(again.ends_with("; needs a restart: --workers"), "it still does: {again}");
    settings.write("workers = 2\nmax-message = \"2KiB\"\nlog = \"debug\"");
    let back = reload(&running, &mut manager);
    assert!(back.ends_with(" out"), "nothing is left to do: {back}");
    running.wait_for("reload: the settings are the same");
    old.round_trip(&large);
}

#[test]
fn what_is_wrong_changes_nothing_and_is_said_until_it_is_mended() {
    let mut manager = Manager::new();
    let settings = Settings::new("wrong", "max-message = \"1KiB\"");
    let mut running = settings.start(&manager);
    manager.until("READY=1");
    let mut old = Raw::open(running.address, "/echo");
    for (wrong, said) in [
        ("max-message = \"2KiB\"\nmax-massage = 1", "max-massage"),
        ("max-message = \"2KiB\"\nqueue-bytes = 1", "--queue-bytes 1 bytes"),
        ("max-message = \"2KiB\"\napi-key-file = \"/nonexistent/keys\"", "/nonexistent/keys"),
        ("max-message = \"2KiB\"\nmax-connections = 1000000000", "--max-connections"),
    ] {
        settings.write(wrong);
        let status = reload(&running, &mut manager);
        assert!(status.contains("; the last reload failed: ") && status.contains(said), "{status}");
        let line = running.wait_for("ERROR reload: ");
        assert!(line.contains(said), "{line}");
        running.wait_for("reload: nothing has changed");
        old.round_trip(b"still here");
    }
    // The limit is the old one.
    let mut large = Raw::open(running.address, "/echo");
    large.send(&crate::support::frame(0x82, &[7; 1500]));
    assert_eq!(large.expect_close().0, 1009);
    settings.write("max-message = \"2KiB\"");
    let status = reload(&running, &mut manager);
    assert!(status.ends_with(" out"), "{status}");
    Raw::open(running.address, "/echo").round_trip(&[7; 1500]);
}

#[test]
fn without_a_manager_and_in_a_shutdown_it_is_a_signal_that_ends_nothing() {
    let settings = Settings::new("bare", "drain = \"60s\"\nclose-timeout = \"60s\"");
    let manager = Manager::new();
    let mut command = manager.bare_command(&["--config", settings.0.to_str().expect("UTF-8")]);
    command.env_remove("NOTIFY_SOCKET");
    let mut running = Running::spawn(command);
    let stubborn = Raw::open(running.address, "/echo");
    running.signal(Signal::HUP);
    running.wait_for("reload: the settings are the same");
    running.signal(Signal::TERM);
    running.wait_for("SIGTERM");
    running.signal(Signal::HUP);
    running.wait_for("nothing is reloaded in a shutdown");
    drop(stubborn);
    assert_eq!(running.end().0.code(), Some(0));
}
