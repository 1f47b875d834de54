"""beacon train: a run, its folder, exact resume after kill -9 and Ctrl-C, two processes, mistakes."""
import json
import os
import pathlib
import shutil
import signal
import struct
import subprocess
import sys
import time
import unittest

from beacon_test_case import PROGRAM, SOURCE, BeaconTestCase, environment

# Everything small: window 16, five updates in about a second.
KEYS = {
    "window": 16, "stride": 8, "sink": 1, "ratios": [2, 4], "max_length": 48, "min_length": 48, "steps": 6, "gate": -1,
    "learning_rate": 0.01, "gate_rate": 5, "warmup": 2, "batch": 2, "accumulation": 2, "valid_every": 2,
    "valid_sequences": 3, "valid_ratios": [4], "checkpoint_every": 2, "threads": 1, "compute": "f32",
    "distillation_weight": 0.5, "chat_template": "none",
}
TIMES = ("tok_s", "mfu", "peak_bytes", "seconds")


def read_tensors(path):
    data = pathlib.Path(path).read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8: 8 + size])
    metadata = header.pop("__metadata__", {})
    begin = 8 + size
    return {name: data[begin + entry["data_offsets"][0]: begin + entry["data_offsets"][1]]
            for name, entry in header.items()}, metadata


def write_tensors(path, source, wanted):
    """The tensors of another file whose names are wanted."""
    data = pathlib.Path(source).read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    header, out, body = json.loads(data[8: 8 + size]), {}, b""
    for name, entry in sorted(header.items(), key=lambda item: item[1].get("data_offsets", [0])):
        if name != "__metadata__" and wanted(name):
            begin, end = (8 + size + offset for offset in entry["data_offsets"])
            out[name] = {**entry, "data_offsets": [len(body), len(body) + end - begin]}
            body += data[begin:end]
    text = json.dumps(out).encode()
    pathlib.Path(path).write_bytes(struct.pack("<Q", len(text)) + text + body)


def floats(data):
    return struct.unpack(f"<{len(data) // 4}f", data)


