//! The page of the report: the verdict first, then figures, plots, tables, and how they came about.

use std::fmt::Write as _;

use super::plot::{Plot, Series, Several, Shade, number};
use super::tables::{self, escaped};
use crate::load::conductor::Sample;
use crate::load::soak::{Plan, Soak};
use crate::load::verdict::{SLOPE_PERCENT_PER_HOUR, SLOPE_TIME_MIN, line};

const STYLE: &str = include_str!("page.css");
const MEBIBYTE: f64 = (1 << 20) as f64;
/// Causes that get a line of their own; the rest share one.
const CAUSES_MAX: usize = 7;

/// What the report says of itself.
#[derive(Clone, Debug)]
pub struct About {
    /// The command that made it.
    pub command: String,
    /// Flags of the server.
    pub flags: String,
    pub machine: String,
    /// When it was begun, in words.
    pub date: String,
}

/// The whole page.
pub fn html(soak: &Soak, plan: &Plan, about: &About) -> String {
    let mut out = String::new();
    let verdict = &soak.verdict;
    let (class, line) = (if verdict.is_clean() { "" } else { " bad" }, escaped(&verdict.to_string()));
    let _ = write!(
        out,
        "<!doctype html>\n<html lang=en><meta charset=utf-8>\
         <meta name=viewport content=\"width=device-width, initial-scale=1\">\
         <title>fanfare soak: {}</title>\n<style>\n{STYLE}</style>\n\
         <h1>fanfare {} soak</h1><p class=dim>{} · {}</p>\n<div class=\"verdict{class}\">{line}</div>\n",
        if verdict.is_clean() { "clean" } else { "NOT CLEAN" },
        env!("CARGO_PKG_VERSION"),
        escaped(&about.date),
        escaped(&about.machine),
    );
    push_tiles(&mut out, soak);
    let seconds = soak.outcome.samples.last().map_or(1.0, |sample| sample.at);
    let shades = [
        Shade { from: 0.0, to: soak.steady.from, name: "arrival" },
        Shade { from: soak.steady.to, to: seconds, name: "end" },
    ];
    out.push_str("<div class=plots>\n");
    for plot in plots(soak) {
        out.push_str(&plot.figure(seconds, &shades));
    }
    out.push_str("</div>\n<h2>What was checked</h2><div class=scroll>");
    out.push_str(&tables::checks(verdict));
    out.push_str("</div>\n<h2>Who played</h2><div class=scroll>");
    out.push_str(&tables::casts(&soak.outcome));
    out.push_str("</div>\n");
    let _ = writeln!(
        out,
        "<h2>Why connections ended</h2><p>By the server's log: {}.</p>",
        tables::counts(&soak.outcome.log.causes)
    );
    out.push_str(&tables::complaints(&soak.outcome));
    push_method(&mut out, soak, plan, about);
    out
}

fn push_tiles(out: &mut String, soak: &Soak) {
    let outcome = &soak.outcome;
    let steady = steady(soak);
    let mean = |of: &dyn Fn(&Sample) -> f64| {
        steady.iter().map(|sample| of(sample)).sum::<f64>() / steady.len().max(1) as f64
    };
    let received: u64 = outcome.casts.iter().filter(|cast| cast.honest).map(|cast| cast.received).sum();
    let latency = &outcome.latency;
    let connections = mean(&|sample| sample.open as f64);
    let memory = mean(&|sample| sample.memory.resident as f64) / MEBIBYTE;
    let minutes = (soak.steady.to - soak.steady.from) / 60.0;
    out.push_str("<div class=tiles>\n");
    for (value, what) in [
        (format!("{minutes:.1} min"), "with everybody in"),
        (number(connections), "open connections"),
        (number(received as f64), "messages checked"),
        (outcome.violations.to_string(), "violations"),
        (format!("{} ms", number(latency.quantile_ms(0.5))), "latency p50"),
        (format!("{} ms", number(latency.quantile_ms(0.99))), "latency p99"),
        (format!("{} ms", number(latency.max_ms())), "latency max"),
        (format!("{} /s", number(mean(&|sample| sample.received))), "messages to clients"),
        (format!("{memory:.1} MiB"), "resident memory"),
        (format!("{:.2} cores", mean(&|sample| sample.workers.iter().sum())), "workers' CPU"),
    ] {
        let _ = writeln!(out, "<div><b>{value}</b><span>{what}</span></div>");
    }
    out.push_str("</div>\n");
}

