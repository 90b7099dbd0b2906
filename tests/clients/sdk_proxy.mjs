// What the checks of the npm package `centrifuge` have between the client and the server.

import { once } from "node:events";
import WebSocket, { WebSocketServer } from "ws";
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

// Passes messages on, not bytes; end(code, reason) sends a Close to all clients.
async function openRelay(base) {
  const listener = new WebSocketServer({ host: "127.0.0.1", port: 0, handleProtocols: ([first]) => first });
  const pairs = new Map();
  listener.on("connection", (client) => {
    const server = new WebSocket(socketUrl(base), client.protocol ? [client.protocol] : []);
    pairs.set(client, server);
    const early = [];
    server.on("open", () => {
      for (const each of early.splice(0)) server.send(...each);
    });
    client.on("message", (data, binary) => {
      if (server.readyState === WebSocket.OPEN) server.send(data, { binary });
      else early.push([data, { binary }]);
    });
    server.on("message", (data, binary) => client.send(data, { binary }));
    const end = () => {
      pairs.delete(client);
      client.terminate();
      server.terminate();
    };
    for (const each of [client, server]) each.on("close", end).on("error", end);
  });
  await once(listener, "listening");
  return {
    url: socketUrl(`http://127.0.0.1:${listener.address().port}`),
    end: (code, reason) => {
      for (const client of pairs.keys()) client.close(code, reason);
    },
    close: () => {
      for (const client of pairs.keys()) client.terminate();
      listener.close();
    },
  };
}

// kind "steady": is cut by cut(). kind "cutting": cuts by itself until stop(). kind "relay": see there.
export async function openProxy(base, kind, seed) {
  if (kind === "relay") return openRelay(base);
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
