// Tests a fanfare server with the npm package `centrifuge` in headless Chromium, over JSON.
//
//     node sdk_chromium.mjs http://127.0.0.1:9001
//
// The page is of the server's origin, which has to be allowed (--allow-origin) for the proxies in between; its
// scripts come from here. Chromium is /usr/bin/chromium, or what CHROMIUM names. Exits 1 if a check fails.

import { randomInt } from "node:crypto";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import path from "node:path";
import { parseArgs } from "node:util";
import { chromium } from "playwright-core";
import { run } from "./checking.mjs";
import { CHECK_TIMEOUT } from "./sdk_member.mjs";
import { openProxy } from "./sdk_proxy.mjs";

const { positionals } = parseArgs({ allowPositionals: true });
if (positionals.length !== 1) {
  console.error("usage: node sdk_chromium.mjs BASE_URL");
  process.exit(2);
}
const base = new URL(positionals[0]).origin;

const ENTRY = `
  import { checksOf } from "./sdk_checks.mjs";
  import { Member } from "./sdk_member.mjs";
  import { Centrifuge } from "./centrifuge.mjs";

  const openProxy = async (...rest) => {
    const { url, at } = await openProxyAt(...rest);
    const calls = ["cut", "stop", "count", "close"].map((what) => [what, () => callProxy(at, what)]);
    return { url, ...Object.fromEntries(calls) };
  };
  const asIs = (value) => value;
  const env = { base: location.origin, room: "chromium", Centrifuge, options: {}, pack: asIs, unpack: asIs, openProxy };
  window.closeAll = () => Member.closeAll();
  window.begin = (seed) => { window.checks = checksOf([env], seed); };
`;

const bundle = path.join(path.dirname(createRequire(import.meta.url).resolve("centrifuge")), "index.mjs");
const scripts = {
  "/entry.mjs": ENTRY,
  "/centrifuge.mjs": await readFile(bundle, "utf8"),
};
for (const name of ["sdk_checks.mjs", "sdk_member.mjs", "sdk_recovery.mjs"]) {
  scripts[`/${name}`] = await readFile(new URL(name, import.meta.url), "utf8");
}

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--no-proxy-server",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
  ],
});
try {
  const page = await browser.newPage({ bypassCSP: true });
  // What it says by itself about connections that were cut is not for here.
  page.on("console", (message) => message.type() === "log" && console.log(message.text()));
  page.on("pageerror", (error) => console.log(`in the page: ${error.message}`));
  await page.route((url) => url.origin === base && url.pathname in scripts, (route) =>
    route.fulfill({ contentType: "text/javascript", body: scripts[new URL(route.request().url()).pathname] }));
  const proxies = [];
  await page.exposeFunction("openProxyAt", async (...rest) => {
    const proxy = await openProxy(base, ...rest);
    return { url: proxy.url, at: proxies.push(proxy) - 1 };
  });
  await page.exposeFunction("callProxy", (at, what) => proxies[at][what]());
  await page.goto(`${base}/healthz`);
  await page.addScriptTag({ type: "module", url: "/entry.mjs" });
  await page.evaluate((seed) => begin(seed), randomInt(2 ** 31));
  const titles = await page.evaluate(() => checks.map(([title]) => title));
  const checks = titles.map((title, at) => [title, async () => {
    const wrong = await page.evaluate((at) => checks[at][1]().then(() => null, (error) => error.message), at);
    if (wrong !== null) throw new Error(wrong);
  }]);
  await run(checks, CHECK_TIMEOUT, () => page.evaluate(() => closeAll()));
} finally {
  await browser.close();
}
