//! What a server does to messages is found, each time and as what it is.

use serde_json::Value;

use crate::liar::{Deed, Liar, Lie, To};
use crate::run::{errors, number, run, run_until};

/// The message that the lie is about, in the middle of [`MESSAGES`].
const AT: u64 = 5;
const MESSAGES: u64 = 20;
const CONNECTIONS: u64 = 3;

/// The results of a run that finds something.
fn load(scenario: &str, liar: &Liar, size: &str, more: &[&str]) -> Value {
    let url = liar.url();
    let connections = CONNECTIONS.to_string();
    let messages = MESSAGES.to_string();
    let mut arguments = vec![scenario, &url, "--size", size, "--warm-up", "0s", "--json", "-"];
    arguments.extend(more);
    for (flag, value) in [
        ("--connections", connections.as_str()),
        ("--messages", messages.as_str()),
        ("--duration", "60s"),
        ("--in-flight", "4"),
        ("--timeout", "60s"),
    ] {
        if !more.contains(&flag) {
            arguments.extend([flag, value]);
        }
    }
    run(&arguments).unclean()
}

/// What a lie is found as: lost, duplicated, reordered, wrong, closed.
#[track_caller]
fn check(lie: Lie, expected: [u64; 5]) {
    for size in ["8", "16", "70000"] {
        let liar = Liar::start(To::Sender, lie);
        let json = load("echo", &liar, size, &[]);
        assert_eq!(
            errors(&json),
            expected.map(|count| count * CONNECTIONS),
            "echo of {size} bytes: {json:#}"
        );
        let liar = Liar::start(To::Others(0), lie);
        let json = load("fanout", &liar, size, &[]);
        assert_eq!(errors(&json), expected, "fan-out of {size} bytes: {json:#}");
        // First messages, by which members know that they have joined, come before the others.
        let sent = number(&json, "/total/sent");
        assert!(sent == liar.got() && sent > MESSAGES, "{sent} {} {json:#}", liar.got());
    }
}

fn changed(message: &[u8], at: usize) -> Deed {
    let mut message = message.to_vec();
    message[at] ^= 0x10;
    Deed::Instead(vec![message])
}

#[test]
fn a_lost_message_is_found() {
    check(|number, _| if number == AT { Deed::Instead(vec![]) } else { Deed::Pass }, [1, 0, 0, 0, 0]);
}

#[test]
fn a_repeated_message_is_found() {
    let lie: Lie = |number, message| match number {
        AT => Deed::Instead(vec![message.to_vec(), message.to_vec()]),
        _ => Deed::Pass,
    };
    check(lie, [0, 1, 0, 0, 0]);
}

#[test]
fn swapped_messages_are_found() {
    check(|number, _| if number == AT { Deed::Hold } else { Deed::Pass }, [0, 0, 1, 0, 0]);
}

#[test]
fn a_changed_byte_is_found_wherever_it_is() {
    for lie in [
        (|number, message| if number == AT { changed(message, 0) } else { Deed::Pass }) as Lie,
        |number, message| if number == AT { changed(message, 4) } else { Deed::Pass },
        |number, message| if number == AT { changed(message, message.len() - 1) } else { Deed::Pass },
    ] {
        check(lie, [0, 0, 0, 1, 0]);
    }
}

#[test]
fn a_message_of_another_length_or_kind_is_found() {
    for lie in [
        (|number, message| match number {
            AT => Deed::Instead(vec![message[1..].to_vec()]),
            _ => Deed::Pass,
        }) as Lie,
        |number, message| match number {
            AT => Deed::Instead(vec![[message, b"x"].concat()]),
            _ => Deed::Pass,
        },
        |number, _| if number == AT { Deed::Instead(vec![vec![]]) } else { Deed::Pass },
        |number, _| if number == AT { Deed::Text } else { Deed::Pass },
    ] {
        check(lie, [0, 0, 0, 1, 0]);
    }
}

#[test]
fn a_message_that_nobody_sent_is_found_and_stands_for_no_other() {
    let lie: Lie = |number, message| match number {
        AT => Deed::Instead(vec![vec![b'x'; message.len()], message.to_vec()]),
        _ => Deed::Pass,
    };
    check(lie, [0, 0, 0, 1, 0]);
}

#[test]
fn several_faults_are_counted_apart() {
    let lie: Lie = |number, message| match number {
        3 | 4 => Deed::Instead(vec![]),
        7 => Deed::Instead(vec![message.to_vec(), message.to_vec(), message.to_vec()]),
        10 => Deed::Hold,
        14 => changed(message, 5),
        _ => Deed::Pass,
    };
    check(lie, [2, 2, 1, 1, 0]);
}

#[test]
fn the_last_message_is_missed_too() {
    let liar = Liar::start(To::Others(0), |number, _| match number {
        MESSAGES => Deed::Instead(vec![]),
        _ => Deed::Pass,
    });
    let json = load("fanout", &liar, "64", &["--timeout", "3s"]);
    assert_eq!(errors(&json), [1, 0, 0, 0, 0], "{json:#}");
    // An echo's last message is missed by nobody but its sender, who would go on waiting.
    let liar = Liar::start(To::Sender, |number, _| match number {
        4 => Deed::Instead(vec![]),
        _ => Deed::Pass,
    });
    let json = interrupted(&liar, "64", ["--messages", "5", "--in-flight", "8"], 5);
    assert_eq!(errors(&json), [CONNECTIONS, 0, 0, 0, 0], "{json:#}");
}

