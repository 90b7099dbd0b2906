//! What the benches (`benches/`) make of their command lines, and that what they start ends with them.

#![allow(dead_code)] // they are parts of the benches

#[path = "../benches/common/mod.rs"]
mod common;
#[path = "../benches/protocol_fanout/settings.rs"]
mod fanout;
#[path = "../benches/faults/settings.rs"]
mod faults;
#[path = "../benches/faults/names.rs"]
mod faults_names;
#[path = "../benches/scale/settings.rs"]
mod scale;
#[path = "../benches/soak/settings.rs"]
mod soak;
#[path = "../benches/stalled_members/settings.rs"]
mod stalled;
#[path = "../benches/threats/settings.rs"]
mod threats;
#[path = "../benches/versus/settings.rs"]
mod versus;

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::Command;

use clap::Parser;
use common::{arguments, child, output, server_flags};
use faults_names::Title;
use rustix::process::Signal;

/// What a bench says that refuses a flag with this value.
fn refusal<Settings: Parser + std::fmt::Debug>(flag: &str, value: &str) -> String {
    Settings::try_parse_from(["bench", flag, value, "--bench"]).unwrap_err().to_string()
}

#[test]
fn numbers_that_mean_nothing_are_refused_by_name() {
    for value in ["0", "-1", "x"] {
        let refused = [
            ("--rounds", refusal::<scale::Settings>("--rounds", value)),
            ("--window-ms", refusal::<scale::Settings>("--window-ms", value)),
            ("--rounds", refusal::<versus::Settings>("--rounds", value)),
            ("--seconds", refusal::<versus::Settings>("--seconds", value)),
            ("--warm-up", refusal::<versus::Settings>("--warm-up", value)),
            ("--members", refusal::<faults::Settings>("--members", value)),
            ("--rounds", refusal::<faults::Settings>("--rounds", value)),
            ("--seconds", refusal::<faults::Settings>("--seconds", value)),
            ("--baseline-seconds", refusal::<faults::Settings>("--baseline-seconds", value)),
            ("--rate", refusal::<faults::Settings>("--rate", value)),
            ("--flood-rate", refusal::<faults::Settings>("--flood-rate", value)),
            ("--crowd", refusal::<faults::Settings>("--crowd", value)),
            ("--flags", refusal::<faults::Settings>("--flags", value)),
            ("--duration", refusal::<soak::Settings>("--duration", value)),
            ("--connections", refusal::<soak::Settings>("--connections", value)),
            ("--rate", refusal::<soak::Settings>("--rate", value)),
            ("--stay", refusal::<soak::Settings>("--stay", value)),
            ("--processes", refusal::<soak::Settings>("--processes", value)),
            ("--connects-per-second", refusal::<soak::Settings>("--connects-per-second", value)),
        ];
        for (flag, said) in refused {
            assert!(said.starts_with(&format!("error: invalid value '{value}' for '{flag} <")), "{said}");
        }
    }
    assert!(refusal::<scale::Settings>("--rounds", "-1").contains("-1 is not in 1.."));
    assert!(refusal::<scale::Settings>("--window-ms", "99").contains("99 is not in 100.."));
    assert!(refusal::<versus::Settings>("--seconds", "-1").contains("expected seconds from 0.05 to 600"));
    assert!(scale::Settings::try_parse_from(["scale", "--rounds", "1", "--window-ms", "100"]).is_ok());
}

#[test]
fn what_is_allowed_is_said_with_the_variable_that_decides_too() {
    for (said, allowed) in [
        (
            refusal::<faults::Settings>("--members", "9"),
            "a whole number from 10 to 1000000 (in the environment FAULTS_N)",
        ),
        (
            refusal::<faults::Settings>("--rounds", "1.5"),
            "a whole number from 1 to 1000 (in the environment FAULTS_ROUNDS)",
        ),
        (
            refusal::<faults::Settings>("--rate", "NaN"),
            "a number from 0.01 to 10000 (in the environment FAULTS_RATE)",
        ),
        (
            refusal::<faults::Settings>("--flags", "--send-buffer=4MiB"),
            "--NAME VALUE and so on (in the environment FAULTS_FLAGS)",
        ),
        (
            refusal::<faults::Settings>("--flags", "--send-buffer"),
            "--NAME VALUE and so on (in the environment FAULTS_FLAGS)",
        ),
        (
            refusal::<soak::Settings>("--duration", "0s"),
            "a time from 1s to 31d such as 60s, 30m or 8h (in the environment SOAK_DURATION)",
        ),
        (
            refusal::<soak::Settings>("--warm-up", "-1s"),
            "a time such as 0s, 10s or 5m (in the environment SOAK_WARM_UP)",
        ),
        (
            refusal::<soak::Settings>("--processes", "251"),
            "a whole number from 1 to 250 (in the environment SOAK_PROCESSES)",
        ),
    ] {
        assert!(said.contains(&format!(": expected {allowed}")), "{said}");
    }
    let settled = |arguments: &[&str]| soak::Settings::try_parse_from(arguments).unwrap().settled();
    assert_eq!(settled(&["soak", "--connections", "7000"]).unwrap().processes(), 2);
    let said = settled(&["soak", "--warm-up", "60s"]).unwrap_err();
    assert_eq!(said, "--warm-up (or SOAK_WARM_UP) 60s: expected less than --duration, 60s");
}

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

