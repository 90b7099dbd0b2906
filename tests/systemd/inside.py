"""The checks of run.py, inside of the systemd that it has started."""

import os
import re
import resource
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from client import ADDRESS, PATIENCE, Client, Ended  # noqa: E402

SHARE = Path("/tmp/share")
UNIT, SOCKETS = "fanfare.service", ["fanfare.socket", "fanfare-admin.socket"]
DROP_IN = Path("/run/systemd/system/fanfare.service.d/check.conf")
CONFIG = Path("/etc/fanfare/fanfare.toml")


def systemctl(*arguments, fails=False):
    done = subprocess.run(["systemctl", *arguments], capture_output=True, text=True, timeout=60)
    assert fails or done.returncode == 0, f"systemctl {arguments}: {done.stderr}\n{log()}"
    return done.stdout


def show(*properties):
    """Properties of the service."""
    lines = systemctl("show", UNIT, *(f"--property={name}" for name in properties)).splitlines()
    values = dict(line.split("=", 1) for line in lines)
    return [values[name] for name in properties]


def log(unit=UNIT):
    subprocess.run(["journalctl", "--sync"], timeout=60)
    done = subprocess.run(["journalctl", "--no-pager", "-o", "cat", "-u", unit], capture_output=True, text=True)
    return done.stdout


def until(what, reached):
    """Waits for something that is true, and gives it."""
    deadline = time.monotonic() + PATIENCE
    while True:
        got = reached()
        if got:
            return got
        assert time.monotonic() < deadline, f"{what}: not within {PATIENCE} s\n{systemctl('status', UNIT, fails=True)}"
        time.sleep(0.02)


def main_pid():
    """The main process of a service that is ready, or 0."""
    state, pid = show("SubState", "MainPID")
    return int(pid) if state == "running" else 0


def configure(service="", flags=()):
    """Stops everything, and has the next start be so."""
    systemctl("stop", *SOCKETS, UNIT)
    systemctl("reset-failed", UNIT, *SOCKETS, fails=True)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    DROP_IN.parent.mkdir(parents=True, exist_ok=True)
    variables = "".join(f"Environment=FANFARE_{name}={value}\n" for name, value in flags)
    # Here nobody may raise the limit.
    DROP_IN.write_text(f"[Service]\nLimitNOFILE={hard}\n{variables}{service}\n")
    CONFIG.write_text("")
    systemctl("daemon-reload")


def start():
    systemctl("start", *SOCKETS, UNIT)
    return main_pid()


def check_start():
    """It is started when it is ready, and says in one line how it is doing."""
    configure()
    assert start(), "started is running"
    # Whoever was told that it is started finds it so.
    clients = [Client("/rooms/start") for _ in range(3)]
    until("a status that counts them", lambda: show("StatusText")[0].startswith("3 connections, 1 room, "))
    for client in clients:
        client.end()
    assert show("Type", "NotifyAccess") == ["notify", "main"]
    systemctl("stop", *SOCKETS, UNIT)
    assert show("Result", "ExecMainStatus") == ["success", "0"]


def check_activation():
    """The first connect starts it; no connect is refused while it is killed time after time."""
    kills = 8
    configure("RestartSec=50ms")
    systemctl("start", *SOCKETS)
    assert show("ActiveState") == ["inactive"]
    Client().echo("the first")
    before = until("it is ready", main_pid)
    refused, served, over = [], [], threading.Event()

    def connect():
        while not over.is_set():
            try:
                client = Client()
                client.echo("hi")
                served.append(1)
                client.end()
            except Ended:
                pass  # accepted by the one that was killed
            except OSError as error:
                refused.append(repr(error))

    threads = [threading.Thread(target=connect) for _ in range(8)]
    for thread in threads:
        thread.start()
    for _ in range(kills):
        served_before = len(served)
        os.kill(before, 9)
        before = until("a new process", lambda: main_pid() not in (0, before) and main_pid())
        until("connections are served", lambda: len(served) > served_before + 20)
    over.set()
    for thread in threads:
        thread.join(PATIENCE)
    assert not refused, refused
    assert show("NRestarts") == [str(kills)]
    print(f"   {kills} kills, {len(served)} connections served, none refused")


def check_reload():
    """A reload takes what can change and loses no connection; a wrong file fails it and changes nothing."""
    configure(f"ExecReload=\nExecReload=/usr/bin/fanfare check --quiet --config {CONFIG}\nExecReload=/bin/kill -HUP $MAINPID")
    CONFIG.write_text('max-message = "1KiB"\n')
    pid = start()
    client = Client()
    CONFIG.write_text('max-message = "2KiB"\nworkers = 7\n')
    systemctl("reload", UNIT)
    # By the signal, which comes behind the end of the command.
    until("a status that names what is left", lambda: show("StatusText")[0].endswith("; needs a restart: --workers"))
    until("the change is logged", lambda: "--max-message: 1KiB → 2KiB" in log())
    client.echo("still here")
    CONFIG.write_text('max-massage = "4KiB"\n')
    refused = subprocess.run(["systemctl", "reload", UNIT], capture_output=True, timeout=60)
    assert refused.returncode != 0, "a wrong file fails the reload"
    until("the complaint is logged", lambda: "max-massage" in log() and "max-message" in log())
    # Without the check before it, too.
    os.kill(pid, 1)
    until("the status says so", lambda: "; the last reload failed: " in show("StatusText")[0])
    client.echo("still here")
    assert main_pid() == pid and show("NRestarts") == ["0"]


