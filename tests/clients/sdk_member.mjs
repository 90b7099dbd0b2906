// A member by the npm package `centrifuge`, and what else the checks of it need, for Node and for a page alike:
// nothing is imported here.
//
// `env` is where it runs: { base, Centrifuge, options, pack, unpack }, where pack makes of a value what the SDK
// publishes (a value, or the bytes of its JSON) and unpack the reverse.

export const STEP_TIMEOUT = 20_000; // one event
export const CHECK_TIMEOUT = 180_000;
const RECONNECT = { minReconnectDelay: 1, maxReconnectDelay: 5, minResubscribeDelay: 1, maxResubscribeDelay: 5 };

export const roomUrl = (base, room, rest = "") => `${base}/rooms/${encodeURIComponent(room)}${rest}`;

export const socketUrl = (base) => `${base.replace(/^http/, "ws")}/connection/websocket`;

const shorten = (value) => {
  const text = JSON.stringify(value) ?? String(value);
  return text.length < 300 ? text : `${text.slice(0, 300)}…`;
};

export function equal(got, expected, what) {
  if (JSON.stringify(sorted(got)) === JSON.stringify(sorted(expected))) return;
  throw new Error(`${what}: ${shorten(got)}, not ${shorten(expected)}`);
}

// The same value with the members of its objects in one order.
function sorted(value) {
  if (typeof value !== "object" || value === null) return value ?? null;
  if (Array.isArray(value)) return value.map(sorted);
  return Object.fromEntries(Object.keys(value).sort().map((key) => [key, sorted(value[key])]));
}

export function ensure(condition, what) {
  if (!condition) throw new Error(what);
}

// What the promise is rejected with.
export async function refusal(promise, what) {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  throw new Error(`${what}: not refused`);
}

// Lets others wait until something is so.
export class Signal {
  #waiting = new Set();

  changed() {
    for (const wake of this.#waiting) wake();
  }

  async until(condition, what) {
    if (condition()) return;
    let wake;
    let timer;
    try {
      await new Promise((resolve, reject) => {
        wake = () => {
          try {
            if (condition()) resolve();
          } catch (error) {
            reject(error);
          }
        };
        this.#waiting.add(wake);
        timer = setTimeout(() => reject(new Error(`no ${what} in ${STEP_TIMEOUT / 1000} s`)), STEP_TIMEOUT);
      });
    } finally {
      this.#waiting.delete(wake);
      clearTimeout(timer);
    }
  }
}

// The events of one kind, to be taken one by one.
class Inbox {
  #signal = new Signal();
  #read = 0;

  constructor(what) {
    this.what = what;
    this.items = [];
  }

  push(item) {
    this.items.push(item);
    this.#signal.changed();
  }

  async next() {
    const at = this.#read++;
    await this.#signal.until(() => this.items.length > at, this.what);
    return this.items[at];
  }

  async take(count) {
    const taken = [];
    while (taken.length < count) taken.push(await this.next());
    return taken;
  }
}

// One client of the SDK.
export class Member {
  static all = new Set(); // to be closed when a check ends

  static async open(env, name, options = {}) {
    const member = new Member(env, name, options);
    Member.all.add(member);
    member.client.connect();
    await member.connected.next();
    return member;
  }

  static closeAll() {
    for (const member of Member.all) member.client.disconnect();
    Member.all.clear();
  }

  constructor(env, name, { url = socketUrl(env.base), ...options } = {}) {
    this.env = env;
    this.name = name;
    const data = name === undefined ? null : env.pack({ name });
    this.client = new env.Centrifuge(url, { ...RECONNECT, ...env.options, data, ...options });
    for (const event of ["connected", "connecting", "disconnected"]) {
      this[event] = new Inbox(`"${event}" of ${name}`);
      this.client.on(event, (context) => this[event].push(context));
    }
  }

  // The id that the server gave this connection.
  get id() {
    return this.connected.items.at(-1).client;
  }

  // Prepared, not yet subscribed.
  seat(room, options = {}) {
    return new Seat(this, room, options);
  }

  async join(room, options = {}) {
    const seat = this.seat(room, options);
    seat.sub.subscribe();
    await seat.subscribed.next();
    return seat;
  }

  publish(room, value) {
    return this.client.publish(room, this.env.pack(value));
  }

  // Ends it, and waits until the server knows.
  async leave() {
    this.client.disconnect();
    await this.disconnected.next();
  }
}

// One subscription of a member.
class Seat {
  constructor(member, room, options) {
    this.member = member;
    this.room = room;
    this.sub = member.client.newSubscription(room, { ...RECONNECT, ...options });
    for (const event of ["subscribed", "subscribing", "unsubscribed", "publication", "join", "leave", "error"]) {
      this[event] = new Inbox(`"${event}" of ${member.name} in ${room}`);
      this.sub.on(event, (context) => this[event].push(context));
    }
  }

  publish(value) {
    return this.sub.publish(this.member.env.pack(value));
  }

  // The next publications: [offset, value, user] of each.
  async publications(count) {
    const { unpack } = this.member.env;
    return (await this.publication.take(count)).map(({ offset, data, info }) => [offset, unpack(data), info?.user]);
  }
}

export async function post(url, body, headers = {}) {
  const answer = await fetch(url, { method: "POST", body, headers, signal: AbortSignal.timeout(STEP_TIMEOUT) });
  const text = await answer.text();
  ensure(answer.status === 200, `POST ${url}: ${answer.status} ${text.slice(0, 200).trim()}`);
  return JSON.parse(text);
}

// The result of a method of the server API.
export async function api(env, method, request) {
  const headers = { "Content-Type": "application/json" };
  const answer = await post(`${env.base}/api/${method}`, JSON.stringify(request), headers);
  ensure(answer.error === undefined, `${method}: ${shorten(answer.error)}`);
  return answer.result;
}

// Numbers that look random and are the same for the same seed (mulberry32).
export function randomFrom(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
