// Bun's own server: topics are its way to fan out.
const server = Bun.serve({
  hostname: "127.0.0.1",
  port: 0,
  fetch(request, server) {
    const echo = new URL(request.url).pathname === "/echo";
    if (server.upgrade(request, { data: { echo } })) return undefined;
    return new Response("expected a WebSocket", { status: 400 });
  },
  websocket: {
    perMessageDeflate: false,
    maxPayloadLength: 16 << 20,
    // Who is behind by less than this misses nothing.
    backpressureLimit: 64 << 20,
    open(peer) {
      if (!peer.data.echo) peer.subscribe("versus");
    },
    message(peer, message) {
      if (peer.data.echo) peer.send(message);
      else peer.publish("versus", message);
    },
  },
});
console.log(`listening on 127.0.0.1:${server.port}`);
