//! The server API over real sockets: what its calls do to members of every door, and what they refuse.

#[path = "support/mod.rs"]
mod support;

use fanfare::Config;
use serde_json::{Value, json};

use support::door::request;
use support::{Frame, Raw, TestServer, config, remembering, text};

/// A client of the client protocol in JSON.
struct Sdk {
    raw: Raw,
    id: String,
    sent: u32,
}

impl Sdk {
    /// Connects by a name, if it has one.
    fn connect(server: &TestServer, name: Option<&str>) -> Sdk {
        let raw = Raw::open(server.address(), "/connection/websocket");
        let mut sdk = Sdk { raw, id: String::new(), sent: 0 };
        let reply = sdk.ask("connect", &json!({"data": {"name": name.unwrap_or_default()}}));
        sdk.id = reply["connect"]["client"].as_str().expect("a client id").to_owned();
        sdk
    }

    /// The same, subscribed to a channel.
    fn subscribed(server: &TestServer, name: Option<&str>, channel: &str) -> Sdk {
        let mut sdk = Sdk::connect(server, name);
        let reply = sdk.ask("subscribe", &json!({"channel": channel}));
        assert!(reply["subscribe"].is_object(), "{reply}");
        sdk
    }

    fn ask(&mut self, method: &str, parameters: &Value) -> Value {
        self.sent += 1;
        self.raw.send(&text(&json!({"id": self.sent, method: parameters}).to_string()));
        self.next()
    }

    fn next(&mut self) -> Value {
        let frame = self.raw.frame();
        assert_eq!(frame.first, 0x81, "{frame:?}");
        serde_json::from_slice(&frame.payload).expect("JSON")
    }

    fn subscribe_to_many(&mut self, channels: std::ops::Range<usize>) {
        for channel in channels {
            self.ask("subscribe", &json!({"channel": format!("many:{channel}")}));
        }
    }
}

/// A back end.
struct Api(Raw);

impl Api {
    fn of(server: &TestServer) -> Api {
        Api(Raw::connect(server.address()))
    }

    fn call(&mut self, method: &str, body: &Value) -> Value {
        self.0.ask_json(&format!("POST /api/{method}"), "", body.to_string().as_bytes()).1
    }

    #[track_caller]
    fn result(&mut self, method: &str, body: &Value) -> Value {
        let answer = self.call(method, body);
        assert!(answer["result"].is_object(), "{method} {body}: {answer}");
        answer["result"].clone()
    }

    #[track_caller]
    fn error(&mut self, method: &str, body: &Value, code: u32, says: &str) {
        let error = &self.call(method, body)["error"];
        assert_eq!(error["code"], code, "{method} {body}: {error}");
        assert!(error["message"].as_str().expect("a message").contains(says), "{error}");
    }
}

