//! The code base checks itself: layers, bans, sizes. What a reviewer would have to remember stands
//! here instead.

#[path = "tidy/text.rs"]
mod text;

use std::fs;
use std::path::{Path, PathBuf};

use text::without_comments;

/// One source file, with its tests cut off.
struct Source {
    path: String,
    whole: String,
    /// The lines before the file's own test module, without comments.
    code: Vec<(usize, String)>,
}

impl Source {
    fn new(path: String, whole: String) -> Source {
        let tests_of_their_own = path.ends_with("/tests.rs");
        let until = whole.find("#[cfg(test)]\nmod tests {").unwrap_or(whole.len());
        let code = without_comments(&whole[..until]);
        let lines = code.lines().enumerate().filter(|_| !tests_of_their_own);
        let code = lines.map(|(at, line)| (at + 1, line.to_owned())).collect();
        Source { path, whole, code }
    }

    /// How many folders and modules this file is below the folder of a layer, or below the crate.
    fn depth_in(&self, layer: &Layer) -> usize {
        let inner = self.path.strip_prefix(layer.prefix).unwrap_or_default();
        let modules = inner.split('/').filter(|part| !part.is_empty() && *part != "mod.rs");
        modules.count()
    }
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
    Layer {
        prefix: "src/slab.rs",
        may_import: &["sync"],
        never_names: &["std::net", "std::io", "std::thread"],
    },
    Layer { prefix: "src/sync/", may_import: &[], never_names: &["std::net", "std::io"] },
    Layer {
        prefix: "src/rate.rs",
        may_import: &["time"],
        never_names: &["std::net", "std::io", "std::thread"],
    },
    Layer {
        prefix: "src/flood.rs",
        may_import: &["time"],
        never_names: &["std::net", "std::io", "std::thread", "tracing"],
    },
    Layer {
        prefix: "src/id.rs",
        may_import: &["slab"],
        never_names: &["std::net", "std::io", "std::thread"],
    },
    Layer { prefix: "src/network.rs", may_import: &[], never_names: &["std::io", "std::thread"] },
    Layer { prefix: "src/mutant.rs", may_import: &[], never_names: &["std::net", "std::io", "std::thread"] },
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
        may_import: &["time", "slab", "sync"],
        never_names: &["Batch", "Opcode", "RoomName", "Endpoint", "crossbeam", "std::thread"],
    },
    Layer {
        prefix: "src/rooms/",
        may_import: &["id", "slab", "sync", "time"],
        never_names: &[
            "std::net",
            "std::io",
            "polling",
            "rustix",
            "push_server_frame",
            "Opcode",
            "Poller",
            "std::thread",
        ],
    },
    Layer {
        prefix: "src/endpoint/",
        may_import: &["id", "protocol", "rate", "rooms", "time"],
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
        may_import: &[
            "endpoint", "flood", "id", "mutant", "network", "protocol", "rate", "reactor", "rooms", "slab",
            "sync", "time",
        ],
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
    // The log is of the binary, and knows nothing of what is said in it.
    Layer { prefix: "src/logs/", may_import: &[], never_names: &["fanfare::shard", "std::net", "Instant"] },
    // The flags say what is to be done, and do none of it.
    Layer {
        prefix: "src/cli/",
        may_import: &["logs"],
        never_names: &["ServerBuilder", "std::net", "std::thread", "Instant"],
    },
    // The service is of the binary, and sees the server from outside.
    Layer {
        prefix: "src/service/",
        may_import: &["cli", "logs", "say", "EXIT_FAILED"],
        never_names: &[
            "fanfare::endpoint",
            "fanfare::rooms",
            "fanfare::protocol",
            "ServerBuilder",
            "TcpListener",
            "TcpStream",
            "Instant",
        ],
    },
    // The load generator is of the binary, and meets servers over the wire alone.
    Layer {
        prefix: "src/load/",
        may_import: &["cli", "EXIT_FAILED"],
        never_names: &[
            "fanfare::endpoint",
            "fanfare::rooms",
            "fanfare::shard",
            "ServerBuilder",
            "TcpListener",
            "TcpStream",
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

/// How many modules up the longest path of `line` goes.
fn levels_up(line: &str) -> usize {
    let in_path = |character: char| character.is_alphanumeric() || matches!(character, '_' | ':');
    let tight: Vec<&str> = line.split("::").map(str::trim).collect();
    let tight = tight.join("::");
    let paths = tight.split(|character| !in_path(character)).filter(|path| path.contains("::"));
    paths.map(|path| path.split("::").filter(|part| *part == "super").count()).max().unwrap_or(0)
}

/// Whether `line` has `name`, however either is spaced.
fn names(line: &str, name: &str) -> bool {
    let tight = |text: &str| text.split_whitespace().collect::<String>();
    tight(line).contains(&tight(name))
}

fn rust_files(folder: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.ends_with("fuzz/target") {
                continue;
            }
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
        Source::new(relative.to_str().unwrap().replace('\\', "/"), whole)
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

/// What `source` imports or names against the table.
fn breaks_of_layers(source: &Source) -> Vec<String> {
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
        if levels_up(line) > source.depth_in(layer) {
            found.push(format!("{}:{number}: leaves the layer by super::; say crate::", source.path));
        }
        if names(line, "std::{") {
            found.push(format!("{}:{number}: a group hides names; one use for each of std::", source.path));
        }
        for name in layer.never_names.iter().filter(|name| names(line, name)) {
            found.push(format!("{}:{number}: must never name {name}", source.path));
        }
    }
    found
}

#[test]
fn every_layer_imports_only_what_it_may_and_names_nothing_forbidden() {
    assert_none(complaints(breaks_of_layers, "src"));
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
fn the_layer_check_sees_supers_that_leave_the_layer() {
    for (path, line, allowed) in [
        ("src/rooms/mod.rs", "pub(super) fn a() {}", true),
        ("src/rooms/mod.rs", "use super::shard;", false),
        ("src/rooms/room.rs", "use super::name;", true),
        ("src/rooms/room.rs", "use super::super::shard;", false),
        ("src/rooms/room.rs", "use super :: super as up;", false),
        ("src/rooms/room.rs", "use self::super::super::shard;", false),
        ("src/rooms/room.rs", "fn a(a: super::A) -> super::B {}", true),
        ("src/protocol/handshake/mod.rs", "use super::limits;", true),
        ("src/protocol/handshake/mod.rs", "use super::super::shard;", false),
        ("src/protocol/handshake/scanner.rs", "use super::super::limits;", true),
        ("src/protocol/handshake/scanner.rs", "use super::super::super::shard;", false),
        ("src/protocol/handshake/tests.rs", "use super::super::super::shard;", true),
        ("src/time.rs", "use super::shard;", false),
        ("src/lib.rs", "use super::shard;", true),
    ] {
        let found = breaks_of_layers(&Source::new(path.to_owned(), line.to_owned()));
        assert_eq!(found.is_empty(), allowed, "{path}: {line}: {found:?}");
    }
}

#[test]
fn the_layer_check_sees_through_groups_spaces_and_literals() {
    for (line, allowed) in [
        ("use std::collections::{BTreeMap, HashMap};", true),
        ("use std::{fmt, net::TcpStream};", false),
        ("use std::{", false),
        ("use std :: net::TcpStream;", false),
        ("use std::mem; // not std::net", true),
        (r#"let a = "ws://a"; std::net::lookup(a);"#, false),
    ] {
        let found = breaks_of_layers(&Source::new("src/rooms/room.rs".to_owned(), line.to_owned()));
        assert_eq!(found.is_empty(), allowed, "{line}: {found:?}");
    }
}

/// The calls of `source` that shipped code must not have.
fn banned_calls(source: &Source) -> Vec<String> {
    const BANNED: &[(&str, &str)] = &[
        (".unwrap()", "handle it, or expect with the invariant that holds"),
        ("println!", "log through tracing"),
        ("print!", "log through tracing"),
        ("dbg!", "log through tracing"),
        ("todo!", "finish it"),
        ("unimplemented!", "finish it"),
        ("thread::sleep", "wait for an event"),
        ("SystemTime", "time is a parameter"),
        ("static mut", "pass it"),
        // Peers choose the keys of most tables: a hash without a key of this process can be flooded.
        ("DefaultHasher", "RandomState"),
        ("BuildHasherDefault", "RandomState"),
        ("with_hasher", "RandomState, which a table has by itself"),
        ("and_hasher", "RandomState, which a table has by itself"),
    ];
    let mut found = Vec::new();
    for (number, line) in &source.code {
        for (call, instead) in BANNED.iter().filter(|(call, _)| names(line, call)) {
            // The one line that may be printed: why the binary did not start.
            if source.path == "src/main.rs" && line.contains("eprintln!(\"{line}\")") {
                continue;
            }
            // The one file that reads a clock.
            if source.path == "src/reactor/clock.rs" && *call == "SystemTime" {
                continue;
            }
            found.push(format!("{}:{number}: {call}: {instead}", source.path));
        }
    }
    found
}

#[test]
fn shipped_code_has_no_banned_call() {
    assert_none(complaints(banned_calls, "src"));
}

#[test]
fn the_check_of_calls_sees_every_print_and_any_spacing() {
    for (line, allowed) in [
        ("print!(\"a\");", false),
        ("eprint!(\"a\");", false),
        ("println!(\"a\");", false),
        ("eprintln ! (\"a\");", false),
        ("a.unwrap ();", false),
        ("a . unwrap( );", false),
        ("std::thread :: sleep(a);", false),
        ("static  mut A: u8 = 0;", false),
        ("a(\"http://b\").unwrap();", false),
        ("HashMap::<A, B, BuildHasherDefault<C>>::default();", false),
        ("HashMap::with_capacity_and_hasher(1, a);", false),
        ("RandomState::new();", true),
        ("a.unwrap_or(b); // not .unwrap()", true),
        ("write!(f, \"a\")?;", true),
    ] {
        let found = banned_calls(&Source::new("src/lib.rs".to_owned(), line.to_owned()));
        assert_eq!(found.is_empty(), allowed, "{line}: {found:?}");
    }
}

#[test]
fn only_the_clock_reads_the_clock_and_only_the_poller_is_unsafe() {
    const PLACES: &[(&str, &[&str])] = &[
        ("Instant::now", &["src/reactor/clock.rs"]),
        // What a poller watches needs a promise, and so do an instruction that not every processor has, what is
        // passed to a process by number and what only the C library can do.
        (
            "unsafe ",
            &[
                "src/reactor/poll_io.rs",
                "src/protocol/mask.rs",
                "src/service/environment.rs",
                "src/server/trim.rs",
            ],
        ),
    ];
    assert_none(complaints(
        |source| {
            let mut found = Vec::new();
            for (number, line) in &source.code {
                for (name, places) in PLACES {
                    if line.contains(name) && !places.contains(&source.path.as_str()) {
                        found.push(format!("{}:{number}: {name} belongs into {places:?}", source.path));
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
