// Tests the live page of a fanfare server's admin listener in headless Chromium, with members of the npm package `ws`
// as what there is to see.
//
//     node chromium_live.mjs http://127.0.0.1:9001 --admin http://127.0.0.1:9002 [--shot FILE.png] [--driven]
//
// --shot    saves screenshots: FILE-live.png, FILE-live-dark.png and FILE-live-phone.png
// --driven  run by run.py: "STOP" and "START" on standard output ask it to do that to the
//           server, "stopped" and "started" on standard input are the answers
//
// Chromium is /usr/bin/chromium, or what CHROMIUM names. Exits 1 if a check fails.

import { strict as assert } from "node:assert";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import { parseArgs } from "node:util";
import { chromium } from "playwright-core";
import WebSocket from "ws";
import { roomPath, run } from "./checking.mjs";

const CHECK_TIMEOUT = 60_000;
const STEP_TIMEOUT = 20_000;
const TABLES = ["Workers", "Slow consumers", "Rooms by traffic", "Latest closes"];

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { admin: { type: "string" }, shot: { type: "string" }, driven: { type: "boolean", default: false } },
});
if (positionals.length !== 1 || !values.admin) {
  console.error("usage: node chromium_live.mjs BASE_URL --admin ADMIN_URL [--shot FILE.png] [--driven]");
  process.exit(2);
}
const base = new URL(positionals[0]).origin;
const admin = new URL(values.admin).origin;
const input = createInterface({ input: process.stdin });

const problems = [];
let serverIsDown = false;
let members = [];

async function openPage(options = {}) {
  const context = await browser.newContext({ viewport: { width: 1200, height: 900 }, ...options });
  context.setDefaultTimeout(STEP_TIMEOUT);
  context.on("request", (request) => {
    if (new URL(request.url()).origin !== admin) problems.push(`asks ${request.url()}`);
  });
  const page = await context.newPage();
  page.on("pageerror", (error) => problems.push(String(error)));
  page.on("console", (message) => {
    if (!["error", "warning"].includes(message.type())) return;
    if (serverIsDown && message.text().startsWith("WebSocket connection to ")) return;
    problems.push(message.text());
  });
  const response = await page.goto(admin);
  assert.equal(response.status(), 200);
  await page.locator("#state[data-state=connected]").waitFor();
  return page;
}

async function join(room) {
  const socket = new WebSocket(base.replace(/^http/, "ws") + roomPath(room));
  socket.on("error", () => {});
  members.push(socket);
  await once(socket, "open");
  return socket;
}

const region = (page, name) => page.getByRole("region", { name, exact: true });

const rowsOf = (page, name) => region(page, name).locator("tbody tr")
  .evaluateAll((rows) => rows.map((row) => [...row.cells].map((cell) => cell.textContent)));

// The values of a plot's legend.
const legendOf = (page, name) => region(page, name).locator("dd").allTextContents();

async function until(what, look) {
  const deadline = Date.now() + STEP_TIMEOUT;
  let seen;
  do {
    seen = await look();
    if (seen) return seen;
    await delay(50);
  } while (Date.now() < deadline);
  throw new Error(`${what} is never seen`);
}

// Publishes from a member until told to stop.
function chatter(socket, text) {
  const timer = setInterval(() => socket.send(text), 10);
  return () => clearInterval(timer);
}

