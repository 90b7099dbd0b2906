// What the npm package `centrifuge` must find on the server, for Node and for a page alike: [title, check(env)].

import { Member, api, ensure, equal, post, refusal, roomUrl } from "./sdk_member.mjs";
import { recoveries } from "./sdk_recovery.mjs";

const RPC_CODE = 108;

const who = (member) => ({ client: member.id, user: member.name });

// Some have the bytes of what was not sent.
const known = ({ client, user }) => ({ client, user });

const checks = [
  ["own and others' publications, and who sent them", async (env) => {
    const room = `${env.room} käse/世界`;
    const [anna, ben] = await Promise.all(["anna", "ben"].map((name) => Member.open(env, name)));
    ensure(anna.id !== ben.id, `both are ${anna.id}`);
    const [annas, bens] = await Promise.all([anna, ben].map((member) => member.join(room)));
    await annas.publish({ from: "anna", text: "Grüße,\n世界 👋🏽 \u2028" });
    await bens.publish({ from: "ben" });
    for (const seat of [annas, bens]) {
      const [first, second] = await seat.publication.take(2);
      equal([first.offset, second.offset], [1, 2], "offsets");
      equal([first.channel, second.channel], [room, room], "rooms");
      equal(env.unpack(first.data), { from: "anna", text: "Grüße,\n世界 👋🏽 \u2028" }, "what anna said");
      equal([first.info, second.info].map(known), [who(anna), who(ben)], "who sent it");
    }
  }],

  ["somebody without a name", async (env) => {
    const nobody = await Member.open(env);
    const seat = await nobody.join(`${env.room} nameless`);
    await seat.publish(1);
    const { data, info } = await seat.publication.next();
    equal([env.unpack(data), known(info)], [1, { client: nobody.id, user: "" }], "the publication");
  }],

  ["values of every kind and size", async (env) => {
    const seat = await (await Member.open(env, "anna")).join(`${env.room} values`);
    const values = [
      {}, [], 0, -1.5e300, true, false, null, "", "text", "line\nbreak", { deep: [[[[{ a: null }]]]] },
      { "quote\"": "back\\slash \u0000 \u007f \ud83d\udc4b" }, "ä".repeat(50_000), { list: Array(5000).fill("x") },
    ];
    for (const value of values) await seat.publish(value);
    const got = await seat.publications(values.length);
    equal(got, values.map((value, at) => [at + 1, value, "anna"]), "publications");
  }],

  ["a batch is answered in order", async (env) => {
    const member = await Member.open(env, "anna");
    const seat = await member.join(`${env.room} batch`);
    member.client.startBatching();
    const answered = [];
    const commands = Array.from({ length: 50 }, (_, n) =>
      member.publish(seat.room, n).then(() => answered.push(n)));
    commands.push(member.client.history(seat.room, { limit: 0 }).then(({ offset }) => answered.push(`top ${offset}`)));
    commands.push(member.publish(`${env.room} elsewhere`, 1).catch(({ code }) => answered.push(`error ${code}`)));
    member.client.stopBatching();
    await Promise.all(commands);
    equal(answered, [...Array(50).keys(), "top 50", "error 103"], "answers");
    equal((await seat.publications(50)).map(([offset, n]) => offset - n), Array(50).fill(1), "offsets");
  }],

  ["history", async (env) => {
    const room = `${env.room} history`;
    const member = await Member.open(env, "anna");
    const seat = await member.join(room);
    for (let n = 1; n <= 10; n++) await seat.publish({ n });
    const history = async (options) => {
      const { publications, offset, epoch } = await member.client.history(room, options);
      equal(offset, 10, "top of the history");
      equal(epoch, top.epoch, "epoch of the history");
      for (const each of publications) {
        equal([env.unpack(each.data), known(each.info)], [{ n: each.offset }, who(member)], "a publication");
      }
      return publications.map((each) => each.offset);
    };
    const top = await member.client.history(room);
    equal([top.publications, top.offset], [[], 10], "history without a limit");
    ensure(/^[0-9a-f]{16}$/.test(top.epoch), `epoch ${top.epoch}`);
    const since = (offset) => ({ since: { offset, epoch: top.epoch } });
    equal(await history({ limit: 3 }), [1, 2, 3], "the first");
    equal(await history({ limit: 300 }), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10], "all");
    equal(await history({ limit: 3, reverse: true }), [10, 9, 8], "the last");
    equal(await history({ limit: 3, ...since(4) }), [5, 6, 7], "behind a position");
    equal(await history({ limit: 300, ...since(8) }), [9, 10], "behind a position to the end");
    equal(await history({ limit: 300, ...since(10) }), [], "behind the end");
    equal(await history({ limit: 3, reverse: true, ...since(4) }), [3, 2, 1], "before a position");
    equal(await history({ limit: 300, reverse: true, ...since(1) }), [], "before the first");
    const other = await refusal(member.client.history(room, { limit: 1, since: { offset: 1, epoch: "x" } }), "epoch");
    equal(other.code, 112, "code for another epoch");
  }],

  ["presence and its numbers", async (env) => {
    const room = `${env.room} presence`;
    const watcher = await Member.open(env, "watcher");
    equal(await watcher.client.presenceStats(room), { numClients: 0, numUsers: 0 }, "of nobody");
    equal(await watcher.client.presence(room), { clients: {} }, "nobody");
    const watching = await watcher.join(room, { joinLeave: true });
    const others = await Promise.all(["anna", "anna", "ben"].map((name) => Member.open(env, name)));
    const seats = await Promise.all(others.map((member) => member.join(room)));
    const { clients } = await watching.sub.presence();
    const expected = Object.fromEntries([watcher, ...others].map((member) => [member.id, who(member)]));
    const got = Object.fromEntries(Object.entries(clients).map(([id, info]) => [id, known(info)]));
    equal(got, expected, "presence");
    equal(await watching.sub.presenceStats(), { numClients: 4, numUsers: 3 }, "numbers");
    seats[0].sub.unsubscribe();
    await others[2].leave();
    await watching.leave.take(2);
    const left = Object.keys((await watcher.client.presence(room)).clients).sort();
    equal(left, [watcher.id, others[1].id].sort(), "who is left");
    equal(await watcher.client.presenceStats(room), { numClients: 2, numUsers: 2 }, "numbers of who is left");
  }],

  ["joins and leaves", async (env) => {
    const room = `${env.room} joins`;
    const anna = await Member.open(env, "anna");
    const watching = await anna.join(room, { joinLeave: true });
    const quiet = await (await Member.open(env, "quiet")).join(room);
    const ben = await Member.open(env, "ben");
    const seat = await ben.join(room);
    seat.sub.unsubscribe();
    const left = [(await watching.leave.next()).info];
    const carl = await Member.open(env, "carl");
    await carl.join(room);
    await carl.leave();
    const joined = [];
    while (joined.at(-1)?.user !== "carl") joined.push((await watching.join.next()).info);
    equal(joined.filter(({ user }) => user !== "anna").map(known), [who(quiet.member), who(ben), who(carl)], "joins");
    left.push((await watching.leave.next()).info);
    equal(left.map(known), [who(ben), { client: carl.connected.items[0].client, user: "carl" }], "leaves");
    // One who did not ask for them gets none: this is behind all of them.
    await watching.publish("end");
    await quiet.publication.next();
    equal([quiet.join.items.length, quiet.leave.items.length], [0, 0], "joins and leaves not asked for");
  }],

  ["unsubscribing, and coming back to what was missed", async (env) => {
    const room = `${env.room} unsubscribe`;
    const [anna, ben] = await Promise.all(["anna", "ben"].map((name) => Member.open(env, name)));
    const [annas, bens] = await Promise.all([anna, ben].map((member) => member.join(room)));
    await bens.publish(1);
    equal(await annas.publications(1), [[1, 1, "ben"]], "before");
    annas.sub.unsubscribe();
    equal((await annas.unsubscribed.next()).code, 0, "code");
    const { code } = await refusal(anna.publish(room, "x"), "publishing from outside");
    equal(code, 103, "code for publishing from outside"); // behind the unsubscribe, on the same connection
    for (const n of [2, 3]) await bens.publish(n);
    equal(annas.publication.items.length, 1, "publications while outside");
    annas.sub.subscribe();
    const { recovered, wasRecovering, streamPosition } = await annas.subscribed.next();
    equal([recovered, wasRecovering, streamPosition.offset], [true, true, 1], "coming back");
    await bens.publish(4);
    equal(await annas.publications(3), [[2, 2, "ben"], [3, 3, "ben"], [4, 4, "ben"]], "behind it");
  }],

  ["beginning from a position", async (env) => {
    const room = `${env.room} since`;
    const anna = await Member.open(env, "anna");
    const seat = await anna.join(room);
    for (let n = 1; n <= 400; n++) seat.publish(n);
    await seat.publications(400);
    const { epoch } = seat.subscribed.items[0].streamPosition;
    for (const offset of [0, 1, 399, 400]) {
      const late = await (await Member.open(env, "late")).join(room, { since: { offset, epoch } });
      const { recovered, streamPosition } = late.subscribed.items[0];
      equal([recovered, streamPosition], [true, { offset, epoch }], `since ${offset}`);
      await seat.publish("live");
      const [top] = await seat.publications(1);
      const got = (await late.publications(top[0] - offset)).map(([at]) => at);
      equal(got, Array.from({ length: top[0] - offset }, (_, at) => offset + 1 + at), `offsets since ${offset}`);
      await late.member.leave();
    }
    for (const since of [{ offset: 1, epoch: "0123456789abcdef" }, { offset: 100_000, epoch }]) {
      const late = await (await Member.open(env, "late")).join(room, { since });
      const { recovered, wasRecovering, streamPosition } = late.subscribed.items[0];
      const { offset } = await anna.client.history(room);
      equal([recovered, wasRecovering, streamPosition], [false, true, { offset, epoch }], "nowhere to begin");
      await seat.publish("live");
      equal((await late.publications(1))[0][0], offset + 1, "what comes then");
    }
  }],

  ["leaving before what was missed is delivered loses nothing", async (env) => {
    const room = `${env.room} interrupted`;
    const [anna, ben] = await Promise.all(["anna", "ben"].map((name) => Member.open(env, name)));
    const [annas, bens] = await Promise.all([anna, ben].map((member) => member.join(room)));
    await bens.publish(1);
    await annas.publications(1);
    await anna.leave();
    for (let n = 2; n <= 20; n++) await bens.publish(n);
    // The SDK calls this with the reply in hand, and drops the publications in it then.
    annas.sub.once("subscribed", () => annas.sub.unsubscribe());
    anna.client.connect();
    await annas.unsubscribed.next();
    annas.sub.subscribe();
    const got = await annas.publications(19);
    equal(got, Array.from({ length: 19 }, (_, at) => [at + 2, at + 2, "ben"]), "publications");
  }],

  ["an application that keeps its own state", async (env) => {
    const room = `${env.room} state`;
    const anna = await Member.open(env, "anna");
    const first = await anna.join(room);
    await first.publish(1);
    const { epoch } = first.subscribed.items[0].streamPosition;
    // The server must refuse the first of them, and not answer that it is not recovered.
    const states = [{ offset: 1, epoch: "0123456789abcdef" }, { offset: 0, epoch }];
    let asked = 0;
    const ben = await Member.open(env, "ben");
    const seat = await ben.join(room, { getState: async () => states[asked++] });
    equal(asked, 2, "times the state was asked for");
    equal([seat.subscribed.items.length, seat.error.items.length], [1, 0], "subscribed, errors");
    equal(await seat.publications(1), [[1, 1, "anna"]], "publications");
  }],

  ["what is refused, and by which code", async (env) => {
    const room = `${env.room} refused`;
    const member = await Member.open(env, "anna");
    const publishing = await refusal(member.publish(room, "x"), "publishing from outside");
    equal([publishing.code, publishing.temporary], [103, false], "publishing from outside");
    ensure(publishing.message.length > 0, "an error says what is wrong");
    equal((await refusal(member.client.rpc("add", env.pack([1, 2])), "rpc")).code, RPC_CODE, "rpc");
    for (const name of ["x".repeat(129), "a\u0007b"]) {
      const seat = member.seat(name);
      seat.sub.subscribe();
      const { code, reason } = await seat.unsubscribed.next();
      equal(code, 107, `code for the room ${JSON.stringify(name.slice(0, 8))} (${reason})`);
      equal((await refusal(member.client.history(name, { limit: 1 }), "history")).code, 107, "code for its history");
      equal((await refusal(member.client.presence(name), "presence")).code, 107, "code for its presence");
    }
    equal(member.connected.items.length, 1, "connections"); // none of that ends it
    equal((await (await member.join(room)).sub.history({ limit: 1 })).offset, 0, "and it goes on");
  }],

  ["a publication over HTTP has no sender", async (env) => {
    const room = `${env.room} http`;
    const seat = await (await Member.open(env, "anna")).join(room);
    await post(roomUrl(env.base, room), '{"from":"http"}', { "Content-Type": "application/json" });
    const { data, info, offset } = await seat.publication.next();
    equal([env.unpack(data), info, offset], [{ from: "http" }, undefined, 1], "the publication");
  }],

  ["what is almost JSON comes as text and ends nobody's connection", async (env) => {
    const room = `${env.room} almost`;
    const member = await Member.open(env, "anna");
    const seat = await member.join(room);
    const texts = [
      "NaN", "{}{}", "{} x", "\ufeff{}", '{"a":1,}', '"a\tb"', "[1e999]", "9".repeat(5000), '"\\ud800"',
      "[".repeat(5000), `${"[".repeat(5000)}${"]".repeat(5000)}`,
    ];
    for (const text of texts) await post(roomUrl(env.base, room), text, { "Content-Type": "text/plain" });
    for (const text of texts) {
      const { data, tags } = await seat.publication.next();
      const decode = (bytes) => new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes);
      if (data instanceof Uint8Array) equal(decode(data), text, "bytes");
      else equal([data, tags], [text, { form: "text" }], `what came for ${text.slice(0, 20)}`);
    }
    equal(member.connected.items.length, 1, "connections");
  }],

  ["a short absence is no leave and no join", async (env) => {
    const room = `${env.room} grace`;
    const watcher = await (await Member.open(env, "watcher")).join(room, { joinLeave: true });
    const proxy = await env.openProxy("steady");
    try {
      // With the SDK's own delay: who is back before the server knows that it was away is somebody new.
      const delay = { minReconnectDelay: 500, maxReconnectDelay: 20_000 };
      const name = `${env.room} away`; // whoever else comes with it would be taken for this one
      const anna = await Member.open(env, name, { url: proxy.url, ...delay });
      const annas = await anna.join(room);
      const before = anna.id;
      await proxy.cut();
      const { recovered } = await annas.subscribed.next();
      equal([recovered, anna.id], [true, before], "recovered, and the id");
      // What follows comes behind all of it.
      await (await Member.open(env, "last")).join(room);
      const joined = [];
      while (joined.at(-1) !== "last") joined.push((await watcher.join.next()).info.user);
      equal(joined.filter((user) => user !== "watcher"), [name, "last"], "joins");
      equal(watcher.leave.items, [], "leaves");
      equal((await watcher.sub.presenceStats()).numClients, 3, "members");
      await anna.leave();
      equal(known((await watcher.leave.next()).info), { client: before, user: name }, "the leave when it goes");
    } finally {
      await proxy.close();
    }
  }],
];

