//! The page is well formed, in both formats.

use std::collections::BTreeSet;

use crate::client::Client;
use crate::page::{Page, scrape, scrape_as, with_admin};
use crate::support::TestServer;

#[test]
fn every_family_has_a_help_a_type_and_samples_and_says_its_unit() {
    let server = TestServer::start(with_admin());
    let page = scrape(&server);
    for (name, kind) in &page.families {
        let help = page.helps.get(name).unwrap_or_else(|| panic!("{name} has no help"));
        assert!(help.ends_with('.') && help.len() > 10, "{name}: {help}");
        let sample = match kind.as_str() {
            "histogram" => format!("{name}_count"),
            "counter" => {
                assert!(name.ends_with("_total"), "{name}");
                name.clone()
            }
            "gauge" => {
                assert!(!name.ends_with("_total"), "{name}");
                name.clone()
            }
            other => panic!("{name}: {other}"),
        };
        let found = page.samples.keys().any(|key| key.split('{').next() == Some(sample.as_str()));
        assert!(found, "{name} has no sample");
        let bytes = ["of memory", "Memory ", "Bytes ", "memory "].iter().any(|word| help.contains(word));
        assert!(!bytes || name.contains("_bytes"), "{name}: {help}");
    }
    assert!(page.families.len() > 60, "{} families", page.families.len());
}

#[test]
fn buckets_are_cumulative_and_end_with_the_count() {
    let server = TestServer::start(with_admin());
    let mut client = Client::open(server.address(), "/rooms/r?echo=true");
    for _ in 0..100 {
        client.send_text(b"once more");
        client.read_messages(1);
    }
    let text = scrape_as(&server, "*/*").1;
    let page = Page::parse(&text);
    for name in ["turn_duration_seconds", "flush_latency_seconds", "lag_messages"] {
        let start = format!("fanfare_{name}_bucket{{le=");
        let buckets: Vec<u64> = text
            .lines()
            .filter(|line| line.starts_with(&start))
            .map(|line| line.rsplit_once(' ').unwrap().1.parse().unwrap())
            .collect();
        assert!(buckets.len() > 10 && buckets.is_sorted(), "{name}: {buckets:?}");
        let count = page.get(&format!("{name}_count"));
        assert!(count >= 100 && buckets.last() == Some(&count), "{name}: {buckets:?} {count}");
    }
    assert_eq!(page.get("flush_latency_seconds_count"), 100);
    assert_eq!(page.get("lag_messages_bucket{le=\"1\"}"), 100, "everybody is in step");
}

/// The names and labels of all samples. The formats write bounds of buckets in different ways and places.
fn names(text: &str) -> BTreeSet<(String, Vec<String>)> {
    let uniform = |label: &str| match label.strip_prefix("le=") {
        Some(bound) => format!("le={}", bound.trim_matches('"').parse::<f64>().expect("a bound")),
        None => label.to_owned(),
    };
    let parts = |sample: &String| {
        let (name, labels) = sample.trim_end_matches('}').split_once('{').unwrap_or((sample, ""));
        let mut labels: Vec<String> = labels.split(',').map(uniform).collect();
        labels.sort();
        (name.to_owned(), labels)
    };
    Page::parse(text).samples.keys().map(parts).collect()
}

#[test]
fn a_scraper_that_asks_for_open_metrics_gets_it_with_the_same_samples() {
    let server = TestServer::start(with_admin());
    let (plain_type, plain) = scrape_as(&server, "text/plain");
    assert_eq!(plain_type, "text/plain; version=0.0.4; charset=utf-8");
    let accept = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3";
    let (open_type, open) = scrape_as(&server, accept);
    assert_eq!(open_type, "application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert!(open.ends_with("# EOF\n") && !plain.contains("# EOF"));
    assert!(open.contains("# UNIT fanfare_sent_bytes bytes\n"));
    assert_eq!(names(&plain), names(&open));
}

#[test]
fn the_process_is_described_under_the_names_that_all_have() {
    let server = TestServer::start(with_admin());
    let page = scrape(&server);
    let value = |name: &str| page.samples.get(name).copied();
    assert!(value("process_start_time_seconds").unwrap() > 1e9);
    assert!(value("process_max_fds").unwrap() > 0.0);
    if cfg!(target_os = "linux") {
        assert!(value("process_resident_memory_bytes").unwrap() > 1e6);
        assert_eq!(value("fanfare_memory_per_connection_bytes"), Some(0.0), "nobody is there");
        // Both ends of each are in this process, however many other tests have open beside.
        let _held: Vec<Client> = (0..500).map(|_| Client::open(server.address(), "/echo")).collect();
        let page = scrape(&server);
        assert!(page.samples["process_open_fds"] > 1000.0);
        assert!(page.samples["process_open_fds"] < page.samples["process_max_fds"]);
    }
}
