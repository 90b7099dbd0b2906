// Tests a fanfare server with the client of the npm package `ws`.
//
//     node node_ws.mjs ws://127.0.0.1:9001 [--room NAME]
//
// The last checks need a peer in the same room: start python_websockets.py at
// the same time, with the same --room (run.py does so). Exits 1 if a check fails.

import { strict as assert } from "node:assert";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { parseArgs } from "node:util";
import WebSocket from "ws";

const ME = "node";
const PEER = "python";
const CHECK_TIMEOUT = 20_000;
const ROOM_TIMEOUT = 60_000; // includes waiting for the peer to start

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { room: { type: "string", default: "clients" } },
});
if (positionals.length !== 1) {
  console.error("usage: node node_ws.mjs BASE_URL [--room NAME]");
  process.exit(2);
}
const base = positionals[0].replace(/\/+$/, "");

// What each side sends. python_websockets.py makes the same messages: change both.
// Every message but the empty ones begins with the sender's first letter.

function makeText(sender, number, size) {
  const unit = `${sender[0]}${String(number).padStart(4, "0")} `;
  return unit.repeat(Math.floor(size / unit.length) + 1).slice(0, size);
}

function makeBinary(sender, number, size) {
  const body = Buffer.alloc(size);
  for (let i = 0; i < size; i++) body[i] = (i * 7 + number) & 0xff;
  if (size) body[0] = sender.charCodeAt(0);
  return body;
}

// The messages of one side, in order. An array is sent in that many frames.
function plan(sender, withEmpty) {
  let number = 0;
  const messages = [];
  for (const size of [0, 1, 125, 126, 127, 65_535, 65_536, 200 * 1024]) {
    if (size === 0 && !withEmpty) continue;
    messages.push(makeText(sender, number, size), makeBinary(sender, number + 1, size));
    number += 2;
  }
  const greeting = `${sender[0]} Grüße, 世界, здравствуй, 👋🏽 \u2028\0 e\u0301`;
  messages.push(greeting, greeting.repeat(3000));
  messages.push([greeting, "äöü", "…", ""]);
  messages.push([makeBinary(sender, number, 70_000), Buffer.alloc(0), Buffer.from([0xff, 0x00, 0x80])]);
  for (let i = 0; i < 200; i++) messages.push(`${sender[0]} number ${i}`);
  return messages;
}

function whole(message) {
  if (!Array.isArray(message)) return message;
  return typeof message[0] === "string" ? message.join("") : Buffer.concat(message);
}

function describe(message) {
  return typeof message === "string"
    ? `text of ${Buffer.byteLength(message)} bytes ${JSON.stringify(message.slice(0, 24))}`
    : `binary of ${message.length} bytes ${message.subarray(0, 12).toString("hex")}`;
}

function same(left, right) {
  if (typeof left === "string" || typeof right === "string") return left === right;
  return left.equals(right);
}

function firstLetter(message) {
  return typeof message === "string" ? message.slice(0, 1) : message.subarray(0, 1).toString("latin1");
}

function compare(what, got, expected) {
  for (let i = 0; i < Math.min(got.length, expected.length); i++) {
    const text = `${what}: message ${i} is ${describe(got[i])}, not ${describe(expected[i])}`;
    assert.ok(same(got[i], expected[i]), text);
  }
  assert.equal(got.length, expected.length, `${what}: ${got.length} messages, not ${expected.length}`);
}

// One connection: its messages and its end, to be waited for one by one.
class Client {
  static all = new Set();

  static async open(path, options = {}) {
    const client = new Client(new WebSocket(base + path, options));
    await Promise.race([once(client.socket, "open"), client.failed]);
    return client;
  }

  static openRoom(room, query = "", options = {}) {
    return Client.open(`/rooms/${encodeURIComponent(room)}${query}`, options);
  }

  constructor(socket) {
    this.socket = socket;
    this.inbox = [];
    this.wake = () => {};
    this.end = null;
    this.failed = new Promise((_, reject) => socket.on("error", (error) => {
      this.error = error;
      reject(error);
    }));
    this.failed.catch(() => {});
    socket.on("message", (data, isBinary) => {
      this.inbox.push(isBinary ? data : data.toString());
      this.wake();
    });
    this.closed = new Promise((resolve) => socket.on("close", (code, reason) => {
      this.end = { code, reason: reason.toString() };
      resolve(this.end);
      this.wake();
    }));
    Client.all.add(this);
  }

  async next() {
    while (this.inbox.length === 0) {
      assert.equal(this.end, null, `closed early: ${this.end?.code} ${this.end?.reason}`);
      await new Promise((resolve) => { this.wake = resolve; });
    }
    return this.inbox.shift();
  }

