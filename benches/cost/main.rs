//! What a message costs, counted instead of timed: instructions of a shard, and system calls of the server.
//!
//! ```text
//! cargo bench --bench cost                           everything, held against the bounds
//! cargo bench --bench cost -- "echo 16 B"            scenarios with this in their name
//! cargo bench --bench cost -- instructions fan-out   only one of the two tables
//! cargo bench --bench cost -- --functions 10 "64 KiB"     where the instructions go
//! cargo bench --bench cost -- --column "what was changed"  writes the counts into costs.md
//! ```
//!
//! Instructions are counted by valgrind while shards work over a simulated operating system whose own
//! instructions are left out; system calls by strace while a client works with the real server over loopback.
//! `costs.md` has the bounds, and what each change has brought. It fails if a bound is missed.

mod calls;
#[path = "../common/mod.rs"]
mod common;
#[path = "../common/flat.rs"]
mod flat;
mod instructions;
mod scenario;
mod table;
mod tool;

use std::collections::BTreeSet;
use std::error::Error;
use std::fs;
use std::process::{Command, ExitCode};

use clap::Parser;
use common::output::say;
use table::{Count, Counts, Table, show};

/// The page with the tables, and their headings.
const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/cost/costs.md");
const INSTRUCTIONS: &str = "Instructions of a shard per message";
const CALLS: &str = "System calls of the server per round";
/// Instructions that a new bound allows over what was seen, where a quarter of that is less.
const SLACK: f64 = 5.0;

/// What a message costs, counted.
#[derive(Debug, Parser)]
struct Arguments {
    /// Words: "instructions" or "calls" for one of the tables, or a part of a scenario's name
    words: Vec<String>,
    /// Shows so many functions that take most of the instructions of each scenario
    #[arg(long, value_name = "COUNT", allow_negative_numbers = true)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..))]
    functions: Option<u16>,
    /// Writes the counts into costs.md, as the column of this change
    #[arg(long, value_name = "CHANGE")]
    column: Option<String>,
    /// Fails if valgrind or strace is missing
    #[arg(long)]
    require: bool,
    /// Runs everything once and small, and counts nothing
    #[arg(long)]
    test: bool,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

const TABLES: [&str; 2] = ["instructions", "calls"];

impl Arguments {
    fn wants_table(&self, table: &str) -> bool {
        let named = |table: &str| self.words.iter().any(|word| word == table);
        named(table) || !TABLES.into_iter().any(named)
    }

    fn wants(&self, scenario: &str) -> bool {
        let mut parts = self.words.iter().filter(|word| !TABLES.contains(&word.as_str())).peekable();
        parts.peek().is_none() || parts.any(|part| scenario.contains(part.as_str()))
    }

    /// Whether there is something to count in a table.
    fn wants_of(&self, table: &str) -> bool {
        self.wants_table(table) && names(table).into_iter().any(|scenario| self.wants(scenario))
    }

