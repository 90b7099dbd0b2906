#!/usr/bin/env python3
"""Tests what deploy/ has for Prometheus and Grafana with a real Prometheus.

    python3 run.py --server target/release/fanfare [--require]

promtool checks the files and runs alerts.test.yml. Then a Prometheus with deploy/prometheus/ scrapes a server under
load, and every query of the dashboard must answer with numbers, every alert be known and none of them fire. Needs
Python 3.11 and Debian's package prometheus.
"""

import argparse
import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
DEPLOY = HERE.parents[1] / "deploy"
HOST = "127.0.0.1"
PATIENCE = 60  # seconds; waiting longer is a failure, never a result
# A server that is not started anew has none of it.
MAY_BE_EMPTY = "changes(process_start_time_seconds"
# Of another exporter.
FOREIGN = "node_netstat_"


class Failure(Exception):
    pass


def check(holds, what):
    if not holds:
        raise Failure(what)


def free_port():
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


def promtool(*arguments):
    done = subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True, timeout=PATIENCE)
    check(done.returncode == 0, f"promtool {arguments}: {done.stdout}{done.stderr}")


def dashboard():
    return json.loads((DEPLOY / "grafana/fanfare.json").read_text())


def queries():
    """What the dashboard asks for, by panel, with its variables put in."""
    board = dashboard()
    asked = [(panel["title"], target["expr"]) for panel in board["panels"] for target in panel.get("targets", [])]
    asked += [(one["name"], one["expr"]) for one in board["annotations"]["list"]]
    return [(title, expr.replace("$instance", ".*").replace("$__rate_interval", "1m")) for title, expr in asked]


# What must hold

def files_are_what_prometheus_takes(_):
    promtool("check", "config", DEPLOY / "prometheus/prometheus.yml")
    promtool("check", "rules", DEPLOY / "prometheus/fanfare-alerts.yml")


def alerts_fire_at_their_thresholds_and_not_before(_):
    promtool("test", "rules", HERE / "alerts.test.yml")


def the_dashboard_is_complete_and_readable(_):
    board = dashboard()
    panels = board["panels"]
    check(len({panel["id"] for panel in panels}) == len(panels), "each panel has an id of its own")
    taken = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        check(not cells & taken and place["x"] + place["w"] <= 24, f"{panel['title']} has its place")
        taken |= cells
        if panel["type"] == "row":
            continue
        check(panel["description"].endswith("."), f"{panel['title']} says what it shows")
        check(panel["fieldConfig"]["defaults"]["unit"], f"{panel['title']} has a unit")
        for target in panel["targets"]:
            check('instance=~"$instance"' in target["expr"], f"{panel['title']} is of the chosen servers")
    with tempfile.NamedTemporaryFile("w", suffix=".yml") as rules:
        asked = [{"record": f"panel:{number}", "expr": expr} for number, (_, expr) in enumerate(queries())]
        json.dump({"groups": [{"name": "dashboard", "rules": asked}]}, rules)  # JSON is YAML
        rules.flush()
        promtool("check", "rules", rules.name)


class Stage:
    """A server under load and a Prometheus that looks at it."""

    def __init__(self, binary, folder):
        self.children = []
        self.folder = folder
        self.ports = {name: free_port() for name in ("server", "admin", "prometheus")}
        address = {name: f"{HOST}:{port}" for name, port in self.ports.items()}
        self.spawn("server", binary, "--listen", address["server"], "--admin", address["admin"])
        config = (DEPLOY / "prometheus/prometheus.yml").read_text()
        check("127.0.0.1:9002" in config and "15s" in config, "prometheus.yml has what is put in here")
        config = config.replace("127.0.0.1:9002", address["admin"]).replace("15s", "1s")
        (folder / "prometheus.yml").write_text(config)
        shutil.copy(DEPLOY / "prometheus/fanfare-alerts.yml", folder)
        self.api = f"http://{address['prometheus']}/api/v1"
        self.spawn("prometheus", "prometheus", f"--config.file={folder / 'prometheus.yml'}",
                   f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address={address['prometheus']}")
        self.until(lambda: self.ask("query", query='up{job="fanfare"} == 1')["result"], "the server is scraped")
        self.load = self.spawn("load", binary, "load", "fanout", "--connections", "50", "--rate", "50", "--duration",
                               "300s", f"ws://{address['server']}/rooms/load")

    def spawn(self, name, *command):
        with open(self.folder / f"{name}.log", "wb") as log:
            child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder)
        self.children.append(child)
        return child

    def ask(self, what, **parameters):
        url = f"{self.api}/{what}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
            body = json.load(answer)
        check(body["status"] == "success", f"{what}: {body}")
        return body["data"]

    def until(self, reached, what):
        deadline = time.monotonic() + PATIENCE
        while True:
            with contextlib.suppress(OSError):
                if result := reached():
                    return result
            check(time.monotonic() < deadline, f"{what}: not in time: {self.logs()}")
            check(all(child.poll() is None for child in self.children), f"{what}: one has ended: {self.logs()}")
            time.sleep(0.2)

    def logs(self):
        return {log.name: log.read_text(errors="replace")[-1000:] for log in self.folder.glob("*.log")}

    def end(self):
        for child in reversed(self.children):
            if child.poll() is None:
                child.terminate()
                try:
                    child.wait(PATIENCE)
                except subprocess.TimeoutExpired:
                    child.kill()
            child.wait()


