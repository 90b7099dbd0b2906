#!/usr/bin/env python3
"""Region coverage of src/protocol/ by the suite: the share of regions of code, as rustc makes them, that ran.

Tests do not count as code. Needs llvm-profdata and llvm-cov of rustc's LLVM: those of rustup's component
llvm-tools, or Debian's llvm-22. `--missed` shows what did not run, `--least 95` fails below so many per cent.
"""

import argparse
import glob
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
TARGET = ROOT / "target" / "coverage"
# The part of the suite that gives bytes to the protocol without a socket between.
TESTS = ["protocol_properties", "http_properties", "fuzz_corpora", "shard_turns"]


def run(command, **options):
    return subprocess.run(command, check=True, cwd=ROOT, text=True, **options)


def find_tool(name):
    """The tool of the compiler's own LLVM; an older one cannot read what the compiler writes."""
    version = run(["rustc", "-vV"], stdout=subprocess.PIPE).stdout
    host = re.search(r"host: (.*)", version)[1]
    major = re.search(r"LLVM version: (\d+)", version)[1]
    sysroot = run(["rustc", "--print", "sysroot"], stdout=subprocess.PIPE).stdout.strip()
    own = f"{sysroot}/lib/rustlib/{host}/bin/{name}"
    found = own if os.path.exists(own) else shutil.which(f"{name}-{major}")
    return found or sys.exit(f"{name} of LLVM {major} is needed: apt-get install llvm-{major}")


def measure(profdata, cov):
    """Runs the tests; llvm-cov's export."""
    shutil.rmtree(TARGET / "profiles", ignore_errors=True)
    environment = dict(
        os.environ,
        CARGO_TARGET_DIR=str(TARGET),
        RUSTFLAGS="-Cinstrument-coverage",
        LLVM_PROFILE_FILE=str(TARGET / "profiles" / "%p-%m.profraw"),
    )
    which = ["--lib", *(part for test in TESTS for part in ("--test", test))]
    build = run(
        ["cargo", "test", "--locked", "--no-run", "--message-format=json", *which],
        env=environment,
        stdout=subprocess.PIPE,
    )
    messages = [json.loads(line) for line in build.stdout.splitlines()]
    tests = [message for message in messages if message.get("profile", {}).get("test")]
    binaries = [message["executable"] for message in tests if message["executable"]]
    for binary in binaries:
        filters = ["protocol::"] if pathlib.Path(binary).name.startswith("fanfare-") else []
        run([binary, "--quiet", *filters], env=environment, stdout=subprocess.DEVNULL)
    profiles = glob.glob(str(TARGET / "profiles" / "*.profraw"))
    merged = TARGET / "merged.profdata"
    run([profdata, "merge", "-sparse", *profiles, "-o", str(merged)])
    objects = [part for binary in binaries[1:] for part in ("-object", binary)]
    export = run(
        [cov, "export", f"-instr-profile={merged}", binaries[0], *objects, str(ROOT / "src" / "protocol")],
        stdout=subprocess.PIPE,
    )
    return json.loads(export.stdout)["data"][0]


def first_test_line(path):
    """Where the tests in a file begin."""
    lines = path.read_text().splitlines()
    for number, line in enumerate(lines, 1):
        if line == "mod tests {" and lines[number - 2] == "#[cfg(test)]":
            return number
    return len(lines) + 1


def regions(export):
    """Of each file: how often each region of code ran, whatever it was compiled for."""
    found = {}
    for function in export["functions"]:
        for *place, count, file, _, kind in function["regions"]:
            path = pathlib.Path(function["filenames"][file])
            if kind != 0 or not path.is_relative_to(ROOT / "src" / "protocol"):
                continue
            name = str(path.relative_to(ROOT))
            if name.endswith("tests.rs") or "/tests/" in name:
                continue
            counts = found.setdefault(name, {})
            counts[tuple(place)] = counts.get(tuple(place), 0) + count
    for name, counts in found.items():
        end = first_test_line(ROOT / name)
        found[name] = {place: count for place, count in counts.items() if place[0] < end}
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--missed", action="store_true", help="show the places that did not run")
    parser.add_argument("--least", type=float, default=0, help="per cent below which it fails")
    arguments = parser.parse_args()
    found = regions(measure(find_tool("llvm-profdata"), find_tool("llvm-cov")))
    covered = total = 0
    for name, counts in sorted(found.items()):
        ran = sum(count > 0 for count in counts.values())
        covered, total = covered + ran, total + len(counts)
        print(f"{name:45} {ran:5} of {len(counts):5} regions  {100 * ran / len(counts):6.2f} %")
        if arguments.missed:
            for (line, column, *end), count in sorted(counts.items()):
                if count == 0:
                    print(f"    {name}:{line}:{column} to {end[0]}:{end[1]}")
    share = 100 * covered / total
    print(f"{'src/protocol/':45} {covered:5} of {total:5} regions  {share:6.2f} %")
    if share < arguments.least:
        sys.exit(f"below {arguments.least} %")


main()
