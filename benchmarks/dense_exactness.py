"""Compare the dense engine with brute force: all logits at all placements, for the course's models and four other nets.

Usage: python benchmarks/dense_exactness.py [--images 300] [--nets two-full strided ...]

For each net: the largest difference of logits relative to the largest logit, and the number of labels that differ
although the two largest logits differ by more than twice that difference. Written to
benchmarks/results/dense-exactness.json.
"""

import argparse
import os
import platform
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

import shiftscope
from shiftscope import files
from shiftscope.dense import build_dense
from shiftscope.evaluation.brute import BruteForceEngine
from shiftscope.layers import Normalize
from shiftscope.placement import default_placement

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "dense-exactness.json"


class Residual(nn.Module):
    """Unpadded convolutions whose input is cropped and added to their output."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, 12, 5, stride=2)
        self.inner = nn.ModuleList(nn.Conv2d(12, 12, 3) for _ in range(3))
        self.head = nn.Linear(12, 10)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return logits (B, 10)."""
        x = F.relu(self.stem(pixels))
        for inner in self.inner:
            x = x[:, :, 1:-1, 1:-1] + F.relu(inner(x))
        return self.head(x.amax((2, 3)) + x.mean((2, 3)))


def strided() -> nn.Module:
    """Return two strided convolutions with batch norm, and linear layers."""
    return nn.Sequential(Normalize(0.1307, 0.3081), nn.Conv2d(1, 16, 5, stride=2), nn.BatchNorm2d(16), nn.ReLU(),
                         nn.Conv2d(16, 24, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(24 * 12 * 12, 32),
                         nn.ReLU(), nn.Linear(32, 10))


def average_pooling() -> nn.Module:
    """Return convolutions with average pooling between and after them."""
    return nn.Sequential(nn.Conv2d(1, 16, 5), nn.Tanh(), nn.AvgPool2d(2), nn.Conv2d(16, 24, 3), nn.GELU(),
                         nn.AvgPool2d(3, stride=2), nn.Flatten(), nn.Linear(24 * 11 * 11, 10), nn.LogSoftmax(1))


def dilated() -> nn.Module:
    """Return dilated convolutions with a maximum over all places at their end."""
    return nn.Sequential(nn.Conv2d(1, 12, 3, dilation=2), nn.ReLU(), nn.Conv2d(12, 16, 3, dilation=4, groups=4),
                         nn.SiLU(), nn.MaxPool2d(3, stride=2), nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(16, 10))


def course(name: str) -> Callable[[], nn.Module]:
    """Return a function that loads a course model, trained on real garments."""
    return lambda: shiftscope.load(HERE.parent / "examples" / "checkpoints" / name)


NETS = {"two-full": course("two-full"), "two-conv": course("two-conv"), "strided": strided,
        "average-pooling": average_pooling, "residual": Residual, "dilated": dilated}


@torch.no_grad()
def measure(name: str, data: shiftscope.Dataset, count: int) -> dict[str, Any]:
    """Compare both engines on the first `count` test images."""
    torch.manual_seed(0)
    model, placement = NETS[name]().eval(), default_placement(data.shape)
    dense, brute = build_dense(model, placement, data.shape), BruteForceEngine(model, placement, data.shape)
    seconds, worst, largest, gaps, differ = {"dense": 0.0, "brute": 0.0}, 0.0, 0.0, [], []
    for indices in torch.arange(count).split(20):
        images, found = data.test.gather(indices), {}
        for engine in (dense, brute):
            begun = time.perf_counter()
            found[engine.name] = torch.cat([engine.logits(part) for part in images.split(engine.images_per_call)])
            seconds[engine.name] += time.perf_counter() - begun
        worst = max(worst, float((found["dense"] - found["brute"]).abs().max()))
        largest = max(largest, float(found["brute"].abs().max()))
        top = found["brute"].topk(2).values
        gaps.append((top[..., 0] - top[..., 1]).flatten())
        differ.append((found["dense"].argmax(-1) != found["brute"].argmax(-1)).flatten())
    gap, flipped = torch.cat(gaps), torch.cat(differ)
    return {"net": name, "images": count, "placements": placement.count, "largest_logit": largest,
            "max_abs_difference": worst, "relative": worst / max(largest, 1.0), "labels": len(flipped),
            "labels_that_differ": int(flipped.sum()), "of_them_not_ties": int((flipped & (gap > 2 * worst)).sum()),
            "seconds": seconds}


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nets", nargs="+", default=list(NETS), choices=list(NETS))
    parser.add_argument("--images", type=int, default=300)
    asked = parser.parse_args()
    data, records = shiftscope.load_dataset("fashion-mnist"), []
    for name in asked.nets:
        records.append(measure(name, data, asked.images))
        print({key: value for key, value in records[-1].items() if key != "seconds"}, flush=True)
    files.write_json(RESULTS, {
        "schema_version": 2, "measured": datetime.now(UTC).isoformat(timespec="seconds"), "data": data.name,
        "what": "dense engine against brute force, float32", "records": records,
        "machine": {"cores": os.cpu_count(), "threads": torch.get_num_threads(), "platform": platform.machine(),
                    "torch": torch.__version__}})


if __name__ == "__main__":
    main()
