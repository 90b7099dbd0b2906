// What the Node scripts share: a runner of checks, a reader of events and a proxy that cuts.

import { strict as assert } from "node:assert";
import { once } from "node:events";
import net from "node:net";

// Texts that a line-based stream could spoil. checking.py has more.
export const TEXTS = [
  "plain", "", " two spaces ", "a\nb", "a\r\nb\rc", "\n", "\n\nid: 1\nevent: x\ndata: y\n\n", ": no comment",
  "NUL\0 NEL\x85 LS\u2028 PS\u2029", "\ufeffBOM", "Grüße, 世界 👋🏽 e\u0301", "x".repeat(100_000),
];

// Text as it comes out of a stream of events, where every line end is LF.
export const asEventData = (text) => text.replace(/\r\n?/g, "\n");

export const roomPath = (room, rest = "") => `/rooms/${encodeURIComponent(room)}${rest}`;

export const offsetOf = (position) => Number(position.split(":")[1]);

export const numbers = (first, last) => Array.from({ length: last - first + 1 }, (_, i) => first + i);

// Runs [title, check] pairs one after the other and sets the exit status.
export async function run(checks, timeout, afterEach = async () => {}) {
  let passed = 0;
  let failed = 0;
  for (const [title, check] of checks) {
    let timer;
    const tooLate = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new Error(`not done within ${timeout / 1000} s`)), timeout);
    });
    try {
      await Promise.race([check(), tooLate]);
      passed++;
      console.log(`PASS ${title}`);
    } catch (error) {
      failed++;
      console.log(`FAIL ${title}: ${error.cause ? `${error.message}: ${error.cause.message}` : error.message}`);
    } finally {
      clearTimeout(timer);
      await afterEach();
    }
  }
  console.log(`${passed} passed, ${failed} failed`);
  process.exitCode = failed ? 1 : 0;
}

// Opens a stream of the room's events and gives them as they come. Leaving the loop aborts the request.
export async function* eventsOf(from, room, last) {
  const abort = new AbortController();
  const answer = await fetch(from + roomPath(room, "/events"), {
    signal: abort.signal, headers: last ? { "Last-Event-ID": last } : {},
  });
  assert.equal(answer.status, 200);
  assert.equal(answer.headers.get("content-type"), "text/event-stream");
  let rest = "";
  try {
    for await (const part of answer.body.pipeThrough(new TextDecoderStream("utf-8", { ignoreBOM: true }))) {
      const blocks = (rest + part).split("\n\n");
      rest = blocks.pop();
      for (const block of blocks) {
        const event = { event: "message", data: [] };
        for (const line of block.split("\n")) {
          const [, name, value] = /^([^:]*):? ?(.*)$/su.exec(line);
          if (name === "data") event.data.push(value);
          else event[name] = value;
        }
        yield { ...event, data: event.data.length ? event.data.join("\n") : undefined };
      }
    }
  } finally {
    abort.abort();
  }
}

// Passes connections on to the server and cuts those whose request line holds `marker`, the first after
// cuts[0] bytes of the answer and so on; every other one by a reset, the rest in an orderly way. `cuts` may be
// without end.
export async function openCuttingProxy(base, marker, cuts) {
  const { hostname, port } = new URL(base);
  const left = cuts[Symbol.iterator]();
  const proxy = { requests: [], cut: 0, connections: new Set() };
  const listener = net.createServer((client) => {
    const server = net.connect(Number(port), hostname);
    proxy.connections.add(client).add(server);
    let bytes;
    client.on("data", (data) => {
      const head = data.toString("latin1");
      if (head.split("\r\n", 1)[0].includes(marker)) {
        proxy.requests.push(head);
        bytes = left.next().value;
      }
      server.write(data);
    });
    server.on("data", (data) => {
      if (bytes === undefined) return client.write(data);
      client.write(data.subarray(0, bytes));
      bytes -= data.length;
      if (bytes > 0) return;
      bytes = undefined;
      server.removeAllListeners("data").destroy();
      if (++proxy.cut % 2) client.end();
      else client.resetAndDestroy();
    });
    const end = () => {
      for (const each of [client, server]) {
        each.destroySoon();
        proxy.connections.delete(each);
      }
    };
    for (const each of [client, server]) each.on("error", end).on("close", end);
  });
  listener.listen(0, "127.0.0.1");
  await once(listener, "listening");
  proxy.base = `http://127.0.0.1:${listener.address().port}`;
  proxy.close = () => {
    listener.close();
    for (const each of proxy.connections) each.destroy();
  };
  return proxy;
}
