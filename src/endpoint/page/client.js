// A small client of the Centrifugo client protocol (version 2, JSON frames), in plain JavaScript. It is what the
// page at / speaks, and may be copied as a start for a client of your own.
//
//     const client = new Client("wss://chat.example/connection/websocket", { data: () => ({ name: "Ada" }) });
//     const lobby = client.room("lobby", {
//       subscribed: ({ position, recovered }) => console.log("in", position, recovered),
//       publication: ({ offset, data, info }) => console.log(offset, info?.user, data),
//     });
//     lobby.subscribe();
//     client.connect();
//     await lobby.publish({ text: "hello" });
//
// One connection serves all rooms. It comes back by itself, after a random and growing delay, unless the server's close
// code says that this is pointless; a server that has gone silent is noticed by its missing pings. Every room goes on
// behind the last publication it has shown, if the server still holds what came since. Every command ends: with its
// result, with the server's error, or with a ConnectionError if nobody knows.

const BACKOFF_MIN = 500;        // ms
const BACKOFF_MAX = 20_000;     // ms
const STEADY_AFTER = 5_000;     // ms; a connection that lasted this long starts the delays anew
const ANSWER_WITHIN = 10_000;   // ms; from a command to its reply, and from dialling to being connected
const PING_GRACE = 10_000;      // ms; by which a ping may be late
const TRIES = 4;                // of a command that the server refuses for the moment
const BATCH_CHARS = 16_384;     // of one frame with more than one command: far below any limit of a server
const RESUBSCRIBE_FROM = 2500;  // unsubscribe codes from here on: come back
const STATE_INVALIDATED = [2502, 3014]; // come back, but not to where you were
const TOO_MANY_REQUESTS = 111;  // refused before anything was done

/** The close codes after which coming back would end in the same way. */
export function isTerminal(code) {
  return (code >= 3500 && code <= 3999) || (code >= 4500 && code <= 4999) || code === 1009;
}

/** Milliseconds to wait before attempt 0, 1, 2…: random, so that clients cut at once do not come back at once. */
export function backoff(attempt) {
  return Math.min(BACKOFF_MAX, BACKOFF_MIN + Math.random() * Math.min(BACKOFF_MAX, BACKOFF_MIN * 2 ** attempt));
}

/** The server's answer to a command: no, and why. `temporary`: it may say yes a little later. */
export class ProtocolError extends Error {
  constructor({ code, message = "", temporary = false }) {
    super(message);
    Object.assign(this, { code, temporary: temporary || code < 100 });
  }
}

/** There is no answer. A command that was `sent` may have been carried out or not; another one has not. */
export class ConnectionError extends Error {
  constructor(message, sent = true) {
    super(message);
    this.sent = sent;
  }
}

/**
 * A connection and its rooms. Options, all of them optional:
 *   data       what `connect` carries, or a function that gives it for each attempt
 *   name       of the program, up to 16 characters
 *   parse      a JSON.parse of your own
 *   state      ({ state, code, reason, delay }) => …: "connecting" (the next attempt is `delay` ms away),
 *              "connected" or "disconnected"; code and reason are those of the close that led there
 *   roundTrip  (ms) => …: how long the latest reply took
 */
export class Client {
  state = "disconnected";
  id = "";                 // this connection's, as others see it in `info.client`
  server = "";             // its name and version
  #url; #options;
  #socket = null;
  #rooms = new Map();
  #calls = new Map();      // commands without a reply yet, by id
  #nextId = 1;
  #outbox = [];
  #silence = 0;            // ms without a byte after which the connection counts as lost; 0: no limit
  #answersPings = false;
  #watch = 0; #retry = 0;  // timers
  #attempts = 0; #connectedAt = 0;
  #online = () => this.state === "connecting" && !this.#socket && this.#open();

