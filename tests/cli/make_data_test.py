"""beacon train make-data."""
import json
import random
import unittest

from beacon_test_case import BeaconTestCase


def prose(seed, sentences=400):
    generator = random.Random(seed)
    word = lambda: "".join(generator.choice("abcdefghij") for _ in range(generator.randint(2, 7)))
    return "\n\n".join(
        " ".join(f"S{seed}n{p}x{s} " + " ".join(word() for _ in range(8)) + "." for s in range(5))
        for p in range(sentences // 5))


class MakeDataTest(BeaconTestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        books = cls.folder / "books"
        books.mkdir()
        for seed in range(3):
            (books / f"{seed}.txt").write_text(prose(seed))
        cls.books = books

    def make(self, name, *more):
        out = self.folder / name
        result = self.run_beacon("train", "make-data", "-m", self.model, "--books", self.books, "-o", out, "--min-length",
                                 1000, "--max-length", 4000, "--window", 128, *more)
        return [json.loads(line) for line in out.read_text().splitlines()], result

    def test_samples_and_summary(self):
        lines, (out, err) = self.make("a.jsonl", "--samples", 30, "--json")
        summary = json.loads(out)
        self.assertEqual((summary["samples"], len(lines)), (30, 30))
        self.assertEqual(sum(summary["tasks"].values()), 30)
        self.assertEqual(err, "")
        for line in lines:
            self.assertEqual("text" in line, line["task"] == "prose")
            self.assertLessEqual(line["tokens"], 4000)
        self.assertIn("prose", {line["task"] for line in lines})
        self.assertEqual(self.make("b.jsonl", "--samples", 30)[0], lines)
        self.assertNotEqual(self.make("c.jsonl", "--samples", 30, "--seed", 2)[0], lines)

    def test_tasks_pairs_and_shares(self):
        lines, _ = self.make("d.jsonl", "--samples", 10, "--recall", 1, "--tasks", "passkey,facts", "--pairs")
        self.assertEqual({line["task"] for line in lines}, {"passkey", "facts"})
        for line in lines:
            self.assertTrue(line["input"] and line["output"])
        lines, _ = self.make("e.jsonl", "--samples", 5, "--recall", 0)
        self.assertEqual({line["task"] for line in lines}, {"prose"})

    def test_excluded_books_are_named(self):
        held = self.folder / "held"
        held.mkdir()
        (held / "x.txt").write_text((self.books / "1.txt").read_text()[1000:5000])
        lines, (out, err) = self.make("f.jsonl", "--samples", 20, "--exclude", held)
        self.assertIn("1.txt", err)
        self.assertNotIn("1.txt", {line["book"] for line in lines})

    def test_wrong_usage(self):
        command = ["train", "make-data", "-m", self.model, "-o", self.folder / "x.jsonl"]
        self.assert_error(command, 2, "--books")
        self.assert_error([*command, "--books", self.books, "--tasks", "some"], 2, "passkey")
        self.assert_error([*command, "--books", self.books, "--recall", 2], 2, "--recall")
        self.assert_error([*command, "--books", self.folder / "nowhere"], 1, "nowhere")
        self.assertFalse((self.folder / "x.jsonl").exists())


if __name__ == "__main__":
    unittest.main()
