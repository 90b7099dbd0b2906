//! What micro is told.

/// Whether everything is to run once only.
///
/// # Errors
///
/// If it is told anything else.
pub fn is_smoke(arguments: impl IntoIterator<Item = String>) -> Result<bool, String> {
    let mut is_smoke = false;
    for argument in arguments {
        match argument.as_str() {
            "--test" => is_smoke = true,
            // What cargo says.
            "--bench" => {}
            _ => {
                return Err(format!(
                    "argument {argument}: expected --test or nothing, as all parts always run"
                ));
            }
        }
    }
    Ok(is_smoke)
}