/// The samples with everybody in.
fn steady(soak: &Soak) -> Vec<&Sample> {
    let range = soak.steady.from..=soak.steady.to;
    soak.outcome.samples.iter().filter(|sample| range.contains(&sample.at)).collect()
}

fn series(soak: &Soak, name: &str, several: Several, of: impl Fn(&Sample) -> Option<f64>) -> Series {
    let points = soak.outcome.samples.iter().map(|sample| (sample.at, of(sample))).collect();
    Series { name: escaped(name), several, points }
}

fn plots(soak: &Soak) -> Vec<Plot> {
    let mean = |name: &str, of: fn(&Sample) -> f64| {
        series(soak, name, Several::Mean, move |sample| Some(of(sample)))
    };
    let latency = |name: &str, at: usize| {
        series(soak, name, Several::Max, move |sample| sample.latency_ms.map(|latency| latency[at]))
    };
    let plot = |title, unit, series| Plot { title, unit, note: String::new(), logarithmic: false, series };
    vec![
        plot(
            "Connections",
            "open",
            vec![
                mean("all", |sample| sample.open as f64),
                mean("honest", |sample| sample.honest_open as f64),
            ],
        ),
        plot(
            "Messages",
            "per second",
            vec![mean("to clients", |sample| sample.received), mean("to the server", |sample| sample.sent)],
        ),
        Plot {
            note:
                "From when a message was meant to be sent to when a member had read it; server and clients \
                   share the cores. The highest of the seconds that share a point."
                    .to_owned(),
            logarithmic: true,
            ..plot(
                "Latency",
                "ms, logarithmic",
                vec![latency("p50", 0), latency("p99", 1), latency("max", 2)],
            )
        },
        memory_plot(soak),
        cpu_plot(soak),
        causes_plot(soak),
    ]
}

fn memory_plot(soak: &Soak) -> Plot {
    let warm: Vec<(f64, f64)> = steady(soak)
        .iter()
        .filter(|sample| sample.at >= soak.steady.warm)
        .map(|sample| (sample.at, sample.memory.resident as f64 / MEBIBYTE))
        .collect();
    let (value, slope) = line(&warm);
    let middle = warm.iter().map(|point| point.0).sum::<f64>() / warm.len().max(1) as f64;
    let fitted = |sample: &Sample| {
        let is_warm = warm.first().is_some_and(|first| sample.at >= first.0) && sample.at <= soak.steady.to;
        is_warm.then_some(value + slope * (sample.at - middle))
    };
    let resident = |sample: &Sample| Some(sample.memory.resident as f64 / MEBIBYTE);
    let anonymous = |sample: &Sample| Some(sample.memory.anonymous as f64 / MEBIBYTE);
    let seconds = warm.last().map_or(0.0, |last| last.0 - warm[0].0);
    let note = if seconds < SLOPE_TIME_MIN.as_secs_f64() {
        format!("The {seconds:.0} s behind the warm-up are too short for a slope.")
    } else {
        let (rise, percent) = (slope * 3600.0, slope * 3600.0 / value * 100.0);
        format!("The line behind the warm-up rises by {rise:+.3} MiB an hour, {percent:+.2} % of its mean.")
    };
    Plot {
        title: "Memory of the server",
        unit: "MiB",
        note,
        logarithmic: false,
        series: vec![
            series(soak, "resident", Several::Mean, resident),
            series(soak, "anonymous", Several::Mean, anonymous),
            series(soak, "line after the warm-up", Several::Mean, fitted),
        ],
    }
}

