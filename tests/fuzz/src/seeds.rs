//! Where fuzzing begins: an input for each thing that the tests of the suite say, written by hand.

use fanfare::protocol::{Opcode, push_client_frame, push_server_frame};

/// The seeds of a target.
pub fn seeds(target: &str) -> Vec<Vec<u8>> {
    match target {
        "request_head" => heads(),
        "frames" => frames(),
        "reassembly" => payloads(),
        "commands_json" => json_commands(),
        "commands_protobuf" => protobuf_commands(),
        "http_requests" => http_requests(),
        "shard" => shards(),
        _ => Vec::new(),
    }
}

/// Cuts of one, seven and all bytes.
const CUTS: [[u8; 4]; 3] = [[0; 4], [6, 2, 0, 9], [255; 4]];

fn with_choices(first: u8, number: usize, rest: &[u8]) -> Vec<u8> {
    [&[first], &CUTS[number % CUTS.len()][..], rest].concat()
}

fn heads() -> Vec<Vec<u8>> {
    let upgrade = "Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n";
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let streams = [
        format!("GET /echo?a=b HTTP/1.1\r\nHost: a\r\n{upgrade}{key}Sec-WebSocket-Version: 13\r\n\r\n\u{1}"),
        format!(
            "GET /echo HTTP/1.1\r\nHost: a:1\r\n{upgrade}{key}Sec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Protocol: chat, b\r\nSec-WebSocket-Extensions: permessage-deflate; a=\"b,c\\\"\", x\r\n\r\n"
        ),
        format!("GET / HTTP/1.1\r\nHost: a\r\n{upgrade}{key}Sec-WebSocket-Version: 8\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nHost: a\r\n{upgrade}Sec-WebSocket-Version: 13\r\n\r\n"),
        "GET http://b/c?d HTTP/1.1\r\nhost: a\r\nExpect: 100-continue\r\n\r\nHEAD / HTTP/1.0\r\n\r\n".to_owned(),
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhelloGET / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n0A\r\n0123456789\r\n0\r\n\
         T: x\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
            .to_owned(),
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\nabc".to_owned(),
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n".to_owned(),
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n".to_owned(),
        format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n28\r\n{:40}\r\n15\r\n{:21}\r\n", 1, 2),
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n".to_owned(),
        "GET / HTTP/1.1\r\nHost: a\r\n folded: x\r\n\r\n".to_owned(),
        "GET / HTTP/1.1\nHost: a\n\n".to_owned(),
        "\u{16}\u{3}\u{1}".to_owned(),
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: ICDw9kOqvaVOIIk8/MtkVqpQ2h0=\r\nSec-WebSocket-Protocol: chat\r\n\r\n"
            .to_owned(),
    ];
    let seeds = streams.iter().enumerate();
    seeds.map(|(number, stream)| with_choices([2, 10, 0][number % 3], number, stream.as_bytes())).collect()
}

fn client(opcode: Opcode, fin: bool, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    push_client_frame(&mut out, opcode, fin, payload, [1, 2, 3, 4]);
    out
}

