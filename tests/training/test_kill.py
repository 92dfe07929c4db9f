"""Processes are killed with SIGKILL at any moment: resuming gives the weights of an uninterrupted training."""

import contextlib
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

TRAINER = Path(__file__).with_name("killed_trainer.py")
RANDOM_KILLS = 12
ONE_THREAD = os.environ | {"OMP_NUM_THREADS": "1"}  # threads of many processes would fight for the cores

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")


class Trainers:
    """Runs each training in a separate process."""

    def __init__(self, data: Path):
        self.server = subprocess.Popen([sys.executable, str(TRAINER), str(data)], stdin=subprocess.PIPE,
                                       stdout=subprocess.PIPE, text=True, env=ONE_THREAD)

    def run(self, out: Path, *, kill_at: int = 0, kill_after: float | None = None) -> tuple[int, int]:
        """Return (exit code or minus the signal, number of writes, fsyncs and renames)."""
        assert self.server.stdin is not None and self.server.stdout is not None
        self.server.stdin.write(f"{out} {kill_at}\n")
        self.server.stdin.flush()
        pid = int(self.server.stdout.readline())
        if kill_after is not None:
            time.sleep(kill_after)
            with contextlib.suppress(ProcessLookupError):  # it may have ended before
                os.kill(pid, signal.SIGKILL)
        code, calls = self.server.stdout.readline().split()
        return int(code), int(calls)

    def finish(self, out: Path) -> int:
        code, calls = self.run(out)
        assert code == 0
        return calls


def outcome(out: Path) -> tuple[str, list[dict], list[dict]]:
    """SHA-256 of the weights, history in the metrics, lines of the log without times."""
    weights = (out / "checkpoints" / "two-conv-seed7" / "model.safetensors").read_bytes()
    history = json.loads((out / "metrics.json").read_text())["models"][0]["history"]
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    lines = [{key: value for key, value in line.items() if key not in ("epoch_seconds", "images_per_second")}
             for line in lines]
    return hashlib.sha256(weights).hexdigest(), history, lines


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("data") / "noise.npz"
    draw = np.random.default_rng(0)
    arrays = {f"{split}_images": draw.integers(0, 256, (count, 12, 12), dtype=np.uint8)
              for split, count in (("train", 250), ("test", 20))}
    labels = {f"{split}_labels": np.arange(count) % 3 for split, count in (("train", 250), ("test", 20))}
    np.savez(path, **arrays, **labels, class_names=np.array(["a", "b", "c"]))
    return path


@pytest.fixture(scope="module")
def trainers(data):
    found = Trainers(data)
    yield found
    assert found.server.stdin is not None
    found.server.stdin.close()
    found.server.wait(10)


@pytest.fixture(scope="module")
def uninterrupted(trainers, tmp_path_factory):
    trainers.finish(tmp_path_factory.mktemp("first") / "run")  # waits until all is imported
    out = tmp_path_factory.mktemp("whole") / "run"
    begun = time.monotonic()
    calls = trainers.finish(out)
    assert calls >= 20, "a checkpoint writes, syncs and renames several files"
    return outcome(out), calls, time.monotonic() - begun


def test_killed_at_every_write_fsync_and_rename(trainers, uninterrupted, tmp_path):
    expected, calls, _ = uninterrupted
    for kill_at in range(1, calls + 1):
        out = tmp_path / f"run-{kill_at}"
        assert trainers.run(out, kill_at=kill_at)[0] == -signal.SIGKILL
        whole = [path for path in out.rglob("*.safetensors") if not path.name.startswith(".")]
        assert all(load_file(path) for path in whole), "a file under its own name is never torn"
        trainers.finish(out)
        assert outcome(out) == expected, f"killed at call {kill_at}"


def test_killed_at_random_moments(trainers, uninterrupted, tmp_path):
    expected, _, seconds = uninterrupted
    moments = random.Random(20)
    latest = 1.5 * seconds  # a killed training that has saved nothing yet must be able to end the next time
    deaths = rounds = 0
    while deaths < RANDOM_KILLS:
        out = tmp_path / f"run-{rounds}"
        while trainers.run(out, kill_after=moments.uniform(0, latest))[0] == -signal.SIGKILL:
            deaths += 1
        assert outcome(out) == expected
        rounds += 1
    assert rounds >= 2


def test_ctrl_c_exits_with_130_and_resumes(data, tmp_path):
    outs = [tmp_path / "whole", tmp_path / "parts"]
    commands = [[sys.executable, "-m", "shiftscope", "train", "two-conv", "--data", f"npz:{data}", "--epochs", "30",
                 "--batch-size", "50", "--optimizer", "sgd", "--learning-rate", "0.05", "--seed", "7", "--device",
                 "cpu", "--quiet", "--out", str(out)] for out in outs]
    process = subprocess.Popen(commands[1], stderr=subprocess.PIPE, text=True, env=ONE_THREAD)
    for _ in range(1200):
        if (outs[1] / "metrics.jsonl").exists():  # the first of thirty epochs is done
            break
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130, errors
    assert "--resume" in errors and "Traceback" not in errors
    assert len((outs[1] / "metrics.jsonl").read_text().splitlines()) < 30
    for command in (commands[0], [*commands[1], "--resume"]):
        again = subprocess.run(command, capture_output=True, text=True, timeout=120, env=ONE_THREAD)
        assert again.returncode == 0, again.stderr
    assert outcome(outs[1]) == outcome(outs[0])
