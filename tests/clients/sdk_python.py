#!/usr/bin/env python3
"""Tests a fanfare server with the PyPI package `centrifuge-python`, over JSON and over Protobuf.

    python sdk_python.py http://127.0.0.1:9001

The server must be a fresh one, with rooms that nobody used. Exits 1 if a check fails.
"""

import asyncio
import functools
import json
import math
import random
import sys
import urllib.request

from centrifuge import (
    Client, ClientEventHandler, ClientState, ReplyError, StreamPosition, SubscriptionEventHandler,
)

import checking
from checking import STEP_TIMEOUT, CuttingProxy, equal

ROUNDS = 200  # recoveries of each
LEAD = 20  # messages that the publisher may be ahead: an answer with them has to fit between two cuts
RPC_CODE = 108

checking.CHECK_TIMEOUT = 180  # for the 200 rounds; each step has its own


def events_of(handler_class):
    """The handler's class with a queue of what it is told for each of its events, such as on_join: "join"."""
    names = [name.removeprefix("on_") for name in vars(handler_class) if name.startswith("on_")]

    def begin(self):
        for name in names:
            setattr(self, name, asyncio.Queue())

    async def tell(self, context, name):
        getattr(self, name).put_nowait(context)

    handlers = {f"on_{name}": functools.partialmethod(tell, name=name) for name in names}
    return type(f"Queued{handler_class.__name__}", (handler_class,), {"__init__": begin, **handlers})


ClientEvents = events_of(ClientEventHandler)
RoomEvents = events_of(SubscriptionEventHandler)


async def soon(awaitable, what="event"):
    try:
        return await asyncio.wait_for(awaitable, STEP_TIMEOUT)
    except asyncio.TimeoutError:
        raise AssertionError(f"no {what} in {STEP_TIMEOUT} s") from None


class Door:
    """A server and an encoding: where and how clients connect."""

    def __init__(self, base, protobuf):
        self.base = base
        self.protobuf = protobuf
        self.name = "protobuf" if protobuf else "json"
        self.clients = []

    def pack(self, value):
        return json.dumps(value, ensure_ascii=False).encode() if self.protobuf else value

    def unpack(self, data):
        return json.loads(data) if self.protobuf else data

    def client(self, name, events=None, base=None):
        url = (base or self.base).replace("http", "ws", 1) + "/connection/websocket"
        data = None if name is None else self.pack({"name": name})
        client = Client(url, events=events or ClientEvents(), data=data, use_protobuf=self.protobuf, proxy=None,
                        min_reconnect_delay=0.001, max_reconnect_delay=0.005)
        self.clients.append(client)
        return client

    async def connect(self, name, base=None):
        client = self.client(name, base=base)
        await client.connect()
        await soon(client.ready(), "connection")
        return client

    async def join(self, client, room, **options):
        """The subscription; its events have begun with being subscribed."""
        seat = client.new_subscription(room, events=RoomEvents(), **options)
        await seat.subscribe()
        await soon(seat.ready(), "subscription")
        return seat

    async def publications(self, seat, count):
        """The next: (offset, value, user) of each."""
        got = []
        while len(got) < count:
            pub = (await soon(seat.events.publication.get(), f"publication {len(got) + 1} of {count}")).pub
            got.append((pub.offset, self.unpack(pub.data), pub.info.user if pub.info else None))
        return got

    async def post(self, path, value):
        """The answer to JSON."""
        request = urllib.request.Request(self.base + path, json.dumps(value).encode(),
                                         {"Content-Type": "application/json"})
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

        def ask():
            with opener.open(request, timeout=STEP_TIMEOUT) as answer:
                return json.load(answer)
        return await asyncio.to_thread(ask)

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        for client in self.clients:
            await client.disconnect()


def for_each_encoding(check):
    """Makes a check of an async one that takes a door."""
    def run(self):
        async def all_of_it():
            for protobuf in (False, True):
                async with Door(self.base, protobuf) as door:
                    await check(self, door)
        asyncio.run(all_of_it())
    return run


