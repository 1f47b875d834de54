"""Tiny GGUF files of every block type, and the reading of GGUF files that the expectations rest on."""

import gguf
import numpy as np
import torch
import transformers
import transformers.modeling_gguf_pytorch_utils as transformers_gguf
from gguf import GGMLQuantizationType as GgmlType
from safetensors import safe_open

from .common import (
    LLAMA3,
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

GGUF_VOCAB, GGUF_ROWS = 288, 128
transformers_gguf.tqdm = lambda items, **_: items  # no bar in the log

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
    "gguf_rope_yarn": dict(
        type=GgmlType.Q8_0,
        arch="qwen2",
        rope={"rope_type": "yarn", "factor": 8.0, "original_max_position_embeddings": 64},
    ),
    "gguf_rope_llama3": dict(type=GgmlType.Q8_0, head_dim=32, rope={"rope_type": "llama3", **LLAMA3}),
}
GGUF_NAMES = {
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def gguf_name(hf_name):
    """`model.layers.0.mlp.up_proj.weight` -> `blk.0.ffn_up.weight`."""
    top = {
        "model.embed_tokens.weight": "token_embd.weight",
        "model.norm.weight": "output_norm.weight",
        "lm_head.weight": "output.weight",
    }
    if hf_name in top:
        return top[hf_name]
    _, _, layer, rest = hf_name.split(".", 3)
    part, kind = rest.rsplit(".", 1)
    return f"blk.{layer}.{GGUF_NAMES[part]}.{kind}"


def interleave_halves(rows, heads):
    """Row order of q and k in llama GGUF files: rows i and i + head_dim / 2 of a head are neighbours."""
    shape = rows.shape
    return rows.reshape(heads, 2, shape[0] // heads // 2, *shape[1:]).swapaxes(1, 2).reshape(shape)


def undo_interleave(rows, heads):
    """The inverse of interleave_halves."""
    shape = rows.shape
    return rows.reshape(heads, shape[0] // heads // 2, 2, *shape[1:]).swapaxes(1, 2).reshape(shape)


def random_k_blocks(kind, rows, columns, spread, rng):
    """[rows, bytes] of valid K-quant blocks whose values have about the standard deviation `spread`.

    Every field is random over its whole range, sub-block scales and minima included, which no quantiser of
    smooth weights would give. The minima follow the scales loosely to keep the mean near zero.
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
        packed = np.concatenate(
            [
                scale[:, :4] | (scale[:, 4:] >> 4 << 6),
                low[:, :4] | (low[:, 4:] >> 4 << 6),
                (scale[:, 4:] & 15) | ((low[:, 4:] & 15) << 4),
            ],
            axis=1,
        )
        d = spread * wobble / (36 * levels * 0.29)
        block = [
            half(d),
            half(d * levels / 2),
            packed,
            *([raw(32)] if kind == GgmlType.Q5_K else []),
            raw(128),
        ]
    return np.concatenate(block, axis=1).reshape(rows, -1)


def encode(values, kind, rng):
    """A matrix stored as `kind`; K types, which the gguf package cannot write, get random blocks instead."""
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
        types = [
            kinds.UNKNOWN,
            kinds.CONTROL,
            kinds.CONTROL,
            *[kinds.BYTE] * 256,
            *[kinds.NORMAL] * len(pieces),
        ]
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
        tokens = [
            *map(chr, shown),
            *(chr(256 + i) for i in range(len(hidden))),
            *(m.replace(" ", "") for m in merges),
            *specials,
        ]
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
    """Writes GGUF_FIXTURES[name] and transformers' logits on the values that the gguf package reads back."""
    spec = GGUF_FIXTURES[name]
    arch, hidden, kind = spec.get("arch", "llama"), spec.get("hidden", 64), spec["type"]
    keys = dict(
        hidden_size=hidden,
        intermediate_size=hidden if hidden > 64 else 96,
        vocab_size=GGUF_VOCAB,
        num_hidden_layers=spec.get("layers", 2),
        num_key_value_heads=2 if hidden == 64 else 1,
        tie_word_embeddings=spec.get("tied", True),
        rope_scaling=spec.get("rope"),
    )
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
    if (
        spec.get("version") == 2
    ):  # version 3 only added big-endian files: the little-endian layout is the same
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
    read = transformers_gguf.load_gguf_checkpoint(str(path), return_tensors=True, model_to_load=model)[
        "tensors"
    ]
    wrong = [name for name, values in state.items() if not torch.equal(read[name].float(), values)]
    if wrong:
        raise SystemExit(f"{path}: transformers reads other values for {', '.join(wrong)}")


def compare_with_llama_cpp(folder):
    """A second opinion: llama.cpp's logits for the same file. Its quantised products are approximate."""
    import llama_cpp

    with safe_open(folder / "expected.safetensors", "np") as file:
        ids, expected, columns = (file.get_tensor(k) for k in ("input_ids", "logits", "columns"))
    model = llama_cpp.Llama(
        str(folder / "model.gguf"),
        n_ctx=len(ids),
        n_batch=len(ids),
        logits_all=True,
        type_k=0,
        type_v=0,
        flash_attn=False,
        verbose=False,
    )
    model.eval([int(i) for i in ids])
    difference = np.array(model.scores[: len(ids)])[:, columns] - expected
    relative = difference.std() / expected.std()
    log(
        f"{folder.name}: llama.cpp differs by max {np.abs(difference).max():.4f}, "
        f"{100 * relative:.3f} % of the std"
    )
    if relative > 0.05:
        raise SystemExit(f"{folder.name}: llama.cpp disagrees with the expectation")
