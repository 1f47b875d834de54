#!/usr/bin/env python3
"""Times llama.cpp and beacon on the same model file and machine, in turns, and prints a Markdown table.

llama.cpp runs through llama-cpp-python (see scripts/peers.txt) with flash attention, an f16 cache,
n_batch 2048 and n_ubatch 512; beacon runs as `beacon bench prefill|decode --json`. A round measures every
length with both programs, each measurement in a fresh process, and rounds alternate which program goes
first, so that a slow phase of the machine hits both. Loading the model is not timed. Cells hold the
median over the rounds and, in parentheses, the smallest and largest.

    peers/bin/python bench/compare_llama.py --model MODEL.gguf --beacon build/release/beacon \\
        --lengths 2048,16384
    peers/bin/python bench/compare_llama.py --model MODEL.gguf --lengths 2048       # llama.cpp alone
"""

import argparse
import json
import multiprocessing
import os
import platform
import random
import statistics
import subprocess
import sys
import time
from pathlib import Path

PARTS = ("prefill", "decode")


def time_llama(model, length, steps, threads):
    """{part: tokens/s} of llama.cpp: reads `length` random ids, then `steps` tokens one by one."""
    import llama_cpp

    llama = llama_cpp.Llama(
        model,
        n_ctx=length + steps + 8,
        n_batch=2048,
        n_ubatch=512,
        n_threads=threads,
        n_threads_batch=threads,
        flash_attn=True,
        verbose=False,
    )
    vocabulary, rng = llama.n_vocab(), random.Random(0)
    ids = [rng.randrange(100, vocabulary - 100) for _ in range(length)]
    begin = time.perf_counter()
    llama.eval(ids)
    read = time.perf_counter()
    for _ in range(steps):
        llama.eval(ids[:1])
    end = time.perf_counter()
    return {"prefill": length / (read - begin), "decode": steps / (end - read)}


def run_llama(options, length):
    """time_llama in a process of its own, which gives its memory back; {part: {"tok_s": x}}."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        speeds = pool.apply(time_llama, (str(options.model), length, options.decode, options.threads))
    return {part: {"tok_s": speeds[part]} for part in options.parts}


def run_beacon(options, length):
    """{part: the object that `beacon bench` prints for `length`}; stops with its message when it fails."""
    results = {}
    for part in options.parts:
        command = [
            str(options.beacon),
            "bench",
            part,
            "--model",
            str(options.model),
            "--length",
            str(length),
            "--ratio",
            options.ratio,
            "--window",
            str(options.window),
            "--threads",
            str(options.threads),
            "--json",
            *options.beacon_args,
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            sys.exit(f"{' '.join(command)}\nexit status {done.returncode}: {done.stderr.strip()}")
        rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        results[part] = next(row for row in rows if row.get("length") == length)
    return results


def spread(values):
    """`median (smallest-largest)`, one decimal."""
    return f"{statistics.median(values):.1f} ({min(values):.1f}-{max(values):.1f})"


def cpu_name():
    """The processor's own name where Linux tells it."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def print_table(options, samples):
    """`samples` [program][length, part] -> list of result objects, one a round."""
    print(
        f"\n{options.model.name}, {cpu_name()}, {options.threads} threads, {options.runs} rounds; "
        f"beacon: ratio "
        f"{options.ratio}, window {options.window}; load average now {os.getloadavg()[0]:.1f}\n"
    )
    print("| tokens | part | llama.cpp tokens/s | beacon tokens/s | beacon / llama.cpp | beacon bytes |")
    print("|---:|---|---:|---:|---:|---:|")
    for length in options.lengths:
        for part in options.parts:
            llama = [row["tok_s"] for row in samples["llama"][length, part]]
            rows = samples["beacon"].get((length, part), [])
            cells = ["-", "-", "-"]
            if rows:
                ours = [row["tok_s"] for row in rows]
                cells = [
                    spread(ours),
                    f"{statistics.median(ours) / statistics.median(llama):.2f}",
                    str(rows[-1].get("bytes", "-")),
                ]
            print(f"| {length} | {part} | {spread(llama)} | {' | '.join(cells)} |")


def parse_arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    numbers = lambda text: [int(n) for n in text.split(",")]
    parser.add_argument("--model", type=Path, required=True, help="GGUF file that both programs read")
    parser.add_argument("--beacon", type=Path, help="the beacon program; without it llama.cpp is timed alone")
    parser.add_argument("--lengths", type=numbers, default=[2048], help="tokens, separated by commas (2048)")
    parser.add_argument(
        "--parts", type=lambda text: text.split(","), default=list(PARTS), help="prefill,decode"
    )
    parser.add_argument("--ratio", default="8", help="beacon ratio (8)")
    parser.add_argument("--window", type=int, default=1024, help="beacon window (1024)")
    parser.add_argument("--decode", type=int, default=32, help="tokens that llama.cpp decodes (32)")
    parser.add_argument("--runs", type=int, default=3, help="rounds (3)")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="threads of both (all cores)")
    parser.add_argument("beacon_args", nargs="*", help="after --: more options for `beacon bench`")
    options = parser.parse_args()
    if min(options.runs, options.threads, options.decode, options.window, *options.lengths) < 1:
        parser.error("lengths, window, decode, runs and threads must be at least 1")
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"unknown part {unknown.pop()}: expected prefill, decode or both")
    return options


def main():
    options = parse_arguments()
    programs = [("llama", run_llama)] + ([("beacon", run_beacon)] if options.beacon else [])
    samples = {"llama": {}, "beacon": {}}
    for number in range(options.runs):
        for length in options.lengths:
            for name, measure in programs if number % 2 == 0 else programs[::-1]:
                for part, row in measure(options, length).items():
                    samples[name].setdefault((length, part), []).append(row)
                    print(
                        f"round {number + 1}: {name} {part} {length}: {row['tok_s']:.1f} tokens/s",
                        file=sys.stderr,
                        flush=True,
                    )
    print_table(options, samples)


if __name__ == "__main__":
    main()
