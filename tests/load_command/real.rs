//! Loads on the real server: counts that fit each other, and what else is shown.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::liar::{Deed, Liar, To};
use crate::run::{Run, command, errors, number, real_number, run, run_until};
use crate::running::Running;

fn server() -> Running {
    Running::start(env!("CARGO_BIN_EXE_fanfare"), &[])
}

/// A run that ends with its messages.
fn load(scenario: &str, url: &str, more: &[&str]) -> Run {
    run(&[&[scenario, url, "--warm-up", "0s", "--duration", "60s", "--json", "-"], more].concat())
}

#[test]
fn every_echo_comes_back_whatever_its_size() {
    let server = server();
    let url = format!("ws://{}/echo", server.address);
    for (size, in_flight) in [
        ("0", "1"),
        ("5", "4"),
        ("8", "4"),
        ("16", "1"),
        ("16", "16"),
        ("1KiB", "16"),
        ("70000", "3"),
        ("2000", "1"),
    ] {
        let more = ["--connections", "7", "--size", size, "--in-flight", in_flight, "--messages", "50"];
        let json = load("echo", &url, &more).clean();
        assert_eq!(json["scenario"], "echo");
        assert_eq!((number(&json, "/total/sent"), number(&json, "/total/received")), (350, 350), "{json:#}");
        assert_eq!(number(&json, "/messages"), number(&json, "/deliveries"));
        assert!(number(&json, "/messages") <= 350);
        assert!(json["server"].is_null());
    }
}

#[test]
fn every_member_gets_every_message() {
    let server = server();
    let members = 12;
    for (name, publisher, receivers) in [("a", "", members), ("b", "?echo=true", members + 1)] {
        let url = format!("ws://{}/rooms/{name}", server.address);
        let publisher = format!("{url}{publisher}");
        for (size, in_flight) in [("16", "1"), ("16", "8"), ("3000", "8"), ("9", "2"), ("4", "2")] {
            let more = [
                "--connections",
                "12",
                "--size",
                size,
                "--in-flight",
                in_flight,
                "--messages",
                "40",
                "--publisher-url",
                &publisher,
            ];
            let json = load("fanout", &url, &more).clean();
            assert_eq!((number(&json, "/connections"), number(&json, "/publishers")), (members, 1));
            let sent = number(&json, "/total/sent");
            assert!(sent > 40, "first messages and 40: {json:#}");
            assert_eq!(number(&json, "/total/received"), sent * receivers, "{json:#}");
        }
    }
}

#[test]
fn rooms_threads_and_sources_share_the_load_out() {
    let server = server();
    let url = format!("ws://{}/rooms/r{{room}}", server.address);
    let more = [
        "--connections",
        "23",
        "--rooms",
        "5",
        "--threads",
        "3",
        "--source",
        "127.0.0.5,127.0.1.0/30",
        "--messages",
        "30",
        "--in-flight",
        "4",
    ];
    let json = load("fanout", &url, &more).clean();
    assert_eq!((number(&json, "/publishers"), number(&json, "/generator/threads")), (5, 3));
    // Three rooms have five members, two have four.
    let sent = number(&json, "/total/sent");
    assert!(sent >= 5 * 31, "{json:#}");
    let received = number(&json, "/total/received");
    assert!((4 * sent..5 * sent).contains(&received), "{json:#}");
    let echo = format!("ws://{}/echo", server.address);
    let more = ["--connections", "10", "--threads", "2", "--messages", "30", "--rate", "100000"];
    let json = load("echo", &echo, &[&more[..], &[&echo]].concat()).clean();
    assert_eq!(number(&json, "/total/received"), 300);
    assert_eq!((real_number(&json, "/rate_per_s"), &json["in_flight"]), (100_000.0, &Value::Null));
}

