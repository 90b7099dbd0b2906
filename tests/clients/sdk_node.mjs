// Tests a fanfare server with the npm package `centrifuge` in Node, over JSON and over Protobuf, and with commands
// made by hand that the package never sends.
//
//     node sdk_node.mjs http://127.0.0.1:9001
//
// The server must be a fresh one, with rooms that nobody used. Exits 1 if a check fails.

import { strict as assert } from "node:assert";
import { randomInt } from "node:crypto";
import { once } from "node:events";
import { parseArgs } from "node:util";
import { Centrifuge } from "centrifuge";
import { Centrifuge as ProtobufCentrifuge } from "centrifuge/build/protobuf";
import WebSocket from "ws";
import { run } from "./checking.mjs";
import { checksOf } from "./sdk_checks.mjs";
import { CHECK_TIMEOUT, Member, Signal, socketUrl } from "./sdk_member.mjs";
import { openProxy } from "./sdk_proxy.mjs";

const { positionals } = parseArgs({ allowPositionals: true });
if (positionals.length !== 1) {
  console.error("usage: node sdk_node.mjs BASE_URL");
  process.exit(2);
}
const base = positionals[0].replace(/\/+$/, "");

const toJson = {
  Centrifuge,
  pack: (value) => value,
  unpack: (value) => value,
};
const toProtobuf = {
  Centrifuge: ProtobufCentrifuge,
  pack: (value) => new TextEncoder().encode(JSON.stringify(value)),
  unpack: (bytes) => JSON.parse(new TextDecoder().decode(bytes)),
};
const environments = Object.entries({ json: toJson, protobuf: toProtobuf }).map(([room, codec]) => ({
  base, room, ...codec, options: { websocket: WebSocket }, openProxy: (...rest) => openProxy(base, ...rest),
}));

// A connection over which commands are sent that are written here.
class Bare {
  static all = new Set();

  static async open() {
    const bare = new Bare(new WebSocket(socketUrl(base)));
    await once(bare.socket, "open");
    return bare;
  }

  static async connected() {
    const bare = await Bare.open();
    bare.send({ id: 1, connect: {} });
    const [reply] = await bare.replies(1);
    assert.ok(reply.connect.client, "the connect reply");
    return bare;
  }

  constructor(socket) {
    Bare.all.add(socket);
    this.socket = socket;
    this.lines = [];
    this.signal = new Signal();
    socket.on("message", (data) => {
      this.lines.push(...data.toString().trim().split("\n").map((line) => JSON.parse(line)));
      this.signal.changed();
    });
    socket.on("close", (code, reason) => {
      this.end = { code, reason: reason.toString() };
      this.signal.changed();
    });
  }

  // In one frame.
  send(...commands) {
    this.socket.send(commands.map((command) => JSON.stringify(command)).join("\n"));
  }

  async replies(count) {
    const isReply = (line) => line.id !== undefined;
    await this.signal.until(() => this.lines.filter(isReply).length >= count, `${count} replies`);
    const replies = this.lines.filter(isReply).slice(0, count);
    this.lines = this.lines.filter((line) => !replies.includes(line));
    return replies;
  }

  // Answers the next ping.
  async pong() {
    const isPing = (line) => Object.keys(line).length === 0;
    await this.signal.until(() => this.lines.some(isPing), "ping");
    this.lines.splice(this.lines.findIndex(isPing), 1);
    this.send({});
  }

  async closed() {
    await this.signal.until(() => this.end, "close");
    assert.ok(this.end.reason.length > 0, "a reason"); // without it the SDK comes back from a code of 3500 too
    return this.end.code;
  }
}

const codeOf = (reply) => [reply.id, reply.error?.code];

