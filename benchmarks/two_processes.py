"""Compare training and audit by two processes with those by one, with the command line.

Usage: python benchmarks/two_processes.py [--data fashion-mnist] [--model two-conv] [--seeds 3] [--epochs 3]

For each seed, `shiftscope train` runs alone and with `--devices 2`, and one process evaluates both checkpoints; then
`shiftscope audit` of the first checkpoint runs alone and with two processes. One record per seed is added to
benchmarks/results/two-processes.json, so that an interrupted benchmark resumes. The exit code is 1 if the mean
accuracies differ by more than the larger standard deviation over the seeds, or if a prediction of the audits differs.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.machine import describe_machine
from shiftscope import files
from shiftscope.reporting.controls import mean_and_spread
from shiftscope.results import Audit
from shiftscope.results.base import SCHEMA_VERSION

RESULTS = Path(__file__).parent / "results" / "two-processes.json"
COUNTS = (1, 2)
"""Processes."""


def shiftscope(*arguments: str) -> dict[str, Any]:
    """Run a command and return the document that it prints."""
    done = subprocess.run([sys.executable, "-m", "shiftscope", *arguments, "--json", "--quiet"], check=True, text=True,
                          stdout=subprocess.PIPE)
    return json.loads(done.stdout)


def trained(asked: argparse.Namespace, seed: int, count: int, out: Path) -> dict[str, Any]:
    """Return the results of a training and its evaluation."""
    told = shiftscope("train", asked.model, "--data", asked.data, "--epochs", str(asked.epochs), "--seed", str(seed),
                      "--out", str(out), "--devices", str(count))
    tested = shiftscope("evaluate", str(out / told["checkpoint"]))
    return {"accuracy": tested["accuracy"]["random"], "seconds": told["train_seconds"],
            "images_per_second": told["images_per_second"], "last_loss": told["history"][-1]["train_loss"],
            "checkpoint": str(out / told["checkpoint"])}


def audited(checkpoint: str, out: Path) -> dict[str, Any]:
    """Return the differences between audits by one and by two processes, and their seconds."""
    for count in COUNTS:
        shiftscope("audit", checkpoint, "--out", str(out / f"audit-{count}"), "--devices", str(count))
    one, two = (Audit.load(out / f"audit-{count}") for count in COUNTS)
    return {"images": one.images, "placements": one.placements, "engine": one.engine,
            "answers_that_differ": int(np.count_nonzero(one.predictions != two.predictions)),
            "ties": [one.ties, two.ties],
            "mean_accuracy": [one.mean_accuracy, two.mean_accuracy],
            "worst_case_accuracy": [one.worst_case_accuracy, two.worst_case_accuracy],
            "seconds": [one.seconds, two.seconds]}


def measured(asked: argparse.Namespace, seed: int) -> dict[str, Any]:
    """Return the record of a seed."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        found = {str(count): trained(asked, seed, count, out / f"train-{count}") for count in COUNTS}
        audit = audited(found["1"]["checkpoint"], out)
    for one in found.values():
        del one["checkpoint"]
    return {"schema_version": SCHEMA_VERSION, "when": datetime.now(UTC).isoformat(timespec="seconds"),
            "data": asked.data, "model": asked.model, "epochs": asked.epochs, "seed": seed, "training": found,
            "audit": audit, "machine": describe_machine(torch.device("cpu"))}


def main() -> int:
    """Measure what is missing, print and write; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="fashion-mnist")
    parser.add_argument("--model", default="two-conv")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=3)
    asked = parser.parse_args()
    records = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else []
    keys = ("data", "model", "epochs", "seed")
    for seed in range(asked.seeds):
        wanted = (asked.data, asked.model, asked.epochs, seed)
        if not any(tuple(record[key] for key in keys) == wanted for record in records):
            records.append(measured(asked, seed))
            files.write_json(RESULTS, records)
    mine = [record for record in records if tuple(record[key] for key in keys[:3]) == wanted[:3]]
    means = {count: mean_and_spread([one["training"][str(count)]["accuracy"] for one in mine]) for count in COUNTS}
    for count, (mean, spread) in means.items():
        print(f"{count} process(es): {100 * mean:.2f} ± {100 * spread:.2f} %")
    differ = sum(one["audit"]["answers_that_differ"] for one in mine)
    print(f"answers of audits that differ: {differ}")
    apart = abs(means[1][0] - means[2][0])
    return int(differ > 0 or apart > max(spread for _, spread in means.values()))


if __name__ == "__main__":
    sys.exit(main())