/// What a bench makes of variables, as it has no flags.
fn stalled(variables: &[(&str, &str)]) -> Result<stalled::Size, String> {
    stalled::Size::of(owned(&["--bench"]), |name| value(variables, name))
}

fn fanout(variables: &[(&str, &str)]) -> Result<fanout::Size, String> {
    fanout::Size::of(owned(&["--bench"]), |name| value(variables, name))
}

fn threats(variables: &[(&str, &str)]) -> Result<threats::Size, String> {
    threats::Size::of(owned(&["--bench"]), |name| value(variables, name))
}

fn value(variables: &[(&str, &str)], name: &str) -> Option<String> {
    variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
}

#[test]
fn variables_that_mean_nothing_are_refused_by_name() {
    for value in ["0", "-1", "x", "", "1.5"] {
        for name in ["STALLED_MEMBERS", "STALLED_STALLED", "STALLED_SECONDS", "STALLED_RATE"] {
            let said = stalled(&[(name, value)]).unwrap_err();
            assert!(said.starts_with(&format!("{name}={value}: expected a whole number from ")), "{said}");
        }
        for name in ["FANOUT_MEMBERS", "FANOUT_ROUNDS", "FANOUT_MILLISECONDS"] {
            let said = fanout(&[(name, value)]).unwrap_err();
            assert!(
                said.starts_with(&format!("{name}={value}: expected a whole number from 1 to ")),
                "{said}"
            );
        }
        let said = threats(&[("THREATS_PEERS", value)]).unwrap_err();
        assert_eq!(said, format!("THREATS_PEERS={value}: expected a whole number from 1 to 20000"));
    }
    assert_eq!(
        stalled(&[("STALLED_MEMBERS", "60"), ("STALLED_STALLED", "59")]).unwrap_err(),
        "STALLED_STALLED=59: expected a whole number from 1 to 58 of the 60 members (STALLED_MEMBERS)"
    );
    let size = stalled(&[("STALLED_MEMBERS", "3")]).unwrap();
    assert_eq!((size.members, size.stalled, size.processes()), (3, 1, 2));
    assert_eq!(stalled(&[]).unwrap().stalled, 1_000);
    for refused in [
        stalled::Size::of(owned(&["--members"]), |_| None).map(drop),
        fanout::Size::of(owned(&["--members"]), |_| None).map(drop),
        threats::Size::of(owned(&["--members"]), |_| None).map(drop),
    ] {
        let said = refused.unwrap_err();
        assert!(said.starts_with("argument --members: expected --test or nothing, as "), "{said}");
        assert!(said.ends_with(" in the environment"), "{said}");
    }
}

#[test]
fn a_key_of_a_fault_means_it_alone_and_a_number_all_of_it() {
    let all = [
        Title::new("F1", "F1-1", "slow readers, 1 % of N"),
        Title::new("F1", "F1-10", "slow readers, 10 % of N"),
        Title::new("F8", "F8", "handshake garbage"),
        Title::new("F8", "F8-none", "handshake garbage, --exempt-network none"),
    ];
    let all: Vec<&Title> = all.iter().collect();
    let meant = |asked: &[&str]| {
        faults_names::all_meant(&owned(asked), &all).map(|places| places.into_iter().collect::<Vec<_>>())
    };
    for (asked, places) in [
        (&["F1"][..], &[0, 1][..]),
        (&["f1-1"], &[0]),
        (&["F8"], &[2]),
        (&["F8-none", "F1-10"], &[1, 3]),
        (&["Handshake garbage"], &[2]),
        (&["garbage"], &[2, 3]),
    ] {
        assert_eq!(meant(asked), Ok(places.to_vec()), "{asked:?}");
    }
    for unknown in ["F99", "F1-2", "", "-1"] {
        let said = meant(&["F1", unknown]).unwrap_err();
        let begin = format!(
            "fault \"{unknown}\" (a name, or in the environment FAULTS_SELECT): expected F1-1, F1-10, "
        );
        assert!(said.starts_with(&begin), "{said}");
    }
}

