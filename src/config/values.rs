//! Every setting by its flag: how its value is shown, and whether a running server takes another one.

use std::fmt;
use std::time::Duration;

use super::Config;
use crate::server::MemoryLimit;

/// One setting.
#[derive(Debug)]
pub struct Setting {
    /// Its flag.
    pub flag: &'static str,
    show: fn(&Config) -> String,
    /// Gives a configuration the value of the one that runs, where only a start can change it.
    keep: Option<fn(&mut Config, &Config)>,
}

impl Setting {
    /// Its value, as the flag is written.
    pub fn value(&self, config: &Config) -> String {
        (self.show)(config)
    }

    /// Whether only a start can change it; a reload changes all others.
    pub fn needs_restart(&self) -> bool {
        self.keep.is_some()
    }

    /// Gives `config` the value of the running one if only a start can change it.
    pub fn keep_until_restart(&self, config: &mut Config, running: &Config) {
        if let Some(keep) = self.keep {
            keep(config, running);
        }
    }
}

const fn live(flag: &'static str, show: fn(&Config) -> String) -> Setting {
    Setting { flag, show, keep: None }
}

const fn restart(flag: &'static str, show: fn(&Config) -> String, keep: fn(&mut Config, &Config)) -> Setting {
    Setting { flag, show, keep: Some(keep) }
}

/// All settings, in the order of [`Config`].
pub const SETTINGS: &[Setting] = &[
    restart(
        "--listen",
        |config| list(&config.listen, "none"),
        |config, running| config.listen.clone_from(&running.listen),
    ),
    restart(
        "--listen-proxy",
        |config| list(&config.listen_proxy, "none"),
        |config, running| config.listen_proxy.clone_from(&running.listen_proxy),
    ),
    live("--trusted-proxy", |config| list(&config.trusted_proxy, "none")),
    live("--forwarded-header", |config| config.forwarded_header.to_string()),
    restart(
        "--admin",
        |config| list(&config.admin, "none"),
        |config, running| config.admin.clone_from(&running.admin),
    ),
    restart(
        "--workers",
        |config| optional(config.workers.as_ref(), "the cores that this process may use"),
        |config, running| config.workers = running.workers,
    ),
    restart("--pin", |config| config.pin.to_string(), |config, running| config.pin.clone_from(&running.pin)),
    live("--max-connections", |config| {
        optional(config.max_connections.as_ref(), "what the descriptor limit allows")
    }),
    live("--connections-per-address", |config| config.connections_per_address.to_string()),
    live("--handshakes-per-address", |config| config.handshakes_per_address.to_string()),
    live("--handshakes-per-second", |config| config.handshakes_per_second.to_string()),
    live("--memory-limit", |config| match config.memory_limit {
        MemoryLimit::Auto => "auto".to_owned(),
        MemoryLimit::Bytes(limit) => usize::try_from(limit).map_or(limit.to_string(), size),
    }),
    live("--shed-at-percent", |config| config.shed_at_percent.to_string()),
    live("--exempt-network", |config| list(&config.exempt_network, "none")),
    live("--allow-origin", |config| list(&config.allow_origin, "none")),
    live("--api-key-file", |config| {
        optional(config.api_key_file.as_ref().map(|path| path.display()).as_ref(), "none")
    }),
    live("--member-publish", |config| if config.member_publish { "on" } else { "off" }.to_owned()),
    live("--max-head", |config| size(config.max_head)),
    live("--max-headers", |config| config.max_headers.to_string()),
    live("--max-message", |config| size(config.max_message)),
    live("--max-fragments", |config| config.max_fragments.to_string()),
    live("--max-memberships", |config| config.max_memberships.to_string()),
    live("--handshake-timeout", |config| duration(config.handshake_timeout)),
    live("--http-idle-timeout", |config| duration(config.http_idle_timeout)),
    live("--message-timeout", |config| duration(config.message_timeout)),
    live("--ping-interval", |config| duration(config.ping_interval)),
    live("--pong-timeout", |config| duration(config.pong_timeout)),
    live("--close-timeout", |config| duration(config.close_timeout)),
    live("--write-timeout", |config| duration(config.write_timeout)),
    live("--history-bytes", |config| size(config.history_bytes)),
    live("--history-messages", |config| config.history_messages.to_string()),
    live("--history-age", |config| duration(config.history_age)),
    live("--history-memory", |config| size(config.history_memory)),
    live("--lag-policy", |config| list(&config.lag_policy, "disconnect")),
    live("--presence", |config| list(&config.presence, "full")),
    live("--presence-members", |config| config.presence_members.to_string()),
    live("--presence-grace", |config| duration(config.presence_grace)),
    live("--command-rate", |config| config.command_rate.to_string()),
    live("--message-rate", |config| config.message_rate.to_string()),
    live("--byte-rate", |config| size(config.byte_rate)),
    live("--ping-rate", |config| config.ping_rate.to_string()),
    live("--rate-grace", |config| duration(config.rate_grace)),
    live("--queue-bytes", |config| size(config.queue_bytes)),
    live("--reply-bytes", |config| size(config.reply_bytes)),
    live("--send-buffer", |config| size(config.send_buffer)),
    live("--receive-buffer", |config| size(config.receive_buffer)),
    live("--http-bytes", |config| size(config.http_bytes)),
    live("--mailbox-bytes", |config| size(config.mailbox_bytes)),
    live("--linger-bytes", |config| size(config.linger_bytes)),
    live("--drain", |config| duration(config.drain)),
];

