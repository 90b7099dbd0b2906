//! What clients count is what the page says.

use fanfare::Config;
use fanfare::server::ADMIN_CONNECTIONS_MAX;

use crate::client::{Client, Count};
use crate::page::{Page, scrape, with_admin};
use crate::support::TestServer;

/// Scrapes until what the kernel brings late has come.
fn scrape_until(server: &TestServer, reached: impl Fn(&Page) -> bool) -> Page {
    for _ in 0..10_000 {
        let page = scrape(server);
        if reached(&page) {
            return page;
        }
    }
    panic!("it is never reached: {:#?}", scrape(server).samples);
}

/// Members, publications, echoes, streams and refusals; what came of it all.
struct Session {
    /// What the clients that are gone have counted.
    gone: Count,
    members: Vec<Client>,
    reader: Client,
    asker: Client,
}

const ECHOES: u64 = 5;
const PUBLISHED_BY_A_MEMBER: u64 = 7;
const PUBLISHED_OVER_HTTP: u64 = 2;
const PUBLISHED: u64 = PUBLISHED_BY_A_MEMBER + PUBLISHED_OVER_HTTP;

impl Session {
    fn run(server: &TestServer) -> Session {
        let address = server.address();
        let mut gone = Count::default();
        for _ in 0..3 {
            let mut client = Client::open(address, "/echo");
            for size in 0..ECHOES {
                client.send_text(&vec![b'e'; size as usize * 31]);
            }
            client.read_messages(ECHOES);
            gone.add(client.close());
        }
        let mut refused = Client::connect(address);
        refused.send(crate::support::upgrade_request("/nowhere").as_bytes());
        refused.response();
        gone.add(refused.count);
        drop(refused);

        // One of the four gets what it says itself, and one says something and does not get it.
        let mut members: Vec<Client> = (0..3).map(|_| Client::open(address, "/rooms/busy")).collect();
        members.push(Client::open(address, "/rooms/busy?echo=true"));
        let mut reader = Client::connect(address);
        reader.send(b"GET /rooms/busy/events HTTP/1.1\r\nHost: localhost\r\n\r\n");
        reader.head();
        for _ in 0..PUBLISHED_BY_A_MEMBER {
            members[3].send_text(b"to everybody");
        }
        for member in &mut members {
            member.read_messages(PUBLISHED_BY_A_MEMBER);
        }
        let mut asker = Client::connect(address);
        for _ in 0..PUBLISHED_OVER_HTTP {
            asker.send(b"POST /rooms/busy HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nhi");
            assert!(asker.response().starts_with("http/1.1 200 "));
        }
        for member in &mut members {
            member.read_messages(PUBLISHED_OVER_HTTP);
        }
        reader.read_events(PUBLISHED);
        members[0].send_text(b"not to myself");
        for member in &mut members[1..] {
            member.read_messages(1);
        }
        reader.read_events(1);
        Session { gone, members, reader, asker }
    }

    fn count(&self) -> Count {
        let mut all = self.gone;
        for client in self.members.iter().chain([&self.reader, &self.asker]) {
            all.add(client.count);
        }
        all
    }
}

