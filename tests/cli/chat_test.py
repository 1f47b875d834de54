"""beacon chat with a script on standard input."""
import re
import signal
import unittest

from beacon_test_case import BeaconTestCase

METER = re.compile(r"\[(\d+) tokens read \| (\d+) beacons \| [\d.]+ [KMG]?i?B of memory \| (\d+) of (\d+) positions\]")
SHAPE = ["--window", 32, "--ratio", 4]


class ChatTest(BeaconTestCase):
    def chat(self, lines, *arguments, code=0):
        script = "".join(line + "\n" for line in lines).encode()
        return self.run_beacon("chat", "-m", self.model, "-n", 6, *SHAPE, *arguments, stdin=script, code=code)

    def meters(self, err):
        return [tuple(map(int, meter)) for meter in METER.findall(err)]

    def test_turns_add_up_in_memory(self):
        out, err = self.chat(["Hello", "And you?"], "--ignore-eos")
        meters = self.meters(err)
        self.assertEqual(len(meters), 2)
        first, second = meters
        # user turn, opening of the answer, six tokens of which the last is fed with the next turn
        opening = len("user\nHello") + len("assistant\n") + 2
        turn = opening + len("\n") + 2
        self.assertGreaterEqual(first[0], turn + 5)
        self.assertLessEqual(first[0], turn + 12)  # spaces that the tokenizer puts before words
        self.assertGreater(second[0], first[0])
        # Only the new ids are fed: the second turn is as long as its own text.
        self.assertLess(second[0] - first[0], len("user\nAnd you?assistant\n") + 2 * 6 + 12)
        self.assertEqual(second[1], second[0] // 32 * 8)
        self.assertEqual(second[3], 4096)
        self.assertEqual(out.count("\n") >= 2, True)

    def test_first_turn_equals_generate(self):
        out, _ = self.chat(["Hello"])
        answer = self.run_json("generate", "-m", self.model, "-n", 6, *SHAPE, "-p", "Hello")
        self.assertEqual(out, answer["text"] + "\n")

    def test_context_and_first_turn_equal_generate(self):
        context = self.file("context.txt", "The cat is on the mat. " * 6)
        out, err = self.chat(["Where is it?"], "--context", context, "--system", "Be brief.")
        answer = self.run_json("generate", "-m", self.model, "-n", 6, *SHAPE, "--context", context, "-p", "Where is it?",
                               "--system", "Be brief.")
        self.assertEqual(out, answer["text"] + "\n")
        self.assertEqual(self.meters(err)[-1][0], answer["ledger"]["tokens_read"])

    def test_save_and_load_equal_no_interruption(self):
        path = self.folder / "chat.beacon"
        whole, _ = self.chat(["Hello", "And you?"])
        first, _ = self.chat(["Hello", f"/save {path}"])
        second, _ = self.chat([f"/load {path}", "And you?"])
        if "eos" in self.run_json("generate", "-m", self.model, "-n", 6, *SHAPE, "-p", "Hello")["finish_reason"]:
            self.assertEqual(first + second, whole)
        else:
            self.assertTrue(whole.startswith(first))

    def test_reset_forgets(self):
        out, err = self.chat(["Hello", "/reset", "Hello"])
        answers = self.meters(err)
        self.assertEqual(answers[0], answers[1])
        self.assertIn("memory is empty", err)
        self.assertEqual(out[: len(out) // 2], out[len(out) // 2:])

    def test_commands(self):
        out, err = self.chat(["/help", "/memory", "", "   ", "/quit", "not read"])
        self.assertEqual(out, "")
        for word in ("/save", "/load", "/reset", "tokens read", "beacons"):
            self.assertIn(word, err)
        self.assertEqual(self.meters(err), [])

    def test_two_slashes_are_a_turn(self):
        _, err = self.chat(["//hello"])
        self.assertEqual(len(self.meters(err)), 1)

    def test_a_failed_line_leaves_the_conversation_as_it_was(self):
        out, err = self.chat(["Hello", "/load nowhere.beacon", "/unknown", "/save", "x" * 200000, "And you?"], code=1)
        for word in ("nowhere.beacon", "/unknown", "/save FILE"):
            self.assertIn(word, err)
        fine, fine_err = self.chat(["Hello", "And you?"])
        self.assertEqual(out, fine)
        self.assertEqual(self.meters(err), self.meters(fine_err))

    def test_interrupt_stops_the_answer_then_the_chat_goes_on(self):
        process = self.start("chat", "-m", self.model, "-n", 10**6, *SHAPE, "--ignore-eos", "--beyond-positions")
        process.stdin.write(b"Hello\n")
        process.stdin.flush()
        self.assertNotEqual(process.stdout.read(1), b"")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(b"/memory\n/quit\n", timeout=120)
        self.assertEqual(process.returncode, 0, err)
        self.assertIn(b"answer stopped", err)
        self.assertIn(b"tokens read", err.split(b"answer stopped")[1])

    def test_interrupt_at_the_prompt_leaves(self):
        # Several times: at once after the meter the program may not have begun to wait for a line.
        for _ in range(5):
            process = self.start("chat", "-m", self.model, "-n", 2, *SHAPE)
            process.stdin.write(b"Hello\n")
            process.stdin.flush()
            while b"tokens read" not in (line := process.stderr.readline()):
                self.assertNotEqual(line, b"")
            process.send_signal(signal.SIGINT)
            process.wait(timeout=60)
            self.assertEqual(process.returncode, 130)
            process.communicate()

    def test_interrupt_within_a_line_leaves(self):
        process = self.start("chat", "-m", self.model, "-n", 2, *SHAPE)
        process.stdin.write(b"Hello\n")
        process.stdin.flush()
        while b"tokens read" not in (line := process.stderr.readline()):
            self.assertNotEqual(line, b"")
        process.stdin.write(b"half a line")
        process.stdin.flush()
        process.send_signal(signal.SIGINT)
        process.wait(timeout=60)
        self.assertEqual(process.returncode, 130)
        process.communicate()

    def test_end_of_input_after_nothing(self):
        out, _ = self.chat([])
        self.assertEqual(out, "")


if __name__ == "__main__":
    unittest.main()
