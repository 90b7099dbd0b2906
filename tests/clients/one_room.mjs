// Tests that all kinds of members of a fanfare server see one room alike: a raw WebSocket, a stream of events, the
// npm package `centrifuge` over JSON and over Protobuf, and curl that reads the history; while publishers of each
// kind send messages of each kind.
//
//     node one_room.mjs http://127.0.0.1:9001
//
// The server must be a fresh one with a window for some MiB (--history-bytes). Exits 1 if a check fails.

import { strict as assert } from "node:assert";
import { execFile } from "node:child_process";
import { once } from "node:events";
import { parseArgs } from "node:util";
import { Centrifuge } from "centrifuge";
import { Centrifuge as ProtobufCentrifuge } from "centrifuge/build/protobuf";
import WebSocket from "ws";
import { asEventData, eventsOf, numbers, offsetOf, roomPath, run } from "./checking.mjs";
import { CHECK_TIMEOUT, Member, Signal, STEP_TIMEOUT } from "./sdk_member.mjs";

const EACH = 54; // messages of a publisher
const LARGE = 100 * 1024;
const UNICODE = "Grüße, 世界 👋🏽 \u2028 e\u0301";

const { positionals } = parseArgs({ allowPositionals: true });
if (positionals.length !== 1) {
  console.error("usage: node one_room.mjs BASE_URL");
  process.exit(2);
}
const base = positionals[0].replace(/\/+$/, "");
const common = { base, options: { websocket: WebSocket }, pack: (value) => value };
const json = { ...common, Centrifuge };
const protobuf = { ...common, Centrifuge: ProtobufCentrifuge, pack: (value) => Buffer.from(JSON.stringify(value)) };

// Message `n` of somebody: a Buffer, or text. All but the empty one begin with who it is from.
const KINDS = [
  (from, n) => JSON.stringify({ from, n }),
  (from, n) => JSON.stringify({ from, n, lines: [1, { two: "a\nb" }] }, null, 2),
  (from, n) => JSON.stringify({ from, n, text: UNICODE }, null, "\t").replaceAll("\n", "\r\n"),
  (from, n) => JSON.stringify(`${from} ${n}`),
  (from, n) => JSON.stringify({ from, n, text: "x".repeat(LARGE) }),
  (from, n) => `${from} ${n}: no JSON,\nof two lines`,
  (from, n) => `${from} ${n}: ${UNICODE}`,
  (from, n) => Buffer.concat([Buffer.from(`${from} ${n} `), Buffer.from(numbers(0, 255))]),
  (from, n) => `${from} ${n} ${"y".repeat(LARGE)}`,
  (from, n) => `{"from": "${from}", "n": ${n}} and more`,
  (from, n) => `${from} ${n} NaN`,
  () => "",
];

const plan = (from, kinds) => numbers(0, EACH - 1).map((n) => kinds[n % kinds.length](from, n));

// What this publisher can send: JSON as the SDK writes it; no empty message over the protocol.
const PLANS = {
  raw: plan("raw", KINDS),
  curl: plan("curl", KINDS),
  json: plan("json", [0, 3, 4].map((at) => KINDS[at])),
  protobuf: plan("protobuf", KINDS.slice(0, -1)),
};
const TOTAL = EACH * Object.keys(PLANS).length;

// Sends the plan of one publisher; its client id and name, if it has them.
const PUBLISHERS = {
  raw: async (room) => {
    const socket = new WebSocket(base.replace("http", "ws") + roomPath(room));
    const [[{ headers }]] = await Promise.all([once(socket, "upgrade"), once(socket, "open")]);
    for (const each of PLANS.raw) socket.send(each);
    socket.close();
    await once(socket, "close");
    return [headers["fanfare-client"], ""];
  },
  curl: async (room) => {
    for (const each of PLANS.curl) {
      const type = typeof each === "string" ? "text/plain" : "application/octet-stream";
      await curl(["--data-binary", "@-", "--header", `Content-Type: ${type}`, base + roomPath(room)], each);
    }
    return [null, null];
  },
  json: async (room) => {
    const seat = await (await Member.open(json, "json")).join(room);
    await Promise.all(PLANS.json.map((each) => seat.publish(JSON.parse(each))));
    return [seat.member.id, "json"];
  },
  protobuf: async (room) => {
    const seat = await (await Member.open(protobuf, "protobuf")).join(room);
    await Promise.all(PLANS.protobuf.map((each) => seat.sub.publish(Buffer.from(each))));
    return [seat.member.id, "protobuf"];
  },
};

