//! What the benches (`benches/`) make of their command lines, and that what they start ends with them.

#![allow(dead_code)] // they are parts of the benches

#[path = "../benches/common/mod.rs"]
mod common;
#[path = "../benches/scale/settings.rs"]
mod scale;
#[path = "../benches/versus/settings.rs"]
mod versus;

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::Command;

use clap::Parser;
use common::{arguments, child, output};
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
fn micro_knows_what_cargo_says_and_its_own_flag_and_no_more() {
    let told = |told: &[&str]| {
        arguments::is_smoke(told.iter().map(|text| (*text).to_owned()), "all parts always run")
    };
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
