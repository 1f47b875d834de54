"""What all fixtures share: inputs, stored columns, expectations, weights."""

import numpy as np
import torch
import transformers
from safetensors.numpy import save_file

VOCAB, ROWS, COLUMNS = 256, 512, 64
BF16, F16, F32 = torch.bfloat16, torch.float16, torch.float32
LLAMA3 = {
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}


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
    return {
        "input_ids": np.asarray(ids, dtype=np.int64),
        "columns": columns,
        "logits": logits[:, columns].numpy(),
        "logsumexp": log_sum_exp(logits),
        "next_logprob": next_logprob(logits, ids),
    }


def save_expected(folder, tensors):
    """Writes expected.safetensors with contiguous little-endian arrays."""
    save_file({k: np.ascontiguousarray(v) for k, v in tensors.items()}, folder / "expected.safetensors")


def draw_weights(model, seed, dtype=torch.float32):
    """Fills `model`: queries and keys sharp, biases and norms off their defaults, values exact in `dtype`."""
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
    """Shows that the logits depend on positions and first token, so that a wrong mask or rope is seen."""
    positions = torch.from_numpy(np.random.default_rng(3).permutation(len(ids)))[None]
    shuffled = (run(model, ids, position_ids=positions) - logits).abs().max()
    other = np.array(ids)
    other[0] = (other[0] + 1) % VOCAB
    reach = (run(model, other) - logits).abs().amax(dim=1)
    last = int(torch.nonzero(reach > 1e-6).max())
    log(
        f"{name}: |logits| max {logits.abs().max():.1f}, std {logits.std():.2f}; positions shuffled: "
        f"max change {shuffled:.2f}; first token changed: seen up to row {last}"
    )


def tiny_config(family, **changes):
    """A small config of `family` ("llama", "mistral", "qwen2"); `changes` override its keys."""
    classes = {
        "llama": transformers.LlamaConfig,
        "mistral": transformers.MistralConfig,
        "qwen2": transformers.Qwen2Config,
    }
    keys = dict(
        vocab_size=VOCAB,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        rms_norm_eps=1e-5,
        rope_theta=10000.0,
        bos_token_id=1,
        eos_token_id=2,
        tie_word_embeddings=False,
        attn_implementation="eager",
    )
    keys.update(changes)
    return classes[family](**keys)
