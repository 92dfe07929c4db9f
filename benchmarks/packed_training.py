"""Training from a packed folder compared with training from memory: images per second and memory.

Usage: python benchmarks/packed_training.py [--images 200000] [--steps 40] [--rounds 7] [--folder FOLDER] [--no-epoch]

Draws colored shapes of 64 x 64 in ten classes (no real images), packs them into a folder in FOLDER (2.5 GB with
200,000 images, deleted afterwards), and then runs two parts, each in a separate process:

1. one epoch from the packed folder, all images, on a 96 x 96 canvas, and the test set, while the process notes its
   largest resident memory (VmHWM, torch and mapped pages of the files included);
2. rounds of a few steps from memory and from the packed folder in turn, with the same images, seeds and model: "cold"
   ones, before which the files are dropped from the page cache (posix_fadvise), and "warm" ones.

The model is four small strided convolutions: the less it computes, the more the time of reading matters. Written to
benchmarks/results/packed-training.json.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import nn

import shiftscope
from shiftscope import files, hashing
from shiftscope.data.base import Subset, TensorImages
from shiftscope.data.packed import read_packed
from shiftscope.data.packing import Source, pack
from shiftscope.progress import default_progress

RESULTS = Path(__file__).parent / "results" / "packed-training.json"
SIDE, CANVAS, CLASSES, BATCH = 64, (96, 96), 10, 250
CHUNK = 500
WAYS = ("memory", "packed, cold", "packed, warm")


def draw(first: int, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return images (count, 3, 64, 64) of a shape on a colored gradient with noise, and their classes.

    The class is the shape's number of lobes; colors, size, turn and noise are random.
    """
    generator = torch.Generator().manual_seed(first)
    labels = hashing.draw(7, torch.arange(first, first + count), CLASSES)
    place = torch.linspace(-1, 1, SIDE)
    y, x = place[:, None].expand(SIDE, SIDE), place.expand(SIDE, SIDE)
    one = torch.rand(count, 8, 1, 1, generator=generator)
    lobes = torch.cos(labels[:, None, None] * (torch.atan2(y, x) + 6.3 * one[:, 1]))
    edge = (0.35 + 0.25 * one[:, 0]) * (1 + 0.45 * lobes)
    inside = ((x * x + y * y).sqrt() < edge)[:, None]
    ground = 60 + 60 * one[:, 2:5] * (1 + 0.5 * x * one[:, 5:6] + 0.5 * y * one[:, 6:7])
    color = 255 * torch.rand(count, 3, 1, 1, generator=generator)
    noise = 12 * torch.randn(count, 3, SIDE, SIDE, generator=generator)
    return (torch.where(inside, color, ground) + noise).clamp(0, 255).to(torch.uint8), labels