#[test]
fn flags_that_the_server_refuses_are_seen_before_it_is_started() {
    let check = |asked: &str| {
        let all = server_flags::all(asked.split_whitespace());
        server_flags::check("STALLED_FLAGS", asked, all)
    };
    for fine in ["", " ", "--send-buffer 4MiB", "--admin 127.0.0.1:0"] {
        assert_eq!(check(fine), Ok(()));
    }
    for refused in ["--unknown 1", "--send-buffer 0", "--send-buffer", "--log debug", "-1", "echo", "--help"]
    {
        let said = check(refused).unwrap_err();
        let begin = format!(
            "STALLED_FLAGS {refused}: expected flags as fanfare --help shows them, but the server says: "
        );
        assert!(said.starts_with(&begin) && said.len() > begin.len(), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}

#[test]
fn micro_knows_what_cargo_says_and_its_own_flag_and_no_more() {
    let told = |told: &[&str]| arguments::is_smoke(owned(told), "all parts always run");
    assert_eq!(told(&[]), Ok(false));
    assert_eq!(told(&["--bench"]), Ok(false));
    assert_eq!(told(&["--test", "--bench"]), Ok(true));
    for unknown in ["mask", "--rounds", ""] {
        let said = told(&["--test", unknown]).unwrap_err();
        assert_eq!(said, format!("argument {unknown}: expected --test or nothing, as all parts always run"));
    }
}

/// A folder of this test that is not there.
fn no_folder(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("bench-flags-{name}"));
    let _ = fs::remove_dir_all(&folder);
    folder
}

#[test]
fn a_folder_for_results_is_made_and_looked_at_before_them() {
    let folder = no_folder("out");
    let inner = folder.join("inner");
    output::check(&inner, &["a.md", "b.json"]).unwrap();
    assert_eq!(fs::read_dir(&inner).unwrap().count(), 0, "nothing is written yet");
    output::write(&inner, &[("a.md", "before")]).unwrap();
    output::check(&inner, &["a.md", "b.json"]).unwrap();
    assert_eq!(fs::read_to_string(inner.join("a.md")).unwrap(), "before", "a check changes nothing");
    // A folder where a file is to be, and a file where a folder is to be.
    fs::create_dir(inner.join("b.json")).unwrap();
    for (folder, names) in [(inner.clone(), &["a.md", "b.json"][..]), (inner.join("a.md"), &["c.md"])] {
        let files: Vec<(&str, &str)> = names.iter().map(|name| (*name, "after")).collect();
        for refused in [output::check(&folder, names), output::write(&folder, &files)] {
            let said = refused.unwrap_err();
            assert!(said.starts_with(&format!("--out {}: ", folder.display())), "{said}");
            assert!(
                said.ends_with(&format!("a folder in which {} can be written", names.join(", "))),
                "{said}"
            );
        }
    }
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_file_for_a_report_is_looked_at_before_it() {
    let folder = no_folder("report");
    fs::create_dir(&folder).unwrap();
    let file = folder.join("soak.html");
    output::check_file("--report", &file).unwrap();
    assert!(!file.exists(), "nothing is written yet");
    for refused in [folder.clone(), folder.join("none/soak.html")] {
        let said = output::check_file("--report", &refused).unwrap_err();
        assert!(said.starts_with(&format!("--report {}: ", refused.display())), "{said}");
        assert!(said.ends_with(": expected a file that can be written"), "{said}");
    }
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn one_of_them_has_no_plural() {
    assert_eq!([0, 1, 2].map(|count| output::counted(count, "core")), ["0 cores", "1 core", "2 cores"]);
}

#[test]
fn what_a_bench_starts_ends_with_the_thread_that_started_it() {
    let start = || {
        let mut command = Command::new("sleep");
        child::bind(command.arg("600"), None);
        command.spawn().expect("it starts")
    };
    let mut started = std::thread::spawn(start).join().expect("the thread ends");
    assert_eq!(started.wait().unwrap().signal(), Some(Signal::TERM.as_raw()));
}

#[test]
fn what_a_bench_starts_on_a_core_has_no_other() {
    let cores = core_affinity::get_core_ids().expect("the kernel knows them");
    let core = *cores.last().expect("there is one");
    let mut command = Command::new("cat");
    child::bind(command.arg("/proc/self/status"), Some(core));
    let said = String::from_utf8(command.output().expect("it runs").stdout).unwrap();
    assert!(said.lines().any(|line| line == format!("Cpus_allowed_list:\t{}", core.id)), "{said}");
}