fn list<T: fmt::Display>(values: &[T], empty: &str) -> String {
    if values.is_empty() {
        return empty.to_owned();
    }
    values.iter().map(T::to_string).collect::<Vec<_>>().join(",")
}

fn optional<T: fmt::Display>(value: Option<&T>, none: &str) -> String {
    value.map_or(none.to_owned(), T::to_string)
}

fn size(bytes: usize) -> String {
    match bytes {
        0 => "0".to_owned(),
        _ if bytes.is_multiple_of(1 << 20) => format!("{}MiB", bytes >> 20),
        _ if bytes.is_multiple_of(1 << 10) => format!("{}KiB", bytes >> 10),
        _ => bytes.to_string(),
    }
}

fn duration(duration: Duration) -> String {
    format!("{duration:?}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::Pin;

    /// The names of the fields as the derived `Debug` has them.
    fn fields() -> Vec<String> {
        let shown = format!("{:#?}", Config::default());
        let own = shown.lines().filter_map(|line| line.strip_prefix("    "));
        let named = own.filter_map(|line| line.split_once(": ").map(|(name, _)| name));
        named.filter(|name| !name.starts_with(' ')).map(str::to_owned).collect()
    }

    #[test]
    fn every_field_is_listed_under_its_flag_in_its_place() {
        let flags: Vec<String> =
            fields().iter().map(|field| format!("--{}", field.replace('_', "-"))).collect();
        let listed: Vec<&str> = SETTINGS.iter().map(|setting| setting.flag).collect();
        assert!(flags.len() > 40, "{flags:?}");
        assert_eq!(listed, flags, "each field of Config needs its row in SETTINGS");
    }

    #[test]
    fn values_are_shown_as_flags_are_written() {
        let shown = |flag: &str, config: &Config| {
            SETTINGS.iter().find(|setting| setting.flag == flag).unwrap().value(config)
        };
        let config = Config {
            allow_origin: vec!["https://a.example".parse().unwrap(), "null".parse().unwrap()],
            max_message: 1000,
            memory_limit: MemoryLimit::Bytes(512 << 20),
            drain: Duration::from_millis(1500),
            workers: Some(3),
            ..Config::default()
        };
        for (flag, value) in [
            ("--listen", "127.0.0.1:9001"),
            ("--workers", "3"),
            ("--pin", "auto"),
            ("--max-connections", "what the descriptor limit allows"),
            ("--exempt-network", "127.0.0.0/8,::1/128"),
            ("--allow-origin", "https://a.example:443,null"),
            ("--api-key-file", "none"),
            ("--member-publish", "on"),
            ("--max-message", "1000"),
            ("--memory-limit", "512MiB"),
            ("--shed-at-percent", "95"),
            ("--max-head", "8KiB"),
            ("--history-memory", "256MiB"),
            ("--lag-policy", "disconnect"),
            ("--history-age", "300s"),
            ("--drain", "1.5s"),
        ] {
            assert_eq!(shown(flag, &config), value, "{flag}");
        }
    }

    #[test]
    fn what_needs_a_restart_is_kept_and_nothing_else() {
        let running = Config::default();
        let mut config = Config {
            listen: vec!["127.0.0.1:1".parse().unwrap()],
            listen_proxy: vec!["127.0.0.1:3".parse().unwrap()],
            admin: vec!["127.0.0.1:2".parse().unwrap()],
            workers: Some(7),
            pin: Pin::Off,
            max_head: 4096,
            ..Config::default()
        };
        for setting in SETTINGS {
            setting.keep_until_restart(&mut config, &running);
        }
        let differs = |setting: &&Setting| setting.value(&config) != setting.value(&running);
        let differing: Vec<&str> = SETTINGS.iter().filter(differs).map(|setting| setting.flag).collect();
        assert_eq!(differing, ["--max-head"]);
        let restarts = SETTINGS.iter().filter(|setting| setting.needs_restart());
        assert_eq!(
            restarts.map(|setting| setting.flag).collect::<Vec<_>>(),
            ["--listen", "--listen-proxy", "--admin", "--workers", "--pin"]
        );
    }

    #[test]
    fn values_that_differ_are_shown_differently() {
        for (bytes, shown) in [(0, "0"), (1, "1"), (1024, "1KiB"), (1025, "1025"), (1 << 20, "1MiB")] {
            assert_eq!(size(bytes), shown);
        }
    }
}
