//! SIGHUP: the settings are read again, and the server and the log take them.

use std::time::Duration;

use fanfare::ServerHandle;

use crate::cli::{Loaded, Loader, Setting};
use crate::logs::{LogHandle, LogSettings};

/// Knows where the settings come from, and who takes them.
#[derive(Debug)]
pub struct Reloading {
    loader: Loader,
    logs: LogHandle,
    /// Those of the log that are in force, as the log has them and as people write them.
    log: LogSettings,
    settings: Vec<Setting>,
}

/// What has come of it.
#[derive(Debug)]
pub struct Outcome {
    /// What people have to know, in one line, if there is anything.
    pub note: Option<String>,
    /// How long a shutdown may take from now on, if that was taken.
    pub drain_max: Option<Duration>,
}

impl Reloading {
    /// For a process that was started with this log and these settings.
    pub fn new(loader: Loader, logs: LogHandle, log: LogSettings, settings: Vec<Setting>) -> Reloading {
        Reloading { loader, logs, log, settings }
    }

    /// Waits until what is logged is written: the process is about to end.
    pub fn flush_log(&self) {
        self.logs.flush();
    }

    /// Reads the file and the environment again, and logs what is different. What is wrong in one place changes
    /// nothing in any.
    pub fn reload(&mut self, server: &ServerHandle) -> Outcome {
        self.try_reload(server).unwrap_or_else(|lines| {
            for line in &lines {
                tracing::error!("reload: {line}");
            }
            tracing::error!("reload: nothing has changed");
            Outcome { note: Some(format!("the last reload failed: {}", lines.join("; "))), drain_max: None }
        })
    }

    fn try_reload(&mut self, server: &ServerHandle) -> Result<Outcome, Vec<String>> {
        let lines =
            |complaints: crate::cli::Complaints| complaints.lines().map(str::to_owned).collect::<Vec<_>>();
        let Loaded { config, log, settings, .. } = self.loader.load().map_err(lines)?;
        let drain_max = config.shutdown_max();
        let report = server.reload(config).map_err(|error| vec![error.to_string()])?;
        let mut changed: Vec<String> = report.changed.iter().map(ToString::to_string).collect();
        changed.extend(changes_of_log(&self.settings, &settings));
        self.settings = settings;
        // What is said here is said by the settings that show more of it.
        let is_louder = log.level > self.log.level;
        if is_louder {
            self.logs.apply(&log);
        }
        for change in &changed {
            tracing::info!("reload: {change}");
        }
        for change in &report.needs_restart {
            tracing::warn!("reload: {change} needs a restart");
        }
        if changed.is_empty() && report.needs_restart.is_empty() {
            tracing::info!("reload: the settings are the same");
        }
        if !report.taken {
            tracing::error!(
                "reload: a thread has not taken the settings yet: it hangs, or the machine is overloaded"
            );
        }
        if !is_louder {
            self.logs.apply(&log);
        }
        self.log = log;
        let waiting: Vec<&str> = report.needs_restart.iter().map(|change| change.flag).collect();
        let note = (!waiting.is_empty()).then(|| format!("needs a restart: {}", waiting.join(", ")));
        Ok(Outcome { note, drain_max: Some(drain_max) })
    }
}

/// The settings of the log are not the server's, which so does not compare them.
fn changes_of_log(old: &[Setting], new: &[Setting]) -> Vec<String> {
    let of_log = |setting: &&Setting| setting.name == "log" || setting.name.starts_with("log-");
    let mut changes = Vec::new();
    for new in new.iter().filter(of_log) {
        let old = old.iter().find(|old| old.name == new.name).map(|old| old.values.join(","));
        let (old, now) = (old.unwrap_or_default(), new.values.join(","));
        if old != now {
            changes.push(format!("--{}: {old} → {now}", new.name));
        }
    }
    changes
}