// Runs curl with this on its standard input; its output.
function curl(args, input = "") {
  return new Promise((resolve, reject) => {
    const quietly = ["-q", "--noproxy", "*", "--silent", "--show-error", "--fail"];
    const limit = ["--max-time", `${STEP_TIMEOUT / 1000}`];
    const child = execFile("curl", [...quietly, ...limit, ...args], { maxBuffer: 2 ** 28 }, (error, output) =>
      error ? reject(error) : resolve(output));
    child.stdin.end(input);
  });
}

// What is the same for every member: [offset, "text" or "binary", the bytes in base64]; for a stream of events
// all line ends are LF, and for JSON it is the value.
const form = (offset, message) =>
  [offset, typeof message === "string" ? "text" : "binary", Buffer.from(message).toString("base64")];

const isJson = (text) => {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
};

// Members of each kind: reader(room, since, count) begins, at a position if there is one; `ready` is fulfilled when
// it is there and `all` with what it saw.
const READERS = {
  raw: (room, since, count) => {
    const query = since ? `&since=${encodeURIComponent(since)}` : "";
    const socket = new WebSocket(`${base.replace("http", "ws")}${roomPath(room)}?echo=true${query}`);
    const seen = [];
    const signal = new Signal();
    let offset;
    socket.on("upgrade", ({ headers }) => { offset = Number(headers["fanfare-from"]); });
    socket.on("message", (data, isBinary) => {
      seen.push(form(++offset, isBinary ? data : data.toString()));
      signal.changed();
    });
    const all = signal.until(() => seen.length >= count, `${count} raw messages`).then(() => seen);
    return { ready: once(socket, "open"), all: all.finally(() => socket.terminate()) };
  },
  events: (room, since, count) => {
    const seen = [];
    let begun;
    const ready = new Promise((resolve) => { begun = resolve; });
    const read = async () => {
      for await (const { event, id, data } of eventsOf(base, room, since)) {
        if (event === "position") begun();
        else seen.push(form(offsetOf(id), event === "binary" ? Buffer.from(data, "base64") : data));
        if (seen.length === count) return seen;
      }
      throw new Error(`the stream ended after ${seen.length} messages`);
    };
    return { ready, all: read() };
  },
  json: (room, since, count) => sdkReader(json, room, since, count, ({ offset, data, tags }) => {
    if (tags === undefined) return [offset, "value", data];
    assert.deepEqual(Object.keys(tags), ["form"]);
    return form(offset, tags.form === "base64" ? Buffer.from(data, "base64") : data);
  }),
  // All that this one gets is bytes; that they are text is known from the others.
  protobuf: (room, since, count) => sdkReader(protobuf, room, since, count, ({ offset, data }) =>
    [offset, Buffer.from(data).toString("base64")]),
};

function sdkReader(env, room, since, count, seen) {
  const [epoch, offset] = since?.split(":") ?? [];
  const seat = Member.open(env, "reader").then((member) =>
    member.join(room, since ? { since: { epoch, offset: Number(offset) } } : {}));
  const all = seat.then((seat) => seat.publication.take(count)).then((all) => all.map(seen));
  return { ready: seat, all };
}