fn frames() -> Vec<Vec<u8>> {
    use Opcode::{Binary, Close, Continuation, Ping, Pong, Text};
    let fragmented = [
        client(Text, false, b"gr\xc3"),
        client(Ping, true, b"ping"),
        client(Continuation, false, b""),
        client(Continuation, true, b"\xbc\xc3\x9f"),
        client(Close, true, b"\x03\xe8bye"),
    ];
    let streams = [
        fragmented.concat(),
        [client(Binary, true, &[7; 126]), client(Pong, true, b"")].concat(),
        client(Binary, true, &[7; 300]),
        client(Text, true, b"\xed\xa0\x80"),
        client(Close, true, b""),
        client(Close, true, b"\x03\xed"),
        client(Close, true, b"\x03"),
        client(Close, true, b"\x0f\xa0\xff"),
        client(Continuation, true, b"x"),
        [client(Text, false, b"a"), client(Binary, true, b"b")].concat(),
        (0..7)
            .flat_map(|number| client(if number == 0 { Binary } else { Continuation }, false, b"x"))
            .collect(),
        b"\x82\xff\0\0\0\0\0\x01\0\0\x01\x02\x03\x04abc".to_vec(),
        b"\x82\xff\x80\0\0\0\0\0\0\0".to_vec(),
        b"\x82\xff\0\0\0\0\0\0\x01\0".to_vec(),
        b"\x82\xfe\0\x7d".to_vec(),
        b"\x89\xfe\0\x7e".to_vec(),
        b"\x09\x80\0\0\0\0".to_vec(),
        b"\xc1\x80\0\0\0\0".to_vec(),
        b"\x83\x80\0\0\0\0".to_vec(),
        b"\x81\x01a".to_vec(),
    ];
    let mut seeds: Vec<Vec<u8>> = Vec::new();
    for (number, stream) in streams.iter().enumerate() {
        let choices = [(number as u8 & 3) << 3 | 6, [9, 1, 0][number % 3]];
        seeds.push([&choices, &CUTS[number % 3][..], stream].concat());
    }
    for payload in [&b"text"[..], &[b'x'; 130], &[b'x'; 65_536 / 40]] {
        let mut stream = Vec::new();
        push_server_frame(&mut stream, Text, payload);
        push_server_frame(&mut stream, Close, b"\x03\xe9");
        seeds.push([&[7, 9], &CUTS[1][..], &stream].concat());
    }
    seeds
}

fn payloads() -> Vec<Vec<u8>> {
    let payloads: [&[u8]; 10] = [
        "grüß 𝄞 \u{ffff}".as_bytes(),
        b"",
        b"\xf0\x9d\x84",
        b"\xc0\x80",
        b"\xe0\x80\x80",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"\xf5",
        b"abc\x80",
        b"\x00\xff\xfe binary",
    ];
    let seeds = payloads.iter().enumerate();
    seeds
        .map(|(number, payload)| {
            let sizes = CUTS[number % 3];
            [&[number as u8 & 15, 1, 2, 3, 4], &sizes[..], &CUTS[(number + 1) % 3], payload].concat()
        })
        .collect()
}

fn json_commands() -> Vec<Vec<u8>> {
    let all = [
        "{\"id\":2,\"subscribe\":{\"channel\":\"r\",\"recover\":true,\"epoch\":\"1ea2974d6d805393\",\"offset\":1,\
         \"join_leave\":true,\"flag\":1}}",
        "{\"id\":3,\"publish\":{\"channel\":\"r\",\"data\":{\"a\":[1,2.50,null,\"\\u00fc\"]}}}",
        "{\"id\":3,\"publish\":{\"channel\":\"r\",\"data\":\"x\"}}\n{\"id\":4,\"history\":{\"channel\":\"r\",\
         \"limit\":-1,\"since\":{\"offset\":0,\"epoch\":\"\"},\"reverse\":true}}",
        "{\"id\":5,\"presence\":{\"channel\":\"r\"}}\n{\"id\":6,\"presence_stats\":{\"channel\":\"r\"}}\n",
        "{\"id\":7,\"subscribe\":{\"channel\":\"r\"}}\n{\"id\":8,\"unsubscribe\":{\"channel\":\"r\"}}",
        "{\"id\":9,\"ping\":{}}\0{\"id\":9,\"rpc\":{\"method\":\"x\",\"data\":{}}}\0{}",
        "{\"id\":9,\"send\":{\"data\":1}}",
        "{\"id\":1,\"refresh\":{}}\n{\"id\":2,\"sub_refresh\":{}}\n{\"id\":1,\"connect\":{}}",
        "{\"id\":1,\"connect\":{\"name\":\"js\",\"version\":\"1\",\"token\":\"\",\"data\":{\"name\":\"Ada\"}}}",
        "{\"id\":1,\"connect\":{\"token\":\"t\"}}",
        "{\"id\":2,\"publish\":{\"channel\":\"r\",\"data\":[[[[]]]],\"type\":1}}",
        "{\"id\":2,\"id\":3,\"ping\":{}}",
        "{\"id\":4294967296,\"ping\":{},\"unknown\":[1,{}]}",
        "[{\"id\":1}]",
    ];
    let seeds = all.iter().enumerate();
    seeds.map(|(number, text)| [&[if number > 6 { 3 } else { 1 }], text.as_bytes()].concat()).collect()
}

