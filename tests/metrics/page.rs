//! A page of metrics, as a scraper reads it.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use fanfare::Config;
use fanfare::server::ListenAddress;

use crate::support::{Raw, TestServer, config};

/// A configuration with an admin listener.
pub fn with_admin() -> Config {
    Config { admin: vec!["127.0.0.1:0".parse().unwrap()], ..config() }
}

/// Where the admin listener of a server is.
pub fn admin(server: &TestServer) -> SocketAddr {
    match &server.admin_addresses()[0] {
        ListenAddress::Tcp(address) => *address,
        other => panic!("no TCP address: {other}"),
    }
}

/// The Content-Type and the text of the page, for a scraper that says that it accepts this.
pub fn scrape_as(server: &TestServer, accept: &str) -> (String, String) {
    let address = admin(server);
    let mut raw = Raw::connect(address);
    raw.send(format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\nAccept: {accept}\r\n\r\n").as_bytes());
    let (head, body) = raw.response();
    assert_eq!(head.status, 200, "{body}");
    (head.header("content-type").expect("a type").to_owned(), body)
}

pub fn scrape(server: &TestServer) -> Page {
    Page::parse(&scrape_as(server, "*/*").1)
}

/// A page, sample by sample.
#[derive(Debug, Default)]
pub struct Page {
    /// The type of each family, in the page's order.
    pub families: Vec<(String, String)>,
    pub helps: BTreeMap<String, String>,
    /// Values by name and labels, as `name{label="value"}`.
    pub samples: BTreeMap<String, f64>,
}

impl Page {
    pub fn parse(text: &str) -> Page {
        let mut page = Page::default();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').expect("a help text");
                assert!(page.helps.insert(name.to_owned(), help.to_owned()).is_none(), "{name} twice");
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect("a type");
                page.families.push((name.to_owned(), kind.to_owned()));
            } else if !line.starts_with('#') {
                let (name, value) = line.rsplit_once(' ').expect("a sample");
                let value = value.parse().unwrap_or_else(|_| panic!("{line}"));
                assert!(page.samples.insert(name.to_owned(), value).is_none(), "{name} twice");
            }
        }
        page
    }

    /// The sample of this name and these labels, without `fanfare_`.
    #[track_caller]
    pub fn get(&self, sample: &str) -> u64 {
        let name = format!("fanfare_{sample}");
        let value = self.samples.get(&name).unwrap_or_else(|| panic!("there is no {name}"));
        assert_eq!(value.fract(), 0.0, "{name} is a whole number");
        *value as u64
    }

    /// The sum of all samples of this name, whatever their labels.
    pub fn sum(&self, name: &str) -> u64 {
        let all = format!("fanfare_{name}");
        let of_name = self.samples.iter().filter(|(sample, _)| {
            sample.as_str() == all || sample.strip_prefix(&all).is_some_and(|rest| rest.starts_with('{'))
        });
        of_name.map(|(_, value)| *value as u64).sum()
    }
}
