"""beacon memory build, info, verify, join, cut, and asking a file."""
import json
import os
import subprocess
import unittest

import tiny_model
from beacon_test_case import PROGRAM, BeaconTestCase, environment

SHAPE = ["--window", 32, "--ratio", 4]
TEXT = "The quick brown fox jumps over the lazy dog. " * 5


class MemoryTest(BeaconTestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        (cls.folder / "text.txt").write_text(TEXT)
        cls.memory = cls.folder / "text.beacon"
        subprocess.run([PROGRAM, "memory", "build", "-m", cls.model, "--context", cls.folder / "text.txt", "-o", cls.memory,
                        "--title", "The fox", *map(str, SHAPE)], check=True, capture_output=True)

    def test_build_reports_what_was_read(self):
        path = self.folder / "built.beacon"
        built = self.run_json("memory", "build", "-m", self.model, "--context", "-", "-o", path, *SHAPE,
                              stdin=TEXT.encode())
        tokens = len(self.run_json("tokenize", "-m", self.model, self.folder / "text.txt")["ids"])
        self.assertEqual(built["ledger"]["tokens_read"], tokens)
        self.assertEqual(built["ledger"]["beacon_rows"], tokens // 32 * 8)
        self.assertEqual(built["file_bytes"], path.stat().st_size)
        self.assertTrue(built["complete"])

    def test_info(self):
        info = self.run_json("memory", "info", self.memory)
        self.assertEqual(info["title"], "The fox")
        self.assertEqual((info["layers"], info["kv_heads"], info["head_dim"]), (2, 1, 16))
        self.assertEqual(info["file_bytes"], self.memory.stat().st_size)
        self.assertIsInstance(info["options"], dict)
        text, _ = self.run_beacon("memory", "info", self.memory)
        self.assertIn("The fox", text)
        self.assertIn(info["source_hash"], text)

    def test_verify(self):
        self.assertEqual(self.run_json("memory", "verify", self.memory)["fits_model"], None)
        self.assertTrue(self.run_json("memory", "verify", self.memory, "-m", self.model)["fits_model"])

    def test_verify_finds_damage(self):
        good = self.memory.read_bytes()
        for name, bad in (("flipped", good[:-9] + bytes([good[-9] ^ 1]) + good[-8:]), ("short", good[: len(good) // 2]),
                          ("empty", b""), ("text", b"hello, this is no memory file")):
            with self.subTest(name):
                path = self.file(name + ".beacon", bad)
                self.assert_error(["memory", "verify", path], 1, name + ".beacon")

    def test_another_model_is_refused(self):
        other = tiny_model.write(self.folder / "other.gguf", seed=2)
        self.assert_error(["memory", "verify", self.memory, "-m", other], 1)
        self.assert_error(["generate", "--memory", self.memory, "-m", other, "-p", "x"], 1)

    def test_asking_a_file_equals_reading_and_asking(self):
        # With plain text the question follows after an empty line, whether the text comes from a file or not.
        asked = self.run_json("generate", "-m", self.model, "--memory", self.memory, "-p", "Who jumps?", "-n", 5,
                              "--chat-template", "none")
        self.assertEqual(asked["ledger"]["ratios"], [4] * (asked["ledger"]["tokens_read"] // 32))
        again = self.run_json("generate", "-m", self.model, "--memory", self.memory, "-p", "Who jumps?", "-n", 5,
                              "--chat-template", "none")
        self.assertEqual(asked["ids"], again["ids"])

    def test_join_adds_beacons(self):
        out = self.folder / "joined.beacon"
        one = self.run_json("memory", "info", self.memory)["ledger"]
        joined = self.run_json("memory", "join", "-m", self.model, self.memory, self.memory, "-o", out)["ledger"]
        self.assertEqual(joined["tokens_read"], 2 * one["tokens_read"])
        self.assertGreaterEqual(joined["beacon_rows"], 2 * one["beacon_rows"])
        self.run_beacon("memory", "verify", out, "-m", self.model)

    def test_join_beyond_the_positions_is_refused(self):
        out = self.folder / "too_much.beacon"
        self.assert_error(["memory", "join", "-m", self.model, *[self.memory] * 80, "-o", out], 1, "4096")
        self.assertFalse(out.exists())

    def test_cut_keeps_the_blocks_it_touches(self):
        out = self.folder / "cut.beacon"
        cut = self.run_json("memory", "cut", "-m", self.model, self.memory, "--from", 40, "--to", 70, "-o", out)["ledger"]
        # Tokens 40 to 69 touch the blocks 32..63 and 64..95.
        self.assertEqual(cut["beacon_rows"], 16)
        self.assertEqual(cut["raw_rows"], 0)
        self.assertEqual(self.run_json("memory", "info", out)["title"], "The fox")

    def test_cut_out_of_range_is_refused(self):
        for begin, end in ((50, 40), (-1, 40), (0, 0)):
            with self.subTest(begin=begin, end=end):
                self.assert_error(["memory", "cut", "-m", self.model, self.memory, "--from", begin, "--to", end,
                                   "-o", self.folder / "bad.beacon"], 2)

    def test_a_full_disk_keeps_the_old_file(self):
        """A limit on file sizes stands for the full disk: the system refuses to write on."""
        old = b"what was there before"
        target = self.folder / "kept.beacon"
        target.write_bytes(old)
        command = f'trap "" XFSZ; ulimit -f 8; exec "{PROGRAM}" memory build -m "{self.model}" --context ' \
                  f'"{self.folder / "text.txt"}" -o "{target}" --window 32 --ratio 4'
        done = subprocess.run(["bash", "-c", command], capture_output=True, env=environment(), timeout=120)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertRegex(done.stderr.decode().splitlines()[-1], r"^beacon: .*kept\.beacon")
        self.assertEqual(target.read_bytes(), old)
        self.assertEqual([name for name in os.listdir(self.folder) if "kept.beacon" in name], ["kept.beacon"])

    def test_a_full_disk_keeps_the_answer(self):
        command = f'trap "" XFSZ; ulimit -f 8; exec "{PROGRAM}" generate -m "{self.model}" --context ' \
                  f'"{self.folder / "text.txt"}" -p x -n 3 --json --save-memory "{self.folder / "lost.beacon"}"'
        done = subprocess.run(["bash", "-c", command], capture_output=True, env=environment(), timeout=120)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertEqual(len(json.loads(done.stdout)["ids"]), 3)
        self.assertFalse((self.folder / "lost.beacon").exists())


if __name__ == "__main__":
    unittest.main()
