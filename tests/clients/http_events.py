#!/usr/bin/env python3
"""Tests the event streams of a fanfare server with the PyPI packages `httpx` and `httpx-sse`, and that
they, `websockets` and curl see one room alike.

    python http_events.py http://127.0.0.1:9001

The server must be a fresh one, with rooms that nobody used, and should send its heartbeats often
(--ping-interval 500ms). Exits 1 if a check fails.
"""

import base64
import json
import subprocess
import sys
import threading
import time

import httpx
from httpx_sse import connect_sse
from websockets.sync.client import connect

import checking
from checking import STEP_TIMEOUT, TEXTS, CuttingProxy, Publisher, as_event_data, equal, offset_of, room_path


class Checks:
    def __init__(self, base):
        self.base = base

    def client(self):
        return httpx.Client(timeout=STEP_TIMEOUT, trust_env=False)

    def url(self, room, base=None, rest="/events"):
        return (base or self.base) + room_path(room, rest)

    def history(self, room):
        """All of it, page by page, by curl."""
        items, since = [], []
        while True:
            done = subprocess.run(
                ["curl", "-q", "--noproxy", "*", "--silent", "--show-error", "--fail", "--max-time", str(STEP_TIMEOUT),
                 "--get", "--data", "limit=100", *since, self.url(room, rest="")],
                stdout=subprocess.PIPE, timeout=STEP_TIMEOUT + 5, check=True)
            page = json.loads(done.stdout)
            items += page["publications"]
            if not page["more"]:
                return items
            since = ["--data-urlencode", f"since={page['epoch']}:{items[-1]['offset']}"]

    def check_every_text_comes_as_it_was(self):
        room = "httpx texts"
        with self.client() as client, connect_sse(client, "GET", self.url(room)) as source:
            events = source.iter_sse()
            begin = next(events)
            equal((begin.event, begin.data, offset_of(begin.id)), ("position", "", 0), "where it begins")
            for text in TEXTS:
                answer = client.post(self.url(room, rest=""), content=text)
                equal(answer.status_code, 200, "status")
            data = bytes(range(256))
            client.post(self.url(room, rest=""), content=data, headers={"Content-Type": "image/png"})
            got = [next(events) for _ in range(len(TEXTS) + 1)]
        equal([event.data for event in got[:-1]], list(map(as_event_data, TEXTS)), "texts")
        equal([event.event for event in got], ["message"] * len(TEXTS) + ["binary"], "types")
        equal(base64.b64decode(got[-1].data), data, "the binary one")
        equal([offset_of(event.id) for event in got], list(range(1, len(got) + 1)), "offsets")

    def check_heartbeats_are_no_messages(self):
        room = "httpx heartbeat"
        with self.client() as client, connect_sse(client, "GET", self.url(room)) as source:
            events = source.iter_sse()
            equal(next(events).event, "position", "where it begins")
            client.post(self.url(room, rest=""), content="before")
            time.sleep(1.7)  # three heartbeats
            client.post(self.url(room, rest=""), content="behind")
            equal([next(events).data for _ in range(2)], ["before", "behind"], "messages")

    def check_no_gap_over_dropped_connections(self):
        """The client hangs up in the middle, again and again, while somebody publishes."""
        room, total = "httpx drops", 800
        publisher = Publisher(self.base, room, [f"number {i}" for i in range(total)], pause=0.001)
        got, last, begun = [], None, 0
        with self.client() as client:
            while len(got) < total:
                headers = {"Last-Event-ID": last} if last else {}
                begun += 1
                with connect_sse(client, "GET", self.url(room), headers=headers) as source:
                    if last is None:
                        publisher.start()
                    for at, event in enumerate(source.iter_sse()):
                        last = event.id
                        if event.event == "message":
                            got.append((offset_of(event.id), event.data))
                        if at == 60 or len(got) == total:
                            break
        publisher.done()
        assert begun > 10, f"only {begun} streams"
        equal(got, list(enumerate(publisher.texts, 1)), "messages")

    def check_no_gap_over_cut_connections(self):
        """A proxy cuts at any byte, in the middle of ids and characters too."""
        room, total = "httpx cuts", 600
        publisher = Publisher(self.base, room, [f"number {i}: äöü 世界" for i in range(total)], pause=0.001)
        got, last, begun = [], None, 0
        # Head and position take about 350 bytes, a message about 60.
        with self.client() as client, CuttingProxy(self.base, [3000 + 37 * i for i in range(10)]) as proxy:
            while len(got) < total:
                headers = {"Last-Event-ID": last} if last else {}
                begun += 1
                try:
                    with connect_sse(client, "GET", self.url(room, proxy.base), headers=headers) as source:
                        if last is None:
                            publisher.start()
                        for event in source.iter_sse():
                            last = event.id
                            if event.event == "message":
                                got.append((offset_of(event.id), event.data))
                            if len(got) == total:
                                break
                except httpx.ReadError:
                    pass  # a reset
            equal((proxy.cut, begun), (10, 11), "cuts and streams")
        publisher.done()
        equal(got, list(enumerate(publisher.texts, 1)), "messages")

    def check_one_room_seen_alike_by_all(self):
        """WebSocket, events and history, while six publish over HTTP and the member too."""
        room, each = "all alike", 100
        seen_by_member, seen_by_events = [], []
        publishers = [Publisher(self.base, room, [f'{{"from":{p},"n":{n}}}' for n in range(each)]) for p in range(6)]
        total = each * (len(publishers) + 1)
        socket_url = self.base.replace("http", "ws", 1) + room_path(room, "?echo=true&last=0")
        with self.client() as client, connect_sse(client, "GET", self.url(room)) as source, \
                connect(socket_url, proxy=None, open_timeout=STEP_TIMEOUT) as member:
            events = source.iter_sse()
            next(events)

            def member_reads():
                while len(seen_by_member) < total:
                    seen_by_member.append(member.recv(timeout=STEP_TIMEOUT))

            def events_read():
                while len(seen_by_events) < total:
                    event = next(events)
                    seen_by_events.append((offset_of(event.id), event.data))

            readers = [threading.Thread(target=read, daemon=True) for read in (member_reads, events_read)]
            for thread in readers + publishers:
                thread.start()
            for n in range(each):
                member.send(f'{{"from":"member","n":{n}}}')
            for publisher in publishers:
                publisher.done()
            for thread in readers:
                thread.join(STEP_TIMEOUT)
        items = self.history(room)
        in_history = [(item["offset"], item["json"]) for item in items]
        equal([offset for offset, _ in in_history], list(range(1, total + 1)), "offsets of the history")
        equal([(offset, json.loads(data)) for offset, data in seen_by_events], in_history, "events beside history")
        equal([json.loads(text) for text in seen_by_member], [json for _, json in in_history], "WebSocket beside history")
        for sender in [*range(len(publishers)), "member"]:
            own = [message["n"] for _, message in in_history if message["from"] == sender]
            equal(own, list(range(each)), f"what {sender} published, in its order")
        # Who comes later with the history sees the same.
        with connect(socket_url.replace("last=0", f"last={total}"), proxy=None, open_timeout=STEP_TIMEOUT) as late:
            equal([late.recv(timeout=STEP_TIMEOUT) for _ in range(total)], seen_by_member, "a late member")


if __name__ == "__main__":
    sys.exit(checking.main(__doc__.splitlines()[0], Checks))
