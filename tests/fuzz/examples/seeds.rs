//! Writes the seeds of all targets: `cargo run --example seeds -- FOLDER` makes `FOLDER/TARGET/seed-N`.

use std::fs;
use std::path::PathBuf;

fn main() -> std::io::Result<()> {
    let folder = PathBuf::from(std::env::args_os().nth(1).expect("a folder is expected"));
    for (target, _) in fanfare_fuzz::TARGETS {
        let folder = folder.join(target);
        fs::create_dir_all(&folder)?;
        for (number, seed) in fanfare_fuzz::seeds::seeds(target).iter().enumerate() {
            fs::write(folder.join(format!("seed-{number:02}")), seed)?;
        }
    }
    Ok(())
}
