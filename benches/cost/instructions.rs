//! Instructions of a shard per message, counted by valgrind's callgrind: the same in every run and on every
//! machine that runs the same code.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::common::child::bind;
use crate::scenario::{COUNTED, NOT_COUNTED, Scenario};
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
    let mut command = Command::new("valgrind");
    command
        .args(["--tool=callgrind", "--collect-atstart=no"])
        .arg(format!("--toggle-collect={COUNTED}"))
        .arg(format!("--callgrind-out-file={}", profile(scenario).display()))
        .arg(std::env::current_exe()?)
        .args([ROLE, scenario.name])
        // A repeated string instruction counts once for each byte. Without them copies are loops, as they are
        // on machines that do not have fast ones.
        .env("GLIBC_TUNABLES", "glibc.cpu.hwcaps=-ERMS,-FSRM")
        .stdin(Stdio::null());
    bind(&mut command, None);
    let output = command.output()?;
    let (said, log) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if !output.status.success() {
        return Err(format!("valgrind: {}\n{log}", output.status).into());
    }
    let collected = log.lines().find_map(|line| line.split_once("Collected : "));
    let all: f64 = collected.ok_or("valgrind does not say what it collected")?.1.trim().parse()?;
    if all == 0.0 {
        return Err(format!("no instruction was counted: is there no function called {COUNTED}?").into());
    }
    let messages: f64 = said.trim().parse()?;
    Ok((all - outside(scenario)?) / messages)
}

/// Instructions of the simulated operating system, with all that it calls.
fn outside(scenario: &Scenario) -> Result<f64, Box<dyn Error>> {
    let lines = annotated(scenario, &["--inclusive=yes", "--threshold=100"])?;
    let of_function = |name: &str| {
        let line = lines.iter().find(|line| line.contains(&format!("{name} [")))?;
        line.split_whitespace().next()?.replace(',', "").parse::<f64>().ok()
    };
    // No scenario can do without these.
    for name in [NOT_COUNTED[0], "FlatIo as fanfare::reactor::io::Io>::send"] {
        of_function(name).ok_or_else(|| format!("no function in the profile is called {name}"))?;
    }
    Ok(NOT_COUNTED.into_iter().filter_map(of_function).sum())
}

/// The functions that take most of a scenario that was counted.
///
/// # Errors
///
/// If callgrind_annotate fails.
pub fn functions(scenario: &Scenario, most: usize) -> Result<Vec<String>, Box<dyn Error>> {
    let lines = annotated(scenario, &["--threshold=100"])?;
    Ok(lines.into_iter().filter(|line| !line.contains("FlatIo as")).take(most).collect())
}

/// A line for each function.
fn annotated(scenario: &Scenario, arguments: &[&str]) -> Result<Vec<String>, Box<dyn Error>> {
    let mut annotate = Command::new("callgrind_annotate");
    let output = tool::output(annotate.arg("--auto=no").args(arguments).arg(profile(scenario)))?;
    let table = output.lines().skip_while(|line| !line.contains("file:function")).skip(2);
    Ok(table.filter(|line| !line.trim().is_empty()).map(str::to_owned).collect())
}

fn profile(scenario: &Scenario) -> PathBuf {
    let name: String =
        scenario.name.chars().map(|letter| if letter.is_alphanumeric() { letter } else { '-' }).collect();
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("callgrind-{name}"))
}
