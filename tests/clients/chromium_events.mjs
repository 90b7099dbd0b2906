// Tests the event streams of a fanfare server with the EventSource of headless Chromium.
//
//     node chromium_events.mjs http://127.0.0.1:9001 [--driven]
//
// --driven  run by run.py: "STOP" and "START" on standard output ask it to do that to the
//           server, "stopped" and "started" on standard input are the answers
//
// The page is the server's own, with its content security policy; the script comes
// by the DevTools protocol. Between browser and server is a proxy that cuts.
// Chromium is /usr/bin/chromium, or what CHROMIUM names. Exits 1 if a check fails.

import { strict as assert } from "node:assert";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import { chromium } from "playwright-core";
import { asEventData, numbers, openCuttingProxy, roomPath, run, TEXTS } from "./checking.mjs";

const CHECK_TIMEOUT = 45_000;
const STEP_TIMEOUT = 30_000; // Chromium waits 3 s before it comes back
const CUTS = [700, 2311];

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { driven: { type: "boolean", default: false } },
});
if (positionals.length !== 1) {
  console.error("usage: node chromium_events.mjs BASE_URL [--driven]");
  process.exit(2);
}
const base = new URL(positionals[0]).origin;
const input = createInterface({ input: process.stdin });

async function publish(room, body, type = "text/plain") {
  const answer = await fetch(base + roomPath(room), {
    method: "POST", body, headers: { "Content-Type": type }, signal: AbortSignal.timeout(STEP_TIMEOUT),
  });
  assert.equal(answer.status, 200);
  return answer.json();
}

// A page of `origin` that listens to a room; window.got has [type, data, lastEventId] of each event.
async function listen(origin, room) {
  const page = await browser.newPage();
  page.setDefaultTimeout(STEP_TIMEOUT);
  await page.goto(origin + "/");
  await page.evaluate((path) => {
    window.got = [];
    window.opened = 0;
    window.errors = [];
    window.source = new EventSource(path);
    for (const type of ["message", "binary", "gap", "close", "position"]) {
      source.addEventListener(type, (event) => got.push([event.type, event.data, event.lastEventId]));
    }
    source.onopen = () => opened++;
    source.onerror = () => errors.push(source.readyState);
  }, roomPath(room, "/events"));
  await page.waitForFunction(() => opened === 1);
  return page;
}

async function received(page, count) {
  await page.waitForFunction((count) => got.length >= count, count);
  return page.evaluate(() => got);
}

const checks = [
  ["messages and their ids", async () => {
    const page = await listen(base, "eventsource käse");
    let epoch;
    for (const text of TEXTS) ({ epoch } = await publish("eventsource käse", text));
    await publish("eventsource käse", new Uint8Array([0, 255]), "application/octet-stream");
    const got = await received(page, TEXTS.length + 1);
    assert.deepEqual(got, [
      ...TEXTS.map((text, at) => ["message", asEventData(text), `${epoch}:${at + 1}`]),
      ["binary", "AP8=", `${epoch}:${TEXTS.length + 1}`],
    ]);
  }],

  ["a page publishes and reads", async () => {
    const page = await listen(base, "eventsource page");
    const [status, offset, items] = await page.evaluate(async (path) => {
      const posted = await fetch(path, { method: "POST", body: "from the page" });
      const read = await (await fetch(path)).json();
      return [posted.status, posted.headers.get("Fanfare-Offset"), read.publications];
    }, roomPath("eventsource page"));
    assert.deepEqual([status, offset, items.length, items[0].text], [200, "1", 1, "from the page"]);
    assert.equal((await received(page, 1))[0][1], "from the page");
  }],

  ["comes back by itself without gap or repeat", async () => {
    const room = "eventsource cuts";
    const proxy = await openCuttingProxy(base, "/events", CUTS);
    try {
      const page = await listen(proxy.base, room);
      let sent = 0;
      let epoch;
      const enough = () => proxy.requests.length > CUTS.length;
      const until = Date.now() + STEP_TIMEOUT;
      // Goes on while the browser waits, and some more behind the last time.
      for (let more = 50; more > 0; more -= enough() ? 1 : 0) {
        assert.ok(Date.now() < until, `only ${proxy.requests.length} streams`);
        ({ epoch } = await publish(room, `number ${sent++}: äöü 世界`));
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
      const got = await received(page, sent);
      assert.deepEqual(got, numbers(1, sent).map((n) => ["message", `number ${n - 1}: äöü 世界`, `${epoch}:${n}`]));
      assert.equal(proxy.cut, CUTS.length);
      assert.deepEqual(await page.evaluate(() => [opened, errors]), [CUTS.length + 1, CUTS.map(() => 0)]);
      assert.deepEqual(proxy.requests.map((head) => /^last-event-id:/im.test(head)), [false, true, true]);
    } finally {
      proxy.close();
    }
  }],

  ["comes back to where it began if nothing was sent", async () => {
    const room = "eventsource quiet";
    await publish(room, "before");
    const proxy = await openCuttingProxy(base, "/events", [100_000]);
    try {
      const page = await listen(proxy.base, room);
      const { epoch } = await publish(room, "x".repeat(150_000)); // is cut before its end
      const got = await received(page, 1);
      assert.deepEqual([got.length, got[0][1].length, got[0][2]], [1, 150_000, `${epoch}:2`]);
      assert.match(proxy.requests[1], new RegExp(`last-event-id: ${epoch}:1\r\n`, "i"));
    } finally {
      proxy.close();
    }
  }],

  ["is told when its place is lost in a restart", async () => {
    const room = "eventsource restart";
    const page = await listen(base, room);
    await publish(room, "before");
    await received(page, 1);
    for (const [request, done] of [["STOP", "stopped"], ["START", "started"]]) {
      const answer = once(input, "line");
      console.log(request);
      const [text] = await Promise.race([answer, once(input, "close").then(() => ["(end of input)"])]);
      assert.equal(text, done);
    }
    const got = await received(page, 2);
    assert.equal(got[1][0], "close");
    assert.equal(JSON.parse(got[1][1]).code, 1001);
    // It comes back, gets 410 and gives up; the page decides what to do.
    await page.waitForFunction(() => source.readyState === EventSource.CLOSED);
  }],
];

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--no-proxy-server",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
  ],
});
try {
  await run(checks.slice(0, values.driven ? undefined : -1), CHECK_TIMEOUT, async () => {
    for (const context of browser.contexts()) await context.close();
  });
} finally {
  await browser.close();
  input.close();
}
