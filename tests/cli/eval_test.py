"""beacon eval perplexity and passkey."""
import json
import random
import unittest

from beacon_test_case import BeaconTestCase

WINDOWS = ["--window", 32, "--stride", 16, "--sink", 1, "--ratio", 4]


def letters(count, seed):
    generator = random.Random(seed)
    return "".join(generator.choice("abcdefgh .") for _ in range(count))


class EvalTest(BeaconTestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        texts = cls.folder / "texts"
        texts.mkdir()
        for name, count in (("one.txt", 500), ("two.txt", 300), ("tiny.txt", 5)):
            (texts / name).write_text(letters(count, name))
        cls.texts = texts

    def perplexity(self, mode, *more):
        out, err = self.run_beacon("eval", "perplexity", "-m", self.model, "--data", self.texts, "--from", 40, "--to", 200,
                                   "--mode", mode, "--json", "--compute", "f32", *WINDOWS, *more)
        return json.loads(out.splitlines()[-1]), err

    def test_perplexity_report(self):
        report, err = self.perplexity("beacon")
        for key in ("task", "metric", "value", "n", "ci95", "options", "fingerprints"):
            self.assertIn(key, report)
        self.assertEqual((report["task"], report["metric"]), ("perplexity", "nll"))
        self.assertEqual(report["value"], report["nll"])
        self.assertEqual(report["tokens"], 2 * 160)
        self.assertEqual([d["name"] for d in report["documents"]], ["one.txt", "two.txt"])
        self.assertAlmostEqual(report["value"], sum(d["nll"] for d in report["documents"]) / 2, places=9)
        low, high = report["ci95"]
        self.assertLess(low, report["value"])
        self.assertLess(report["value"], high)
        self.assertEqual(report["too_short"], ["tiny.txt"])
        self.assertIn("tiny.txt", err)
        self.assertEqual(report["options"]["mode"], "beacon")
        self.assertEqual(report["options"]["reading"]["stride"], 16)
        self.assertEqual(report["options"]["reading"]["ratios"], [4])
        self.assertEqual(len(report["fingerprints"]["model"]), 32)
        self.assertTrue(report["fingerprints"]["tokenizer"])

    def test_modes_differ_and_full_needs_no_windows(self):
        values = {mode: self.perplexity(mode)[0]["value"] for mode in ("beacon", "full", "tail", "none")}
        self.assertEqual(len(set(values.values())), 4, values)
        other, _ = self.run_beacon("eval", "perplexity", "-m", self.model, "--data", self.texts, "--from", 40, "--to", 200,
                                   "--mode", "full", "--json", "--compute", "f32")
        self.assertAlmostEqual(json.loads(other)["value"], values["full"], places=4)

    def test_full_stays_within_the_native_window(self):
        text = self.file("long.txt", letters(9000, 3))
        command = ["eval", "perplexity", "-m", self.model, "--data", text, "--from", 5000, "--to", 5100, "--mode", "full"]
        self.assert_error(command, 1, "positions")
        self.run_beacon(*command, "--beyond-positions")

    def test_perplexity_table(self):
        out, _ = self.run_beacon("eval", "perplexity", "-m", self.model, "--data", self.texts / "one.txt", "--from", 1,
                                 "--to", 300, *WINDOWS)
        self.assertIn("one.txt", out)
        self.assertIn("perplexity", out)

    def test_passkey_report(self):
        out, _ = self.run_beacon("eval", "passkey", "-m", self.model, "--lengths", "400,500", "--depths", 2, "--n", 3,
                                 "--json", *WINDOWS)
        report = json.loads(out.splitlines()[-1])
        self.assertEqual((report["task"], report["metric"], report["n"]), ("passkey", "accuracy", 6))
        self.assertEqual([row["length"] for row in report["lengths"]], [400, 500])
        for row in report["lengths"]:
            self.assertEqual(row["n"], 3)
            self.assertLessEqual(row["tokens"], row["length"])
            self.assertEqual([depth["n"] for depth in row["depths"]], [2, 1])
        self.assertEqual(report["options"]["chat_template"], "chatml")
        table, _ = self.run_beacon("eval", "passkey", "-m", self.model, "--lengths", 400, "--depths", 2, "--n", 2,
                                   "--no-beacons", "--chat-template", "none", "--data", self.texts / "one.txt")
        self.assertIn("400", table)

    def test_wrong_usage(self):
        perplexity = ["eval", "perplexity", "-m", self.model]
        self.assert_error(perplexity, 2, "--data")
        self.assert_error([*perplexity, "--data", self.texts, "--mode", "some"], 2, "beacon|full|none|tail")
        self.assert_error([*perplexity, "--data", self.texts, "--from", 9, "--to", 9], 2, "[9, 9)")
        self.assert_error([*perplexity, "--data", self.folder / "nowhere"], 1, "nowhere")
        self.assert_error([*perplexity, "--data", self.texts], 1, "4096")
        self.assert_error(["eval", "passkey", "-m", self.model], 2, "--lengths")
        self.assert_error(["eval", "passkey", "-m", self.model, "--lengths", 20], 2, "cannot hold the question")


if __name__ == "__main__":
    unittest.main()
