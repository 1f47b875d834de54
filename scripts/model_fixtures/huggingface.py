"""Tiny Hugging Face folders of every family and rope variant."""

import json

import numpy as np
import torch
import transformers

from .common import (
    BF16,
    F16,
    F32,
    LLAMA3,
    ROWS,
    VOCAB,
    draw_weights,
    expectation,
    log,
    log_sensitivity,
    pick_columns,
    random_ids,
    run,
    save_expected,
    tiny_config,
)


def rope_config(**scaling):
    """The config of the rope variants: tied, so that each folder stays small."""
    return tiny_config("llama", head_dim=32, tie_word_embeddings=True, rope_scaling=scaling or None)


# name: config, seed, stored dtype, extra steps
HF_FIXTURES = {
    "llama_tiny": dict(
        config=lambda: tiny_config(
            "llama", num_hidden_layers=3, head_dim=32, rope_theta=500000.0, intermediate_size=128
        ),
        seed=11,
        bf16=True,
        eos=[2, 3],
    ),
    "llama2_tiny": dict(
        config=lambda: tiny_config(
            "llama", num_key_value_heads=4, attention_bias=True, tie_word_embeddings=True
        ),
        seed=12,
        dtype=F16,
        patch=lambda c: c.__setitem__("torch_dtype", c.pop("dtype")),
    ),
    "mistral_tiny": dict(
        config=lambda: tiny_config("mistral", sliding_window=None, rope_theta=1e6), seed=13, bf16=True
    ),
    "mistral_sliding": dict(config=lambda: tiny_config("mistral", sliding_window=64), seed=14, dtype=BF16),
    # As published Qwen2 configs have it: a window that is switched off, which must not be applied.
    "qwen2_tiny": dict(
        config=lambda: tiny_config("qwen2", tie_word_embeddings=True, rope_theta=1e6, rms_norm_eps=1e-6),
        seed=15,
        bf16=True,
        patch=lambda c: c.update(sliding_window=64, use_sliding_window=False, max_window_layers=1),
    ),
    "llama_sharded": dict(config=lambda: tiny_config("llama"), seed=16, dtype=BF16, shard="60KB"),
    "rope_linear": dict(config=lambda: rope_config(rope_type="linear", factor=4.0), seed=20, dtype=BF16),
    "rope_dynamic": dict(
        config=lambda: tiny_config(
            "llama",
            head_dim=32,
            tie_word_embeddings=True,
            max_position_embeddings=128,
            rope_scaling={"rope_type": "dynamic", "factor": 2.0},
        ),
        seed=20,
        dtype=BF16,
        short=100,
    ),
    "rope_yarn": dict(
        config=lambda: rope_config(rope_type="yarn", factor=8.0, original_max_position_embeddings=64),
        seed=20,
        dtype=BF16,
    ),
    "rope_yarn_factor": dict(
        config=lambda: rope_config(
            rope_type="yarn",
            factor=8.0,
            original_max_position_embeddings=64,
            attention_factor=1.3,
            beta_fast=16.0,
            beta_slow=2.0,
            truncate=False,
        ),
        seed=20,
        dtype=BF16,
    ),
    "rope_yarn_mscale": dict(
        config=lambda: rope_config(
            rope_type="yarn", factor=8.0, original_max_position_embeddings=64, mscale=1.0, mscale_all_dim=0.5
        ),
        seed=20,
        dtype=BF16,
    ),
    "rope_llama3": dict(config=lambda: rope_config(rope_type="llama3", **LLAMA3), seed=20, dtype=BF16),
    "rope_llama3_type": dict(
        config=lambda: rope_config(rope_type="llama3", **LLAMA3),
        seed=20,
        dtype=BF16,
        patch=lambda c: c.update(rope_scaling={"type": "llama3", **LLAMA3}),
    ),
    # The spelling of newer configs: one dictionary, theta included. The oracle reads the older spelling.
    "rope_llama3_parameters": dict(
        config=lambda: rope_config(rope_type="llama3", **LLAMA3),
        seed=20,
        dtype=BF16,
        late_patch=lambda c: (
            c.pop("rope_scaling"),
            c.update(rope_parameters={"rope_type": "llama3", "rope_theta": c.pop("rope_theta"), **LLAMA3}),
        ),
    ),
}


def patch_json(path, change):
    """Applies `change` to the dictionary in a JSON file, in place."""
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")


def make_hf(name, folder):
    """Writes the checkpoint HF_FIXTURES[name], loads it back from disk and stores what that gives."""
    spec = HF_FIXTURES[name]
    dtype = spec.get("dtype", F32)
    model = transformers.AutoModelForCausalLM.from_config(spec["config"]())
    draw_weights(model, spec["seed"], dtype)
    model.generation_config.eos_token_id = spec.get("eos", 2)
    model.to(dtype).save_pretrained(folder, max_shard_size=spec.get("shard", "5GB"))
    if "patch" in spec:
        patch_json(folder / "config.json", spec["patch"])

    def load(compute):
        loaded = transformers.AutoModelForCausalLM.from_pretrained(
            folder, dtype=compute, attn_implementation="eager"
        )
        return loaded.eval()

    model, ids, columns = load(F32), random_ids(ROWS, VOCAB), pick_columns(VOCAB)
    logits = run(model, ids)
    log_sensitivity(name, model, ids, logits)
    tensors = expectation(logits, ids, columns)
    if "short" in spec:  # a forward pass below max_position_embeddings: dynamic NTK must leave theta alone
        tensors["short.logits"] = run(load(F32), ids[: spec["short"]])[:, columns].numpy()
    if spec.get("bf16"):  # the error of transformers' own bf16 pass, a yardstick for ours
        tensors["logits_bf16"] = run(load(BF16), ids)[:, columns].numpy()
        difference = np.abs(tensors["logits_bf16"] - tensors["logits"])
        log(
            f"{name}: bf16 against f32 in transformers: max {difference.max():.3f}, "
            f"mean {difference.mean():.4f}"
        )
    if getattr(model.config, "rope_scaling", None):
        plain = load(F32)
        plain.config.rope_scaling = None
        plain.model.rotary_emb = type(plain.model.rotary_emb)(plain.config)
        log(f"{name}: against unscaled rope: max change {(run(plain, ids) - logits).abs().max():.2f}")
    if "late_patch" in spec:
        patch_json(folder / "config.json", spec["late_patch"])
    save_expected(folder, tensors)
