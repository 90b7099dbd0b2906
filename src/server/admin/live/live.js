// The live page: asks for a sample every second over a WebSocket of this server, and shows what has come.

import { Plot, SPAN_MS_MAX } from "./plot.js";
import { bytes, clock, count, duration, microseconds, milliseconds, rate, table } from "./show.js";

const INTERVAL_MS = 1000;
// An answer that takes longer is as good as none.
const PATIENCE_MS = 10_000;
const RETRY_MS_MAX = 10_000;

const byId = (id) => document.getElementById(id);
const sum = (list, pick) => list.reduce((total, item) => total + pick(item), 0);

const plots = {
  connections: new Plot(byId("connections"), ["all", "fullest worker", "emptiest worker"], count),
  messages: new Plot(byId("messages"), ["in", "out"], rate),
  bytes: new Plot(byId("bytes"), ["in", "out"], bytes, 1024),
  latency: new Plot(byId("latency"), ["50 %", "99 %", "99.9 %"], microseconds),
};

let samples = [];
let points = [];
let socket = null;
let timer = 0;
let retries = 0;

function say(state, text) {
  byId("state").dataset.state = state;
  byId("state").textContent = text;
}

function connect() {
  clearTimeout(timer);
  const scheme = location.protocol === "https:" ? "wss:" : "ws:";
  const opened = new WebSocket(`${scheme}//${location.host}/live`);
  socket = opened;
  opened.addEventListener("open", ask);
  opened.addEventListener("message", (event) => {
    retries = 0;
    clearTimeout(timer);
    take(JSON.parse(event.data));
    timer = setTimeout(ask, INTERVAL_MS);
  });
  opened.addEventListener("close", (event) => {
    if (socket !== opened) return;
    clearTimeout(timer);
    const why = event.reason || (event.code === 1006 ? "no connection" : `code ${event.code}`);
    say("lost", `Lost: ${why}`);
    const wait = Math.min(RETRY_MS_MAX, INTERVAL_MS * 2 ** retries) * (0.5 + Math.random() / 2);
    retries += 1;
    timer = setTimeout(connect, wait);
  });
}

// A page that nobody sees asks for nothing.
function ask() {
  if (document.hidden || socket?.readyState !== WebSocket.OPEN) return;
  socket.send("sample");
  timer = setTimeout(() => socket.close(), PATIENCE_MS);
}

document.addEventListener("visibilitychange", () => {
  if (document.hidden) return;
  if (socket.readyState === WebSocket.OPEN) {
    clearTimeout(timer);
    ask();
  } else if (socket.readyState === WebSocket.CLOSED) {
    connect();
  }
});

// The values below which these shares of what was counted since `before` lie. A bucket's values count as spread
// evenly over it; of the last, which has no bound, the lower one is known.
function percentiles(before, now, shares) {
  const counts = now.map(([, total], at) => total - before[at][1]);
  const all = sum(counts, (number) => number);
  if (all <= 0) return shares.map(() => null);
  return shares.map((share) => {
    let below = 0;
    const at = counts.findIndex((number) => {
      below += number;
      return number > 0 && below >= share * all;
    });
    const [lower, upper] = [now[at - 1]?.[0] ?? 0, now[at][0]];
    if (upper === null) return lower;
    return upper - ((upper - lower) * (below - share * all)) / counts[at];
  });
}

function point(before, now) {
  const seconds = (now.uptime_ms - before.uptime_ms) / 1000;
  const each = (name) => Math.max(0, sum(now.workers, (worker) => worker[name]) - sum(before.workers, (worker) => worker[name])) / seconds;
  return {
    time: now.uptime_ms,
    messages: [each("messages_in"), each("messages_out")],
    bytes: [each("bytes_in"), each("bytes_out")],
    latency: percentiles(before.latency_us, now.latency_us, [0.5, 0.99, 0.999]),
  };
}