async def refusal(awaitable):
    """The error of the server that it ends with."""
    try:
        await soon(awaitable)
    except ReplyError as error:
        return error
    raise AssertionError("not refused")


class Checks:
    def __init__(self, base):
        self.base = base

    @for_each_encoding
    async def check_own_and_others_publications_and_who_sent_them(self, door):
        room = f"python {door.name} käse/世界 👋🏽"
        anna, ben = [await door.connect(name) for name in ("anna", "ben")]
        seats = [await door.join(client, room) for client in (anna, ben)]
        values = [{"text": "Grüße,\n世界 👋🏽 \u2028"}, [1, 2.5, None], "x" * 100_000, ""]
        for value in values:
            await soon(seats[0].publish(door.pack(value)))
        await soon(seats[1].publish(door.pack("ben")))
        for seat in seats:
            got = await door.publications(seat, 5)
            of_anna = [(at, value, "anna") for at, value in enumerate(values, 1)]
            equal(got, [*of_anna, (5, "ben", "ben")], "publications")
        assert anna.client_id != ben.client_id, "two clients, one id"
        await soon(ben.publish(room, door.pack("last")))
        info = (await soon(seats[0].events.publication.get())).pub.info
        equal((info.client, info.user), (ben.client_id, "ben"), "who sent it")

    @for_each_encoding
    async def check_history(self, door):
        room = f"python {door.name} history"
        client = await door.connect(None)
        seat = await door.join(client, room)
        for n in range(1, 11):
            await soon(seat.publish(door.pack({"n": n})))
        top = await soon(seat.history())
        equal((top.offset, top.publications), (10, []), "history without a limit")

        async def history(since=None, **options):
            position = None if since is None else StreamPosition(since, top.epoch)
            result = await soon(client.history(room, since=position, **options))
            equal((result.offset, result.epoch), (10, top.epoch), "top of the history")
            for pub in result.publications:
                equal((door.unpack(pub.data), pub.info.user), ({"n": pub.offset}, ""), "a publication")
            return [pub.offset for pub in result.publications]

        equal(await history(limit=3), [1, 2, 3], "the first")
        equal(await history(limit=300), list(range(1, 11)), "all")
        equal(await history(limit=3, reverse=True), [10, 9, 8], "the last")
        equal(await history(limit=3, since=4), [5, 6, 7], "behind a position")
        equal(await history(limit=3, since=4, reverse=True), [3, 2, 1], "before a position")
        equal(await history(limit=300, since=10), [], "behind the end")
        error = await refusal(client.history(room, limit=1, since=StreamPosition(1, "x")))
        equal(error.code, 112, "code for another epoch")

    @for_each_encoding
    async def check_presence_joins_and_leaves(self, door):
        room = f"python {door.name} presence"
        anna = await door.connect("anna")
        seat = await door.join(anna, room, join_leave=True)
        ben = await door.connect("ben")
        bens = await door.join(ben, room)
        second = await door.connect("ben")
        await door.join(second, room)
        present = (await soon(seat.presence())).clients
        equal({key: (info.client, info.user) for key, info in present.items()},
              {client.client_id: (client.client_id, name) for client, name in
               ((anna, "anna"), (ben, "ben"), (second, "ben"))}, "presence")
        stats = await soon(anna.presence_stats(room))
        equal((stats.num_clients, stats.num_users), (3, 2), "numbers")
        ids = [ben.client_id, second.client_id]
        await bens.unsubscribe()
        first_left = await soon(seat.events.leave.get(), "leave")
        await second.disconnect()
        left = [each.info.client for each in (first_left, await soon(seat.events.leave.get(), "leave"))]
        equal(left, ids, "leaves")
        joined = [(await soon(seat.events.join.get(), "join")).info for _ in range(seat.events.join.qsize())]
        equal([info.client for info in joined if info.user == "ben"], ids, "joins")
        stats = await soon(seat.presence_stats())
        equal((stats.num_clients, stats.num_users), (1, 1), "numbers of who is left")

    @for_each_encoding
    async def check_unsubscribing_and_coming_back(self, door):
        room = f"python {door.name} unsubscribe"
        anna, ben = [await door.connect(name) for name in ("anna", "ben")]
        seat, bens = await door.join(anna, room), await door.join(ben, room)
        await soon(seat.events.subscribed.get())
        await soon(bens.publish(door.pack(1)))
        await door.publications(seat, 1)
        await seat.unsubscribe()
        equal((await refusal(anna.publish(room, door.pack("x")))).code, 103, "code for publishing from outside")
        for n in (2, 3):
            await soon(bens.publish(door.pack(n)))
        assert seat.events.publication.empty(), "a publication while outside"
        await seat.subscribe()
        context = await soon(seat.events.subscribed.get(), "subscription")
        equal((context.was_recovering, context.recovered), (True, True), "coming back")
        equal(await door.publications(seat, 2), [(2, 2, "ben"), (3, 3, "ben")], "what was missed")

    @for_each_encoding
    async def check_what_is_almost_json_comes_as_text_and_ends_nobodys_connection(self, door):
        room = f"python {door.name} almost"
        client = await door.connect("anna")
        seat = await door.join(client, room)
        texts = ["NaN", "{}{}", "\ufeff{}", '{"a":1,}', '"a\tb"', "[1e999]", "9" * 5000, r'"\ud800"', "[" * 5000,
                 "[" * 5000 + "]" * 5000]
        publisher = checking.Publisher(self.base, room, texts)
        publisher.start()
        got = [(await soon(seat.events.publication.get())).pub for _ in texts]
        await asyncio.to_thread(publisher.done)
        if door.protobuf:
            equal([pub.data.decode() for pub in got], texts, "bytes")
        else:
            equal([(pub.data, pub.tags) for pub in got], [(text, {"form": "text"}) for text in texts], "texts")
        equal((client.state, client.events.connected.qsize()), (ClientState.CONNECTED, 1), "connections")

    @for_each_encoding
    async def check_what_is_refused_and_by_which_code(self, door):
        client = await door.connect("anna")
        error = await refusal(client.publish(f"python {door.name} refused", door.pack("x")))
        equal((error.code, error.temporary), (103, False), "publishing from outside")
        equal((await refusal(client.rpc("add", door.pack([1, 2])))).code, RPC_CODE, "rpc")
        for name in ("x" * 129, "a\a"):
            seat = client.new_subscription(name, events=RoomEvents())
            await seat.subscribe()
            equal((await soon(seat.events.unsubscribed.get())).code, 107, "code for a room that cannot be")
            equal((await refusal(client.presence(name))).code, 107, "code for its presence")
        equal(client.state, ClientState.CONNECTED, "state")

    @for_each_encoding
    async def check_the_server_disconnects_for_good(self, door):
        name = f"python {door.name} ended"
        client = await door.connect(name)
        await door.post("/api/disconnect", {"user": name})
        equal((await soon(client.events.disconnected.get())).code, 3503, "code")

    def check_recovers_200_times_while_a_proxy_cuts_the_bytes_or_the_server_closes(self):
        seed = random.randrange(1 << 31)

        async def all_of_them():
            async with Door(self.base, False) as first, Door(self.base, True) as second:
                ways = [way(door, seed) for door in (first, second) for way in (cut_off, closed)]
                results = await asyncio.gather(*ways, return_exceptions=True)
            for result in results:
                print(f"seed {seed}: {result}", flush=True)
            for result in results:
                if isinstance(result, BaseException):
                    raise result
        asyncio.run(all_of_them())


