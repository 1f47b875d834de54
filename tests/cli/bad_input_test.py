"""What people get wrong: each gets one line, the right exit code, and nothing is half done."""
import os
import struct
import unittest

import tiny_model
from beacon_test_case import BeaconTestCase


class BadInputTest(BeaconTestCase):
    def refused(self, *arguments, code, words=(), **options):
        return self.assert_error(["generate", "-m", self.model, "-n", 2, *arguments], code, *words, **options)

    def test_prompts_without_text(self):
        self.refused(code=2, words=["-p"])
        self.refused("-p", "", code=2)
        self.refused("-p", "-", code=2, stdin=b"")
        self.refused("--prompt-file", self.file("empty.txt", ""), code=2)
        self.refused("--context", self.file("empty2.txt", ""), "-p", "x", code=2, words=["empty2.txt"])
        self.refused("-p", "</s><s>", "--parse-special", code=2, words=["special"])
        self.refused("-p", "-", "--context", "-", code=2, words=["standard input"], stdin=b"x")

    def test_options_out_of_range(self):
        for arguments in (["--window", 0], ["--window", -5], ["--window", 8, "--stride", 16], ["--stride", 0],
                          ["--window", 8, "--ratio", 16], ["--window", 30, "--ratio", "4,8"], ["--sink", -1],
                          ["--ratio-mix", "nonsense"], ["--ratio-mix", "adapt-x"], ["--placement", "nowhere"],
                          ["--attention", "nothing"], ["--parallel", 0], ["--skip-first", -2],
                          ["--temperature", -1], ["--top-p", 2], ["--top-k", -1], ["--min-p", -0.5],
                          ["--repetition-penalty", 0], ["--max-new-tokens", 0], ["--threads", -1],
                          ["--rope-scaling", "sideways"], ["--rope-factor", -2], ["--rope-theta", 0],
                          ["--rope-theta", "1e-300"], ["--rope-theta", "inf"], ["--seed", -1], ["--seed", 2**64],
                          ["--temperature", "nan"], ["--top-p", "nan"], ["--chat-template", "unknown"],
                          ["--compute", "f8"], ["--memory-type", "f8"]):
            with self.subTest(arguments=arguments):
                self.refused("-p", "a few words to read", *arguments, code=2)

    def test_ratios_that_are_no_ratios(self):
        for ratio in ("", "x", "2,", ",2", "2;4", "-1", "1.5", "99999999999999999999"):
            with self.subTest(ratio=ratio):
                self.refused("-p", "x", "--ratio", ratio, code=2)

    def test_a_single_ratio_need_not_divide_the_stride(self):
        out, _ = self.run_beacon("generate", "-m", self.model, "-p", "word " * 30, "-n", 2, "--window", 32, "--ratio", 3)
        self.assertNotEqual(out, "")

    def test_a_text_beyond_the_capacity_names_a_ratio(self):
        # About 10,030 tokens: ratio a holds (4096 - 64) a + 64 of them, and 4 divides the stride.
        line = self.refused("-p", "word " * 2000, "--window", 64, "--ratio", 2, code=1, words=["4096"])
        self.assertRegex(line, r"ratio 4 or more")
        self.refused("-p", "word " * 2000, "--no-beacons", code=1,
                     words=["4096", "with beacons at ratio 4 or more"])

    def test_files_that_are_not_there(self):
        self.refused("-p", "x", "--context", self.folder / "nowhere.txt", code=1, words=["nowhere.txt"])
        self.refused("-p", "x", "--context", self.folder, code=1, words=["folder"])
        self.refused("-p", "x", "--context", self.file("a.pdf", b"%PDF\x00\x01"), code=1, words=["a.pdf", "after 4 bytes"])
        self.refused("-p", "x", "--context", "-", code=1, words=["standard input"], stdin="wide".encode("utf-16"))
        self.refused("-p", "x", "--memory", self.folder / "nowhere.beacon", code=1, words=["nowhere.beacon"])
        self.refused("-p", "x", "--adapter", self.folder / "nowhere", code=1, words=["nowhere"])
        self.assert_error(["generate", "-m", self.folder / "nowhere.gguf", "-p", "x"], 1, "nowhere.gguf")

    def test_broken_models(self):
        good = (self.folder / "tiny.gguf").read_bytes()
        broken = {
            "empty": b"",
            "text": b"this is no model" * 10,
            "magic": b"GGUX" + good[4:],
            "version": good[:4] + struct.pack("<I", 99) + good[8:],
            "tensors": good[:8] + struct.pack("<Q", 2**62) + good[16:],
            "entries": good[:16] + struct.pack("<Q", 2**63) + good[24:],
            "half": good[: len(good) // 2],
            "header": good[:40],
        }
        for name, content in broken.items():
            with self.subTest(name):
                path = self.file(name + ".gguf", content)
                self.assert_error(["generate", "-m", path, "-p", "x"], 1, name + ".gguf")
                self.assert_error(["tokenize", "-m", path], 1, stdin=b"x")

    def test_folders_that_are_no_models(self):
        empty = self.folder / "empty_folder"
        empty.mkdir()
        self.assert_error(["generate", "-m", empty, "-p", "x"], 1, "model.safetensors")

    def test_a_model_of_nan(self):
        broken = tiny_model.write(self.folder / "nan.gguf", scale=float("nan"))
        self.assert_error(["generate", "-m", broken, "-p", "x"], 1, "nan", "broken")

    def test_files_that_cannot_be_written_are_refused_before_reading(self):
        device = self.folder / "pipe"
        os.mkfifo(device)
        for target, word in ((self.folder, "folder"), (device, "device"), (self.folder / "nowhere" / "m", "nowhere")):
            with self.subTest(target=target):
                # The context is not there either: that the target is named shows that it was looked at first.
                self.assert_error(["memory", "build", "-m", self.model, "--context", "nowhere.txt", "-o", target], 1, word)
                self.assert_error(["generate", "-m", self.model, "--context", "nowhere.txt", "-p", "x",
                                   "--save-memory", target], 1, word)
        self.assertTrue(device.is_fifo())

    def test_unknown_commands_are_named(self):
        self.assert_error(["nonsense"], 2, "'nonsense'", "generate")
        self.assert_error(["memory", "nonsense"], 2, "'nonsense'", "build")

    def test_whole_numbers_are_asked_for_in_words(self):
        self.assert_error(["bench", "prefill", "-m", self.model, "--length", "1,x"], 2, "whole number", "'x'")
        self.refused("-p", "x", "--max-new-tokens", "2.5", code=2, words=["whole number", "'2.5'"])

    def test_token_ids(self):
        for ids in ("1 2 x", '{"ids": [1.5]}', '{"ids": ["a"]}', "-4", '{"ids": [-1]}', "99999999", "1e99"):
            with self.subTest(ids=ids):
                self.assert_error(["tokenize", "-m", self.model, "--decode"], 2, stdin=ids.encode())

    def test_a_model_without_a_template(self):
        plain = tiny_model.write(self.folder / "plain.gguf", chat_template=None)
        answer = self.run_json("generate", "-m", plain, "-p", "x", "-n", 2)
        self.assertEqual(answer["chat_template"], "none")
        strange = tiny_model.write(self.folder / "strange.gguf", chat_template="{{ messages | something_new }}")
        self.assertEqual(self.run_json("generate", "-m", strange, "-p", "x", "-n", 2)["chat_template"], "none")

    def test_json_errors_are_text_on_stderr(self):
        self.refused("-p", "x", "--json", "--window", 0, code=2)


if __name__ == "__main__":
    unittest.main()
