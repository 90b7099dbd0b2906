// Members by the npm package `centrifuge` that are cut off again and again while somebody publishes, for Node and
// for a page alike: all of them must see every offset exactly once.

import { Member, Signal, api, ensure, equal, randomFrom } from "./sdk_member.mjs";

const ROUNDS = 200; // recoveries of each member
const LEAD = 20; // messages that the publisher may be ahead: an answer with them has to fit between two cuts

// Follows the room and checks each publication as it comes.
class Follower {
  constructor(env, room, name, url) {
    this.unpack = env.unpack;
    this.signal = new Signal();
    this.recoveries = 0;
    this.last = null; // the offset so far
    this.wrong = null; // the first thing that was not right
    this.member = new Member(env, name, { url });
    this.member.client.on("disconnected", ({ code, reason }) => {
      if (!this.done) this.fails(`ended for good: ${code} ${reason}`);
    });
    const seat = this.member.seat(room);
    seat.sub.on("subscribed", (context) => this.subscribed(context));
    seat.sub.on("publication", (context) => this.publication(context));
    seat.sub.on("unsubscribed", ({ code, reason }) => this.fails(`unsubscribed: ${code} ${reason}`));
    seat.sub.subscribe();
    this.member.client.connect();
  }

  fails(what) {
    this.wrong ??= `${this.member.name}: after ${this.recoveries} recoveries, at offset ${this.last}: ${what}`;
    this.signal.changed();
  }

  subscribed({ recovered, wasRecovering, streamPosition }) {
    if (this.last === null) {
      this.last = streamPosition.offset;
      this.epoch = streamPosition.epoch;
    } else {
      this.recoveries++;
      if (!recovered || !wasRecovering) this.fails("not recovered");
      if (streamPosition.epoch !== this.epoch) this.fails("another epoch");
    }
    this.signal.changed();
  }

  publication({ offset, data }) {
    const { n } = this.unpack(data);
    if (offset !== this.last + 1 || n !== offset) this.fails(`offset ${offset} with message ${n}`);
    this.last = offset;
    this.signal.changed();
  }

  async until(condition, what) {
    await this.signal.until(() => this.wrong !== null || condition(), `${what} of ${this.member.name}`);
    if (this.wrong !== null) throw new Error(this.wrong);
  }

  end() {
    this.done = true;
    this.member.client.disconnect();
  }
}

// Publishes numbered messages over a connection of its own until told to stop, never far ahead of the follower.
class Publisher {
  static async open(env, room) {
    const publisher = new Publisher();
    publisher.member = new Member(env, "publisher");
    publisher.member.client.connect();
    publisher.seat = await publisher.member.join(room);
    return publisher;
  }

  start(follower, random) {
    this.follower = follower;
    this.accepted = [];
    this.finished = this.run(follower, random);
    this.finished.catch(() => {}); // is told by `finish`
  }

  async run(follower, random) {
    while (!this.stopped) {
      const n = this.accepted.length + 1;
      await follower.until(() => follower.last >= n - LEAD || this.stopped, "progress");
      const publishing = this.seat.publish({ n, pad: "ä".repeat(2 ** Math.floor(random() * 8)) });
      const failed = ({ code, message }) => follower.fails(`publishing ${n}: ${code} ${message}`);
      this.accepted.push(publishing.catch(failed));
    }
    await Promise.all(this.accepted);
  }

  // How many there are then.
  async finish() {
    this.stop();
    await this.finished;
    return this.accepted.length;
  }

  stop() {
    this.stopped = true;
    this.follower?.signal.changed();
  }
}

// Runs `cutOff` beside a publisher and then lets the follower catch up; how many messages there were.
async function follow(env, room, follower, seed, cutOff) {
  const random = randomFrom(seed);
  const publisher = await Publisher.open(env, room);
  try {
    await follower.until(() => follower.last !== null, "subscription");
    publisher.start(follower, random);
    await cutOff(random);
    const sent = await publisher.finish();
    await follower.until(() => follower.last >= sent, `offset ${sent}`);
    equal(follower.last, sent, "last offset");
    return sent;
  } finally {
    publisher.stop();
    publisher.member.client.disconnect();
    follower.end();
  }
}

// A proxy cuts the bytes from the server at random places.
async function cutByProxy(env, seed) {
  const room = `${env.room} cut`;
  const proxy = await env.openProxy("cutting", seed);
  try {
    const follower = new Follower(env, room, "cut", proxy.url);
    const sent = await follow(env, room, follower, seed, async () => {
      for (let round = 1; round <= ROUNDS; round++) {
        await follower.until(() => follower.recoveries >= round, `recovery ${round}`);
      }
      await proxy.stop();
    });
    const cut = await proxy.count();
    ensure(cut >= ROUNDS, `${cut} cuts`);
    return `${sent} messages, ${cut} cuts, ${follower.recoveries} recoveries`;
  } finally {
    await proxy.close();
  }
}

// The server closes the connection, as its API is asked to.
async function closedByServer(env, seed) {
  const room = `${env.room} closed`;
  const name = `${env.room} closed by the server`;
  const follower = new Follower(env, room, name);
  const codes = new Set();
  follower.member.client.on("connecting", ({ code }) => codes.add(code));
  const sent = await follow(env, room, follower, seed, async (random) => {
    while (follower.recoveries < ROUNDS) {
      const until = follower.last + Math.floor(random() * 10);
      const before = follower.recoveries;
      await follower.until(() => follower.last >= until, "publications");
      await api(env, "disconnect", { user: name, disconnect: { code: 3000, reason: "go" } });
      await follower.until(() => follower.recoveries > before, "recovery");
    }
  });
  equal([...codes], [3000], "codes of the closes");
  return `${sent} messages, ${follower.recoveries} recoveries`;
}

const WAYS = [
  ["a proxy cuts the bytes", cutByProxy],
  ["the server closes", closedByServer],
];

// [title, check] of each; all begin with the first of them and go on side by side.
export function recoveries(environments, seed) {
  const all = environments.flatMap((env) => WAYS.map(([title, way]) => [env, title, way]));
  let running;
  const begin = () => {
    running ??= all.map(([env, , way]) => way(env, seed));
    for (const each of running) each.catch(() => {}); // is told when its check is up
    return running;
  };
  return all.map(([env, title], at) => [`${env.room}: recovers ${ROUNDS} times while ${title}`, async () => {
    console.log(`${env.room}: seed ${seed}: ${await begin()[at]}`);
  }]);
}