def every_panel_shows_numbers(stage):
    def numbers(expr):
        values = [sample["value"][1] for sample in stage.ask("query", query=expr)["result"]]
        return [value for value in values if value != "NaN"]

    for title, expr in queries():
        if MAY_BE_EMPTY in expr:
            stage.ask("query", query=expr)
        else:
            stage.until(lambda expr=expr: numbers(expr), f"{title}: {expr}")
    for name in ("fanfare_sent_messages_total", "fanfare_publications_total", "fanfare_deliveries_total"):
        stage.until(lambda name=name: any(float(value) > 0 for value in numbers(name)), f"{name} counts the load")


def every_name_is_one_that_the_server_has(stage):
    known = set(stage.ask("label/__name__/values"))
    rules = (DEPLOY / "prometheus/fanfare-alerts.yml").read_text()
    texts = [expr for _, expr in queries()] + re.findall(r"expr:(?: \|\n(?: {10}.*\n)+| .*)", rules)
    names = {name for text in texts for name in re.findall(r"\b(?:fanfare|process|node)_[a-z_]+", text)}
    # What has not been counted yet has no sample, but its kind is told.
    kinds = {entry["metric"] for entry in stage.ask("targets/metadata")}
    missing = {name for name in names if name not in known and not name.startswith(FOREIGN)
               and not kinds & {name, name.removesuffix("_total"), name.removesuffix("_bucket")}}
    check(len(names) > 20 and not missing, f"the server has no {missing}")


def every_label_has_a_value_that_the_server_gives(stage):
    rules = (DEPLOY / "prometheus/fanfare-alerts.yml").read_text()
    texts = [expr for _, expr in queries()] + [rules]
    told = {pair for text in texts for pair in re.findall(r'[{,]\s*([a-z_]+)!?="([^"]+)"', text)}
    known = {label: set(stage.ask(f"label/{label}/values")) for label, _ in told}
    missing = {(label, value) for label, value in told if value not in known[label]}
    check(len(told) >= 4 and not missing, f"the server gives no {missing}, but {known}")


def alerts_are_loaded_and_a_healthy_server_fires_none(stage):
    groups = stage.ask("rules")["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    check(len(rules) == (DEPLOY / "prometheus/fanfare-alerts.yml").read_text().count("- alert:"), f"{len(rules)} rules")
    for rule in rules:
        check(rule["health"] in ("ok", "unknown") and not rule.get("lastError"), f"{rule}")
        check(rule["state"] == "inactive", f"{rule['name']} is {rule['state']}: {rule['alerts']}")


STATIC = [files_are_what_prometheus_takes, alerts_fire_at_their_thresholds_and_not_before,
          the_dashboard_is_complete_and_readable]
LIVE = [every_panel_shows_numbers, every_name_is_one_that_the_server_has,
        every_label_has_a_value_that_the_server_gives,
        alerts_are_loaded_and_a_healthy_server_fires_none]


def run(checks, stage):
    failed = 0
    for one in checks:
        try:
            one(stage)
            print(f"ok {one.__name__}", flush=True)
        except (Failure, OSError) as failure:
            failed += 1
            print(f"FAILED {one.__name__}: {failure}", flush=True)
    return failed


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--server", required=True, type=lambda path: str(Path(path).resolve()))
    parser.add_argument("--require", action="store_true", help="a Prometheus that is missing is a failure")
    arguments = parser.parse_args()
    total = len(STATIC) + len(LIVE)
    if not shutil.which("promtool") or not shutil.which("prometheus"):
        print(f"skipped: needs prometheus\n0 passed, 0 failed, {total} skipped")
        sys.exit(1 if arguments.require else 0)
    failed = run(STATIC, None)
    with tempfile.TemporaryDirectory(prefix="fanfare-monitoring-") as folder:
        stage = None
        try:
            os.environ["NO_PROXY"] = HOST
            stage = Stage(arguments.server, Path(folder))
            failed += run(LIVE, stage)
        except Failure as failure:
            print(f"FAILED: {failure}")
            failed += len(LIVE)
        finally:
            if stage:
                stage.end()
    print(f"{total - failed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
