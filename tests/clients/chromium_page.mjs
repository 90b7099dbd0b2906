// Tests the page of a fanfare server in headless Chromium, with a member of the
// npm package `ws` as the other side.
//
//     node chromium_page.mjs http://127.0.0.1:9001 [--shot FILE.png] [--driven]
//
// --shot    saves screenshots: FILE.png, FILE-dark.png and FILE-phone.png
// --driven  run by run.py: "RESTART" on standard output asks it to restart the
//           server, "restarted" on standard input is the answer
//
// Chromium is /usr/bin/chromium, or what CHROMIUM names. Exits 1 if a check fails.

import { strict as assert } from "node:assert";
import { once } from "node:events";
import { connect, createServer } from "node:net";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import { chromium } from "playwright-core";
import WebSocket from "ws";

const CHECK_TIMEOUT = 60_000;
const STEP_TIMEOUT = 15_000;
const RETRY_EVERY = 100;

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

async function openPage(path = "/", { from = base, ...options } = {}, prepare = async () => {}) {
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
    // An attempt to connect while there is no server is to fail, and is logged. So is a 410.
    if (serverIsDown && /^(WebSocket connection to |Failed to load resource: net::)/.test(message.text())) return;
    if (message.text().includes("the server responded with a status of 410 ")) return;
    consoleProblems.push(message.text());
  });
  await prepare(page);
  const response = await page.goto(from + path);
  return { page, response };
}

async function joinRoom(page, room) {
  await page.locator("#room").fill(room);
  await page.locator("#join").click();
  await joined(page);
}

function joined(page) {
  return page.locator("#state[data-state=joined]").waitFor();
}

function line(page, text) {
  return page.locator("#messages .text").getByText(text, { exact: true });
}

// The other member. `next` gives its messages one by one.
async function openMember(room) {
  const socket = new WebSocket(`${socketBase}/rooms/${encodeURIComponent(room)}`);
  const inbox = [];
  const waiting = [];
  socket.on("error", () => {});
  socket.on("message", (data, isBinary) => {
    const message = isBinary ? data : data.toString();
    if (waiting.length) waiting.shift()(message);
    else inbox.push(message);
  });
  socket.next = () => inbox.length ? inbox.shift() : new Promise((resolve) => waiting.push(resolve));
  openMembers.push(socket);
  await once(socket, "open");
  return socket;
}