/// A field with these bytes.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    [&[number << 3 | 2, bytes.len() as u8], bytes].concat()
}

fn protobuf_commands() -> Vec<Vec<u8>> {
    let command = |id: u8, number: u8, request: &[u8]| {
        let command = [&[0x08, id], &field(number, request)[..]].concat();
        [&[command.len() as u8], &command[..]].concat()
    };
    let channel = field(1, b"r");
    let data = |bytes: &[u8]| [field(1, b"r"), field(2, bytes)].concat();
    let since = field(8, &[0x08, 1, 0x12, 1, b'e']);
    let all = [
        command(2, 5, &[&channel[..], &[0x18, 1, 0x38, 1, 0x58, 1, 0x70, 1]].concat()),
        [command(3, 7, &data(b"\xff\0")), command(4, 7, &data(b"{\"a\": 1}"))].concat(),
        command(5, 10, &[&channel[..], &[0x38, 5], &since, &[0x48, 1]].concat()),
        [command(6, 8, &channel), command(7, 9, &channel), command(8, 11, &[])].concat(),
        [command(9, 5, &channel), command(10, 6, &channel), vec![0]].concat(),
        command(1, 4, &[field(1, b""), field(2, b"{\"name\":\"Ada\"}"), field(4, b"js")].concat()),
        command(1, 4, &field(1, b"token")),
        [command(1, 13, &[]), command(2, 14, &[]), command(3, 15, &[]), command(4, 12, &[])].concat(),
        command(2, 5, &[0x0b, 0x0b, 0x0c, 0x0c]),
        vec![6, 0x08, 0x80, 0x80, 0x80, 0x80, 0x10],
    ];
    let seeds = all.iter().enumerate();
    seeds.map(|(number, frame)| [&[if number > 4 { 3 } else { 1 }, 255], &frame[..]].concat()).collect()
}