class Follower(SubscriptionEventHandler):
    """Checks each publication as it comes, over all its connections."""

    def __init__(self, door):
        self.door = door
        self.recoveries = 0
        self.last = None  # the offset so far
        self.epoch = None
        self.wrong = None  # the first thing that was not right
        self.changed = asyncio.Condition()

    async def tell(self, wrong=None):
        if wrong and not self.wrong:
            self.wrong = f"{self.door.name}: after {self.recoveries} recoveries, at offset {self.last}: {wrong}"
        async with self.changed:
            self.changed.notify_all()

    async def on_subscribed(self, ctx):
        wrong = None
        if self.last is None:
            self.last, self.epoch = ctx.stream_position.offset, ctx.stream_position.epoch
        else:
            self.recoveries += 1
            if not (ctx.was_recovering and ctx.recovered and ctx.stream_position.epoch == self.epoch):
                wrong = f"not recovered: {ctx}"
        # It does something that takes a while: the connection may end in the middle of what was missed.
        await asyncio.sleep(0)
        await self.tell(wrong)

    async def on_publication(self, ctx):
        n = self.door.unpack(ctx.pub.data)["n"]
        wrong = None if ctx.pub.offset == n == self.last + 1 else f"offset {ctx.pub.offset} with message {n}"
        self.last = ctx.pub.offset
        await asyncio.sleep(0)
        await self.tell(wrong)

    async def on_unsubscribed(self, ctx):
        await self.tell(f"unsubscribed: {ctx}")

    async def until(self, condition, what):
        async def wait():
            async with self.changed:
                await self.changed.wait_for(lambda: self.wrong or condition())
        await soon(wait(), f"{what} of the follower at offset {self.last}")
        assert not self.wrong, self.wrong


