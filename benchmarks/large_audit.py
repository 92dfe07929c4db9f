"""Estimate the cost of an audit of a million images of 224 x 224 pixels and 1,000 classes from measured rates.

Usage: python benchmarks/large_audit.py [--images 1000000] [--processes 64]

Measured, as medians of three: the model's forward passes within an audit (a residual net of 18 layers, random weights,
224 x 224 on 256 x 256, a sample of its 1,089 placements, brute force); a large matrix product, which gives the speed of
the machine; the statistics over all predictions, which one process computes; the sum of predictions over two processes
(Gloo). The costs are extrapolated from these rates. Writes benchmarks/results/large-audit.json.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import shiftscope
from bench.machine import describe_machine
from shiftscope import files
from shiftscope.auditing.statistics import figures, maps
from shiftscope.data.base import Dataset, TensorImages
from shiftscope.placement import Placement
from shiftscope.results.base import SCHEMA_VERSION

RESULTS = Path(__file__).parent / "results" / "large-audit.json"
CLASSES, PLACE = 1000, Placement(image=(224, 224), canvas=(256, 256))
SAMPLE, IMAGES, ANSWERED, ROUNDS = 64, 2, 2000, 3
MERGED = 2**27
"""Bytes that the sum over two processes is timed on."""


class Block(nn.Module):
    """Two 3 x 3 convolutions with a short cut."""

    def __init__(self, before: int, after: int, stride: int):
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after))
        self.second = nn.Sequential(nn.Conv2d(after, after, 3, 1, 1, bias=False), nn.BatchNorm2d(after))
        cut = nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))
        self.cut = cut if stride != 1 or before != after else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(self.second(F.relu(self.first(x))) + self.cut(x))


def residual_net() -> nn.Module:
    """Return a net of the size that many use: 18 layers, 64 to 512 channels."""
    torch.manual_seed(0)
    stages = [Block(before, after, stride) for before, after, stride in (
        (64, 64, 1), (64, 64, 1), (64, 128, 2), (128, 128, 1), (128, 256, 2), (256, 256, 1), (256, 512, 2),
        (512, 512, 1))]
    stem = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    return nn.Sequential(*stem, *stages, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, CLASSES)).eval()


def timed(work: Callable[[], object]) -> float:
    """Return the median of the seconds that some work takes."""
    seconds = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - begun)
    return median(seconds)


def seconds_a_placement(model: nn.Module) -> float:
    """Return the cost per image and placement in an audit: the difference of two audits of different size."""
    generator = torch.Generator().manual_seed(0)
    images = TensorImages(torch.randint(0, 256, (2 * IMAGES, 3, 224, 224), dtype=torch.uint8, generator=generator),
                          torch.arange(2 * IMAGES))
    data = Dataset(name="noise", class_names=tuple(map(str, range(CLASSES))), train=images, test=images, source="-",
                   license="-")

    def audit(count: int) -> float:
        return timed(lambda: shiftscope.audit(model, data, placement=PLACE, engine="brute", sample=SAMPLE, limit=count))

    return (audit(2 * IMAGES) - audit(IMAGES)) / (IMAGES * SAMPLE)


def product_speed() -> float:
    """Return floating point operations a second of a large float32 matrix product."""
    a, b = torch.randn(2048, 2048), torch.randn(2048, 2048)
    return 2 * 2048**3 / timed(lambda: a @ b)


def seconds_an_answer() -> float:
    """Return the cost of the statistics per prediction."""
    generator = np.random.default_rng(0)
    predictions = generator.integers(0, CLASSES, (ANSWERED, PLACE.count)).astype(np.uint16)
    labels, offsets = generator.integers(0, CLASSES, ANSWERED), PLACE.offsets().numpy()
    rows, columns = (axis.numpy() for axis in PLACE.axes)

    def work() -> None:
        figures(predictions, labels, CLASSES, PLACE.count // 2)
        maps(predictions, labels, CLASSES, offsets, rows, columns)

    return timed(work) / predictions.size


def merge() -> None:
    """As one of two processes, print the bytes per second of their sum."""
    dist.init_process_group("gloo")
    values = torch.zeros(MERGED, dtype=torch.uint8)
    dist.all_reduce(values)
    seconds = timed(lambda: dist.all_reduce(values))
    if dist.get_rank() == 0:
        print(MERGED / seconds)
    dist.destroy_process_group()


def merged_bytes_a_second() -> float:
    """Return the speed of the sum over two processes."""
    line = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", __file__, "--merge"]
    one_thread = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(line, env=one_thread, check=True, text=True, stdout=subprocess.PIPE)
    return float(done.stdout)


def main() -> None:
    """Measure, multiply, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--processes", type=int, default=64)
    parser.add_argument("--merge", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.merge:
        merge()
        return
    model = residual_net()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.zeros(1, 3, *PLACE.canvas))
    operations, each, product = counter.get_total_flops(), seconds_a_placement(model), product_speed()
    predictions = asked.images * PLACE.count
    record = {
        "schema_version": SCHEMA_VERSION, "measured": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": describe_machine(torch.device("cpu")), "images": asked.images, "placements": PLACE.count,
        "classes": CLASSES, "operations_a_placement": operations, "seconds_a_placement": each,
        "share_of_product_speed": operations / each / product, "product_operations_a_second": product,
        "seconds_an_answer": seconds_an_answer(), "merged_bytes_a_second": merged_bytes_a_second()}
    record |= {
        "operations": operations * predictions, "seconds_here": each * predictions, "bytes_of_answers": 2 * predictions,
        "seconds_of_statistics": record["seconds_an_answer"] * predictions,
        "seconds_of_merging": 2 * predictions / record["merged_bytes_a_second"],
        "bytes_of_images": asked.images * 3 * 224 * 224}
    files.write_json(RESULTS, record)
    print(files.to_json(record))


if __name__ == "__main__":
    main()
