#!/usr/bin/env python3
"""Tests the snippets of deploy/ with the reverse proxies that they are for.

    python3 run.py --server target/release/fanfare [--only nginx|caddy|haproxy] [--require]

For each proxy: its snippet, with only ports, certificate and folders put in, runs in front of a server of its own on
the loopback, with TLS. Clients come from 127.0.0.2 to 127.0.0.4, the proxy from 127.0.0.1, which the server trusts.
A proxy that is not installed is skipped, or with --require a failure. Needs Python 3.11 and openssl.
"""

import argparse
import base64
import json
import os
import re
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
NAME = "ws.example.com"
CLIENT, OTHER, READER = "127.0.0.2", "127.0.0.3", "127.0.0.4"
PROXY = "127.0.0.1"
KEY = "a-key-of-the-back-end"
CONNECTIONS_PER_ADDRESS = 4
PATIENCE = 30  # seconds; waiting longer is a failure, never a result


class Failure(Exception):
    pass


def free_port():
    with socket.socket() as probe:
        probe.bind((PROXY, 0))
        return probe.getsockname()[1]


def check(holds, what):
    if not holds:
        raise Failure(what)


# The proxies

def put(text, *pairs):
    """`text` with each of the pairs put in; one that is not there is an error: then it is not the snippet that is
    tested."""
    for old, new in pairs:
        check(old in text, f"the snippet lacks {old!r}")
        text = text.replace(old, new)
    return text


def nginx(folder, server, port):
    snippet = put((DEPLOY / "nginx/fanfare.conf").read_text(),
                  ("127.0.0.1:9001", server), ("listen 443 ssl", f"listen {PROXY}:{port} ssl"),
                  ("    listen [::]:443 ssl;\n", ""), ("/etc/ssl/fanfare", str(folder)))
    (folder / "snippet.conf").write_text(snippet)
    (folder / "nginx.conf").write_text(f"""daemon off; worker_processes 1; pid {folder}/pid; error_log stderr;
events {{ worker_connections 256; }}
http {{ access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s; include {folder}/snippet.conf; }}
""")
    return ["nginx", "-e", "stderr", "-p", str(folder), "-c", str(folder / "nginx.conf")]


def caddy(folder, server, port):
    snippet = put((DEPLOY / "caddy/Caddyfile").read_text(), ("127.0.0.1:9001", server),
                  (f"\n{NAME} {{\n",
                   f"\nhttps://{NAME}:{port} {{\n\ttls {folder}/fullchain.pem {folder}/privkey.pem\n"))
    (folder / "Caddyfile").write_text(f"{{\n\tadmin off\n\tauto_https off\n\tdefault_bind {PROXY}\n}}\n{snippet}")
    return ["caddy", "run", "--adapter", "caddyfile", "--config", str(folder / "Caddyfile")]


def haproxy(folder, server, port):
    snippet = put((DEPLOY / "haproxy/haproxy.cfg").read_text(), ("127.0.0.1:9001", server),
                  ("bind :443", f"bind {PROXY}:{port}"), ("/etc/ssl/fanfare", str(folder)), ("100000", "100"))
    (folder / "haproxy.cfg").write_text(snippet)
    return ["haproxy", "-db", "-f", str(folder / "haproxy.cfg")]


PROXIES = {"nginx": nginx, "caddy": caddy, "haproxy": haproxy}


class Process:
    """A child whose output goes to a file."""

    def __init__(self, command, log, folder):
        self.log = log
        with open(log, "wb") as output:
            self.child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                                          env={"PATH": os.environ["PATH"], "HOME": str(folder)})

    def said(self):
        return self.log.read_text(errors="replace")

    def until(self, reached, what):
        deadline = time.monotonic() + PATIENCE
        while not (result := reached()):
            check(self.child.poll() is None, f"{what}: it ended: {self.said()}")
            check(time.monotonic() < deadline, f"{what}: not in time: {self.said()}")
            time.sleep(0.02)
        return result

    def end(self):
        if self.child.poll() is None:
            self.child.terminate()
            try:
                self.child.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.child.kill()
        self.child.wait()


# A client

