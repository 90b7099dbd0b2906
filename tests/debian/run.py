#!/usr/bin/env python3
"""Installs the Debian package on a throw-away machine, and checks what an operator relies on.

    python3 run.py --systemd ../shared/tools/real-systemd --package FIRST.deb --newer SECOND.deb [--require]

`--systemd` is a program that starts a real systemd on an overlay of this machine (`up`), runs commands there (`run`)
and throws it away (`down`). Needs root, Python 3.11, curl and man; nothing of this machine is changed. The checks build
on each other: install, serve, reload, upgrade, remove, purge.
"""

import argparse
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

UNITS = ("fanfare.socket", "fanfare-admin.socket", "fanfare.service")
CONFIG = "/etc/fanfare/fanfare.toml"
KEYS = "/etc/fanfare/api-keys"
SERVER, ADMIN = "http://127.0.0.1:9001", "http://127.0.0.1:9002"
PATIENCE = 60  # seconds for a command; waiting longer is a failure, never a result
EXPOSURE_MAX = 0.5


class Failure(Exception):
    pass


def check(holds, what):
    if not holds:
        raise Failure(what)


class Machine:
    """The throw-away machine. Packages lie in its /tmp/share."""

    def __init__(self, tool, share):
        self.tool = str(Path(tool).resolve())
        self.environment = {**os.environ, "SDNS_DIR": str(Path(share).parent / "machine"), "SDNS_SHARE": str(share)}

    def call(self, *command, text=None):
        return subprocess.run([self.tool, *command], env=self.environment, input=text, capture_output=True, text=True,
                              timeout=PATIENCE)

    def __enter__(self):
        up = self.call("up")
        if up.returncode != 0:
            self.call("down")
            raise Failure(f"no systemd: {up.stdout}{up.stderr}")
        return self

    def __exit__(self, *_):
        self.call("down")

    def attempt(self, command):
        """Runs a line of shell there."""
        return self.call("run", "sh", "-c", command)

    def run(self, command):
        """The same, where it must succeed: what it prints."""
        done = self.attempt(command)
        check(done.returncode == 0, f"{command}: status {done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout.strip()

    def fails(self, command):
        """The same, where it must not: what it says."""
        done = self.attempt(command)
        check(done.returncode != 0, f"{command}: it succeeds: {done.stdout}")
        return done.stdout + done.stderr

    def until(self, command, what):
        deadline = time.monotonic() + PATIENCE
        while (done := self.attempt(command)).returncode != 0:
            check(time.monotonic() < deadline, f"{what}: not in time: {done.stdout}{done.stderr}")
            time.sleep(0.1)
        return done.stdout.strip()

    def process(self):
        return self.run("systemctl show --property MainPID --value fanfare.service")


def installs_enabled_and_started(machine):
    # Images of containers forbid packages to start anything.
    machine.run("rm -f /usr/sbin/policy-rc.d")
    # Where this runs, nobody may raise the limit.
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    machine.run(f"""mkdir -p /etc/systemd/system/fanfare.service.d
        printf '[Service]\\nLimitNOFILE={hard}\\n' >/etc/systemd/system/fanfare.service.d/limit.conf""")
    machine.run("dpkg --install /tmp/share/first.deb")
    for unit in UNITS:
        check(machine.run(f"systemctl is-enabled {unit}") == "enabled", f"{unit} is enabled")
        check(machine.run(f"systemctl is-active {unit}") == "active", f"{unit} is active")
    check(machine.run(f"curl -fsS {SERVER}/healthz") == "ok", "it serves")
    machine.run(f"curl -fsS {ADMIN}/livez && curl -fsS {ADMIN}/readyz")
    check("fanfare_" in machine.run(f"curl -fsS {ADMIN}/metrics"), "it is measured")
    status = machine.run("systemctl show --property StatusText --value fanfare.service")
    check("connections" in status, f"its status says how it is: {status!r}")


def units_please_systemd(machine):
    said = machine.attempt("systemd-analyze verify " + " ".join(UNITS))
    ours = [line for line in (said.stdout + said.stderr).splitlines() if "fanfare" in line]
    # Keys that only newer versions know are ignored with a word.
    ours = [line for line in ours if not re.search("Unknown key.* '(RestartSteps|RestartMaxDelaySec)'", line)]
    check(said.returncode == 0 and not ours, "\n".join(ours) or said.stderr)
    exposure = machine.run("systemd-analyze security --no-pager fanfare.service | tail -n 1")
    level = float(re.search(r"fanfare\.service: ([0-9.]+)", exposure).group(1))
    check(level <= EXPOSURE_MAX, exposure)


def runs_as_nobody_who_can_do_anything(machine):
    process = machine.process()
    status = machine.run(f"cat /proc/{process}/status")
    for line in ("CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"):
        check(line in status, f"{line!r}: {status}")
    check(re.search(r"^Uid:\t0\t", status, re.MULTILINE) is None, "not root")
    network = machine.run(f"readlink /proc/{process}/ns/net")
    check(network != machine.run("readlink /proc/1/ns/net"), "it has a network of its own, which leads nowhere")
    command = machine.run(f"tr '\\0' ' ' </proc/{process}/cmdline; tr '\\0' ' ' </proc/{process}/environ")
    check(machine.run(f"cat {KEYS}") not in command, "the key is not in the process list")


def asks_for_the_key_that_it_has_made(machine):
    check(machine.run(f"stat -c '%a %U' {KEYS}") == "600 root", "the key is root's")
    publish = f"curl -sS -o /dev/null -w '%{{http_code}}' -d hello {SERVER}/rooms/lobby"
    check(machine.run(publish) == "401", "without a key: 401")
    check(machine.run(f"{publish} -H \"X-API-Key: $(cat {KEYS})\"") == "200", "with it: 200")


def has_a_manual_and_completions(machine):
    check("--max-message" in machine.run("MANWIDTH=200 man -P cat fanfare"), "the manual has the flags")
    for file in ("bash-completion/completions/fanfare", "zsh/vendor-completions/_fanfare",
                 "fish/vendor_completions.d/fanfare.fish"):
        check("max-message" in machine.run(f"cat /usr/share/{file}"), file)
    machine.run("bash -n /usr/share/bash-completion/completions/fanfare")


def logs_into_the_journal_with_fields(machine):
    machine.run("""printf '[Service]\\nEnvironment=FANFARE_LOG=debug\\n' >/tmp/log.conf
        mkdir -p /run/systemd/system/fanfare.service.d && cp /tmp/log.conf /run/systemd/system/fanfare.service.d/
        systemctl daemon-reload && systemctl restart fanfare.service""")
    machine.fails(f"curl -fsS {SERVER}/nowhere")
    # A member of a room that ends without a Close.
    machine.run(f"""curl -sS --max-time 1 -o /dev/null -H 'Connection: Upgrade' -H 'Upgrade: websocket' \
        -H 'Sec-WebSocket-Version: 13' -H 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==' {SERVER}/rooms/lobby || true""")
    entry = machine.until("journalctl -u fanfare -o json ROOM=lobby CAUSE=peer_gone | grep .", "the close is found by its fields")
    fields = json.loads(entry.splitlines()[-1])
    check(fields["PRIORITY"] == "7" and fields["SYSLOG_IDENTIFIER"] == "fanfare", entry)
    check(fields["MESSAGE"].startswith("closed: ") and "-" in fields["CONNECTION"], entry)
    check(fields["PEER"].startswith("127.0.0.1:"), entry)
    machine.run("rm -r /run/systemd/system/fanfare.service.d && systemctl daemon-reload && systemctl restart fanfare.service")


def reloads_what_is_right_and_refuses_what_is_wrong(machine):
    process = machine.process()
    machine.run(f"cp {CONFIG} /tmp/before && echo 'max-message = \"64KiB\"' >>{CONFIG} && systemctl reload fanfare.service")
    machine.until("journalctl -u fanfare -o cat | grep -- '--max-message'", "the difference is logged")
    machine.run(f"cp /tmp/before {CONFIG} && echo 'max-mesage = 1' >>{CONFIG}")
    machine.fails("systemctl reload fanfare.service")
    said = machine.run("journalctl -u fanfare -o cat")
    check("max-mesage" in said and "max-message" in said, f"the complaint names the nearest: {said}")
    check(machine.run(f"curl -fsS {SERVER}/healthz") == "ok" and machine.process() == process, "it goes on")
    machine.run(f"cp /tmp/before {CONFIG} && systemctl reload fanfare.service")


def listens_elsewhere_when_told(machine):
    folder = "/etc/systemd/system/fanfare.socket.d"
    anew = "systemctl daemon-reload && systemctl stop fanfare fanfare.socket; systemctl start fanfare"
    machine.run(f"""mkdir {folder} && printf '[Socket]\\nListenStream=\\nListenStream=127.0.0.1:9101\\n' >{folder}/override.conf
        {anew}""")
    check(machine.run("curl -fsS http://127.0.0.1:9101/healthz") == "ok", "it serves there")
    machine.fails(f"curl -fsS {SERVER}/healthz")
    machine.run(f"rm -r {folder}; {anew}")
    check(machine.run(f"curl -fsS {SERVER}/healthz") == "ok", "and here again")


def binds_its_own_ports_when_told(machine):
    machine.run("""systemctl disable --now fanfare.socket fanfare-admin.socket
        cp /usr/share/doc/fanfare/own-port/fanfare.service /etc/systemd/system/
        systemctl daemon-reload && systemctl restart fanfare""")
    check(machine.run(f"curl -fsS {SERVER}/healthz") == "ok", "it serves")
    machine.run(f"curl -fsS {ADMIN}/readyz")
    network = machine.run(f"readlink /proc/{machine.process()}/ns/net")
    check(network == machine.run("readlink /proc/1/ns/net"), "in the network of the machine")
    check(machine.attempt("systemctl is-active fanfare.socket").stdout.strip() == "inactive", "without the socket")
    machine.run("""systemctl stop fanfare && rm /etc/systemd/system/fanfare.service && systemctl daemon-reload
        systemctl enable --now fanfare.socket fanfare-admin.socket && systemctl start fanfare""")


def upgrades_without_a_refused_connect_and_keeps_the_configuration(machine):
    machine.run(f"echo '# ours' >>{CONFIG}")
    key, process = machine.run(f"cat {KEYS}"), machine.process()
    machine.run("systemctl disable fanfare-admin.socket")
    asked = f"while [ ! -e /tmp/done ]; do curl -fsS -o /dev/null {SERVER}/healthz && echo ok || echo refused; done"
    machine.run(f"rm -f /tmp/done; ({asked}) >/tmp/asked 2>&1 & sleep 0.2")
    machine.run("dpkg --install --force-confold /tmp/share/second.deb")
    machine.run("touch /tmp/done")
    check(machine.process() not in (process, "0"), "the new one runs")
    asked = machine.run("cat /tmp/asked").split("\n")
    check(len(asked) > 1 and set(asked) == {"ok"}, f"of {len(asked)} requests none is refused: {asked}")
    check(machine.run(f"tail -n 1 {CONFIG}") == "# ours" and machine.run(f"cat {KEYS}") == key, "what was set is kept")
    check(machine.attempt("systemctl is-enabled fanfare-admin.socket").stdout.strip() == "disabled", "so is what was disabled")


def removes_all_but_the_configuration(machine):
    machine.run("dpkg --remove fanfare")
    machine.fails(f"curl -fsS {SERVER}/healthz")
    for unit in UNITS:
        check(machine.attempt(f"systemctl is-active {unit}").stdout.strip() in ("inactive", "failed"), f"{unit} has ended")
    machine.run(f"test -e {CONFIG} && test -e {KEYS} && test ! -e /usr/bin/fanfare")


def purges_all(machine):
    machine.run("rm -r /etc/systemd/system/fanfare.service.d")
    machine.run("dpkg --purge fanfare")
    left = machine.run("find /etc /usr /var/lib/systemd -xdev -name '*fanfare*' -not -path '*/tmp/*'")
    check(not left, f"nothing is left: {left}")
    machine.fails("dpkg --status fanfare")


CHECKS = [installs_enabled_and_started, units_please_systemd, runs_as_nobody_who_can_do_anything,
          asks_for_the_key_that_it_has_made, has_a_manual_and_completions, logs_into_the_journal_with_fields,
          reloads_what_is_right_and_refuses_what_is_wrong, listens_elsewhere_when_told, binds_its_own_ports_when_told,
          upgrades_without_a_refused_connect_and_keeps_the_configuration, removes_all_but_the_configuration, purges_all]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--systemd", required=True, type=Path)
    parser.add_argument("--package", required=True, type=Path)
    parser.add_argument("--newer", required=True, type=Path)
    parser.add_argument("--require", action="store_true", help="a machine that cannot be had is a failure")
    arguments = parser.parse_args()
    if os.geteuid() != 0 or not os.access(arguments.systemd, os.X_OK):
        print(f"skipped: needs root and a real systemd\n0 passed, 0 failed, {len(CHECKS)} skipped")
        sys.exit(1 if arguments.require else 0)
    passed = 0
    with tempfile.TemporaryDirectory(prefix="fanfare-debian-") as folder:
        share = Path(folder) / "share"
        share.mkdir()
        (share / "first.deb").write_bytes(arguments.package.read_bytes())
        (share / "second.deb").write_bytes(arguments.newer.read_bytes())
        with Machine(arguments.systemd, share) as machine:
            for one in CHECKS:
                try:
                    one(machine)
                except (Failure, subprocess.TimeoutExpired, AttributeError, ValueError, KeyError) as failure:
                    print(f"FAILED {one.__name__}: {failure}")
                    print(machine.attempt("systemctl status fanfare.service; journalctl --no-pager -n 40 -u fanfare").stdout)
                    break
                print(f"ok {one.__name__}", flush=True)
                passed += 1
    failed = int(passed < len(CHECKS))
    print(f"{passed} passed, {failed} failed, {len(CHECKS) - passed - failed} skipped")
    sys.exit(failed)


if __name__ == "__main__":
    main()
