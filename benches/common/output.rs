//! Where the results of a bench go.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

/// Said where server and load cannot be kept apart.
pub const ONE_CORE: &str = "WARNING: this process may run on one core only, which server and load share: no figure is of a server alone";

/// Sees that files with these names can be written into the folder of `--out`, before anything is measured.
pub fn check(folder: &Path, names: &[&str]) -> Result<(), String> {
    let check = |name: &&str| try_file(&folder.join(name));
    let checked = fs::create_dir_all(folder).and_then(|()| names.iter().try_for_each(check));
    checked.map_err(|error| refusal(folder, names, &error))
}

/// Sees that the file of a flag can be written.
pub fn check_file(flag: &str, path: &Path) -> Result<(), String> {
    try_file(path)
        .map_err(|error| format!("{flag} {}: {error}: expected a file that can be written", path.display()))
}

fn try_file(path: &Path) -> io::Result<()> {
    let is_new = !path.exists();
    OpenOptions::new().append(true).create(true).open(path)?;
    // A run that is broken off leaves no empty file behind.
    if is_new { fs::remove_file(path) } else { Ok(()) }
}

/// Writes the files.
pub fn write(folder: &Path, files: &[(&str, &str)]) -> Result<(), String> {
    let written = files.iter().try_for_each(|(name, text)| fs::write(folder.join(name), text));
    let names: Vec<&str> = files.iter().map(|(name, _)| *name).collect();
    written.map_err(|error| refusal(folder, &names, &error))
}

fn refusal(folder: &Path, names: &[&str], error: &io::Error) -> String {
    format!(
        "--out {}: {error}: expected a folder in which {} can be written",
        folder.display(),
        names.join(", ")
    )
}

/// A line on standard output, or nothing where its reader has gone: the files have it all.
pub fn say(text: &str) {
    let _ = writeln!(io::stdout(), "{text}");
}

/// So many, and their name in the singular or plural.
pub fn counted(count: usize, one: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{count} {one}s") }
}