fn http_requests() -> Vec<Vec<u8>> {
    let get = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
    let post = |target: &str, headers: &str, body: &str| {
        format!("POST {target} HTTP/1.1\r\nHost: a\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len())
    };
    let streams = [
        [get("/healthz"), get("/"), get("/rooms/%C3%BC?limit=3"), get("/rooms?limit=2&after=a")].concat(),
        post("/rooms/a", "", "hello") + &get("/rooms/a?since=0000000000000000:0"),
        post("/rooms/a", "Content-Type: application/octet-stream\r\nIdempotency-Key: k\r\n", "\u{1}x"),
        post("/rooms", "Content-Type: application/json\r\n", "{\"rooms\":[\"a\",\"b\"],\"data\":{\"news\":true}}"),
        post("/rooms", "", "{\"rooms\":[\"a\"],\"base64\":\"AP8=\",\"exclude\":\"0-1\"}"),
        post("/rooms", "", "{\"rooms\":[\"a\"],\"text\":\"t\"}"),
        post("/api/publish", "X-API-Key: k\r\n", "{\"channel\":\"a\",\"data\":{\"a\":1},\"idempotency_key\":\"i\"}"),
        post("/api/broadcast", "", "{\"channels\":[\"a\",\"b\"],\"b64data\":\"AP8=\"}"),
        post("/api/history", "", "{\"channel\":\"a\",\"limit\":-1,\"since\":{\"offset\":1,\"epoch\":\"\"}}"),
        post("/api/channels", "", "{\"pattern\":\"a*\"}") + &post("/api/info", "", "{}"),
        post("/api/presence", "", "{\"channel\":\"a\"}") + &post("/api/presence_stats", "", "{\"channel\":\"a\"}"),
        post("/api/batch", "", "{\"commands\":[{\"publish\":{\"channel\":\"a\",\"data\":1}},{\"info\":{}}]}"),
        post("/api/disconnect", "", "{\"user\":\"Ada\",\"disconnect\":{\"code\":4000,\"reason\":\"x\"}}"),
        post("/api/unsubscribe", "", "{\"channel\":\"a\",\"user\":\"Ada\"}") + &post("/api/rpc", "", "{}"),
        "POST /rooms/a HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n\
         5\r\nhello\r\n0\r\n\r\nHEAD /rooms/a HTTP/1.1\r\nHost: a\r\n\r\n"
            .to_owned(),
        "OPTIONS /rooms/a HTTP/1.1\r\nHost: a\r\nOrigin: http://a\r\nAccess-Control-Request-Method: POST\r\n\r\n"
            .to_owned(),
        "GET /rooms/a/events?last=1 HTTP/1.1\r\nHost: a\r\nLast-Event-ID: 0000000000000001:2\r\n\r\n".to_owned(),
        "GET /rooms/a HTTP/1.0\r\n\r\n".to_owned(),
        "DELETE /rooms/a HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        "HEAD /rooms/a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nx".to_owned(),
        post("/rooms/a", "Content-Encoding: gzip\r\n", "x"),
    ];
    let seeds = streams.iter().enumerate();
    seeds.map(|(number, stream)| with_choices(number as u8 & 1, number, stream.as_bytes())).collect()
}

/// Steps of `shard`: what, operand, and the bytes that belong to it.
fn shards() -> Vec<Vec<u8>> {
    const OPEN: u8 = 0;
    const TEXT: u8 = 2;
    const ASK: u8 = 4;
    const SAY: u8 = 5;
    const TURN: u8 = 6;
    const SETTLE: u8 = 7;
    const ADVANCE: u8 = 8;
    const ROOM: u8 = 10;
    let members = [1, OPEN, 0, OPEN | 128, 1, OPEN, 5, OPEN | 128, 6, SETTLE, 0];
    let publish = [TEXT, 3, b'a', b'b', b'c', TEXT | 16, 2, b'd', b'e', TURN, 0, TURN, 1];
    let ask: Vec<u8> = (0..12).flat_map(|number| [OPEN, 7, ASK | 64, number, SETTLE, 0]).collect();
    let say: Vec<u8> = (0..10).flat_map(|number| [SAY | 32, number, TURN, 0]).collect();
    let slow = [ROOM, 0, TEXT | 16, 1, b'x', SETTLE, 0, ADVANCE, 255, ADVANCE, 255, SETTLE, 0];
    let ends = [12, 0, 13 | 16, 0, 14 | 32, 1, SETTLE, 0, 9, 0, 9, 0];
    let bytewise: Vec<u8> = (0..20).flat_map(|_| [TURN, 0]).collect();
    // Watchers of both framings, one of whom is told in a turn of its own.
    let told = [2, OPEN, 5, OPEN, 6, OPEN, 5, SETTLE, 0, SAY, 0, SAY, 2, 1 | 16, 11, 0x82, 0x85, 0, 0, 0, 0];
    let join = [4, 8, 1, 34, 0, 1 | 16, 16, 0x82, 0x8a, 0, 0, 0, 0, 9, 8, 2, 42, 5, 10, 1, b'a', 88, 1];
    let third = [SETTLE, 0, SAY | 32, 0, SAY | 32, 2, SETTLE, 0, SAY, 6, SETTLE, 0];
    let slow_reader: Vec<u8> = (0..9).flat_map(|at| [TEXT | 16, 1, b'0' + at, TURN, 1, TURN, 0]).collect();
    vec![
        [&members[..], &publish, &publish, &[SETTLE, 0]].concat(),
        [&members[..], &ask].concat(),
        [&members[..], &say, &publish, &[SETTLE, 0]].concat(),
        [&members[..], &publish, &slow].concat(),
        [&members[..], &publish, &ends].concat(),
        [&members[..], &publish, &[15, 10, SETTLE, 0, ADVANCE, 20]].concat(),
        [&members[..], &[11, 0, 11 | 16, 2, ROOM, 3], &publish, &bytewise, &[ROOM, 255, SETTLE, 0]].concat(),
        [&members[..], &[ROOM, 1], &slow_reader, &[ROOM, 255, SETTLE, 0]].concat(),
        [&told[..], &join, &third].concat(),
        [&[2, OPEN, 3, OPEN, 4, SETTLE, 0][..], &publish, &[1, 4, 0x81, 0x00, 0xff, 0xff, SETTLE, 0]]
            .concat(),
    ]
}
