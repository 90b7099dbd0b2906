//! A shard that hangs is seen on the page, which comes all the same.

use std::sync::{Mutex, mpsc};

use fanfare::ServerBuilder;
use fanfare::endpoint::http::Answer;

use crate::page::{scrape, with_admin};
use crate::support::{Raw, TestServer};

#[test]
fn a_shard_that_hangs_is_told_from_one_that_idles() {
    let (stuck, hears) = mpsc::channel();
    let (go_on, waits) = mpsc::channel::<()>();
    let waits = Mutex::new(waits);
    let builder = ServerBuilder::standard(with_admin()).dynamic_resource("/stuck", move |_| {
        stuck.send(()).expect("the test waits for it");
        waits.lock().expect("nobody has panicked").recv().expect("the test lets it go on");
        Ok(Answer::new("text/plain", b"free\n".into()))
    });
    let server = TestServer::build(builder);
    // Connections are dealt out in turn: the first shard gets this one.
    let mut raw = Raw::connect(server.address());
    raw.send(b"GET /stuck HTTP/1.1\r\nHost: a\r\n\r\n");
    hears.recv().expect("it is asked for");
    let page = scrape(&server);
    let since =
        |shard: usize| page.samples[&format!("fanfare_shard_since_turn_seconds{{shard=\"{shard}\"}}")];
    // The page has waited for it as long as it waits for anybody.
    assert!(since(0) >= 0.2, "{} s", since(0));
    assert!(since(1) < since(0), "{} s", since(1));
    assert!(page.samples["fanfare_since_turn_seconds"] >= 0.2);
    assert_eq!(page.get("shard_mailbox_depth{shard=\"0\"}"), 1, "the question itself");
    assert_eq!(page.get("shard_mailbox_depth{shard=\"1\"}"), 0);
    go_on.send(()).expect("it waits");
    assert_eq!(raw.response().1, "free\n");
    let page = scrape(&server);
    assert_eq!(page.get("mailbox_depth"), 0);
}
