//! Idle connections, storms and stalled members.

use serde_json::Value;

use crate::liar::{Deed, Liar, Lie, To};
use crate::run::{Run, errors, number, real_number, run};
use crate::running::Running;

fn server(flags: &[&str]) -> Running {
    Running::start(env!("CARGO_BIN_EXE_fanfare"), flags)
}

#[test]
fn idle_connections_are_weighed() {
    let server = server(&[]);
    let url = format!("ws://{}/echo", server.address);
    let pid = server.child.id().to_string();
    let fixed =
        ["idle", &url, "--connections", "20", "--duration", "1s", "--warm-up", "1ms", "--threads", "2"];
    let json = run(&[&fixed[..], &["--pid", &pid, "--json", "-"]].concat()).clean();
    assert_eq!((number(&json, "/connections"), number(&json, "/messages")), (20, 0), "{json:#}");
    assert!(json["latency_us"].is_null() && json["size_bytes"].is_null() && json["in_flight"].is_null());
    assert!(json["server"]["cpu_us_per_message"].is_null());
    assert!(real_number(&json, "/server/cores") >= 0.0);
    real_number(&json, "/server/rss_bytes_per_connection");
    let table = run(&fixed);
    assert!(table.stdout.starts_with("idle: 20 connections, 1."), "{table:?}");
    assert!(!table.stdout.contains("messages"), "{table:?}");
}

#[test]
fn an_idle_connection_that_is_ended_is_found() {
    let liar = Liar::curt();
    let url = liar.url();
    for threads in ["1", "2"] {
        let fixed =
            ["idle", &url, "--connections", "4", "--duration", "10m", "--threads", threads, "--json", "-"];
        let json = run(&fixed).unclean();
        assert_eq!(errors(&json), [0, 0, 0, 0, 4], "{json:#}");
        assert_eq!(json["ended"], serde_json::json!({ "closed by the server with 1001: gone": 4 }));
    }
    let table = run(&["idle", &url, "--connections", "1", "--duration", "10m"]);
    assert_eq!(table.status, Some(1), "{table:?}");
    for part in ["errors      1 connection ended\n", "1 closed by the server with 1001: gone\n"] {
        assert!(table.stdout.contains(part), "{part}: {table:?}");
    }
}

#[test]
fn pings_are_answered() {
    let liar = Liar::start(To::Sender, |_, _| Deed::Ping);
    let url = liar.url();
    let fixed =
        ["echo", &url, "--connections", "3", "--messages", "20", "--warm-up", "0s", "--duration", "60s"];
    let json = run(&[&fixed[..], &["--json", "-"]].concat()).clean();
    assert_eq!(number(&json, "/pings"), 60);
    liar.wait_for(60 + 60);
}

#[test]
fn in_a_storm_everybody_comes_back() {
    let server = server(&[]);
    let url = format!("ws://{}/echo", server.address);
    let pid = server.child.id().to_string();
    for threads in ["1", "3"] {
        let fixed =
            ["storm", &url, "--connections", "30", "--storms", "4", "--threads", threads, "--json", "-"];
        let json = run(&[&fixed[..], &["--pid", &pid]].concat()).clean();
        assert_eq!(number(&json, "/messages"), 120, "{json:#}");
        let storms = json["storms_s"].as_array().unwrap();
        assert!(
            storms.len() == 4 && storms.iter().all(|seconds| seconds.as_f64().unwrap() > 0.0),
            "{json:#}"
        );
        assert!(real_number(&json, "/latency_us/p50") > 0.0, "{json:#}");
    }
    let table = run(&["storm", &url, "--connections", "5", "--storms", "2"]);
    assert_eq!(table.status, Some(0), "{table:?}");
    for part in ["storm: 5 connections, ", "\n  handshakes  10 (", "\n  all back    "] {
        assert!(table.stdout.contains(part), "{part}: {table:?}");
    }
}

#[test]
fn whoever_is_refused_in_a_storm_is_counted_and_comes_again() {
    let liar = Liar::flaky(10..40);
    let url = liar.url();
    // 10 come, then 30 are refused, as often as they come.
    let fixed = ["storm", &url, "--connections", "10", "--storms", "1", "--timeout", "60s", "--json", "-"];
    let json = run(&fixed).unclean();
    assert_eq!((number(&json, "/messages"), errors(&json)), (10, [0; 5]), "{json:#}");
    assert_eq!((number(&json, "/errors/refused"), &json["ended"]), (30, &serde_json::json!({})), "{json:#}");
    assert_eq!(json["refused"], serde_json::json!({ "refused with HTTP status 503: full (--places)": 30 }));
    let liar = Liar::flaky(10..12);
    let table = run(&["storm", &liar.url(), "--connections", "10", "--storms", "1", "--timeout", "60s"]);
    assert_eq!(table.status, Some(1), "{table:?}");
    for part in ["errors      2 connections refused\n", "2 refused with HTTP status 503: full (--places)\n"] {
        assert!(table.stdout.contains(part), "{part}: {table:?}");
    }
}

