#!/usr/bin/env python3
"""Tests the HTTP door of a fanfare server with curl.

    python3 http_curl.py http://127.0.0.1:9001

The server must be a fresh one, with rooms that nobody used. Exits 1 if a check fails.
"""

import base64
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import checking
from checking import STEP_TIMEOUT, TEXTS, as_event_data, equal, room_path

LIMIT = 1 << 20  # --max-message


class Answer:
    """What curl wrote: the last response's head, the body, and numbers about each transfer."""

    def __init__(self, output, head, transfers):
        self.body = output
        self.transfers = transfers
        self.status = transfers[-1]["http_code"]
        lines = head.decode().strip().split("\r\n\r\n")[-1].split("\r\n")
        self.headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}

    def json(self):
        return json.loads(self.body)


class Checks:
    def __init__(self, base):
        self.base = base
        self.scratch = tempfile.TemporaryDirectory(prefix="fanfare-curl-")
        self.folder = Path(self.scratch.name)

    def command(self, *arguments):
        # Nobody's settings and no proxy: -q must come first.
        return ["curl", "-q", "--noproxy", "*", "--silent", "--show-error", "--globoff", *map(str, arguments)]

    def curl(self, *arguments, stdin=None):
        """Runs curl; "/…" is an address on the server."""
        head, written = self.folder / "head", self.folder / "written"
        head.unlink(missing_ok=True)
        common = ["--max-time", STEP_TIMEOUT, "--write-out", r"%{stderr}%{json}\n"]
        arguments = [self.base + each if str(each).startswith("/rooms") or each == "/healthz" else each
                     for each in arguments]
        # What comes behind --next begins anew.
        for at in reversed([at for at, each in enumerate(arguments) if each == "--next"]):
            arguments[at + 1:at + 1] = common
        with written.open("wb") as errors:
            done = subprocess.run(self.command(*common, "--dump-header", head, *arguments), input=stdin,
                                  stdout=subprocess.PIPE, stderr=errors, timeout=STEP_TIMEOUT + 5)
        lines = written.read_text().splitlines()
        transfers = [json.loads(line) for line in lines if line.startswith("{")]
        assert done.returncode == 0, f"curl ended with {done.returncode}: {lines}"
        return Answer(done.stdout, head.read_bytes(), transfers)

    def file(self, name, content):
        path = self.folder / name
        path.write_bytes(content)
        return path

    def history(self, room, query=""):
        answer = self.curl(room_path(room, query))
        equal(answer.status, 200, "status of the history")
        return answer.json()

    def check_publish_text_json_binary(self):
        room = "curl kinds/käse"
        data = bytes(range(256)) * 64
        offsets = []
        for arguments in (
            ["--data-binary", "Grüße\r\n"],
            ["--data", "a=b&c"],  # as application/x-www-form-urlencoded
            ["--json", '{"a": [1, 2.50]}'],
            ["--header", "Content-Type: application/octet-stream", "--data-binary", f"@{self.file('bytes', data)}"],
            ["--header", "Content-Type:", "--data-binary", "no type"],
            ["--data", ""],
        ):
            answer = self.curl(*arguments, room_path(room))
            equal(answer.status, 200, f"status for {arguments}")
            result = answer.json()
            equal(sorted(result), ["epoch", "offset", "room"], "members of the answer")
            equal((result["room"], answer.headers["fanfare-offset"]), (room, str(result["offset"])), "the answer")
            equal(answer.headers["content-type"], "application/json", "type of the answer")
            offsets.append(result["offset"])
        equal(offsets, [1, 2, 3, 4, 5, 6], "offsets")
        history = self.history(room)
        equal((history["offset"], history["first"], history["more"]), (6, 1, False), "the history's frame")
        items = [{key: item[key] for key in item if key in ("text", "json", "base64")}
                 for item in history["publications"]]
        equal(items, [
            {"text": "Grüße\r\n"}, {"text": "a=b&c"}, {"json": {"a": [1, 2.5]}},
            {"base64": base64.b64encode(data).decode()}, {"text": "no type"}, {"text": ""},
        ], "publications")

    def check_publish_to_many_rooms(self):
        body = json.dumps({"rooms": ["curl many 1", "curl many 2"], "data": {"n": 1}})
        answer = self.curl("--json", body, "/rooms")
        equal([each["room"] for each in answer.json()["results"]], ["curl many 1", "curl many 2"], "results")
        for room in ("curl many 1", "curl many 2"):
            equal(self.history(room)["publications"][0]["json"], {"n": 1}, room)
        listed, after = [], []
        while True:
            page = self.curl("--get", "--data", "limit=2", *after, "/rooms").json()
            names = [room["room"] for room in page["rooms"]]
            assert not set(names) & set(listed), f"{names} again behind {listed}"
            listed += names
            if page["next"] is None:
                break
            # curl writes the spaces in it as +.
            after = ["--data-urlencode", f"after={page['next']}"]
        assert {"curl many 1", "curl many 2"} <= set(listed), f"GET /rooms lists {listed}"

    def check_chunked_bodies(self):
        room = "curl chunked"
        data = os.urandom(300_000)
        kind = ["--header", "Content-Type: application/octet-stream"]
        from_pipe = self.curl("--request", "POST", "--upload-file", "-", *kind, room_path(room), stdin=data)
        equal(from_pipe.status, 200, "status with -T -")
        from_file = self.curl("--header", "Transfer-Encoding: chunked", "--data-binary",
                              f"@{self.file('chunked', data)}", *kind, room_path(room))
        equal(from_file.status, 200, "status with -H")
        for item in self.history(room)["publications"]:
            assert base64.b64decode(item["base64"]) == data, "other bytes came in"

    def check_body_at_the_limit(self):
        data = b"x" * LIMIT
        answer = self.curl("--data-binary", f"@{self.file('limit', data)}", room_path("curl limit"))
        equal(answer.status, 200, "status of a body of --max-message")
        equal(self.history("curl limit")["publications"][0]["text"], data.decode(), "the publication")

    def check_too_large_is_refused_before_it_is_sent(self):
        # curl asks (Expect: 100-continue) and has ample time for the answer.
        path = self.file("large", b"x" * (LIMIT + 1))
        for encoding in ([], ["--header", "Expect: 100-continue"]):
            answer = self.curl("--expect100-timeout", STEP_TIMEOUT, "--data-binary", f"@{path}", *encoding,
                               room_path("curl large"))
            equal(answer.status, 413, "status")
            equal(answer.transfers[0]["size_upload"], 0, "bytes sent")
            assert "1048576" in answer.json()["error"]["message"], answer.body

    def check_too_large_without_asking(self):
        path = self.file("larger", b"x" * (8 * LIMIT))
        for encoding in ([], ["--header", "Transfer-Encoding: chunked"]):
            answer = self.curl("--header", "Expect:", *encoding, "--data-binary", f"@{path}", room_path("curl large"))
            equal(answer.status, 413, f"status {encoding}")

    def check_expect_with_a_body_that_fits(self):
        started = time.monotonic()
        answer = self.curl("--expect100-timeout", STEP_TIMEOUT, "--header", "Expect: 100-continue",
                           "--data-binary", "asked first", room_path("curl expect"))
        equal(answer.status, 200, "status")
        took = time.monotonic() - started
        assert took < STEP_TIMEOUT / 2, f"took {took:.1f} s: was there no 100 Continue?"

    def check_one_connection_for_all(self):
        null = ["--output", os.devnull]
        answer = self.curl(
            *null, "--data", "one", room_path("curl keep"),
            "--next", *null, room_path("curl keep"),
            "--next", *null, "--head", room_path("curl keep"),
            "--next", *null, room_path("curl keep none"),  # 404
            "--next", *null, "--request", "DELETE", room_path("curl keep"),  # 405
            "--next", *null, "--form", "file=x", room_path("curl keep"),  # 415
            "--next", *null, "--request", "OPTIONS", "/rooms",
            "--next", *null, "--header", "Transfer-Encoding: chunked", "--data", "two", room_path("curl keep"),
            "--next", "/healthz",
        )
        equal([each["http_code"] for each in answer.transfers], [200, 200, 200, 404, 405, 415, 204, 200, 200], "status")
        # What was refused before its body was read ends the connection; nothing else does.
        equal([each["num_connects"] for each in answer.transfers], [1, 0, 0, 0, 0, 0, 1, 0, 0], "new connections")

    def check_old_http_and_upgrades_to_http_2(self):
        for option in ("--http1.0", "--http2"):
            answer = self.curl(option, "--data", option, room_path("curl versions"))
            equal(answer.status, 200, f"status with {option}")
            equal(self.curl(option, room_path("curl versions")).json()["publications"][-1]["text"], option, "history")

    def check_head_and_options(self):
        self.curl("--data", "x", room_path("curl head"))
        for path in (room_path("curl head"), "/healthz"):
            got, head = self.curl(path), self.curl("--head", path)
            equal(head.status, 200, f"status of HEAD {path}")
            equal(head.headers["content-length"], str(len(got.body)), f"length of {path}")
        # A stream has no end, but its head has.
        head = self.curl("--head", room_path("curl head", "/events"))
        equal((head.status, head.headers["content-type"]), (200, "text/event-stream"), "HEAD of a stream")
        for path, methods in (("/rooms", "GET, HEAD, POST, OPTIONS"), (room_path("a", "/events"), "GET, HEAD, OPTIONS")):
            answer = self.curl("--request", "OPTIONS", path)
            equal((answer.status, answer.headers["allow"]), (204, methods), f"OPTIONS {path}")
        preflight = self.curl("--request", "OPTIONS", "--header", f"Origin: {self.base}", "--header",
                              "Access-Control-Request-Method: POST", room_path("a"))
        equal(preflight.headers["access-control-allow-origin"], self.base, "preflight")
        foreign = self.curl("--header", "Origin: https://other.example", "--data", "x", room_path("curl foreign"))
        equal(foreign.status, 403, "a foreign page")

    def check_compressed_and_ranges_are_answered_whole(self):
        self.curl("--data", "x" * 5000, room_path("curl whole"))
        for option in (["--compressed"], ["--range", "0-9"]):
            answer = self.curl(*option, room_path("curl whole"))
            equal((answer.status, answer.json()["publications"][0]["text"]), (200, "x" * 5000), option[0])

    def check_stream_while_publishing(self):
        room = "curl stream"
        url = self.base + room_path(room, "/events")
        stream = subprocess.Popen(self.command("--no-buffer", "--max-time", STEP_TIMEOUT, url), stdout=subprocess.PIPE)
        try:
            # The stream says at once where it begins: from then on nothing is missed.
            begin = self.blocks(stream, 1)[0]
            epoch = begin["id"].partition(":")[0]
            equal((begin["event"], begin["id"], begin["data"]), ("position", f"{epoch}:0", None), "the first block")
            for text in TEXTS:
                self.curl("--data-binary", f"@{self.file('text', text.encode())}", room_path(room))
            self.curl("--header", "Content-Type: image/png", "--data-binary", f"@{self.file('png', bytes(9))}",
                      room_path(room))
            got = self.blocks(stream, len(TEXTS) + 1)
        finally:
            stream.kill()
            stream.wait()
            stream.stdout.close()
        equal([block["id"] for block in got], [f"{epoch}:{at + 1}" for at in range(len(got))], "ids")
        equal([block["data"] for block in got[:-1]], list(map(as_event_data, TEXTS)), "texts")
        equal((got[-1]["event"], got[-1]["data"]), ("binary", base64.b64encode(bytes(9)).decode()), "binary")

        # The same again from the middle.
        again = subprocess.Popen(self.command("--no-buffer", "--max-time", STEP_TIMEOUT, "--header",
                                              f"Last-Event-ID: {got[4]['id']}", url), stdout=subprocess.PIPE)
        try:
            equal(self.blocks(again, 1)[0]["id"], got[4]["id"], "where it goes on")
            equal(self.blocks(again, len(got) - 5), got[5:], "behind the fifth")
        finally:
            again.kill()
            again.wait()
            again.stdout.close()
        gone = self.curl("--header", f"Last-Event-ID: {'0' * 16}:1", url.removeprefix(self.base))
        equal((gone.status, gone.headers["fanfare-epoch"]), (410, epoch), "a position of another life")

    @staticmethod
    def blocks(stream, count):
        """The next blocks of a stream: what curl wrote, with no more sense than splitting lines at LF."""
        blocks, block = [], {"event": None, "id": None, "data": None}
        while len(blocks) < count:
            line = stream.stdout.readline().decode()
            assert line.endswith("\n"), f"the stream ended with {line!r}"
            name, _, value = line[:-1].partition(": ")
            if name == "":
                blocks.append(block)
                block = {"event": None, "id": None, "data": None}
            elif name == "data" and block["data"] is not None:
                block["data"] += "\n" + value
            elif name != ":":
                block[name] = value
        return blocks


if __name__ == "__main__":
    sys.exit(checking.main(__doc__.splitlines()[0], Checks))
