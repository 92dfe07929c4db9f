"""Every placement of the course models: dense engine, brute force, and a plain script, side by side.

Usage: python benchmarks/audit_speed.py [--models two-full two-conv] [--images 1000 3000 10000]

The dense audits are whole; brute force and the plain script are measured on a sample, interleaved, in the same
process. Times are of `audit` from start to end, self-check included. Seconds, ratios and memory are printed and
written to benchmarks/results/audit-speed.json. Nothing else should run.
"""

import argparse
import os
import platform
import resource
import statistics
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import nn

import shiftscope
from shiftscope import files
from shiftscope.evaluation.accuracy import default_placement
from shiftscope.evaluation.brute import BruteEngine

sys.path.insert(0, str(Path(__file__).parent))
from cut_windows import cut_windows

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "audit-speed.json"


def peak_mib() -> float:
    """Return the most memory that this process ever held, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def dense_audits(model: nn.Module, data: shiftscope.Dataset, counts: list[int], repeats: int) -> list[dict[str, Any]]:
    """Return seconds and figures of whole dense audits of the first images."""
    rows = []
    for count in counts:
        before = peak_mib()
        audits = [shiftscope.audit(model, data.limit(count), engine="dense") for _ in range(repeats)]
        found = audits[-1]
        rows.append({"images": count, "placements": count * found.placements,
                     "seconds": [audit.seconds for audit in audits],
                     "median": statistics.median(audit.seconds for audit in audits),
                     "peak_growth_mib": peak_mib() - before, "self_check": found.self_check,
                     "mean_accuracy": found.mean_accuracy, "worst_case_accuracy": found.worst_case_accuracy,
                     "consistency": found.consistency, "unanimity": found.unanimity})
        print(f"  dense {count:6d} images {rows[-1]['median']:7.2f} s  (+{rows[-1]['peak_growth_mib']:.0f} MiB)")
    return rows


def seconds_an_image(model: nn.Module, data: shiftscope.Dataset, sample: int, repeats: int) -> dict[str, list[float]]:
    """Return seconds an image of brute force and of the plain script, interleaved, each on images of its own turn."""
    placement = default_placement(data)
    brute = BruteEngine(model, placement, data.shape)
    seconds: dict[str, list[float]] = {"brute": [], "plain script": []}
    for turn in range(repeats):
        images = data.test.gather(torch.arange(turn * sample, (turn + 1) * sample))
        begun = time.perf_counter()
        for part in images.split(brute.images_at_once):
            brute.logits(part)
        between = time.perf_counter()
        cut_windows(model, images)
        seconds["brute"].append((between - begun) / sample)
        seconds["plain script"].append((time.perf_counter() - between) / sample)
    return seconds


def measure(name: str, asked: argparse.Namespace, data: shiftscope.Dataset) -> dict[str, Any]:
    """Measure one model and print it."""
    print(name)
    model = shiftscope.load(HERE.parent / "examples" / "checkpoints" / name)
    shiftscope.audit(model, data.limit(64), engine="dense")  # imports and first-time allocations
    sample = seconds_an_image(model, data, asked.sample, asked.repeats)
    dense = dense_audits(model, data, asked.images, asked.repeats)
    each = {key: statistics.median(values) for key, values in sample.items()}
    each["dense"] = dense[-1]["median"] / dense[-1]["images"]
    for other in ("brute", "plain script"):
        print(f"  {other:12s} {1000 * each[other]:8.2f} ms an image: {each[other] / each['dense']:.1f} times as long")
    return {"model": name, "dense": dense, "sample_seconds_an_image": sample, "median_seconds_an_image": each,
            "brute_over_dense": each["brute"] / each["dense"],
            "plain_script_over_dense": each["plain script"] / each["dense"]}


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", default=["two-full", "two-conv"])
    parser.add_argument("--images", nargs="+", type=int, default=[1000, 3000, 10000])
    parser.add_argument("--sample", type=int, default=8, help="images a turn for brute force and the plain script")
    parser.add_argument("--repeats", type=int, default=3)
    asked = parser.parse_args()
    data, load = shiftscope.load_dataset("fashion-mnist"), os.getloadavg()[0]
    records = [measure(name, asked, data) for name in asked.models]
    files.write_json(RESULTS, {
        "schema_version": 1, "measured": datetime.now(UTC).isoformat(timespec="seconds"), "data": data.name,
        "what": "seconds of an exact audit of 841 placements an image", "load_before": load, "records": records,
        "machine": {"cores": os.cpu_count(), "threads": torch.get_num_threads(), "platform": platform.machine(),
                    "capability": torch.backends.cpu.get_cpu_capability(), "torch": torch.__version__}})


if __name__ == "__main__":
    main()
