// Tests the HTTP door of a fanfare server with the fetch of Node itself.
//
//     node http_node.mjs http://127.0.0.1:9001
//
// Exits 1 if a check fails.

import { strict as assert } from "node:assert";
import { asEventData, eventsOf, numbers, offsetOf, openCuttingProxy, roomPath, run, TEXTS } from "./checking.mjs";

const CHECK_TIMEOUT = 30_000;
const STEP_TIMEOUT = 20_000;
const LIMIT = 1 << 20; // --max-message

if (process.argv.length !== 3) {
  console.error("usage: node http_node.mjs BASE_URL");
  process.exit(2);
}
const base = new URL(process.argv[2]).origin;

async function call(method, path, status, options = {}) {
  const answer = await fetch(base + path, { method, signal: AbortSignal.timeout(STEP_TIMEOUT), ...options });
  const text = await answer.text();
  assert.equal(answer.status, status, `${method} ${path} is answered ${answer.status} ${text.slice(0, 200)}`);
  return answer.headers.get("content-type") === "application/json" && text ? JSON.parse(text) : text;
}

const publish = (room, body, headers = {}) =>
  call("POST", roomPath(room), 200, { body, headers: { "Content-Type": "text/plain", ...headers } });

async function publishNumbers(room, count) {
  for (let i = 0; i < count; i++) {
    await publish(room, `number ${i}`);
    if (i % 10 === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

// Follows a room by streams, one after the other, until `count` messages came.
async function follow(from, room, count, onBegin, leaveAfter = Infinity) {
  const got = [];
  let last;
  let begun = 0;
  while (got.length < count) {
    begun++;
    try {
      let seen = 0;
      for await (const event of eventsOf(from, room, last)) {
        last = event.id ?? last;
        if (begun === 1 && event.event === "position") onBegin();
        if (event.event === "message") got.push([offsetOf(event.id), event.data]);
        if (got.length === count || ++seen > leaveAfter) break;
      }
    } catch (error) {
      if (error instanceof assert.AssertionError || !last) throw error;
      // cut in the middle
    }
  }
  return { got, begun };
}

const checks = [
  ["publish with fetch", async () => {
    const room = "fetch käse +1";
    await publish(room, "Grüße");
    await publish(room, JSON.stringify({ n: 1 }), { "Content-Type": "application/json" });
    await publish(room, new Uint8Array([0, 255]), { "Content-Type": "application/octet-stream" });
    await call("POST", roomPath(room), 200, { body: new URLSearchParams({ a: "b c" }) });
    await call("POST", roomPath(room), 415, { body: new FormData() });
    await call("POST", "/rooms", 200, { body: JSON.stringify({ rooms: [room], text: "many" }) });
    await call("POST", roomPath(room), 200, { body: new Blob(["in ", "a ", "stream"]).stream(), duplex: "half" });
    const { publications } = await call("GET", roomPath(room), 200);
    assert.deepEqual(publications.map(({ text, json, base64 }) => text ?? json ?? { base64 }), [
      "Grüße", { n: 1 }, { base64: "AP8=" }, "a=b+c", "many", "in a stream",
    ]);
    const after = new URLSearchParams({ after: room, limit: "1000" });
    const behind = (await call("GET", `/rooms?${after}`, 200)).rooms.map((each) => each.room);
    assert.ok(!behind.includes(room), "a list goes on behind the room it is told");
  }],

  ["idempotency key", async () => {
    const headers = { "Idempotency-Key": crypto.randomUUID() };
    const answers = await Promise.all(numbers(1, 8).map((n) => publish("fetch key", `${n}`, headers)));
    assert.deepEqual(answers.map(({ offset }) => offset), Array(8).fill(1));
    assert.equal(answers.filter(({ repeat }) => repeat).length, 7);
  }],

  ["too large", async () => {
    await call("POST", roomPath("fetch large"), 413, { body: "x".repeat(LIMIT + 1) });
    await publish("fetch large", "x".repeat(LIMIT));
  }],

  ["every text comes as it was", async () => {
    const got = [];
    for await (const event of eventsOf(base, "fetch texts")) {
      if (event.event === "position") for (const text of TEXTS) await publish("fetch texts", text);
      else if (got.push(event) === TEXTS.length) break;
    }
    assert.deepEqual(got.map(({ data }) => data), TEXTS.map(asEventData));
    assert.deepEqual(got.map(({ id }) => offsetOf(id)), numbers(1, TEXTS.length));
  }],

  ["no gap over aborted streams", async () => {
    let publishing;
    const { got, begun } = await follow(base, "fetch abort", 500,
      () => publishing = publishNumbers("fetch abort", 500), 40);
    await publishing;
    assert.ok(begun > 10, `only ${begun} streams`);
    assert.deepEqual(got, numbers(1, 500).map((n) => [n, `number ${n - 1}`]));
  }],

  ["no gap over cut connections", async () => {
    let publishing;
    const proxy = await openCuttingProxy(base, "/events", numbers(0, 9).map((i) => 1500 + 37 * i));
    try {
      const { got, begun } = await follow(proxy.base, "fetch cuts", 500,
        () => publishing = publishNumbers("fetch cuts", 500));
      await publishing;
      assert.deepEqual([proxy.cut, begun], [10, 11]);
      assert.deepEqual(got, numbers(1, 500).map((n) => [n, `number ${n - 1}`]));
    } finally {
      proxy.close();
    }
  }],
];

await run(checks, CHECK_TIMEOUT);
