"""Compare the accuracy of the fast training path and of a plain loop with the same recipe, images and order.

Usage: python benchmarks/same_accuracy.py [--models two-full two-conv] [--seeds 3] [--epochs N] [--limit N]

The plain loop places uint8 images on whole canvases and runs torch's layers on whole batches in the default layout,
with other dropout masks. Both models are tested by the plain path, on all test images at one random placement each. One
record per seed is added to benchmarks/results/same-accuracy.json, so that an interrupted benchmark resumes. The exit
code is 1 if the means of a model differ by more than the larger standard deviation over the seeds.
"""

import argparse
import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

import shiftscope
from bench.machine import describe_machine
from shiftscope import files, hashing
from shiftscope.models import build_model
from shiftscope.models.forward import evaluating
from shiftscope.placement import Placement, default_placement
from shiftscope.reporting.controls import mean_and_spread
from shiftscope.results.base import SCHEMA_VERSION
from shiftscope.settings import ResolvedSettings, TrainSettings
from shiftscope.training.optimization import build_optimizer, learning_rate

RESULTS = Path(__file__).parent / "results" / "same-accuracy.json"
ORDER_STREAM = 4  # of shiftscope.training.fit
TEST_SEED = 1
"""Fixes the placements of the test images."""

PATHS = ("fast", "plain")


def train_plainly(model: nn.Module, images: torch.Tensor, labels: torch.Tensor, place: Placement,
                  settings: ResolvedSettings) -> None:
    """Train by a plain loop over whole canvases.

    Args:
        images: uint8 (N, C, h, w).
        labels: (N,).
        settings: of which the fast path is given the same.
    """
    optimizer, steps, step = build_optimizer(model, settings), -(-len(images) // settings.batch_size), 0
    torch.manual_seed(settings.seed)  # of dropout
    model.train()
    for epoch in range(settings.epochs):
        order = hashing.permutation(hashing.stream(ORDER_STREAM, settings.seed, epoch), len(images))
        offsets = place.sample(order, seed=settings.seed, epoch=epoch)
        for batch, where in zip(order.split(settings.batch_size), offsets.split(settings.batch_size), strict=True):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(step, settings.epochs * steps, settings.learning_rate, settings.schedule)
            outputs = model(place.place(images[batch], where).float() / 255)
            loss = F.cross_entropy(outputs, labels[batch], label_smoothing=settings.label_smoothing)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1


def plain_accuracy(model: nn.Module, images: torch.Tensor, labels: torch.Tensor, place: Placement) -> float:
    """Return the accuracy on the test images, each at one random placement."""
    right = 0
    with evaluating(model):
        for batch in torch.arange(len(images)).split(500):
            canvases = place.place(images[batch], place.sample(batch, seed=TEST_SEED))
            right += int((model(canvases.float() / 255).argmax(1) == labels[batch]).sum())
    return right / len(images)


def run_path(path: str, name: str, data: shiftscope.Dataset, settings: TrainSettings) -> dict[str, float]:
    """Train a fresh model by one path; return its accuracy and the seconds that its training took."""
    place, seed = default_placement(data.shape), settings.seed
    model = build_model(name, canvas=place.canvas, channels=data.shape[0], classes=data.classes, seed=seed)
    begun = time.perf_counter()
    if path == "fast":
        shiftscope.train(model, data, placement=place, settings=settings, name=name)
    else:
        kept, _ = data.split(settings.validation)
        images = kept.gather(torch.arange(len(kept)))
        train_plainly(model, images, kept.labels, place, settings.resolve(name, data.name))
    seconds = time.perf_counter() - begun
    test = data.test.gather(torch.arange(len(data.test)))
    return {"accuracy": plain_accuracy(model, test, data.test.labels, place), "seconds": round(seconds, 2)}


def measure(name: str, data: shiftscope.Dataset, settings: TrainSettings, kept: Path) -> dict[str, Any]:
    """Return the record of one seed; what `kept` holds of it is not measured again.

    Args:
        kept: the file of all records, written after each path.
    """
    records = stored(kept)
    asked = {"model": name, "data": data.name, "train_images": len(data.train), "test_images": len(data.test),
             "validation": settings.validation, "epochs": settings.resolve(name, data.name).epochs,
             "seed": settings.seed, "threads": torch.get_num_threads()}
    record = next((one for one in records if asked.items() <= one.items()), None)
    if record is None:
        record = asked | {"measured": datetime.now(UTC).isoformat(timespec="seconds"),
                          "machine": describe_machine(torch.device("cpu"))}
        records.append(record)
    for path in PATHS:
        if path not in record:
            record[path] = run_path(path, name, data, settings)
            files.write_json(kept, {"schema_version": SCHEMA_VERSION, "records": records})
            print(f"{name} seed {settings.seed}, {path} path: {100 * record[path]['accuracy']:.2f} % in "
                  f"{record[path]['seconds']:.0f} s", flush=True)
    return record


def stored(kept: Path) -> list[dict[str, Any]]:
    """Return the records of a file that may not be there yet."""
    return list(json.loads(kept.read_text(encoding="utf-8"))["records"]) if kept.is_file() else []


def verdict(records: list[dict[str, Any]]) -> tuple[str, bool]:
    """Return a sentence on a model's seeds, and True if the difference of the two means is within the larger spread.

    >>> one, two = ({"fast": {"accuracy": a}, "plain": {"accuracy": b}} for a, b in ((0.75, 0.5), (0.25, 0.5)))
    >>> verdict([one, two])
    ('fast 50.00 ± 35.36 %, plain 50.00 ± 0.00 %, means 0.00 points apart', True)
    """
    (fast, wide), (plain, narrow) = (mean_and_spread([record[path]["accuracy"] for record in records])
                                     for path in PATHS)
    spread = max(wide or 0.0, narrow or 0.0)
    shown = ", ".join(f"{path} {100 * mean:.2f} ± {100 * (one or 0.0):.2f} %"
                      for path, mean, one in zip(PATHS, (fast, plain), (wide, narrow), strict=True))
    return f"{shown}, means {100 * abs(fast - plain):.2f} points apart", abs(fast - plain) <= spread


def main() -> None:
    """Measure, print and write; exit 1 where a model's paths differ by more than its seeds do."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="fashion-mnist")
    parser.add_argument("--models", nargs="+", default=["two-full", "two-conv"])
    parser.add_argument("--seeds", type=int, default=3, help="at least 2, for a spread")
    parser.add_argument("--epochs", type=int, help="default: the recipe's")
    parser.add_argument("--limit", type=int, help="number of training and test images")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--out", type=Path, default=RESULTS)
    asked = parser.parse_args()
    if asked.seeds < 2:
        parser.error(f"--seeds must be at least 2, got {asked.seeds}: one seed has no spread")
    if asked.threads:
        torch.set_num_threads(asked.threads)
    data, off = shiftscope.load_dataset(asked.data, limit=asked.limit), False
    for name in asked.models:
        settings = [TrainSettings(epochs=asked.epochs, mirror=False, erase=0.0, seed=k) for k in range(asked.seeds)]
        records = [measure(name, data, one, asked.out) for one in settings]
        sentence, within = verdict(records)
        off |= not within
        print(f"{name}, {asked.seeds} seeds, {records[0]['epochs']} epochs of {records[0]['train_images']:,} images: "
              f"{sentence} ({'within' if within else 'beyond'} the spread)", flush=True)
    raise SystemExit(int(off))


if __name__ == "__main__":
    main()