class Client:
    """A connection with TLS from an address."""

    def __init__(self, site, source=CLIENT):
        self.site = site
        plain = socket.create_connection((PROXY, site.port), PATIENCE, (source, 0))
        context = ssl.create_default_context(cafile=site.folder / "fullchain.pem")
        self.socket = context.wrap_socket(plain, server_hostname=NAME)
        self.buffer = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def request(self, method, target, headers=(), body=b""):
        fields = {"Host": f"{NAME}:{self.site.port}", **dict(headers)}
        if body:
            fields["Content-Length"] = str(len(body))
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        self.socket.sendall(f"{method} {target} HTTP/1.1\r\n{head}\r\n".encode() + body)
        head = self.until(b"\r\n\r\n").decode()
        status, *lines = head.split("\r\n")
        return int(status.split(" ")[1]), {line.partition(": ")[0].lower(): line.partition(": ")[2] for line in lines}

    def body(self, headers):
        return self.take(int(headers["content-length"]))

    def more(self):
        got = self.socket.recv(65536)
        check(got, f"the stream ended behind {self.buffer!r}")
        self.buffer += got

    def take(self, size):
        while len(self.buffer) < size:
            self.more()
        taken, self.buffer = self.buffer[:size], self.buffer[size:]
        return taken

    def until(self, end):
        while end not in self.buffer:
            self.more()
        taken, _, self.buffer = self.buffer.partition(end)
        return taken

    def upgrade(self, target, headers=()):
        """Asks for a WebSocket; the status."""
        key = base64.b64encode(os.urandom(16)).decode()
        wanted = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13",
                  "Sec-WebSocket-Key": key, **dict(headers)}
        return self.request("GET", target, wanted)[0]

    def send(self, opcode, payload):
        size = len(payload)
        length = bytes([0x80 | size]) if size < 126 else (
            struct.pack(">BH", 0xFE, size) if size < 65536 else struct.pack(">BQ", 0xFF, size))
        self.socket.sendall(bytes([0x80 | opcode]) + length + bytes(4) + payload)

    def receive(self):
        """The next frame that is no ping."""
        first, length = self.take(2)
        size = {126: lambda: struct.unpack(">H", self.take(2))[0],
                127: lambda: struct.unpack(">Q", self.take(8))[0]}.get(length, lambda: length)()
        payload = self.take(size)
        return self.receive() if first == 0x89 else (first & 0x0F, payload)


# What must hold behind each

class Site:
    """A server, and a proxy in front of it."""

    def __init__(self, proxy, binary, folder):
        self.folder, self.port, listen = folder, free_port(), f"{PROXY}:{free_port()}"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
                        "-nodes", "-days", "2", "-subj", f"/CN={NAME}", "-addext", f"subjectAltName=DNS:{NAME}",
                        "-keyout", str(folder / "privkey.pem"), "-out", str(folder / "fullchain.pem")],
                       check=True, capture_output=True)
        pair = (folder / "fullchain.pem").read_text() + (folder / "privkey.pem").read_text()
        (folder / "fanfare.pem").write_text(pair)
        (folder / "keys").write_text(KEY + "\n")
        flags = ["--listen", listen, "--workers", "1", "--admin", "none", "--log", "debug",
                 "--log-rate", "100000", "--api-key-file", str(folder / "keys"),
                 "--trusted-proxy", PROXY, "--exempt-network", "none", "--connections-per-address",
                 str(CONNECTIONS_PER_ADDRESS),
                 "--drain", "0s"]
        self.server = Process([binary, *flags], folder / "server.log", folder)
        self.proxy = None
        try:
            self.server.until(lambda: "listening on" in self.server.said(), "the server listens")
            self.proxy = Process(PROXIES[proxy](folder, listen, self.port), folder / "proxy.log", folder)
            self.proxy.until(self.answers, f"{proxy} answers")
        except BaseException:
            self.end()
            raise

    def answers(self):
        try:
            with Client(self, OTHER) as client:
                return client.request("GET", "/healthz", {"Connection": "close"})[0] == 200
        except (OSError, Failure):
            return False

    def end(self):
        for process in (self.proxy, self.server):
            if process:
                process.end()


def echoes_messages_of_any_size(site):
    with Client(site) as client:
        check(client.upgrade("/echo") == 101, "101")
        for opcode, payload in ((1, "käse".encode()), (2, os.urandom(300_000)), (1, b"")):
            client.send(opcode, payload)
            check(client.receive() == (opcode, payload), f"{len(payload)} bytes come back")


def compares_origins_with_the_public_host(site):
    for origin, status in ((f"https://{NAME}:{site.port}", 101), ("https://elsewhere.example", 403)):
        with Client(site) as client:
            got = client.upgrade("/echo", {"Origin": origin})
            check(got == status, f"{origin} gets {got}, not {status}")


def publishes_with_a_key_alone(site):
    with Client(site) as member:
        check(member.upgrade("/rooms/proxied") == 101, "101")
        for headers, status in ((), 401), ({"Authorization": f"Bearer {KEY}"}.items(), 200):
            with Client(site, OTHER) as back_end:
                got, _ = back_end.request("POST", "/rooms/proxied", headers, b"news")
                check(got == status, f"{got}, not {status}")
        check(member.receive() == (1, b"news"), "the member has it, once")


