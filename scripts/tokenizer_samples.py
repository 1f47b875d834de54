"""Texts and small tokenizers for make_tokenizer_fixtures.py. Everything is made from fixed seeds."""
import io
import json
import random

SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|begin_of_text|>", "<|start_header_id|>",
            "<|end_header_id|>", "<|eot_id|>"]

CASES = [
    "", " ", "  ", "\n", "a", " a", "a ", "Hello world", "  leading", "trailing  ", "a\n\n\nb", "\r\n\r\n x \t y",
    "It's I'LL don't WE'VE '\u017f x'RE", "1234567890 3.14 1,000,000 \u00bd \u00b2 \u0663 \u5341", "e\u0301 \u00e9 A\u030a\u0323 \u1e9b\u0323 \u212b",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f44d\U0001f3fd \U0001f1e9\U0001f1ea", "\u65e5\u672c\u8a9e\u306e\u30c6\u30ad\u30b9\u30c8\u3002\u4e2d\u6587\u5b57\u7b26\uff0c\ud55c\uad6d\uc5b4",
    "x\u00a0y\u3000z\u2028w\u0085v\u180eu\u200bt", "\x00\x01\x1c\x7f", "<s>hi</s><unk>", "a<|im_end|>b <|im_start|> c",
    "<|endoftext|><|endoftext|>", "< |im_end|> <|im_end", "\u2581x \u2581 y\u2581", "<0x41><0x0A>", "if (a[i] != b->c) {\n\treturn 0x1F;\n}",
    " " * 50 + "x" + " " * 7 + "\n" * 20, "a" * 300, "\u0301" * 40, "\U0010ffff\ue000\ufffd", "\u00df \u0149 \u01f0 \ufb01 \u1fb3",
    "keep [A] and[B]  and [C] x[D]y [D] z [E]", "aa bb-cc, dd; 12-34",
]


def make_pieces():
    """Short strings of many kinds, from which the test text is built."""
    rng = random.Random(11)
    pieces = []
    syllables = ["an", "er", "to", "mi", "sha", "pre", "lo", "ing", "qu", "ea", "th", "st", "ou", "ab", "ly", "con", "de"]
    words = ["".join(rng.choice(syllables) for _ in range(rng.randint(1, 4))) for _ in range(500)]
    for word in words:
        pieces += [" " + word, " " + word, " " + word.capitalize(), word + rng.choice([",", ".", ";", "!", "?", "'s", "'ll"])]
    for low, high in [(0x4E00, 0x9FA5), (0x3041, 0x3096), (0x30A1, 0x30FA), (0xAC00, 0xD7A3), (0x410, 0x44F),
                      (0x391, 0x3C9), (0x5D0, 0x5EA), (0x621, 0x64A), (0x904, 0x939), (0xE01, 0xE2E), (0xC0, 0x17F)]:
        for _ in range(60):
            word = "".join(chr(rng.randint(low, high)) for _ in range(rng.randint(1, 6)))
            pieces.append(rng.choice(["", " "]) + word)
    for _ in range(150):
        base = rng.choice("aeiouAEnsy") + "".join(chr(rng.choice([0x300, 0x301, 0x308, 0x323, 0x327, 0x30A, 0x304]))
                                                    for _ in range(rng.randint(1, 3)))
        pieces.append(base + rng.choice(["", "t", " "]))
    for _ in range(200):
        pieces.append(rng.choice(["", " "]) + str(rng.randrange(10 ** rng.randint(1, 14))))
    pieces += ["\U0001f600", "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466", "\U0001f44b\U0001f3fd", "\u2764\ufe0f",
               "\U0001f1eb\U0001f1f7", "\U0001f3f3\ufe0f\u200d\U0001f308", "\u2603", "\u2192", "\u2026", "\u2014", "\u201cx\u201d", "\u20ac5"] * 6
    pieces += [" " * rng.randint(2, 60) for _ in range(40)] + ["\n" * rng.randint(1, 12) for _ in range(40)]
    pieces += ["\t", "\r\n", " \n ", "\n    ", "\u00a0", "\u3000", "\u2003", "\u2028", "\u0085", "\u200b", "\x0b"] * 4
    pieces += ["for (int i = 0; i < n; ++i) {\n    sum += x[i];\n}\n", "def f(a, b=None):\n\treturn a['k']\n",
               "std::vector<int> v{1, 2};", "// ----\n", "a != b && c >= 0x1F", "{\"k\": [1.5e-3, null]}",
               "https://example.org/a?b=c&d=%20", "SELECT * FROM t;"] * 8
    pieces += SPECIALS + ["<s>", "</s>", "<unk>", "[INST]", "<0x0A>", "\u2581", "<|im_", "|>"]
    return pieces