#[test]
fn a_count_of_messages_is_measured_unless_a_warm_up_takes_it() {
    let server = server();
    let url = format!("ws://{}/rooms/count", server.address);
    let fixed = ["--connections", "3", "--messages", "40", "--json", "-"];
    let fanout = ["fanout", &url, "--rate", "2000"];
    let json = run(&[&fanout[..], &fixed].concat()).clean();
    assert_eq!(number(&json, "/messages"), 40, "{json:#}");
    for (more, parts) in [
        (
            &["fanout", &url, "--warm-up", "1h"][..],
            &["--messages 40", "--warm-up 1h", "set --warm-up 0s"][..],
        ),
        (&["stalled", &url, "--duration", "1h"], &["--messages 40", "1h (--warm-up, --duration)", "shorter"]),
    ] {
        let run = run(&[more, &fixed].concat());
        let complaint = run.complaint(1);
        for part in parts {
            assert!(complaint.contains(part), "{part}: {complaint}");
        }
    }
}

#[test]
fn an_open_loop_sends_what_is_due_and_no_more() {
    let server = server();
    let url = format!("ws://{}/echo", server.address);
    let fixed =
        ["echo", &url, "--connections", "3", "--rate", "200", "--duration", "500ms", "--warm-up", "500ms"];
    let json = run(&[&fixed[..], &["--json", "-"]].concat()).clean();
    assert_eq!((number(&json, "/total/sent"), number(&json, "/total/received")), (200, 200), "{json:#}");
}

#[test]
fn in_an_open_loop_a_stall_cannot_hide() {
    // The first fifty answers come with the fifty-first, which is due a quarter of a second behind the first.
    let liar = Liar::start(To::Sender, |number, _| if number < 50 { Deed::Delay } else { Deed::Pass });
    let url = liar.url();
    let fixed = ["--connections", "1", "--rate", "200", "--messages", "60"];
    let json = load("echo", &url, &fixed).clean();
    let (median, max) = (real_number(&json, "/latency_us/p50"), real_number(&json, "/latency_us/max"));
    assert!(max >= 249_000.0 && median >= 95_000.0, "{json:#}");
    assert_eq!(number(&json, "/total/received"), 60);
}

#[test]
fn in_a_closed_loop_a_stall_beyond_the_end_cannot_hide() {
    let (liar, kept) = Liar::late();
    let url = liar.url();
    let fixed = ["echo", &url, "--connections", "2", "--threads", "2", "--warm-up", "0s", "--duration", "1s"];
    let json = run(&[&fixed[..], &["--timeout", "60s", "--json", "-"]].concat()).clean();
    let kept_us = kept.try_recv().expect("it was kept").as_micros() as f64;
    assert!(real_number(&json, "/latency_us/max") >= 0.999 * kept_us, "{kept_us} {json:#}");
}

#[test]
fn in_a_closed_loop_no_more_is_under_way_than_was_asked_for() {
    let liar = Liar::start(To::Sender, |_, _| Deed::Delay);
    let url = liar.url();
    let fixed =
        ["echo", &url, "--connections", "3", "--in-flight", "4", "--warm-up", "0s", "--duration", "10m"];
    let arguments = [&fixed[..], &["--timeout", "1s", "--json", "-"]].concat();
    let json = run_until(&arguments, || liar.wait_for(12)).unclean();
    assert_eq!((number(&json, "/total/sent"), errors(&json)), (12, [12, 0, 0, 0, 0]), "{json:#}");
    assert_eq!((number(&json, "/unsent"), number(&json, "/total/received")), (0, 0), "{json:#}");
}

#[test]
fn what_a_server_does_not_take_is_lost_or_was_never_sent() {
    let liar = Liar::deaf();
    let url = liar.url();
    let fixed = ["echo", &url, "--connections", "1", "--rate", "500", "--size", "64KiB", "--warm-up", "0s"];
    let json = run(&[&fixed[..], &["--duration", "1s", "--timeout", "1s", "--json", "-"]].concat()).unclean();
    let sent = number(&json, "/total/sent");
    assert!(sent < 500 && number(&json, "/unsent") == 500 - sent, "{json:#}");
    assert_eq!((errors(&json), number(&json, "/total/received")), ([sent, 0, 0, 0, 0], 0), "{json:#}");
    assert!(json["latency_us"].is_null());
    assert_eq!((real_number(&json, "/done_of_due"), &json["saturated"]), (0.0, &"server".into()), "{json:#}");
    let table = run(&[&fixed[..], &["--duration", "1s", "--timeout", "1s"]].concat());
    assert!(table.stdout.ends_with("  saturated   server: it does less than is due\n"), "{table:?}");
}

