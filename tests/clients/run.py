#!/usr/bin/env python3
"""Tests a fanfare server with clients that are not part of fanfare.

    python3 run.py --server target/release/fanfare [--only python-node|http|events|chromium|live|sdk]

Starts the server on a free port of 127.0.0.1, anew for each part, and runs
  python-node  python_websockets.py and node_ws.mjs, together in one room
  http         http_curl.py, http_requests.py, http_events.py (httpx),
               server_api.py (cent) and http_node.mjs (fetch), at the same time
               in rooms of their own
  events       chromium_events.mjs (EventSource), with a restart of the server
  chromium     chromium_page.mjs, with a restart of the server in between
  live         chromium_live.mjs, the same for the page of the admin listener
  sdk          sdk_node.mjs, sdk_chromium.mjs and sdk_python.py (the SDKs of the client
               protocol) and one_room.mjs, at the same time in rooms of their own
Needs Python 3.11 with venv, Node 20 with npm, curl and, for the last four, Chromium.
The pinned packages are installed in the cache folder and nowhere else.
"""

import argparse
import collections
import hashlib
import http.client
import os
import queue
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
HOST = "127.0.0.1"
ROOM = "clients: käse & 世界 +1"  # not the same bytes in a URL as in the name

INSTALL_TIMEOUT = 300
SERVER_TIMEOUT = 30  # to start, and to stop
CLIENT_TIMEOUT = 300  # all of one client
END_TIMEOUT = 5  # from SIGTERM to SIGKILL, when cleaning up

RESULT = re.compile(r"(\d+) passed, (\d+) failed(?:, (\d+) skipped)?")


class Failure(Exception):
    pass


