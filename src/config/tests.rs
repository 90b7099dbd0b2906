//! Ranges, and the errors that name them.

use super::checks::BYTES_MAX;
use super::*;

#[test]
fn the_defaults_are_valid() {
    assert_eq!(Config::default().validate(), Ok(()));
}

#[test]
fn ranges_are_inclusive_and_the_error_names_flag_value_and_range() {
    for (workers, ok) in [(0, false), (1, true), (256, true), (257, false)] {
        let config = Config { workers: Some(workers), ..Config::default() };
        assert_eq!(config.validate().is_ok(), ok, "{workers}");
    }
    for (bytes, ok) in [(4095, false), (4096, true), (BYTES_MAX, true), (BYTES_MAX + 1, false)] {
        for config in [
            Config { send_buffer: bytes, ..Config::default() },
            Config { receive_buffer: bytes, ..Config::default() },
        ] {
            assert_eq!(config.validate().is_ok(), ok, "{bytes}");
        }
    }
    let config = Config { send_buffer: 4095, ..Config::default() };
    assert_eq!(
        config.validate().unwrap_err().to_string(),
        "--send-buffer 4095 bytes: 4096 to 1073741824 bytes is allowed"
    );
    let config = Config { receive_buffer: BYTES_MAX + 1, ..Config::default() };
    assert_eq!(
        config.validate().unwrap_err().to_string(),
        "--receive-buffer 1073741825 bytes: 4096 to 1073741824 bytes is allowed"
    );
    let config = Config { max_message: BYTES_MAX + 1, ..Config::default() };
    assert_eq!(
        config.validate().unwrap_err().to_string(),
        "--max-message 1073741825 bytes: 1 to 1073741824 bytes is allowed"
    );
    let config = Config { ping_interval: Duration::ZERO, ..Config::default() };
    assert_eq!(config.validate().unwrap_err().to_string(), "--ping-interval 0ns: 100ms to 24h is allowed");
    for (milliseconds, ok) in [(99, false), (100, true), (86_400_000, true), (86_400_001, false)] {
        let config = Config { write_timeout: Duration::from_millis(milliseconds), ..Config::default() };
        assert_eq!(config.validate().is_ok(), ok, "{milliseconds}");
    }
}

#[test]
fn rates_begin_with_one_a_second_and_a_whole_request_head() {
    for (rate, ok) in [(0, false), (1, true), (1 << 20, true), ((1 << 20) + 1, false)] {
        for config in [
            Config { command_rate: rate, ..Config::default() },
            Config { handshakes_per_address: rate, ..Config::default() },
            Config { handshakes_per_second: rate, ..Config::default() },
            Config { message_rate: rate, ..Config::default() },
            Config { ping_rate: rate, ..Config::default() },
        ] {
            assert_eq!(config.validate().is_ok(), ok, "{rate}");
        }
    }
    let least = 64 << 10;
    for (byte_rate, max_head, ok) in [
        (least - 1, 8 << 10, false),
        (least, 8 << 10, true),
        (least, least, true),
        (least, least + 1, false),
        (1 << 40, 8 << 10, true),
        ((1 << 40) + 1, 8 << 10, false),
    ] {
        let config = Config { byte_rate, max_head, ..Config::default() };
        assert_eq!(config.validate().is_ok(), ok, "{byte_rate} {max_head}");
    }
    for (milliseconds, ok) in [(99, false), (100, true)] {
        let config = Config { rate_grace: Duration::from_millis(milliseconds), ..Config::default() };
        assert_eq!(config.validate().is_ok(), ok, "{milliseconds}");
    }
}

#[test]
fn the_kernel_gives_up_on_a_peer_after_we_did_and_said_so() {
    let options = Config::default().socket_options();
    assert_eq!(options.user_timeout, Duration::from_secs(12), "10 s and 2 s for the Close");
}

#[test]
fn memory_and_descriptors_are_given_up_from_half_of_them_on() {
    for (shed_at_percent, ok) in [(0, false), (49, false), (50, true), (100, true), (101, false)] {
        let config = Config { shed_at_percent, ..Config::default() };
        assert_eq!(config.validate().is_ok(), ok, "{shed_at_percent}");
    }
    for (bytes, ok) in
        [(0, false), ((16 << 20) - 1, false), (16 << 20, true), (1 << 44, true), ((1 << 44) + 1, false)]
    {
        let config = Config { memory_limit: MemoryLimit::Bytes(bytes), ..Config::default() };
        assert_eq!(config.validate().is_ok(), ok, "{bytes}");
    }
    let error = Config { shed_at_percent: 49, ..Config::default() }.validate().unwrap_err();
    assert_eq!(error.to_string(), "--shed-at-percent 49: 50 to 100 is allowed");
}