/// The results of an echo that is ended when so many messages of each connection have come to the server.
fn interrupted(liar: &Liar, size: &str, more: [&str; 4], messages: u64) -> Value {
    let (url, connections) = (liar.url(), CONNECTIONS.to_string());
    let fixed =
        ["echo", &url, "--connections", &connections, "--size", size, "--warm-up", "0s", "--json", "-"];
    let arguments = [&fixed[..], &more, &["--duration", "10m", "--timeout", "3s"]].concat();
    run_until(&arguments, || liar.wait_for(messages * CONNECTIONS)).unclean()
}

#[test]
fn messages_too_short_for_a_number_are_compared() {
    let liar = Liar::start(To::Sender, |number, message| match number {
        AT => changed(message, 2),
        _ => Deed::Pass,
    });
    let json = load("echo", &liar, "3", &[]);
    assert_eq!(errors(&json), [0, 0, 0, CONNECTIONS, 0], "{json:#}");
    // What is lost shows as wrong bytes from there on, and as one too few at the end.
    let liar = Liar::start(To::Sender, |number, _| match number {
        AT => Deed::Instead(vec![]),
        _ => Deed::Pass,
    });
    let [lost, _, _, wrong, _] =
        errors(&interrupted(&liar, "7", ["--messages", "20", "--in-flight", "4"], 20));
    assert!(lost == CONNECTIONS && wrong > 0, "{lost} {wrong}");
}

#[test]
fn a_connection_that_ends_is_found_with_its_cause() {
    for (lie, cause) in [
        (
            (|number, _| if number == AT { Deed::Close } else { Deed::Pass }) as Lie,
            "closed by the server with 1008: told to",
        ),
        (
            |number, _| if number == AT { Deed::Hangup } else { Deed::Pass },
            "ended by the server without a Close",
        ),
        (
            |number, _| if number == AT { Deed::Masked } else { Deed::Pass },
            "the server broke the protocol: a frame of the server is masked; a server must not mask",
        ),
    ] {
        let json = load("echo", &Liar::start(To::Sender, lie), "64", &[]);
        assert_eq!(errors(&json), [0, 0, 0, 0, CONNECTIONS], "{json:#}");
        assert_eq!(json["ended"], serde_json::json!({ cause: CONNECTIONS }));
        let [unanswered, sent, received] = counts(&json);
        assert!(unanswered >= CONNECTIONS && unanswered == sent - received, "{json:#}");
        let json = load("fanout", &Liar::start(To::Others(0), lie), "64", &[]);
        assert_eq!(errors(&json), [0, 0, 0, 0, 1], "{json:#}");
        assert_eq!(json["ended"], serde_json::json!({ cause: 1 }));
        // The others have got everything, so that this is the one's alone.
        let [unanswered, sent, received] = counts(&json);
        assert!(unanswered > 0 && unanswered == CONNECTIONS * sent - received, "{json:#}");
    }
}

/// Messages that nobody got as a connection had ended, that were sent, and that came.
fn counts(json: &Value) -> [u64; 3] {
    ["/errors/unanswered", "/total/sent", "/total/received"].map(|pointer| number(json, pointer))
}

#[test]
fn what_a_publisher_that_is_ended_had_under_way_or_due_is_counted() {
    for threads in ["1", "2"] {
        // It joins last.
        let lie: Lie = |number, _| if number == 10 { Deed::Hangup } else { Deed::Pass };
        let liar = Liar::start(To::Others(3), lie);
        let url = liar.url();
        let fixed = ["fanout", &url, "--connections", "3", "--rate", "50", "--warm-up", "0s"];
        let more = ["--duration", "2s", "--threads", threads, "--json", "-"];
        let json = run(&[&fixed[..], &more].concat()).unclean();
        assert_eq!(errors(&json), [0, 0, 0, 0, 1], "{json:#}");
        let [unanswered, sent, received] = counts(&json);
        assert_eq!((unanswered, received), (sent - liar.got(), 3 * liar.got()), "{json:#}");
        // First messages and the hundred that were due.
        assert!(sent + number(&json, "/unsent") > 100, "{json:#}");
    }
}

#[test]
fn a_server_that_does_not_unmask_is_loaded_and_counted_without_checks() {
    let liar = Liar::start(To::Sender, |_, _| Deed::Masked);
    let url = liar.url();
    let fixed = ["echo", &url, "--connections", "3", "--messages", "20", "--in-flight", "4", "--json", "-"];
    let json = run(&[&fixed[..], &["--no-check", "--warm-up", "0s"]].concat()).clean();
    assert_eq!((number(&json, "/total/sent"), number(&json, "/total/received"), liar.got()), (60, 60, 60));
    assert_eq!(json["checked"], false);
    // What is missing is still missed.
    let liar = Liar::start(To::Others(0), |number, _| match number {
        MESSAGES => Deed::Instead(vec![]),
        _ => Deed::Masked,
    });
    let json = load("fanout", &liar, "64", &["--no-check", "--timeout", "3s"]);
    assert_eq!(errors(&json), [1, 0, 0, 0, 0], "{json:#}");
}
