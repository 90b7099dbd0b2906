//! Flags of the servers that benches start.

use std::process::{Command, Stdio};

/// All flags of a server with these beside.
pub fn all<'a>(flags: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let flags: Vec<&str> = flags.into_iter().collect();
    let mut all = vec!["--listen", "127.0.0.1:0"];
    if !flags.contains(&"--admin") {
        all.extend(["--admin", "none"]);
    }
    // Publishers that send as fast as they can are what is measured.
    all.extend(["--message-rate", "1000000", "--byte-rate", "1TiB", "--handshakes-per-second", "1000000"]);
    all.extend(flags);
    // Its address and whom it cut are read from its log.
    all.extend(["--log", "info", "--log-rate", "1000000"]);
    all
}

/// Has the server look at all flags that it is going to get, before it is started; `setting` is where somebody has
/// asked for some of them.
///
/// # Errors
///
/// If the server would not serve with them.
pub fn check<'a>(setting: &str, asked: &str, all: impl IntoIterator<Item = &'a str>) -> Result<(), String> {
    if asked.trim().is_empty() {
        return Ok(());
    }
    let mut check = Command::new(env!("CARGO_BIN_EXE_fanfare"));
    let checked = check.args(["check", "--quiet"]).args(all).stdin(Stdio::null()).output();
    let output = checked.map_err(|error| format!("the server cannot look at {setting}: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let why = match said.lines().next() {
        Some(line) if !output.status.success() => line.trim_start_matches("error: "),
        _ if output.status.success() && output.stdout.is_empty() => return Ok(()),
        // Such as --help.
        _ => "it would not serve",
    };
    Err(format!("{setting} {asked}: expected flags as fanfare --help shows them, but the server says: {why}"))
}
