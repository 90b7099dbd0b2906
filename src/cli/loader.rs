//! Flags over environment over file over defaults: what a server is told, and where each value comes from.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use clap::builder::Resettable;
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command, CommandFactory, FromArgMatches};

use fanfare::{Config, ConfigError};

use super::complaints::{Complaints, variable};
use super::file::{self, Entry};
use super::{Cli, LogSettings, values};

/// Makes settings of the flags, the environment and the file that they name, as often as it is asked.
#[derive(Clone, Debug)]
pub struct Loader {
    flags: fn() -> Command,
    arguments: Vec<OsString>,
}

/// What a loader has made.
#[derive(Debug)]
pub struct Loaded {
    /// What the server is told. It has passed [`Config::validate`].
    pub config: Config,
    /// What is logged, and how.
    pub log: LogSettings,
    /// Every setting, in the order of the flags.
    pub settings: Vec<Setting>,
}

/// A value and where it comes from.
#[derive(Debug, PartialEq, Eq)]
pub struct Setting {
    /// The name of the flag, without dashes.
    pub name: String,
    /// What stands behind it. Nothing if it is not set and has no value by default.
    pub values: Vec<String>,
    /// Whether it may have several.
    pub is_list: bool,
    /// Where the values come from.
    pub source: Source,
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The command line.
    Flag,
    /// A variable of the environment.
    Environment(String),
    /// The configuration file.
    File {
        /// Its path.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
    },
    /// Nobody has set it. If the value is not a constant, with what the help says of it.
    Default(Option<String>),
}

impl Loader {
    /// From the arguments of a process, the first of which is its own name.
    pub fn new(arguments: Vec<OsString>) -> Loader {
        Loader::with_flags(Cli::command, arguments)
    }

    /// The same, where `flags` are those of [`Cli`] and some that are no settings.
    pub fn with_flags(flags: fn() -> Command, arguments: Vec<OsString>) -> Loader {
        Loader { flags, arguments }
    }

    /// Reads the environment and the file, and checks everything.
    ///
    /// # Errors
    ///
    /// What is wrong, each in a line with what was seen, what is allowed and where it comes from.
    pub fn load(&self) -> Result<Loaded, Complaints> {
        let loaded = self.load_for_check()?;
        loaded.unset_credential().map_or(Ok(loaded), |line| Err(Complaints::one(line)))
    }

    /// The same for a process that is no service: its credentials need not be there.
    pub fn load_for_check(&self) -> Result<Loaded, Complaints> {
        let all = (self.flags)();
        let mut flags = without_variables(all.clone(), is_empty);
        let path = self.parse(&flags)?.get_one::<PathBuf>("config").cloned();
        let entries = match &path {
            Some(path) => file::read(path, &without_variables(flags.clone(), |_| true))?,
            None => Vec::new(),
        };
        for Entry { name, values, .. } in &entries {
            let id = file::settings(&flags).find(|flag| flag.get_long() == Some(name)).map(Arg::get_id);
            if let Some(id) = id.cloned() {
                flags = flags.mut_arg(id, |flag| flag.default_values(values.clone()));
            }
        }
        let matches = self.parse(&flags)?;
        // A flag that was changed stands behind the others.
        let source = Sources { matches: &matches, path, entries: &entries };
        let settings: Vec<Setting> = file::settings(&all).map(|flag| source.setting(flag)).collect();
        let cli = Cli::from_arg_matches(&matches)
            .map_err(|error| Complaints::of_parser(&error, &self.arguments))?;
        let (config, log) = cli.into_config();
        config.validate().map_err(|error| Complaints::one(located(&error, &settings)))?;
        Ok(Loaded { config, log, settings })
    }

    fn parse(&self, flags: &Command) -> Result<ArgMatches, Complaints> {
        let parsed = flags.clone().try_get_matches_from(&self.arguments);
        parsed.map_err(|error| Complaints::of_parser(&error, &self.arguments))
    }
}

impl Loaded {
    /// What is wrong if this process has not been handed the credentials that a service is.
    pub fn unset_credential(&self) -> Option<String> {
        let name = values::unset_credential(self.config.api_key_file.as_deref()?)?;
        let line = format!(
            "--api-key-file credential:{}: $CREDENTIALS_DIRECTORY is not set: systemd sets it for services with \
             LoadCredential= or SetCredentialEncrypted=",
            name.escape_debug()
        );
        Some(with_place(line, "api-key-file", &self.settings))
    }
}

/// Knows what each value comes from.
struct Sources<'l> {
    matches: &'l ArgMatches,
    path: Option<PathBuf>,
    entries: &'l [Entry],
}

impl Sources<'_> {
    fn setting(&self, flag: &Arg) -> Setting {
        let id = flag.get_id().as_str();
        let name = flag.get_long().unwrap_or(id);
        let raw = self.matches.get_raw(id).into_iter().flatten();
        let source = match self.matches.value_source(id) {
            Some(ValueSource::CommandLine) => Source::Flag,
            Some(ValueSource::EnvVariable) => Source::Environment(variable(name)),
            _ => self.of_file(name).unwrap_or_else(|| Source::Default(default_in_words(flag))),
        };
        Setting {
            name: name.to_owned(),
            values: raw.map(|value| value.to_string_lossy().into_owned()).collect(),
            is_list: super::is_list(flag),
            source,
        }
    }

    fn of_file(&self, name: &str) -> Option<Source> {
        let entry = self.entries.iter().find(|entry| entry.name == name)?;
        Some(Source::File { path: self.path.clone()?, line: entry.line })
    }
}

/// What the help of a flag without a constant default says of what it is then.
fn default_in_words(flag: &Arg) -> Option<String> {
    let help = flag.get_help()?.to_string();
    let (_, behind) = help.split_once("[default: ")?;
    Some(behind.split(']').next().unwrap_or(behind).to_owned())
}

/// An error of the configuration, with the place if it is not the command line.
fn located(error: &ConfigError, settings: &[Setting]) -> String {
    with_place(error.to_string(), error.flag.trim_start_matches('-'), settings)
}

fn with_place(error: String, name: &str, settings: &[Setting]) -> String {
    match settings.iter().find(|setting| setting.name == name).map(|setting| &setting.source) {
        Some(Source::Environment(variable)) => format!("{error} (from {variable})"),
        Some(Source::File { path, line }) => {
            format!("{error} (from {} line {line})", path.display().to_string().escape_debug())
        }
        _ => error,
    }
}

/// `flags` without the variables of the environment that `unset` says.
pub fn without_variables(flags: Command, unset: impl Fn(&OsStr) -> bool) -> Command {
    let variables = flags.get_arguments().filter(|flag| flag.get_env().is_some_and(&unset));
    let ids: Vec<clap::Id> = variables.map(|flag| flag.get_id().clone()).collect();
    ids.into_iter().fold(flags, |flags, id| flags.mut_arg(id, |flag| flag.env(Resettable::Reset)))
}

/// Whether a variable is empty, which counts as unset: service managers cannot leave one out.
pub fn is_empty(variable: &OsStr) -> bool {
    std::env::var_os(variable).is_some_and(|value| value.is_empty())
}