def streams_events_as_they_come(site):
    with Client(site, READER) as reader, Client(site, OTHER) as back_end:
        status, headers = reader.request("GET", "/rooms/streamed/events", {"Accept": "text/event-stream"})
        check(status == 200 and headers["content-type"].startswith("text/event-stream"), f"{status} {headers}")
        reader.until(b"event: position")
        for number in range(3):
            headers = {"Authorization": f"Bearer {KEY}"}
            status, headers = back_end.request("POST", "/rooms/streamed", headers, f"event {number}".encode())
            check(status == 200, f"published: {status}")
            answer = json.loads(back_end.body(headers))
            check(answer["offset"] == number + 1, f"{answer}")
            # While the stream stays open: nothing that comes later pushes it out.
            reader.until(f"data: event {number}".encode())


def sees_who_is_really_there(site):
    claimed = "203.0.113.9"
    claims = {"X-Forwarded-For": claimed, "Forwarded": f"for={claimed}"}
    with Client(site) as client:
        check(client.upgrade("/rooms/seen", claims) == 101, "101")
        client.send(8, b"\x03\xe8")
        check(client.receive() == (8, b"\x03\xe8"), "its Close is answered")
    closed = re.compile(r'^.* closed: .*room="seen".*$', re.MULTILINE)
    line = site.server.until(lambda: closed.search(site.server.said()), "the close is logged").group()
    check(f"peer={CLIENT}" in line, f"the log has the client's address: {line}")
    check(claimed not in site.server.said(), "nobody believes what a client claims")


def welcome(site, source=CLIENT):
    """A member, as soon as there is a place for it: what a test before had is being given back."""
    deadline = time.monotonic() + PATIENCE
    while True:
        client = Client(site, source)
        status = client.upgrade("/echo")
        if status == 101:
            return client
        client.socket.close()
        check(status == 429 and time.monotonic() < deadline, f"{source} gets {status}, not 101")


def limits_each_client_and_not_the_proxy(site):
    members = [welcome(site) for _ in range(CONNECTIONS_PER_ADDRESS)]
    with Client(site) as extra, welcome(site, OTHER) as other:
        status = extra.upgrade("/echo")
        check(status == 429, f"one too many of an address gets {status}, not 429")
        other.send(1, b"from elsewhere")
        check(other.receive() == (1, b"from elsewhere"), "another address has its own places")
    for member in members:
        member.socket.close()


def says_goodbye(site):
    with welcome(site) as client:
        site.server.child.send_signal(signal.SIGTERM)
        opcode, payload = client.receive()
        check((opcode, payload[:2]) == (8, b"\x03\xe9"), f"Close 1001, not {opcode} {payload!r}")
    check(site.server.child.wait(PATIENCE) == 0, "the server ends well")


# The last one ends the server.
CHECKS = [echoes_messages_of_any_size, compares_origins_with_the_public_host, publishes_with_a_key_alone,
          streams_events_as_they_come, sees_who_is_really_there, limits_each_client_and_not_the_proxy, says_goodbye]


def run(proxy, binary):
    """How many of the checks passed and failed."""
    with tempfile.TemporaryDirectory(prefix="fanfare-proxies-") as folder:
        # Its workers may run as somebody else.
        os.chmod(folder, 0o755)
        site = Site(proxy, binary, Path(folder))
        failed = 0
        try:
            for one in CHECKS:
                try:
                    one(site)
                    print(f"ok {proxy} {one.__name__}", flush=True)
                except (Failure, OSError) as failure:
                    failed += 1
                    print(f"FAILED {proxy} {one.__name__}: {failure}", flush=True)
            if failed:
                print(site.server.said()[-4000:], site.proxy.said()[-4000:], sep="\n--\n")
        finally:
            site.end()
    return len(CHECKS) - failed, failed


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--server", required=True, type=lambda path: str(Path(path).resolve()))
    parser.add_argument("--only", choices=PROXIES, action="append")
    parser.add_argument("--require", action="store_true", help="a proxy that is missing is a failure")
    arguments = parser.parse_args()
    passed = failed = skipped = 0
    for proxy in arguments.only or PROXIES:
        if not shutil.which(proxy):
            print(f"skipped: needs {proxy}")
            skipped += len(CHECKS)
            continue
        try:
            results = run(proxy, arguments.server)
        except Failure as failure:
            print(f"FAILED {proxy}: {failure}")
            results = (0, len(CHECKS))
        passed, failed = passed + results[0], failed + results[1]
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    sys.exit(1 if failed or (skipped and arguments.require) else 0)


if __name__ == "__main__":
    main()
