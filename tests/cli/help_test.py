"""Help, versions, exit codes, and the frozen list of options."""
import pathlib
import re
import sys
import unittest

from beacon_test_case import BeaconTestCase

COMMANDS = [
    "", "generate", "chat", "memory", "memory build", "memory info", "memory verify", "memory join", "memory cut", "bench",
    "bench prefill", "bench decode", "bench machine", "convert", "convert split", "convert merge", "convert gguf-to-safetensors",
    "tokenize", "parity", "eval", "eval perplexity", "eval passkey", "train make-data",
]
LIST = pathlib.Path(__file__).with_name("options.txt")


class HelpTest(BeaconTestCase):
    texts = {}

    def help(self, command):
        if command not in self.texts:
            self.texts[command], err = self.run_beacon(*command.split(), "--help")
            self.assertEqual(err, "")
        return self.texts[command]

    def listed(self):
        lines = []
        for command in COMMANDS:
            text = self.help(command)
            options = re.findall(r"^  (-[^ ]+)", text, re.M)
            positionals = re.findall(r"^  ([a-z][a-z-]*) ", text.split("Options:")[0], re.M)
            subcommands = re.findall(r"^  ([a-z][a-z-]*) ", text.partition("Subcommands:")[2], re.M)
            words = sorted(options) + [f"<{name}>" for name in positionals] + sorted(subcommands)
            lines.append(f"beacon {command}".strip() + ": " + " ".join(words))
        return "\n".join(lines) + "\n"

    def test_options_are_those_of_the_list(self):
        """Growing the list is a decision: run this file with --write and commit the difference."""
        self.maxDiff = None
        self.assertEqual(self.listed(), LIST.read_text(encoding="utf-8"))

    def test_every_option_is_described(self):
        for command in COMMANDS:
            text = re.sub(r"\n {30,}", "  ", self.help(command))
            for line in text.splitlines():
                if line.startswith("  -"):
                    self.assertRegex(line, r"^  -.*?  +[A-Z0-9].*[a-z)]", f"{command}: {line}")

    def test_help_shows_defaults(self):
        text = self.help("generate")
        self.assertRegex(text, r"--max-new-tokens N\S*=256")
        self.assertRegex(text, r"--compute auto\|bf16\|f32\|q15=auto")
        self.assertRegex(text, r"--temperature X=0")

    def test_version(self):
        out, _ = self.run_beacon("--version")
        self.assertRegex(out, r"^beacon \d+\.\d+\.\d+\n$")

    def test_no_command_shows_help_and_is_wrong_usage(self):
        out, err = self.run_beacon(code=2)
        self.assertEqual(out, "")
        self.assertIn("generate", err)

    def test_wrong_usage(self):
        for arguments in (["nonsense"], ["generate", "--nonsense"], ["generate", "-p", "x"], ["memory"], ["bench"],
                          ["bench", "prefill", "-m", self.model], ["chat", "-m"], ["parity"], ["convert"],
                          ["train"], ["eval"], ["serve"]):
            with self.subTest(arguments=arguments):
                self.assert_error(arguments, 2, "--help")


if __name__ == "__main__":
    if "--write" in sys.argv:
        HelpTest.setUpClass()
        LIST.write_text(HelpTest().listed(), encoding="utf-8")
        HelpTest.tearDownClass()
    else:
        unittest.main()
