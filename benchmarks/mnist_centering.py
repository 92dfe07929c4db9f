"""Measure what bounding-box centering costs a net that was trained on MNIST, whose digits are centered by mass.

Usage: python benchmarks/mnist_centering.py [--data mnist] [--train 20000] [--epochs 2] [--seeds 1]

The convnet of the course is trained on centered images, once as MNIST stores them and once with the bounding box of
each digit in the middle, as the layer `Recenter`, the repair `recenter` and the model `recentered` show it. Both nets
are tested on all test images at both positions, with McNemar's test of the two positions of each net. The record is
written to benchmarks/results/mnist-centering.json. About four minutes on two cores.
"""

import argparse
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

import shiftscope
from bench.machine import describe_machine
from shiftscope import files
from shiftscope.data.base import Dataset, ImageSet, TensorImages
from shiftscope.layers import Recenter
from shiftscope.metrics import mcnemar
from shiftscope.models import build_model
from shiftscope.models.forward import evaluating, to_pixels
from shiftscope.placement import Placement
from shiftscope.settings import TrainSettings

RESULTS = Path(__file__).parent / "results" / "mnist-centering.json"
CANVAS = (56, 56)
POSITIONS = ("mass", "box")
"""Centered by mass, as MNIST stores its digits, and by the bounding box."""


def centered(images: torch.Tensor, place: Placement) -> torch.Tensor:
    """Return canvases with the images at the middle placement."""
    return place.place(images, torch.tensor(place.middle).expand(len(images), 2))


def by_box(images: ImageSet) -> TensorImages:
    """Return the images with the bounding box of each in the middle, as `Recenter` shows it."""
    _, height, width = images.shape
    place = Placement(image=(height, width), canvas=(2 * height, 2 * width))
    recenter, parts = Recenter((height, width)), []
    for rows in torch.arange(len(images)).split(1000):
        parts.append((recenter(to_pixels(centered(images.gather(rows), place))) * 255).round().to(torch.uint8))
    return TensorImages(torch.cat(parts), images.labels)


def displacements(images: ImageSet, moved: ImageSet) -> torch.Tensor:
    """Return the shift of each image in pixels (rows, columns), (N, 2), from its first occupied row and column."""
    corners = []
    for some in (images, moved):
        occupied = some.gather(torch.arange(len(some)))[:, 0] > 0
        corners.append(torch.stack([occupied.any(axis).int().argmax(1) for axis in (2, 1)], 1))
    return corners[1] - corners[0]


def predictions(model: torch.nn.Module, images: ImageSet, place: Placement) -> torch.Tensor:
    """Return the predicted classes (N,) of images in the middle of the canvas."""
    found = []
    with evaluating(model):
        for rows in torch.arange(len(images)).split(250):
            found.append(model(to_pixels(centered(images.gather(rows), place))).argmax(1))
    return torch.cat(found)


def measure(data: dict[str, Dataset], seed: int, epochs: int) -> list[dict[str, Any]]:
    """Train one net per position of the training images, and test each at both positions."""
    place, records = Placement(image=data["mass"].shape[1:], canvas=CANVAS), []
    middle = Placement(image=place.image, canvas=CANVAS, max_shift=0)
    for trained in POSITIONS:
        model = build_model("two-conv", canvas=CANVAS, seed=seed)
        shiftscope.train(model, data[trained], placement=middle, progress=False, name="two-conv",
                         settings=TrainSettings(epochs=epochs, seed=seed))
        labels = data["mass"].test.labels
        correct = {tested: predictions(model, data[tested].test, place) == labels for tested in POSITIONS}
        lost, won, p_value = mcnemar(correct["mass"], correct["box"])
        records.append({"trained": trained, "seed": seed, "correct_by_mass_only": lost, "correct_by_box_only": won,
                        "p_value": p_value,
                        **{f"accuracy_{tested}": found.double().mean().item() for tested, found in correct.items()}})
        print(f"seed {seed}, trained by {trained}: " + ", ".join(
            f"{100 * records[-1][f'accuracy_{tested}']:.2f} % tested by {tested}" for tested in POSITIONS), flush=True)
    return records


def main() -> None:
    """Measure and write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="mnist")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--train", type=int, default=20_000)
    parser.add_argument("--test", type=int, default=10_000)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    whole = shiftscope.load_dataset(options.data, data_dir=options.data_dir)
    few = {"train": whole.limit(options.train).train, "test": whole.limit(options.test).test}
    data = {"mass": replace(whole, **few), "box": replace(whole, **{split: by_box(few[split]) for split in few})}
    moved = displacements(data["mass"].test, data["box"].test)
    records = [record for seed in range(options.seeds) for record in measure(data, seed, options.epochs)]
    files.write_json(options.out, {
        "schema_version": 2, "data": whole.name, "training_images": options.train, "epochs": options.epochs,
        "test_images": len(moved), "records": records, "measured": datetime.now(UTC).isoformat(timespec="seconds"),
        "moved": {"fraction": (moved != 0).any(1).double().mean().item(), "mean": moved.abs().double().mean(0).tolist(),
                  "most": moved.abs().amax(0).tolist()},
        "machine": describe_machine(torch.device("cpu"))})


if __name__ == "__main__":
    main()