  constructor(url, options = {}) {
    [this.#url, this.#options] = [url, options];
  }

  /** The room of this name: always the same object, so that there is one place that knows where it is. */
  room(channel, listener = {}) {
    if (!this.#rooms.has(channel)) this.#rooms.set(channel, new Room(this, channel, listener));
    return this.#rooms.get(channel);
  }

  /** Unsubscribes a room and forgets it. */
  forget(room) {
    room.unsubscribe();
    this.#rooms.delete(room.channel);
  }

  connect() {
    if (this.state !== "disconnected") return;
    this.#attempts = 0;
    globalThis.addEventListener?.("online", this.#online);
    this.#open();
  }

  disconnect() {
    if (this.state !== "disconnected") this.#end(1000, "");
  }

  /**
   * Sends one command and waits for its result. What the server refuses for the moment is tried again, a few
   * times. Throws a ProtocolError or a ConnectionError.
   */
  async call(method, params, mayRepeat = (error) => error.temporary) {
    for (let attempt = 0; ; attempt++) {
      try {
        return await new Promise((resolve, reject) => {
          if (this.state !== "connected") throw new ConnectionError("not connected", false);
          this.send(method, params, (error, result) => error ? reject(error) : resolve(result));
        });
      } catch (error) {
        if (attempt + 1 >= TRIES || !(error instanceof ProtocolError) || !mayRepeat(error)) throw error;
        await new Promise((resolve) => setTimeout(resolve, backoff(attempt)));
      }
    }
  }

  /** Sends one command; `done(error, result)` is called before anything behind the reply is looked at. */
  send(method, params, done) {
    const id = this.#nextId++;
    const timer = setTimeout(() => this.#lost(0, `no answer to ${method}`), ANSWER_WITHIN);
    this.#calls.set(id, { method, done, timer, at: performance.now() });
    this.#write({ id, [method]: params });
  }

  // ---- the connection ----

  #open() {
    clearTimeout(this.#retry);
    this.#become({ state: "connecting", delay: 0 });
    const socket = new WebSocket(this.#url);
    this.#socket = socket;
    this.#silence = 0;
    this.#connectedAt = 0;
    this.#watch = setTimeout(() => this.#lost(0, "no answer"), ANSWER_WITHIN);
    socket.onopen = () => this.#greet();
    socket.onmessage = (event) => this.#receive(event.data);
    socket.onclose = (event) => this.#lost(event.code, event.reason);
  }

  // The first command of a connection; the rooms follow when it has been answered.
  #greet() {
    const { data, name } = this.#options;
    this.send("connect", { name, data: typeof data === "function" ? data() : data }, (error, result) => {
      if (error instanceof ConnectionError) return;
      if (error) return error.temporary ? this.#lost(error.code, error.message) : this.#end(error.code, error.message);
      this.id = result.client;
      this.server = result.version ?? "";
      this.#silence = result.ping ? result.ping * 1000 + PING_GRACE : 0;
      this.#answersPings = result.pong ?? false;
      this.#connectedAt = performance.now();
      this.#listen();
      this.#become({ state: "connected" });
      for (const room of this.#rooms.values()) room.resume();
    });
  }

  #lost(code, reason) {
    const lasted = this.#connectedAt && performance.now() - this.#connectedAt;
    if (isTerminal(code)) return this.#end(code, reason);
    this.#drop("connecting", code, reason);
    if (lasted >= STEADY_AFTER) this.#attempts = 0;
    const delay = backoff(this.#attempts++);
    this.#retry = setTimeout(() => this.#open(), delay);
    this.#become({ state: "connecting", code, reason, delay });
  }

  #end(code, reason) {
    this.#drop("disconnected", code, reason);
    clearTimeout(this.#retry);
    globalThis.removeEventListener?.("online", this.#online);
    this.#become({ state: "disconnected", code, reason });
  }

  // Gives the socket up at once: the closing handshake of one that is dead would take minutes.
  #drop(state, code, reason) {
    this.state = state;
    clearTimeout(this.#watch);
    const socket = this.#socket;
    this.#socket = null;
    if (socket) {
      socket.onopen = socket.onmessage = socket.onclose = null;
      socket.close();
    }
    this.#outbox = [];
    const calls = [...this.#calls.values()];
    this.#calls.clear();
    for (const { timer } of calls) clearTimeout(timer);
    for (const { done } of calls) done(new ConnectionError(reason || "the connection was lost"));
    for (const room of this.#rooms.values()) room.interrupted(code, reason);
  }

  #become(change) {
    this.state = change.state;
    this.#options.state?.(change);
  }

  // ---- frames ----

  // Commands of the same moment go together, one a line.
  #write(command) {
    this.#outbox.push(JSON.stringify(command));
    if (this.#outbox.length === 1) queueMicrotask(() => this.#flush());
  }

  #flush() {
    let frame = "";
    for (const command of this.#outbox.splice(0)) {
      if (frame && frame.length + command.length > BATCH_CHARS) {
        this.#socket.send(frame);
        frame = "";
      }
      frame += frame ? `\n${command}` : command;
    }
    if (frame) this.#socket.send(frame);
  }

  // Anything is a sign of life. Before the connection is made, only the answer to `connect` is.
  #listen() {
    if (!this.#silence) return;
    clearTimeout(this.#watch);
    this.#watch = setTimeout(() => this.#lost(0, "the server has gone silent"), this.#silence);
  }

  #receive(frame) {
    const socket = this.#socket;
    this.#listen();
    for (const line of String(frame).split("\n")) {
      if (this.#socket !== socket) return; // what came before in this frame has ended the connection
      if (line === "") continue;
      let reply;
      try {
        reply = (this.#options.parse ?? JSON.parse)(line);
      } catch {
        return this.#lost(0, "the server sent something that is not JSON");
      }
      if (reply.id) this.#answer(reply);
      else if (reply.push) this.#push(reply.push);
      else if (this.#answersPings) this.#write({}); // the empty reply is a ping
    }
  }

  #answer(reply) {
    const call = this.#calls.get(reply.id);
    if (!call) return;
    this.#calls.delete(reply.id);
    clearTimeout(call.timer);
    if (call.method === "connect") clearTimeout(this.#watch);
    this.#options.roundTrip?.(performance.now() - call.at);
    if (reply.error) call.done(new ProtocolError(reply.error));
    else call.done(null, reply[call.method] ?? {});
  }

  #push({ channel, pub, join, leave, unsubscribe, disconnect }) {
    if (disconnect) return this.#lost(disconnect.code, disconnect.reason);
    const room = this.#rooms.get(channel);
    if (room?.state !== "subscribed") return; // left in the meantime
    if (pub) room.publication(pub);
    else if (join) room.listener.join?.(join.info);
    else if (leave) room.listener.leave?.(leave.info);
    else if (unsubscribe) room.removed(unsubscribe.code ?? 0, unsubscribe.reason ?? "");
  }
}

/**
 * A room, made by Client.room. The listener, all of it optional:
 *   subscribed    ({ position, before, recovered }) => …: in the room, at `position`. `before` is where it was the
 *                 last time, or null; if `recovered`, all publications since then follow, else some are missing
 *   publication   ({ offset, data, info, tags, time }) => …
 *   join, leave   (info) => …
 *   unsubscribed  ({ code, reason }) => …: out of the room, until subscribe() is called again
 *   interrupted   ({ code, reason }) => …: not in the room for the moment
 */
export class Room {
  state = "unsubscribed";   // "subscribing" or "subscribed"
  position = null;          // { epoch, offset } of the latest publication
  #client;
  #attempts = 0; #retry = 0;
  #asked = 0;               // so that a late answer to an earlier question is not taken for this one's

  constructor(client, channel, listener) {
    this.#client = client;
    Object.assign(this, { channel, listener });
  }

  subscribe() {
    if (this.state !== "unsubscribed") return;
    this.state = "subscribing";
    this.#attempts = 0;
    if (this.#client.state === "connected") this.#ask();
  }

  unsubscribe() {
    if (this.state === "unsubscribed") return;
    this.#leave();
    this.#client.call("unsubscribe", { channel: this.channel }).catch(() => {}); // out of it either way
  }

  /**
   * Resolves when the room has the message. After a ConnectionError of what was sent nobody knows: look into the
   * room before sending it once more. Only what was refused before anything was done is repeated by itself.
   */
  publish(data) {
    return this.#client.call("publish", { channel: this.channel, data }, (error) => error.code === TOO_MANY_REQUESTS);
  }

  /** { publications, epoch, offset }: up to `limit`, behind `since`, a position, or with `reverse` before it. */
  history({ limit, since, reverse }) {
    return this.#client.call("history", { channel: this.channel, limit, since, reverse });
  }

  /** Who is here: info by client id. */
  async presence() {
    return (await this.#client.call("presence", { channel: this.channel })).presence ?? {};
  }

  /** How many are here. */
  async presenceStats() {
    const result = await this.#client.call("presence_stats", { channel: this.channel });
    return { clients: result.num_clients ?? 0, users: result.num_users ?? 0 };
  }

  // ---- called by the client ----

  resume() {
    this.#attempts = 0;
    if (this.state === "subscribing") this.#ask();
  }

  interrupted(code, reason) {
    clearTimeout(this.#retry);
    this.#asked++;
    if (STATE_INVALIDATED.includes(code)) this.position = null;
    if (this.state !== "subscribed") return;
    this.state = "subscribing";
    this.listener.interrupted?.({ code, reason });
  }

  removed(code, reason) {
    if (code < RESUBSCRIBE_FROM) {
      this.#leave();
      this.listener.unsubscribed?.({ code, reason });
    } else {
      this.interrupted(code, reason);
      this.#askLater();
    }
  }

  // A publication at or before the position has been shown already.
  publication(publication) {
    if (publication.offset && this.position) {
      if (publication.offset <= this.position.offset) return;
      this.position.offset = publication.offset;
    }
    this.listener.publication?.(publication);
  }

  // ---- subscribing ----

  #leave() {
    this.state = "unsubscribed";
    this.#asked++;
    clearTimeout(this.#retry);
  }

  #askLater() {
    this.#retry = setTimeout(() => this.#ask(), backoff(this.#attempts++));
  }

  #ask() {
    const asked = ++this.#asked;
    const from = this.position ? { recover: true, ...this.position } : {};
    const params = { channel: this.channel, recoverable: true, positioned: true, join_leave: true, ...from };
    this.#client.send("subscribe", params, (error, result) => {
      if (asked !== this.#asked || error instanceof ConnectionError) return;
      if (error?.temporary) return this.#askLater();
      if (error) {
        this.#leave();
        return this.listener.unsubscribed?.({ code: error.code, reason: error.message });
      }
      this.#arrive(result);
    });
  }

  #arrive({ epoch = "", offset = 0, recovered = false, publications = [] }) {
    const before = this.position;
    this.state = "subscribed";
    // What was missed moves the position on from where it was: it follows in this reply, and in pushes if it is much.
    this.position = { epoch, offset: recovered && before ? before.offset : offset };
    this.listener.subscribed?.({ position: { epoch, offset }, before, recovered });
    for (const publication of publications) this.publication(publication);
  }
}
