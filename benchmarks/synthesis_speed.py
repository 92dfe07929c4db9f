"""All units of a layer in one batch, against our own best loop that makes them one by one with the same steps.

Usage: python benchmarks/synthesis_speed.py [--repeats 5] [--units N]

The loop calls the same ascent with the same plan, so that it pays neither for looking at the model nor for checks
more than once. Both are interleaved in one process; medians and ratios are printed and written to benchmarks/results/.
Early stopping is off, so that the number of steps is the same in both.
"""

import argparse
import os
import platform
import statistics
import time
from pathlib import Path

import torch
from torch import nn

import shiftscope
from shiftscope import files
from shiftscope.hooks import channels_last, frozen
from shiftscope.progress import SilentProgress
from shiftscope.settings import SynthesisSettings
from shiftscope.visualization.anatomy import examine
from shiftscope.visualization.binding import bind
from shiftscope.visualization.language import objective
from shiftscope.visualization.plan import climb, make_plan
from shiftscope.visualization.presets import resolve
from shiftscope.visualization.probe import Probe

RESULTS = Path(__file__).parent / "results" / "synthesis-speed.json"
CHECKPOINTS = Path(__file__).parents[1] / "examples" / "checkpoints"
SETTINGS = SynthesisSettings(patience=0)
JOBS = (("two-full", "fc1"), ("two-conv", "conv1"), ("two-conv", "conv2"), ("two-conv", "fc1"))


def batch(model: nn.Module, goal: str) -> float:
    """Return the seconds of `visualize` for all units at once."""
    begun = time.perf_counter()
    shiftscope.visualize(model, goal, settings=SETTINGS)
    return time.perf_counter() - begun


def one_by_one(model: nn.Module, goal: str) -> float:
    """Return the seconds of a loop over the units."""
    begun = time.perf_counter()
    anatomy = examine(model, model.picture)  # pyright: ignore[reportArgumentType]
    target, silent = bind(objective(goal), anatomy), SilentProgress()
    first = any(map(anatomy.reads_pixels, target.layers))
    chosen = resolve(SETTINGS, anatomy.shape, first=first, anchored=anatomy.knows_places)
    with frozen(model), channels_last(model):
        plan = make_plan(target, chosen, anatomy, device=torch.device("cpu"), dtype=torch.float32)
        for row in torch.arange(len(target.names)).split(1):
            climb(Probe(model, torch.float32), plan, row, silent.task("", 0))
    return time.perf_counter() - begun


def measure(model: nn.Module, goal: str, repeats: int) -> dict[str, float]:
    """Return median seconds of both ways and their ratio."""
    seconds: dict[str, list[float]] = {"batch": [], "one by one": []}
    batch(model, goal)  # warms caches up
    for _ in range(repeats):
        seconds["batch"].append(batch(model, goal))
        seconds["one by one"].append(one_by_one(model, goal))
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    return medians | {"ratio": statistics.median(b / a for a, b in zip(*seconds.values(), strict=True))}


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--units", default="all", help="for a quick look, for instance 0-9")
    asked = parser.parse_args()
    load, found = os.getloadavg()[0], {}
    for name, layer in JOBS:
        goal = f"{layer}:{asked.units}"
        found[f"{name} {goal}"] = row = measure(shiftscope.load(CHECKPOINTS / name), goal, asked.repeats)
        print(f"{name} {goal:10s} batch {row['batch']:7.3f} s, one by one {row['one by one']:7.3f} s, "
              f"ratio {row['ratio']:.1f}")
    files.write_json(RESULTS, {"machine": platform.processor() or platform.machine(), "torch": torch.__version__,
                               "threads": torch.get_num_threads(), "load_before": load, "repeats": asked.repeats,
                               "steps": resolve(SETTINGS, (1, 56, 56)).steps, "seconds": found})


if __name__ == "__main__":
    main()
