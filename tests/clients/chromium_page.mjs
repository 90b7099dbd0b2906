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

async function openPage(path = "/", options = {}, prepare = async () => {}) {
  const context = await browser.newContext({ viewport: { width: 1000, height: 720 }, ...options });
  openContexts.push(context);
  context.setDefaultTimeout(STEP_TIMEOUT);
  context.on("request", (request) => {
    if (new URL(request.url()).origin !== base) foreignRequests.push(request.url());
  });
  const page = await context.newPage();
  page.on("websocket", (socket) => {
    if (new URL(socket.url()).origin !== socketBase) foreignRequests.push(socket.url());
  });
  page.on("pageerror", (error) => consoleProblems.push(String(error)));
  page.on("console", (message) => {
    if (!["error", "warning"].includes(message.type())) return;
    // An attempt to connect while there is no server is to fail, and is logged.
    if (serverIsDown && message.text().startsWith("WebSocket connection to ")) return;
    consoleProblems.push(message.text());
  });
  await prepare(page);
  const response = await page.goto(base + path);
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

// A WebSocket that never connects, a clock that only the test moves, and the longest
// delay that the jitter allows. window.attempts has the moments of all attempts, in ms.
async function withoutServer(page) {
  await page.clock.install();
  await page.addInitScript(() => {
    window.attempts = [];
    Math.random = () => 1;
    window.WebSocket = class extends EventTarget {
      static OPEN = 1;
      readyState = 0;
      constructor() {
        super();
        window.attempts.push(performance.now());
        queueMicrotask(() => this.dispatchEvent(new CloseEvent("close", { code: 1006 })));
      }
      close() {}
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
    assert.deepEqual(delays.slice(0, 9), [0.5, 1, 2, 4, 8, 16, 30, 30, 30]);
    assert.match(await page.locator("#state").textContent(), /Reconnecting in \d+ s.*1006/);

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
    await joinRoom(page, "lobby");
    const member = await meet(page, "lobby");
    await page.locator("#messages").evaluate((list) => list.replaceChildren());
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
      openMembers = [];
      openContexts = [];
    }
  }
} finally {
  await browser.close();
  input.close();
}
console.log(`${passed} passed, ${failed} failed, ${skipped} skipped`);
process.exitCode = failed ? 1 : 0;
