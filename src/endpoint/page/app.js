// The page: one connection, the rooms side by side, who you are, and what the connection does.

import { Client } from "./client.js";
import { RoomView, spoken } from "./room.js";
import { avatar, codeWords, counted, element, setText } from "./show.js";

const NAME_BYTES_MAX = 64;      // as the server allows
const ROOM_BYTES_MAX = 128;
const ROOMS_MAX = 32;           // side by side
const RECENT_MAX = 12;          // rooms that are proposed
const OWN_IDS_MAX = 100;        // connections that this tab remembers to have been
const READ_OUT_EVERY = 3000;    // ms; messages in between are counted

const $ = (id) => document.getElementById(id);
const narrow = matchMedia("(max-width: 47.99rem)");
const views = new Map();        // by room, in their order
let active = null;              // the room that a narrow screen shows
let name = stored(localStorage, "name", "");
let ownIds = stored(sessionStorage, "ids", []);

const socketUrl = new URL("/connection/websocket", location.href);
socketUrl.protocol = location.protocol === "https:" ? "wss:" : "ws:";
socketUrl.hash = "";
const client = new Client(socketUrl.href, {
  data: () => (name ? { name } : undefined),
  parse: parseExactly,
  state: showState,
  roundTrip: (ms) => setText($("trip"), `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`),
});

// Numbers that JavaScript would change are kept as they were published, where the browser can.
function parseExactly(text) {
  if (!JSON.rawJSON || !/\d{16}|\d[eE]/.test(text)) return JSON.parse(text);
  return JSON.parse(text, (key, value, { source }) => (
    typeof value === "number" && String(value) !== source ? JSON.rawJSON(source) : value));
}

// ---- storage, which may be switched off or hold anything ----

function stored(storage, key, otherwise) {
  try {
    const value = JSON.parse(storage.getItem(`fanfare.${key}`));
    const isAlike = Array.isArray(otherwise) ? Array.isArray(value) : typeof value === typeof otherwise;
    return isAlike ? value : otherwise;
  } catch {
    return otherwise;
  }
}

function store(storage, key, value) {
  try {
    storage.setItem(`fanfare.${key}`, JSON.stringify(value));
  } catch {
    // Then it is for this visit only.
  }
}

// ---- the connection ----

let countdown = 0;
let wasConnected = false;

function showState({ state, code, reason, delay }) {
  clearInterval(countdown);
  const bar = $("state");
  bar.dataset.state = state;
  $("connect").hidden = state !== "disconnected";
  if (state === "connected") {
    setText($("phase"), "Connected");
    setText($("server"), client.server);
    $("phase").title = `This connection: ${client.id}`;
  } else if (state === "disconnected") {
    setText($("phase"), "Disconnected");
  } else if (delay) {
    setText($("phase"), "Reconnecting");
    const at = performance.now() + delay;
    // The seconds are for the eye only: read out, they would never end.
    const tick = () => setText($("trip"), `in ${Math.max(0, Math.ceil((at - performance.now()) / 1000))} s`);
    tick();
    countdown = setInterval(tick, 250);
  } else {
    setText($("phase"), client.id ? "Reconnecting" : "Connecting");
  }
  if (state !== "connected" && !delay) setText($("trip"), "");
  // An attempt that came to nothing says less than what ended the connection before it.
  const isRefused = code === 1006 && !wasConnected && $("closed").textContent;
  if (code !== undefined && code !== 1000 && !isRefused) {
    setText($("closed"), `Last close: ${codeWords(code, reason)}`);
    $("closed").title = $("closed").textContent;
  }
  wasConnected = state === "connected";
}

function reconnect() {
  client.disconnect();
  client.connect();
}

// ---- which connections were this tab's ----