  send(message) {
    if (!Array.isArray(message)) return this.socket.send(message);
    message.forEach((part, i) => this.socket.send(part, {
      binary: typeof part !== "string",
      fin: i === message.length - 1,
    }));
  }

  async close() {
    this.socket.close(1000, "bye");
    return this.closed;
  }
}

// Sends `messages` and returns what was received, once all has arrived.
// Both sides say in the room itself how far they are:
// hello, welcome   until both know that the other is a member
// done             all is sent
// bye              the answer to the other's done
// `last` names what must have been heard before the end.
async function exchange(client, messages, last) {
  const received = [];
  const heard = new Set();
  let talked = false;
  const say = (word) => client.send(JSON.stringify({ from: ME, say: word }));

  say("hello");
  while (!last.every((word) => heard.has(word))) {
    const message = await client.next();
    if (typeof message !== "string" || !message.startsWith("{")) {
      received.push(message);
      continue;
    }
    const control = JSON.parse(message);
    heard.add(`${control.from} ${control.say}`);
    if (control.from === ME) continue;
    if (control.say === "hello") say("welcome");
    if (control.say === "done") say("bye");
    if (!talked) {
      talked = true;
      for (const each of messages) client.send(each);
      say("done");
    }
  }
  return received;
}

const checks = [
  ["echo path", async () => {
    const client = await Client.open("/echo");
    for (const message of ["hello", Buffer.from([0, 255]), "", Buffer.alloc(0), "Grüße, 世界"]) {
      client.send(message);
      const answer = await client.next();
      assert.ok(same(answer, message), `${describe(message)} came back as ${describe(answer)}`);
    }
    await client.close();
  }],

  ["no subprotocol", async () => {
    const client = await Client.openRoom("node-subprotocol");
    assert.equal(client.socket.protocol, "");
    await client.close();
  }],

  ["ping pong", async () => {
    const client = await Client.openRoom("node-ping");
    for (const payload of ["", "fanfare", "x".repeat(125)]) {
      client.socket.ping(payload);
      const [answer] = await once(client.socket, "pong");
      assert.equal(answer.toString(), payload);
    }
    await client.close();
  }],

  ["clean close", async () => {
    const client = await Client.openRoom("node-close");
    // ws reports the code of the server's close frame, or 1006 if there was none.
    const { code, reason } = await client.close();
    assert.equal(code, 1000, `closed with ${code} ${reason}`);
    assert.equal(client.error, undefined);
  }],

  ["too big", async () => {
    // Random and not compressed: the size on the wire is the size of the message.
    const client = await Client.openRoom("node-big", "", { perMessageDeflate: false });
    client.send(randomBytes(2 * 1024 * 1024));
    const { code, reason } = await client.closed;
    assert.equal(code, 1009, `closed with ${code} ${reason} (${client.error?.message ?? "no error"})`);
  }],

  ["room", async () => {
    const client = await Client.openRoom(values.room);
    const received = await exchange(client, plan(ME, true), [`${PEER} done`, `${PEER} bye`]);
    const { code } = await client.close();
    assert.equal(code, 1000);
    const own = received.filter((message) => firstLetter(message) === ME[0]);
    assert.equal(own.length, 0, `got ${own.length} of its own messages`);
    compare("from the peer", received, plan(PEER, true).map(whole));
  }, ROOM_TIMEOUT],

  ["room with echo", async () => {
    const client = await Client.openRoom(`${values.room} echo`, "?echo=true");
    const last = [`${PEER} done`, `${PEER} bye`, `${ME} done`];
    const received = await exchange(client, plan(ME, false), last);
    const { code } = await client.close();
    assert.equal(code, 1000);
    for (const sender of [PEER, ME]) {
      const got = received.filter((message) => firstLetter(message) === sender[0]);
      compare(`from ${sender}`, got, plan(sender, false).map(whole));
    }
    assert.equal(received.length, plan(ME, false).length + plan(PEER, false).length);
  }, ROOM_TIMEOUT],
];

let passed = 0;
let failed = 0;
for (const [title, check, limit = CHECK_TIMEOUT] of checks) {
  let timer;
  const tooLate = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not done within ${limit / 1000} s`)), limit);
  });
  try {
    await Promise.race([check(), tooLate]);
    passed++;
    console.log(`PASS ${title}`);
  } catch (error) {
    failed++;
    console.log(`FAIL ${title}: ${error.message}`);
  } finally {
    clearTimeout(timer);
    for (const client of Client.all) client.socket.terminate();
    Client.all.clear();
  }
}
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed ? 1 : 0;
