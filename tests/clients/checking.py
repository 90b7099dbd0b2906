"""What the Python scripts for the HTTP door share: a runner of checks, a publisher, a proxy that cuts."""

import argparse
import http.client
import itertools
import json
import select
import signal
import socket
import struct
import sys
import threading
import time
import traceback
from urllib.parse import quote, urlsplit

CHECK_TIMEOUT = 30
STEP_TIMEOUT = 20  # one request

# Texts that a line-based stream could spoil: line ends, fields, spaces, what only some take for a line end.
TEXTS = [
    "plain", "", " two spaces ", "a\nb", "a\r\nb\rc", "\n", "ends\n", "\n\nid: 1\nevent: x\ndata: y\n\n",
    ": no comment", "data: no field", "tab\tNUL\0 FF\x0c VT\x0b NEL\x85 LS\u2028 PS\u2029", "\ufeffBOM",
    "Grüße, 世界 👋🏽 e\u0301", '{"json": [1, 2.50, null]}', "x" * 100_000,
]


def as_event_data(text):
    """Text as it comes out of a stream of events, where every line end is LF."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def room_path(room, rest=""):
    return f"/rooms/{quote(room, safe='')}{rest}"


def offset_of(position):
    return int(position.partition(":")[2])


class TimedOut(Exception):
    pass


def _alarm(*_):
    raise TimedOut(f"not done within {CHECK_TIMEOUT} s")


def main(description, checks_class):
    """Runs the check_* methods of the class one after the other; the exit status."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("base_url", help="for example http://127.0.0.1:9001")
    checks = checks_class(parser.parse_args().base_url.rstrip("/"))
    signal.signal(signal.SIGALRM, _alarm)
    passed = failed = 0
    for name in [name for name in vars(checks_class) if name.startswith("check_")]:
        title = name.removeprefix("check_").replace("_", " ")
        signal.setitimer(signal.ITIMER_REAL, CHECK_TIMEOUT)
        try:
            getattr(checks, name)()
        except Exception as error:
            signal.setitimer(signal.ITIMER_REAL, 0)
            failed += 1
            print(f"FAIL {title}: {error or type(error).__name__}", flush=True)
            if not isinstance(error, (AssertionError, TimedOut)):
                traceback.print_exception(error, file=sys.stdout)
        else:
            signal.setitimer(signal.ITIMER_REAL, 0)
            passed += 1
            print(f"PASS {title}", flush=True)
    print(f"{passed} passed, {failed} failed", flush=True)
    return 1 if failed else 0


def equal(got, expected, what):
    if got == expected:
        return
    if isinstance(got, list) and isinstance(expected, list):
        pairs = enumerate(itertools.zip_longest(got, expected, fillvalue="(nothing)"))
        at, (left, right) = next((at, pair) for at, pair in pairs if pair[0] != pair[1])
        raise AssertionError(f"{what}: {len(got)} and not {len(expected)}; "
                             f"number {at} is {shorten(left)}, not {shorten(right)}")
    raise AssertionError(f"{what}: {shorten(got)}, not {shorten(expected)}")


def shorten(value):
    text = repr(value)
    return text if len(text) < 200 else text[:200] + "…"


class Publisher(threading.Thread):
    """Publishes texts, over one connection of its own, while something else goes on."""

    def __init__(self, base, room, texts, pause=0.0):
        super().__init__(daemon=True)
        self.address = urlsplit(base)
        self.path = room_path(room)
        self.texts = texts
        self.pause = pause
        self.offsets = []
        self.error = None

    def run(self):
        connection = http.client.HTTPConnection(self.address.hostname, self.address.port, timeout=STEP_TIMEOUT)
        try:
            for text in self.texts:
                connection.request("POST", self.path, body=text.encode())
                response = connection.getresponse()
                body = response.read()
                if response.status != 200:
                    raise AssertionError(f"publishing is answered {response.status} {body[:200]!r}")
                self.offsets.append(json.loads(body)["offset"])
                if self.pause:
                    time.sleep(self.pause)
        except Exception as error:
            self.error = error
        finally:
            connection.close()

    def done(self):
        """Waits for the end; every text got an offset, in order."""
        self.join(STEP_TIMEOUT)
        if self.error:
            raise self.error
        assert not self.is_alive(), "the publisher is not done in time"
        equal(self.offsets, sorted(set(self.offsets)), "offsets in the order of publishing")
        equal(len(self.offsets), len(self.texts), "publications answered")


class CuttingProxy:
    """Passes connections on to the server and cuts each after so many bytes from there.

    Every other one is cut by a reset, the rest in an orderly way. `cuts` are the numbers of bytes, for one
    connection after the other; later ones are left alone.
    """

    def __init__(self, base, cuts):
        address = urlsplit(base)
        self.target = (address.hostname, address.port)
        self.cuts = iter(cuts)
        self.cut = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.base = "http://127.0.0.1:%d" % self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            server = socket.create_connection(self.target)
            left = next(self.cuts, None)
            threading.Thread(target=self._pass_on, args=(client, server, left), daemon=True).start()

    # One thread for both directions: a socket that another thread reads would stay open when it is closed.
    def _pass_on(self, client, server, left):
        with client, server:
            try:
                while True:
                    for source in select.select([client, server], [], [])[0]:
                        data = source.recv(65536 if left is None or source is client else min(left, 65536))
                        if not data:
                            return
                        (server if source is client else client).sendall(data)
                        if source is server and left is not None:
                            left -= len(data)
                            if left == 0:
                                self._cut(client)
                                return
            except OSError:
                pass  # one of the two has left

    def _cut(self, client):
        self.cut += 1
        if self.cut % 2 == 0:
            # Closing it sends a reset then.
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
