//! What a service manager hands over: sockets that listen already, where to tell it how we are, and how often.

use std::env;
use std::ffi::OsString;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::str::FromStr;
use std::time::Duration;

use fanfare::server::PassedSockets;

use super::notify::Notifier;

/// The first descriptor that is passed; the others follow it.
const FIRST_PASSED: RawFd = 3;
/// Sockets that may be passed: more than anybody has addresses for.
const PASSED_MAX: RawFd = 1024;
/// The name of a socket that was passed without one, as `sd_listen_fds_with_names(3)` has it.
const UNNAMED: &str = "unknown";

/// What was handed over.
#[derive(Debug, Default)]
pub struct Environment {
    /// Sockets for `--listen fd:NAME`.
    pub sockets: PassedSockets,
    /// Whom to tell how we are.
    pub notifier: Option<Notifier>,
    /// Without a sign of life for so long we are killed.
    pub watchdog: Option<Duration>,
}

impl Environment {
    /// Takes it out of the environment, where no process of ours is to find it. Called once, before the first
    /// thread is started.
    ///
    /// # Errors
    ///
    /// In one line, what is wrong with it and which variable says so.
    pub fn take() -> Result<Environment, String> {
        Environment::read(take_variable, std::process::id())
    }

    /// What the variables say to the process of this number.
    fn read(mut take: impl FnMut(&str) -> Option<OsString>, pid: u32) -> Result<Environment, String> {
        let (listen_pid, fds, names) = (take("LISTEN_PID"), take("LISTEN_FDS"), take("LISTEN_FDNAMES"));
        let (watchdog_pid, period) = (take("WATCHDOG_PID"), take("WATCHDOG_USEC"));
        let mut environment = Environment::default();
        if let Some(address) = take("NOTIFY_SOCKET") {
            let notifier = Notifier::new(&address);
            let bad = |error| format!("NOTIFY_SOCKET={}: {error}", address.display());
            environment.notifier = Some(notifier.map_err(bad)?);
        }
        // What is for another process was left over by one whose child we are.
        if let Some(count) = fds
            && number("LISTEN_PID", listen_pid)? == Some(pid)
        {
            environment.sockets = passed(count, names)?;
        }
        if number("WATCHDOG_PID", watchdog_pid)?.is_none_or(|meant: u32| meant == pid) {
            environment.watchdog = number("WATCHDOG_USEC", period)?.map(Duration::from_micros);
        }
        if environment.watchdog.is_some_and(|period| period.is_zero()) {
            return Err("WATCHDOG_USEC=0: a positive number is allowed".to_owned());
        }
        Ok(environment)
    }
}

/// Removes a variable; an empty one counts as unset.
#[allow(unsafe_code)]
fn take_variable(name: &str) -> Option<OsString> {
    let value = env::var_os(name);
    // SAFETY: no other thread is there yet that could read the environment.
    unsafe {
        env::remove_var(name);
    }
    value.filter(|value| !value.is_empty())
}

fn number<T: FromStr>(name: &str, value: Option<OsString>) -> Result<Option<T>, String> {
    let Some(value) = value else { return Ok(None) };
    let parsed = value.to_str().and_then(|value| value.parse().ok());
    parsed.map(Some).ok_or_else(|| format!("{name}={}: a whole number is allowed", value.display()))
}

/// The descriptors that were passed.
fn passed(count: OsString, names: Option<OsString>) -> Result<PassedSockets, String> {
    let count = number("LISTEN_FDS", Some(count))?.filter(|count| (0..=PASSED_MAX).contains(count));
    let count = count.ok_or_else(|| format!("LISTEN_FDS: 0 to {PASSED_MAX} is allowed"))?;
    let names = names.map(|names| names.to_string_lossy().into_owned());
    let names: Vec<&str> = match &names {
        Some(names) => names.split(':').collect(),
        None => vec![UNNAMED; count as usize],
    };
    if names.len() != count as usize {
        return Err(format!("LISTEN_FDNAMES has {} names for LISTEN_FDS={count}", names.len()));
    }
    let mut sockets = PassedSockets::default();
    for (number, name) in (FIRST_PASSED..).zip(names) {
        let name = if name.is_empty() { UNNAMED } else { name };
        sockets.add(name, own(number).ok_or_else(|| format!("LISTEN_FDS={count}: {number} is not open"))?);
    }
    Ok(sockets)
}

