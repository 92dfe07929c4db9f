"""Kills audits with SIGKILL at random moments, resumes them, and compares the results with those of one without kills.

    python benchmarks/killed_audits.py [--kills 20] [--engines brute dense cut]

Every fourth kill falls into the time in which results are written, the others into any part of the audit. Engines:
brute force, the dense engine that shares all operations, and one that shares some ("cut"), of a network with padding.
Brute force and "cut" depend on a timed trial, and rounding depends on what it finds. So the results to compare with are
those of a copy of the folder after the first kill with stored images, resumed without another kill; predictions are
also compared with an audit that was never killed.
"""

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import nn

from shiftscope.cli import main
from shiftscope.dense import engine as dense_engine
from shiftscope.results import Audit
from shiftscope.runs import unfinished
from shiftscope.workflows import audit_model  # imported before the fork

IMAGES, CANVAS = {"brute": 250, "dense": 3000, "cut": 400}, 28
MODELS = {"brute": "net", "dense": "plain_net", "cut": "net"}
WRITING = 0.05
"""Seconds after the first result, within which a kill falls into the time of writing."""


def net() -> nn.Module:
    """Return the audited model: a convolution with padding, pooling, a linear layer."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 8, 3), nn.ReLU(),
                             nn.Flatten(), nn.Linear(8 * 12 * 12, 3)).eval()


def plain_net() -> nn.Module:
    """Return a model for the dense engine: no padding."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 26 * 26, 3)).eval()


def write_images(path: Path, images: int) -> Path:
    """Write images of noise with three classes; return the path."""
    draw = np.random.default_rng(0)
    arrays = {f"{split}_images": draw.integers(0, 256, (count, 12, 14), dtype=np.uint8)
              for split, count in (("train", 9), ("test", images))}
    labels = {f"{split}_labels": np.arange(count) % 3 for split, count in (("train", 9), ("test", images))}
    np.savez(path, **arrays, **labels, class_names=np.array(["a", "b", "c"]))
    return path


def run(out: Path, data: Path, engine: str, *more: str, kill: tuple[str, float] | None = None) -> tuple[int, float]:
    """Audit in a separate process; return its exit code, or -9, and its seconds.

    Args:
        kill: seconds after "start", or after it has begun to "write" results.
    """
    line = ["audit", f"{Path(__file__).stem}:{MODELS[engine]}", "--data", f"npz:{data}", "--canvas", str(CANVAS),
            "--engine", "brute" if engine == "brute" else "dense", "--out", str(out), "--quiet", *more]
    begun = time.perf_counter()
    pid = os.fork()
    if pid == 0:
        unfinished.EVERY, unfinished.FRACTION = 0.05, 0.0
        dense_engine.MEMORY = 2**20  # more blocks of images
        audit_model.audit_figures = audit_model._profile = lambda *_: []  # figures would take most of the time
        with Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), 1)
        os._exit(main(line))
    if kill is not None:
        moment, seconds = kill
        written = out / unfinished.FOLDER / unfinished.RESULTS
        while moment == "write" and not written.exists() and os.waitid(
                os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            time.sleep(1e-3)
        time.sleep(seconds)
        os.kill(pid, signal.SIGKILL)  # a process that has ended can still be waited for
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status), time.perf_counter() - begun


def differences(a: Audit, b: Audit) -> list[str]:
    """Return the names of arrays and figures that are not equal bit for bit."""
    arrays = [name for name in Audit.arrays if getattr(a, name).tobytes() != getattr(b, name).tobytes()]
    skipped = ("seconds", "notes")
    figures = [name for name, value in a.to_dict().items() if name not in skipped and b.to_dict()[name] != value]
    return arrays + figures


def check(ok: bool, message: str) -> None:
    """Raise an error with a message if something failed."""
    if not ok:
        raise RuntimeError(message)


class Killed:
    """Audits of one engine that are killed and resumed in one folder.

    Args:
        folder: for images and results.
        engine: key of `IMAGES`.
    """

    def __init__(self, folder: Path, engine: str):
        self.engine, self.out, self.copy = engine, folder / "out", folder / "copy"
        self.data = write_images(folder / "images.npz", IMAGES[engine])
        code, self.seconds = run(folder / "whole", self.data, engine)
        check(code == 0, "the audit failed")
        self.uninterrupted = Audit.load(folder / "whole")
        self.reference: Audit | None = self.uninterrupted if engine == "dense" else None
        self.stored: list[int] = []
        self.writing = self.completed = self.different_predictions = 0
        self.different: set[str] = set()

    def run(self, kill: tuple[str, float] | None = None) -> bool:
        """Begin or continue the audit; return True if it was killed, else compare its results and remove them."""
        unfinished_audit = self.out / unfinished.FOLDER
        resume = ("--resume",) if (unfinished_audit / unfinished.HEADER).is_file() else ()
        code, _ = run(self.out, self.data, self.engine, *resume, kill=kill)
        if code == -signal.SIGKILL:
            parts = sorted(unfinished_audit.glob("images-*.npz"))
            self.stored.append(len(parts))
            self.writing += (unfinished_audit / unfinished.RESULTS).exists()
            if parts and self.reference is None:
                shutil.copytree(self.out, self.copy)
                check(run(self.copy, self.data, self.engine, "--resume")[0] == 0, "the copy could not be resumed")
                self.reference = Audit.load(self.copy)
                shutil.rmtree(self.copy)
            return True
        check(code == 0 and not unfinished_audit.exists(), "the audit could not be resumed")
        self._compare()
        return False

    def _compare(self) -> None:
        found = Audit.load(self.out)
        self.completed += bool(self.reference)
        self.different |= {*differences(found, self.reference)} if self.reference else set()
        self.different_predictions += int((found.predictions != self.uninterrupted.predictions).sum())
        shutil.rmtree(self.out)
        self.reference = self.uninterrupted if self.engine == "dense" else None


def kill_and_resume(folder: Path, engine: str, kills: int, seed: int = 0) -> dict:
    """Kill audits and their continuations; return counts and the names of results that differ."""
    audits, moments = Killed(folder, engine), _moments(random.Random(seed))
    while len(audits.stored) < kills:
        moment, fraction = next(moments)
        audits.run((moment, fraction * (WRITING if moment == "write" else 0.8 * audits.seconds)))
    audits.run()
    return {"engine": engine, "kills": len(audits.stored), "kills_while_results_were_written": audits.writing,
            "blocks_stored_after_each_kill": audits.stored, "compared": audits.completed,
            "different": sorted(audits.different), "different_predictions": audits.different_predictions,
            "seconds_uninterrupted": round(audits.seconds, 2)}


def _moments(draw: random.Random) -> Iterator[tuple[str, float]]:
    """Generate the event after which a process is killed, and a fraction of the time after it."""
    while True:
        yield from (("start", draw.random()), ("start", draw.random()), ("write", draw.random()),
                    ("start", draw.random()))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--engines", choices=tuple(IMAGES), nargs="*", default=list(IMAGES))
    given = parser.parse_args()
    torch.set_num_threads(1)
    sys.path.insert(0, str(Path(__file__).parent))
    for engine in given.engines:
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(kill_and_resume(Path(folder), engine, given.kills)), flush=True)
