// What the checks of the npm package `centrifuge` have between the client and the server.

import { openCuttingProxy } from "./checking.mjs";
import { randomFrom, socketUrl } from "./sdk_member.mjs";

// Cuts each connection after 256 bytes to 16 KiB, small numbers as often as large ones; one in ten in the
// server's answer to the handshake or just behind it.
function* randomCuts(seed, proxy) {
  const random = randomFrom(seed);
  while (!proxy.stopped) {
    yield Math.ceil(random() < 0.1 ? random() * 500 : 2 ** (8 + random() * 6));
  }
}

// kind "steady": is cut by cut(). kind "cutting": cuts by itself until stop().
export async function openProxy(base, kind, seed) {
  const proxy = { stopped: kind === "steady" };
  const inner = await openCuttingProxy(base, "/connection/websocket", randomCuts(seed, proxy));
  proxy.url = socketUrl(inner.base);
  proxy.stop = () => {
    proxy.stopped = true;
  };
  proxy.cut = () => {
    for (const each of inner.connections) each.resetAndDestroy();
  };
  proxy.count = () => inner.cut;
  proxy.close = () => inner.close();
  return proxy;
}