#[test]
fn whoever_is_refused_before_the_first_storm_is_counted_and_comes_again() {
    for threads in ["1", "3"] {
        let liar = Liar::flaky(0..15);
        let url = liar.url();
        let fixed = ["storm", &url, "--connections", "10", "--storms", "2", "--threads", threads];
        let json = run(&[&fixed[..], &["--timeout", "60s", "--json", "-"]].concat()).unclean();
        assert_eq!((number(&json, "/messages"), errors(&json)), (20, [0; 5]), "{json:#}");
        assert_eq!(
            json["refused"],
            serde_json::json!({ "refused with HTTP status 503: full (--places)": 15 })
        );
    }
    let liar = Liar::flaky(0..u64::MAX);
    let run = run(&["storm", &liar.url(), "--connections", "10", "--timeout", "300ms"]);
    let complaint = run.complaint(1);
    for part in
        ["0 of 10 connections are open", "300ms (--timeout)", "not accepted: refused with HTTP status 503"]
    {
        assert!(complaint.contains(part), "{part}: {complaint}");
    }
}

#[test]
fn a_server_that_ends_whoever_comes_is_no_progress_of_a_storm() {
    let liar = Liar::curt();
    let run = run(&["storm", &liar.url(), "--connections", "4", "--timeout", "300ms"]);
    let complaint = run.complaint(1);
    for part in ["0 of 4 connections are open", "ended: closed by the server with 1001: gone"] {
        assert!(complaint.contains(part), "{part}: {complaint}");
    }
}

#[test]
fn a_server_that_dies_in_a_storm_leaves_the_storms_before() {
    let liar = Liar::mortal(30);
    let url = liar.url();
    let fixed = ["storm", &url, "--connections", "10", "--storms", "9", "--timeout", "2s", "--json", "-"];
    let run = run(&fixed);
    let json = run.json();
    assert_eq!((run.status, run.stderr.lines().count()), (Some(1), 1), "{run:?}");
    for part in ["error: 0 of 10 connections are back", "2s (--timeout)", "is the server running"] {
        assert!(run.stderr.contains(part), "{part}: {run:?}");
    }
    let failure = json["failure"].as_str().expect("a reason");
    assert!(run.stderr.contains(failure), "{run:?}");
    assert_eq!(json["interrupted"], true);
    assert_eq!((number(&json, "/messages"), json["storms_s"].as_array().map(Vec::len)), (20, Some(2)));
    // Each pauses for a tenth of a second at least, in which nobody is to be asked again and again.
    let tries_max = 10.0 * (1.0 + 10.0 * real_number(&json, "/duration_s"));
    assert!((10.0..=tries_max).contains(&real_number(&json, "/errors/refused")), "{json:#}");
}

#[test]
fn a_storm_of_which_nobody_comes_back_says_who_was_refused_and_why() {
    let liar = Liar::flaky(10..u64::MAX);
    let run = run(&["storm", &liar.url(), "--connections", "10", "--timeout", "100ms"]);
    let complaint = run.complaint(1);
    for part in [
        "0 of 10 connections are back",
        "100ms (--timeout)",
        "not accepted: refused with HTTP status 503: full",
    ] {
        assert!(complaint.contains(part), "{part}: {complaint}");
    }
}

/// A run in which some stop reading.
fn stalled(url: &str, more: &[&str]) -> Run {
    let fixed = ["stalled", url, "--stalled", "20%", "--duration", "1s", "--warm-up", "1ms", "--json", "-"];
    run(&[&fixed[..], more].concat())
}