#[test]
fn what_is_published_reaches_every_door_as_it_was_written() {
    let server = TestServer::start(config());
    let (mut member, _) = Raw::join(server.address(), "/rooms/r");
    let mut sdk = Sdk::subscribed(&server, None, "r");
    let mut api = Api::of(&server);
    let body = br#"{"channel":"r", "data":{ "a" : 1.0 }}"#;
    let (_, answer) = api.0.ask_json("POST /api/publish", "", body);
    let epoch = answer["result"]["epoch"].as_str().expect("an epoch").to_owned();
    assert_eq!(answer, json!({"result": {"offset": 1, "epoch": epoch}}));
    assert_eq!(member.frame(), Frame::text(r#"{ "a" : 1.0 }"#));
    assert_eq!(sdk.next()["push"]["pub"], json!({"data": {"a": 1.0}, "offset": 1}));
    api.result("publish", &json!({"channel": "r", "b64data": "AP8="}));
    assert_eq!(member.frame(), Frame::binary(b"\0\xff"));
    let binary = json!({"data": "AP8=", "offset": 2, "tags": {"form": "base64"}});
    assert_eq!(sdk.next()["push"]["pub"], binary);
    let broadcast = json!({"channels": ["r", "", "other"], "data": "x"});
    let responses = &api.result("broadcast", &broadcast)["responses"];
    assert_eq!(responses[0]["result"], json!({"offset": 3, "epoch": epoch}));
    assert_eq!((&responses[1]["error"]["code"], &responses[2]["result"]["offset"]), (&json!(107), &json!(1)));
    assert_eq!(member.frame(), Frame::text(r#""x""#));
    assert_eq!(sdk.next()["push"]["pub"]["data"], "x");
    // A repeat is answered and does not enter again, in each room for itself.
    let keyed = json!({"channels": ["r", "other"], "data": 1, "idempotency_key": "k"});
    let first = api.result("broadcast", &keyed);
    assert_eq!(api.result("broadcast", &keyed), first);
    let single = api.result("publish", &json!({"channel": "r", "data": 2, "idempotency_key": "k"}));
    assert_eq!(single, first["responses"][0]["result"]);
    assert_eq!(member.frame(), Frame::text("1"));
    api.result("publish", &json!({"channel": "r", "data": "last"}));
    assert_eq!(member.frame(), Frame::text(r#""last""#));
}

#[test]
fn who_is_there_is_listed_and_counted() {
    let presence = ["counted=count", "off=off"].map(|rule| rule.parse().expect("a rule")).to_vec();
    let server = TestServer::start(Config { presence, presence_members: 2, ..config() });
    let ann = Sdk::subscribed(&server, Some("ann"), "r");
    let nobody = Sdk::subscribed(&server, None, "r");
    let mut api = Api::of(&server);
    let expected = json!({
        &ann.id: {"user": "ann", "client": ann.id},
        &nobody.id: {"user": "", "client": nobody.id},
    });
    let channel = |name: &str| json!({"channel": name});
    assert_eq!(api.result("presence", &channel("r")), json!({"presence": expected}));
    let stats = api.result("presence_stats", &channel("r"));
    assert_eq!(stats, json!({"num_clients": 2, "num_users": 2}));
    assert_eq!(api.result("presence", &channel("none")), json!({"presence": {}}));
    let third = Sdk::subscribed(&server, Some("ann"), "r");
    api.error("presence", &channel("r"), 106, "at most 2");
    let stats = api.result("presence_stats", &channel("r"));
    assert_eq!(stats, json!({"num_clients": 3, "num_users": 2}));
    let _members = ["counted", "off"].map(|name| Sdk::subscribed(&server, None, name));
    api.error("presence", &channel("counted"), 108, "--presence");
    assert_eq!(api.result("presence_stats", &channel("counted"))["num_clients"], 1);
    api.error("presence", &channel("off"), 108, "--presence");
    api.error("presence_stats", &channel("off"), 108, "--presence");
    drop(third);
}

#[test]
fn a_history_is_read_page_by_page_in_both_directions() {
    let server = TestServer::start(remembering(config()));
    let mut api = Api::of(&server);
    for number in 1..=5 {
        api.result("publish", &json!({"channel": "r", "data": number}));
    }
    let offsets = |answer: &Value| -> Vec<u64> {
        let publications = answer["publications"].as_array().expect("publications");
        publications.iter().map(|each| each["offset"].as_u64().expect("an offset")).collect()
    };
    let top = api.result("history", &json!({"channel": "r"}));
    let epoch = top["epoch"].clone();
    assert_eq!(top, json!({"offset": 5, "epoch": epoch, "publications": []}));
    for (query, expected) in [
        (json!({"limit": -1}), vec![1, 2, 3, 4, 5]),
        (json!({"limit": 2}), vec![1, 2]),
        (json!({"limit": 2, "reverse": true}), vec![5, 4]),
        (json!({"limit": 2, "since": {"offset": 2, "epoch": epoch}}), vec![3, 4]),
        (json!({"limit": 2, "since": {"offset": 4, "epoch": epoch}, "reverse": true}), vec![3, 2]),
        (json!({"limit": 9, "since": {"offset": 5, "epoch": epoch}}), vec![]),
        (json!({"limit": 9, "since": {"offset": 3}}), vec![4, 5]),
    ] {
        let mut body = query.clone();
        body["channel"] = json!("r");
        assert_eq!(offsets(&api.result("history", &body)), expected, "{query}");
    }
    let other = json!({"offset": 1, "epoch": "00000000000000ab"});
    for room in ["r", "none"] {
        let body = json!({"channel": room, "limit": 1, "since": other});
        api.error("history", &body, 112, "does not hold");
    }
    assert!(offsets(&api.result("history", &json!({"channel": "none", "limit": 1}))).is_empty());
    // Large ones come in several answers, none of them empty.
    for number in 0..6 {
        let data = format!("{number}{}", "x".repeat(100_000));
        api.result("publish", &json!({"channel": "large", "data": data}));
    }
    let (mut seen, mut since) = (Vec::new(), Value::Null);
    while seen.len() < 6 {
        let page = api.result("history", &json!({"channel": "large", "limit": -1, "since": since}));
        let page_offsets = offsets(&page);
        assert!((1..=3).contains(&page_offsets.len()), "{page_offsets:?}");
        seen.extend(page_offsets);
        since = json!({"offset": seen.last(), "epoch": page["epoch"]});
    }
    assert_eq!(seen, [1, 2, 3, 4, 5, 6]);
}

#[test]
fn channels_are_those_with_members_up_to_a_number() {
    let server = TestServer::start(Config { max_memberships: 2000, command_rate: 10_000, ..config() });
    let _news = Sdk::subscribed(&server, None, "news:1");
    let _others = ["news:2", "news:2", "chat"].map(|name| Sdk::subscribed(&server, None, name));
    let mut api = Api::of(&server);
    api.result("publish", &json!({"channel": "news:3", "data": 1}));
    let all = json!({"news:1": {"num_clients": 1}, "news:2": {"num_clients": 2}, "chat": {"num_clients": 1}});
    assert_eq!(api.result("channels", &json!({}))["channels"], all);
    let news = json!({"news:1": {"num_clients": 1}, "news:2": {"num_clients": 2}});
    assert_eq!(api.result("channels", &json!({"pattern": "news:*"}))["channels"], news);
    assert_eq!(api.result("channels", &json!({"pattern": "nothing*"}))["channels"], json!({}));
    let many = json!({"pattern": "many:*"});
    let mut member = Sdk::connect(&server, None);
    member.subscribe_to_many(0..999);
    let count = |answer: Value| answer["channels"].as_object().expect("channels").len();
    assert_eq!(count(api.result("channels", &many)), 999);
    member.subscribe_to_many(999..1000);
    assert_eq!(count(api.result("channels", &many)), 1000);
    member.subscribe_to_many(1000..1001);
    api.error("channels", &many, 106, "1000");
    let node = api.result("info", &json!({}))["nodes"][0].clone();
    assert_eq!((&node["num_clients"], &node["num_channels"]), (&json!(6), &json!(4 + 1001)), "{node}");
    assert_eq!((node["name"].as_str(), node["uid"].as_str().map(str::len)), (Some("fanfare"), Some(16)));
}

#[test]
fn a_user_is_disconnected_on_every_worker_but_for_whom_it_spares() {
    let server = TestServer::start(config());
    let mut anns: Vec<Sdk> = (0..4).map(|_| Sdk::connect(&server, Some("ann"))).collect();
    let mut others: Vec<Sdk> = [None, Some("bob")].map(|name| Sdk::connect(&server, name)).into();
    let mut api = Api::of(&server);
    others.push(anns.pop().expect("four"));
    let whitelist = json!([others[2].id]);
    let disconnect = json!({"code": 4321, "reason": "over"});
    api.result("disconnect", &json!({"user": "ann", "whitelist": whitelist, "disconnect": disconnect}));
    for ann in &mut anns {
        assert_eq!(ann.raw.expect_close(), (4321, "over".to_owned()));
    }
    for wrong in ["bob", "nobody"] {
        api.result("disconnect", &json!({"user": wrong, "client": others[2].id}));
    }
    for other in &mut others {
        assert!(other.ask("ping", &json!({}))["ping"].is_object());
    }
    let id = others[0].id.clone();
    api.result("disconnect", &json!({"user": "", "client": id}));
    assert_eq!(others[0].raw.expect_close(), (3503, "force disconnect".to_owned()));
    assert!(others[1].ask("ping", &json!({}))["ping"].is_object());
}

#[test]
fn a_user_is_unsubscribed_and_stays_connected_where_it_can_be_told() {
    let server = TestServer::start(config());
    let mut sdk = Sdk::subscribed(&server, Some("ann"), "r");
    let mut bob = Sdk::subscribed(&server, Some("bob"), "r");
    let (mut member, _) = Raw::join(server.address(), "/rooms/r?name=ann");
    let mut api = Api::of(&server);
    api.result("unsubscribe", &json!({"channel": "r", "user": "ann"}));
    let push = json!({"channel": "r", "unsubscribe": {"code": 2000, "reason": "server unsubscribe"}});
    assert_eq!(sdk.next()["push"], push);
    assert_eq!(member.expect_close().0, 1008);
    api.result("publish", &json!({"channel": "r", "data": 1}));
    assert_eq!(bob.next()["push"]["pub"]["data"], 1);
    assert!(sdk.ask("ping", &json!({}))["ping"].is_object(), "nothing came before");
}

#[test]
fn a_batch_is_carried_out_in_order() {
    let server = TestServer::start(config());
    let mut api = Api::of(&server);
    let batch = json!({"parallel": true, "commands": [
        {"publish": {"channel": "r", "data": 1}},
        {"history": {"channel": "r", "limit": 9}},
        {"publish": {"channel": "r", "data": 2}},
        {"refresh": {"user": "ann"}},
        {"presence_stats": {"channel": "r"}},
    ]});
    let replies = api.call("batch", &batch)["replies"].clone();
    assert_eq!(replies[0]["publish"]["offset"], 1);
    assert_eq!(replies[1]["history"]["publications"], json!([{"data": 1, "offset": 1}]));
    assert_eq!((&replies[2]["publish"]["offset"], &replies[3]["error"]["code"]), (&json!(2), &json!(104)));
    assert_eq!(replies[4], json!({"presence_stats": {"num_clients": 0, "num_users": 0}}));
    // What can be long is refused once there is enough.
    let data = "x".repeat(200_000);
    api.result("publish", &json!({"channel": "large", "data": data}));
    let command = json!({"history": {"channel": "large", "limit": 1}});
    let mut commands = vec![command; 20];
    commands.push(json!({"publish": {"channel": "r", "data": 3}}));
    let replies = api.call("batch", &json!({"commands": commands}))["replies"].clone();
    let refused = |reply: &Value| reply["error"]["code"] == 106;
    let first = replies.as_array().expect("replies").iter().position(refused).expect("a refusal");
    assert_eq!(first, (1 << 20) / 200_000 + 1);
    assert!(refused(&replies[19]) && replies[20]["publish"]["offset"] == 3);
}

#[test]
fn more_than_a_request_may_publish_is_refused_before_anything_is() {
    let server = TestServer::start(Config { mailbox_bytes: 1 << 20, ..config() });
    let mut api = Api::of(&server);
    let names = |count: usize| (0..count).map(|number| format!("r{number}")).collect::<Vec<_>>();
    let broadcast = |count, bytes: usize| json!({"channels": names(count), "data": "x".repeat(bytes)});
    api.error("broadcast", &broadcast(1001, 1), 106, "up to 1000");
    api.error("broadcast", &broadcast(100, 11_000), 106, "--mailbox-bytes");
    for commands in [
        json!([{"broadcast": broadcast(999, 1)}, {"broadcast": broadcast(2, 1)}]),
        json!([{"broadcast": broadcast(50, 11_000)}, {"broadcast": broadcast(50, 11_000)}]),
    ] {
        let body = json!({"commands": commands}).to_string();
        api.0.send(&request("POST /api/batch", "", body.as_bytes()));
        let (head, message) = api.0.refusal();
        assert_eq!(head.status, 413, "{message}");
    }
    assert_eq!(api.result("info", &json!({}))["nodes"][0]["num_channels"], 0);
    let responses = api.result("broadcast", &broadcast(100, 10_000))["responses"].clone();
    assert_eq!(responses.as_array().map(Vec::len), Some(100));
}

#[test]
fn paths_methods_and_bodies_that_are_none_are_refused_as_others() {
    let server = TestServer::start(config());
    let mut http = Raw::connect(server.address());
    for path in ["/api", "/api/", "/api/nothing", "/api/publish/", "/api/Publish"] {
        http.send(&request(&format!("POST {path}"), "", b"{}"));
        let (head, message) = http.refusal();
        assert_eq!(head.status, 404, "{path}");
        assert!(message.contains("/api/{method}"), "{message}");
        // Its body was not read.
        http = Raw::connect(server.address());
    }
    http.send(&request("GET /api/info", "", b""));
    let (head, _) = http.refusal();
    assert_eq!((head.status, head.header("allow")), (405, Some("POST, OPTIONS")));
    for (body, says) in [("", "{} is expected"), ("[]", "an object"), ("{\n\"a\":", "line 2 column")] {
        http.send(&request("POST /api/info", "", body.as_bytes()));
        let (head, body) = http.response();
        let refusal: Value = serde_json::from_str(&body).expect("JSON");
        assert_eq!((head.status, &refusal["error"]["code"]), (400, &json!(107)), "{body}");
        assert!(refusal["error"]["message"].as_str().is_some_and(|text| text.contains(says)), "{body}");
    }
    for (header, status) in [("Content-Encoding: gzip\r\n", 415), ("Idempotency-Key: a\r\n", 400)] {
        let mut http = Raw::connect(server.address());
        http.send(&request("POST /api/info", header, b"{}"));
        assert_eq!(http.refusal().0.status, status, "{header}");
    }
    Api(http).error("subscribe", &json!({"user": "a", "channel": "b"}), 104, "subscribe is not offered");
}

#[test]
fn a_page_of_another_origin_may_not_call() {
    let allow_origin = vec!["http://a".parse().expect("an origin")];
    let server = TestServer::start(Config { allow_origin, ..config() });
    let mut http = Raw::connect(server.address());
    let (head, _) = http.ask("POST /api/info", "Origin: http://a\r\n", b"{}");
    let allowed = head.header("access-control-allow-origin");
    assert_eq!((head.status, allowed), (200, Some("http://a")));
    let preflight = "Origin: http://a\r\nAccess-Control-Request-Method: POST\r\n";
    let (head, _) = http.ask("OPTIONS /api/info", preflight, b"");
    assert_eq!((head.status, head.header("access-control-allow-methods")), (204, Some("POST, OPTIONS")));
    assert!(head.has_token("access-control-allow-headers", "X-API-Key"));
    http.send(&request("POST /api/info", "Origin: http://evil\r\n", b"{}"));
    assert_eq!(http.refusal().0.status, 403);
}

#[test]
fn keys_are_those_of_the_http_door() {
    let file = std::env::temp_dir().join(format!("fanfare-api-keys-{}", std::process::id()));
    std::fs::write(&file, "first-key-of-16-bytes\n").expect("a file");
    let server = TestServer::start(Config { api_key_file: Some(file.clone()), ..config() });
    std::fs::remove_file(&file).expect("it is read");
    for (header, status) in [
        ("X-API-Key: first-key-of-16-bytes\r\n", 200),
        ("Authorization: apikey first-key-of-16-bytes\r\n", 200),
        ("Authorization: Bearer first-key-of-16-bytes\r\n", 200),
        ("", 401),
        ("X-API-Key: other-key-of-16-bytes\r\n", 401),
        ("X-API-Key: \r\n", 401),
        ("Authorization: Basic first-key-of-16-bytes\r\n", 401),
    ] {
        let mut http = Raw::connect(server.address());
        let (head, body) = http.ask("POST /api/info", header, b"{}");
        assert_eq!(head.status, status, "{header}{body}");
        assert!(status == 200 || body.contains("X-API-Key: KEY"), "{body}");
    }
    let public = Config { listen: vec!["0.0.0.0:0".parse().expect("an address")], ..config() };
    let server = TestServer::start(public);
    let mut http = Raw::connect(([127, 0, 0, 1], server.address().port()).into());
    http.send(&request("POST /api/info", "", b"{}"));
    let (head, message) = http.refusal();
    assert!(head.status == 403 && message.contains("--api-key-file"), "{message}");
}
