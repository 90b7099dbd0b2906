//! Flags and servers that no load can be made with: one line, and the status that says whose fault it is.

use std::fs::OpenOptions;
use std::net::TcpListener;
use std::process::Stdio;

use crate::liar::Liar;
use crate::run::{command, run};

#[track_caller]
fn check(arguments: &[&str], status: i32, parts: &[&str]) {
    let run = run(arguments);
    let complaint = run.complaint(status);
    for part in parts {
        assert!(complaint.contains(part), "{arguments:?} lacks {part}: {complaint}");
    }
}

#[test]
fn bad_flags_are_one_line_with_what_was_seen_and_what_is_allowed() {
    const URL: &str = "ws://127.0.0.1:1/";
    for (arguments, parts) in [
        (&[][..], &["subcommand", "echo", "storm"][..]),
        (&["echo"], &["<URL>"]),
        (&["echo", "http://a/"], &["http://a/", "expected ws://HOST[:PORT]/PATH"]),
        (&["echo", "wss://a/"], &["wss://a/", "without TLS"]),
        (&["echo", "ws://a:99999/"], &["99999", "1 to 65535"]),
        (&["echo", "ws://a/#b"], &["#fragment"]),
        (&["echo", URL, "--connections", "0"], &["--connections", "0 is not in 1..=10000000"]),
        (&["echo", URL, "--connections", "-1"], &["--connections", "-1 is not in 1..=10000000"]),
        (&["echo", URL, "--in-flight", "0"], &["--in-flight", "0 is not in 1..=65536"]),
        (&["echo", URL, "--size", "lots"], &["--size", "lots", "64KiB"]),
        (&["echo", URL, "--size", "65MiB"], &["--size", "65MiB", "at most 64MiB"]),
        (&["echo", URL, "--rate", "0"], &["--rate", "'0'", "above 0"]),
        (&["echo", URL, "--rate", "NaN"], &["--rate", "NaN", "above 0"]),
        (&["echo", URL, "--rate", "5", "--in-flight", "2"], &["--rate", "--in-flight"]),
        (&["echo", URL, "--duration", "500us"], &["--duration", "500us", "1ms to 7days"]),
        (&["echo", URL, "--duration", "soon"], &["--duration", "soon", "30s"]),
        (&["echo", URL, "--warm-up", "1ns"], &["--warm-up", "1ns", "1ms"]),
        (&["echo", URL, "--timeout", "0s"], &["--timeout", "0s", "1ms"]),
        (&["echo", URL, "--threads", "0"], &["--threads", "0 is not in 1..=256"]),
        (&["echo", URL, "--pin", "x"], &["--pin", "'x'", "auto"]),
        (&["echo", URL, "--pin", "4095"], &["--pin 4095", "core 4095", "it may use"]),
        (&["echo", URL, "--source", "here"], &["--source", "here", "127.0.0.2"]),
        (&["echo", URL, "--source", "127.0.0.0/8"], &["--source", "65536"]),
        (&["echo", URL, "--source", "::1"], &["--source ::1", "same family"]),
        (&["echo", URL, "--header", "Origin"], &["--header", "NAME: VALUE"]),
        (&["echo", URL, "--pid", "4194304"], &["--pid 4194304", "no process"]),
        (&["echo", URL, "--messages", "0"], &["--messages", "'0'"]),
        (&["fanout", URL, "--rooms", "2"], &["--rooms 2", "{room}"]),
        (
            &["fanout", "ws://127.0.0.1:1/{room}", "--rooms", "9", "--connections", "8"],
            &["--connections 8", "at least 9"],
        ),
        (&["fanout", URL, URL, "--publisher-url", URL], &["--publisher-url", "2 URLs"]),
        (&["fanout", URL, "--publisher-url", "a"], &["--publisher-url", "expected ws://"]),
        (&["stalled", URL, "--stalled", "100%"], &["--stalled", "100%", "below 100%"]),
        (&["storm", URL, "--storms", "0"], &["--storms", "0 is not in 1.."]),
        (&["storm", URL, "--duration", "5s"], &["--duration"]),
        (&["idle", URL, "--size", "5"], &["--size"]),
        (&["echo", "--rate", "-5", URL], &["--rate", "'-5'", "above 0"]),
        (&["echo", URL, "--duration", "-5s"], &["--duration", "'-5s'", "30s"]),
        (&["echo", URL, "--warm-up", "-1ms"], &["--warm-up", "'-1ms'", "30s"]),
        (&["echo", URL, "--timeout", "-1"], &["--timeout", "'-1'", "30s"]),
        (&["echo", URL, "--size", "-5KiB"], &["--size", "'-5KiB'", "64KiB"]),
        (&["echo", URL, "--in-flight", "-1"], &["--in-flight", "-1 is not in 1..=65536"]),
        (&["echo", URL, "--messages", "-3"], &["--messages", "'-3'", "a whole number"]),
        (&["echo", URL, "--opening", "-1"], &["--opening", "-1 is not in 1.."]),
        (&["echo", URL, "--threads", "-1"], &["--threads", "-1 is not in 1..=256"]),
        (&["echo", URL, "--pid", "-1"], &["--pid", "-1 is not in 1..=4194304"]),
        (&["echo", URL, "--seed", "-1"], &["--seed", "'-1'", "a whole number"]),
        (&["echo", URL, "--pin", "-1"], &["--pin", "'-1'", "auto"]),
        (&["fanout", URL, "--rooms", "-1"], &["--rooms", "-1 is not in 1.."]),
        (&["stalled", URL, "--stalled", "-5%"], &["--stalled", "'-5%'", "above 0%"]),
        (&["storm", URL, "--storms", "-1"], &["--storms", "-1 is not in 1.."]),
        (&["dance", URL], &["dance"]),
        (&["echo", URL, "--colour"], &["--colour"]),
    ] {
        check(arguments, 2, parts);
    }
}