#[test]
fn those_that_read_get_everything_beside_those_that_have_stopped() {
    // A window in which nobody is ever behind, however slow this machine is.
    let server = server(&["--history-bytes", "64MiB", "--history-messages", "100000"]);
    let url = format!("ws://{}/rooms/stalled", server.address);
    let more = ["--connections", "20", "--size", "16KiB", "--rate", "160", "--threads", "2"];
    let json = stalled(&url, &more).clean();
    let counts = ["members", "cut", "missed"].map(|name| number(&json, &format!("/stalled/{name}")));
    assert_eq!((&json["scenario"], counts), (&Value::from("stalled"), [4, 0, 0]), "{json:#}");
    assert!(number(&json, "/total/sent") > 320, "first messages and 320: {json:#}");
    assert!(real_number(&json, "/stalled/p99_ratio") > 0.0, "{json:#}");
}

#[test]
fn latency_is_that_of_those_that_read_alone() {
    // The one that reads gets a first message and nothing more, the stalled one everything.
    let lie: Lie = |number, _| if number > 0 { Deed::Instead(vec![]) } else { Deed::Pass };
    let liar = Liar::start(To::Others(1), lie);
    let more = ["--connections", "2", "--rate", "160", "--timeout", "1s"];
    let json = stalled(&liar.url(), &more).unclean();
    let sent = number(&json, "/total/sent");
    assert_eq!((number(&json, "/total/received"), errors(&json)), (sent + 1, [sent - 1, 0, 0, 0, 0]));
    for pointer in ["/latency_us", "/stalled/before_latency_us", "/stalled/p99_ratio"] {
        assert_eq!(json.pointer(pointer), Some(&Value::Null), "{pointer}: {json:#}");
    }
    let rates = ["/stalled/before_deliveries_per_s", "/deliveries_per_s"];
    assert_eq!(rates.map(|rate| real_number(&json, rate)), [0.0; 2], "{json:#}");
}

#[test]
fn those_that_the_server_cuts_for_having_stopped_are_no_error() {
    let liar = Liar::start(To::Others(0), |number, _| if number == 250 { Deed::Close } else { Deed::Pass });
    let json = stalled(&liar.url(), &["--connections", "10", "--rate", "160", "--opening", "1"]).json();
    let cut = number(&json, "/stalled/cut");
    // Unless the run was too slow to come so far.
    let expected = if liar.got() > 251 { 1 } else { cut };
    assert_eq!((errors(&json), cut), ([0; 5], expected), "{json:#}");
    assert_eq!(number(&json, "/errors/unanswered"), 0, "{json:#}");
}

#[test]
fn what_the_server_says_to_a_stalled_member_behind_the_end_counts() {
    // The server had its reasons before, and finds words when there is room for them.
    let liar = Liar::cutting();
    for threads in ["1", "2"] {
        let more = ["--connections", "10", "--rate", "20", "--threads", threads];
        let json = stalled(&liar.url(), &more).clean();
        let counts = ["members", "cut"].map(|name| number(&json, &format!("/stalled/{name}")));
        assert_eq!(counts, [2, 2], "{json:#}");
        assert_eq!(json["ended"], serde_json::json!({ "closed by the server with 1008: told to": 2 }));
    }
}

#[test]
fn a_stalled_member_that_the_server_still_has_is_not_cut() {
    let liar = Liar::start(To::Others(usize::MAX), |_, _| Deed::Pass);
    let more = ["--connections", "10", "--rate", "20"];
    let json = stalled(&liar.url(), &[&more[..], &["--timeout", "1h"]].concat()).clean();
    assert_eq!(["members", "cut"].map(|name| number(&json, &format!("/stalled/{name}"))), [2, 0]);
}

#[test]
fn a_lie_to_a_member_that_reads_is_found_beside_stalled_ones() {
    let lie: Lie = |number, _| if number % 20 == 10 { Deed::Instead(vec![]) } else { Deed::Pass };
    let liar = Liar::start(To::Others(1), lie);
    let json = stalled(&liar.url(), &["--connections", "10", "--rate", "80", "--opening", "1"]).unclean();
    let [lost, rest @ ..] = errors(&json);
    assert!(lost > 0 && rest == [0; 4], "{json:#}");
}

#[test]
fn a_lie_to_a_stalled_member_is_found_too() {
    let liar = Liar::start(To::Others(0), |number, message| match number {
        250 => Deed::Instead(vec![message.to_vec(), message.to_vec()]),
        251 => Deed::Instead(vec![]),
        _ => Deed::Pass,
    });
    let json = stalled(&liar.url(), &["--connections", "10", "--rate", "160", "--opening", "1"]).json();
    let found = (errors(&json), number(&json, "/stalled/missed"));
    // Unless the run was too slow to come so far.
    let expected = if liar.got() > 252 { ([0, 1, 0, 0, 0], 1) } else { found };
    assert_eq!(found, expected, "{json:#}");
}
