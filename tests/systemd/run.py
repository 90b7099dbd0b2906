#!/usr/bin/env python3
"""Runs fanfare under a real systemd, as its units in deploy/ say.

    python3 run.py --server target/release/fanfare --systemd real-systemd [--only NAME,…]

`real-systemd` starts a throw-away systemd in namespaces of its own (`up`, `run COMMAND…`, `down`); that needs root.
The checks are in inside.py, which runs in there.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
UNITS = HERE.parent.parent / "deploy"

UP_TIMEOUT = 60
CHECKS_TIMEOUT = 600


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", type=Path, required=True, help="the binary")
    parser.add_argument("--systemd", type=Path, required=True, help="the script that starts a systemd")
    parser.add_argument("--units", type=Path, default=UNITS, help="the folder of the units")
    parser.add_argument("--only", default="", help="names of checks, with commas between them")
    arguments = parser.parse_args()
    if os.geteuid() != 0 or not os.access(arguments.systemd, os.X_OK):
        print("skipped: needs root and a real systemd to start")
        return 0
    with tempfile.TemporaryDirectory(prefix="fanfare-systemd-") as scratch:
        share, units = Path(scratch, "share"), Path(scratch, "units")
        share.mkdir()
        units.mkdir()
        shutil.copy(arguments.server, share / "fanfare")
        for script in HERE.glob("*.py"):
            shutil.copy(script, share)
        for unit in [*arguments.units.glob("*.service"), *arguments.units.glob("*.socket")]:
            shutil.copy(unit, units)
        systemd = str(arguments.systemd.resolve())
        environment = {**os.environ, "SDNS_DIR": f"{scratch}/systemd", "SDNS_SHARE": str(share),
                       "SDNS_UNITS": str(units)}
        try:
            subprocess.run([systemd, "up"], env=environment, timeout=UP_TIMEOUT, check=True)
            checks = ["python3", "/tmp/share/inside.py", *filter(None, arguments.only.split(","))]
            return subprocess.run([systemd, "run", *checks], env=environment, timeout=CHECKS_TIMEOUT).returncode
        finally:
            subprocess.run([systemd, "down"], env=environment, timeout=UP_TIMEOUT)
            subprocess.run(["umount", "-l", f"{scratch}/systemd/t"], stderr=subprocess.DEVNULL)


if __name__ == "__main__":
    sys.exit(main())
