//! The code base checks itself: layers, bans, sizes. What a reviewer would have to remember stands
//! here instead.

use std::fs;
use std::path::{Path, PathBuf};

/// One source file, with its tests cut off.
struct Source {
    path: String,
    whole: String,
    /// The lines before the file's own test module, without comments.
    code: Vec<(usize, String)>,
}

/// A layer: its files, what it may import of the crate, and what it must never name.
struct Layer {
    prefix: &'static str,
    may_import: &'static [&'static str],
    never_names: &'static [&'static str],
}

/// The table of `src/lib.rs`.
const LAYERS: &[Layer] = &[
    Layer { prefix: "src/time.rs", may_import: &[], never_names: &["std::net", "std::io", "std::thread"] },
    Layer { prefix: "src/slab.rs", may_import: &[], never_names: &["std::net", "std::io", "std::thread"] },
    Layer {
        prefix: "src/id.rs",
        may_import: &["slab"],
        never_names: &["std::net", "std::io", "std::thread"],
    },
    Layer {
        prefix: "src/protocol/",
        may_import: &["time"],
        never_names: &[
            "std::net",
            "std::io",
            "std::thread",
            "Instant",
            "SystemTime",
            "polling",
            "rustix",
            "crossbeam",
            "parking_lot",
            "RoomName",
            "tracing",
        ],
    },
    Layer {
        prefix: "src/reactor/",
        may_import: &["time", "slab"],
        never_names: &["FrameBuf", "Opcode", "RoomName", "Endpoint", "crossbeam", "std::thread"],
    },
    Layer {
        prefix: "src/rooms/",
        may_import: &["id", "slab", "time"],
        never_names: &[
            "std::net",
            "std::io",
            "polling",
            "rustix",
            "FrameBuf",
            "Opcode",
            "Poller",
            "std::thread",
        ],
    },
    Layer {
        prefix: "src/endpoint/",
        may_import: &["id", "protocol", "rooms"],
        never_names: &[
            "std::net",
            "polling",
            "rustix",
            "Poller",
            "std::thread",
            "crossbeam",
            "Instant",
            "FrameHeader",
        ],
    },
    Layer {
        prefix: "src/shard/",
        may_import: &["endpoint", "id", "protocol", "reactor", "rooms", "slab", "time"],
        never_names: &[
            "TcpListener",
            "polling",
            "rustix",
            "core_affinity",
            "signal",
            "std::thread",
            "Instant",
        ],
    },
];

/// Paths that look like imports of the crate's own modules.
fn crate_modules(line: &str) -> impl Iterator<Item = &str> {
    line.match_indices("crate::").map(|(at, found)| {
        let rest = &line[at + found.len()..];
        let end = rest.find(|character: char| !character.is_alphanumeric() && character != '_');
        &rest[..end.unwrap_or(rest.len())]
    })
}

fn rust_files(folder: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    assert!(!found.is_empty());
    found
}

fn sources(folder: &str) -> Vec<Source> {
    let read = |path: PathBuf| {
        let whole = fs::read_to_string(&path).unwrap();
        let relative = path.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap();
        let tests_of_their_own = relative.components().any(|part| part.as_os_str() == "tests.rs");
        let until = whole.find("#[cfg(test)]\nmod tests {").unwrap_or(whole.len());
        let lines = whole[..until].lines().enumerate();
        let code = lines
            .filter(|_| !tests_of_their_own)
            .map(|(at, line)| (at + 1, line.split("//").next().unwrap_or_default().to_owned()))
            .collect();
        Source { path: relative.to_str().unwrap().replace('\\', "/"), whole, code }
    };
    rust_files(folder).into_iter().map(read).collect()
}

fn complaints(each: impl Fn(&Source) -> Vec<String>, folder: &str) -> Vec<String> {
    sources(folder).iter().flat_map(each).collect()
}