    /// Why a word chooses nothing, if one does.
    fn complaint(&self) -> Option<String> {
        let scenarios: BTreeSet<&str> =
            TABLES.into_iter().filter(|table| self.wants_table(table)).flat_map(names).collect();
        let chooses = |word: &str| scenarios.iter().any(|scenario| scenario.contains(word));
        let unknown = self.words.iter().find(|word| !TABLES.contains(&word.as_str()) && !chooses(word))?;
        let scenarios: Vec<&str> = scenarios.into_iter().collect();
        Some(format!(
            "word {unknown}: expected {} or a part of the name of a scenario: {}",
            TABLES.join(", "),
            scenarios.join("; ")
        ))
    }
}

/// The names of a table's scenarios.
fn names(table: &str) -> Vec<&'static str> {
    if table == TABLES[0] {
        scenario::ALL.iter().map(|scenario| scenario.name).collect()
    } else {
        calls::ALL.iter().map(|scenario| scenario.name).collect()
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, role, name] = &arguments[..]
        && role == instructions::ROLE
    {
        let scenario = scenario::ALL.iter().find(|scenario| scenario.name == name);
        instructions::run(scenario.expect("the name of a scenario"));
        return ExitCode::SUCCESS;
    }
    let arguments = Arguments::parse_from(arguments);
    if let Some(complaint) = arguments.complaint() {
        eprintln!("{complaint}");
        return ExitCode::from(2);
    }
    let result = if arguments.test { smoke() } else { measure(&arguments) };
    match result {
        Ok(missed) if missed.is_empty() => ExitCode::SUCCESS,
        Ok(missed) => {
            say(&format!("\n{}", missed.join("\n")));
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs everything once, without counting, and checks the tables.
fn smoke() -> Result<Vec<String>, Box<dyn Error>> {
    let page = fs::read_to_string(PAGE)?;
    check_table(&page, INSTRUCTIONS, scenario::ALL.iter().map(|scenario| scenario.name.to_owned()))?;
    let rows = |scenario: &calls::Scenario| calls::KINDS.map(|kind| row_name(scenario.name, kind));
    check_table(&page, CALLS, calls::ALL.iter().flat_map(rows))?;
    for scenario in scenario::ALL {
        scenario.run(2);
    }
    for scenario in calls::ALL {
        let workers = scenario.workers.to_string();
        let (_server, address, _log) = common::start_server(["--workers", &workers]);
        scenario.play(&address, 2)?;
    }
    Ok(Vec::new())
}

/// A table has a row for each scenario and no other, can be written back, and holds against what is over a bound.
fn check_table(page: &str, heading: &str, rows: impl Iterator<Item = String>) -> Result<(), String> {
    let table = Table::read(page, heading)?;
    let (mut expected, mut has): (Vec<String>, Vec<&str>) = (rows.collect(), table.names().collect());
    expected.sort_unstable();
    has.sort_unstable();
    if has != expected {
        return Err(format!("costs.md: behind {heading} are the rows {has:#?}, and should be {expected:#?}"));
    }
    if table.put_into(page, heading) != page {
        return Err(format!("costs.md: the table behind {heading} is not as it would be written"));
    }
    let enormous: Counts =
        expected.into_iter().map(|name| Count { name, seen: f64::MAX, slack: 0.0 }).collect();
    if table.judge(&enormous).iter().any(table::Judged::is_met) {
        return Err(format!("costs.md: behind {heading} is a bound that cannot be missed"));
    }
    Ok(())
}

/// Counts, shows, and says what is over its bound.
fn measure(arguments: &Arguments) -> Result<Vec<String>, Box<dyn Error>> {
    let mut page = fs::read_to_string(PAGE)?;
    let mut missed = Vec::new();
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "true"]);
    let mut strace = Command::new("strace");
    strace.args(["-f", "-c", "-I2", "--summary-columns=calls,name", "-o", "/dev/null", "true"]);
    let tables: [(_, _, fn(&Arguments) -> _); 2] =
        [(INSTRUCTIONS, valgrind, count_instructions), (CALLS, strace, count_calls)];
    for (word, (heading, probe, count)) in TABLES.into_iter().zip(tables) {
        if !arguments.wants_of(word) {
            continue;
        }
        say(&format!("\n{heading}"));
        if let Some(why) = tool::is_missing(probe) {
            say(&format!("skipped: {why}"));
            missed.extend(arguments.require.then(|| format!("{heading}: {why}")));
            continue;
        }
        let counts: Result<Counts, Box<dyn Error>> = count(arguments);
        let counts = counts?;
        let mut table = Table::read(&page, heading)?;
        if let Some(change) = &arguments.column {
            table.record(change, &counts);
            page = table.put_into(&page, heading);
            fs::write(PAGE, &page)?;
            continue;
        }
        let over = table.judge(&counts).into_iter().filter(|judged| !judged.is_met());
        missed.extend(over.map(|judged| complaint(heading, &judged)));
    }
    Ok(missed)
}

/// What is seen, what is allowed, and how to look deeper.
fn complaint(heading: &str, judged: &table::Judged) -> String {
    let table::Judged { name, seen, latest, bound } = judged;
    let scenario = name.split(": ").next().unwrap_or(name);
    let Some(bound) = bound else {
        return format!(
            "{name}: no bound in benches/cost/costs.md; --column \"what was changed\" writes one"
        );
    };
    let deeper = if heading == INSTRUCTIONS {
        format!("cargo bench --bench cost -- instructions --functions 20 \"{scenario}\"")
    } else {
        format!("cargo bench --bench cost -- calls \"{scenario}\", which names each call")
    };
    let before = latest.map_or(String::new(), |latest| format!(", {} before", show(latest)));
    format!(
        "MISSED {heading}: {name}: {} seen, at most {} allowed{before}.\n  Look deeper: {deeper}\n  If that is what it \
         has to cost, say why and raise the bound in benches/cost/costs.md.",
        show(*seen),
        show(*bound)
    )
}

fn count_instructions(arguments: &Arguments) -> Result<Counts, Box<dyn Error>> {
    let mut counts = Counts::default();
    for scenario in scenario::ALL.iter().filter(|scenario| arguments.wants(scenario.name)) {
        let seen = instructions::count(scenario)?;
        say(&format!("{:<66} {:>9}", scenario.name, show(seen)));
        if let Some(most) = arguments.functions {
            instructions::functions(scenario, most.into())?
                .iter()
                .for_each(|function| say(&format!("    {function}")));
        }
        counts.push(Count { name: scenario.name.to_owned(), seen, slack: SLACK });
    }
    Ok(counts)
}

fn count_calls(arguments: &Arguments) -> Result<Counts, Box<dyn Error>> {
    let mut counts = Counts::default();
    for scenario in calls::ALL.iter().filter(|scenario| arguments.wants(scenario.name)) {
        let by_name = scenario.count()?;
        let per_message = by_name.values().sum::<f64>() / scenario.per_round() as f64;
        let names: Vec<String> =
            by_name.iter().map(|(name, calls)| format!("{name} {}", show(*calls))).collect();
        say(&format!(
            "{:<66} {:>9} per message; per round: {}",
            scenario.name,
            show(per_message),
            names.join(", ")
        ));
        for (kind, calls) in calls::by_kind(&by_name) {
            counts.push(Count {
                name: row_name(scenario.name, kind),
                seen: calls,
                slack: scenario.slack(kind),
            });
        }
    }
    Ok(counts)
}

fn row_name(scenario: &str, kind: &str) -> String {
    format!("{scenario}: {kind}")
}
