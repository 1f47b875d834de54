#!/usr/bin/env python3
"""Writes the seeds of the fuzz targets tokenizer_json and sentencepiece.

  scripts/make_tokenizer_fuzz_corpus.py --out fuzz/corpus
"""
import argparse
import json
import pathlib

TEXT = "ab <s>a\u0301 12\n  \u00e9".encode()
LETTERS = {c: i for i, c in enumerate(["<unk>", "<s>", "a", "b", "\u2581", "ab", "\u0120", "\u2581a", "1"])}
BYTES = {f"<0x{b:02X}>": 9 + b for b in range(256)}


def model(**options):
    return dict({"type": "BPE", "vocab": LETTERS, "merges": ["a b", "\u2581 a"]}, **options)


def added(**flags):
    return [dict({"id": 1, "content": "<s>", "special": True, "normalized": False}, **flags)]


def json_seeds():
    regex = {"type": "Split", "pattern": {"Regex": r"\p{N}{1,3}|\s+(?!\S)|[^\s\p{L}]+"}, "behavior": "Isolated", "invert": False}
    byte_level = {"type": "ByteLevel", "add_prefix_space": True, "use_regex": True}
    post = {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>"}}, {"Sequence": {"id": "A"}}],
            "special_tokens": {"<s>": {"ids": [1]}}}
    yield {"model": model()}
    yield {"model": model(unk_token="<unk>", fuse_unk=True, vocab={**LETTERS, **BYTES}, byte_fallback=True),
           "normalizer": {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "\u2581"}, {"type": "NFC"},
                          {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}]},
           "decoder": {"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "},
                       {"type": "ByteFallback"}, {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
           "added_tokens": added(lstrip=True, rstrip=True), "post_processor": post}
    yield {"model": model(ignore_merges=True, merges=[["a", "b"]]), "added_tokens": added(single_word=True, normalized=True),
           "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": True}, regex, byte_level]},
           "decoder": {"type": "ByteLevel"}, "post_processor": {"type": "Sequence", "processors": [{"type": "ByteLevel"}, post]}}
    yield {"model": model(unk_token="<unk>"), "decoder": {"type": "Metaspace", "prepend_scheme": "first"},
           "pre_tokenizer": {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "first", "split": True}}
    for behavior in ("Removed", "MergedWithPrevious", "MergedWithNext", "Contiguous"):
        yield {"model": model(), "pre_tokenizer": dict(regex, behavior=behavior, invert=True)}


def varint(value):
    out = b""
    while value >= 128:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def field(number, data):
    return varint(number << 3 | 2) + varint(len(data)) + data


def piece(text, score, kind):
    import struct
    return field(1, field(1, text.encode()) + b"\x15" + struct.pack("<f", score) + b"\x18" + bytes([kind]))


def sentencepiece_seeds():
    common = piece("<unk>", 0, 2) + piece("<s>", 0, 3)
    letters = b"".join(piece(t, -float(i), 1) for i, t in enumerate(["ab", "\u2581a", "a", "b", "\u2581", "12", "1"]))
    plain = field(3, b"\x18\x01\x20\x00\x28\x01")
    for kind in (1, 2):
        yield common + letters + field(2, bytes([0x18, kind])) + plain
        yield common + letters + field(2, bytes([0x18, kind])) + field(3, b"\x18\x01\x20\x01\x28\x01")
        yield common + letters + piece("12a", 0, 4) + piece("x", 0, 5) + field(2, bytes([0x18, kind])) + plain
    bytes_ = b"".join(piece(f"<0x{b:02X}>", 0, 6) for b in range(256))
    yield common + bytes_ + letters + field(2, b"\x18\x02\x98\x02\x01") + plain


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    args = parser.parse_args()
    for name in ("tokenizer_json", "sentencepiece"):
        (args.out / name).mkdir(parents=True, exist_ok=True)
    for i, seed in enumerate(json_seeds()):
        (args.out / "tokenizer_json" / f"{i}.bin").write_bytes(json.dumps(seed, ensure_ascii=False).encode() + b"\xff" + TEXT)
    for i, seed in enumerate(sentencepiece_seeds()):
        (args.out / "sentencepiece" / f"{i}.bin").write_bytes(bytes([len(TEXT)]) + TEXT + seed)


if __name__ == "__main__":
    main()
