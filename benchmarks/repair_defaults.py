"""Compare the defaults of repairs with other choices on validation images: length of the blur, choice of shifts.

Usage: python benchmarks/repair_defaults.py [CHECKPOINT] [--images 1000] [--step 4]

The checkpoint (default: the course's convnet, examples/checkpoints/two-conv) is repaired by each choice, without
training, and audited on the first validation images of Fashion-MNIST at every `step`-th placement. Test images are not
used. Written to benchmarks/results/repair-defaults.json.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import nn

import shiftscope
from bench.machine import describe_machine
from shiftscope import files
from shiftscope.data.base import Dataset, Subset
from shiftscope.layers.averaging import MeanOfViews, phases
from shiftscope.models import load, load_config
from shiftscope.models.repair import repair
from shiftscope.models.repair.blur import taps_for
from shiftscope.placement import Placement

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "repair-defaults.json"
SHIFTS = {"nearest to none": phases(4), "from 0 on": range(4), "up to 0": range(-3, 1)}
"""One shift of each remainder, in three ways."""
TAPS = (2, 3, 4, 5, 7)
FIGURES = ("mean_accuracy", "worst_case_accuracy", "consistency", "middle_accuracy")


class AverageOver(nn.Module):
    """The mean of a net's probabilities over the circular shifts named, both ways."""

    def __init__(self, model: nn.Module, shifts: Sequence[int]):
        super().__init__()
        self.model, self.shifts = model, shifts

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        mean = MeanOfViews("probabilities")
        for dy in self.shifts:
            for dx in self.shifts:
                mean.add(self.model(pixels.roll((dy, dx), (2, 3)))[None])
        return mean.result()


def variants(model: nn.Module, shape: tuple[int, int, int]) -> Iterator[tuple[str, str, bool, nn.Module]]:
    """Yield (repair, choice, whether it is the default, repaired model)."""
    yield "none", "as trained", True, model
    for name, shifts in SHIFTS.items():
        yield "phase-average", name, list(shifts) == list(phases(4)), AverageOver(model, shifts)
    for taps in TAPS:
        with patch("shiftscope.models.repair.blur.taps_for", lambda stride, taps=taps: taps):
            yield "blur", f"{taps} taps", taps == taps_for(2), repair(model, shape, method="blur")


def validation_of(data: Dataset, size: int, images: int) -> Dataset:
    """Return the dataset with its first validation images in the place of the test images."""
    held_out = data.split(size)[1]
    if held_out is None:
        raise SystemExit("the checkpoint was trained without validation images: nothing to choose on")
    return replace(data, test=Subset(held_out, torch.arange(min(images, len(held_out)))))


def main() -> None:
    """Audit each choice, print and keep its figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", nargs="?", type=Path, default=ROOT / "examples" / "checkpoints" / "two-conv")
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--step", type=int, default=4)
    asked = parser.parse_args()
    model, config = load(asked.checkpoint).eval(), load_config(asked.checkpoint)
    held_out = (config.provenance.settings or {}).get("validation", 0)
    data = validation_of(shiftscope.load_dataset("fashion-mnist"), held_out, asked.images)
    place = Placement(image=data.shape[1:], canvas=(56, 56), step=asked.step)
    records: list[dict[str, Any]] = []
    for method, choice, default, repaired in variants(model, (1, 56, 56)):
        found = shiftscope.audit(repaired.eval(), data, placement=place, name=f"{method}, {choice}", trained="random")
        records.append({"repair": method, "choice": choice, "default": default, "images": found.images,
                        "placements": found.placements, **{key: getattr(found, key) for key in FIGURES}})
        print(f"{method:14} {choice:16} " + "  ".join(f"{key} {records[-1][key]:.4f}" for key in FIGURES), flush=True)
    files.write_json(RESULTS, {
        "schema_version": 2, "what": "choices of repairs on validation images, no training after the repair",
        "measured": datetime.now(UTC).isoformat(timespec="seconds"), "records": records,
        "machine": describe_machine(torch.device("cpu"))})


if __name__ == "__main__":
    main()
