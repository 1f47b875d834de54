#!/usr/bin/env python3
"""How reading time, memory and the speed of answering grow with the length of a text.

Measures, each in a fresh process: `beacon` with beacons, `beacon --no-beacons` (full attention) and
llama.cpp (through llama-cpp-python, see scripts/peers.txt), on the same model file. A row has the seconds
that reading took, tokens/s of the answer behind it, and the most memory the process ever held. Rows are
appended to a JSON lines file, and lengths that are in it already are not measured again. `plot` draws the
rows of a file as SVG (matplotlib).

    peers/bin/python bench/growth.py measure --model MODEL.gguf --beacon build/release/beacon \\
        --lengths 512,2048,8192,32768 --ways beacon,full,llama --out growth.jsonl
    peers/bin/python bench/growth.py plot growth.jsonl --out growth.svg
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

WAYS = {"beacon": "beacon, ratio {ratio}", "full": "beacon, full attention", "llama": "llama.cpp"}


def run(command):
    """The last JSON line that a command prints, and its peak resident bytes; stops with its message."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(command, stdout=out, stderr=errors, text=True)
        _, status, usage = os.wait4(process.pid, 0)
        out.seek(0)
        errors.seek(0)
        if status != 0:
            sys.exit(f"{' '.join(command)}\nwait status {status}: {errors.read().strip()}")
        rows = [json.loads(line) for line in out if line.startswith("{")]
    return rows[-1], usage.ru_maxrss * 1024


def measure_beacon(options, way, length):
    def bench(part, *more):
        command = [str(options.beacon), "bench", part, "--model", str(options.model), "--length", str(length)]
        command += ["--threads", str(options.threads), "--json", *more]
        if way == "full":
            return run([*command, "--no-beacons"])
        return run([*command, "--ratio", str(options.ratio), "--window", str(options.window)])

    # Answering keeps a copy of the open window besides, to begin again: it is not what a reader holds.
    read, peak = bench("prefill", "--runs", "1", "--warm-up", "0")
    answer, _ = bench("decode", "--runs", "3", "--decode-tokens", str(options.decode))
    return {
        "read_s": length / read["tok_s"],
        "decode_tok_s": answer["tok_s"],
        "peak_bytes": peak,
        "cpu": read["cpu"],
    }


def measure_llama(options, length):
    child = [sys.executable, __file__, "llama", str(options.model), str(length), str(options.decode)]
    row, peak = run([*child, str(options.threads)])
    return {"read_s": row["read_s"], "decode_tok_s": row["decode_tok_s"], "peak_bytes": peak}


def llama_child(model, length, steps, threads):
    """Reads `length` random ids with llama.cpp and prints a row, in a process of its own."""
    from compare_llama import time_llama

    speeds = time_llama(model, length, steps, threads)
    print(json.dumps({"read_s": length / speeds["prefill"], "decode_tok_s": speeds["decode"]}))


def measure(options):
    known = set()
    if options.out.exists():
        known = {(row["way"], row["length"]) for row in map(json.loads, options.out.open())}
    for length in options.lengths:
        for way in options.ways:
            if (way, length) in known:
                continue
            row = {"way": way, "length": length, "ratio": options.ratio, "window": options.window}
            row |= measure_llama(options, length) if way == "llama" else measure_beacon(options, way, length)
            with options.out.open("a") as out:
                out.write(json.dumps(row) + "\n")
            print(json.dumps(row), flush=True)


def plot(options):
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": "beacon", "svg.fonttype": "none", "font.size": 9})
    from matplotlib import pyplot

    rows = [json.loads(line) for line in options.rows.open()]
    panels = [
        ("seconds to read it", lambda row: row["read_s"]),
        ("most memory held, MB", lambda row: row["peak_bytes"] / 1e6),
        ("tokens/s of the answer", lambda row: row["decode_tok_s"]),
    ]
    figure, axes = pyplot.subplots(1, 3, figsize=(11, 3.4), layout="constrained")
    for axis, (title, value) in zip(axes, panels):
        for way, label in WAYS.items():
            mine = sorted((row for row in rows if row["way"] == way), key=lambda row: row["length"])
            if mine:
                name = label.format(ratio=mine[0]["ratio"])
                axis.plot([row["length"] for row in mine], [value(row) for row in mine], "o-", label=name, ms=3)
        axis.set(xscale="log", yscale="log", xlabel="tokens of the text", title=title)
        axis.set_xscale("log", base=2)
        axis.xaxis.set_major_formatter(lambda n, _: f"{n / 1024:g}K")
        axis.yaxis.set_major_formatter(lambda n, _: f"{n:g}")
        if title.startswith("most"):  # less than a decade: name the ticks between as well
            axis.yaxis.set_minor_formatter(lambda n, _: f"{n:g}")
        axis.grid(alpha=0.3)
    axes[0].legend(frameon=False)
    figure.savefig(options.out, metadata={"Date": None})


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    numbers = lambda text: [int(n) for n in text.split(",")]
    one = commands.add_parser("measure", help="measure lengths that are not in the file yet")
    one.add_argument("--model", type=Path, required=True, help="GGUF file")
    one.add_argument("--beacon", type=Path, required=True, help="the beacon program")
    one.add_argument("--lengths", type=numbers, required=True, help="tokens, separated by commas")
    one.add_argument("--ways", type=lambda text: text.split(","), default=list(WAYS), help="beacon,full,llama")
    one.add_argument("--ratio", type=int, default=8, help="beacon ratio (8)")
    one.add_argument("--window", type=int, default=1024, help="beacon window (1024)")
    one.add_argument("--decode", type=int, default=32, help="tokens of the answer (32)")
    one.add_argument("--threads", type=int, default=os.cpu_count(), help="threads (all cores)")
    one.add_argument("--out", type=Path, required=True, help="JSON lines file that rows are added to")
    one.set_defaults(action=measure)
    two = commands.add_parser("plot", help="draw a file of rows")
    two.add_argument("rows", type=Path, help="JSON lines file")
    two.add_argument("--out", type=Path, required=True, help="SVG file")
    two.set_defaults(action=plot)
    child = commands.add_parser("llama")
    child.add_argument("arguments", nargs=4)
    child.set_defaults(action=lambda o: llama_child(o.arguments[0], *map(int, o.arguments[1:])))
    options = parser.parse_args()
    if unknown := set(getattr(options, "ways", [])) - set(WAYS):
        parser.error(f"unknown way {unknown.pop()}: expected {', '.join(WAYS)}")
    return options


def main():
    options = parse_arguments()
    options.action(options)


if __name__ == "__main__":
    main()
