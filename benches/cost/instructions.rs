//! Instructions of a shard per message, counted by valgrind's callgrind: the same in every run and on every
//! machine that runs the same code.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::scenario::{Scenario, TOGGLES};
use crate::tool;

/// The argument with which this program runs one scenario, under valgrind.
pub const ROLE: &str = "run-scenario";

/// Runs a scenario, and says how much that was.
pub fn run(scenario: &Scenario) {
    println!("{}", scenario.run(scenario.rounds));
}

/// Instructions per message of a scenario. Its profile is left in a file of the target folder.
///
/// # Errors
///
/// If valgrind fails or has counted nothing.
pub fn count(scenario: &Scenario) -> Result<f64, Box<dyn Error>> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--collect-atstart=no"])
        .args(TOGGLES.map(|toggle| format!("--toggle-collect={toggle}")))
        .arg(format!("--callgrind-out-file={}", profile(scenario).display()))
        .arg(std::env::current_exe()?)
        .args([ROLE, scenario.name])
        .stdin(Stdio::null())
        .output()?;
    let (said, log) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if !output.status.success() {
        return Err(format!("valgrind: {}\n{log}", output.status).into());
    }
    let collected = log.lines().find_map(|line| line.split_once("Collected : "));
    let instructions: f64 = collected.ok_or("valgrind does not say what it collected")?.1.trim().parse()?;
    let messages: f64 = said.trim().parse()?;
    if instructions == 0.0 {
        return Err(format!("no instruction was counted: no function is called like {TOGGLES:?}").into());
    }
    Ok(instructions / messages)
}

/// The functions that take most of a scenario that was counted.
///
/// # Errors
///
/// If callgrind_annotate fails.
pub fn functions(scenario: &Scenario, most: usize) -> Result<Vec<String>, Box<dyn Error>> {
    let profile = profile(scenario);
    let output =
        tool::output(Command::new("callgrind_annotate").args(["--auto=no", "--threshold=99"]).arg(profile))?;
    let table = output.lines().skip_while(|line| !line.contains("file:function")).skip(2);
    Ok(table.filter(|line| !line.trim().is_empty()).take(most).map(str::to_owned).collect())
}

fn profile(scenario: &Scenario) -> PathBuf {
    let name: String =
        scenario.name.chars().map(|letter| if letter.is_alphanumeric() { letter } else { '-' }).collect();
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("callgrind-{name}"))
}