// A server that has been started anew may give ids again, but the epochs of its rooms are others.
const own = {
  is: (epoch, info) => info !== undefined && ownIds.includes(`${epoch} ${info.client}`),
  add(epoch) {
    const id = `${epoch} ${client.id}`;
    ownIds = [...ownIds.filter((other) => other !== id), id].slice(-OWN_IDS_MAX);
    store(sessionStorage, "ids", ownIds);
  },
};

// ---- rooms ----

// What is wrong with a room's name, or nothing.
function roomProblem(room) {
  if (room === "") return "Please name a room.";
  const bytes = bytesOf(room);
  if (bytes > ROOM_BYTES_MAX) return `A room's name has at most ${ROOM_BYTES_MAX} bytes; this one has ${bytes}.`;
  if (/\p{Cc}|\p{Cs}/u.test(room)) return "A room's name has no control characters.";
  if (views.size >= ROOMS_MAX && !views.has(room)) return `This page shows at most ${ROOMS_MAX} rooms at a time.`;
  return "";
}

const bytesOf = (text) => new TextEncoder().encode(text).length;

function join(room) {
  if (!views.has(room)) {
    const view = new RoomView(client, room, { own, heard, leave });
    views.set(room, view);
    $("rooms").append(view.root);
    $("tabs").append(tabFor(view));
    const recent = [room, ...stored(localStorage, "recent", []).filter((other) => other !== room)];
    store(localStorage, "recent", recent.slice(0, RECENT_MAX));
    view.showPeople(!narrow.matches && views.size === 1);
    if (client.state === "disconnected" && !client.id) client.connect();
    changed();
  }
  activate(views.get(room));
  return views.get(room);
}

function leave(view) {
  const rooms = [...views.keys()];
  const at = rooms.indexOf(view.name);
  view.close();
  view.tab.remove();
  views.delete(view.name);
  const next = views.get(rooms[at + 1] ?? rooms[at - 1]);
  if (active === view) active = null;
  changed();
  if (next) activate(next);
  (next ?? $("start-room")).focus();
}

function tabFor(view) {
  const tab = element("button", "tab");
  tab.type = "button";
  tab.append(element("bdi", "", view.name), element("span", "unread"));
  tab.addEventListener("click", () => activate(view));
  view.tab = tab;
  return tab;
}

function activate(view) {
  active = view;
  for (const other of views.values()) {
    other.root.classList.toggle("active", other === view);
    other.tab.ariaCurrent = String(other === view);
  }
  view.tab.scrollIntoView({ block: "nearest", inline: "nearest" });
  if (narrow.matches) view.toEnd();
  else view.root.scrollIntoView({ block: "nearest", inline: "nearest" });
  seen();
}

// The rooms are others now: so are the address, which can be shared, and what is remembered.
function changed() {
  const rooms = [...views.keys()];
  document.body.classList.toggle("no-rooms", rooms.length === 0);
  $("start").hidden = rooms.length > 0;
  $("bar-join").hidden = rooms.length === 0;
  const hash = rooms.map(encodeURIComponent).join("&");
  history.replaceState(null, "", hash ? `#${hash}` : location.pathname + location.search);
  store(localStorage, "rooms", rooms);
  $("recent").replaceChildren(...stored(localStorage, "recent", []).map((room) => {
    const option = document.createElement("option");
    option.value = room;
    return option;
  }));
  showTitle();
}

function roomsInAddress() {
  const rooms = [];
  for (const part of location.hash.slice(1).split("&")) {
    try {
      rooms.push(decodeURIComponent(part));
    } catch {
      // Not one of our links.
    }
  }
  return [...new Set(rooms)].filter((room) => !roomProblem(room)).slice(0, ROOMS_MAX);
}

function follow() {
  const rooms = roomsInAddress();
  if (rooms.length === 0) return;
  for (const view of [...views.values()]) if (!rooms.includes(view.name)) leave(view);
  for (const room of rooms) join(room);
}

