//! The results of a run, as people read them.

use std::fmt;

use super::report::{KEEPS_UP, LatencyUs, Report, Saturated, Server};
use super::tally::Stalled;

/// Shows the results as a table.
pub struct Table<'r>(pub &'r Report);

/// A number with its digits in groups of three.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// How many a second, with a decimal where there are few.
pub fn rate(per_second: f64) -> String {
    match per_second {
        0.0 => "0".to_owned(),
        ..9.95 => format!("{per_second:.1}"),
        _ => grouped(per_second.round() as u64),
    }
}

/// Microseconds, in the unit that suits them.
fn time(microseconds: f64) -> String {
    match microseconds {
        ..1000.0 => format!("{microseconds:.1} us"),
        ..1_000_000.0 => format!("{:.2} ms", microseconds / 1e3),
        _ => format!("{:.2} s", microseconds / 1e6),
    }
}

/// The latencies, and how many there are if some are lacking.
fn latency(latency: &LatencyUs, lacks_some: bool) -> String {
    let parts = [
        ("p50", latency.p50),
        ("p90", latency.p90),
        ("p99", latency.p99),
        ("p99.9", latency.p99_9),
        ("max", latency.max),
    ];
    let shown = parts.map(|(name, microseconds)| format!("{name} {}", time(microseconds))).join("  ");
    match lacks_some {
        true => format!("{shown}  (of the {} that came)", grouped(latency.count)),
        false => shown,
    }
}

fn bytes(bytes: f64) -> String {
    match bytes.abs() {
        ..10_240.0 => format!("{bytes:.0} bytes"),
        ..10_485_760.0 => format!("{:.1} KiB", bytes / 1024.0),
        _ => format!("{:.1} MiB", bytes / 1_048_576.0),
    }
}

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let report = self.0;
        self.headline(f)?;
        let row = |f: &mut fmt::Formatter<'_>, name: &str, text: &str| writeln!(f, "  {name:<11} {text}");
        let count = |count: u64, per_second: f64| format!("{} ({}/s)", grouped(count), rate(per_second));
        let latency = |shown: &LatencyUs| latency(shown, report.lacks_messages());
        match &report.storms_s {
            Some(storms) => {
                row(f, "handshakes", &count(report.messages, report.messages_per_s))?;
                let storms: Vec<String> = storms.iter().map(|seconds| time(seconds * 1e6)).collect();
                row(f, "all back", &storms.join("  "))?;
            }
            None if report.size_bytes.is_some() => {
                row(f, "messages", &count(report.messages, report.messages_per_s))?;
            }
            None => {}
        }
        if report.deliveries != report.messages {
            row(f, "deliveries", &count(report.deliveries, report.deliveries_per_s))?;
        }
        if let Some(stalled) = &report.stalled {
            if let Some(before) = &stalled.before_latency_us {
                row(f, "before", &latency(before))?;
            }
            let Stalled { members, cut, missed } = stalled.counts;
            let [members, cut, missed] = [members, cut, missed].map(grouped);
            row(
                f,
                "stalled",
                &format!("{members} members, {cut} cut by the server, {missed} messages left out"),
            )?;
        }
        if let Some(after) = &report.latency_us {
            row(f, "latency", &latency(after))?;
        }
        if let Some(ratio) = report.stalled.and_then(|stalled| stalled.p99_ratio) {
            row(f, "", &format!("p99 {ratio:.2} times that before"))?;
        }
        if report.pings > 0 {
            row(f, "pings", &format!("{} answered", grouped(report.pings)))?;
        }
        row(f, "errors", &self.errors())?;
        for (cause, count) in report.refused.iter().chain(&report.ended) {
            row(f, "", &format!("{} {cause}", grouped(*count)))?;
        }
        if let Some(server) = &report.server {
            row(
                f,
                "server",
                &of_server(server, if report.storms_s.is_some() { "handshake" } else { "message" }),
            )?;
        }
        if let Some(pid) = report.server_ended {
            row(
                f,
                "server",
                &format!("process {pid} (--pid) ended during the run: there are no figures of it"),
            )?;
        }
        let generator = report.generator;
        let threads = if generator.threads == 1 { "thread" } else { "threads" };
        row(f, "generator", &format!("{:.2} cores, {} {threads}", generator.cores, generator.threads))?;
        row(f, "saturated", self.saturated())
    }
}

