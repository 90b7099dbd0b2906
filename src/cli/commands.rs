//! What the binary does: it serves, unless the first argument is a command.

use std::ffi::OsString;

use clap::builder::Resettable;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, CommandFactory};
use clap_complete::Shell;

use super::complaints::Complaints;
use super::loader::{is_empty, without_variables};
use super::{Cli, Loader, example, manual};

/// What this process is to do.
#[derive(Debug)]
pub enum Task {
    /// Serve, with the settings of this loader.
    Serve(Loader),
    /// Say what it would serve with.
    Check {
        /// With the settings of this loader.
        loader: Loader,
        /// Nothing but what is wrong.
        is_quiet: bool,
    },
    /// Print this and end.
    Print(Vec<u8>),
    /// One of the commands that were given to [`parse`]; its arguments.
    Other(ArgMatches),
}

/// What the `arguments` of a process ask for, the first of which is its own name. `others` are commands beside
/// our own. Where a command stands in the place of serving, the environment does not count, but for `check`.
///
/// # Errors
///
/// What is wrong with the arguments or the environment.
pub fn parse(
    others: impl IntoIterator<Item = Command>,
    arguments: Vec<OsString>,
) -> Result<Task, Complaints> {
    let command = whole(others);
    let serves = arguments.get(1).is_none_or(|first| command.find_subcommand(first).is_none());
    let effective = without_variables(command.clone(), |variable| !serves || is_empty(variable));
    let effective = effective.mut_subcommand("check", |check| without_variables(check, is_empty));
    let matches = match effective.try_get_matches_from(&arguments) {
        Ok(matches) => matches,
        Err(error) if error.use_stderr() => return Err(Complaints::of_parser(&error, &arguments)),
        Err(help) => return Ok(Task::Print(help.render().to_string().into_bytes())),
    };
    let Some((name, inner)) = matches.subcommand() else { return Ok(Task::Serve(Loader::new(arguments))) };
    match name {
        "check" => {
            let loader = Loader::with_flags(check_flags, without_second(arguments));
            Ok(Task::Check { loader, is_quiet: inner.get_flag("quiet") })
        }
        "example" => Ok(Task::Print(example::example(&Cli::command()).into_bytes())),
        "man" => {
            let of: Vec<&String> = inner.get_many("command").into_iter().flatten().collect();
            manual::page(command, &of).map(Task::Print)
        }
        "completions" => Ok(Task::Print(completions(command, inner))),
        _ => Ok(Task::Other(inner.clone())),
    }
}

/// The flags and all commands.
pub fn whole(others: impl IntoIterator<Item = Command>) -> Command {
    let example =
        Command::new("example").about("Print a configuration file with every setting and its default");
    let manual = Command::new("man").about("Print the manual page, or that of a command").arg(
        Arg::new("command")
            .value_name("COMMAND")
            .num_args(0..)
            .help("The command, for example load, or load echo"),
    );
    let completions = Command::new("completions").about("Print completions of the flags for a shell").arg(
        Arg::new("shell")
            .value_name("SHELL")
            .required(true)
            .value_parser(["bash", "zsh", "fish"])
            .help("The shell"),
    );
    Cli::command()
        .subcommands([check_flags(), example, manual, completions])
        .subcommands(others)
        .args_conflicts_with_subcommands(true)
        .disable_help_subcommand(true)
        .subcommand_help_heading("Commands, in place of serving")
}

/// The flags of `fanfare check`: those of serving, and how much is said.
fn check_flags() -> Command {
    Cli::augment_args(Command::new("check"))
        .arg(
            Arg::new("quiet").long("quiet").short('q').action(ArgAction::SetTrue).help("Print only what is wrong"),
        )
        .about("Check flags, environment and configuration file, and print every setting with its source")
        .version(Resettable::Reset)
        .after_help(
            "What is printed is a configuration file itself. No server is started. Exit status: 0 if the settings\n\
             are fine, 2 if not.",
        )
}

fn without_second(mut arguments: Vec<OsString>) -> Vec<OsString> {
    if arguments.len() > 1 {
        arguments.remove(1);
    }
    arguments
}

fn completions(mut command: Command, matches: &ArgMatches) -> Vec<u8> {
    let shell = match matches.get_one::<String>("shell").map(String::as_str) {
        Some("zsh") => Shell::Zsh,
        Some("fish") => Shell::Fish,
        _ => Shell::Bash,
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, "fanfare", &mut script);
    script
}
