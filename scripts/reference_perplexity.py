"""NLL of tokens [from, to) of texts by transformers, everything visible: what `beacon eval perplexity --mode full`
must agree with (docs/evaluation.md). The tokens are those of `beacon tokenize`: tokenizers have tests of their own.
Needs the packages of peers.txt and `accelerate`, without which transformers reads no GGUF file.

Usage: reference_perplexity.py BEACON MODEL.gguf FROM TO TEXT...
"""
import json
import pathlib
import subprocess
import sys

import torch
from transformers import AutoModelForCausalLM


def nll(model, ids, start):
    """Mean loss of tokens ids[start:], in nats."""
    with torch.inference_mode():
        hidden = model.model(ids[None]).last_hidden_state[0]
        total = 0.0
        for begin in range(start - 1, len(ids) - 1, 256):
            end = min(begin + 256, len(ids) - 1)
            logits = model.lm_head(hidden[begin:end]).float()
            total += torch.nn.functional.cross_entropy(logits, ids[begin + 1:end + 1], reduction="sum").double().item()
    return total / (len(ids) - start)


def main():
    program, path, (start, stop) = sys.argv[1], pathlib.Path(sys.argv[2]), map(int, sys.argv[3:5])
    model = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32).eval()
    for name in sys.argv[5:]:
        out = subprocess.run([program, "tokenize", "-m", path, "--json", name], capture_output=True, check=True).stdout
        ids = torch.tensor(json.loads(out)["ids"][:stop])
        print(f"{nll(model, ids, start):.5f}  {len(ids) - start:6d}  {pathlib.Path(name).name}", flush=True)


if __name__ == "__main__":
    main()