const checks = [
  ["connections, rates and rooms update by themselves", async () => {
    const page = await openPage();
    const [talker] = [await join("live käse"), await join("live käse"), await join("live käse")];
    const stop = chatter(talker, "x".repeat(1000));
    try {
      await until("3 connections", async () => (await legendOf(page, "Connections"))[0] === "3");
      await until("messages", async () => {
        const [into, out] = (await legendOf(page, "Messages a second")).map((text) => Number(text.replaceAll(",", "")));
        return into > 10 && out >= 1.5 * into;
      });
      const [room] = await until("the room", async () => {
        const rows = await rowsOf(page, "Rooms by traffic");
        return rows.length > 0 && rows[0][0] === "live käse" && rows;
      });
      assert.equal(room[3], "3");
      const workers = (await rowsOf(page, "Workers")).map((row) => Number(row[1]));
      assert.equal(workers.reduce((total, number) => total + number, 0), 3);
      const legend = (await legendOf(page, "Connections")).map(Number);
      assert.deepEqual(legend, [3, Math.max(...workers), Math.min(...workers)]);
      await until("a line", async () => (await region(page, "Messages a second").locator("path.series-0").getAttribute("d"))?.includes("L"));
      const label = await region(page, "Messages a second").locator("svg").getAttribute("aria-label");
      assert.match(label, /^Messages a second: in [\d,.]+, out [\d,.]+$/);
    } finally {
      stop();
    }
    talker.close();
    await until("2 connections", async () => (await legendOf(page, "Connections"))[0] === "2");
    const closes = await until("the close", async () => {
      const rows = await rowsOf(page, "Latest closes");
      return rows.length > 0 && rows;
    });
    assert.equal(closes[0][1], "peer_closed");
    assert.equal(closes[0][5], "live käse");
  }],

  ["latency has percentiles", async () => {
    const page = await openPage();
    const [talker] = [await join("live latency"), await join("live latency")];
    const stop = chatter(talker, "tick");
    try {
      await until("percentiles", async () => (await legendOf(page, "Latency, publish to flush"))
        .every((text) => /^[\d,.]+ (µs|ms|s)$/.test(text)));
    } finally {
      stop();
    }
  }],

  ["one that does not read is a slow consumer", async () => {
    const page = await openPage();
    await region(page, "Slow consumers").getByText("Everybody keeps up.").waitFor();
    const [talker, slow] = [await join("live slow"), await join("live slow")];
    slow._socket.pause();
    const stop = chatter(talker, "x".repeat(60_000));
    try {
      const [row] = await until("the slow consumer", async () => {
        const rows = await rowsOf(page, "Slow consumers");
        return rows.length > 0 && rows;
      });
      assert.equal(row[3], "live slow");
      assert.equal(row[4], `127.0.0.1:${slow._socket.localPort}`);
      assert.notEqual(row[0], "0");
    } finally {
      stop();
    }
  }],

  ["names of peers are text", async () => {
    const page = await openPage();
    const name = "<img src=x onerror=alert(1)>";
    const [talker] = [await join(name), await join(name)];
    const stop = chatter(talker, "x");
    try {
      await until("the name", async () => (await rowsOf(page, "Rooms by traffic")).some((row) => row[0] === name));
    } finally {
      stop();
    }
    assert.equal(await page.locator("main img").count(), 0);
  }],

  ["the pointer shows the values of then", async () => {
    const page = await openPage();
    const plot = region(page, "Connections").locator("svg");
    await until("points", async () => (await plot.locator("path.series-0").getAttribute("d"))?.includes("L"));
    await plot.hover();
    assert.equal(await plot.locator(".cursor").getAttribute("visibility"), "visible");
    await page.locator("h1").hover();
    assert.equal(await plot.locator(".cursor").getAttribute("visibility"), "hidden");
  }],

  ["light and dark, by the system and by choice", async () => {
    const backgrounds = {};
    for (const colorScheme of ["light", "dark"]) {
      const page = await openPage({ colorScheme });
      const background = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
      backgrounds[colorScheme] = await background();
      const other = colorScheme === "light" ? 2 : 1;
      for (let press = 0; press < other; press++) await page.locator("#theme").click();
      backgrounds[`not ${colorScheme}`] = await background();
    }
    assert.notEqual(backgrounds.light, backgrounds.dark);
    assert.equal(backgrounds["not light"], backgrounds.dark);
    assert.equal(backgrounds["not dark"], backgrounds.light);
  }],

  ["a phone shows it all without scrolling sideways", async () => {
    const page = await openPage({ viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true });
    await Promise.all([join("live phone with a rather long name that goes on and on"), join("live phone")]);
    await until("rooms", async () => (await rowsOf(page, "Rooms by traffic")).length >= 2);
    const [width, inner] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
    assert.ok(width <= inner, `${width} of ${inner}`);
    for (const name of TABLES) assert.ok(await region(page, name).isVisible(), name);
  }],

  ["a page that nobody sees asks for nothing", async () => {
    const page = await openPage();
    let asked = 0;
    await page.evaluate(() => Object.defineProperty(document, "hidden", { configurable: true, get: () => window.away }));
    await page.exposeFunction("note", () => asked++);
    await page.evaluate(() => {
      const send = WebSocket.prototype.send;
      WebSocket.prototype.send = function noted(data) {
        window.note();
        return send.call(this, data);
      };
    });
    await until("a question", async () => asked > 0);
    await page.evaluate(() => { window.away = true; });
    // One that was on its way is answered, and none follows.
    await delay(1500);
    const before = asked;
    await delay(2500);
    assert.equal(asked, before);
    await page.evaluate(() => {
      window.away = false;
      document.dispatchEvent(new Event("visibilitychange"));
    });
    await until("a question", async () => asked > before);
  }],

  ["screenshots", values.shot && (async () => {
    const name = (suffix) => values.shot.replace(/(\.\w+)?$/, (ending) => `-live${suffix}${ending || ".png"}`);
    const page = await openPage();
    const rooms = ["lobby", "prices", "match 17"];
    const sockets = await Promise.all([...rooms, ...rooms].map(join));
    sockets[4]._socket.pause();
    const stops = sockets.slice(0, 3).map((socket, at) => chatter(socket, "x".repeat([50, 30_000, 500][at])));
    try {
      await delay(8000);
      await page.screenshot({ path: name(""), fullPage: true });
      await page.emulateMedia({ colorScheme: "dark" });
      await page.screenshot({ path: name("-dark"), fullPage: true });
      await page.emulateMedia({ colorScheme: "light" });
      await page.setViewportSize({ width: 390, height: 844 });
      await page.screenshot({ path: name("-phone"), fullPage: true });
    } finally {
      for (const stop of stops) stop();
    }
  })],

  ["a restart is survived", values.driven && (async () => {
    const page = await openPage();
    const ask = async (request, done) => {
      const answer = once(input, "line");
      console.log(request);
      const [text] = await Promise.race([answer, once(input, "close").then(() => ["(end of input)"])]);
      assert.equal(text, done);
    };
    serverIsDown = true;
    await ask("STOP", "stopped");
    await page.locator("#state[data-state=lost]").waitFor();
    await ask("START", "started");
    await page.locator("#state[data-state=connected]").waitFor();
    serverIsDown = false;
    await join("live again");
    await until("1 connection", async () => (await legendOf(page, "Connections"))[0] === "1");
  })],

  ["the browser had nothing to complain of, and nothing foreign was asked for", async () => {
    assert.deepEqual(problems, []);
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
  await run(checks.filter(([, check]) => check), CHECK_TIMEOUT, async () => {
    for (const context of browser.contexts()) await context.close();
    for (const member of members) member.terminate();
    members = [];
  });
} finally {
  await browser.close();
  input.close();
}