#[test]
fn a_shutdown_takes_the_drain_and_the_time_of_any_queue() {
    assert_eq!(Config::default().shutdown_max(), Duration::from_secs(20));
}

#[test]
fn no_exempt_network_stands_alone() {
    let exempt = |networks: &[&str]| {
        let exempt_network = networks.iter().map(|network| network.parse().unwrap()).collect();
        Config { exempt_network, ..Config::default() }.validate()
    };
    for fine in [&["none"][..], &[], &["10.0.0.0/8", "::1"]] {
        assert_eq!(exempt(fine), Ok(()));
    }
    let error = exempt(&["10.0.0.0/8", "none"]).unwrap_err();
    assert_eq!(error.to_string(), "--exempt-network 10.0.0.0/8,none: `none` alone, or networks, is allowed");
}

#[test]
fn where_proxies_are_believed_only_they_can_come() {
    let config = |listen: &str, trusted: &[&str]| Config {
        listen: Vec::new(),
        listen_proxy: vec![listen.parse().unwrap()],
        trusted_proxy: trusted.iter().map(|network| network.parse().unwrap()).collect(),
        ..Config::default()
    };
    for (listen, trusted) in [
        ("127.0.0.1:9003", &[][..]),
        ("[::1]:9003", &[]),
        ("unix:/run/proxied.sock", &[]),
        ("0.0.0.0:9003", &["10.0.0.0/8"]),
        ("192.0.2.1:9003", &["unix", "10.0.0.0/8"]),
        ("127.0.0.1:9003", &["unix"]),
        ("fd:proxied", &["unix"]),
    ] {
        assert_eq!(config(listen, trusted).validate(), Ok(()), "{listen}");
    }
    let error = config("0.0.0.0:9003", &[]).validate().unwrap_err();
    assert_eq!(
        error.to_string(),
        "--listen-proxy 0.0.0.0:9003: without --trusted-proxy only a loopback address or a unix socket is allowed"
    );
    assert!(config("fd:proxied", &[]).validate().is_err());
    let error = config("0.0.0.0:9003", &["unix"]).validate().unwrap_err();
    assert_eq!(
        error.to_string(),
        "--listen-proxy 0.0.0.0:9003: with --trusted-proxy unix alone, which nobody over TCP is, only a loopback \
         address or a unix socket is allowed"
    );
}

#[test]
fn no_limit_can_be_switched_off() {
    let zero = Duration::ZERO;
    for config in [
        Config { max_message: 0, ..Config::default() },
        Config { max_fragments: 0, ..Config::default() },
        Config { max_head: 0, ..Config::default() },
        Config { max_headers: 0, ..Config::default() },
        Config { max_memberships: 0, ..Config::default() },
        Config { max_connections: Some(0), ..Config::default() },
        Config { history_bytes: 0, ..Config::default() },
        Config { history_messages: 0, ..Config::default() },
        Config { presence_members: 0, ..Config::default() },
        Config { command_rate: 0, ..Config::default() },
        Config { connections_per_address: 0, ..Config::default() },
        Config { handshakes_per_address: 0, ..Config::default() },
        Config { handshakes_per_second: 0, ..Config::default() },
        Config { memory_limit: MemoryLimit::Bytes(0), ..Config::default() },
        Config { shed_at_percent: 0, ..Config::default() },
        Config { message_rate: 0, ..Config::default() },
        Config { byte_rate: 0, ..Config::default() },
        Config { ping_rate: 0, ..Config::default() },
        Config { rate_grace: zero, ..Config::default() },
        Config { history_age: zero, ..Config::default() },
        Config { history_memory: (1 << 20) - 1, ..Config::default() },
        Config { queue_bytes: 0, ..Config::default() },
        Config { reply_bytes: 0, ..Config::default() },
        Config { send_buffer: 0, ..Config::default() },
        Config { receive_buffer: 0, ..Config::default() },
        Config { http_bytes: 0, ..Config::default() },
        Config { mailbox_bytes: 0, ..Config::default() },
        Config { handshake_timeout: zero, ..Config::default() },
        Config { http_idle_timeout: zero, ..Config::default() },
        Config { message_timeout: zero, ..Config::default() },
        Config { pong_timeout: zero, ..Config::default() },
        Config { close_timeout: zero, ..Config::default() },
        Config { write_timeout: zero, ..Config::default() },
        Config { listen: Vec::new(), ..Config::default() },
    ] {
        assert!(config.validate().is_err(), "{config:?}");
    }
}