// The history as curl reads it, page by page, and the position before its first message.
async function history(room) {
  const seen = [];
  let since = [];
  for (;;) {
    const page = JSON.parse(await curl(["--get", "--data", "limit=100", ...since, base + roomPath(room)]));
    for (const { offset, text, json, base64 } of page.publications) {
      if (json !== undefined) seen.push([offset, "value", json]);
      else seen.push(form(offset, text ?? Buffer.from(base64, "base64")));
    }
    if (!page.more) return { seen, begin: `${page.epoch}:0` };
    since = ["--data-urlencode", `since=${page.epoch}:${seen.at(-1)[0]}`];
  }
}

function same(got, expected, what) {
  const at = expected.findIndex((each, at) => JSON.stringify(each) !== JSON.stringify(got[at]));
  const show = (each) => JSON.stringify(each)?.slice(0, 200);
  assert.ok(at === -1, `${what}: message ${at} is ${show(got[at])}, not ${show(expected[at])}`);
  assert.equal(got.length, expected.length, `${what}: ${got.length} messages, not ${expected.length}`);
}

// What the other members have to have seen if the raw one saw this.
const text = ([, kind, bytes]) => (kind === "text" ? Buffer.from(bytes, "base64").toString() : undefined);
const EXPECTED = {
  raw: (each) => each,
  events: (each) => (each[1] === "text" ? form(each[0], asEventData(text(each))) : each),
  json: (each) => (isJson(text(each)) ? [each[0], "value", JSON.parse(text(each))] : each),
  protobuf: ([offset, , bytes]) => [offset, bytes],
};

// Who a message is from; nobody sends the empty one but those who can.
function sender(each) {
  const bytes = Buffer.from(each[2], "base64").subarray(0, 40).toString("latin1");
  return /raw|curl|json|protobuf/.exec(bytes)?.[0];
}

const room = "one room: käse & 世界";
let messages; // as the raw member saw them
let begin; // the position before the first
const senders = {}; // as the publishers say

const checks = [
  ["members of every kind see all messages alike", async () => {
    const readers = Object.entries(READERS).map(([kind, open]) => [kind, open(room, undefined, TOTAL)]);
    await Promise.all(readers.map(([, { ready }]) => ready));
    const publishing = Object.entries(PUBLISHERS).map(async ([from, publish]) => {
      senders[from] = await publish(room);
    });
    const reading = readers.map(async ([kind, { all }]) => [kind, await all]);
    await Promise.all([...publishing, ...reading]);
    const seen = Object.fromEntries(await Promise.all(reading));
    messages = seen.raw;
    assert.deepEqual(messages.map(([offset]) => offset), numbers(1, TOTAL), "offsets");
    for (const kind of Object.keys(READERS)) same(seen[kind], messages.map(EXPECTED[kind]), kind);
    const read = await history(room);
    same(read.seen, messages.map(EXPECTED.json), "the history by curl");
    begin = read.begin;
  }],

  ["each publisher's messages are there as it sent them, in its order", async () => {
    for (const [from, sent] of Object.entries(PLANS)) {
      const got = messages.filter((each) => sender(each) === from).map(([, ...each]) => each);
      same(got, sent.filter((each) => each.length > 0).map((each) => form(0, each).slice(1)), from);
    }
    const empty = Object.values(PLANS).flat().filter((each) => each.length === 0).length;
    assert.equal(messages.filter((each) => each[2] === "").length, empty, "empty messages");
  }],

  ["who comes later sees the same from the beginning", async () => {
    await Promise.all(Object.entries(READERS).map(async ([kind, open]) =>
      same(await open(room, begin, TOTAL).all, messages.map(EXPECTED[kind]), kind)));
  }],

  ["the protocol says who sent what", async () => {
    const seen = ({ offset, info }) => [offset, info?.client ?? null, info?.user ?? null];
    const { all } = sdkReader(json, room, begin, TOTAL, seen);
    const expected = messages.map((each) => [each[0], ...(senders[sender(each)] ?? [])]);
    // Two can have sent the empty one.
    same((await all).map((each, at) => (messages[at][2] === "" ? each.slice(0, 1) : each)), expected, "senders");
  }],
];

await run(checks, CHECK_TIMEOUT, async () => Member.closeAll());