#[test]
fn headers_are_sent_along() {
    let server = server();
    let url = format!("ws://{}/echo", server.address);
    let evil = run(&["echo", &url, "--connections", "1", "--header", "Origin: http://evil.example"]);
    assert!(evil.complaint(1).contains("status 403"), "{evil:?}");
    let own = format!("Origin: http://{}", server.address);
    load("echo", &url, &["--connections", "1", "--messages", "5", "--header", &own]).clean();
}

#[test]
fn a_host_may_be_a_name() {
    let server = server();
    let url = format!("ws://localhost:{}/echo", server.address.port());
    load("echo", &url, &["--connections", "2", "--messages", "5"]).clean();
}

#[test]
fn a_process_that_ends_has_no_figures_and_is_named() {
    let fixed = ["--connections", "2", "--warm-up", "0s", "--duration", "10m"];
    for (json, part) in [
        (true, "\"server\":null,\"server_ended\":PID,"),
        (false, "\n  server      process PID (--pid) ended during the run: there are no figures of it\n"),
    ] {
        let (liar, mut other) = (Liar::start(To::Sender, |_, _| Deed::Pass), server());
        let (url, pid) = (liar.url(), other.child.id().to_string());
        let shown = if json { &["--json", "-"][..] } else { &[] };
        let run = run_until(&[&["echo", &url, "--pid", &pid], &fixed[..], shown].concat(), || {
            liar.wait_for(100);
            other.child.kill().expect("it is ours");
            other.child.wait().expect("its end");
        });
        assert_eq!((run.status, run.stderr.as_str()), (Some(1), ""), "{run:?}");
        assert!(run.stdout.contains(&part.replace("PID", &pid)), "{run:?}");
        assert!(!run.stdout.contains("--pid shows"), "{run:?}");
    }
}

#[test]
fn the_server_is_measured_by_its_process() {
    let server = server();
    let url = format!("ws://{}/echo", server.address);
    let pid = server.child.id().to_string();
    let more = ["--pid", &pid, "--messages", "2000", "--in-flight", "16"];
    let json = load("echo", &url, &more).clean();
    assert!(number(&json, "/server/rss_bytes") > 1 << 20, "{json:#}");
    assert!(
        real_number(&json, "/server/cores") > 0.0 && real_number(&json, "/generator/cores") > 0.0,
        "{json:#}"
    );
    let parts =
        ["cpu", "user", "system"].map(|part| real_number(&json, &format!("/server/{part}_us_per_message")));
    assert!((parts[0] - parts[1] - parts[2]).abs() < 1e-6 && parts[0] > 0.0, "{json:#}");
    let quantiles =
        ["p50", "p90", "p99", "p99_9", "max"].map(|name| real_number(&json, &format!("/latency_us/{name}")));
    assert!(quantiles[0] > 0.0 && quantiles.is_sorted(), "{json:#}");
    assert!(["server", "generator", "neither"].contains(&json["saturated"].as_str().unwrap()), "{json:#}");
    real_number(&json, "/server/rss_bytes_per_connection");
    real_number(&json, "/duration_s");
}

