//! The manual pages, from the flags.

use std::io::Write;

use clap::Command;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use super::complaints::Complaints;
use super::file;

/// What the help has no place for, in sections of the page of the server itself.
const SECTIONS: &[(&str, &[&str])] = &[(
    "CONFIGURATION FILE",
    &[
        "The file of --config is TOML without sections: NAME = VALUE, where NAME is that of a flag without its \
             dashes. A flag that may be repeated takes a list. What is unknown or wrong is an error, with its line. \
             `fanfare example` prints a file with every setting, `fanfare check` every value with its source.",
        "Secrets are in files of their own: --api-key-file takes a path, or credential:NAME for a credential that \
             systemd hands to the service (LoadCredential=, SetCredentialEncrypted=).",
    ],
)];

/// The page of the server, or of the command that `of` names.
///
/// # Errors
///
/// There is no such command.
pub fn page(mut whole: Command, of: &[&String]) -> Result<Vec<u8>, Complaints> {
    whole.build();
    let mut command = whole;
    for name in of {
        let Some(inner) = command.find_subcommand(name) else {
            let names: Vec<&str> = command.get_subcommands().map(Command::get_name).collect();
            let allowed = if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
            return Err(Complaints::one(format!(
                "man: {} is no command of {}; {allowed} is allowed",
                name.escape_debug(),
                command.get_name()
            )));
        };
        command = inner.clone();
    }
    let mut page = Vec::new();
    // Writing to memory does not fail.
    let _ = render(command, of.is_empty(), &mut page);
    Ok(page)
}

fn render(mut command: Command, is_server: bool, page: &mut Vec<u8>) -> std::io::Result<()> {
    let usage = command.render_usage().to_string();
    let notes = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let has_commands = command.has_subcommands();
    let man = Man::new(command);
    // Without a date, so that the same program has the same page; the crate cannot leave one out.
    let title = man.get_filename().trim_end_matches(".1").replace('-', "\\-");
    writeln!(page, ".TH {title} 1 \"\" \"fanfare {}\" \"User Commands\"", env!("CARGO_PKG_VERSION"))?;
    man.render_name_section(page)?;
    synopsis(&usage).to_writer(page)?;
    man.render_description_section(page)?;
    man.render_options_section(page)?;
    if has_commands {
        man.render_subcommands_section(page)?;
    }
    for (heading, paragraphs) in SECTIONS.iter().filter(|_| is_server) {
        section(heading, paragraphs.iter().copied()).to_writer(page)?;
    }
    if is_server {
        section("SIGNALS", signals().iter().map(String::as_str)).to_writer(page)?;
    }
    if !notes.is_empty() {
        section("NOTES", notes.split("\n\n")).to_writer(page)?;
    }
    Ok(())
}

fn signals() -> [String; 2] {
    let at_start_only: Vec<&str> = file::at_start_only().collect();
    [
        "SIGTERM and SIGINT: a shutdown, in which peers get what is queued and are closed with code 1001; a second one \
         ends the process at once."
            .to_owned(),
        format!(
            "SIGHUP: the file is read anew, under the environment and the flags of the start. What has changed is taken \
             up and logged, and no connection is lost. If anything is wrong, nothing changes and the log says what. A \
             restart is needed for {}.",
            at_start_only.join(", ")
        ),
    ]
}

fn synopsis(usage: &str) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["SYNOPSIS"]);
    for line in usage.trim_start_matches("Usage:").lines().map(str::trim).filter(|line| !line.is_empty()) {
        let end = line.find(['[', '<']).unwrap_or(line.len());
        roff.text([bold(&line[..end]), roman(&line[end..])]);
        roff.control("br", []);
    }
    roff
}

fn section<'t>(heading: &str, paragraphs: impl Iterator<Item = &'t str>) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", [heading]);
    for paragraph in paragraphs {
        roff.control("PP", []);
        for line in paragraph.lines().map(str::trim_end).filter(|line| !line.is_empty()) {
            roff.text([roman(line)]);
        }
    }
    roff
}