class Child:
    """A child process in a process group of its own, its output line by line."""

    running = []

    def __init__(self, name, command):
        self.name = name
        self.lines = queue.Queue()
        self.last_lines = collections.deque(maxlen=100)
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, encoding="utf-8", errors="replace", start_new_session=True)
        Child.running.append(self)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        with self.process.stdout as output:
            for line in output:
                self.last_lines.append(line.rstrip("\n"))
                self.lines.put(line.rstrip("\n"))
        self.lines.put(None)

    def next_line(self, deadline):
        """The next line of output, or None at its end."""
        try:
            return self.lines.get(timeout=max(0, deadline - time.monotonic()))
        except queue.Empty:
            raise Failure(f"{self.name}: not done in time") from None

    def say(self, line):
        try:
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # It has ended, which the end of its output tells.

    def wait(self, timeout):
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise Failure(f"{self.name}: still running after {timeout} s") from None
        self.end()  # whatever it left behind in its group
        return code

    def end(self):
        """Ends the process and its group, by id."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(END_TIMEOUT)
            except subprocess.TimeoutExpired:
                pass
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass  # Nothing is left of it.
        self.process.wait()
        if self in Child.running:
            Child.running.remove(self)


def free_ports(count):
    """As many ports that nobody listens on."""
    probes = [socket.create_server((HOST, 0)) for _ in range(count)]
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


class Server:
    def __init__(self, binary, flags):
        self.binary = binary
        self.port, self.admin_port = free_ports(2)
        self.flags = [flag.format(address=self.address) for flag in flags]
        self.child = None

    @property
    def address(self):
        return f"{HOST}:{self.port}"

    @property
    def admin_address(self):
        return f"{HOST}:{self.admin_port}"

    def start(self):
        self.child = Child("server", [self.binary, "--listen", self.address, "--admin", self.admin_address, *self.flags])
        deadline = time.monotonic() + SERVER_TIMEOUT
        ready = f"listening on {self.address}"
        while (line := self.child.next_line(deadline)) is not None:
            if ready in line:
                return
        raise Failure(f"the server ended with {self.child.wait(END_TIMEOUT)}")

    def stop(self):
        """Asks the server to end, as an operator does, and checks that it does."""
        self.child.process.send_signal(signal.SIGTERM)
        code = self.child.wait(SERVER_TIMEOUT)
        if code != 0:
            raise Failure(f"after SIGTERM the server ended with {code}")

    def check_health(self):
        connection = http.client.HTTPConnection(HOST, self.port, timeout=10)
        try:
            connection.request("GET", "/healthz")
            response = connection.getresponse()
            body = response.read().strip()
        finally:
            connection.close()
        if response.status != 200 or body != b"ok":
            raise Failure(f"/healthz answers {response.status} {body[:40]!r}")


class Tools:
    """The pinned packages, installed once per cache folder and version."""

    def __init__(self, cache):
        self.cache = cache
        cache.mkdir(mode=0o700, parents=True, exist_ok=True)
        if cache.stat().st_uid != os.getuid():
            sys.exit(f"{cache} belongs to somebody else; please name another with --cache")

    def _install(self, folder, sources, steps):
        """Runs `steps` unless they have been run for the present `sources`."""
        state = hashlib.sha256(b"\0".join((HERE / name).read_bytes() for name in sources)).hexdigest()
        stamp = folder / "installed"
        if stamp.exists() and stamp.read_text() == state:
            return
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for name in sources:
            shutil.copy(HERE / name, folder)
        for command in steps:
            try:
                done = subprocess.run(
                    command, cwd=folder, timeout=INSTALL_TIMEOUT, text=True,
                    stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                    env={**os.environ, "PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD": "1"})
            except subprocess.TimeoutExpired:
                raise Failure(f"{command[0]} took longer than {INSTALL_TIMEOUT} s") from None
            if done.returncode != 0:
                raise Failure(f"{' '.join(map(str, command))} failed:\n{done.stdout}")
        stamp.write_text(state)

    def python(self, script):
        folder = self.cache / "python"
        python = folder / "venv" / "bin" / "python"
        self._install(folder, ["requirements.txt"], [
            [sys.executable, "-m", "venv", folder / "venv"],
            [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
             "--requirement", "requirements.txt"],
        ])
        return [str(python), "-u", str(HERE / script)]

    def node(self, script, *beside):
        folder = self.cache / "node"
        self._install(folder, ["package.json", "package-lock.json"], [
            ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"],
        ])
        # Node looks for packages next to the script.
        for name in (script, "checking.mjs", *beside):
            shutil.copy(HERE / name, folder)
        return ["node", str(folder / script)]


# Flags of the server in a part. Heartbeats are to come while the short tests run.
# The two in a room send without waiting for each other, large messages too: the room has to hold what the
# slower one has not read yet.
# The pages of the SDK connect to proxies too, whose ports are not that of their origin. Its publishers go as
# fast as they can, and one process has many clients, so a request may wait for its turn there.
FLAGS = {
    "http": ["--ping-interval", "500ms"],
    "python-node": ["--history-bytes", "64MiB"],
    "sdk": ["--ping-interval", "1s", "--history-bytes", "64MiB", "--command-rate", "1000000",
            "--handshake-timeout", "30s", "--allow-origin", "http://{address}"],
}
# What the scripts of the SDK share.
SDK_MODULES = ("sdk_checks.mjs", "sdk_member.mjs", "sdk_proxy.mjs", "sdk_recovery.mjs")


def missing(part):
    """What this part needs and is not here, or None."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        return "node and npm"
    if part in ("http", "sdk") and shutil.which("curl") is None:
        return "curl"
    if part in ("python-node", "http", "sdk"):
        try:
            import ensurepip  # noqa: F401  (what a venv gets its pip from)
            import venv  # noqa: F401
        except ImportError:
            return "python3 with venv"
    if part in ("events", "chromium", "live", "sdk") and shutil.which(os.environ.get("CHROMIUM", "/usr/bin/chromium")) is None:
        return "chromium"
    return None