def shapes(images: int) -> Source:
    """Return the drawn shapes as something to pack; test images are a fiftieth as many as training images."""
    counts = {"train": images, "test": max(images // 50, 1)}

    def chunks(split: str) -> Iterator[Any]:
        begin = 0 if split == "train" else images
        for first in range(begin, begin + counts[split], CHUNK):
            pixels, labels = draw(first, min(CHUNK, begin + counts[split] - first))
            yield pixels.numpy(), labels.numpy()

    return Source(name="shapes", class_names=tuple(f"{k} lobes" for k in range(CLASSES)),
                  shape=(3, SIDE, SIDE), source="shapes drawn by benchmarks/packed_training.py", license="MIT",
                  counts=counts, chunks=chunks, synthetic=True)


def small_net() -> nn.Module:
    """Return four strided convolutions and a linear layer."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for channels, filters in ((3, 16), (16, 32), (32, 64), (64, 64)):
        layers += [nn.Conv2d(channels, filters, 3, stride=2, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, CLASSES))


def train(data: shiftscope.Dataset, seed: int = 0, validation: int = 0) -> shiftscope.TrainResult:
    """Train the small net for one epoch in pieces of a fixed size: a trial would not choose the same one each time."""
    settings = shiftscope.TrainSettings(epochs=1, batch_size=BATCH, micro_batch=BATCH, seed=seed, validation=validation)
    place = shiftscope.Placement(image=(SIDE, SIDE), canvas=CANVAS)
    return shiftscope.train(small_net(), data, placement=place, settings=settings, name="small-net")


def memory(what: str) -> int:
    """Return VmHWM (the largest resident memory so far) or VmRSS (the present one) of this process, bytes."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(what + ":"))


def forget(path: Path) -> None:
    """Drop the files of a folder from the page cache."""
    for file in path.iterdir():
        with file.open("rb") as stream:
            os.fsync(stream.fileno())
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def one_epoch(path: Path) -> dict[str, Any]:
    """Train an epoch from the file and test, in a process that does nothing else."""
    before = memory("VmHWM")
    data = shiftscope.load_dataset(f"packed:{path}")
    result = train(data, validation=5000)
    place = shiftscope.Placement(image=(SIDE, SIDE), canvas=CANVAS)
    shiftscope.evaluate(small_net(), data, placement=place)
    return {"images": result.train_images, "seconds": result.train_seconds,
            "images_per_second": result.images_per_second, "history": result.history,
            "peak_bytes": memory("VmHWM"), "peak_bytes_after_imports": before}


def rounds(path: Path, steps: int, count: int) -> dict[str, Any]:
    """Train a few steps from memory and from the packed folder in turn, each round on other random images."""
    packed = shiftscope.load_dataset(f"packed:{path}")
    held = torch.empty(len(packed.train), *packed.shape, dtype=torch.uint8)
    for rows in torch.arange(len(held)).split(CHUNK):
        held[int(rows[0]):int(rows[-1]) + 1] = packed.train.gather(rows)
    found: dict[str, list[float]] = {way: [] for way in WAYS}
    losses = []
    for turn in range(count + 1):
        chosen = hashing.permutation(hashing.stream(8, turn), len(held))[:steps * BATCH]
        for way in WAYS if turn % 2 else (*WAYS[1:], WAYS[0]):
            # Opened again, so that every image is checked as in a first epoch.
            images = TensorImages(held, packed.train.labels) if way == "memory" else read_packed(path).train
            if way == "packed, cold":
                forget(path)
            result = train(replace(packed, train=Subset(images, chosen)), seed=turn)
            losses.append(result.history[0]["train_loss"])
            if turn:  # the first one warms up
                found[way].append(result.images_per_second)
    ratios = {way: [rate / base for base, rate in zip(found["memory"], found[way], strict=True)] for way in WAYS[1:]}
    return {"steps": steps, "batch": BATCH, "images_per_second": found, "ratios": ratios,
            "median_ratios": {way: statistics.median(values) for way, values in ratios.items()},
            "different_losses": len(set(losses)) - (count + 1)}


def apart(what: str, path: Path, *rest: int) -> dict[str, Any]:
    """Do `one_epoch` or `rounds` in a separate process and return its result."""
    line = [sys.executable, __file__, "--part", what, str(path), *map(str, rest)]
    return json.loads(subprocess.run(line, check=True, stdout=subprocess.PIPE, text=True).stdout)


def part(what: str, path: str, *rest: str) -> None:
    """Be the process that `apart` started."""
    done = one_epoch(Path(path)) if what == "epoch" else rounds(Path(path), *map(int, rest))
    print(json.dumps(done))


def measure(asked: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Make the file, measure, delete it."""
    needed = asked.images * SIDE * SIDE * 3 * 1.05
    if shutil.disk_usage(folder).free < 2 * needed:
        raise SystemExit(f"{folder} has too little room: {2 * needed / 1e9:.1f} GB, name another one with --folder")
    path = folder / "shapes.pack"
    try:
        made = pack(shapes(asked.images), path, progress=default_progress())
        forget(path)
        epoch = None if asked.no_epoch else apart("epoch", path)
        print(epoch, flush=True)
        turns = apart("rounds", path, asked.steps, asked.rounds)
        print(turns, flush=True)
    finally:
        shutil.rmtree(path, ignore_errors=True)
    return {"file": {"images": made.train_images, "shape": made.shape, "bytes": made.bytes}, "epoch": epoch,
            "rounds": turns}


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=200_000)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--no-epoch", action="store_true", help="rounds only")
    parser.add_argument("--part", nargs="+", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.part:
        part(*asked.part)
        return
    with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
        found = measure(asked, Path(folder))
    print(found["rounds"]["median_ratios"])
    files.write_json(RESULTS, {
        "schema_version": 2, "measured": datetime.now(UTC).isoformat(timespec="seconds"),
        "what": "training from a packed folder beside training from memory", **found,
        "machine": {"cores": os.cpu_count(), "threads": torch.get_num_threads(), "platform": platform.machine(),
                    "torch": torch.__version__}})


if __name__ == "__main__":
    main()