// The server API.
const apiChecks = [
  ["the server disconnects: to come back", async (env) => {
    const room = `${env.room} disconnect`;
    const name = `${env.room} closed`;
    const member = await Member.open(env, name);
    const seat = await member.join(room);
    await api(env, "disconnect", { user: name, disconnect: { code: 3000, reason: "try again" } });
    await member.connecting.next();
    const { code, reason } = await member.connecting.next();
    equal([code, reason], [3000, "try again"], "code and reason");
    equal((await seat.subscribed.next()).recovered, true, "recovered");
  }],

  ["the server disconnects: for good", async (env) => {
    const name = `${env.room} ended`;
    const member = await Member.open(env, name);
    await api(env, "disconnect", { user: name });
    const { code, reason } = await member.disconnected.next();
    equal(code, 3503, "code without one asked for");
    ensure(reason.length > 0, "a reason"); // without it the SDK comes back
    equal(member.connected.items.length, 1, "connections");
  }],

  ["the server unsubscribes", async (env) => {
    const room = `${env.room} unsubscribed`;
    const name = `${env.room} thrown out`;
    const member = await Member.open(env, name);
    const seat = await member.join(room);
    await api(env, "unsubscribe", { user: name, channel: room });
    equal((await seat.unsubscribed.next()).code, 2000, "code");
    equal((await refusal(member.publish(room, 1), "publishing")).code, 103, "publishing then");
    seat.sub.subscribe();
    await seat.subscribed.next();
    equal(member.connected.items.length, 1, "connections");
  }],

  ["the server publishes and reads", async (env) => {
    const room = `${env.room} api`;
    const member = await Member.open(env, "anna");
    const seat = await member.join(room);
    const { offset, epoch } = await api(env, "publish", { channel: room, data: { n: 1 } });
    equal([offset, epoch], [1, seat.subscribed.items[0].streamPosition.epoch], "position");
    const { responses } = await api(env, "broadcast", { channels: [room], data: { n: 2 } });
    equal(responses.map((each) => each.result.offset), [2], "broadcast");
    equal((await seat.publications(2)).map((each) => each.slice(0, 2)), [[1, { n: 1 }], [2, { n: 2 }]], "publications");
    const { publications } = await api(env, "history", { channel: room, limit: 10 });
    equal(publications.map((each) => [each.offset, each.data]), [[1, { n: 1 }], [2, { n: 2 }]], "history");
    const { presence } = await api(env, "presence", { channel: room });
    equal(Object.keys(presence), [member.id], "presence");
    equal(await api(env, "presence_stats", { channel: room }), { num_clients: 1, num_users: 1 }, "numbers");
  }],
];

// All of it for each of the environments, in this order.
export function checksOf(environments, seed) {
  const each = environments.flatMap((env) =>
    [...checks, ...apiChecks].map(([title, check]) => [`${env.room}: ${title}`, () => check(env)]));
  return [...each, ...recoveries(environments, seed)];
}