class Run:
    def __init__(self, arguments, cache):
        self.arguments = arguments
        self.tools = Tools(cache)
        self.passed = self.failed = self.skipped = 0

    def follow(self, children, on_line=lambda child, line: False):
        """Prints what the children say until they end, and adds up their results."""
        deadline = time.monotonic() + CLIENT_TIMEOUT
        for child in children:
            result = None
            while (line := child.next_line(deadline)) is not None:
                if on_line(child, line):
                    continue
                if found := RESULT.fullmatch(line):
                    result = [int(number or 0) for number in found.groups()]
                else:
                    print(f"{child.name}: {line}", flush=True)
            code = child.wait(SERVER_TIMEOUT)
            if result is None or (code != 0) != (result[1] > 0):
                raise Failure(f"{child.name}: ended with {code}, its result is {result}")
            self.passed += result[0]
            self.failed += result[1]
            self.skipped += result[2]

    def python_node(self, server):
        commands = {
            "python": self.tools.python("python_websockets.py"),
            "node": self.tools.node("node_ws.mjs"),
        }
        server.start()
        self.follow([
            Child(name, [*command, f"ws://{server.address}", "--room", ROOM])
            for name, command in commands.items()
        ])

    def http(self, server):
        commands = {
            "curl": self.tools.python("http_curl.py"),
            "requests": self.tools.python("http_requests.py"),
            "httpx": self.tools.python("http_events.py"),
            "cent": self.tools.python("server_api.py"),
            "fetch": self.tools.node("http_node.mjs"),
        }
        server.start()
        self.follow([Child(name, [*command, f"http://{server.address}"]) for name, command in commands.items()])

    def events(self, server):
        self.in_chromium(server, "eventsource", "chromium_events.mjs")

    def chromium(self, server):
        shot = ["--shot", str(self.arguments.shot.resolve())] if self.arguments.shot else []
        self.in_chromium(server, "chromium", "chromium_page.mjs", *shot)

    def live(self, server):
        shot = ["--shot", str(self.arguments.shot.resolve())] if self.arguments.shot else []
        admin = ["--admin", f"http://{server.admin_address}"]
        self.in_chromium(server, "live", "chromium_live.mjs", *admin, *shot)

    def sdk(self, server):
        commands = {
            "sdk node": self.tools.node("sdk_node.mjs", *SDK_MODULES),
            "sdk chromium": self.tools.node("sdk_chromium.mjs", *SDK_MODULES),
            "sdk python": self.tools.python("sdk_python.py"),
            "one room": self.tools.node("one_room.mjs", *SDK_MODULES),
        }
        server.start()
        self.follow([Child(name, [*command, f"http://{server.address}"]) for name, command in commands.items()])

    def in_chromium(self, server, name, script, *options):
        asked = {"STOP": (server.stop, "stopped"), "START": (server.start, "started")}

        def obey(child, line):
            if line not in asked:
                return False
            action, answer = asked[line]
            action()
            child.say(answer)
            return True

        command = self.tools.node(script)
        server.start()
        self.follow([Child(name, [*command, f"http://{server.address}", "--driven", *options])], obey)

    def part(self, name, clients):
        if need := missing(name):
            print(f"{name}: skipped: needs {need}", flush=True)
            if self.arguments.require:
                self.failed += 1
            else:
                self.skipped += 1
            return
        server = Server(self.arguments.server, FLAGS.get(name, []))
        try:
            clients(server)
            server.check_health()
            server.stop()
            self.passed += 1
            print(f"{name}: PASS server healthy to the end", flush=True)
        except Failure as failure:
            self.failed += 1
            print(f"{name}: FAIL {failure}", flush=True)
            for line in server.child.last_lines if server.child else ():
                print(f"  server: {line}", flush=True)
        finally:
            for child in list(Child.running):
                child.end()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--server", required=True, metavar="BIN", help="the fanfare binary")
    parts = ("python-node", "http", "events", "chromium", "live", "sdk")
    parser.add_argument("--only", choices=parts, help="run one part only")
    parser.add_argument("--cache", type=Path, metavar="DIR",
                        default=Path(tempfile.gettempdir()) / f"fanfare-client-tests-{os.getuid()}",
                        help="where packages are installed (default: %(default)s)")
    parser.add_argument("--require", action="store_true", help="fail, not skip, if something is missing")
    parser.add_argument("--shot", type=Path, metavar="FILE", help="save screenshots of the page")
    arguments = parser.parse_args()
    if (binary := shutil.which(arguments.server)) is None:
        parser.error(f"{arguments.server} is not a program")
    arguments.server = os.path.abspath(binary)

    # So that `finally` ends the children then, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    run = Run(arguments, arguments.cache.resolve())
    for name in parts:
        if arguments.only in (None, name):
            run.part(name, getattr(run, name.replace("-", "_")))
    print(f"{run.passed} passed, {run.failed} failed, {run.skipped} skipped", flush=True)
    return 1 if run.failed else 0


if __name__ == "__main__":
    sys.exit(main())
