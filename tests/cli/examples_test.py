"""The examples do what their first lines say. BEACON_EXAMPLES names the folder of the programs."""
import json
import os
import pathlib
import subprocess
import unittest

import tiny_model
from beacon_test_case import PROGRAM, SOURCE, BeaconTestCase, environment

EXAMPLES = pathlib.Path(os.environ["BEACON_EXAMPLES"])
CONTEXT = "A story about a fox and a dog. " * 100 + "Question: who? Answer:"


class ExamplesTest(BeaconTestCase):
    def run_example(self, *arguments, code=0):
        done = subprocess.run([*map(str, arguments)], capture_output=True, env=environment(), timeout=300)
        self.assertEqual(done.returncode, code, done.stderr)
        return done.stdout.decode("utf-8")

    def long_model(self):
        return tiny_model.write(self.folder / "long.gguf", positions=2048)

    def test_two_calls(self):
        story = self.file("story.json", json.dumps({"context": CONTEXT, "answer": ["the fox"]}))
        out = self.run_example(EXAMPLES / "two_calls", self.long_model(), story)
        self.assertIn("Input Length: 25\n", out)
        self.assertIn(f"Input Length: {len(CONTEXT) + 2}\n", out)
        self.assertIn('Answer:       ["the fox"]', out)
        self.assertRegex(out, r"Memory:       [1-9]\d* beacons")
        self.assertIn("usage", subprocess.run([EXAMPLES / "two_calls"], capture_output=True).stderr.decode())
        self.run_example(EXAMPLES / "two_calls", self.model, self.file("broken.json", "{"), code=1)

    def test_two_calls_in_the_shell_predict_the_same(self):
        model = self.long_model()
        story = self.file("story.json", json.dumps({"context": CONTEXT, "answer": "the fox"}))
        out = self.run_example(EXAMPLES / "two_calls", model, story)
        shell = self.run_example(SOURCE / "examples/two_calls/two_calls.sh", model, story, PROGRAM)
        first = out.split("Output:       ")[1].split("\n****")[0]
        second = out.split("Prediction:   ")[1].split("\nMemory:")[0]
        self.assertEqual(shell, f"{first}\n{second}\n")

    def test_read_and_ask_answers_each_question_from_the_same_memory(self):
        text = self.file("text.txt", CONTEXT)
        out = self.run_example(EXAMPLES / "read_and_ask", self.long_model(), text, "Who?", "Where?", "Who?")
        answers = [block.split("\n", 1)[1] for block in out.split("Who?")[1:]]
        self.assertEqual(answers[0].split("\nWhere?")[0].strip(), answers[1].strip())

    def test_questions_asked_together_get_the_answers_they_get_alone(self):
        text, model = self.file("text.txt", CONTEXT), self.long_model()
        questions = ["Who?", "Where was it, and when?", "Why?"]
        together = self.run_example(EXAMPLES / "ask_together", model, text, *questions)
        self.assertEqual(together, self.run_example(EXAMPLES / "read_and_ask", model, text, *questions))
        self.assertNotEqual(together.split("Where")[0].strip(), "Who?")


if __name__ == "__main__":
    unittest.main()
