"""Expectations of the default model: logits on prose, greedy continuations."""

import json

import gguf
import numpy as np
import torch
import transformers

from .common import BF16, ROWS, expectation, log, next_logprob, pick_columns, run, save_expected
from .gguf_files import check_gguf_reading, gguf_name, undo_interleave

PLAIN_PROMPT = "The capital of France is"
CHATS = [  # the first two whose forty greedy choices are all clear are stored
    [{"role": "user", "content": "List the days of the week, one per line."}],
    [{"role": "user", "content": "Count from one to thirty in words, separated by commas."}],
    [{"role": "user", "content": "Write the letters of the alphabet, one per line."}],
    [
        {"role": "system", "content": "You answer with facts only."},
        {"role": "user", "content": "What is the capital of France?"},
        {"role": "assistant", "content": "Paris."},
        {"role": "user", "content": "List the numbers from 1 to 20, separated by commas."},
    ],
    [{"role": "user", "content": "Repeat the word 'beacon' fifty times."}],
    [{"role": "user", "content": "What is photosynthesis?"}],
    [{"role": "user", "content": "Who wrote Pride and Prejudice, and when was it published?"}],
]
MIN_GAP = 0.05


def load_smollm2(path):
    """(model, tokenizer) built from the metadata and dequantised tensors of the GGUF file."""
    reader = gguf.GGUFReader(path)
    value = lambda key: reader.fields[key].contents()
    heads, kv_heads = value("llama.attention.head_count"), value("llama.attention.head_count_kv")
    config = transformers.LlamaConfig(
        vocab_size=value("llama.vocab_size"),
        hidden_size=value("llama.embedding_length"),
        intermediate_size=value("llama.feed_forward_length"),
        num_hidden_layers=value("llama.block_count"),
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        max_position_embeddings=value("llama.context_length"),
        rope_theta=value("llama.rope.freq_base"),
        rms_norm_eps=value("llama.attention.layer_norm_rms_epsilon"),
        tie_word_embeddings=True,
        bos_token_id=value("tokenizer.ggml.bos_token_id"),
        eos_token_id=value("tokenizer.ggml.eos_token_id"),
        attn_implementation="eager",
    )
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
    """HF tokenizer from GGUF metadata: byte-level BPE, every digit on its own (pre-tokeniser `smollm`)."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    tokens = value("tokenizer.ggml.tokens")
    merges = [tuple(merge.split(" ")) for merge in value("tokenizer.ggml.merges")]
    tokenizer = Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    control = [
        t for t, kind in zip(tokens, value("tokenizer.ggml.token_type")) if kind == gguf.TokenType.CONTROL
    ]
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in control])
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, chat_template=value("tokenizer.chat_template")
    )


@torch.no_grad()
def greedy(model, prompt, count, stop):
    """(ids, gaps): up to `count` greedy tokens, `stop` included, and each one's lead over the runner-up."""
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
    candidates += [
        ("chat", c, tokenizer.apply_chat_template(c, tokenize=False, add_generation_prompt=True))
        for c in CHATS
    ]
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
        tensors |= {
            f"{label}.prompt_ids": np.array(prompt, dtype=np.int64),
            f"{label}.ids": ids,
            f"{label}.gap": gaps,
        }
        texts[label] = {"messages" if kind == "chat" else "text": messages, "prompt": text, "answer": answer}
    return tensors, texts


def make_smollm2(path, folder):
    """Expectations of the default model on prose.txt, which lies in the same folder and is kept as it is."""
    model, tokenizer = load_smollm2(path)
    ids = tokenizer((folder / "prose.txt").read_text(), add_special_tokens=False)["input_ids"][:ROWS]
    assert len(ids) == ROWS, f"prose.txt has {len(ids)} tokens, {ROWS} are needed"
    logits = run(model, ids)
    frequent = [token for token, _ in sorted(zip(*np.unique(ids, return_counts=True)), key=lambda p: -p[1])][
        :24
    ]
    tensors = expectation(logits, ids, pick_columns(logits.shape[1], wanted=frequent))
    top = torch.topk(logits, 2, dim=1)
    tensors |= {
        "argmax": top.indices[:, 0].numpy(),
        "top2_gap": (top.values[:, 0] - top.values[:, 1]).numpy(),
    }
    cases, texts = greedy_cases(model, tokenizer)
    assert {"chat0", "chat1"} <= set(texts), "two chats without a near-tie are needed: add candidates"
    half = run(model.to(BF16), ids)
    tensors |= {
        "logits_bf16": half[:, tensors["columns"]].numpy(),
        "next_logprob_bf16": next_logprob(half, ids),
    }
    log(
        f"smollm2: mean NLL {-tensors['next_logprob'].mean():.4f}, "
        f"in bf16 {-tensors['next_logprob_bf16'].mean():.4f}, "
        f"|logits| max {logits.abs().max():.1f}, bf16 against f32: "
        f"max {np.abs(tensors['logits_bf16'] - tensors['logits']).max():.3f}"
    )
    save_expected(folder, tensors | cases)
    (folder / "greedy.json").write_text(
        json.dumps(texts, indent=1, ensure_ascii=False, sort_keys=True) + "\n"
    )
