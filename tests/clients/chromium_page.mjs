// Tests the page of a fanfare server in headless Chromium: pages among themselves, with a member of the npm package
// `ws` and HTTP publishers as the other side, and with answers of the server that the test makes up.
//
//     node chromium_page.mjs http://127.0.0.1:9001 [--shot FILE.png] [--driven]
//
// --shot    saves screenshots: FILE.png, FILE-dark.png and FILE-phone.png
// --driven  run by run.py: "STOP" and "START" on standard output ask it to do that to the
//           server, "stopped" and "started" on standard input are the answers
//
// Chromium is /usr/bin/chromium, or what CHROMIUM names. Exits 1 if a check fails.

import { strict as assert } from "node:assert";
import { once } from "node:events";
import { connect, createServer } from "node:net";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import { isDeepStrictEqual, parseArgs } from "node:util";
import { chromium } from "playwright-core";
import WebSocket from "ws";

const CHECK_TIMEOUT = 60_000;
const STEP_TIMEOUT = 15_000;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { shot: { type: "string" }, driven: { type: "boolean", default: false } },
});
if (positionals.length !== 1) {
  console.error("usage: node chromium_page.mjs BASE_URL [--shot FILE.png] [--driven]");
  process.exit(2);
}
const base = new URL(positionals[0].replace(/^ws/, "http")).origin;
const socketBase = base.replace(/^http/, "ws");

const consoleProblems = [];
const foreignRequests = [];
let serverIsDown = false;
let openContexts = [];
let openMembers = [];
let openProxies = [];

async function openPage(path = "/", { from = base, name = "", ...options } = {}, prepare = async () => {}) {
  const context = await browser.newContext({ viewport: { width: 1000, height: 720 }, ...options });
  openContexts.push(context);
  context.setDefaultTimeout(STEP_TIMEOUT);
  context.on("request", (request) => {
    if (new URL(request.url()).origin !== from) foreignRequests.push(request.url());
  });
  const page = await context.newPage();
  page.on("websocket", (socket) => {
    if (new URL(socket.url()).origin !== from.replace(/^http/, "ws")) foreignRequests.push(socket.url());
  });
  page.on("pageerror", (error) => consoleProblems.push(String(error)));
  page.on("console", (message) => {
    if (!["error", "warning"].includes(message.type())) return;
    // An attempt to connect while there is no server is to fail, and is logged.
    if (serverIsDown && /^(WebSocket connection to |Failed to load resource: net::)/.test(message.text())) return;
    consoleProblems.push(message.text());
  });
  await page.addInitScript((name) => {
    if (origin !== "null") localStorage["fanfare.name"] ??= JSON.stringify(name);
  }, name);
  await prepare(page);
  const response = await page.goto(from + path);
  return { page, response };
}

const hashOf = (...rooms) => `/#${rooms.map(encodeURIComponent).join("&")}`;

const roomOf = (page, room) => page.getByRole("region", { name: `Room ${room}`, exact: true });

async function joined(page, room) {
  const label = JSON.stringify(`Room ${room}`);
  await page.locator(`.room[data-state=in][aria-label=${label}]`).waitFor({ state: "attached" });
  return roomOf(page, room);
}

async function openRoom(room, options, prepare) {
  const { page } = await openPage(hashOf(room), options, prepare);
  return { page, room: await joined(page, room) };
}

async function say(room, text) {
  await room.getByRole("textbox").fill(text);
  await room.getByRole("textbox").press("Enter");
}

const shown = (room, text) => room.locator(".list .body").getByText(text, { exact: true });

// "#offset who: text" of each message, and notes as they are.
const messagesOf = (room) => room.locator(".list > *").evaluateAll((lines) => lines.map((line) => {
  if (line.matches(".note")) return line.textContent;
  const [offset, who, body] = [".offset", ".who", ".body"].map((part) => line.querySelector(part).textContent);
  return `${offset} ${who}: ${body}`;
}));

