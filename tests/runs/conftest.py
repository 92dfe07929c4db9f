"""Commands in processes of their own, a data set for them, and fingerprints of folders."""

import contextlib
import hashlib
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

SERVER = Path(__file__).with_name("forked_commands.py")


def entries(folder: Path) -> dict[str, tuple]:
    """Every entry below a folder: kind, mode, time of change, and what it holds."""
    found = {}
    for path in sorted([folder, *folder.rglob("*")]):
        status = path.lstat()
        content = str(path.readlink()) if path.is_symlink() else (
            hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "")
        found[str(path.relative_to(folder))] = (status.st_mode, status.st_mtime_ns, content)
    return found


def until(happened: Callable[[], object], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.005)


class Process:
    """A command that was started."""

    def __init__(self, pid: int, log: str):
        self.pid, self.log = pid, log

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        self.wait()

    def runs(self) -> bool:
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        return True

    def wait(self) -> int | None:
        """Return the exit code; None where it was killed."""
        until(lambda: not self.runs(), 60)
        code = Path(f"{self.log}.code")
        return int(code.read_text()) if code.exists() else None

    def said(self, what: str = "err") -> str:
        path = Path(f"{self.log}.{what}")
        return path.read_text() if path.exists() else ""


class Commands:
    """Starts commands in processes of their own."""

    def __init__(self, logs: Path):
        self.logs, self.numbers, self.started = logs, itertools.count(), []
        self.server = subprocess.Popen([sys.executable, str(SERVER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                       text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})

    def start(self, *line: object, cwd: Path | None = None, kill_at: int = 0) -> Process:
        assert self.server.stdin is not None and self.server.stdout is not None
        log = str(self.logs / str(next(self.numbers)))
        asked = {"line": list(map(str, line)), "cwd": str(cwd or self.logs), "log": log, "kill_at": kill_at}
        self.server.stdin.write(json.dumps(asked) + "\n")
        self.server.stdin.flush()
        self.started.append(Process(int(self.server.stdout.readline()), log))
        return self.started[-1]

    def run(self, *line: object, cwd: Path | None = None, kill_at: int = 0) -> tuple[int | None, str]:
        """Return the exit code (None: killed) and what was said on standard error."""
        process = self.start(*line, cwd=cwd, kill_at=kill_at)
        return process.wait(), process.said()

    def close(self) -> None:
        for process in self.started:
            process.kill()
        self.server.kill()
        self.server.wait(10)


@pytest.fixture(scope="session")
def fingerprint():
    return entries


@pytest.fixture(scope="session")
def wait_for():
    return until


@pytest.fixture(scope="session")
def commands(tmp_path_factory):
    if sys.platform == "win32":
        pytest.skip("processes are forked")
    found = Commands(tmp_path_factory.mktemp("commands"))
    yield found
    found.close()


@pytest.fixture(scope="session")
def data(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("data") / "noise.npz"
    draw, arrays = np.random.default_rng(0), {}
    for split, count in (("train", 60), ("test", 12)):
        arrays[f"{split}_images"] = draw.integers(0, 256, (count, 8, 8), dtype=np.uint8)
        arrays[f"{split}_labels"] = np.arange(count) % 3
    np.savez(path, **arrays, class_names=np.array(["a", "b", "c"]))
    return path


@pytest.fixture(scope="session")
def train_line(data) -> Callable[..., list]:
    def line(out: Path, epochs: int, *flags: str) -> list:
        return ["train", "two-full", "--data", f"npz:{data}", "--canvas", "12", "--epochs", epochs, "--batch-size", 20,
                "--device", "cpu", "--quiet", "--out", out, *flags]

    return line
