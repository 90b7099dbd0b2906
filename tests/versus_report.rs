//! What the comparison with other servers (`benches/versus/`) makes of its measurements.

#![allow(dead_code)] // they are parts of the bench

#[path = "../benches/versus/bars.rs"]
mod bars;
#[path = "../benches/versus/cells.rs"]
mod cells;
#[path = "../benches/versus/chart.rs"]
mod chart;
#[path = "../benches/common/mod.rs"]
mod common;
#[path = "../benches/versus/names.rs"]
mod names;
#[path = "../benches/versus/order.rs"]
mod order;
#[path = "../benches/versus/outcome.rs"]
mod outcome;
#[path = "../benches/versus/report.rs"]
mod report;
#[path = "../benches/versus/results.rs"]
mod results;
#[path = "../benches/versus/statistics.rs"]
mod statistics;
#[path = "../benches/versus/tables.rs"]
mod tables;

use bars::{Verdict, judge};
use cells::{Cell, ECHO_16_1, ECHO_16_16, FANOUT_64_1, FANOUT_64_16, IDLE, STORM};
use common::machine::{self, Machine};
use report::{About, Absent, Listed, Report, digits};
use results::{CellResults, FANFARE, FLOOR, FLOOR_PLAIN, FLOOR_RING, Measured, Row, UserMode};
use statistics::Spread;

fn cell(name: &str) -> Cell {
    cells::all().into_iter().find(|cell| cell.name == name).unwrap()
}

fn measured(cpu_us: f64) -> Measured {
    // A second on one core, a twentieth of it in user mode.
    let rate = 1e6 / cpu_us;
    Measured { rate, count: rate, cpu_us, user_s: 0.05, p99_us: 900.0, ..Measured::default() }
}

fn row(server: &'static str, costs: &[f64]) -> Row {
    // No cost is a round that failed.
    let round = |cost: &f64| (*cost > 0.0).then(|| measured(*cost));
    Row { server, rounds: costs.iter().map(round).collect() }
}