async def publish(door, room, follower, numbers, stop):
    """Publishes numbered messages, never far ahead, until told to stop; how many."""
    n = 0
    try:
        seat = await door.join(await door.connect("publisher"), room)
        while not stop.is_set():
            n += 1
            await follower.until(lambda: follower.last >= n - LEAD or stop.is_set(), "progress")
            await soon(seat.publish(door.pack({"n": n, "pad": "ä" * 2 ** numbers.randrange(7)})), "answer")
    except Exception as error:
        await follower.tell(f"publishing {n}: {error}")
    return n


async def follow(door, room, base, name, seed, cut_off):
    """Runs `cut_off` beside a publisher, then lets the follower catch up; how many messages there were."""
    follower = Follower(door)
    client = door.client(name, base=base)
    await client.connect()
    seat = client.new_subscription(room, events=follower, min_resubscribe_delay=0.001, max_resubscribe_delay=0.005)
    await seat.subscribe()
    await follower.until(lambda: follower.last is not None, "subscription")
    stop = asyncio.Event()
    publisher = asyncio.create_task(publish(door, room, follower, random.Random(seed), stop))
    try:
        await cut_off(follower)
        stop.set()
        await follower.tell()
        sent = await publisher
        await follower.until(lambda: follower.last >= sent, f"offset {sent}")
    finally:
        publisher.cancel()
    equal(follower.last, sent, "last offset")
    return f"{sent} messages, {follower.recoveries} recoveries"


async def cut_off(door, seed):
    """After 256 bytes to 16 KiB, small numbers as often as large ones; one in ten in the answer to the handshake
    or just behind it."""
    numbers = random.Random(seed)
    cutting = True

    def cuts():
        while cutting:
            yield math.ceil(numbers.random() * 500 + 1 if numbers.random() < 0.1 else 2 ** numbers.uniform(8, 14))

    async def rounds(follower):
        nonlocal cutting
        for n in range(1, ROUNDS + 1):
            await follower.until(lambda: follower.recoveries >= n, f"recovery {n}")
        cutting = False

    with CuttingProxy(door.base, cuts()) as proxy:
        result = await follow(door, f"python {door.name} cut", proxy.base, "cut", seed, rounds)
        assert proxy.cut >= ROUNDS, f"{proxy.cut} cuts"
    return f"{door.name}: {proxy.cut} cuts, {result}"


async def closed(door, seed):
    """As the server is asked to by its API."""
    numbers = random.Random(seed)
    name = f"python {door.name} closed"

    async def rounds(follower):
        for n in range(1, ROUNDS + 1):
            until = follower.last + numbers.randrange(10)
            await follower.until(lambda: follower.last >= until, "publications")
            await door.post("/api/disconnect", {"user": name, "disconnect": {"code": 3000, "reason": "go"}})
            await follower.until(lambda: follower.recoveries >= n, f"recovery {n}")

    return f"{door.name}: closed, {await follow(door, name, None, name, seed, rounds)}"


if __name__ == "__main__":
    sys.exit(checking.main(__doc__.splitlines()[0], Checks))