impl Table<'_> {
    fn headline(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let report = self.0;
        write!(f, "{}: {} connections", report.scenario, grouped(u64::from(report.connections)))?;
        match report.publishers {
            0 => {}
            1 => write!(f, " and a publisher")?,
            several => write!(f, " and {} publishers", grouped(u64::from(several)))?,
        }
        if let Some(size) = report.size_bytes {
            write!(f, ", {} bytes", grouped(size as u64))?;
        }
        if let Some(in_flight) = report.in_flight {
            write!(f, ", {} in flight", grouped(u64::from(in_flight)))?;
        }
        if let Some(rate) = report.rate_per_s {
            write!(f, ", {rate}/s due")?;
        }
        write!(f, ", {:.1} s", report.duration_s)?;
        writeln!(f, "{}", if report.interrupted { " (interrupted)" } else { "" })
    }

    fn errors(&self) -> String {
        let errors = self.0.errors;
        let kinds = [
            (errors.lost, "lost"),
            (errors.duplicated, "duplicated"),
            (errors.reordered, "out of order"),
            (errors.wrong, "wrong"),
            (errors.closed, if errors.closed == 1 { "connection ended" } else { "connections ended" }),
            (errors.refused, if errors.refused == 1 { "connection refused" } else { "connections refused" }),
            (errors.unanswered, "unanswered on ended connections"),
            (self.0.unsent, "due and not sent"),
        ];
        let found: Vec<String> = kinds
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, kind)| format!("{} {kind}", grouped(*count)))
            .collect();
        match found.is_empty() {
            false => found.join(", "),
            true if self.0.checked => "none".to_owned(),
            true => "none (payloads not compared)".to_owned(),
        }
    }

    fn saturated(&self) -> &'static str {
        match self.0.saturated {
            Saturated::Server if self.0.done_of_due.is_some_and(|part| part < KEEPS_UP) => {
                "server: it does less than is due"
            }
            Saturated::Server => "server",
            Saturated::Generator => "generator: the server can do more than this",
            Saturated::Neither if self.0.server.is_some() => "neither",
            Saturated::Neither if self.0.server_ended.is_some() => "not the generator",
            Saturated::Neither => "not the generator; --pid shows the server",
        }
    }
}

/// Cores, with as many digits as an idle server needs.
fn cores(cores: f64) -> String {
    if cores < 0.095 { format!("{cores:.4} cores") } else { format!("{cores:.2} cores") }
}

fn of_server(server: &Server, unit: &str) -> String {
    let mut parts = Vec::new();
    if let (Some(cpu), Some(user), Some(system)) =
        (server.cpu_us_per_message, server.user_us_per_message, server.system_us_per_message)
    {
        parts.push(format!("{cpu:.2} us a {unit} ({user:.2} user, {system:.2} system)"));
    }
    parts.push(cores(server.cores));
    parts.push(format!("{} resident", bytes(server.rss_bytes as f64)));
    let each = server.rss_bytes_per_connection.map_or_else(|| "-".to_owned(), bytes);
    parts.push(format!("{each} a connection"));
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_did_not_grow_is_no_figure_of_a_connection() {
        let mut server = Server {
            cpu_us_per_message: None,
            user_us_per_message: None,
            system_us_per_message: None,
            cores: 0.0,
            busy: 0.0,
            rss_bytes: 2048,
            rss_bytes_per_connection: None,
        };
        assert_eq!(of_server(&server, "message"), "0.0000 cores, 2048 bytes resident, - a connection");
        server.rss_bytes_per_connection = Some(180.0);
        assert!(of_server(&server, "message").ends_with(", 180 bytes a connection"));
    }

    #[test]
    fn latencies_of_a_run_that_lacks_some_say_how_many_they_are_of() {
        let shown = LatencyUs { count: 1234, p50: 1.0, p90: 2.0, p99: 3.0, p99_9: 4.0, max: 5.0 };
        let all = "p50 1.0 us  p90 2.0 us  p99 3.0 us  p99.9 4.0 us  max 5.0 us";
        assert_eq!(latency(&shown, false), all);
        assert_eq!(latency(&shown, true), format!("{all}  (of the 1,234 that came)"));
    }

    #[test]
    fn rates_are_rounded_and_have_a_decimal_where_they_are_low() {
        for (per_second, expected) in [
            (0.0, "0"),
            (0.5, "0.5"),
            (5.0, "5.0"),
            (9.949, "9.9"),
            (9.95, "10"),
            (99.49, "99"),
            (99.95, "100"),
            (1234.5, "1,235"),
        ] {
            assert_eq!(rate(per_second), expected);
        }
    }

    #[test]
    fn numbers_are_grouped_and_have_their_units() {
        for (number, expected) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), expected);
        }
        assert_eq!(time(12.34), "12.3 us");
        assert_eq!(time(1234.5), "1.23 ms");
        assert_eq!(time(2_500_000.0), "2.50 s");
        assert_eq!(bytes(-5.0), "-5 bytes");
        assert_eq!(bytes(20_480.0), "20.0 KiB");
        assert_eq!(bytes(20_971_520.0), "20.0 MiB");
    }
}
