"""Runs the program as a process. BEACON_PROGRAM names it, BEACON_SOURCE the repository."""
import json
import os
import pathlib
import pty
import signal
import subprocess
import tempfile
import time
import unittest

import tiny_model

PROGRAM = os.environ["BEACON_PROGRAM"]
SOURCE = pathlib.Path(os.environ["BEACON_SOURCE"])
ESCAPE = "\x1b"


# What the program keeps for itself must not end in the user's own cache.
CACHE = tempfile.TemporaryDirectory()


def environment(**more):
    env = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "BEACON_ISA")}
    return {**env, "TERM": "xterm", "XDG_CACHE_HOME": CACHE.name, **more}


class BeaconTestCase(unittest.TestCase):
    """Gives every class a folder of its own with a tiny model in it."""

    @classmethod
    def setUpClass(cls):
        cls._folder = tempfile.TemporaryDirectory()
        cls.folder = pathlib.Path(cls._folder.name)
        cls.model = str(tiny_model.write(cls.folder / "tiny.gguf"))

    @classmethod
    def tearDownClass(cls):
        cls._folder.cleanup()

    def file(self, name, content):
        path = self.folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
        return str(path)

    def run_beacon(self, *arguments, code=0, stdin=b"", env=None, **options):
        """Runs to the end, checks the exit code, returns (stdout, stderr) as text."""
        done = subprocess.run(
            [PROGRAM, *map(str, arguments)], input=stdin, capture_output=True, env=env or environment(), timeout=300,
            **options)
        out, err = done.stdout.decode("utf-8"), done.stderr.decode("utf-8", "replace")
        self.assertEqual(done.returncode, code, f"{arguments}\nstdout: {out}\nstderr: {err}")
        self.assertNotIn(ESCAPE, out + err, "escape codes though nothing is a terminal")
        return out, err

    def run_json(self, *arguments, **options):
        out, _ = self.run_beacon(*arguments, "--json", **options)
        self.assertEqual(out.count("\n"), 1, "one line of JSON")
        return json.loads(out)

    def assert_error(self, arguments, code, *words, **options):
        """One line on standard error that begins with the program's name and holds the words; nothing on stdout."""
        out, err = self.run_beacon(*arguments, code=code, **options)
        lines = [line for line in err.splitlines() if not line.startswith("beacon: warning:")]
        self.assertEqual(len(lines), 1, err)
        self.assertTrue(lines[0].startswith("beacon: "), err)
        self.assertNotIn("internal error", err)
        self.assertEqual(out, "")
        for word in words:
            self.assertIn(word, lines[0])
        return lines[0]

    def start(self, *arguments, **options):
        return subprocess.Popen([PROGRAM, *map(str, arguments)], env=environment(), stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)

    def interrupt(self, process):
        """Sends Ctrl-C once an answer has begun; returns (stdout, stderr)."""
        first = process.stdout.read(1)
        self.assertNotEqual(first, b"", "ended too early")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)
        return (first + out).decode("utf-8", "replace"), err.decode("utf-8", "replace")

    def run_on_terminal(self, *arguments, env=None):
        """Standard error is a terminal; returns (exit code, stdout, what the terminal got)."""
        leader, follower = pty.openpty()
        process = subprocess.Popen([PROGRAM, *map(str, arguments)], env=env or environment(), stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=follower)
        os.close(follower)
        shown = b""
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline:
            try:
                part = os.read(leader, 65536)
            except OSError:  # the other end is closed
                break
            if not part:
                break
            shown += part
        out = process.stdout.read()
        process.stdout.close()
        os.close(leader)
        return process.wait(timeout=60), out.decode("utf-8"), shown.decode("utf-8", "replace")
