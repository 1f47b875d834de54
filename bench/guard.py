#!/usr/bin/env python3
"""Compares this build's speed and instruction counts with a stored baseline and prints the ratios.

Speeds are those of `beacon bench` (median of --runs); they mean something on the kind of machine that the
baseline was made on, and the script says when it is another. Instruction counts come from callgrind, of one
thread and the avx2 kernels: the same program gives the same counts (to 20 in 1.7e9), however busy the machine. Nothing here
passes or fails; it is for those who changed something and want to see what it did.

    python3 bench/guard.py --beacon build/release/beacon --model MODEL.gguf --baseline bench/baselines/zen3-2-threads.json
    python3 bench/guard.py --beacon build/release/beacon --model MODEL.gguf --write bench/baselines/NAME.json
    python3 bench/guard.py ... --parts instructions         # minutes: valgrind is slow
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

PARTS = ("speed", "instructions")
LENGTHS = "512,2048"
# Some 60 tokens; the counts are differences, so starting and loading cancel.
PROMPT = "The family had long been settled in the county, and the estate was large. " * 4
DECODED = 8


def run(command, **more):
    """Standard output and error of a command, or the end of the script with its message."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, **more)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}\nexit status {done.returncode}: {done.stderr.strip()[-2000:]}")
    return done.stdout, done.stderr


def speeds(options):
    """{"prefill 2048": {"tok_s":, "share":}, ...} and the machine that `beacon bench` names."""
    found, machine = {}, {}
    for part in ("prefill", "decode"):
        out, _ = run([options.beacon, "bench", part, "-m", options.model, "--length", LENGTHS, "--ratio", 8,
                      "--window", 1024, "--runs", options.runs, "--json"])  # fmt: skip
        for line in map(json.loads, out.splitlines()):
            found[f"{part} {line['length']}"] = {key: line[key] for key in ("tok_s", "share")}
            machine = {key: line[key] for key in ("cpu", "isa", "compute", "threads")}
    return found, machine


def count(options, prompt, tokens):
    """Instructions of a whole `beacon generate`."""
    with tempfile.TemporaryDirectory() as folder:
        _, err = run(
            ["valgrind", "--tool=callgrind", f"--callgrind-out-file={folder}/out", options.beacon, "generate",
             "-m", options.model, "--chat-template", "none", "-p", prompt, "-n", tokens, "--ignore-eos",
             "--threads", 1],
            env={**os.environ, "BEACON_ISA": "avx2"},
        )  # fmt: skip
    return int(re.search(r"Collected : (\d+)", err).group(1))


def instructions(options):
    """{"prefill": instructions for the longer prompt, "decode": for a token}."""
    if shutil.which("valgrind") is None:
        sys.exit("valgrind was not found; install it, or leave instructions out with --parts speed")
    short, long, answer = (
        count(options, *what) for what in (("The", 1), (PROMPT, 1), ("The", 1 + DECODED))
    )
    return {"prefill": long - short, "decode": (answer - short) // DECODED}


def print_table(now, then):
    """One row a figure: the baseline's, ours, and ours as a multiple of it."""
    print("| figure | baseline | now | now / baseline |")
    print("|---|---:|---:|---:|")
    rows = [(f"{key}, tokens/s", value["tok_s"], then.get("speed", {}).get(key, {}).get("tok_s"))
            for key, value in now.get("speed", {}).items()]  # fmt: skip
    rows += [(f"{key}, instructions", value, then.get("instructions", {}).get(key))
             for key, value in now.get("instructions", {}).items()]  # fmt: skip
    for name, ours, before in rows:
        cells = (f"{before:,.1f}", f"{ours / before:.3f}") if before else ("-", "-")
        print(f"| {name} | {cells[0]} | {ours:,.1f} | {cells[1]} |")


def parse_arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--beacon", type=Path, required=True, help="the beacon program")
    parser.add_argument("--model", type=Path, required=True, help="GGUF file")
    parser.add_argument("--baseline", type=Path, help="file to compare with")
    parser.add_argument("--write", type=Path, help="file to keep the result in")
    parser.add_argument("--parts", type=lambda text: text.split(","), default=["speed"],
                        help="speed,instructions (speed)")  # fmt: skip
    parser.add_argument("--runs", type=int, default=5, help="runs of a speed (5)")
    options = parser.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"unknown part {unknown.pop()}: expected {' or '.join(PARTS)}")
    return options


def main():
    options = parse_arguments()
    try:
        then = json.loads(options.baseline.read_text()) if options.baseline else {}
    except (OSError, ValueError) as error:
        sys.exit(f"--baseline: expected a file that --write left, found {options.baseline}: {error}")
    now = {"model": options.model.name}
    if "speed" in options.parts:
        now["speed"], now["machine"] = speeds(options)
    if "instructions" in options.parts:
        now["instructions"] = instructions(options)
    if then.get("machine") and now.get("machine") and then["machine"] != now["machine"]:
        print(f"Another machine than the baseline's ({then['machine']}): speeds do not compare.\n")
    print_table(now, then)
    if options.write:
        options.write.parent.mkdir(parents=True, exist_ok=True)
        options.write.write_text(json.dumps(now, indent=2) + "\n")


if __name__ == "__main__":
    main()