for (const [form, field, hint] of [["bar-join", "bar-room", "bar-hint"], ["start-form", "start-room", "start-hint"]]) {
  $(form).addEventListener("submit", (event) => {
    event.preventDefault();
    if (form === "start-form" && !take($("start-name"), $("start-hint"))) return;
    const room = $(field).value.trim();
    const problem = roomProblem(room);
    setText($(hint), problem);
    if (problem) return $(field).focus();
    if (form === "bar-join") $(field).value = "";
    join(room).focus();
  });
  $(field).addEventListener("input", () => setText($(hint), ""));
}

// ---- who you are ----

// Takes the name from a field, unless there is something wrong with it.
function take(field, hint) {
  const wanted = field.value.trim();
  const bytes = bytesOf(wanted);
  let problem = "";
  if (bytes > NAME_BYTES_MAX) problem = `A name has at most ${NAME_BYTES_MAX} bytes; this one has ${bytes}.`;
  if (/\p{Cc}|\p{Cs}/u.test(wanted)) problem = "A name has no control characters.";
  setText(hint, problem);
  if (problem) {
    field.focus();
    return false;
  }
  if (wanted !== name) {
    name = wanted;
    store(localStorage, "name", name);
    showName();
    if (client.id) reconnect(); // the name is said on connecting
  }
  return true;
}

function showName() {
  $("me").replaceChildren(avatar(name ? { user: name } : { client: "" }), element("bdi", "", name || "anonymous"));
  $("me").ariaLabel = name ? `You are ${name}: change your name` : "You are anonymous: choose a name";
  $("start-name").value = name;
}

$("me").addEventListener("click", () => {
  $("name").value = name;
  setText($("name-hint"), "");
  $("name-dialog").showModal();
});
$("name-form").addEventListener("submit", (event) => {
  event.preventDefault();
  if (take($("name"), $("name-hint"))) $("name-dialog").close();
});
$("name-cancel").addEventListener("click", () => $("name-dialog").close());

// ---- what you have not seen, and what is read out ----

const isSeen = (view) => !document.hidden && (!narrow.matches || view === active);

function heard(view, publication) {
  if (!isSeen(view)) {
    view.unread++;
    showUnread(view);
  }
  readOut(view, publication);
}

function seen() {
  for (const view of views.values()) {
    if (!isSeen(view) || view.unread === 0) continue;
    view.unread = 0;
    showUnread(view);
  }
}

function showUnread(view) {
  const [label, badge] = view.tab.children;
  setText(badge, view.unread ? (view.unread > 99 ? "99+" : String(view.unread)) : "");
  view.tab.ariaLabel = view.unread ? `${label.textContent}, ${view.unread} new` : label.textContent;
  showTitle();
}

function showTitle() {
  const unread = [...views.values()].reduce((sum, view) => sum + view.unread, 0);
  const rooms = [...views.keys()].join(", ");
  document.title = `${unread ? `(${unread}) ` : ""}${rooms ? `${rooms} – ` : ""}fanfare`;
}

let quiet = false;              // for a while after something has been read out
let unspoken = 0;
let latest = () => "";

// One message is read out as it is, many at once are counted: nobody can listen to a flood.
function readOut(view, publication) {
  unspoken++;
  latest = () => `${views.size > 1 ? `In ${view.name}, ` : ""}${spoken(publication)}`;
  if (!quiet) speak();
}

function speak() {
  quiet = unspoken > 0;
  if (!quiet) return;
  $("announcer").textContent = unspoken === 1 ? latest() : counted(unspoken, "new message");
  unspoken = 0;
  setTimeout(speak, READ_OUT_EVERY);
}

// ---- start ----

$("connect").addEventListener("click", () => client.connect());
document.addEventListener("visibilitychange", seen);
narrow.addEventListener("change", seen);
addEventListener("hashchange", follow);
showName();
const inAddress = roomsInAddress();
const before = stored(localStorage, "rooms", []).filter((room) => typeof room === "string" && !roomProblem(room));
for (const room of inAddress.length ? inAddress : before) join(room);
changed();
if (views.size) activate(views.values().next().value);