const byHand = [
  ["subscribing twice", async () => {
    const bare = await Bare.connected();
    const subscribe = { channel: "by hand twice" };
    bare.send({ id: 2, subscribe }, { id: 3, subscribe }, { id: 4, unsubscribe: subscribe }, { id: 5, subscribe });
    const replies = await bare.replies(4);
    assert.deepEqual(replies.map(codeOf), [[2, undefined], [3, 105], [4, undefined], [5, undefined]]);
  }],

  ["a batch of what is refused and what is not", async () => {
    const bare = await Bare.connected();
    const room = { channel: "by hand mixed" };
    bare.send(
      { id: 2, subscribe: room }, { id: 3, rpc: { method: "x" } }, { id: 4, publish: { ...room, data: 1 } },
      { id: 5, presence: { channel: "" } }, { id: 6, presence: room }, { id: 7, unsubscribe: room },
      { id: 8, publish: { ...room, data: 2 } }, { id: 9, ping: {} }, { id: 10, history: room },
    );
    const replies = await bare.replies(9);
    assert.deepEqual(replies.map(codeOf), [
      [2, undefined], [3, 108], [4, undefined], [5, 107], [6, undefined], [7, undefined], [8, 103], [9, undefined],
      [10, undefined],
    ]);
    assert.equal(Object.keys(replies[4].presence.presence).length, 1, "who is there, asked before leaving");
    assert.equal(replies[8].history.offset, 1, "offset, asked behind publishing");
  }],

  ["unsubscribing from where one is not", async () => {
    const bare = await Bare.connected();
    bare.send({ id: 2, unsubscribe: { channel: "by hand never" } });
    assert.deepEqual(await bare.replies(1), [{ id: 2, unsubscribe: {} }]);
  }],

  ["answering pings", async () => {
    const bare = await Bare.connected();
    for (let n = 0; n < 3; n++) await bare.pong();
    bare.send({ id: 2, ping: {} });
    assert.deepEqual(await bare.replies(1), [{ id: 2, ping: {} }]);
  }],

  ["members of commands that nobody knows", async () => {
    const bare = await Bare.open();
    bare.send({ id: 1, connect: { later: { list: [1] } }, new: true });
    bare.send({ id: 2, history: { channel: "by hand later", limit: 1, filter: "x" } });
    assert.deepEqual((await bare.replies(2)).map(codeOf), [[1, undefined], [2, undefined]]);
  }],

  ["what ends the connection for good", async () => {
    const cases = {
      "a second connect": [{ id: 1, connect: {} }, { id: 2, connect: {} }],
      "something before connect": [{ id: 1, subscribe: { channel: "by hand" } }],
      "a pong that nobody asked for": [{ id: 1, connect: {} }, {}],
      "a command without an id": [{ id: 1, connect: {} }, { subscribe: { channel: "by hand" } }],
      "a message without an answer": [{ id: 1, connect: {} }, { send: { data: 1 } }, 3508],
    };
    for (const [title, [first, second, code = 3501]] of Object.entries(cases)) {
      const bare = await Bare.open();
      bare.send(...[first, second].filter((command) => command));
      assert.equal(await bare.closed(), code, title);
    }
    const bare = await Bare.open();
    bare.socket.send('{"id":1,"connect":{}');
    assert.equal(await bare.closed(), 3501, "no JSON");
  }],

  ["20 errors in a row", async () => {
    const bare = await Bare.connected();
    const publish = { channel: "by hand", data: 1 };
    for (let id = 2; id <= 20; id++) bare.send({ id, publish });
    bare.send({ id: 21, history: { channel: "by hand" } }); // and they are counted anew
    for (let id = 22; id <= 41; id++) bare.send({ id, publish });
    assert.deepEqual((await bare.replies(21)).map(codeOf), [
      ...Array.from({ length: 19 }, (_, at) => [at + 2, 103]), [21, undefined], [22, 103],
    ]);
    assert.equal(await bare.closed(), 3509);
  }],
];

const checks = [
  ...byHand.map(([title, check]) => [`by hand: ${title}`, check]),
  ...checksOf(environments, randomInt(2 ** 31)),
];
await run(checks, CHECK_TIMEOUT, async () => {
  Member.closeAll();
  for (const socket of Bare.all) socket.terminate();
  Bare.all.clear();
});