#[test]
fn the_page_agrees_with_what_clients_have_counted_number_for_number() {
    let server = TestServer::start(with_admin());
    let session = Session::run(&server);
    let page = scrape_until(&server, |page| page.get("connections{state=\"closing\"}") == 0);
    let counted = session.count();
    for (name, expected) in [
        ("received_messages_total", counted.messages_out),
        ("sent_messages_total", counted.messages_in),
        ("received_bytes_total", counted.bytes_out),
        ("sent_bytes_total", counted.bytes_in),
        ("publications_total", PUBLISHED + 1),
        ("deliveries_total", 5 * PUBLISHED + 4),
        ("members", 5),
        ("rooms", 1),
        ("accepts_total", 3 + 1 + 4 + 1 + 1),
        ("opens_total", 3 + 4 + 1),
        ("http_requests_total", 3 + 1 + 4 + 1 + 2),
        ("connections{state=\"handshaking\"}", 0),
        ("connections{state=\"http\"}", 1),
        ("connections{state=\"websocket\"}", 4),
        ("connections{state=\"events\"}", 1),
        ("closes_total{cause=\"peer_closed\"}", 3),
        ("closes_total{cause=\"refused\"}", 1),
        ("refusals_total{cause=\"refused\"}", 1),
        ("refusals_total{cause=\"server_full\"}", 0),
        ("waiting_connections", 0),
        ("queue_bytes", 0),
        ("answer_bytes", 0),
        ("mailbox_depth", 0),
        ("mailbox_bytes", 0),
        ("skipped_messages_total", 0),
        ("stopping", 0),
    ] {
        assert_eq!(page.get(name), expected, "{name}");
    }
    assert_eq!(page.sum("closes_total"), 4);
    assert_eq!(page.sum("slow_consumers_total"), 0);
    assert!(page.get("history_bytes") > 0 && page.get("turns_total") > 0);
    // Of each publication once for each shard with members, of whom both have some.
    assert_eq!(page.get("flush_latency_seconds_count"), 2 * (PUBLISHED + 1));
    assert!(page.get("lag_messages_count") > 0);
    drop(session);
    let page = scrape_until(&server, |page| page.sum("connections") == 0);
    assert_eq!((page.get("members"), page.sum("closes_total")), (0, 3 + 1 + 4 + 1 + 1));
}

#[test]
fn what_the_shards_count_adds_up_to_the_total() {
    let server = TestServer::start(with_admin());
    let _session = Session::run(&server);
    let page = scrape_until(&server, |page| page.get("connections{state=\"closing\"}") == 0);
    for name in [
        "accepts_total",
        "opens_total",
        "http_requests_total",
        "received_messages_total",
        "sent_messages_total",
        "received_bytes_total",
        "sent_bytes_total",
        "publications_total",
        "deliveries_total",
        "members",
        "connections",
        "closes_total",
        "refusals_total",
        "flush_latency_seconds_count",
        "lag_messages_count",
        "lag_messages_sum",
    ] {
        assert_eq!(page.sum(&format!("shard_{name}")), page.sum(name), "{name}");
        let each: Vec<u64> = (0..2)
            .map(|shard| {
                let label = format!("shard=\"{shard}\"");
                let of_shard = page.samples.iter().filter(|(sample, _)| {
                    sample.starts_with(&format!("fanfare_shard_{name}{{")) && sample.contains(&label)
                });
                of_shard.map(|(_, value)| *value as u64).sum()
            })
            .collect();
        assert!(
            name == "publications_total" || name == "refusals_total" || each.iter().all(|value| *value > 0),
            "{name}: {each:?}"
        );
    }
}

#[test]
fn refusals_of_the_acceptor_count_and_the_admin_listener_itself_does_not() {
    let server = TestServer::start(Config { max_connections: Some(2), ..with_admin() });
    let held: Vec<Client> = (0..2).map(|_| Client::open(server.address(), "/echo")).collect();
    for _ in 0..3 {
        let mut refused = Client::connect(server.address());
        assert!(refused.response().starts_with("http/1.1 503 "));
    }
    let page = scrape_until(&server, |page| page.sum("connections") == 2);
    assert_eq!(page.get("refusals_total{cause=\"server_full\"}"), 3);
    assert_eq!(page.get("closes_total{cause=\"server_full\"}"), 3);
    assert_eq!((page.get("connections_limit"), page.get("opens_total")), (2, 2));
    assert_eq!(page.sum("connections"), 2, "of {ADMIN_CONNECTIONS_MAX} others none");
    drop(held);
}

#[test]
fn the_limit_on_the_page_is_the_one_that_holds_now() {
    let config = Config { max_connections: Some(7), ..with_admin() };
    let server = TestServer::start(config.clone());
    assert_eq!(scrape(&server).get("connections_limit"), 7);
    server.handle().reload(Config { max_connections: Some(8), ..config }).expect("it can be reloaded");
    assert_eq!(scrape(&server).get("connections_limit"), 8);
}