def training_pieces(pieces):
    return [p for p in pieces if not any(s in p for s in SPECIALS + ["<s>", "</s>", "<unk>", "\u2581", "<0x"])]


def split(regex, byte_level=True):
    from tokenizers import Regex, pre_tokenizers
    return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(regex), "isolated"),
                                    pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def words_regex(digits):
    return (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}" + digits +
            r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")


def train_byte_level(text, pre_tokenizer, normalizer=None):
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizer
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(text.splitlines(keepends=True), trainers.BpeTrainer(
        vocab_size=1000, special_tokens=SPECIALS, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False))
    return json.loads(tokenizer.to_str())


def llama2_style(text):
    """BPE with byte fallback on whole texts, as converted from SentencePiece."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.train_from_iterator(text.split("\n"), trainers.BpeTrainer(vocab_size=900, show_progress=False,
                                                                       limit_alphabet=300))
    value = json.loads(tokenizer.to_str())
    first = ["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)]
    rest = sorted(value["model"]["vocab"], key=value["model"]["vocab"].get)
    value["model"].update(vocab={t: i for i, t in enumerate(first + rest)}, unk_token="<unk>", fuse_unk=True,
                          byte_fallback=True)
    value["added_tokens"] = [dict(id=i, content=t, single_word=False, lstrip=False, rstrip=False, normalized=False,
                                  special=True) for i, t in enumerate(first[:3])]
    value["pre_tokenizer"] = None
    value["normalizer"] = {"type": "Sequence", "normalizers": [
        {"type": "Prepend", "prepend": "\u2581"},
        {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}]}
    value["post_processor"] = template("<s>", 1)
    value["decoder"] = {"type": "Sequence", "decoders": [
        {"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"},
        {"type": "Strip", "content": " ", "start": 1, "stop": 0}]}
    return value


def template(token, token_id):
    return {"type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": token, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {token: {"id": token, "ids": [token_id], "tokens": [token]}}}


def train_hf(text, out):
    """Name to tokenizer; writes NAME.tokenizer.json."""
    from tokenizers import Tokenizer, normalizers, pre_tokenizers
    values = {
        "gpt2": train_byte_level(text, pre_tokenizers.ByteLevel(add_prefix_space=False)),
        "smollm": train_byte_level(text, pre_tokenizers.Sequence([
            pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])),
        "llama3": train_byte_level(text, split(words_regex("{1,3}"))),
        "qwen2": train_byte_level(text, split(words_regex("")), normalizers.NFC()),
        "llama2": llama2_style(text),
    }
    values["llama3"]["model"]["ignore_merges"] = True
    values["llama3"]["post_processor"] = {"type": "Sequence", "processors": [
        {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False, "use_regex": True},
        template("<|begin_of_text|>", SPECIALS.index("<|begin_of_text|>"))]}
    # One file with merges in the older spelling, "a b".
    values["smollm"]["model"]["merges"] = [" ".join(m) for m in values["smollm"]["model"]["merges"]]
    tokenizers = {}
    for name, value in values.items():
        path = out / f"{name}.tokenizer.json"
        path.write_text(json.dumps(value, ensure_ascii=False, separators=(",", ":")) + "\n")
        tokenizers[name] = Tokenizer.from_file(str(path))
    return tokenizers


def added(token_id, content, **flags):
    value = dict(id=token_id, content=content, single_word=False, lstrip=False, rstrip=False, normalized=True, special=False)
    value.update(flags)
    return value


def variants(out):
    """(name, changed members, tokenizer): elements that the trained tokenizers do not have."""
    from tokenizers import Tokenizer
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    changes = []
    for behavior in ("Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"):
        for invert in (False, True):
            changes.append((f"split_{behavior}_{invert}", "gpt2", {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [
                {"type": "Split", "pattern": {"Regex": "[aeiou]|-"}, "behavior": behavior, "invert": invert}, byte_level]}}))
    changes.append(("split_string", "gpt2", {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"String": "."}, "behavior": "MergedWithNext", "invert": False}, byte_level]}}))
    changes.append(("digits_contiguous", "gpt2", {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [
        {"type": "Digits", "individual_digits": False}, byte_level]}}))
    changes.append(("prefix_space", "gpt2", {"pre_tokenizer": dict(byte_level, add_prefix_space=True, use_regex=True)}))
    for scheme in ("always", "first", "never"):
        for cut in (False, True):
            mark = {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": scheme, "split": cut}
            changes.append((f"metaspace_{scheme}_{cut}", "llama2", {"normalizer": None, "pre_tokenizer": mark,
                                                                  "decoder": {"type": "Metaspace", "replacement": "\u2581",
                                                                              "prepend_scheme": scheme, "split": cut}}))
    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        changes.append((form, "gpt2", {"normalizer": {"type": form}}))
    changes.append(("replace_regex", "gpt2", {"normalizer": {"type": "Replace", "pattern": {"Regex": "[0-9]+|xy*"}, "content": "#"}}))
    changes.append(("no_decoder", "gpt2", {"decoder": None}))
    result = []
    for name, base, change in changes:
        result.append((name, {"base": base, "members": change}))
    result.append(("added_tokens", {"base": "gpt2", "members": {"added_tokens+": [
        added(1000, "[A]", lstrip=True), added(2001, "[B]", rstrip=True, special=True, normalized=False),
        added(1002, "[C]", lstrip=True, rstrip=True), added(2003, "[D]", single_word=True), added(2004, "[E]", special=True),
        added(1005, "\u00e9 x"), added(2006, "wor")]}}))
    result.append(("added_normalized", {"base": "qwen2", "members": {"added_tokens+": [
        added(1000, "e\u0301"), added(2001, "A\u030a\u0323", normalized=False)]}}))
    for name, change in result:
        value = apply_change(json.loads((out / f"{change['base']}.tokenizer.json").read_text()), change["members"])
        yield name, change, Tokenizer.from_str(json.dumps(value))


def apply_change(value, members):
    for key, member in members.items():
        if key.endswith("+"):
            value[key[:-1]] = value[key[:-1]] + member
        else:
            value[key] = member
    return value


def train_sentencepiece(text, out):
    """Name to processor; writes NAME.model."""
    import sentencepiece
    lines = [line for line in text.split("\n") if line.strip()]
    common = dict(vocab_size=1200, character_coverage=0.98, num_threads=1, minloglevel=2, max_sentence_length=100000,
                  hard_vocab_limit=False)
    plain = dict(common, model_type="bpe", normalization_rule_name="identity", remove_extra_whitespaces=False)
    kinds = {
        "sp_bpe": dict(plain, byte_fallback=True),
        "sp_bpe_unk": dict(plain, allow_whitespace_only_pieces=True),
        "sp_bpe_words": dict(plain, byte_fallback=True, user_defined_symbols=["[INST]", "->"]),
        "sp_unigram": dict(common, model_type="unigram", normalization_rule_name="nmt_nfkc"),
    }
    processors = {}
    for name, options in kinds.items():
        model = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(lines), model_writer=model, **options)
        (out / f"{name}.model").write_bytes(model.getvalue())
        processors[name] = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    return processors


def write_gguf(out):
    """The vocabularies of sp_bpe, smollm and llama3 as GGUF files without tensors."""
    import gguf
    import sentencepiece
    model = sentencepiece.SentencePieceProcessor(model_file=str(out / "sp_bpe.model"))
    writer = gguf.GGUFWriter(str(out / "sp_bpe.gguf"), "llama")
    ids = range(model.get_piece_size())
    writer.add_tokenizer_model("llama")
    writer.add_token_list([model.id_to_piece(i) for i in ids])
    writer.add_token_scores([model.get_score(i) for i in ids])
    writer.add_token_types([2 if model.is_unknown(i) else 3 if model.is_control(i) else 6 if model.is_byte(i) else 1 for i in ids])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    finish(writer)
    for name, pre in (("smollm", "smollm"), ("llama3", "llama-bpe"), ("qwen2", "qwen2"), ("gpt2", "gpt-2")):
        value = json.loads((out / f"{name}.tokenizer.json").read_text())
        tokens = sorted(value["model"]["vocab"], key=value["model"]["vocab"].get)
        special = {t["content"] for t in value["added_tokens"]}
        writer = gguf.GGUFWriter(str(out / f"{name}.gguf"), "llama")
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre(pre)
        writer.add_token_list(tokens)
        writer.add_token_types([3 if t in special else 1 for t in tokens])
        writer.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in value["model"]["merges"]])
        if pre == "llama-bpe":
            writer.add_bos_token_id(SPECIALS.index("<|begin_of_text|>"))
        writer.add_eos_token_id(SPECIALS.index("<|im_end|>"))
        finish(writer)


def finish(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