#[track_caller]
fn assert_none(complaints: Vec<String>) {
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

#[test]
fn every_layer_imports_only_what_it_may_and_names_nothing_forbidden() {
    assert_none(complaints(
        |source| {
            let Some(layer) = LAYERS.iter().find(|layer| source.path.starts_with(layer.prefix)) else {
                return Vec::new();
            };
            let own = layer.prefix.trim_start_matches("src/").trim_end_matches('/').trim_end_matches(".rs");
            let mut found = Vec::new();
            for (number, line) in &source.code {
                for module in crate_modules(line) {
                    if module != own && !layer.may_import.contains(&module) {
                        found.push(format!("{}:{number}: may not import crate::{module}", source.path));
                    }
                }
                for name in layer.never_names.iter().filter(|name| line.contains(*name)) {
                    found.push(format!("{}:{number}: must never name {name}", source.path));
                }
            }
            found
        },
        "src",
    ));
}

#[test]
fn every_layer_of_the_table_exists() {
    let sources = sources("src");
    for layer in LAYERS {
        assert!(sources.iter().any(|source| source.path.starts_with(layer.prefix)), "{}", layer.prefix);
    }
}

#[test]
fn the_layer_check_sees_an_import() {
    let modules: Vec<&str> = crate_modules("use crate::shard::{A}; crate::rooms::B").collect();
    assert_eq!(modules, ["shard", "rooms"]);
}

#[test]
fn shipped_code_has_no_banned_call() {
    const BANNED: &[(&str, &str)] = &[
        (".unwrap()", "handle it, or expect with the invariant that holds"),
        ("println!", "log through tracing"),
        ("dbg!", "log through tracing"),
        ("todo!", "finish it"),
        ("unimplemented!", "finish it"),
        ("thread::sleep", "wait for an event"),
        ("SystemTime", "time is a parameter"),
        ("static mut", "pass it"),
    ];
    assert_none(complaints(
        |source| {
            let mut found = Vec::new();
            for (number, line) in &source.code {
                for (call, instead) in BANNED.iter().filter(|(call, _)| line.contains(call)) {
                    // The one line that may be printed: why the binary did not start.
                    if source.path == "src/main.rs" && line.contains("eprintln!(\"{line}\")") {
                        continue;
                    }
                    found.push(format!("{}:{number}: {call}: {instead}", source.path));
                }
            }
            found
        },
        "src",
    ));
}

#[test]
fn only_the_clock_reads_the_clock_and_only_the_poller_is_unsafe() {
    const ONE_PLACE: &[(&str, &str)] =
        &[("Instant::now", "src/reactor/clock.rs"), ("unsafe ", "src/reactor/poll_io.rs")];
    assert_none(complaints(
        |source| {
            let mut found = Vec::new();
            for (number, line) in &source.code {
                for (name, place) in ONE_PLACE {
                    if line.contains(name) && source.path != *place {
                        found.push(format!("{}:{number}: {name} belongs into {place}", source.path));
                    }
                }
            }
            found
        },
        "src",
    ));
}

#[test]
fn files_and_functions_stay_readable() {
    const FILE_LINES_MAX: usize = 500;
    const FUNCTION_LINES_MAX: usize = 70;
    let check = |source: &Source| {
        let mut found = Vec::new();
        let lines: Vec<&str> = source.whole.lines().collect();
        if lines.len() > FILE_LINES_MAX {
            found.push(format!("{}: {} lines; {FILE_LINES_MAX} are allowed", source.path, lines.len()));
        }
        if !source.whole.starts_with("//!") {
            found.push(format!("{}: begins without saying what it is for", source.path));
        }
        for (at, line) in lines.iter().enumerate() {
            let indent = line.len() - line.trim_start().len();
            let begins = line.trim_start();
            let is_function =
                ["fn ", "pub fn ", "pub(crate) fn ", "pub(super) fn ", "const fn ", "pub const fn "]
                    .iter()
                    .any(|start| begins.starts_with(start));
            if !is_function {
                continue;
            }
            let end = lines[at..].iter().position(|line| {
                line.len() - line.trim_start().len() == indent
                    && (line.trim() == "}" || line.trim().ends_with(';'))
            });
            if let Some(length) = end
                && length + 1 > FUNCTION_LINES_MAX
            {
                found.push(format!("{}:{}: a function of {} lines", source.path, at + 1, length + 1));
            }
        }
        found
    };
    assert_none(
        [complaints(check, "src"), complaints(check, "tests"), complaints(check, "benches")].concat(),
    );
}

#[test]
fn nothing_is_left_over_and_no_machine_is_named() {
    // Put together here, so that this file does not contain them.
    let leftovers = [["TO", "DO"].concat(), ["FIX", "ME"].concat(), ["XX", "X"].concat()];
    let places = [["/", "work", "/"].concat(), ["/", "root", "/"].concat(), ["/", "home", "/"].concat()];
    let check = |source: &Source| {
        let mut found = Vec::new();
        for (at, line) in source.whole.lines().enumerate() {
            for name in leftovers.iter().chain(&places).filter(|name| line.contains(name.as_str())) {
                found.push(format!("{}:{}: {name}", source.path, at + 1));
            }
        }
        found
    };
    assert_none(
        [complaints(check, "src"), complaints(check, "tests"), complaints(check, "benches")].concat(),
    );
}