def check_stop():
    """A stop under load closes everyone with 1001, and may take longer than the unit says while it goes on."""
    configure("TimeoutStopSec=2s", [("CLOSE_TIMEOUT", "4s"), ("DRAIN", "6s")])
    start()
    members = [Client("/rooms/stop?echo=true") for _ in range(100)]
    stubborn = Client("/echo")
    over, codes = threading.Event(), []

    def publish():
        try:
            while not over.is_set():
                members[0].send("load")
                time.sleep(0.001)
        except OSError:
            pass

    def read(member):
        codes.append(member.close_code())
        member.end()

    threads = [threading.Thread(target=read, args=(member,)) for member in members]
    for thread in [*threads, publisher := threading.Thread(target=publish)]:
        thread.start()
    began = time.monotonic()
    systemctl("stop", *SOCKETS, UNIT)
    took = time.monotonic() - began
    over.set()
    for thread in [*threads, publisher]:
        thread.join(PATIENCE)
    assert codes == [1001] * len(members), codes
    assert stubborn.close_code() == 1001
    assert show("Result", "ExecMainStatus") == ["success", "0"], log()
    # Who does not leave is waited for, longer than the unit allows without a word.
    assert took > 3, f"{took:.1f} s"
    print(f"   took {took:.1f} s of a timeout of 2 s")


def thread_of(pid, name):
    for task in Path(f"/proc/{pid}/task").iterdir():
        if (task / "comm").read_text().strip() == name:
            return task.name
    raise AssertionError(f"no thread {name}")


def check_hang():
    """One worker that hangs has the service started anew, within two periods of the watchdog."""
    if not shutil.which("strace"):
        return print("   skipped: needs strace")
    period = 4
    configure(f"WatchdogSec={period}s", [("WORKERS", "2")])
    pid = start()
    thread = thread_of(pid, "fanfare-1")
    strace = subprocess.Popen(
        ["strace", "-p", thread, "-e", "trace=/epoll", "-e", "inject=/epoll:delay_enter=600000000", "-o", "/dev/null"],
        stderr=subprocess.PIPE, text=True)
    assert "attached" in strace.stderr.readline()
    hung = time.monotonic()
    until("the hang is said", lambda: show("StatusText")[0].startswith("worker 1 has not turned"))
    until("the watchdog bites", lambda: show("Result") == ["watchdog"])
    bitten = time.monotonic() - hung
    # A thread that is killed is gone when its debugger has seen that.
    strace.kill()
    strace.wait(PATIENCE)
    until("a new process", lambda: main_pid() not in (0, pid))
    took = time.monotonic() - hung
    assert took < 2 * period, f"{took:.1f} s"
    Client().echo("it serves again")
    print(f"   killed {bitten:.1f} s and ready anew {took:.1f} s after the hang, the watchdog has {period} s")


def check_crash_loop():
    """One that crashes whenever it is ready is given up after as many starts as its unit says, until it is reset."""
    configure("RestartSec=10ms\n[Unit]\nStartLimitIntervalSec=60\nStartLimitBurst=5")
    killed = [start()]
    os.kill(killed[0], 9)

    def is_given_up():
        pid = main_pid()
        if pid and pid not in killed:
            killed.append(pid)
            os.kill(pid, 9)
        return show("ActiveState") == ["failed"]

    until("it is given up", is_given_up)
    assert len(killed) == 5 and show("Result") == ["signal"], (killed, show("Result"))
    configure()
    assert start()
    Client().echo("it serves again")


CHECKS = {name.removeprefix("check_"): check for name, check in globals().items() if name.startswith("check_")}


def main():
    shutil.copy(SHARE / "fanfare", "/usr/bin/fanfare")
    os.chmod("/usr/bin/fanfare", 0o755)
    CONFIG.parent.mkdir(exist_ok=True)
    (CONFIG.parent / "api-keys").write_text("a-key-that-nobody-uses-here\n")
    version = subprocess.run(["systemctl", "--version"], capture_output=True, text=True).stdout.split("\n")[0]
    print(f"{version}; clients at {ADDRESS[0]}:{ADDRESS[1]}")
    for name in sys.argv[1:] or CHECKS:
        print(f"{name}: {CHECKS[name].__doc__}", flush=True)
        CHECKS[name]()
    systemctl("stop", *SOCKETS, UNIT)
    print(f"{len(sys.argv[1:] or CHECKS)} checks passed")


main()
