"""Writes small random Llama models as GGUF files, with a vocabulary of characters and bytes and a chat template.

The models know nothing; they are there so that the program can be run from end to end in a fraction of a second.
"""
import array
import random
import struct

CHATML = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
CONTROL, UNKNOWN, NORMAL, BYTE = 3, 2, 1, 6
UINT32, INT32, FLOAT32, STRING, ARRAY = 4, 5, 6, 8, 9


def string(text):
    data = text.encode("utf-8")
    return struct.pack("<Q", len(data)) + data


def entry(key, kind, payload):
    return string(key) + struct.pack("<I", kind) + payload


def u32(key, value):
    return entry(key, UINT32, struct.pack("<I", value))


def f32(key, value):
    return entry(key, FLOAT32, struct.pack("<f", value))


def strings(key, values):
    return entry(key, ARRAY, struct.pack("<IQ", STRING, len(values)) + b"".join(map(string, values)))


def numbers(key, kind, code, values):
    return entry(key, ARRAY, struct.pack("<IQ", kind, len(values)) + struct.pack(f"<{len(values)}{code}", *values))


def vocabulary():
    """Pieces with their kinds: control tokens, 256 bytes, the space, printable ASCII."""
    pieces = [("<unk>", UNKNOWN), ("<s>", CONTROL), ("</s>", CONTROL)]
    pieces += [(f"<0x{byte:02X}>", BYTE) for byte in range(256)]
    pieces += [("\u2581", NORMAL)] + [(chr(code), NORMAL) for code in range(33, 127)]
    pieces += [("<|im_start|>", CONTROL), ("<|im_end|>", CONTROL)]
    return pieces


def metadata(shape, chat_template, eos):
    pieces = vocabulary()
    names = [name for name, _ in pieces]
    entries = [
        entry("general.architecture", STRING, string("llama")),
        entry("general.name", STRING, string("tiny")),
        u32("llama.context_length", shape["positions"]),
        u32("llama.embedding_length", shape["hidden"]),
        u32("llama.block_count", shape["layers"]),
        u32("llama.feed_forward_length", shape["ffn"]),
        u32("llama.attention.head_count", shape["heads"]),
        u32("llama.attention.head_count_kv", shape["kv"]),
        u32("llama.rope.dimension_count", shape["hidden"] // shape["heads"]),
        f32("llama.attention.layer_norm_rms_epsilon", 1e-5),
        f32("llama.rope.freq_base", 10000.0),
        u32("llama.vocab_size", len(pieces)),
        entry("tokenizer.ggml.model", STRING, string("llama")),
        strings("tokenizer.ggml.tokens", names),
        numbers("tokenizer.ggml.scores", FLOAT32, "f", [-float(i) for i in range(len(pieces))]),
        numbers("tokenizer.ggml.token_type", INT32, "i", [kind for _, kind in pieces]),
        u32("tokenizer.ggml.bos_token_id", 1),
        u32("tokenizer.ggml.eos_token_id", names.index(eos)),
        u32("tokenizer.ggml.unknown_token_id", 0),
    ]
    if chat_template:
        entries.append(entry("tokenizer.chat_template", STRING, string(chat_template)))
    return entries, len(pieces)


def tensors(shape, vocab):
    """Names with shapes, innermost dimension first as GGUF has them."""
    hidden, ffn = shape["hidden"], shape["ffn"]
    kv_rows = hidden // shape["heads"] * shape["kv"]
    out = [("token_embd.weight", (hidden, vocab)), ("output_norm.weight", (hidden,)), ("output.weight", (hidden, vocab))]
    for layer in range(shape["layers"]):
        block = f"blk.{layer}."
        out += [
            (block + "attn_norm.weight", (hidden,)),
            (block + "attn_q.weight", (hidden, hidden)),
            (block + "attn_k.weight", (hidden, kv_rows)),
            (block + "attn_v.weight", (hidden, kv_rows)),
            (block + "attn_output.weight", (hidden, hidden)),
            (block + "ffn_norm.weight", (hidden,)),
            (block + "ffn_gate.weight", (hidden, ffn)),
            (block + "ffn_up.weight", (hidden, ffn)),
            (block + "ffn_down.weight", (ffn, hidden)),
        ]
    return out


def count(dims):
    total = 1
    for dim in dims:
        total *= dim
    return total


def write(path, seed=1, positions=4096, chat_template=CHATML, eos="<|im_end|>", scale=3, heads=2):
    shape = {"hidden": 32, "layers": 2, "heads": heads, "kv": 1, "ffn": 64, "positions": positions}
    entries, vocab = metadata(shape, chat_template, eos)
    named = tensors(shape, vocab)
    infos, offset = b"", 0
    for name, dims in named:
        infos += string(name) + struct.pack("<I", len(dims)) + struct.pack(f"<{len(dims)}Q", *dims)
        infos += struct.pack("<IQ", 0, offset)
        offset += -(-4 * count(dims) // 32) * 32
    generator = random.Random(seed)
    with open(path, "wb") as file:
        file.write(b"GGUF" + struct.pack("<IQQ", 3, len(named), len(entries)) + b"".join(entries) + infos)
        file.write(b"\0" * (-file.tell() % 32))
        for _, dims in named:
            norm = len(dims) == 1
            deviation = scale / dims[0] ** 0.5
            values = [1.0 if norm else generator.gauss(0, deviation) for _ in range(count(dims))]
            file.write(array.array("f", values).tobytes())
            file.write(b"\0" * (-file.tell() % 32))
    return path
