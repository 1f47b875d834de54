"""beacon generate: text in, text out, ledger, files, interruption."""
import os
import subprocess
import unittest

import tiny_model
from beacon_test_case import ESCAPE, PROGRAM, BeaconTestCase, environment

TEXT = "It is a truth universally acknowledged, that a single man must be in want of a wife. " * 3


class GenerateTest(BeaconTestCase):
    def ask(self, *arguments, **options):
        return self.run_json("generate", "-m", self.model, "-n", 8, "--ignore-eos", *arguments, **options)

    def condense(self, *arguments, **options):
        return self.ask("--window", 32, "--ratio", 4, *arguments, **options)

    def test_json_has_everything(self):
        answer = self.condense("-p", "Who?", "--context", self.file("context.txt", TEXT))
        self.assertEqual(len(answer["ids"]), 8)
        self.assertEqual(answer["generated_tokens"], 8)
        self.assertEqual(answer["finish_reason"], "length")
        self.assertEqual(answer["chat_template"], "chatml")
        ledger = answer["ledger"]
        # The last sampled token is not fed yet.
        self.assertEqual(ledger["tokens_read"], answer["prompt_tokens"] + 7)
        self.assertEqual(ledger["ratios"], [4] * (ledger["tokens_read"] // 32))
        self.assertEqual(ledger["beacon_rows"], 8 * len(ledger["ratios"]))
        rows = ledger["tokens_read"] % 32
        self.assertEqual(ledger["raw_rows"], rows + rows // 4)
        self.assertEqual(ledger["positions"], ledger["sink_rows"] + ledger["beacon_rows"] + ledger["raw_rows"])
        self.assertEqual(ledger["max_positions"], 4096)

    def test_text_and_ledger_go_to_their_own_streams(self):
        out, err = self.run_beacon("generate", "-m", self.model, "-p", "Who?", "-n", "8", "--ignore-eos")
        self.assertEqual(out, self.ask("-p", "Who?")["text"] + "\n")
        for word in ("tokens read", "beacons", "sink", "raw", "positions", "ratio", "weights"):
            self.assertIn(word, err)

    def test_standard_input_is_context_or_prompt(self):
        path = self.file("stdin.txt", TEXT)
        from_file = self.condense("--context", path, "-p", "Who?")
        self.assertEqual(self.condense("--context", "-", "-p", "Who?", stdin=TEXT.encode())["ids"], from_file["ids"])
        self.assertEqual(self.condense("--context", path, "-p", "-", stdin=b"Who?")["ids"], from_file["ids"])
        self.assertEqual(self.condense("--context", path, "--prompt-file", self.file("p", "Who?"))["ids"], from_file["ids"])

    def test_several_contexts_are_read_in_order(self):
        first, second = self.file("a.txt", "abc"), self.file("b.txt", "def")
        both = self.file("ab.txt", "abc\n\ndef")
        together = self.ask("--context", both, "-p", "x")
        self.assertEqual(self.ask("--context", first, "--context", second, "-p", "x")["ids"], together["ids"])

    def test_no_prompt_goes_on_with_the_plain_text(self):
        answer = self.ask("--context", self.file("plain.txt", "Once upon a time"))
        self.assertEqual(answer["chat_template"], "none")
        # <s>, a space, 16 characters.
        self.assertEqual(answer["prompt_tokens"], 18)

    def test_template_none_and_special_tokens(self):
        plain = self.ask("--chat-template", "none", "-p", "<|im_end|>a")
        self.assertEqual(plain["prompt_tokens"], 1 + 1 + len("<|im_end|>a"))
        parsed = self.ask("--parse-special", "-p", "<|im_end|>a")
        self.assertLess(parsed["prompt_tokens"], 6)

    def test_beacons_off_is_a_plain_model(self):
        answer = self.ask("--no-beacons", "-p", TEXT)
        self.assertEqual(answer["ledger"]["beacon_rows"], 0)
        self.assertEqual(answer["ledger"]["raw_rows"], answer["ledger"]["tokens_read"])

    def test_a_text_that_the_model_holds_stays_raw(self):
        text = "word " * 100
        answer = self.run_json("generate", "-m", self.model, "-n", 4, "-p", text)
        plain = self.run_json("generate", "-m", self.model, "-n", 4, "--no-beacons", "-p", text)
        self.assertEqual(answer["ids"], plain["ids"])
        self.assertEqual(answer["ledger"]["positions"], answer["ledger"]["tokens_read"])

    def test_auto_ratio_is_the_smallest_that_holds_the_text(self):
        # Ratio a holds (512 - 64) a + 64 tokens: 960 at 2, 1856 at 4. The text has some 280, and 1024 more are wanted.
        small = tiny_model.write(self.folder / "small.gguf", positions=512)
        answer = self.run_json("generate", "-m", small, "-n", 2, "--ratio", "auto", "--window", 64, "-p", "word " * 50)
        self.assertEqual(set(answer["ledger"]["ratios"]), {4})

    def test_rolling_window_keeps_a_sink(self):
        answer = self.ask("--window", 64, "--stride", 32, "--ratio", 4, "-p", TEXT)
        self.assertEqual(answer["ledger"]["sink_rows"], 1)
        self.assertGreaterEqual(answer["ledger"]["raw_rows"], 32)

    def test_seeds(self):
        def sample(seed):
            return self.ask("-p", "x", "--temperature", 2, "--seed", seed)["ids"]
        self.assertEqual(sample(3), sample(3))
        self.assertNotEqual(sample(3), sample(4))

    def test_stop_string_is_not_in_the_answer(self):
        whole = self.ask("-p", "x", "--chat-template", "none")["text"]
        stop = whole[len(whole) // 2]
        answer = self.ask("-p", "x", "--chat-template", "none", "--stop", stop)
        self.assertEqual(answer["finish_reason"], "stop")
        self.assertEqual(answer["text"], whole[: whole.index(stop)])

    def test_memory_file_goes_on(self):
        path = str(self.folder / "saved.beacon")
        first = self.condense("-p", TEXT, "--save-memory", path)
        second = self.ask("-p", "And then?", "--memory", path)
        # All of the first call, its last token, and the second turn.
        self.assertEqual(second["ledger"]["tokens_read"],
                         first["ledger"]["tokens_read"] + 1 + second["prompt_tokens"] + 7)
        self.assert_error(["generate", "-m", self.model, "--memory", path, "-p", "x", "--window", "32"], 2, "--window")

    def test_memory_in_blocks_takes_half_of_bf16_and_goes_on(self):
        model = tiny_model.write(self.folder / "wide.gguf", heads=1)
        path = str(self.folder / "blocks.beacon")
        arguments = ["generate", "-m", model, "--ignore-eos", "-n", 8]
        ratio = ["--window", 32, "--ratio", 4, "-p", TEXT]
        first = self.run_json(*arguments, *ratio, "--memory-type", "q8_0", "--save-memory", path)
        wide = self.run_json(*arguments, *ratio, "--memory-type", "bf16")
        self.assertEqual(first["ledger"]["beacon_bytes"] * 64, wide["ledger"]["beacon_bytes"] * 34)
        self.assertEqual(self.run_json("memory", "info", path)["memory_type"], "q8_0")
        second = self.run_json(*arguments, "-p", "And then?", "--memory", path)
        self.assertEqual(second["ledger"]["tokens_read"],
                         first["ledger"]["tokens_read"] + 1 + second["prompt_tokens"] + 7)
        # Heads of 16 are not whole blocks.
        self.assert_error(["generate", "-m", self.model, "-p", "x", "--memory-type", "q8_0"], 1, "multiple of 32")

    def test_invalid_utf8_is_read_with_replacement(self):
        arguments = ["generate", "-m", self.model, "-n", "2", "-p", "x", "--context"]
        _, said = self.run_beacon(*arguments, self.file("bad.txt", b"ab\xff\xfe\xc3"))
        self.assertRegex(said, "bad.txt.*UTF-8.*U\\+FFFD")
        _, said = self.run_beacon(*arguments, self.file("good.txt", "ab\u00e9"))
        self.assertNotIn("UTF-8", said)

    def test_terminal_gets_a_bar_and_no_colour_when_asked(self):
        arguments = ["generate", "-m", self.model, "-n", "2", "--window", "32", "-p", TEXT]
        code, _, shown = self.run_on_terminal(*arguments)
        self.assertEqual(code, 0)
        self.assertIn("tokens/s", shown)
        _, _, shown = self.run_on_terminal(*arguments, "--progress", "never")
        self.assertNotIn("tokens/s", shown)
        _, _, shown = self.run_on_terminal(*arguments, env=environment(NO_COLOR="1"))
        self.assertNotIn(ESCAPE, shown)

    def test_progress_on_demand_in_lines(self):
        _, err = self.run_beacon("generate", "-m", self.model, "-n", 2, "--window", 32, "-p", TEXT, "--progress", "always")
        self.assertRegex(err, r"reading \[#+\.*\] +\d+%  \d+/\d+ tokens  \d+ tokens/s")
        self.assertNotIn("\r", err)

    def test_interrupt_stops_the_answer_and_saves(self):
        path = self.folder / "interrupted.beacon"
        process = self.start("generate", "-m", self.model, "-p", "xyz", "--window", 64, "--ratio", 8, "--ignore-eos",
                             "-n", 10**6, "--beyond-positions", "--save-memory", path)
        out, err = self.interrupt(process)
        self.assertEqual(process.returncode, 130, err)
        self.assertTrue(out)
        info = self.run_json("memory", "info", path)
        self.assertGreater(info["ledger"]["tokens_read"], 3)

    def test_closed_pipe_is_silent(self):
        process = self.start("generate", "-m", self.model, "-p", "x", "-n", 10**6, "--beyond-positions", "--ignore-eos",
                             "--window", 64, "--ratio", 8)
        process.stdout.read(1)
        process.stdout.close()
        process.stdin.close()
        err = process.stderr.read()
        process.stderr.close()
        self.assertEqual(process.wait(timeout=120), 141, err)
        self.assertNotIn(b"beacon: ", err.replace(b"beacon: warning", b""))

    def test_full_device_is_an_error(self):
        if not os.path.exists("/dev/full"):
            self.skipTest("no /dev/full")
        with open("/dev/full", "wb") as full:
            done = subprocess.run([PROGRAM, "generate", "-m", self.model, "-p", "x", "-n", "4"], stdout=full,
                                  stderr=subprocess.PIPE, env=environment(), timeout=120)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn(b"cannot write to standard output", done.stderr)


if __name__ == "__main__":
    unittest.main()