/// A descriptor that was open when the process began.
#[allow(unsafe_code)]
fn own(number: RawFd) -> Option<OwnedFd> {
    // SAFETY: looked at only, which of one that is not open says so.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    rustix::io::fcntl_getfd(borrowed).ok()?;
    // SAFETY: it is open and was passed to this process, whose LISTEN_PID says so, for it to own. Nothing of
    // ours has opened a descriptor in between: they are taken once, before anything else.
    Some(unsafe { OwnedFd::from_raw_fd(number) })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PID: u32 = 42;

    fn read(variables: &[(&str, &str)]) -> Result<Environment, String> {
        let value = |name: &str| variables.iter().find(|(known, _)| *known == name);
        Environment::read(|name| value(name).map(|(_, value)| OsString::from(value)), PID)
    }

    #[test]
    fn without_a_manager_nothing_is_handed_over() {
        let Environment { notifier, watchdog, .. } = read(&[]).unwrap();
        assert!(notifier.is_none() && watchdog.is_none());
    }

    #[test]
    fn a_watchdog_counts_if_it_is_meant_for_this_process() {
        for (variables, period) in [
            (&[("WATCHDOG_USEC", "5000000")][..], Some(5)),
            (&[("WATCHDOG_USEC", "5000000"), ("WATCHDOG_PID", "42")], Some(5)),
            (&[("WATCHDOG_USEC", "5000000"), ("WATCHDOG_PID", "41")], None),
        ] {
            assert_eq!(read(variables).unwrap().watchdog, period.map(Duration::from_secs), "{variables:?}");
        }
    }

    #[test]
    fn sockets_that_are_for_another_process_are_left_alone() {
        // These would be an error otherwise.
        for pid in ["41", "4242"] {
            read(&[("LISTEN_FDS", "lots"), ("LISTEN_PID", pid)]).unwrap();
        }
        read(&[("LISTEN_FDS", "lots")]).unwrap();
    }

    #[test]
    fn what_is_wrong_is_one_line_with_its_variable() {
        let ours = ("LISTEN_PID", "42");
        for (variables, parts) in [
            (&[("NOTIFY_SOCKET", "vsock:2:1")][..], &["NOTIFY_SOCKET=vsock:2:1", "abstract"][..]),
            (&[("WATCHDOG_USEC", "0")], &["WATCHDOG_USEC=0"]),
            (&[("WATCHDOG_USEC", "-1")], &["WATCHDOG_USEC=-1", "whole number"]),
            (&[("WATCHDOG_PID", "me")], &["WATCHDOG_PID=me"]),
            (&[ours, ("LISTEN_FDS", "lots")], &["LISTEN_FDS=lots"]),
            (&[ours, ("LISTEN_FDS", "1025")], &["LISTEN_FDS", "0 to 1024"]),
            (&[ours, ("LISTEN_FDS", "-1")], &["LISTEN_FDS", "0 to 1024"]),
            (&[ours, ("LISTEN_FDS", "1024"), ("LISTEN_FDNAMES", "a")], &["1 names", "LISTEN_FDS=1024"]),
            (&[ours, ("LISTEN_FDS", "2"), ("LISTEN_FDNAMES", "a:b:c")], &["3 names", "LISTEN_FDS=2"]),
        ] {
            let line = read(variables).unwrap_err();
            assert_eq!(line.lines().count(), 1, "{line}");
            for part in parts {
                assert!(line.contains(part), "{line} lacks {part}");
            }
        }
    }
}