#[test]
fn more_connections_than_descriptors_are_refused_before_any_is_opened() {
    check(
        &["echo", "ws://127.0.0.1:1/", "--connections", "10000000"],
        2,
        &["--connections 10000000", "ulimit -n"],
    );
}

#[test]
fn the_flags_of_the_server_do_not_mix_with_a_load() {
    let mut mixed = crate::running::command(
        env!("CARGO_BIN_EXE_fanfare"),
        &["--listen", "127.0.0.1:0", "load", "echo", "ws://127.0.0.1:1/"],
    );
    let output = mixed.output().expect("it runs");
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    // What is in the environment for a server is no business of a load, not even if it is wrong.
    let mut load = command(&["echo", "ws://127.0.0.1:1/", "--connections", "1"]);
    load.env("FANFARE_WORKERS", "many").env("FANFARE_LISTEN", "127.0.0.1:0");
    let output = load.output().expect("it runs");
    let stderr = String::from_utf8(output.stderr).expect("UTF-8");
    assert!(output.status.code() == Some(1) && stderr.contains("is the server running"), "{stderr}");
}

#[test]
fn help_names_scenarios_flags_and_status() {
    for (arguments, parts) in [
        (&["--help"][..], &["echo", "fanout", "idle", "storm", "stalled", "Exit status"][..]),
        (
            &["echo", "--help"],
            &["--in-flight", "--rate", "--pid", "fresh", "--json", "--source", "[default: 100]", "8 bytes"],
        ),
        (
            &["fanout", "--help"],
            &[
                "--publisher-url",
                "--rooms",
                "The publisher is a connection beside the members",
                "?last=N",
                "[default: 1s; with --messages 0s]",
            ],
        ),
    ] {
        let run = run(arguments);
        assert_eq!((run.status, run.stderr.as_str()), (Some(0), ""));
        for part in parts {
            assert!(run.stdout.contains(part), "{arguments:?} lacks {part}: {}", run.stdout);
        }
    }
    let mut whole = crate::running::command(env!("CARGO_BIN_EXE_fanfare"), &["--help"]);
    let output = whole.output().expect("it runs");
    assert!(String::from_utf8_lossy(&output.stdout).contains("load"));
}

