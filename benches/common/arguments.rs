//! What a bench is told that has no flags of its own.

/// Whether everything is to be small, to see that it works.
///
/// # Errors
///
/// If it is told anything else; `because` is why there is nothing else.
pub fn is_smoke(arguments: impl IntoIterator<Item = String>, because: &str) -> Result<bool, String> {
    let mut is_smoke = false;
    for argument in arguments {
        match argument.as_str() {
            "--test" => is_smoke = true,
            // What cargo says.
            "--bench" => {}
            _ => return Err(format!("argument {argument}: expected --test or nothing, as {because}")),
        }
    }
    Ok(is_smoke)
}
