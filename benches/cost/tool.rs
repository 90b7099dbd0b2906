//! Programs that count, which a machine may not have.

use std::error::Error;
use std::process::{Command, Stdio};

/// Why a program cannot be used here; `None` if it can.
pub fn is_missing(mut probe: Command) -> Option<String> {
    let name = probe.get_program().to_string_lossy().into_owned();
    match probe.stdin(Stdio::null()).output() {
        Err(error) => Some(format!("needs {name} ({error})")),
        Ok(output) if output.status.success() => None,
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            Some(format!(
                "needs {name}, which does not work here: {}",
                said.lines().next().unwrap_or_default()
            ))
        }
    }
}

/// What a program says.
///
/// # Errors
///
/// If it cannot be started or fails.
pub fn output(command: &mut Command) -> Result<String, Box<dyn Error>> {
    let output = command.stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{}: {}: {said}", command.get_program().to_string_lossy(), output.status).into())
}