function take(now) {
  const before = samples[samples.length - 1];
  if (before && now.life !== before.life) {
    // A server that was started anew counts from zero.
    samples = [];
    points = [];
  } else if (before && now.uptime_ms > before.uptime_ms) {
    points.push(point(before, now));
  }
  samples.push(now);
  const old = ({ time, uptime_ms = time }) => uptime_ms < now.uptime_ms - SPAN_MS_MAX;
  samples = samples.filter((sample) => !old(sample));
  points = points.filter((kept) => !old(kept));
  show(now);
}

function show(now) {
  say("connected", `Up ${duration(now.uptime_ms)}`);
  byId("version").textContent = now.version;
  plots.connections.draw(samples.map((sample) => {
    const each = sample.workers.map((worker) => worker.connections);
    return { time: sample.uptime_ms, values: [sum(each, (number) => number), Math.max(...each), Math.min(...each)] };
  }));
  for (const name of ["messages", "bytes", "latency"]) {
    plots[name].draw(points.map((kept) => ({ time: kept.time, values: kept[name] })));
  }
  const silent = now.missing_workers;
  byId("trouble").hidden = silent.length === 0;
  byId("trouble").textContent = `No answer from worker ${silent.join(", ")}: the tables lack what is there.`;
  showWorkers(now);
  showSlow(now.slow);
  showRooms(now.rooms);
  showCloses(now.closes);
}

function showWorkers(now) {
  const most = Math.max(1, ...now.workers.map((worker) => worker.connections));
  const before = samples[samples.length - 2];
  const seconds = before ? (now.uptime_ms - before.uptime_ms) / 1000 : 0;
  const each = (at, name) => (before ? rate((now.workers[at][name] - before.workers[at][name]) / seconds) : "–");
  table(
    byId("workers"),
    [["Worker"], ["Connections", "number"], [""], ["Messages in/s", "number"], ["Out/s", "number"], ["Turns/s", "number less"]],
    now.workers.map((worker, at) => [
      [at],
      [count(worker.connections), "number"],
      ["", "bar", worker.connections / most],
      [each(at, "messages_in"), "number"],
      [each(at, "messages_out"), "number"],
      [each(at, "turns"), "number less"],
    ]),
    "",
  );
}

function showSlow(slow) {
  table(
    byId("slow"),
    [["Behind", "number"], ["Queue", "number"], ["No progress", "number"], ["Room"], ["Address"], ["User", "less"], ["Connection", "less"], ["State", "less"]],
    slow.map((one) => [
      [count(one.lag_messages), "number"],
      [bytes(one.queued_bytes), "number"],
      [milliseconds(one.stalled_ms), "number"],
      [one.rooms[0]?.room ?? "", "name"],
      [one.address],
      [one.user ?? "", "name less"],
      [one.connection, "less"],
      [one.state, "less"],
    ]),
    "Everybody keeps up.",
  );
}

function showRooms(rooms) {
  table(
    byId("rooms"),
    [["Room"], ["Messages/s", "number"], ["Bytes/s", "number"], ["Members", "number"], ["History", "number less"], ["Offset", "number less"]],
    rooms.map((room) => [
      [room.room, "name"],
      [rate(room.messages_per_second), "number"],
      [bytes(room.bytes_per_second), "number"],
      [count(room.members), "number"],
      [bytes(room.history_bytes), "number less"],
      [count(room.offset), "number less"],
    ]),
    "There is no room.",
  );
}

function showCloses(closes) {
  table(
    byId("closes"),
    [["Time"], ["Cause"], ["Code", "number less"], ["Why"], ["Address"], ["Room", "less"]],
    closes.map((closed) => [
      [clock(closed.unix_ms)],
      [closed.cause, "cause"],
      [closed.code ?? "", "number less"],
      [closed.text, "words"],
      [closed.address],
      [closed.room ?? "", "name less"],
    ]),
    "Nobody has been closed yet.",
  );
}

connect();