#[test]
fn a_server_that_is_not_there_or_does_not_accept_is_named_with_the_cause() {
    let nobody = {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.local_addr().expect("it is bound")
    };
    check(
        &["echo", &format!("ws://{nobody}/echo")],
        1,
        &[&nobody.to_string(), "refused", "is the server running"],
    );
    check(
        &["echo", "ws://127.0.0.1:1/", "--source", "192.0.2.1"],
        1,
        &["from 192.0.2.1", "not of this machine"],
    );
    for (answer, parts) in [
        (
            &b"HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\n\r\nnot here\n"[..],
            &["status 404", "101 is the one that accepts", "it says: not here"][..],
        ),
        (b"HTTP/1.1 429 Too Many Requests\r\n\r\n", &["status 429"]),
        (b"SSH-2.0-OpenSSH_9\r\n\r\n", &["HTTP/1.1"]),
        (
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
              Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
            &["Sec-WebSocket-Accept does not answer our key"],
        ),
        (b"", &["ended by the server without"]),
        (b"HTTP/1.1 101 Switch", &["ended by the server without"]),
    ] {
        let liar = Liar::refusing(answer);
        let url = liar.url();
        check(&["echo", &url, "--connections", "2"], 1, &[&[url.as_str()], parts].concat());
    }
    // A storm waits for who has no room, and for no other.
    let storm = |url: &str, parts| check(&["storm", url, "--timeout", "1h"], 1, parts);
    storm(&format!("ws://{nobody}/echo"), &["is the server running"]);
    storm(&Liar::refusing(b"HTTP/1.1 404 Not Found\r\n\r\n").url(), &["status 404"]);
}

#[test]
fn a_server_that_never_answers_is_not_waited_for_longer_than_allowed() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("ws://{}/", listener.local_addr().expect("it is bound"));
    let arguments = ["echo", &url, "--connections", "3", "--timeout", "100ms"];
    check(&arguments, 1, &["0 of 3 connections are open", "100ms (--timeout)"]);
}

#[test]
fn a_json_file_that_cannot_be_written_is_found_before_anything_is_loaded() {
    let arguments = ["echo", "ws://127.0.0.1:1/", "--json", "/nowhere/at/all.json"];
    check(&arguments, 1, &["--json /nowhere/at/all.json"]);
}

#[test]
fn a_full_standard_output_is_a_failure() {
    let Ok(full) = OpenOptions::new().write(true).open("/dev/full") else {
        eprintln!("skipped: there is no /dev/full here");
        return;
    };
    let liar = Liar::start(crate::liar::To::Sender, |_, _| crate::liar::Deed::Pass);
    let url = liar.url();
    for more in [&[][..], &["--json", "-"]] {
        let fixed = ["echo", &url, "--connections", "1", "--messages", "3"];
        let mut load = command(&[&fixed[..], more].concat());
        let output = load.stdout(full.try_clone().expect("a descriptor")).output().expect("it runs");
        let stderr = String::from_utf8(output.stderr).expect("UTF-8");
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(stderr.starts_with("error: the results cannot be written to standard output: "), "{stderr}");
    }
}

#[test]
fn standard_output_that_nobody_reads_is_no_failure_of_the_load() {
    let liar = Liar::start(crate::liar::To::Sender, |_, _| crate::liar::Deed::Pass);
    let url = liar.url();
    let mut load = command(&["echo", &url, "--connections", "1", "--messages", "3", "--warm-up", "0s"]);
    let mut child = load.stdout(Stdio::piped()).spawn().expect("it runs");
    drop(child.stdout.take());
    assert_eq!(child.wait().expect("its end").code(), Some(0));
}