class TrainTest(BeaconTestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        words = "the sea was calm and every window held a lamp while people told each other old stories ".split()
        text = " ".join(words[(i * i + i // 7) % len(words)] for i in range(1500))
        (cls.folder / "book.txt").write_text(text)
        (cls.folder / "valid.txt").write_text(text[777:2000])

    def config(self, name, **keys):
        config = {"model": "tiny.gguf", "data": ["book.txt"], "valid_data": ["valid.txt"], "run": name, "cache": "cache",
                  **KEYS, **keys}
        self.file(name + ".json", json.dumps(config))
        return self.folder / (name + ".json")

    def train(self, name, *arguments, **keys):
        return self.run_json("train", "--config", self.config(name, **keys), *arguments)

    def log(self, name):
        lines = [json.loads(line) for line in (self.folder / name / "log.jsonl").read_text().splitlines()]
        return [{key: value for key, value in line.items() if key not in TIMES} for line in lines]

    def checkpoint(self, name):
        return sorted((self.folder / name / "checkpoints").glob("step-*.safetensors"))[-1]

    def assert_same_run(self, name, expected):
        ours, theirs = read_tensors(self.checkpoint(name)), read_tensors(self.checkpoint(expected))
        self.assertEqual(ours[0], theirs[0], "weights and moments, bit for bit")
        states = [json.loads(metadata["run_state"]) for _, metadata in (ours, theirs)]
        for key in ("step", "updates", "ratio_stream", "cursor", "tokens", "best", "best_step"):
            self.assertEqual(states[0][key], states[1][key], key)
        self.assertEqual(self.log(name), self.log(expected))
        for part in ("adapter", "last"):
            self.assertEqual((self.folder / name / part / "beacon.safetensors").read_bytes(),
                             (self.folder / expected / part / "beacon.safetensors").read_bytes())

    def test_a_run_and_its_folder(self):
        result = self.train("plain")
        self.assertEqual((result["steps"], result["interrupted"]), (6, False))
        log = self.log("plain")
        steps = [line for line in log if "step" in line]
        self.assertEqual([line["step"] for line in steps], [1, 2, 3, 4, 5, 6])
        self.assertEqual([line["valid_step"] for line in log if "valid_step" in line], [2, 4, 6])
        for line in steps:
            self.assertAlmostEqual(line["loss"], line["next_token"] + 0.5 * line["distillation"], places=5)
            self.assertLessEqual(set(line["loss_per_ratio"]), {"none", "2", "4"})
            self.assertGreater(line["grad_norm"], 0)
            # Four samples of 48 tokens.
            self.assertEqual(line["tokens"], line["step"] * 4 * 48)
        # The rate rises over two updates, then falls as a cosine over the other four.
        for line, lr in zip(steps, (0.005, 0.01, 0.01, 0.0085355, 0.005, 0.0014645)):
            self.assertAlmostEqual(line["lr"], lr, places=6)
        files = sorted(os.listdir(self.folder / "plain"))
        self.assertEqual(files, ["adapter", "checkpoints", "config.json", "last", "log.jsonl"])
        self.assertEqual(sorted(os.listdir(self.folder / "plain/checkpoints")),
                         ["step-00000004.safetensors", "step-00000006.safetensors"])
        written = json.loads((self.folder / "plain/config.json").read_text())
        self.assertEqual((written["window"], written["ratios"], written["gate"]), (16, [2, 4], -1))

    def test_what_is_learnt_is_used(self):
        adapter = self.folder / self.train("used", "--steps", 8, "--learning-rate", 0.03)["adapter"]
        config = json.loads((adapter / "beacon_config.json").read_text())
        self.assertEqual((config["beacon_window"], config["beacon_stride"], config["beacon_sink_size"]), (16, 8, 1))
        self.assertEqual(config["beacon_param"], ["q", "k", "v"])
        # Trained at 2 and 4; what the base holds is read raw unless a ratio is asked for.
        self.assertEqual((config["beacon_ratio"], config["beacon_ratio_mix"]), ([0, 2, 4], "adapt-1024"))
        short = self.run_json("generate", "-m", self.model, "-a", adapter, "-p", "the sea was calm and " * 3, "-n", 4,
                              "--ignore-eos")["ledger"]
        self.assertEqual((set(short["ratios"]), short["positions"]), ({0}, short["tokens_read"]))
        tensors, _ = read_tensors(adapter / "beacon.safetensors")
        self.assertEqual(len(tensors), 1 + 2 * 4)
        out, _ = self.run_beacon("generate", "-m", self.model, "-a", adapter, "-p", "the sea was calm and " * 3, "-n", 4,
                                 "--ignore-eos", "--ratio", 4)
        self.assertTrue(out)
        nll = [line["next_token"] for line in self.log("used") if "step" in line]
        self.assertLess(nll[-1], nll[0])

    def test_gates_go_on_or_begin_again(self):
        self.train("gates", steps=2)
        adapter = str(self.folder / "gates" / "last")
        learnt = [value for name, data in sorted(read_tensors(adapter + "/beacon.safetensors")[0].items())
                  if name.endswith("beacon_gate") for value in floats(data)]
        self.assertNotEqual(learnt, [-1.0] * len(learnt))
        for reset, expected in (False, learnt), (True, [0.5] * len(learnt)):
            name = f"gates-{reset}"
            self.train(name, steps=1, adapter=adapter, gate=0.5, reset_gate=reset, learning_rate=0,
                       warmup=0)
            tensors, _ = read_tensors(self.folder / name / "last" / "beacon.safetensors")
            gates = [value for key, data in sorted(tensors.items()) if key.endswith("beacon_gate")
                     for value in floats(data)]
            self.assertEqual(gates, expected)

    def test_chosen_echoes_bring_the_worth_of_tokens(self):
        """Counted over samples with questions, exported, kept by a run that goes on without any."""
        pairs = [{"input": "the sea was calm and lamp " * 2 + "held " * (i % 3), "output": "the lamp"} for i in range(12)]
        self.file("pairs.jsonl", "".join(json.dumps(pair) + "\n" for pair in pairs))
        chosen = {"attention": "chosen-echo", "gate": None, "distillation_weight": 0, "min_length": 20, "max_length": 90,
                  "grouping": "strides", "accumulation": 1, "steps": 2}
        adapter = self.folder / self.train("chosen", data=["pairs.jsonl"], **chosen)["adapter"]
        self.assertEqual(json.loads((adapter / "beacon_config.json").read_text())["beacon_attn"], "chosen-echo")
        name = "model.beacon_token_worth"
        worth = floats(read_tensors(adapter / "beacon.safetensors")[0][name])
        self.assertGreater(max(worth), 3 * min(worth))
        more = self.folder / self.train("chosen-on", adapter=str(adapter), **chosen)["adapter"]
        self.assertEqual(floats(read_tensors(more / "beacon.safetensors")[0][name]), worth)
        self.assert_error(("train", "--config", self.config("prose", **chosen)), 2, "prose alone")

    def test_the_mean_of_two_adapters(self):
        echoes = {"attention": "echo", "gate": None}
        a, b = (self.folder / self.train(f"mean-{steps}", steps=steps, **echoes)["adapter"] for steps in (2, 6))

        def mean(share, *adapters):
            script = SOURCE / "scripts" / "average_adapters.py"
            return subprocess.run([sys.executable, script, *adapters, share, self.folder / "mean"], capture_output=True, text=True)

        def numbers(folder, name):
            words = read_tensors(folder / "beacon.safetensors")[0][name]
            return [struct.unpack("<f", b"\0\0" + words[i: i + 2])[0] for i in range(0, len(words), 2)]

        self.assertEqual(mean("1", a, b).returncode, 0)
        self.assertEqual(read_tensors(self.folder / "mean" / "beacon.safetensors")[0], read_tensors(b / "beacon.safetensors")[0])
        self.assertEqual(mean("0.25", a, b).returncode, 0)
        name = next(name for name in read_tensors(a / "beacon.safetensors")[0] if "q_proj" in name)
        differ = 0
        for x, y, z in zip(*(numbers(folder, name) for folder in (a, b, self.folder / "mean")), strict=True):
            self.assertLessEqual(abs(z - (0.75 * x + 0.25 * y)), 2 ** -8 * max(abs(x), abs(y)))
            differ += abs(x - y) > 2 ** -5 * max(abs(x), abs(y))
        self.assertGreater(differ, 10)
        gated = self.folder / self.train("mean-gated", steps=2)["adapter"]
        self.assertIn("gate", mean("0.5", gated, b).stderr)
        for share, adapter, message in (("0.5", self.folder / "nowhere", "expected an adapter"), ("2", a, "from 0 to 1")):
            failed = mean(share, adapter, b)
            self.assertNotEqual(failed.returncode, 0)
            self.assertIn(message, failed.stderr)
            self.assertNotIn("Traceback", failed.stderr)

    def test_echoes_stay_echoes(self):
        echoes = {"attention": "echo", "gate": None}
        adapter = str(self.folder / self.train("echoes", steps=8, **echoes)["adapter"])
        config = json.loads((pathlib.Path(adapter) / "beacon_config.json").read_text())
        self.assertEqual(config["beacon_attn"], "echo")
        self.train("new-echoes", steps=1, learning_rate=0, warmup=0, **echoes)
        tensors, _ = read_tensors(self.folder / "new-echoes/last/beacon.safetensors")
        self.assertEqual(set(tensors["model.beacon_embed_tokens.weight"]), {0}, "an echo has its token's embedding")
        self.train("more-echoes", steps=2, adapter=adapter, **echoes)
        nll = [line["next_token"] for line in self.log("echoes") + self.log("more-echoes") if "step" in line]
        self.assertLess(nll[-1], nll[0])
        token = str(self.folder / self.train("token", steps=2, gate=None)["adapter"])
        for name, rule, start in ("token", "full-coverage", adapter), ("echo", "echo", token):
            self.assert_error(["train", "--config", self.config("not-" + name, attention=rule, adapter=start, gate=None)],
                              2, "attention: expected", "as in the adapter to start from")

    def test_the_configuration_of_a_run_can_be_used_from_anywhere(self):
        self.train("here", steps=2)
        elsewhere = self.folder / "elsewhere"
        elsewhere.mkdir()
        subprocess.run([PROGRAM, "train", "--config", self.folder / "here/config.json", "--run", "there"], check=True,
                       cwd=elsewhere, env=environment(), capture_output=True)
        self.assertTrue((elsewhere / "there/last").is_dir())
        self.assertEqual(*((folder / "last/beacon.safetensors").read_bytes()
                           for folder in (self.folder / "here", elsewhere / "there")))

    def test_lora_is_learnt_and_used(self):
        keys = {"lora_rank": 3, "lora_alpha": 6, "lora_targets": ["q", "v"], "learning_rate": 0.03, "steps": 4}
        adapter = self.folder / self.train("lora", **keys)["adapter"]
        config = json.loads((adapter / "beacon_config.json").read_text())
        self.assertEqual(config["beacon_lora"], {"peft_type": "LORA", "r": 3, "lora_alpha": 6.0,
                                                 "target_modules": ["q_proj", "v_proj"]})
        tensors, _ = read_tensors(adapter / "beacon.safetensors")
        self.assertEqual(len(tensors), 1 + 2 * 4 + 2 * 4)

        # The engine applies it: without these tensors the same adapter says something else.
        def measured(folder, name):
            text = self.file(name + ".txt", (self.folder / "valid.txt").read_text()[:100])
            return self.run_json("eval", "perplexity", "-m", self.model, "-a", folder, "--data", text, "--from", 20,
                                 "--to", 60, "--ratio", 4, "--compute", "f32", "--threads", 1)["value"]
        with_lora = measured(adapter, "with")
        bare = self.folder / "bare"
        bare.mkdir()
        del config["beacon_lora"]
        (bare / "beacon_config.json").write_text(json.dumps(config))
        write_tensors(bare / "beacon.safetensors", adapter / "beacon.safetensors", lambda name: "lora_" not in name)
        self.assertGreater(abs(with_lora - measured(bare, "without")), 1e-3)

        # Training goes on from it, with the same rank only.
        self.assert_error(["train", "--config", self.config("lower", **{**keys, "adapter": str(adapter), "lora_rank": 2})],
                          2, "lora_rank", "3", "2")
        self.assert_error(["train", "--config", self.config("off", **{**keys, "adapter": str(adapter), "lora_rank": 0})],
                          2, "lora_rank", "no LoRA")
        self.assert_error(["train", "--config", self.config("few", **{**keys, "adapter": str(adapter),
                                                                      "lora_targets": ["q"]})], 2, "lora_targets", "v")
        self.train("further", **{**keys, "adapter": str(adapter), "learning_rate": 0, "steps": 1, "warmup": 0})
        again, _ = read_tensors(self.folder / "further/last/beacon.safetensors")
        self.assertEqual(again, tensors)

    def test_the_teacher_is_the_base_without_lora(self):
        """Without any memory the student differs from the teacher by LoRA alone: not at first, then more and more."""
        self.train("taught", window=64, stride=64, lora_rank=2, valid_data=[], steps=4, warmup=0, gate=None)
        divergence = [line["distillation"] for line in self.log("taught")]
        self.assertLess(abs(divergence[0]), 1e-5)
        self.assertGreater(divergence[3], 1e-4)

    def test_options_override_keys(self):
        self.train("options", "--steps", 1, "--warmup", 0, "--ratios", "4", "--gate", "none", "--valid-data", "")
        written = json.loads((self.folder / "options/config.json").read_text())
        self.assertEqual((written["steps"], written["ratios"], written["gate"], written["valid_data"]), (1, [4], None, []))
        self.assertFalse((self.folder / "options/adapter").exists())
        self.assertEqual(set(self.log("options")[0]["loss_per_ratio"]), {"none", "4"})

    def test_killed_and_resumed_is_the_same_bit_for_bit(self):
        self.train("straight", "--steps", 40)
        command = ["train", "--config", self.config("killed"), "--steps", 40]
        process = self.start(*command)
        wanted = self.folder / "killed/checkpoints/step-00000008.safetensors"
        while not wanted.exists() and process.poll() is None:
            time.sleep(0.001)
        process.kill()
        process.communicate()
        self.assertEqual(process.returncode, -signal.SIGKILL, "finished before it could be killed")
        _, err = self.run_beacon(*command, "--resume")
        self.assertRegex(err, r"going on after step \d")
        self.assert_same_run("killed", "straight")

    def test_interrupted_and_resumed_is_the_same_bit_for_bit(self):
        """With LoRA, so that its masters and moments are among what is compared."""
        lora = {"lora_rank": 2, "lora_targets": ["q", "o"], "lora_rate": 2}
        self.train("straight20", "--steps", 20, "--checkpoint-every", 0, **lora)
        command = ["train", "--config", self.config("interrupted", **lora), "--steps", 20, "--checkpoint-every", 0]
        process = self.start(*command)
        log = self.folder / "interrupted/log.jsonl"
        while process.poll() is None and (not log.exists() or log.read_text().count('"step"') < 3):
            time.sleep(0.001)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)
        self.assertEqual(process.returncode, 130, err)
        self.assertIn(b"--resume", err)
        self.assertEqual(out, b"")
        self.assertTrue((self.folder / "interrupted/last/beacon.safetensors").is_file(), "no adapter of what was done")
        self.run_beacon(*command, "--resume")
        self.assert_same_run("interrupted", "straight20")
        names = read_tensors(self.checkpoint("interrupted"))[0]
        for layer in 0, 1:
            for target in "qo":
                for matrix in "AB":
                    name = f"base_model.model.model.layers.{layer}.self_attn.{target}_proj.lora_{matrix}.weight"
                    for part in "parameter", "first", "second":
                        self.assertGreater(max(map(abs, floats(names[f"{part}/{name}"]))), 0, name)

    def test_recomputing_and_rank_0_change_nothing(self):
        self.train("kept", "--recompute", "false", "--steps", 2)
        self.train("again", "--recompute", "true", "--steps", 2, "--lora-rank", 0, "--lora-alpha", 3)
        self.assertEqual(read_tensors(self.checkpoint("kept"))[0], read_tensors(self.checkpoint("again"))[0])

    def test_two_processes_equal_one_that_accumulates(self):
        mpirun = shutil.which("mpirun")
        if mpirun is None:
            self.skipTest("no mpirun")
        self.train("one", "--steps", 3, "--batch", 1, "--accumulation", 2, lora_rank=2)
        command = [mpirun, "--allow-run-as-root", "--oversubscribe", "-n", "2", PROGRAM, "train", "--config",
                   self.config("two", lora_rank=2), "--steps", "3", "--batch", "1", "--accumulation", "1"]
        done = subprocess.run(list(map(str, command)), capture_output=True, env=environment(), timeout=300)
        if b"has no MPI" in done.stderr:
            self.skipTest("built without MPI")
        self.assertEqual(done.returncode, 0, done.stderr)
        ours, theirs = read_tensors(self.checkpoint("two"))[0], read_tensors(self.checkpoint("one"))[0]
        for name in theirs:
            expected = floats(theirs[name])
            scale = max(map(abs, expected))
            difference = max(abs(a - b) for a, b in zip(floats(ours[name]), expected))
            self.assertLessEqual(difference, 1e-6 * max(1, scale), name)
        for a, b in zip(self.log("two"), self.log("one")):
            self.assertEqual(a.get("tokens"), b.get("tokens"))
            self.assertAlmostEqual(a.get("loss", 0), b.get("loss", 0), places=6)

    def test_a_failing_process_ends_the_others(self):
        mpirun = shutil.which("mpirun")
        if mpirun is None:
            self.skipTest("no mpirun")
        command = [mpirun, "--allow-run-as-root", "--oversubscribe", "-n", "2", PROGRAM, "train", "--config",
                   self.config("failing", data=["nothing.txt"])]
        done = subprocess.run(list(map(str, command)), capture_output=True, env=environment(), timeout=120)
        self.assertNotEqual(done.returncode, 0)
        if b"has no MPI" not in done.stderr:
            self.assertIn(b"nothing.txt", done.stderr)

    def test_mistakes(self):
        self.train("taken", "--steps", 1, "--warmup", 1)
        for arguments, code, words in (
                (["--config", self.config("taken")], 2, ["taken", "--resume"]),
                (["--config", self.config("taken"), "--resume", "--window", 24], 2, ["window", "16", "24"]),
                (["--config", self.config("narrow"), "--window", 4], 2, ["stride"]),
                (["--config", self.config("word"), "--window", "wide"], 2, ["window", "wide"]),
                (["--config", self.config("steep"), "--schedule", "steep"], 2, ["schedule", "cosine"]),
                (["--config", self.config("unknown", windows=4)], 1, ["windows"]),
                (["--config", self.config("typed", window="wide")], 1, ["window"]),
                (["--config", self.folder / "none.json"], 1, ["none.json"]),
                (["--model", self.model], 2, ["run"]),
        ):
            with self.subTest(arguments=arguments):
                self.assert_error(["train", *arguments], code, *words)

    def test_resume_refuses_other_data(self):
        self.train("moved", "--steps", 2)
        self.file("other.txt", "something else entirely " * 200)
        self.assert_error(["train", "--config", self.config("moved"), "--resume", "--data", self.folder / "other.txt"],
                          1, "data")


if __name__ == "__main__":
    unittest.main()
