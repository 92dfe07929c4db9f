"""Kills audits with SIGKILL at random moments, resumes them, and compares the results with those of one without kills.

    python benchmarks/killed_audits.py [--kills 20] [--engine dense]

Brute force chooses its batch size by a trial, and rounding depends on the batch size. So the results to compare with
are those of a copy of the folder after the first kill, resumed without another kill; predictions are also compared with
an audit that was never killed.
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
from pathlib import Path

import numpy as np
import torch
from torch import nn

from shiftscope.cli import main
from shiftscope.results import Audit
from shiftscope.runs import unfinished
from shiftscope.workflows import audit_model  # imported before the fork

IMAGES, CANVAS = 1000, 28


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


def write_images(path: Path) -> Path:
    """Write images of noise with three classes; return the path."""
    draw = np.random.default_rng(0)
    arrays = {f"{split}_images": draw.integers(0, 256, (count, 12, 14), dtype=np.uint8)
              for split, count in (("train", 9), ("test", IMAGES))}
    labels = {f"{split}_labels": np.arange(count) % 3 for split, count in (("train", 9), ("test", IMAGES))}
    np.savez(path, **arrays, **labels, class_names=np.array(["a", "b", "c"]))
    return path


def run(out: Path, data: Path, engine: str, *more: str, kill_after: float | None = None) -> tuple[int, float]:
    """Audit in a separate process; return its exit code, or -9, and its seconds."""
    name = "net" if engine == "brute" else "plain_net"
    line = ["audit", f"{Path(__file__).stem}:{name}", "--data", f"npz:{data}", "--canvas", str(CANVAS), "--engine",
            engine, "--out", str(out), "--quiet", *more]
    begun = time.perf_counter()
    pid = os.fork()
    if pid == 0:
        unfinished.EVERY, unfinished.FRACTION = 0.05, 0.0
        audit_model.audit_figures = audit_model._profile = lambda *_: []  # figures would take most of the time
        with Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), 1)
        os._exit(main(line))
    if kill_after is not None:
        time.sleep(kill_after)
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


def kill_and_resume(folder: Path, engine: str, kills: int, seed: int = 0) -> dict:
    """Kill an audit and its continuations; return counts and the names of results that differ."""
    data, out, draw = write_images(folder / "images.npz"), folder / "out", random.Random(seed)
    code, whole = run(folder / "whole", data, engine)
    check(code == 0, "the audit failed")
    killed, stored, reference, more = 0, [], None, ()
    while killed < kills:
        code, _ = run(out, data, engine, *more, kill_after=draw.uniform(0, 1.1 * whole))
        parts = sorted((out / unfinished.FOLDER).glob("images-*.npz"))
        if code == 0:  # it had ended before the kill
            shutil.rmtree(out)
            more = ()
            continue
        killed += 1
        stored.append(len(parts))
        more = ("--resume",) if (out / unfinished.FOLDER / unfinished.HEADER).is_file() else ()
        if parts and reference is None:
            shutil.copytree(out, folder / "copy")
            check(run(folder / "copy", data, engine, "--resume")[0] == 0, "the copy could not be resumed")
            reference = Audit.load(folder / "copy")
    code, _ = run(out, data, engine, *more)
    check(code == 0 and not (out / unfinished.FOLDER).exists(), "the audit could not be resumed")
    found, uninterrupted = Audit.load(out), Audit.load(folder / "whole")
    return {"engine": engine, "kills": killed, "blocks_stored_after_each_kill": stored,
            "different": differences(found, uninterrupted if engine == "dense" else reference or uninterrupted),
            "different_predictions": int((found.predictions != uninterrupted.predictions).sum()),
            "seconds_uninterrupted": round(whole, 2)}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--engine", choices=("dense", "brute"), nargs="*", default=["dense", "brute"])
    given = parser.parse_args()
    torch.set_num_threads(1)
    sys.path.insert(0, str(Path(__file__).parent))
    for engine in given.engine:
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(kill_and_resume(Path(folder), engine, given.kills)))