const textsOf = async (room) => (await messagesOf(room)).map((line) => line.replace(/^(#\d+) [^:]*: /, "$1 "));

const topOf = (room, text) => room.locator(".top").getByText(text).waitFor();

const peopleOf = (room) => room.locator(".people li .who").allTextContents();

// Until `look` gives what is wanted.
async function until(wanted, look) {
  const deadline = Date.now() + STEP_TIMEOUT;
  let seen;
  do {
    seen = await look();
    if (isDeepStrictEqual(seen, wanted)) return;
    await delay(20);
  } while (Date.now() < deadline);
  assert.deepEqual(seen, wanted);
}

async function openMember(room) {
  const socket = new WebSocket(`${socketBase}/rooms/${encodeURIComponent(room)}`);
  socket.on("error", () => {});
  openMembers.push(socket);
  await once(socket, "open");
  return socket;
}

// A TCP proxy before the server, which can cut its connections and refuse new ones.
async function openProxy() {
  const { hostname, port } = new URL(base);
  const sockets = new Set();
  let isCut = false;
  const proxy = createServer((near) => {
    if (isCut) return near.resetAndDestroy();
    const far = connect(port, hostname);
    for (const [socket, other] of [[near, far], [far, near]]) {
      sockets.add(socket);
      socket.on("error", () => {});
      socket.on("close", () => {
        sockets.delete(socket);
        other.destroy();
      });
      socket.pipe(other);
    }
  });
  openProxies.push(proxy);
  proxy.listen(0, "127.0.0.1");
  await once(proxy, "listening");
  return {
    origin: `http://127.0.0.1:${proxy.address().port}`,
    cut() {
      serverIsDown = isCut = true;
      for (const socket of sockets) socket.resetAndDestroy();
    },
    mend() { isCut = false; },
  };
}

// Stands between a page and the server. `answers[method]` may make up the reply to such a command: what it
// returns, `null` for none; undefined asks the server.
class Between {
  answers = {};
  frames = [];                // as the page sent them
  received = [];              // commands of the page
  isDeaf = false;             // whether replies to it are dropped
  isAlone = false;            // whether there is no server behind it

  prepare = (page) => page.routeWebSocket("**/connection/websocket", (socket) => {
    this.page = socket;
    socket.onMessage((frame) => {
      this.frames.push(frame);
      for (const line of frame.split("\n")) this.#fromPage(JSON.parse(line), line);
    });
    if (this.isAlone) return;
    this.server = socket.connectToServer();
    this.server.onMessage((frame) => {
      const lines = frame.split("\n").filter((line) => !this.isDeaf && !/^\{"id":4000000000\b/.test(line));
      if (lines.length) socket.send(lines.join("\n"));
    });
  });

  #fromPage(command, line) {
    this.received.push(command);
    const method = Object.keys(command).find((key) => key !== "id");
    const answer = this.answers[method]?.(command[method]);
    if (answer === undefined) this.server?.send(line);
    else if (answer) this.page.send(JSON.stringify({ id: command.id, ...answer }));
  }

  // As if the server had taken the page out of the room.
  unsubscribe(channel, code, reason) {
    this.server.send(JSON.stringify({ id: 4_000_000_000, unsubscribe: { channel } }));
    this.page.send(JSON.stringify({ push: { channel, unsubscribe: { code, reason } } }));
  }

  close(code, reason) {
    this.server.close();
    return this.page.close({ code, reason });
  }

  count(method) {
    return this.received.filter((command) => method in command).length;
  }
}

async function openBetween(room, options) {
  const between = new Between();
  return { between, ...await openRoom(room, options, between.prepare) };
}

const address = (room, query = "") => `${base}/rooms/${encodeURIComponent(room)}${query}`;

async function publish(room, content) {
  const type = typeof content === "string" ? "text/plain" : "application/octet-stream";
  const response = await fetch(address(room), { method: "POST", headers: { "Content-Type": type }, body: content });
  assert.equal(response.status, 200, await response.clone().text());
  return response.json();
}

// No WebSocket that connects, a clock that only the test moves, and the longest delay that the jitter allows.
// window.attempts has the moments of all attempts, in ms.
async function withoutServer(page) {
  await page.clock.install();
  await page.addInitScript(() => {
    window.attempts = [];
    Math.random = () => 1;
    window.WebSocket = class {
      constructor() {
        window.attempts.push(performance.now());
        setTimeout(() => this.onclose?.({ code: 1006, reason: "" }));
      }
      close() {}
    };
  });
}

// The contrast of two colours (WCAG 2.2), of an element's text to the background behind it.
const contrastOf = (locator) => locator.evaluate((element) => {
  const rgb = (colour) => {
    const canvas = new OffscreenCanvas(1, 1).getContext("2d");
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const luminance = (colour) => colour.slice(0, 3)
    .map((part) => (part / 255 <= 0.04045 ? part / 255 / 12.92 : ((part / 255 + 0.055) / 1.055) ** 2.4))
    .reduce((sum, part, i) => sum + part * [0.2126, 0.7152, 0.0722][i], 0);
  let behind = element;
  while (rgb(getComputedStyle(behind).backgroundColor)[3] === 0) behind = behind.parentElement;
  const [light, dark] = [rgb(getComputedStyle(element).color), rgb(getComputedStyle(behind).backgroundColor)]
    .map(luminance).sort((a, b) => b - a);
  return (light + 0.05) / (dark + 0.05);
});

const input = createInterface({ input: process.stdin });
// What run.py does to the server when it is asked for it: "stopped" or "started".
async function server(request, done) {
  const answer = once(input, "line");
  console.log(request);
  const [text] = await Promise.race([answer, once(input, "close").then(() => ["(end of input)"])]);
  assert.equal(text, done);
}

const checks = [
  ["strict content security policy", async () => {
    const { page, response } = await openPage();
    const files = await page.evaluate(() => performance.getEntriesByType("resource").map(({ name }) => name));
    assert.ok(files.length >= 8, files.join(" "));
    for (const each of [response, ...await Promise.all(files.map((file) => page.request.get(file)))]) {
      assert.equal(each.status(), 200, each.url());
      const policy = each.headers()["content-security-policy"] ?? "";
      for (const part of ["default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'"]) {
        assert.ok(policy.includes(part), `no ${part} in policy "${policy}" of ${each.url()}`);
      }
      assert.ok(!policy.includes("unsafe"), policy);
      assert.equal(each.headers()["x-content-type-options"], "nosniff");
    }
    const before = consoleProblems.length;
    const [ran, made] = await page.evaluate(() => {
      const script = document.createElement("script");
      try {
        script.textContent = "window.ran = true";
        document.head.append(script);
      } catch {
        // So it is refused even earlier.
      }
      try {
        document.body.innerHTML = "<b>made</b>";
      } catch {
        return [window.ran ?? false, false];
      }
      return [window.ran ?? false, true];
    });
    assert.deepEqual([ran, made], [false, false], "a script ran, or a string became markup");
    await page.close();
    consoleProblems.length = before; // the refusals just asked for
  }],

  ["names for assistive technology", async () => {
    const { page, room } = await openRoom("named", { name: "Ada" });
    for (const [inside, role, name] of [
      [page, "navigation", "Rooms"], [page, "combobox", "Another room"], [page, "button", "Join"],
      [page, "button", "You are Ada: change your name"], [page, "button", "Theme: auto"],
      [room, "heading", "named"], [room, "log", "Messages in named"], [room, "textbox", "Message to named"],
      [room, "button", "Send"], [room, "button", "Leave named"], [room, "button", "1 connection here: who?"],
      [room, "complementary", "People in named"],
    ]) {
      // Rooms are tabs on narrow screens only.
      if (role === "navigation") await page.setViewportSize({ width: 360, height: 720 });
      await inside.getByRole(role, { name, exact: true }).waitFor();
      if (role === "navigation") await page.setViewportSize({ width: 1000, height: 720 });
    }
    assert.equal(await page.getByRole("banner").count(), 1);
    assert.equal(await page.getByRole("main").count(), 1);
    assert.equal(await page.getByRole("contentinfo").count(), 1);
    assert.equal(await page.locator("#announcer").getAttribute("aria-live"), "polite");
    await publish("named", "read this out");
    await page.locator("#announcer").getByText("No sender: read this out").waitFor({ state: "attached" });
    for (let i = 0; i < 20; i++) await publish("named", `flood ${i}`);
    await page.locator("#announcer").getByText("20 new messages").waitFor({ state: "attached" });
  }],

  ["two pages in a room", async () => {
    const { room: ada } = await openRoom("talk", { name: "Ada" });
    const { page: bobsPage, room: bob } = await openRoom("talk", { name: "Bob" });
    await until(["Ada", "Bob"], () => peopleOf(ada));
    await until(["Bob", "Ada"], () => peopleOf(bob));
    await ada.locator(".news").getByText("Bob came").waitFor();
    await say(ada, "hello Bob");
    await shown(bob, "hello Bob").waitFor();
    await say(bob, "in two\nlines");
    await bob.getByRole("textbox").fill("by button");
    await bob.getByRole("button", { name: "Send" }).click();
    await until(["#1 You: hello Bob", "#2 Bob: in two\nlines", "#3 Bob: by button"], () => messagesOf(ada));
    await until(["#1 Ada: hello Bob", "#2 You: in two\nlines", "#3 You: by button"], () => messagesOf(bob));
    await until([0, 0], async () => [await ada.locator(".unsent").count(), await bob.locator(".unsent").count()]);
    assert.equal(await ada.locator(".message.own").count(), 1);
    assert.match(await ada.locator("time").first().textContent(), /\d:\d\d/);

    const { room: third } = await openRoom("talk");
    await until(3, () => third.locator(".people li").count());
    await ada.locator(".people .who").getByText(/^anonymous [0-9a-f-]+$/).waitFor();
    await bobsPage.context().close();
    await ada.locator(".news").getByText("Bob left").waitFor();
    await until(2, () => ada.locator(".people li").count());
    await third.getByRole("button", { name: "Leave talk" }).click();
    await until(["Ada"], () => peopleOf(ada));
  }],

  ["history on arrival, whatever was published", async () => {
    const contents = [
      "plain text", '{"text":"as the page"}',
      ' {"b": [1, 0.5],\n "id":\r\n12345678901234567890} ', '"a string"', "", "null",
      Buffer.from([0xca, 0xfe, ...Array(98).fill(0)]), "x".repeat(5000), "end",
    ];
    for (const content of contents) await publish("past", content);
    const { page, room } = await openRoom("past");
    await shown(room, "end").waitFor();
    await topOf(room, "This is the beginning of the room.");
    const texts = await textsOf(room);
    assert.deepEqual(texts.slice(0, 2), ["#1 plain text", "#2 as the page"]);
    assert.equal(texts[2], '#3 {\n  "b": [\n    1,\n    0.5\n  ],\n  "id": 12345678901234567890\n}');
    assert.deepEqual(texts.slice(3, 6), ['#4 "a string"', "#5 (empty)", "#6 null"]);
    assert.match(texts[6], /^#7 ca fe 00 .* …$/);
    assert.equal(texts[7], `#8 ${"x".repeat(4000)}…`);
    await room.getByText("Binary, 100 bytes").waitFor();
    await room.getByRole("button", { name: "Show all 5,000 characters" }).click();
    await shown(room, "x".repeat(5000)).waitFor();
    assert.ok((await messagesOf(room))[0].startsWith("#1 No sender: "));

    // After a reload the page's own messages are still its own.
    await say(room, "mine");
    await shown(room, "mine").waitFor();
    await page.reload();
    await joined(page, "past");
    await until("#10 You: mine", async () => (await messagesOf(room)).at(-1));
  }],

  ["a long history, and a bounded list", async () => {
    const member = await openMember("long");
    for (let i = 1; i <= 900; i++) member.send(`${i} ${"x".repeat(300)}`);
    member.send("end");
    await until(901, async () => (await (await fetch(address("long", "?limit=1"))).json()).offset);
    const { room } = await openRoom("long");
    await shown(room, "end").waitFor();
    assert.equal(await room.locator(".message").count(), 100);
    const fromEnd = () => room.locator(".log").evaluate((log) => log.scrollHeight - log.scrollTop - log.clientHeight);
    assert.ok(await fromEnd() < 2);
    await room.getByRole("button", { name: "Load earlier" }).click();
    await until(400, () => room.locator(".message").count());
    const offsets = (await textsOf(room)).map((text) => Number(text.match(/^#(\d+)/)[1]));
    assert.deepEqual(offsets, Array.from({ length: 400 }, (_, i) => 502 + i));
    // What was in view stays in view.
    await room.locator(".log").evaluate((log) => { log.scrollTop = 0; });
    const before = await room.locator(".message .offset").getByText("#502", { exact: true }).boundingBox();
    await room.getByRole("button", { name: "Load earlier" }).press("Enter");
    await until(700, () => room.locator(".message").count());
    const after = await room.locator(".message .offset").getByText("#502", { exact: true }).boundingBox();
    assert.ok(Math.abs(after.y - before.y) < 60, `${before.y} became ${after.y}`);

    // Reading further up, one is told what comes; back at the end the list is short again.
    member.send("news");
    const jump = room.getByRole("button", { name: "1 new messages: go to the end" });
    await jump.click();
    await until(true, async () => await fromEnd() < 2);
    for (let i = 0; i < 1500; i++) member.send(`flood ${i}`);
    member.send("end of flood");
    await shown(room, "end of flood").waitFor();
    assert.equal(await room.locator(".list > *").count(), 500);
    assert.ok(await fromEnd() < 2);
    await topOf(room, "Earlier messages are in the room's history.");
    assert.equal(await room.locator(".gap").count(), 0);
  }],

  ["recovery after the connection is cut", async () => {
    const proxy = await openProxy();
    const { page, room } = await openRoom("cut", { from: proxy.origin });
    await say(room, "before");
    await shown(room, "before").waitFor();
    for (let round = 0; round < 3; round++) {
      proxy.cut();
      await page.locator("#state[data-state=connecting]").getByText("Reconnecting").waitFor();
      for (let i = 1; i <= 3; i++) await publish("cut", `round ${round}, ${i}`);
      await say(room, `said in round ${round}`);
      await room.getByText("Will be sent when you are in the room.").waitFor();
      proxy.mend();
      await joined(page, "cut");
      serverIsDown = false;
      await room.getByText("Back in the room: whatever was missed is recovered.").waitFor();
      await shown(room, `said in round ${round}`).waitFor();
    }
    const rounds = [0, 1, 2].flatMap((round) => [
      ...[1, 2, 3].map((i) => `No sender: round ${round}, ${i}`), `You: said in round ${round}`]);
    await until(["You: before", ...rounds].map((text, i) => `#${i + 1} ${text}`), () => messagesOf(room));
    await until(0, () => room.locator(".unsent").count());
    await page.locator("#closed").getByText("the connection was lost or refused (1006)").waitFor();
  }],

  ["recovery of more than one reply holds", async () => {
    const proxy = await openProxy();
    const { page, room } = await openRoom("much", { from: proxy.origin });
    await publish("much", "before");
    await shown(room, "before").waitFor();
    proxy.cut();
    await page.locator("#state[data-state=connecting]").waitFor();
    for (let i = 2; i <= 8; i++) await publish("much", `${i} `.padEnd(100_000, "x"));
    proxy.mend();
    await joined(page, "much");
    serverIsDown = false;
    await publish("much", "after");
    await shown(room, "after").waitFor();
    await room.getByText("Back in the room: whatever was missed is recovered.").waitFor();
    const numbers = (await messagesOf(room)).map((text) => text.match(/^#(\d+)/)?.[1] ?? text);
    assert.deepEqual(numbers, ["1", "2", "3", "4", "5", "6", "7", "8", "9"]);
  }],

  ["what cannot be recovered", async () => {
    const proxy = await openProxy();
    const { page, room } = await openRoom("small-gone", { from: proxy.origin });
    await publish("small-gone", "shown");
    await shown(room, "shown").waitFor();
    proxy.cut();
    await page.locator("#state[data-state=connecting]").waitFor();
    for (let i = 2; i <= 11; i++) await publish("small-gone", `${i} `.padEnd(250_000, "x"));
    const { first, offset } = await (await fetch(address("small-gone", "?limit=1"))).json();
    assert.ok(offset === 11 && first > 3 && first < 11, `${first} to ${offset}`);
    proxy.mend();
    await joined(page, "small-gone");
    serverIsDown = false;
    await room.getByText("not all that was missed could be recovered").waitFor();
    await room.locator(".gap.lost").getByText(`Messages 2 to ${first - 1} are lost here`).waitFor();
    await say(room, "and on");
    await shown(room, "and on").waitFor();
    const numbers = (await messagesOf(room)).map((text) => text.match(/^#(\d+)/)?.[1] ?? "gap");
    assert.deepEqual(numbers, ["1", "gap", ...Array.from({ length: 13 - first }, (_, i) => String(first + i))]);
  }],

  ["messages between what was shown and what came, to be loaded", async () => {
    const between = new Between();
    for (let i = 1; i <= 3; i++) await publish("spared", String(i));
    const { page, room } = await openRoom("spared", {}, between.prepare);
    await shown(room, "3").waitFor();
    between.isDeaf = true;
    for (let i = 4; i <= 6; i++) await publish("spared", String(i));
    await until(6, async () => (await (await fetch(address("spared", "?limit=1"))).json()).offset);
    const { epoch } = await (await fetch(address("spared", "?limit=1"))).json();
    await delay(0);
    between.page.send(JSON.stringify({ push: { channel: "spared", pub: { offset: 7, data: { text: "7" } } } }));
    await room.locator(".gap").getByText("Messages 4 to 6 are not shown here.").waitFor();
    between.isDeaf = false;
    assert.ok(epoch);
    await room.getByRole("button", { name: "Load them" }).press("Enter");
    await until([1, 2, 3, 4, 5, 6, 7].map((i) => `#${i} ${i}`), () => textsOf(room));
    assert.equal(await page.evaluate(() => document.activeElement.className), "log");
  }],

  ["the fate of a message", async () => {
    const { page, room, between } = await openBetween("fate", { name: "Ada" });
    const unsent = room.locator(".unsent");
    between.answers.publish = () => ({ error: { code: 103, message: "permission denied" } });
    await say(room, "refused");
    await unsent.getByText("Not sent: permission denied (103).").waitFor();
    await unsent.getByRole("button", { name: "Discard" }).press("Enter");
    assert.equal(await unsent.count(), 0);

    let refusals = 2;
    const busy = { error: { code: 111, message: "too many requests", temporary: true } };
    between.answers.publish = () => (refusals-- > 0 ? busy : undefined);
    await say(room, "patient");
    await shown(room, "patient").waitFor();
    assert.equal(between.count("publish"), 4);

    // Neither an answer nor the message: nobody knows.
    between.answers.publish = () => null;
    await say(room, "into the void");
    await unsent.getByText("Sending…").waitFor();
    await between.close(3000, "closed");
    await unsent.getByText("Not confirmed").waitFor();
    delete between.answers.publish;
    await joined(page, "fate");
    assert.equal(between.count("publish"), 5, "it is not sent again by itself");
    await unsent.getByRole("button", { name: "Send again" }).click();
    await shown(room, "into the void").waitFor();
    await until(0, () => unsent.count());

    // It arrived, and only the answer did not.
    between.isDeaf = true;
    await say(room, "heard in silence");
    await until(3, async () => (await (await fetch(address("fate", "?limit=1"))).json()).offset);
    await between.close(3000, "closed");
    between.isDeaf = false;
    await shown(room, "heard in silence").waitFor();
    await until(0, () => unsent.count());
    await until(["#1 You: patient", "#2 You: into the void", "#3 You: heard in silence"], () => messagesOf(room));
  }],

  ["taken out of the room", async () => {
    const { page, room, between } = await openBetween("out");
    await publish("out", "one");
    await shown(room, "one").waitFor();
    between.unsubscribe("out", 2500, "insufficient state");
    await room.getByText("Out for a moment: this page has missed something (2500").waitFor();
    await publish("out", "two");
    await joined(page, "out");
    await shown(room, "two").waitFor();
    between.unsubscribe("out", 2000, "server unsubscribe");
    await room.getByText("Not in the room: the server took this page out of the room (2000").waitFor();
    await publish("out", "three");
    await room.getByRole("button", { name: "Rejoin" }).press("Enter");
    await shown(room, "three").waitFor();
    assert.deepEqual(await textsOf(room), ["#1 one", "#2 two", "#3 three"]);

    between.answers.subscribe = () => ({ error: { code: 103, message: "permission denied" } });
    await between.close(3005, "expired");
    await room.getByText("Not in the room: permission denied (103).").waitFor();
  }],

  ["rooms that do not say who is here", async () => {
    const between = new Between();
    const isOff = { error: { code: 108, message: "not available" } };
    const isTooMany = { error: { code: 106, message: "limit exceeded" } };
    const stats = { presence_stats: { num_clients: 48211, num_users: 7 } };
    between.answers.presence = ({ channel }) => (channel === "crowd" ? isTooMany : isOff);
    between.answers.presence_stats = ({ channel }) => (channel === "crowd" ? stats : isOff);
    between.answers.history = ({ channel }) => (channel === "veiled" ? isOff : undefined);
    await publish("veiled", "before");
    const { page } = await openPage(hashOf("crowd", "veiled"), {}, between.prepare);
    const crowd = await joined(page, "crowd");
    await crowd.getByText("48,211 connections. This room does not list them.").waitFor();
    await crowd.getByRole("button", { name: "48,211 connections here: who?" }).waitFor();
    const veiled = await joined(page, "veiled");
    await veiled.getByRole("button", { name: "Who is here?" }).click();
    await veiled.getByText("This room does not show who is here.").waitFor();
    await topOf(veiled, "This room keeps no history.");
    assert.equal(await page.locator(".people li").count(), 0);
  }],

  ["many rooms that do not say who is here", async () => {
    const between = new Between();
    const isOff = { error: { code: 108, message: "not available" } };
    between.answers.presence = between.answers.presence_stats = () => isOff;
    const rooms = Array.from({ length: 16 }, (_, i) => `dark-${i}`);
    const { page } = await openPage(hashOf(...rooms), {}, between.prepare);
    const last = await joined(page, rooms.at(-1));
    await last.getByRole("button", { name: "Who is here?" }).click();
    await last.getByText("Not asked: too many rooms do not show who is here.").waitFor();
    // The server would close the connection at 20 refusals in a row.
    assert.equal(between.count("presence") + between.count("presence_stats"), 12);
  }],

  ["what close codes mean", async () => {
    const { page, room, between } = await openBetween("codes");
    for (const [code, words] of [
      [3001, "the server is shutting down (3001"], [3008, "this page reads too slowly (3008"], [4000, "closed (4000"],
      [1011, "an error inside the server (1011"],
    ]) {
      await between.close(code, "test");
      await page.locator("#closed").getByText(`Last close: ${words}: test)`).waitFor();
      await joined(page, "codes");
    }
    for (const code of [3500, 3999, 4500, 4999]) {
      await between.close(code, "test");
      await page.locator("#state[data-state=disconnected]").getByText("Disconnected").waitFor();
      await room.getByText("Waiting for the connection…").waitFor();
      await page.getByRole("button", { name: "Connect", exact: true }).press("Enter");
      await joined(page, "codes");
      await page.locator("#state[data-state=connected]").waitFor();
    }
    between.page.send(JSON.stringify({ push: { disconnect: { code: 3503, reason: "go away" } } }));
    await page.locator("#closed").getByText("the server asks to stay away (3503: go away)").waitFor();
    await page.locator("#state[data-state=disconnected]").waitFor();
  }],

  ["pings, and a server that falls silent", async () => {
    const between = new Between();
    between.isAlone = true;
    between.answers.connect = () => ({ connect: { client: "made-up", version: "0", ping: 25, pong: true } });
    between.answers.subscribe = () => ({ subscribe: { epoch: "e", offset: 0 } });
    for (const method of ["presence", "presence_stats"]) between.answers[method] = () => ({ error: { code: 108 } });
    const { page } = await openRoom("silent", {}, async (page) => {
      await page.clock.install();
      await between.prepare(page);
    });
    await page.locator("#state[data-state=connected]").waitFor();
    const frames = between.frames.length;
    between.page.send("{}");
    await until(["{}"], () => between.frames.slice(frames));
    const connects = between.count("connect");
    between.answers.presence_stats = () => null;
    await page.clock.runFor(34_000);
    await page.locator("#state[data-state=connected]").waitFor();
    assert.equal(between.count("connect"), connects);
    await page.clock.runFor(1_500);
    await page.locator("#closed").getByText("the server has gone silent").waitFor();
    await page.clock.runFor(1_500);
    await until(connects + 1, () => between.count("connect"));
    await page.locator("#state[data-state=connected]").waitFor();
  }],

  ["commands of a moment in one frame", async () => {
    const between = new Between();
    const { page } = await openPage(hashOf("a", "b", "c"), {}, between.prepare);
    for (const room of ["a", "b", "c"]) await joined(page, room);
    assert.match(between.frames[0], /^\{"id":1,"connect":/);
    const subscribes = between.frames.filter((frame) => frame.includes('"subscribe"'));
    assert.equal(subscribes.length, 1);
    assert.deepEqual(subscribes[0].split("\n").map((line) => JSON.parse(line).subscribe.channel), ["a", "b", "c"]);
  }],

  ["growing delays", async () => {
    const { page } = await openPage("/#delays", {}, withoutServer);
    await page.clock.runFor(125_000);
    const moments = await page.evaluate(() => window.attempts);
    const delays = moments.slice(1).map((moment, i) => Math.round((moment - moments[i]) / 100) / 10);
    // The clock moves by itself until the first attempt has failed.
    assert.deepEqual(delays.slice(1, 8), [1.5, 2.5, 4.5, 8.5, 16.5, 20, 20]);
    await page.locator("#trip").getByText(/^in \d+ s$/).waitFor();
    await page.evaluate(() => window.dispatchEvent(new Event("online")));
    assert.equal(await page.evaluate(() => window.attempts.length), moments.length + 1);
  }],

  ["another name", async () => {
    const { page, room } = await openRoom("renamed", { name: "Ada" });
    const { room: other } = await openRoom("renamed", { name: "Bob" });
    await say(room, "as Ada");
    await page.getByRole("button", { name: "You are Ada: change your name" }).click();
    const dialog = page.getByRole("dialog", { name: "Your name" });
    await dialog.getByRole("textbox").fill("ü".repeat(33));
    await dialog.getByRole("button", { name: "Save" }).click();
    await dialog.getByText("A name has at most 64 bytes; this one has 66.").waitFor();
    await dialog.getByRole("textbox").fill("Zoë");
    await dialog.getByRole("textbox").press("Enter");
    await dialog.waitFor({ state: "hidden" });
    await joined(page, "renamed");
    await say(room, "as Zoë");
    await until(["#1 Ada: as Ada", "#2 Zoë: as Zoë"], () => messagesOf(other));
    await until(["#1 You: as Ada", "#2 You: as Zoë"], () => messagesOf(room));
    await until(["Bob", "Zoë"], () => peopleOf(other));
    await page.reload();
    await page.getByRole("button", { name: "You are Zoë: change your name" }).waitFor();
  }],

  ["links to rooms, and rooms remembered", async () => {
    const rooms = ["käse & brot/100%", "#2"];
    const { page } = await openPage(hashOf(...rooms));
    for (const room of rooms) await joined(page, room);
    await page.getByRole("combobox", { name: "Another room" }).fill(" third ");
    await page.getByRole("button", { name: "Join" }).click();
    await joined(page, "third");
    assert.equal(await page.evaluate(() => document.activeElement.ariaLabel), "Message to third");
    assert.equal(new URL(page.url()).hash, `#${[...rooms, "third"].map(encodeURIComponent).join("&")}`);
    await roomOf(page, "#2").getByRole("button", { name: "Leave #2" }).click();
    assert.equal(await page.evaluate(() => document.activeElement.ariaLabel), "Message to third");
    await page.goto("about:blank");
    await page.goto(base);
    await joined(page, rooms[0]);
    await joined(page, "third");
    assert.equal(await page.locator(".room").count(), 2);
    await page.evaluate(() => { location.hash = "#elsewhere"; });
    await joined(page, "elsewhere");
    assert.equal(await page.locator(".room").count(), 1);
    assert.match(await page.title(), /^elsewhere – fanfare$/);
  }],

  ["names that are refused", async () => {
    const { page } = await openPage();
    const start = page.locator("#start-form");
    for (const [room, problem] of [
      ["", "Please name a room."], ["x".repeat(129), "at most 128 bytes; this one has 129"],
      ["ü".repeat(65), "at most 128 bytes; this one has 130"], ["a\u0007b", "no control characters"],
    ]) {
      await start.getByRole("combobox", { name: "Room", exact: true }).fill(room);
      await start.getByRole("button", { name: "Join" }).click();
      await start.getByText(problem).waitFor();
      assert.equal(await page.locator(".room").count(), 0);
    }
    await start.getByRole("combobox", { name: "Room", exact: true }).fill("ü".repeat(64));
    await start.getByRole("button", { name: "Join" }).click();
    await joined(page, "ü".repeat(64));
  }],

  ["keyboard only", async () => {
    const { page } = await openPage();
    // What has the focus after each Tab has a visible outline.
    const tab = async (times = 1) => {
      for (; times > 0; times--) {
        await page.keyboard.press("Tab");
        const outline = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
        assert.notEqual(outline, "none", await page.evaluate(() => document.activeElement.outerHTML));
      }
      return page.evaluate(() => document.activeElement.ariaLabel ?? document.activeElement.id);
    };
    assert.equal(await tab(3), "start-name");
    await page.keyboard.type("Kay");
    assert.equal(await tab(), "start-room");
    await page.keyboard.press("Enter");
    const room = await joined(page, "lobby");
    assert.equal(await page.evaluate(() => document.activeElement.ariaLabel), "Message to lobby");
    await page.keyboard.type("typed");
    await page.keyboard.press("Shift+Enter");
    await page.keyboard.type("only");
    await page.keyboard.press("Enter");
    await shown(room, "typed\nonly").waitFor();
    assert.equal(await tab(), "Send");
    for (let i = 0; i < 2; i++) await page.keyboard.press("Shift+Tab");
    assert.equal(await page.evaluate(() => document.activeElement.ariaLabel), "Messages in lobby");
    const leaving = roomOf(page, "lobby").getByRole("button", { name: "Leave lobby" });
    while (!await leaving.evaluate((button) => button === document.activeElement)) await page.keyboard.press("Shift+Tab");
    await page.keyboard.press("Enter");
    assert.equal(await page.evaluate(() => document.activeElement.id), "start-room");
    assert.equal(await page.locator(".room").count(), 0);
  }],

  ["nothing from others becomes markup", async () => {
    const attack = "<img src=x onerror=window.hurt=1><script>window.hurt=1</script>";
    const room = `r${attack}`.slice(0, 60);
    const { page: attackers, room: there } = await openRoom(room, { name: attack.slice(0, 64) });
    const { page } = await openRoom(room, { name: "Ada" });
    const here = roomOf(page, room);
    await say(there, attack);
    await shown(here, attack).waitFor();
    await publish(room, JSON.stringify({ [attack]: attack, __proto__: { hurt: 1 } }));
    await publish(room, JSON.stringify({ text: "javascript:alert(1) https://example.org/" }));
    await publish(room, attack);
    await until(4, () => here.locator(".message").count());
    await attackers.context().close();
    await here.locator(".news").getByText("left").waitFor();
    const found = await page.evaluate(() => [
      document.querySelectorAll("img, a, iframe, object, embed, .message script, .message [style]").length,
      document.scripts.length,
      window.hurt ?? 0,
      document.querySelectorAll(":is(.body, .who, .news, h2, .tab bdi) *").length,
    ]);
    assert.deepEqual(found, [0, 2, 0, 0]);
  }],

  ["light, dark, and what can be read", async () => {
    for (const [scheme, theme, isDark] of [
      ["light", "auto", false], ["dark", "auto", true], ["light", "dark", true], ["dark", "light", false],
    ]) {
      const { page } = await openPage("/#bright", { colorScheme: scheme }, (page) => (
        page.addInitScript((theme) => localStorage.setItem("fanfare.theme", theme), theme)));
      const room = await joined(page, "bright");
      await say(room, "legible");
      await shown(room, "legible").last().waitFor();
      const background = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
      assert.equal(Number(background.match(/\d+/)[0]) < 100, isDark, `${scheme}, ${theme}: ${background}`);
      for (const selector of [
        ".body", ".who", "time", ".words", ".top", "#phase", "#server", ".send", ".people li .who", ".people h3",
      ]) {
        const contrast = await contrastOf(page.locator(`${selector} >> visible=true`).first());
        assert.ok(contrast >= 4.5, `${selector}, ${scheme}, ${theme}: ${contrast}`);
      }
      await page.context().close();
    }
    const { page } = await openPage();
    await page.getByRole("button", { name: "Theme: auto" }).click();
    await page.getByRole("button", { name: "Theme: light" }).click();
    await page.getByRole("button", { name: "Theme: dark" }).waitFor();
    await page.reload();
    assert.equal(await page.evaluate(() => document.documentElement.dataset.theme), "dark");
  }],

  ["a phone of 360 pixels", async () => {
    const long = "w".repeat(128);
    const phone = { viewport: { width: 360, height: 640 }, hasTouch: true, name: "n".repeat(64) };
    const { page } = await openPage(hashOf(long, "second"), phone);
    await joined(page, long);
    await joined(page, "second");
    const room = roomOf(page, long);
    await publish(long, "unbroken".repeat(100));
    await publish(long, JSON.stringify({ deep: { key: "unbroken".repeat(30) } }));
    await until(2, () => room.locator(".message").count());
    assert.equal(await page.locator(".room >> visible=true").count(), 1);
    await room.locator(".people-button").click();
    const check = () => page.evaluate(() => {
      const wide = [...document.querySelectorAll("html, body, .room.active, .room.active :is(.log, .people)")]
        .filter((each) => each.scrollWidth > each.clientWidth).map((each) => each.className || each.tagName);
      return [...wide, ...document.documentElement.scrollHeight > innerHeight ? ["taller than the screen"] : []];
    });
    assert.deepEqual(await check(), []);
    await publish("second", "psst");
    const tab = page.getByRole("button", { name: "second, 1 new" });
    await tab.waitFor();
    assert.match(await page.title(), /^\(1\) /);
    await tab.click();
    await shown(roomOf(page, "second"), "psst").waitFor();
    await page.getByRole("button", { name: "second", exact: true }).waitFor();
    assert.deepEqual(await check(), []);
    const small = await page.evaluate(() => [...document.querySelectorAll("button:not(.inline), input, textarea")]
      .filter((each) => each.checkVisibility())
      .map((each) => [each.getBoundingClientRect(), each.ariaLabel ?? each.textContent])
      .filter(([{ width, height }]) => width < 40 || height < 44).map(([, name]) => name));
    assert.deepEqual(small, []);
    for (const name of ["second", long]) {
      await page.locator(".room.active .leave").click();
    }
    assert.deepEqual(await check(), []);
  }],

  ["nothing jumps while it is used", async () => {
    const { page } = await openPage("/#steady", { name: "Ada" });
    const room = await joined(page, "steady");
    await room.getByText("You are in the room.").waitFor();
    const places = () => page.evaluate(() => ["#bar", ".room > header", ".composer", "#status"].map((each) => {
      const { x, y, width, height } = document.querySelector(each).getBoundingClientRect();
      return [each, x, y, width, height];
    }));
    const before = await places();
    for (let i = 0; i < 5; i++) await say(room, `line ${i}`);
    await shown(room, "line 4").waitFor();
    await page.emulateMedia({ reducedMotion: "reduce" });
    assert.deepEqual(await places(), before);
  }],

  ["screenshots", values.shot && (async () => {
    await publish("garden", "The gate is open.");
    await publish("garden", '{"bed": 3, "moisture": 0.40}');
    const { room: bob } = await openRoom("garden", { name: "Bob" });
    const { page } = await openPage(hashOf("garden", "lobby"), { name: "Ada" });
    const room = await joined(page, "garden");
    await say(bob, "Hello! Is anybody here?");
    await shown(room, "Hello! Is anybody here?").waitFor();
    await say(room, "Yes: one message in, everybody gets it.");
    await shown(room, "Yes: one message in, everybody gets it.").waitFor();
    await publish("garden", Buffer.from(Array.from({ length: 4096 }, (_, i) => (i * 37) & 0xff)));
    await room.locator(".binary").waitFor();
    const name = (suffix) => values.shot.replace(/(\.\w+)?$/, (ending) => suffix + (ending || ".png"));
    await page.screenshot({ path: name("") });
    await page.emulateMedia({ colorScheme: "dark" });
    await page.screenshot({ path: name("-dark") });
    await page.emulateMedia({ colorScheme: "light" });
    await page.setViewportSize({ width: 360, height: 740 });
    await page.screenshot({ path: name("-phone") });
  }), "needs --shot"],

  ["reconnect after a restart", values.driven && (async () => {
    const { page, room } = await openRoom("restart");
    await say(room, "before");
    await shown(room, "before").waitFor();
    await room.getByRole("textbox").fill("kept over the restart");
    serverIsDown = true;
    const refused = new Promise((resolve) => {
      page.on("websocket", (socket) => socket.on("socketerror", resolve));
    });
    await server("STOP", "stopped");
    const why = page.locator("#closed").getByText(/the server is (shutting down|going away)/);
    await why.waitFor();
    // Attempts that find no server do not hide why the connection ended.
    await refused;
    await server("START", "started");
    await why.waitFor();
    await room.locator(".note.lost").getByText("The room has begun anew").waitFor({ timeout: 40_000 });
    await joined(page, "restart");
    serverIsDown = false;
    await room.getByRole("textbox").press("Enter");
    await shown(room, "kept over the restart").waitFor();
    const messages = (await messagesOf(room)).filter((line) => line.startsWith("#"));
    assert.deepEqual(messages, ["#1 You: before", "#1 You: kept over the restart"]);
  }), "needs run.py"],

  ["no console message", async () => assert.deepEqual(consoleProblems, [])],

  ["no request to elsewhere", async () => assert.deepEqual(foreignRequests, [])],
];

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--no-proxy-server",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
  ],
});
let passed = 0;
let failed = 0;
let skipped = 0;
try {
  for (const [title, check, need] of checks) {
    if (!check) {
      skipped++;
      console.log(`SKIP ${title}: ${need}`);
      continue;
    }
    let timer;
    const tooLate = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new Error(`not done within ${CHECK_TIMEOUT / 1000} s`)), CHECK_TIMEOUT);
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
      for (const member of openMembers) member.terminate();
      for (const context of openContexts) await context.close();
      for (const proxy of openProxies) proxy.close();
      openMembers = [];
      openContexts = [];
      openProxies = [];
      serverIsDown = false;
    }
  }
} finally {
  await browser.close();
  input.close();
}
console.log(`${passed} passed, ${failed} failed, ${skipped} skipped`);
process.exitCode = failed ? 1 : 0;
