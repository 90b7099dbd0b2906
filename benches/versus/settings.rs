//! What is run, and how long.

use std::path::PathBuf;

use clap::Parser;

/// This server beside the floor and others, in interleaved rounds on pinned cores.
#[derive(Clone, Debug, Parser)]
#[command(name = "versus")]
pub struct Settings {
    /// Loads to run, by the name or a part of it: echo-16b-1, fanout, "16 in flight"; all without any
    #[arg(env = "VERSUS_SELECT", value_delimiter = ',')]
    pub select: Vec<String>,
    /// Servers to run, by the name or a part of it; the floor is always there; all that are installed without any
    #[arg(long, env = "VERSUS_SERVERS", value_delimiter = ',')]
    pub servers: Vec<String>,
    /// Rounds, in each of which every server has its turn
    #[arg(long, env = "VERSUS_ROUNDS", default_value_t = 5, allow_negative_numbers = true)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    pub rounds: u32,
    /// Seconds of one load on one server in a round
    #[arg(long, env = "VERSUS_SECONDS", default_value_t = 1.0, allow_negative_numbers = true, value_parser = seconds)]
    pub seconds: f64,
    /// Seconds before that in which nothing is counted
    #[arg(long, env = "VERSUS_WARM_UP", default_value_t = 0.3, allow_negative_numbers = true, value_parser = seconds)]
    pub warm_up: f64,
    /// Folder with the npm packages ws and bun: npm install --prefix FOLDER ws bun
    #[arg(long, env = "VERSUS_NPM", default_value = concat!(env!("CARGO_TARGET_TMPDIR"), "/peers"))]
    pub npm: PathBuf,
    /// Folder for versus.md, versus.json and versus.svg
    #[arg(long, env = "VERSUS_OUT", default_value = env!("CARGO_TARGET_TMPDIR"))]
    pub out: PathBuf,
    /// Show what there is
    #[arg(long)]
    pub list: bool,
    /// All of them at once and small, to see that they work
    #[arg(long = "test")]
    pub smoke: bool,
    /// What cargo says
    #[arg(long, hide = true)]
    pub bench: bool,
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.05..=600.0).contains(&seconds) => Ok(seconds),
        _ => Err(format!("{text}: expected seconds from 0.05 to 600")),
    }
}
