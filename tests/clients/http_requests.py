#!/usr/bin/env python3
"""Tests the HTTP door of a fanfare server with the PyPI package `requests` and Python's http.client.

    python http_requests.py http://127.0.0.1:9001

The server must be a fresh one, with rooms that nobody used. Exits 1 if a check fails.
"""

import base64
import http.client
import json
import sys
import threading
import uuid
from urllib.parse import urlsplit

import requests

import checking
from checking import STEP_TIMEOUT, TEXTS, as_event_data, equal, room_path

LIMIT = 1 << 20  # --max-message


class Checks:
    def __init__(self, base):
        self.base = base
        self.address = urlsplit(base)

    def session(self):
        session = requests.Session()
        session.trust_env = False  # a proxy named in the environment is not for these tests
        return session

    def connections(self, session):
        pools = session.get_adapter(self.base).poolmanager.pools
        return sum(pools[key].num_connections for key in pools.keys())

    def check_requests_keep_one_connection(self):
        room = "requests käse"
        url = self.base + room_path(room)
        with self.session() as session:
            def call(method, to, status, **arguments):
                answer = session.request(method, to, timeout=STEP_TIMEOUT, **arguments)
                equal(answer.status_code, status, f"{method} {to}")
                return answer

            for text in TEXTS:
                call("POST", url, 200, data=text.encode())
            call("POST", url, 200, json={"a": "ü"})
            call("POST", url, 200, data={"form": "a b"})
            call("POST", url, 200, data=b"\0\xff", headers={"Content-Type": "application/octet-stream"})
            call("POST", url, 200, data=iter([b"in ", b"three ", b"chunks"]))
            call("POST", self.base + "/rooms", 200, json={"rooms": [room], "base64": "AP8="})
            call("POST", self.base + "/rooms", 400, json={"rooms": []})
            call("POST", url, 400, data=b"\xff")
            call("PUT", self.base + "/rooms", 405)
            call("HEAD", url, 200)
            call("OPTIONS", url, 204)
            call("GET", self.base + room_path("requests none"), 404)
            history = call("GET", url, 200).json()
            items = history["publications"]
            equal(len(items), len(TEXTS) + 5, "publications")
            # What is JSON is spliced in as such.
            got = [item["text"] if "text" in item else item["json"] for item in items[:len(TEXTS)]]
            expected = [json.loads(text) if text.startswith("{") else text for text in TEXTS]
            equal(got, expected, "texts")
            kinds = [{key: item[key] for key in item if key in ("text", "json", "base64")} for item in items[-5:]]
            equal(kinds, [{"json": {"a": "ü"}}, {"text": "form=a+b"}, {"base64": "AP8="},
                          {"text": "in three chunks"}, {"base64": "AP8="}], "the last five")
            half = call("GET", url, 200, params={"since": f"{history['epoch']}:{len(TEXTS)}", "limit": 2}).json()
            equal(([item["offset"] for item in half["publications"]], half["more"]),
                  ([len(TEXTS) + 1, len(TEXTS) + 2], True), "a page")
            listed = call("GET", self.base + "/rooms", 200, params={"limit": 1000}).json()["rooms"]
            equal([each["offset"] for each in listed if each["room"] == room], [len(items)], "offset in the list")
            equal(self.connections(session), 1, "connections opened")

    def check_requests_too_large(self):
        with self.session() as session:
            url = self.base + room_path("requests large")
            for body in (b"x" * (LIMIT + 1), iter([b"x" * 65536] * 32)):
                answer = session.post(url, data=body, timeout=STEP_TIMEOUT)
                equal(answer.status_code, 413, "status")
            equal(session.post(url, data=b"x" * LIMIT, timeout=STEP_TIMEOUT).status_code, 200, "status behind it")

    def check_requests_stream_of_lines(self):
        room = "requests stream"
        with self.session() as session:
            url = self.base + room_path(room, "/events")
            with session.get(url, stream=True, timeout=STEP_TIMEOUT) as stream:
                equal(stream.headers["Content-Type"], "text/event-stream", "type")
                equal(stream.headers["Fanfare-Offset"], "0", "where the room is")
                # A larger chunk would be waited for in full.
                lines = stream.iter_lines(chunk_size=1, delimiter=b"\n")
                publisher = checking.Publisher(self.base, room, [f"number {i}" for i in range(50)])
                publisher.start()
                got = []
                while len(got) < 50:
                    line = next(lines)
                    if line.startswith(b"data: "):
                        got.append(as_event_data(line.decode()).removeprefix("data: "))
                publisher.done()
                equal(got, publisher.texts, "what came")

    def check_idempotency_key_counts_once(self):
        room, key = "requests key", str(uuid.uuid4())
        url = self.base + room_path(room)
        answers, gate = [], threading.Barrier(8)

        def publish(number):
            with self.session() as session:
                gate.wait(STEP_TIMEOUT)
                answer = session.post(url, data=f"by {number}", headers={"Idempotency-Key": key}, timeout=STEP_TIMEOUT)
                answers.append(answer.json())

        threads = [threading.Thread(target=publish, args=(number,), daemon=True) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(STEP_TIMEOUT)
        equal([answer["offset"] for answer in answers], [1] * 8, "offsets")
        equal(sum("repeat" not in answer for answer in answers), 1, "answers that are no repeat")
        with self.session() as session:
            other = session.post(url, data="x", headers={"Idempotency-Key": key + "2"}, timeout=STEP_TIMEOUT).json()
            equal((other["offset"], "repeat" in other), (2, False), "another key")
            equal(len(session.get(url, timeout=STEP_TIMEOUT).json()["publications"]), 2, "publications")

    def check_http_client_keeps_its_connection(self):
        connection = http.client.HTTPConnection(self.address.hostname, self.address.port, timeout=STEP_TIMEOUT)
        connection.connect()
        socket, path = connection.sock, room_path("http.client")

        def call(method, to, status, body=None, **headers):
            connection.request(method, to, body, headers, encode_chunked=isinstance(body, list))
            answer = connection.getresponse()
            content = answer.read()
            equal(answer.status, status, f"{method} {to}")
            assert connection.sock is socket, f"another connection behind {method} {to}"
            return content

        try:
            binary = {"Content-Type": "application/octet-stream"}
            call("POST", path, 200, "text")
            call("POST", path, 200, [b"a", b"b" * 70_000, b"c"], **{"Transfer-Encoding": "chunked"}, **binary)
            call("POST", path, 200, [], **{"Transfer-Encoding": "chunked"})
            call("HEAD", path, 200)
            call("GET", "/nowhere", 404)
            items = json.loads(call("GET", path, 200))["publications"]
            equal([item["offset"] for item in items], [1, 2, 3], "offsets")
            assert base64.b64decode(items[1]["base64"]) == b"a" + b"b" * 70_000 + b"c", "other bytes came in"
            equal((items[0]["text"], items[2]["text"]), ("text", ""), "texts")
        finally:
            connection.close()


if __name__ == "__main__":
    sys.exit(checking.main(__doc__.splitlines()[0], Checks))
