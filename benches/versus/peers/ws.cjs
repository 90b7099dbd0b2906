// Node ws as its documentation has it: no compression, no list of clients that nobody needs.
"use strict";
const http = require("node:http");
const { WebSocketServer } = require("ws");

const sockets = new WebSocketServer({ noServer: true, perMessageDeflate: false, clientTracking: false });
const members = new Set();
const server = http.createServer((request, response) => response.writeHead(404).end());

server.on("upgrade", (request, socket, head) => {
  sockets.handleUpgrade(request, socket, head, (peer) => {
    peer.on("error", () => {});
    if (request.url === "/echo") {
      peer.on("message", (data, binary) => peer.send(data, { binary }));
      return;
    }
    members.add(peer);
    peer.on("close", () => members.delete(peer));
    peer.on("message", (data, binary) => {
      for (const member of members) if (member !== peer) member.send(data, { binary });
    });
  });
});

server.listen({ host: "127.0.0.1", port: 0, backlog: 4096 }, () => {
  console.log(`listening on 127.0.0.1:${server.address().port}`);
});
