//! The forms of values: switches, numbers, sizes, durations, files with secrets.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use bytesize::ByteSize;

use fanfare::server::MemoryLimit;

/// `on` or `off`.
pub fn switch(text: &str) -> Result<bool, String> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err("expected on or off".to_owned()),
    }
}

/// A whole number.
pub fn number<T: FromStr>(text: &str) -> Result<T, String> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let expected = if digits { "a smaller number" } else { "a whole number" };
    text.parse().map_err(|_| format!("expected {expected}"))
}

/// A whole number of at least one.
pub fn rate(text: &str) -> Result<u32, String> {
    number(text).and_then(|rate| if rate > 0 { Ok(rate) } else { Err("expected at least 1".to_owned()) })
}

/// A size in bytes.
pub fn size(text: &str) -> Result<usize, String> {
    let allowed = || "expected a size such as 65536, 64KiB or 1MiB".to_owned();
    let size: ByteSize = text.parse().map_err(|_| allowed())?;
    usize::try_from(size.as_u64()).map_err(|_| allowed())
}

/// A size in bytes, or `auto`.
pub fn memory_limit(text: &str) -> Result<MemoryLimit, String> {
    if text == "auto" {
        return Ok(MemoryLimit::Auto);
    }
    let bytes = size(text).map_err(|_| "expected auto, or a size such as 512MiB or 2GiB")?;
    Ok(MemoryLimit::Bytes(bytes as u64))
}

/// A duration with its unit.
pub fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|_| "expected a duration such as 500ms, 30s, 5m or 1h".to_owned())
}

/// The longest name that systemd gives a credential, in bytes.
const CREDENTIAL_NAME_BYTES_MAX: usize = 255;

/// What a secret stands behind that systemd hands over.
const CREDENTIAL: &str = "credential:";

/// The name of a credential for which this process has no folder, in what [`secret_file`] has made.
pub fn unset_credential(path: &Path) -> Option<&str> {
    path.to_str()?.strip_prefix(CREDENTIAL)
}

/// A file with a secret: its path, or `credential:NAME` for one that systemd has handed over. It stays as it is
/// where systemd has not said in what folder; see [`unset_credential`].
pub fn secret_file(text: &str) -> Result<PathBuf, String> {
    let folder = std::env::var_os("CREDENTIALS_DIRECTORY").filter(|folder| !folder.is_empty());
    secret_file_in(folder.as_deref().map(Path::new), text)
}

fn secret_file_in(credentials: Option<&Path>, text: &str) -> Result<PathBuf, String> {
    let Some(name) = text.strip_prefix(CREDENTIAL) else {
        return if text.is_empty() {
            Err("expected a path or credential:NAME".to_owned())
        } else {
            Ok(text.into())
        };
    };
    let is_name = !matches!(name, "" | "." | "..") && !name.contains('/');
    if !is_name || name.len() > CREDENTIAL_NAME_BYTES_MAX {
        return Err("expected credential: and a name of 1 to 255 bytes without a slash".to_owned());
    }
    Ok(credentials.map_or_else(|| text.into(), |folder| folder.join(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_in_a_file_or_a_credential() {
        let folder = Path::new("/run/credentials/fanfare.service");
        let read = |text: &str| secret_file_in(Some(folder), text);
        assert_eq!(read("keys"), Ok("keys".into()));
        assert_eq!(read("/etc/credential:keys"), Ok("/etc/credential:keys".into()));
        assert_eq!(read("credential:keys"), Ok(folder.join("keys")));
        assert!(read(&format!("credential:{}", "k".repeat(254))).is_ok());
        assert!(read(&format!("credential:{}", "k".repeat(255))).is_ok());
        assert!(read(&format!("credential:{}", "k".repeat(256))).is_err());
        for wrong in
            ["", "credential:", "credential:.", "credential:..", "credential:../keys", "credential:/keys"]
        {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        let unset = secret_file_in(None, "credential:keys").unwrap();
        assert_eq!(unset_credential(&unset), Some("keys"));
        assert_eq!(secret_file_in(None, "keys"), Ok("keys".into()));
        assert_eq!(unset_credential(Path::new("keys")), None);
    }
}
