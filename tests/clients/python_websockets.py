#!/usr/bin/env python3
"""Tests a fanfare server with the client of the PyPI package `websockets`.

    python python_websockets.py ws://127.0.0.1:9001 [--room NAME]

The last checks need a peer in the same room: start node_ws.mjs at the same
time, with the same --room (run.py does so). Exits 1 if a check fails.
"""

import argparse
import asyncio
import json
import os
import sys
import traceback
from urllib.parse import quote, urlsplit

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

ME, PEER = "python", "node"
CHECK_TIMEOUT = 20
ROOM_TIMEOUT = 60  # includes waiting for the peer to start


# What each side sends. node_ws.mjs makes the same messages: change both.
# Every message but the empty ones begins with the sender's first letter.


def make_text(sender, number, size):
    unit = f"{sender[0]}{number:04d} "
    return (unit * (size // len(unit) + 1))[:size]


def make_binary(sender, number, size):
    body = bytearray((i * 7 + number) & 0xFF for i in range(size))
    body[:1] = sender[0].encode() if size else b""
    return bytes(body)


def plan(sender, with_empty):
    """The messages of one side, in order. A list is sent in that many frames."""
    number = 0
    messages = []
    for size in (0, 1, 125, 126, 127, 65_535, 65_536, 200 * 1024):
        if size == 0 and not with_empty:
            continue
        messages.append(make_text(sender, number, size))
        messages.append(make_binary(sender, number + 1, size))
        number += 2
    greeting = f"{sender[0]} Grüße, 世界, здравствуй, 👋🏽 \u2028\0 e\u0301"
    messages.append(greeting)
    messages.append(greeting * 3000)
    messages.append([greeting, "äöü", "…", ""])
    messages.append([make_binary(sender, number, 70_000), b"", b"\xff\x00\x80"])
    messages.extend(f"{sender[0]} number {i}" for i in range(200))
    return messages


def whole(message):
    if isinstance(message, list):
        return (b"" if isinstance(message[0], bytes) else "").join(message)
    return message


def describe(message):
    if isinstance(message, str):
        return f"text of {len(message.encode())} bytes {message[:24]!r}"
    return f"binary of {len(message)} bytes {message[:12].hex(' ')}"


def compare(what, got, expected):
    for i, (left, right) in enumerate(zip(got, expected)):
        assert left == right, f"{what}: message {i} is {describe(left)}, not {describe(right)}"
    assert len(got) == len(expected), f"{what}: {len(got)} messages, not {len(expected)}"


class Checks:
    def __init__(self, base, room):
        self.base = base
        self.room = room

    def open(self, path, **options):
        # proxy=None: a proxy named in the environment is not for these tests.
        options = {"proxy": None, "max_size": None, "open_timeout": CHECK_TIMEOUT, **options}
        return connect(self.base + path, **options)

    def open_room(self, room, query="", **options):
        return self.open(f"/rooms/{quote(room, safe='')}{query}", **options)

    async def refused(self, path, **options):
        try:
            async with self.open(path, **options):
                pass
        except InvalidStatus as error:
            status = error.response.status_code
            assert 400 <= status < 500, f"{path} is answered with status {status}"
        else:
            raise AssertionError(f"{path} is accepted")

    async def check_echo_path(self):
        async with self.open("/echo") as ws:
            for message in ("hello", b"\x00\xff", "", b"", "Grüße, 世界"):
                await ws.send(message)
                answer = await ws.recv()
                assert answer == message, f"{describe(message)} came back as {describe(answer)}"

    async def check_no_subprotocol(self):
        async with self.open_room("python-subprotocol") as ws:
            assert ws.subprotocol is None, f"got subprotocol {ws.subprotocol!r}"
        async with self.open_room("python-subprotocol", subprotocols=["chat.example"]) as ws:
            assert ws.subprotocol is None, f"offered one, got subprotocol {ws.subprotocol!r}"

    async def check_ping_pong(self):
        async with self.open_room("python-ping") as ws:
            for payload in (b"", b"fanfare", b"x" * 125):
                # Resolved only by a pong that carries the same payload.
                await (await ws.ping(payload))

    async def check_clean_close(self):
        async with self.open_room("python-close") as ws:
            await ws.close(1000, "bye")
            received = ws.protocol.close_rcvd
            assert received is not None, "the connection ended without a close frame"
            assert received.code == 1000, f"closed with {received.code} {received.reason!r}"

    async def check_too_big(self):
        # Random and not compressed: the size on the wire is the size of the message.
        async with self.open_room("python-big", compression=None) as ws:
            try:
                await ws.send(os.urandom(2 * 1024 * 1024))
                await ws.recv()
            except ConnectionClosed as error:
                received = error.rcvd
                assert received is not None, "the connection ended without a close frame"
                assert received.code == 1009, f"closed with {received.code} {received.reason!r}"
            else:
                raise AssertionError("the server answered with a message")

    async def check_origin(self):
        parts = urlsplit(self.base)
        own = f"{'https' if parts.scheme == 'wss' else 'http'}://{parts.netloc}"
        async with self.open_room("python-origin", origin=own):
            pass
        for foreign in ("https://other.example", own + "1", "null"):
            await self.refused("/rooms/python-origin", origin=foreign)

    async def check_room_names(self):
        for room in ("x" * 128, "ü" * 64, "with space", "a/b", "100%", "?#"):
            async with self.open_room(room):
                pass
        for path in ("/rooms/", "/rooms/" + "x" * 129, "/rooms/" + "%C3%BC" * 65,
                     "/rooms/a%00b", "/rooms/a%0Ab", "/rooms/a%7F", "/rooms/%FF"):
            await self.refused(path)

    async def check_room(self):
        async with self.open_room(self.room) as ws:
            received = await self.exchange(ws, plan(ME, True), {(PEER, "done"), (PEER, "bye")})
        own = [m for m in received if m[:1] in (ME[0], ME[0].encode()) and m]
        assert not own, f"got {len(own)} of its own messages, first {describe(own[0])}"
        compare("from the peer", received, [whole(m) for m in plan(PEER, True)])

    async def check_room_with_echo(self):
        async with self.open_room(self.room + " echo", "?echo=true") as ws:
            last = {(PEER, "done"), (PEER, "bye"), (ME, "done")}
            received = await self.exchange(ws, plan(ME, False), last)
        for sender in (PEER, ME):
            letters = (sender[0], sender[0].encode())
            got = [m for m in received if m[:1] in letters]
            compare(f"from {sender}", got, [whole(m) for m in plan(sender, False)])
        total = len(plan(ME, False)) + len(plan(PEER, False))
        assert len(received) == total, f"{len(received)} messages, not {total}"

    async def exchange(self, ws, messages, last):
        """Sends `messages` and returns what was received, once all has arrived.

        Both sides say in the room itself how far they are:
        hello, welcome   until both know that the other is a member
        done             all is sent
        bye              the answer to the other's done
        `last` names what must have been heard before the end.
        """
        received = []
        heard = set()
        met = asyncio.Event()

        async def say(word):
            await ws.send(json.dumps({"from": ME, "say": word}))

        async def listen():
            while not heard.issuperset(last):
                message = await ws.recv()
                if not (isinstance(message, str) and message.startswith("{")):
                    received.append(message)
                    continue
                control = json.loads(message)
                heard.add((control["from"], control["say"]))
                if control["from"] == ME:
                    continue
                met.set()
                if control["say"] == "hello":
                    await say("welcome")
                elif control["say"] == "done":
                    await say("bye")

        async def talk():
            await say("hello")
            await met.wait()
            for message in messages:
                await ws.send(message)
            await say("done")

        await asyncio.gather(listen(), talk())
        return received


async def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("base_url", help="for example ws://127.0.0.1:9001")
    parser.add_argument("--room", default="clients", help="room to meet the peer in")
    arguments = parser.parse_args()

    checks = Checks(arguments.base_url.rstrip("/"), arguments.room)
    passed = failed = 0
    for name in [name for name in vars(Checks) if name.startswith("check_")]:
        title = name.removeprefix("check_").replace("_", " ")
        limit = ROOM_TIMEOUT if name in ("check_room", "check_room_with_echo") else CHECK_TIMEOUT
        try:
            async with asyncio.timeout(limit):
                await getattr(checks, name)()
        except TimeoutError:
            failed += 1
            print(f"FAIL {title}: not done within {limit} s", flush=True)
        except Exception as error:
            failed += 1
            print(f"FAIL {title}: {error or type(error).__name__}", flush=True)
            if not isinstance(error, AssertionError):
                traceback.print_exception(error)
        else:
            passed += 1
            print(f"PASS {title}", flush=True)
    print(f"{passed} passed, {failed} failed", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