#[test]
fn results_are_a_table_and_json_in_a_file() {
    let server = server();
    let url = format!("ws://{}/rooms/table", server.address);
    let file = std::env::temp_dir().join(format!("fanfare-load-{}.json", std::process::id()));
    let path = file.to_str().expect("UTF-8");
    let pid = server.child.id().to_string();
    let run = run(&[
        "fanout",
        &url,
        "--connections",
        "2",
        "--messages",
        "50",
        "--warm-up",
        "0s",
        "--json",
        path,
        "--pid",
        &pid,
    ]);
    let written = std::fs::read_to_string(&file).expect("it is written");
    std::fs::remove_file(&file).expect("it is there");
    assert_eq!((run.status, run.stderr.as_str()), (Some(0), ""), "{run:?}");
    let json: Value = serde_json::from_str(&written).expect("JSON");
    assert_eq!((number(&json, "/version"), errors(&json)), (1, [0; 5]));
    assert!(
        run.stdout.starts_with("fanout: 2 connections and a publisher, 64 bytes, 1 in flight, "),
        "{run:?}"
    );
    for row in ["messages", "errors      none", "server", "generator", "saturated"] {
        assert!(run.stdout.contains(&format!("\n  {row}")), "{row}: {run:?}");
    }
}

#[test]
fn a_signal_ends_it_with_the_results_so_far() {
    let liar = Liar::start(To::Sender, |_, _| Deed::Pass);
    let url = liar.url();
    let fixed = ["echo", &url, "--connections", "2", "--warm-up", "0s", "--duration", "10m", "--json", "-"];
    let json = run_until(&fixed, || liar.wait_for(1000)).clean();
    assert_eq!((&json["interrupted"], errors(&json)), (&Value::Bool(true), [0; 5]), "{json:#}");
    assert!(number(&json, "/messages") > 0 && number(&json, "/total/received") == liar.got(), "{json:#}");
}

#[test]
fn a_signal_says_what_is_waited_for_and_the_second_ends_it() {
    let liar = Liar::start(To::Sender, |_, _| Deed::Delay);
    let url = liar.url();
    let mut load = command(&["echo", &url, "--connections", "1", "--duration", "1h", "--timeout", "1h"]);
    let mut child = load.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
    liar.wait_for(1);
    kill_process(Pid::from_child(&child), Signal::INT).expect("a signal");
    let mut line = String::new();
    BufReader::new(child.stderr.take().expect("a pipe")).read_line(&mut line).expect("a line");
    for part in ["messages under way", "1h (--timeout)", "second Ctrl-C"] {
        assert!(line.contains(part), "{part}: {line}");
    }
    kill_process(Pid::from_child(&child), Signal::INT).expect("a signal");
    let output = child.wait_with_output().expect("its end");
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(1), &b""[..]));
}

#[test]
fn a_signal_before_anything_was_measured_says_so() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("ws://{}/", listener.local_addr().expect("it is bound"));
    let mut load = command(&["echo", &url, "--connections", "1", "--timeout", "10m"]);
    let child = load.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
    let _waiting = listener.accept().expect("a connection");
    kill_process(Pid::from_child(&child), Signal::TERM).expect("a signal");
    let output = child.wait_with_output().expect("its end");
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(1), &b""[..]));
    assert_eq!(output.stderr, b"error: interrupted before anything was measured\n");
}

#[test]
fn a_server_that_shuts_down_is_found() {
    let server = server();
    let url = format!("ws://{}/rooms/end", server.address);
    let fixed = ["fanout", &url, "--connections", "4", "--warm-up", "0s", "--duration", "10m", "--json", "-"];
    let child = command(&[&fixed[..], &["--timeout", "60s"]].concat()).stdout(Stdio::piped()).spawn();
    // Once a stranger in the room gets a message, the load runs.
    let mut stranger = TcpStream::connect(server.address).expect("a connection");
    let request = b"GET /rooms/end HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    stranger.write_all(request).expect("it is read");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stranger.read_exact(&mut byte).expect("an answer");
        head.push(byte[0]);
    }
    stranger.read_exact(&mut [0; 64 << 10]).expect("messages");
    server.signal(Signal::TERM);
    let output = child.expect("it runs").wait_with_output().expect("its end");
    let json: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((output.status.code(), errors(&json)[4]), (Some(1), 5), "{json:#}");
    assert_eq!(
        json["ended"],
        serde_json::json!({ "closed by the server with 1001: the server is shutting down": 5 })
    );
}