// Says hello until the page shows it: then both are members for sure.
async function meet(page, room) {
  const member = await openMember(room);
  const hello = () => member.readyState === WebSocket.OPEN && member.send("hello");
  hello();
  const repeat = setInterval(hello, RETRY_EVERY);
  try {
    await line(page, "hello").last().waitFor();
  } finally {
    clearInterval(repeat);
  }
  return member;
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

const address = (room, query = "") => `${base}/rooms/${encodeURIComponent(room)}${query}`;

async function publish(room, content) {
  const type = typeof content === "string" ? "text/plain" : "application/octet-stream";
  const response = await fetch(address(room), { method: "POST", headers: { "Content-Type": type }, body: content });
  assert.equal(response.status, 200, await response.clone().text());
  return response.json();
}

// [offset, text] of each message in the list, notes as ["note", text].
function listOf(page) {
  return page.locator("#messages > *").evaluateAll((lines) => lines.map((line) => line.matches(".note")
    ? ["note", line.textContent]
    : [line.querySelector(".meta").textContent.match(/#(\d+) · \d/)?.[1] ?? "none", line.querySelector(".text").textContent]));
}

async function messagesOf(page) {
  return (await listOf(page)).filter(([offset]) => offset !== "note").map(([offset, text]) => `${offset} ${text}`);
}

async function placeIs(page, { epoch, offset }) {
  await page.locator(`#place[title="${epoch}:${offset}"]`).getByText(`#${offset} of epoch ${epoch.slice(0, 8)}`).waitFor();
}

// Neither answers to requests nor a WebSocket that connects, a clock that only the test moves, and the longest
// delay that the jitter allows. window.attempts has the moments of all attempts, in ms.
async function withoutServer(page) {
  await page.clock.install();
  await page.addInitScript(() => {
    window.attempts = [];
    Math.random = () => 1;
    window.fetch = async () => {
      window.attempts.push(performance.now());
      throw new TypeError("no server");
    };
    window.WebSocket = class {
      constructor() {
        window.attempts.push(performance.now());
      }
    };
  });
}

const input = createInterface({ input: process.stdin });
async function restartServer() {
  const answer = once(input, "line");
  console.log("RESTART");
  const [text] = await Promise.race([answer, once(input, "close").then(() => ["(end of input)"])]);
  assert.equal(text, "restarted");
}

const checks = [
  ["strict content security policy", async () => {
    const { page, response } = await openPage();
    assert.equal(response.status(), 200);
    const policy = response.headers()["content-security-policy"] ?? "";
    for (const part of ["default-src 'none'", "script-src 'sha256-", "style-src 'sha256-"]) {
      assert.ok(policy.includes(part), `no ${part} in policy "${policy}"`);
    }
    assert.ok(!policy.includes("unsafe"), policy);
    // The style and the script were let in; other scripts are not.
    const size = await page.locator("#send").evaluate((send) => getComputedStyle(send).minHeight);
    assert.equal(size, "44px");
    const before = consoleProblems.length;
    const ran = await page.evaluate(() => {
      const script = document.createElement("script");
      script.textContent = "window.ran = true";
      document.head.append(script);
      return window.ran ?? false;
    });
    assert.equal(ran, false, "an injected script ran");
    await page.close();
    consoleProblems.length = before; // the refusal just asked for
  }],

  ["names for assistive technology", async () => {
    const { page } = await openPage();
    for (const [role, name, id] of [
      ["textbox", "Room", "room"], ["button", "Join", "join"], ["button", "Leave", "leave"],
      ["textbox", "Message", "text"], ["button", "Send", "send"], ["log", "Messages", "messages"],
    ]) {
      const found = page.getByRole(role, { name, exact: true });
      assert.equal(await found.getAttribute("id"), id);
    }
    assert.equal(await page.locator("#state").getAttribute("role"), "status");
    assert.equal(await page.locator("#messages").getAttribute("aria-live"), "polite");
  }],

  ["messages both ways", async () => {
    const { page } = await openPage();
    assert.equal(await page.locator("#room").inputValue(), "lobby");
    await page.locator("#join").click();
    await joined(page);
    assert.equal(new URL(page.url()).hash, "#lobby");
    const member = await meet(page, "lobby");

    const markup = "<img src=x onerror=alert(1)> Grüße, 世界 👋";
    member.send(markup);
    await line(page, markup).waitFor();
    member.send(Buffer.from([0xca, 0xfe, ...Array(1234).fill(0)]));
    await page.locator(".other.binary .text").getByText(/^1[,.\s]?236 bytes: ca fe 00 /).waitFor();
    member.send("");
    await line(page, "(empty)").waitFor();

    await page.locator("#text").fill("by button");
    await page.locator("#send").click();
    assert.equal(await member.next(), "by button");
    await page.locator("#text").fill("by key\nin two lines");
    await page.locator("#text").press("Enter");
    assert.equal(await member.next(), "by key\nin two lines");
    assert.equal(await page.locator("#text").inputValue(), "");
    member.send("last");
    await line(page, "last").waitFor();
    assert.deepEqual(await page.locator(".own .text").allTextContents(), ["by button", "by key\nin two lines"]);
    assert.equal(await page.locator(".waiting").count(), 0);
  }],

  ["history on arrival", async () => {
    const texts = ["first", ' {"b": 1.0, "1": [{"json": "}"}], "a":"\\u00e4 \\"}" } ', '"json"', "json", '{"text":', "", "[]"];
    for (const text of texts) await publish("past", text);
    await publish("past", Buffer.from([0xff, 0, 1]));
    const { offset, epoch } = await publish("past", "😀 end");
    assert.equal(offset, 9);
    const { page } = await openPage("/#past");
    await joined(page);
    await placeIs(page, { epoch, offset });
    const shown = [...texts.map((text) => text || "(empty)"), "3 bytes: ff 00 01", "😀 end"];
    assert.deepEqual(await messagesOf(page), shown.map((text, i) => `${i + 1} ${text}`));
    assert.match(await page.locator("#messages .meta").first().textContent(), /^#1 · .*\d:\d\d/);

    // What comes now goes on from there, the page's own messages among it.
    const member = await openMember("past");
    await page.locator("#text").fill("own");
    await page.locator("#text").press("Enter");
    assert.equal(await member.next(), "own");
    member.send("other");
    await placeIs(page, { epoch, offset: 11 });
    assert.deepEqual((await messagesOf(page)).slice(9), ["10 own", "11 other"]);
    assert.match(await page.locator(".own .meta").textContent(), /^You · #10 · /);

    // Somewhere else is another list; coming back shows it all again, once.
    await joinRoom(page, "elsewhere");
    assert.deepEqual(await messagesOf(page), []);
    await joinRoom(page, "past");
    assert.equal((await messagesOf(page)).length, 11);
    await page.locator("#leave").click();
    await publish("past", "while away");
    await page.locator("#join").click();
    await joined(page);
    await placeIs(page, { epoch, offset: 12 });
    assert.deepEqual((await messagesOf(page)).slice(9), ["10 own", "11 other", "12 while away"]);
  }],

  ["a long history", async () => {
    const member = await openMember("long");
    for (let i = 1; i <= 900; i++) member.send(`${i} ${"x".repeat(500)}`);
    member.send("end");
    const { page } = await openPage("/#long");
    await line(page, "end").waitFor();
    const held = await (await fetch(address("long", "?limit=1"))).json();
    assert.equal(held.offset, 901);
    const list = await listOf(page);
    const offsets = list.map(([offset]) => offset).filter((offset) => offset !== "note").map(Number);
    assert.equal(offsets.at(-1), 901);
    assert.deepEqual(offsets, offsets.map((_, i) => offsets[0] + i));
    assert.ok(offsets.length >= 400, `${offsets.length} messages`);
  }],

  ["recovery after the connection drops", async () => {
    const proxy = await openProxy();
    const { page } = await openPage("/#cut", { from: proxy.origin });
    await joined(page);
    const member = await openMember("cut");
    await page.locator("#text").fill("before");
    await page.locator("#text").press("Enter");
    assert.equal(await member.next(), "before");
    const { epoch } = await publish("cut", "before too");
    await line(page, "before too").waitFor();
    for (let round = 0; round < 3; round++) {
      const last = 2 + round * 4;
      proxy.cut();
      await page.locator("#state[data-state=reconnecting]").waitFor();
      assert.match(await page.locator("#state").textContent(), /^Reconnecting in \d+ s/);
      for (let i = 1; i <= 3; i++) await publish("cut", `round ${round}, ${i}`);
      proxy.mend();
      await joined(page);
      serverIsDown = false;
      await page.locator("#state").getByText("3 messages recovered").waitFor();
      await publish("cut", `after round ${round}`);
      await placeIs(page, { epoch, offset: last + 4 });
    }
    const rounds = [0, 1, 2].flatMap((round) => [
      ...[1, 2, 3].map((i) => `round ${round}, ${i}`), `after round ${round}`]);
    assert.deepEqual(await messagesOf(page), ["before", "before too", ...rounds].map((text, i) => `${i + 1} ${text}`));
    assert.deepEqual(
      (await listOf(page)).map(([, text]) => text).filter((text) => text.startsWith("Recovered")),
      ["Recovered: messages #3 to #5", "Recovered: messages #7 to #9", "Recovered: messages #11 to #13"]);
  }],

  ["a message that did not arrive", async () => {
    const proxy = await openProxy();
    // A WebSocket that keeps what is sent to itself.
    const { page } = await openPage("/#unsent", { from: proxy.origin }, (page) => page.addInitScript(() => {
      WebSocket.prototype.send = () => {};
    }));
    await joined(page);
    await page.locator("#text").fill("into the void");
    await page.locator("#text").press("Enter");
    await page.locator(".own.waiting .meta").getByText("You · sending…").waitFor();
    const { epoch } = await publish("unsent", "another");
    await line(page, "another").waitFor();
    assert.deepEqual(await messagesOf(page), ["1 another", "none into the void"]);
    proxy.cut();
    await page.locator("#state[data-state=reconnecting]").waitFor();
    // Not from a member, so not the page's.
    await publish("unsent", "into the void");
    proxy.mend();
    await joined(page);
    serverIsDown = false;
    await placeIs(page, { epoch, offset: 2 });
    await page.locator(".own.unseen .meta").getByText("You · not in the room up to #2").waitFor();
    assert.deepEqual(await messagesOf(page), ["1 another", "2 into the void", "none into the void"]);
  }],

  ["history that is gone", async () => {
    const proxy = await openProxy();
    const { page } = await openPage("/#gone", { from: proxy.origin });
    await joined(page);
    const { epoch } = await publish("gone", "shown");
    await line(page, "shown").waitFor();
    proxy.cut();
    await page.locator("#state[data-state=reconnecting]").waitFor();
    for (let i = 2; i <= 11; i++) await publish("gone", `${i} `.padEnd(300_000, "x"));
    const { first, offset } = await (await fetch(address("gone", "?limit=1"))).json();
    assert.ok(offset === 11 && first > 3 && first < 11, `${first} to ${offset}`);
    proxy.mend();
    await joined(page);
    serverIsDown = false;
    await page.locator("#messages .note.lost").getByText(`Messages #2 to #${first - 1} lost: `).waitFor();
    await page.locator("#state").getByText(`${first - 2} messages lost, ${12 - first} recovered`).waitFor();
    await publish("gone", "and on");
    await placeIs(page, { epoch, offset: 12 });
    const numbers = (await messagesOf(page)).map((text) => Number(text.split(" ")[0]));
    assert.deepEqual(numbers, [1, ...Array.from({ length: 13 - first }, (_, i) => first + i)]);
    assert.deepEqual((await messagesOf(page)).at(-1), "12 and on");
  }],

  ["a message that the connection is spared", async () => {
    const { page } = await openPage("/#spared");
    await joined(page);
    const member = await openMember("spared");
    await page.locator("#text").fill("who am I?");
    await page.locator("#text").press("Enter");
    assert.equal(await member.next(), "who am I?");
    const { publications: [{ sender }] } = await (await fetch(address("spared"))).json();
    const response = await fetch(address("spared", `?exclude=${sender}`), { method: "POST", body: "not for you" });
    assert.equal(response.status, 200);
    const { epoch } = await publish("spared", "for all");
    await page.locator("#messages .note.lost").getByText("was not sent all messages up to #3").waitFor();
    await placeIs(page, { epoch, offset: 3 });
    assert.deepEqual(await messagesOf(page), ["1 who am I?", "2 not for you", "3 for all"]);
    assert.match(await page.locator(".own .meta").textContent(), /^You · #1 · /);
  }],

  ["link to a room", async () => {
    const room = "käse & brot/100%";
    const { page } = await openPage(`/#${encodeURIComponent(room)}`);
    await joined(page);
    assert.equal(await page.locator("#room").inputValue(), room);
    const member = await meet(page, room);
    await page.locator("#text").fill("found");
    await page.locator("#text").press("Enter");
    assert.equal(await member.next(), "found");
  }],

  ["names that are refused", async () => {
    const { page } = await openPage();
    for (const room of ["", "x".repeat(129), "ü".repeat(65), ".."]) {
      await page.locator("#room").fill(room);
      await page.locator("#join").click();
      assert.notEqual(await page.locator("#room-hint").textContent(), "");
      assert.equal(await page.locator("#state").getAttribute("data-state"), "left");
    }
    await joinRoom(page, "ü".repeat(64));
    assert.equal(await page.locator("#room-hint").textContent(), "");
  }],

  ["leave, and keep the text", async () => {
    const { page } = await openPage();
    await joinRoom(page, "leaving");
    await page.locator("#text").fill("unsent");
    await page.locator("#leave").click();
    await page.locator("#state[data-state=left]").getByText("1000").waitFor();
    await page.locator("#text").press("Enter");
    assert.equal(await page.locator("#text").inputValue(), "unsent");
    assert.match(await page.locator("#text-hint").textContent(), /kept/);
    await page.locator("#join").click();
    await joined(page);
    const member = await meet(page, "leaving");
    await page.locator("#text").press("Enter");
    assert.equal(await member.next(), "unsent");
  }],

  ["bounded list", async () => {
    const { page } = await openPage();
    await joinRoom(page, "flood");
    const member = await meet(page, "flood");
    for (let i = 0; i < 1500; i++) member.send(`flood ${i}`);
    member.send("x".repeat(100_000));
    member.send("end of flood");
    await line(page, "end of flood").waitFor();
    assert.equal(await page.locator("#messages > *").count(), 500);
    const longest = await page.locator("#messages .text").evaluateAll(
      (lines) => Math.max(...lines.map((each) => each.textContent.length)));
    assert.ok(longest > 4000 && longest < 4100, `a line of ${longest} characters`);
    const fromEnd = await page.locator("#messages").evaluate(
      (list) => list.scrollHeight - list.scrollTop - list.clientHeight);
    assert.ok(fromEnd < 2, `${fromEnd} px from the end`);
  }],

  ["growing delays", async () => {
    const { page } = await openPage("/#delays", {}, withoutServer);
    await page.clock.runFor(125_000);
    const moments = await page.evaluate(() => window.attempts);
    const delays = moments.slice(1).map((moment, i) => Math.round((moment - moments[i]) / 100) / 10);
    assert.deepEqual(delays.slice(0, 9), [0.5, 1, 2, 4, 8, 10, 10, 10, 10]);
    assert.match(await page.locator("#state").textContent(), /Reconnecting in \d+ s.*cannot be reached/);

    await page.evaluate(() => window.dispatchEvent(new Event("online")));
    assert.equal(await page.evaluate(() => window.attempts.length), moments.length + 1);
    await page.locator("#leave").click();
    await page.clock.runFor(125_000);
    await page.evaluate(() => window.dispatchEvent(new Event("online")));
    assert.equal(await page.evaluate(() => window.attempts.length), moments.length + 1);
  }],

  ["phone", async () => {
    const { page } = await openPage("/", { viewport: { width: 390, height: 844 }, hasTouch: true });
    await joinRoom(page, "w".repeat(128));
    const member = await meet(page, "w".repeat(128));
    member.send("unbroken".repeat(100));
    await line(page, "unbroken".repeat(100)).waitFor();
    const [inside, across, down] = await page.evaluate(() => {
      const root = document.documentElement;
      const list = document.getElementById("messages");
      return [
        list.scrollWidth <= list.clientWidth,
        root.scrollWidth <= root.clientWidth,
        root.scrollHeight <= root.clientHeight,
      ];
    });
    assert.ok(inside, "the list overflows sideways");
    assert.ok(across, "the page overflows sideways");
    assert.ok(down, "the page is taller than the screen");
  }],

  ["screenshots", values.shot && (async () => {
    const { page } = await openPage();
    await publish("garden", "The gate is open.");
    await publish("garden", '{"bed": 3, "moisture": 0.40}');
    await joinRoom(page, "garden");
    const member = await openMember("garden");
    member.send("Hello! Is anybody here?");
    await line(page, "Hello! Is anybody here?").waitFor();
    await page.locator("#text").fill("Yes: one message in, everybody else gets it.");
    await page.locator("#text").press("Enter");
    await member.next();
    member.send(Buffer.from(Array.from({ length: 4096 }, (_, i) => (i * 37) & 0xff)));
    await page.locator(".binary").waitFor();
    await page.locator("#text").fill("Next: ");
    const name = (suffix) => values.shot.replace(/(\.\w+)?$/, (ending) => suffix + (ending || ".png"));
    await page.screenshot({ path: name("") });
    await page.emulateMedia({ colorScheme: "dark" });
    await page.screenshot({ path: name("-dark") });
    await page.emulateMedia({ colorScheme: "light" });
    await page.setViewportSize({ width: 390, height: 844 });
    await page.screenshot({ path: name("-phone") });
  }), "needs --shot"],

  ["reconnect after a restart", values.driven && (async () => {
    const { page } = await openPage();
    await joinRoom(page, "restart");
    await meet(page, "restart");
    await page.locator("#text").fill("kept over the restart");
    await page.evaluate(() => {
      const state = document.getElementById("state");
      window.states = [];
      new MutationObserver(() => window.states.push(`${state.dataset.state}: ${state.textContent}`))
        .observe(state, { attributes: true, childList: true, subtree: true, characterData: true });
    });

    serverIsDown = true;
    await restartServer();
    await page.locator("#messages .note").getByText("1001").waitFor();
    await page.locator("#state[data-state=joined]").waitFor({ timeout: 40_000 });
    serverIsDown = false;
    const states = await page.evaluate(() => window.states);
    assert.ok(states.some((state) => /^reconnecting: .*going away \(1001/.test(state)), states.join("\n"));

    await page.locator("#messages .note.lost").getByText("The room has begun anew").waitFor();
    await page.locator("#messages").evaluate((list) => list.replaceChildren());
    const member = await meet(page, "restart");
    await page.locator("#text").press("Enter");
    assert.equal(await member.next(), "kept over the restart");
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
