#!/usr/bin/env python3
"""Makes tests/data/tokenizer: small tokenizers trained here, and what the reference libraries make of a test text.

Needs the packages tokenizers, sentencepiece, transformers, jinja2, gguf and numpy. The text is not stored: both this
script and the tests build it from pieces.json with the same generator. With --smollm2 FILE (the tokenizer.json of
SmolLM2) the ids of the default model are made as well.

  scripts/make_tokenizer_fixtures.py --out tests/data/tokenizer [--smollm2 tokenizer.json]
"""
import argparse
import json
import pathlib
import random

import chat_fixtures
import tokenizer_samples as samples

MASK = (1 << 64) - 1
TEXT_BYTES = 1_100_000
CHUNK = 65536


def build_text(pieces, limit, seed):
    """The generator of the tests: a 64-bit linear congruence chooses pieces until there are enough bytes."""
    out, size, state = [], 0, seed
    while size < limit:
        state = (state * 6364136223846793005 + 1442695040888963407) & MASK
        piece = pieces[(state >> 33) % len(pieces)]
        out.append(piece)
        size += len(piece.encode())
    return "".join(out)


def hash_ids(ids):
    """FNV-1a over whole ids, one value per CHUNK of them."""
    hashes = []
    for begin in range(0, len(ids), CHUNK):
        value = 0xCBF29CE484222325
        for i in ids[begin:begin + CHUNK]:
            value = ((value ^ i) * 0x100000001B3) & MASK
        hashes.append(f"{value:016x}")
    return hashes


def expect_hf(tokenizer, text, cases, full):
    """Ids with special tokens read and not read, and decoded texts: the second one, without special tokens, only where it
    differs."""
    out = {"cases": []}
    for parse in (False, True) if full else (True,):
        tokenizer.encode_special_tokens = not parse
        if full:
            ids = tokenizer.encode(text, add_special_tokens=False).ids
            out["text_special" if parse else "text_plain"] = {"count": len(ids), "hashes": hash_ids(ids)}
        for case in cases:
            ids = tokenizer.encode(case, add_special_tokens=True).ids
            entry = {"text": case, "parse_special": parse, "ids": ids, "decoded": tokenizer.decode(ids, skip_special_tokens=False)}
            skipped = tokenizer.decode(ids, skip_special_tokens=True)
            if skipped != entry["decoded"]:
                entry["skipped"] = skipped
            out["cases"].append(entry)
    return out


def expect_sentencepiece(processor, text, cases):
    ids = processor.encode(text)
    out = {"text_plain": {"count": len(ids), "hashes": hash_ids(ids)}, "cases": []}
    for case in cases:
        ids = processor.encode(case)
        out["cases"].append({"text": case, "parse_special": False, "sentencepiece": True, "ids": ids,
                             "decoded": processor.decode(ids)})
    return out


def invalid_utf8():
    rng = random.Random(5)
    parts = [b"\xc3\xa9", b"\xe2\x82\xac", b"\xf0\x9f\x98\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\xaf",
             b"\xe0\x80\x80", b"\xf0\x80\x80\x80", b"\xf5", b"\xff", b"\x80", b"\xe2\x82", b"\xf0\x9f\x98", b"a", b" "]
    out = list(parts)
    for _ in range(400):
        out.append(b"".join(rng.choice(parts) if rng.random() < 0.5 else bytes([rng.randrange(256)])
                            for _ in range(rng.randint(1, 7))))
    return [{"hex": b.hex(), "text": b.decode("utf-8", errors="replace")} for b in out]


def write(path, value):
    path.write_text(json.dumps(value, ensure_ascii=True, separators=(",", ":")) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--smollm2", help="tokenizer.json of SmolLM2")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    pieces = samples.make_pieces()
    write(args.out / "pieces.json", pieces)
    text = build_text(pieces, TEXT_BYTES, 1)
    cases = samples.CASES + [build_text(pieces, 300, seed) for seed in range(100, 112)]
    training = build_text(samples.training_pieces(pieces), 400_000, 2)

    for name, tokenizer in samples.train_hf(training, args.out).items():
        write(args.out / f"{name}.expected.json", expect_hf(tokenizer, text, cases, full=True))
        print(name)
    variants = []
    for name, change, tokenizer in samples.variants(args.out):
        variants.append({"name": name, "change": change,
                         "expected": expect_hf(tokenizer, text, cases[:len(samples.CASES)], full=False)})
    write(args.out / "variants.json", variants)
    for name, processor in samples.train_sentencepiece(training, args.out).items():
        write(args.out / f"{name}.expected.json", expect_sentencepiece(processor, text, cases))
        print(name)
    samples.write_gguf(args.out)
    write(args.out / "invalid_utf8.json", invalid_utf8())
    write(args.out / "chat.json", chat_fixtures.make(args.out))
    if args.smollm2:
        from tokenizers import Tokenizer
        write(args.out / "smollm2_default.expected.json",
              expect_hf(Tokenizer.from_file(args.smollm2), text, cases[:len(samples.CASES)], full=True))


if __name__ == "__main__":
    main()