fn cpu_plot(soak: &Soak) -> Plot {
    let workers = soak.outcome.samples.iter().map(|sample| sample.workers.len()).max().unwrap_or_default();
    let of_worker = |worker: usize| {
        series(soak, &format!("shard {worker}"), Several::Mean, move |sample| {
            sample.workers.get(worker).map(|part| part * 100.0)
        })
    };
    let mut all: Vec<Series> = (0..workers.min(6)).map(of_worker).collect();
    all.push(series(soak, "acceptor, log", Several::Mean, |sample| Some(sample.others * 100.0)));
    all.push(series(soak, "all clients", Several::Mean, |sample| Some(sample.clients * 100.0)));
    Plot { title: "CPU", unit: "% of a core", note: String::new(), logarithmic: false, series: all }
}

fn causes_plot(soak: &Soak) -> Plot {
    let mut causes: Vec<(&String, &u64)> = soak.outcome.log.causes.iter().collect();
    causes.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let named: Vec<String> = causes.iter().take(CAUSES_MAX).map(|(cause, _)| (*cause).clone()).collect();
    // At the end all leave at once.
    let while_steady = |sample: &Sample, rate: f64| (sample.at <= soak.steady.to).then_some(rate);
    let of_cause = |cause: &String| {
        series(soak, cause, Several::Mean, |sample| {
            while_steady(sample, sample.causes.get(cause).copied().unwrap_or_default())
        })
    };
    let mut all: Vec<Series> = named.iter().map(of_cause).collect();
    if causes.len() > CAUSES_MAX {
        all.push(series(soak, "others", Several::Mean, |sample| {
            let others = sample.causes.iter().filter(|(cause, _)| !named.contains(cause));
            while_steady(sample, others.map(|(_, rate)| rate).sum())
        }));
    }
    let note = "By the server's log, without the end of the run.".to_owned();
    Plot { title: "Ends of connections", unit: "per second, by cause", note, logarithmic: false, series: all }
}

fn push_method(out: &mut String, soak: &Soak, plan: &Plan, about: &About) {
    let age = plan.mix.history_age.as_secs();
    let warm = plan.warm_up.as_secs();
    let (base, end) = (soak.outcome.base_memory, soak.outcome.end_memory);
    let mib = |bytes: u64| format!("{:.1} MiB", bytes as f64 / MEBIBYTE);
    let _ = writeln!(
        out,
        "<h2>How it came about</h2>\n<p><code>{}</code></p><p>Flags of the server: <code>{}</code></p>\n\
         <p>The server is the real binary with every worker; the clients are processes of their own on the same \
         machine, connected over the loopback from several addresses. Honest clients check of every message that \
         it is whole, that none before it is missing and none is there twice, that their publisher's order is \
         kept, and that others have the same message at the same offset; those that come back go on from their \
         position. At the end publishers stop, and everybody must have everything.</p>\n\
         <p>Memory is judged from {warm} s after everybody is in. Until messages are {age} s old \
         (<code>--history-age</code>) the rooms' windows fill and memory has to grow. Later it moves with how \
         many connections, windows and half-sent frames there are at once, and the allocator keeps what a burst \
         took: resident memory follows the highest of these so far, which rises ever more slowly. A slope over \
         {} minutes or more may be {SLOPE_PERCENT_PER_HOUR} % an hour or come to 256 KiB in all, which is the \
         size of the allocator's steps. Before anybody came the server had {} (anonymous {}), after everybody \
         had left {} (anonymous {}).</p>",
        escaped(&about.command),
        escaped(&about.flags),
        SLOPE_TIME_MIN.as_secs() / 60,
        mib(base.resident),
        mib(base.anonymous),
        mib(end.resident),
        mib(end.anonymous),
    );
}