fn results(name: &str, rows: &[(&'static str, &[f64])]) -> CellResults {
    CellResults { cell: cell(name), rows: rows.iter().map(|(server, costs)| row(server, costs)).collect() }
}

/// As the kernels of most distributions have it.
const TICKS_PER_S: f64 = 250.0;

/// The verdict on the bar of a cell that asks for this.
fn verdict(results: &[CellResults], cell: &str, asked: &str) -> (Verdict, String) {
    let judged = judge(results, TICKS_PER_S)
        .into_iter()
        .find(|judged| judged.cell == cell && judged.asked.contains(asked));
    let judged = judged.unwrap();
    (judged.verdict, judged.seen)
}

#[test]
fn medians_and_quartiles_lie_between_the_values() {
    assert_eq!(Spread::of([]), None);
    for (values, median, lower_quartile, upper_quartile) in [
        (&[7.0][..], 7.0, 7.0, 7.0),
        (&[2.0, 1.0], 1.5, 1.25, 1.75),
        (&[5.0, 1.0, 4.0, 2.0, 3.0], 3.0, 2.0, 4.0),
        (&[1.0, 1.0, 1.0, 100.0], 1.0, 1.0, 25.75),
    ] {
        let expected = Spread { median, lower_quartile, upper_quartile, count: values.len() };
        assert_eq!(Spread::of(values.iter().copied()), Some(expected), "{values:?}");
    }
}

#[test]
fn a_ratio_is_taken_within_a_round() {
    // The machine was ten times as slow in the second round: medians of the costs would say something else.
    let results = results(ECHO_16_1, &[(FLOOR, &[1.0, 10.0, 4.0, 9.0]), (FANFARE, &[2.0, 20.0, 0.0, 18.0])]);
    let ratio = results.ratio(FANFARE, FLOOR).unwrap();
    assert_eq!((ratio.median, ratio.lower_quartile, ratio.upper_quartile, ratio.count), (2.0, 2.0, 2.0, 3));
    assert_eq!(results.ratio(FANFARE, "bun"), None);
}

#[test]
fn memory_is_what_is_compared_when_connections_are_idle() {
    let mut idle = results(IDLE, &[(FLOOR, &[1.0]), (FANFARE, &[1.0])]);
    for (row, bytes) in idle.rows.iter_mut().zip([100.0, 150.0]) {
        row.rounds[0].as_mut().unwrap().rss_bytes = bytes;
    }
    assert_eq!(idle.ratio(FANFARE, FLOOR).unwrap().median, 1.5);
    assert_eq!(verdict(&[idle.clone()], IDLE, "RSS"), (Verdict::Met, "150 B".to_owned()));
    idle.rows[1].rounds[0].as_mut().unwrap().rss_bytes = 201.0;
    assert_eq!(verdict(&[idle], IDLE, "RSS").0, Verdict::NotMet);
}

#[test]
fn a_bar_holds_up_to_its_figure_and_not_beyond() {
    for (own, expected) in [(1.0, Verdict::Met), (1.03, Verdict::Met), (1.04, Verdict::NotMet)] {
        let results = [results(ECHO_16_1, &[(FLOOR, &[1.0]), (FANFARE, &[own])])];
        assert_eq!(verdict(&results, ECHO_16_1, "× floor").0, expected, "{own}");
    }
    for (own, expected) in [(7.0, Verdict::Met), (7.1, Verdict::NotMet)] {
        let results = [results(ECHO_16_1, &[(FANFARE, &[own])])];
        assert_eq!(verdict(&results, ECHO_16_1, "user mode").0, expected, "{own}");
        assert_eq!(verdict(&results, ECHO_16_1, "× floor"), (Verdict::NotMeasured, "–".to_owned()));
    }
    // Two figures of one load, each by itself.
    for (own, below, at_floor) in [
        (0.90, Verdict::Met, Verdict::Met),
        (0.95, Verdict::NotMet, Verdict::Met),
        (1.05, Verdict::NotMet, Verdict::NotMet),
    ] {
        let fanout = [results(FANOUT_64_1, &[(FLOOR, &[1.0]), (FANFARE, &[own])])];
        assert_eq!(verdict(&fanout, FANOUT_64_1, "≤ 0.90").0, below, "{own}");
        assert_eq!(verdict(&fanout, FANOUT_64_1, "≤ 1.03").0, at_floor, "{own}");
    }
}

#[test]
fn user_mode_is_that_of_all_rounds_together() {
    let mut results = results(ECHO_16_16, &[(FANFARE, &[0.5, 0.0, 0.5, 0.5])]);
    for (round, user_s) in results.rows[0].rounds.iter_mut().flatten().zip([0.0, 0.0, 0.12]) {
        (round.user_s, round.count) = (user_s, 1e6);
    }
    // The median is nothing.
    let user = results.rows[0].user_mode().unwrap();
    assert!((user.us - 0.04).abs() < 1e-9 && user.rounds == 3, "{user:?}");
    results.rows[0].rounds[3].as_mut().unwrap().count = 4e6;
    let user = results.rows[0].user_mode().unwrap();
    assert!((user.us - 0.02).abs() < 1e-9, "of all messages: {user:?}");
    let figures = serde_json::to_value(&results).unwrap();
    let written = &figures["rows"][0]["user_mode"]["us"];
    assert!((written.as_f64().unwrap() - user.us).abs() < 1e-9, "{figures}");
    assert_eq!(Row { server: FANFARE, rounds: vec![None] }.user_mode(), None);
}

#[test]
fn user_mode_is_as_uncertain_as_its_ticks_are_few() {
    for (seconds, rounds, ticks_per_s, ticks, uncertain) in [
        // By the ticks alone it were 27 %, 10 % and 4 %; a unit of 10 ms is one tick, two and a half or ten.
        (0.056, 5, 250.0, 14.0, "± 31 %"),
        (0.4, 5, 250.0, 100.0, "± 10 %"),
        (0.625, 5, 1000.0, 625.0, "± 4 %"),
        (0.05, 5, 1000.0, 50.0, "± 23 %"),
        (0.05, 5, 100.0, 5.0, "± 48 %"),
        (100.0, 5, 250.0, 25_000.0, "± 1 %"),
        (0.0, 5, 250.0, 0.0, "± ?"),
        (0.003, 5, 250.0, 0.75, "± ?"),
    ] {
        let user = UserMode { us: 0.03, seconds, rounds };
        assert!((user.ticks(ticks_per_s) - ticks).abs() < 1e-9, "{user:?}");
        assert_eq!(user.uncertain(ticks_per_s), uncertain, "{user:?}");
    }
}

#[test]
fn table_and_verdict_show_the_same_user_mode() {
    let mut fanout = results(FANOUT_64_16, &[(FLOOR, &[0.2, 0.2]), (FANFARE, &[0.2, 0.2])]);
    for (round, user_s) in fanout.rows[1].rounds.iter_mut().flatten().zip([0.016, 0.04]) {
        (round.user_s, round.count) = (user_s, 1e6);
    }
    let text = report(vec![fanout]).markdown();
    for part in [
        "| fan-out 64 B to 1,000, 16 in flight | 0.010 | **0.028** |",
        "| fanfare | 0.20 (0.20–0.20) | 0.028 (± 29 %) |",
        "| user mode ≤ 0.03 µs | 0.028 µs (± 29 %: about 14 ticks of 250 a second) | met |",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
}

#[test]
fn the_tables_of_the_readme_have_a_row_for_each_load() {
    let echo: &[(_, &[f64])] = &[(FLOOR, &[4.0, 8.0]), (FANFARE, &[4.0, 9.6]), ("tungstenite", &[0.0, 0.0])];
    let fanout: &[(_, &[f64])] =
        &[(FLOOR, &[2.0]), (FLOOR_PLAIN, &[3.0]), (FLOOR_RING, &[1.0]), (FANFARE, &[1.5])];
    let mut idle = results(IDLE, &[(FLOOR, &[1.0]), (FANFARE, &[1.0])]);
    for (row, bytes) in idle.rows.iter_mut().zip([64.7, 155.5]) {
        row.rounds[0].as_mut().unwrap().rss_bytes = bytes;
    }
    let mut report = report(vec![results(ECHO_16_1, echo), results(FANOUT_64_16, fanout), idle.clone()]);
    report.servers.push(Listed { key: FLOOR_RING, name: "floor, io_uring", version: String::new() });
    assert_eq!(
        tables::cpu_table(&report).unwrap(),
        "| CPU µs per message, delivery or handshake | floor | floor, io_uring | **fanfare** | tokio-tungstenite |\n\
         |---|--:|--:|--:|--:|\n\
         | echo 16 B, 100 connections, 1 in flight | 6.00 | – | **6.80 (×1.10)** | – |\n\
         | fan-out 64 B to 1,000, 16 in flight | 2.00 | 1.00 (×0.50) | **1.50 (×0.75)** | – |\n\
         | 10,000 idle connections: RSS bytes each | 64.7 | – | **156 (×2.40)** | – |\n"
    );
    assert_eq!(
        tables::user_table(&report).unwrap(),
        "| of it in user mode, µs | floor | **fanfare** | tokio-tungstenite |\n\
         |---|--:|--:|--:|\n\
         | echo 16 B, 100 connections, 1 in flight | 0.27 | **0.28** | – |\n\
         | fan-out 64 B to 1,000, 16 in flight | 0.10 | **0.075** | – |\n"
    );
    report.cells = vec![idle];
    assert_eq!(tables::user_table(&report), None);
    report.cells.clear();
    assert_eq!(tables::cpu_table(&report), None);
}

#[test]
fn the_revision_is_that_of_the_folder_itself() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    // A folder of the checkout is none.
    assert_eq!(machine::revision(&folder.join("benches")), None);
    let expected = machine::revision(folder).map(|revision| format!(" ({revision})")).unwrap_or_default();
    assert_eq!(machine::version(), format!("{}{expected}", env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_machine_knows_its_ticks() {
    let machine = Machine::here();
    assert!((10.0..=10_000.0).contains(&machine.ticks_per_s), "{machine:?}");
    assert!(machine.cores > 0 && machine.version.starts_with(env!("CARGO_PKG_VERSION")), "{machine:?}");
}

#[test]
fn the_peer_that_comes_closest_decides() {
    let mut rows: Vec<(&str, &[f64])> =
        vec![(FLOOR, &[0.5]), (FANFARE, &[1.0]), ("tungstenite", &[2.0]), ("bun", &[1.25])];
    let ahead = [results(ECHO_16_16, &rows)];
    assert_eq!(verdict(&ahead, ECHO_16_16, "every peer"), (Verdict::Met, "0.80 × bun".to_owned()));
    rows.push(("ws", &[0.8]));
    let behind = [results(ECHO_16_16, &rows)];
    assert_eq!(verdict(&behind, ECHO_16_16, "every peer"), (Verdict::NotMet, "1.25 × ws".to_owned()));
    let alone = [results(ECHO_16_16, &rows[..2])];
    assert_eq!(verdict(&alone, ECHO_16_16, "every peer").0, Verdict::NotMeasured);
}

#[test]
fn handshakes_are_enough_by_themselves_or_beside_a_peer() {
    // A handshake of 100 µs is 10,000 a second.
    for (own, bun, expected) in [
        (60.0, None, Verdict::Met),
        (100.0, None, Verdict::NotMet),
        (100.0, Some(120.0), Verdict::Met),
        (100.0, Some(90.0), Verdict::NotMet),
    ] {
        let own = [own];
        let bun: Vec<f64> = bun.into_iter().collect();
        let mut rows: Vec<(&str, &[f64])> = vec![(FANFARE, &own), ("tungstenite", &[1.0])];
        if !bun.is_empty() {
            rows.push(("bun", &bun));
        }
        assert_eq!(verdict(&[results(STORM, &rows)], STORM, "handshakes").0, expected, "{own:?} {bun:?}");
    }
}

#[test]
fn every_bar_is_about_a_load_that_there_is() {
    let names: Vec<&str> = cells::all().iter().map(|cell| cell.name).collect();
    for judged in judge(&[], TICKS_PER_S) {
        assert!(names.contains(&judged.cell), "{judged:?}");
        assert_eq!(judged.verdict, Verdict::NotMeasured);
    }
}

#[test]
fn names_choose_loads() {
    let chosen = |asked: &[&str], is_smoke| -> Result<Vec<&str>, String> {
        let asked: Vec<String> = asked.iter().map(|asked| (*asked).to_owned()).collect();
        Ok(cells::chosen(&asked, is_smoke)?.into_iter().map(|cell| cell.name).collect())
    };
    assert_eq!(chosen(&["echo-16b"], false).unwrap(), [ECHO_16_1, ECHO_16_16]);
    assert_eq!(chosen(&["Fan-out 64 B to 1,000, 1 in"], true).unwrap(), [FANOUT_64_1]);
    // In the order of the table, and each once.
    assert_eq!(chosen(&["idle", "echo-16b-16", "idle"], false).unwrap(), [ECHO_16_16, IDLE]);
    assert_eq!(chosen(&[], false).unwrap().len(), cells::all().len());
    assert_eq!(chosen(&[], true).unwrap(), cells::SMOKE);
    let refused = chosen(&["idle", "nosuch"], false).unwrap_err();
    assert!(refused.starts_with("load nosuch: expected echo-16b-1, echo-16b-16, "), "{refused}");
}

#[test]
fn a_whole_name_means_its_owner_alone() {
    const NAMES: [names::Names; 4] =
        [["floor", "floor"], ["floor-plain", "floor, a send each"], ["ws", "Node ws"], ["news", "News"]];
    for (asked, meant) in [
        ("floor", &[0][..]),
        ("FLOOR-", &[1]),
        ("flo", &[0, 1]),
        ("ws", &[2]),
        ("node WS", &[2]),
        ("w", &[2, 3]),
        ("x", &[]),
    ] {
        assert_eq!(names::meant(asked, &NAMES), meant, "{asked}");
    }
    let refused = names::all_meant("--servers", &["ws".to_owned(), "x".to_owned()], &NAMES).unwrap_err();
    assert_eq!(refused, "--servers x: expected floor, floor-plain, ws, news, or a part of a name");
}

#[test]
fn everybody_begins_once_and_comes_before_and_behind_everybody() {
    for count in 1..=9 {
        let orders: Vec<Vec<usize>> = (0..count).map(|round| order::order(count, round)).collect();
        let mut first: Vec<usize> = orders.iter().map(|order| order[0]).collect();
        first.sort_unstable();
        assert_eq!(first, (0..count).collect::<Vec<_>>(), "{count} servers");
        let comes_before = |one: usize, other: usize| {
            orders.iter().any(|order| {
                order.iter().position(|at| *at == one) < order.iter().position(|at| *at == other)
            })
        };
        for (one, other) in (0..count).flat_map(|one| (0..count).map(move |other| (one, other))) {
            assert!(one == other || comes_before(one, other), "{count} servers: {one} {other}");
        }
    }
}

const SAID: &str = r#"{"version":1,"scenario":"echo","connections":100,"size_bytes":16,"in_flight":1,"duration_s":1.0,
    "messages":150000,"deliveries":150000,"messages_per_s":150000.0,"deliveries_per_s":140000.0,
    "latency_us":{"p50":600.0,"p90":700.0,"p99":920.0,"p99_9":1000.0,"max":2000.0},
    "errors":{"lost":0,"duplicated":0,"reordered":0,"wrong":0,"closed":0},
    "server":{"cpu_us_per_message":6.5,"user_us_per_message":0.25,"system_us_per_message":6.25,"cores":0.99,
        "rss_bytes":4000000,"rss_bytes_per_connection":180.0},
    "generator":{"cores":0.9,"threads":1},"saturated":"server"}"#;

#[test]
fn what_the_generator_says_is_understood() {
    let echo = outcome::measured(SAID, &cell(ECHO_16_1)).unwrap();
    assert_eq!((echo.rate, echo.count, echo.cpu_us, echo.p99_us), (150_000.0, 150_000.0, 6.5, 920.0));
    assert!((echo.user_s - 0.25 * 0.15).abs() < 1e-9, "{echo:?}");
    assert_eq!((echo.rss_bytes, echo.saturated.as_str()), (180.0, "server"));
    assert_eq!(outcome::measured(SAID, &cell(FANOUT_64_1)).unwrap().rate, 140_000.0);
}

#[test]
fn a_load_in_which_something_went_wrong_counts_for_nothing() {
    for (good, bad, why) in [
        ("\"lost\":0", "\"lost\":3", "lost 3"),
        ("\"closed\":0", "\"closed\":1", "closed 1"),
        ("\"messages_per_s\":150000.0", "\"messages_per_s\":0", "no messages came"),
        ("\"server\":{", "\"server\":null,\"other\":{", "nothing about the server"),
        ("{\"version\"", "?{\"version\"", "the generator says"),
    ] {
        assert!(SAID.contains(good), "{good}");
        let error = outcome::measured(&SAID.replace(good, bad), &cell(ECHO_16_1)).unwrap_err();
        assert!(error.contains(why), "{error}");
    }
}

fn report(cells: Vec<CellResults>) -> Report {
    let listed = |key, name| Listed { key, name, version: "1.2".to_owned() };
    let machine = Machine {
        processor: "A <B> & C".to_owned(),
        cores: 2,
        ticks_per_s: TICKS_PER_S,
        version: "0.9.8 (abc1234, changed)".to_owned(),
        rustc: "rustc 1.2".to_owned(),
        ..Machine::default()
    };
    let about = About { machine, rounds: 2, ..About::default() };
    let servers =
        vec![listed(FLOOR, "floor"), listed(FANFARE, "fanfare"), listed("tungstenite", "tokio-tungstenite")];
    let absent = vec![Absent { key: "bun", name: "Bun", why: "not installed: no bun".to_owned() }];
    Report::new(about, servers, absent, cells, vec!["echo-16b-1, tungstenite: lost 3".to_owned()])
}

#[test]
fn the_table_says_where_server_and_load_ran() {
    for (cores, said, is_warned) in [
        (1, "server and load generator on the same core", true),
        (2, "server on one core, load generator on another", false),
    ] {
        let mut report = report(Vec::new());
        report.about.machine.cores = cores;
        let text = report.markdown();
        assert!(text.contains(&format!("{said}, loopback")), "{text}");
        assert!(text.contains(&format!(", {} to run on", common::output::counted(cores, "core"))), "{text}");
        assert_eq!(text.contains(common::output::ONE_CORE), is_warned, "{text}");
    }
}

#[test]
fn the_table_has_everybody_and_names_who_is_not_there() {
    let rows: &[(_, &[f64])] = &[(FLOOR, &[4.0, 8.0]), (FANFARE, &[4.0, 9.6]), ("tungstenite", &[0.0, 0.0])];
    let text = report(vec![results(ECHO_16_1, rows)]).markdown();
    for part in [
        "### echo 16 B, 100 connections, 1 in flight",
        "| floor | 6.00 (5.00–7.00) | 0.27 (± 21 %) | 1.00 (1.00–1.00) | 187,500 (156,250–218,750) | 0.90 (0.90–0.90) |",
        "| fanfare | 6.80 (5.40–8.20) |",
        " | 1.10 (1.05–1.15) | ",
        "| tokio-tungstenite | failed |",
        "* fanfare 0.9.8 (abc1234, changed), rustc 1.2\n* floor 1.2, tokio-tungstenite 1.2\n",
        "* Bun: not installed: no bun",
        "* failed: echo-16b-1, tungstenite: lost 3",
        "| 1 | echo-16b-1 | ≤ 1.03 × floor | 1.10 (1.05–1.15) | **not met** |",
        "| 6 | handshakes | ≥ 15000 handshakes/s, or ≥ Bun, on uWebSockets' engine | – | not measured |",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
}

#[test]
fn a_row_says_when_the_generator_could_do_no_more() {
    let rows: &[(_, &[f64])] = &[(FLOOR, &[4.0, 4.0, 4.0]), (FANFARE, &[5.0, 5.0, 5.0])];
    let mut bound = results(ECHO_16_1, rows);
    for (row, count) in bound.rows.iter_mut().zip([1, 2]) {
        row.rounds[..count]
            .iter_mut()
            .flatten()
            .for_each(|round| "generator".clone_into(&mut round.saturated));
    }
    let text = report(vec![bound]).markdown();
    let is_bound = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(&format!("| {name} |"))).unwrap();
        line.contains("bound by the generator")
    };
    assert!(!is_bound("floor") && is_bound("fanfare"), "{text}");
}

#[test]
fn the_chart_has_a_bar_for_each_server_and_cuts_the_longest() {
    let rows: &[(_, &[f64])] = &[(FLOOR, &[4.0]), (FANFARE, &[5.0]), ("tungstenite", &[100.0])];
    let svg = chart::svg(&report(vec![results(ECHO_16_1, rows), results(ECHO_16_16, &rows[..2])]));
    assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
    assert!(svg.contains("A &lt;B&gt; &amp; C"), "{svg}");
    assert_eq!(svg.matches("<rect ").count(), 5);
    assert_eq!(svg.matches("class=\"cut\"").count(), 2, "one bar, cut by two strokes");
    for (open, close) in [("<g ", "</g>"), ("<text ", "</text>"), ("<tspan ", "</tspan>")] {
        assert_eq!(svg.matches(open).count(), svg.matches(close).count(), "{open}");
    }
}

#[test]
fn numbers_are_short() {
    for (value, shown) in [
        (0.0, "0"),
        (0.0214, "0.021"),
        (0.49, "0.49"),
        (6.4, "6.40"),
        (31.04, "31.0"),
        (99.96, "100"),
        (9.999, "10.0"),
        (0.0996, "0.10"),
        (225_000.0, "225,000"),
    ] {
        assert_eq!(digits(value), shown);
    }
}
