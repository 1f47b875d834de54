"""beacon tokenize, bench, convert, parity."""
import json
import os
import shutil
import struct
import unittest

from beacon_test_case import SOURCE, BeaconTestCase, environment

GOLDEN = SOURCE / "tests/data/golden"


def read_safetensors(path):
    data = path.read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8: 8 + size])
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        tensors[name] = (entry["dtype"], tuple(entry["shape"]), data[8 + size + begin: 8 + size + end])
    return tensors


class ToolsTest(BeaconTestCase):
    def test_tokenize_there_and_back(self):
        text = "Two words,\nand \u00e9\u4e2d\U0001f600."
        ids = self.run_json("tokenize", "-m", self.model, stdin=text.encode())["ids"]
        self.assertEqual(ids[0], 1)
        plain, _ = self.run_beacon("tokenize", "-m", self.model, "--no-special", self.file("text", text))
        self.assertEqual([int(word) for word in plain.split()], ids[1:])
        for form in (json.dumps({"ids": ids}), json.dumps(ids), " ".join(map(str, ids))):
            back, _ = self.run_beacon("tokenize", "-m", self.model, "--decode", "--skip-special", stdin=form.encode())
            self.assertEqual(back.lstrip(" "), text)
        as_json = self.run_json("tokenize", "-m", self.model, "--decode", stdin=json.dumps(ids).encode())
        self.assertTrue(as_json["text"].endswith(text))

    def test_special_tokens_only_when_allowed(self):
        written = self.run_json("tokenize", "-m", self.model, stdin=b"<|im_end|>")["ids"]
        parsed = self.run_json("tokenize", "-m", self.model, "--parse-special", stdin=b"<|im_end|>")["ids"]
        self.assertGreater(len(written), len("<|im_end|>"))
        self.assertLessEqual(len(parsed), 3)

    def bench(self, which, *arguments):
        out, _ = self.run_beacon("bench", which, "-m", self.model, "--window", 32, "--ratio", 4, "--runs", 3, "--json",
                                 *arguments)
        return [json.loads(line) for line in out.splitlines()]

    def test_bench_prefill(self):
        lines = self.bench("prefill", "--length", "64,100")
        self.assertEqual([line["length"] for line in lines], [64, 100])
        for line in lines:
            self.assertEqual(line["runs"], 3)
            self.assertLessEqual(line["tok_s_min"], line["tok_s"])
            self.assertLessEqual(line["tok_s"], line["tok_s_max"])
            self.assertGreater(line["tok_s_min"], 0)
            for key in ("threads", "isa", "compute", "weight_bytes"):
                self.assertTrue(line[key], key)
        self.assertEqual(lines[0]["memory_rows"], 16)
        # Two layers of f32 or bf16 keys and values, 16 numbers a row.
        self.assertIn(lines[0]["bytes"], (16 * 2 * 2 * 16 * 4, 16 * 2 * 2 * 16 * 2))

    def test_bench_counts_operations(self):
        # One window of 8 rows at ratio 0: no beacons, so 8 rows and 8 * 9 / 2 pairs of row and key.
        out, _ = self.run_beacon("bench", "prefill", "-m", self.model, "--length", 8, "--window", 16, "--ratio", 0,
                                 "--runs", 1, "--json")
        matrices = 2 * (2 * 32 * 32 + 2 * 32 * 16 + 3 * 32 * 64)  # two layers: q and o, k and v, gate, up and down
        norms = 2 * 2 * 32 + 32
        head = 32 * (3 + 256 + 95 + 2)  # untied: counted although only the last row meets it
        expected = 2 * (matrices + norms + head) * 8 + 4 * 2 * 2 * 16 * 36
        self.assertEqual(json.loads(out)["flops"], expected)

    def test_bench_decode(self):
        line = self.bench("decode", "--length", 64, "--decode-tokens", 4)[0]
        self.assertEqual(line["decode_tokens"], 4)
        self.assertEqual(line["memory_rows"], 16)
        self.assertEqual(line["bytes"], line["weight_bytes"] + line["memory_bytes"])
        self.assertGreater(line["tok_s_min"], 0)

    def test_bench_shows_the_share_of_known_ceilings(self):
        cache = self.folder / "cache"
        env = environment(XDG_CACHE_HOME=str(cache))
        machine = self.run_json("bench", "machine", env=env)
        kept = json.loads((cache / "beacon" / "machine.json").read_text())
        for key in ("cpu", "isa", "threads", "read_bytes_per_s", "f32_flops_per_s", "bf16_flops_per_s"):
            self.assertEqual(kept[key], machine[key], key)
        self.assertGreater(machine["read_bytes_per_s"], 1e8)
        self.assertGreater(machine["f32_flops_per_s"], 1e8)
        kept.update(read_bytes_per_s=1e12, f32_flops_per_s=2e12)
        (cache / "beacon" / "machine.json").write_text(json.dumps(kept))

        def bench(which):
            return self.run_json("bench", which, "-m", self.model, "--length", 64, "--ratio", 4, "--window", 32,
                                 "--runs", 1, "--compute", "f32", env=env)

        decode = bench("decode")
        self.assertAlmostEqual(decode["share"] * 1e12 / (decode["bytes"] * decode["tok_s"]), 1, 6)
        prefill = bench("prefill")
        self.assertAlmostEqual(prefill["share"] * 2e12 / (prefill["flops"] * prefill["tok_s"] / 64), 1, 6)
        # Of another number of threads, or damaged: measured again.
        for text in (json.dumps({**kept, "threads": kept["threads"] + 1}), "{"):
            (cache / "beacon" / "machine.json").write_text(text)
            bench("decode")
            again = json.loads((cache / "beacon" / "machine.json").read_text())
            self.assertEqual(again["threads"], machine["threads"])
            self.assertNotEqual(again["f32_flops_per_s"], 2e12)

    def test_convert_split_and_merge_is_the_same_bit_for_bit(self):
        source = GOLDEN / "llama_main_r4_w32"
        merged = self.folder / "merged"
        merged.mkdir()
        for name in ("config.json", "model.safetensors"):
            shutil.copy(source / name, merged / name)
        base, adapter, again = (self.folder / name for name in ("base", "adapter", "again"))
        out, _ = self.run_beacon("convert", "split", merged, "--base", base, "--adapter", adapter)
        self.assertEqual(out.split(), [str(base), str(adapter)])
        self.assertFalse([name for name in read_safetensors(base / "model.safetensors") if "beacon" in name])
        self.assertIn("beacon_config.json", os.listdir(adapter))
        self.run_beacon("convert", "merge", "--base", base, "--adapter", adapter, "-o", again)
        self.assertEqual(read_safetensors(again / "model.safetensors"), read_safetensors(merged / "model.safetensors"))
        self.assertEqual(json.loads((again / "config.json").read_text()), json.loads((merged / "config.json").read_text()))
        self.assert_error(["convert", "split", base, "--base", self.folder / "x", "--adapter", self.folder / "y"], 2)

    def test_convert_gguf(self):
        out = self.folder / "converted"
        self.run_beacon("convert", "gguf-to-safetensors", self.model, "-o", out, "--dtype", "f32")
        tensors = read_safetensors(out / "model.safetensors")
        dtype, shape, data = tensors["model.embed_tokens.weight"]
        self.assertEqual((dtype, shape), ("F32", (356, 32)))
        # Not permuted, so the same bytes as in the file.
        self.assertIn(data, (self.folder / "tiny.gguf").read_bytes())
        config = json.loads((out / "config.json").read_text())
        self.assertEqual((config["hidden_size"], config["num_hidden_layers"]), (32, 2))

    def test_parity(self):
        out, err = self.run_beacon("parity", GOLDEN / "llama_main_r4_w32", GOLDEN / "append_full_r4", "--json")
        lines = [json.loads(line) for line in out.splitlines()]
        self.assertEqual({line["case"] for line in lines}, {"llama_main_r4_w32", "append_full_r4"})
        self.assertIn("logits", {line["section"] for line in lines})
        passed = [line for line in lines if line["status"] == "pass"]
        self.assertGreater(len(passed), 6)
        for line in passed:
            self.assertLessEqual(line["max_abs_diff"], line["tolerance"])
            self.assertLessEqual(line["tolerance"], 1e-4)
        self.assertNotIn("fail", {line["status"].lower() for line in lines})
        self.assertIn("0 fail", err)

    def test_parity_fails_when_the_numbers_are_off(self):
        case = self.folder / "off"
        shutil.copytree(GOLDEN / "append_full_r4", case)
        path = case / "model.safetensors"
        data = bytearray(path.read_bytes())
        data[-4:] = struct.pack("<f", 100.0)
        path.write_bytes(data)
        out, _ = self.run_beacon("parity", case, code=1)
        self.assertIn("FAIL", out)

    def test_parity_of_nothing(self):
        self.assert_error(["parity", self.folder / "nothing"], 1, "nothing")


if __name__ == "__main__":
    unittest.main()
