"""Noise on the canvas: how accuracy and consistency of each model fall with it.

Usage: python benchmarks/noise.py CHECKPOINT... [--data fashion-mnist] [--images 500] [--step 7] [--levels 0 2 5]

Whole canvases get Gaussian noise of so many grey levels (of 255), rounded and clipped as a camera does it, fresh for
every image and placement. Promises of exact indifference to place hold for a clean background alone: this measures
what is left of them. Every `step`-th placement is looked at, from the middle one. A model called `recentred` is
measured with its robust form as well. One record a model and level is appended to benchmarks/results/noise.json.
"""

import argparse
import json
from datetime import UTC, datetime
from pathlib import Path

import torch
from torch import nn

import shiftscope
from shiftscope import files
from shiftscope.models import RecentredNet, load, load_config
from shiftscope.models.forward import evaluating, to_pixels
from shiftscope.placement import Placement
from shiftscope.workflows.bench.machine import describe_machine

RESULTS = Path(__file__).parent / "results" / "noise.json"


def noisy(canvases: torch.Tensor, level: float, generator: torch.Generator) -> torch.Tensor:
    """Return uint8 canvases with Gaussian noise of deviation `level` grey levels."""
    noise = torch.randn(canvases.shape, generator=generator) * level
    return (canvases + noise).round().clamp(0, 255).to(torch.uint8)


def answers(model: nn.Module, images: torch.Tensor, place: Placement, level: float) -> torch.Tensor:
    """Return the predicted classes (N, P) at every placement of `place`."""
    generator, found = torch.Generator().manual_seed(0), []
    with evaluating(model):
        for offset in place.offsets():
            canvases = noisy(place.place(images, offset.expand(len(images), 2)), level, generator)
            found.append(torch.cat([model(to_pixels(part)).argmax(1) for part in canvases.split(125)]))
    return torch.stack(found, 1)


def consistency(classes: torch.Tensor, count: int) -> float:
    """Return the mean over images of the probability that two of their placements get one label."""
    shares = torch.stack([(classes == k).double().mean(1) for k in range(count)])
    return shares.square().sum(0).mean().item()


def variants(folder: Path) -> dict[str, nn.Module]:
    """Return a checkpoint's model by name, the recentred one in its robust form as well."""
    model, name = load(folder), load_config(folder).name
    found = {name: model}
    if isinstance(model, RecentredNet):
        robust = RecentredNet(**(model.arguments | {"robust": True})).eval()
        robust.load_state_dict(model.state_dict())
        found[f"{name}, robust"] = robust
    return found


def main() -> None:
    """Measure each checkpoint at each level."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoints", nargs="+", type=Path)
    parser.add_argument("--data", default="fashion-mnist")
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--step", type=int, default=7)
    parser.add_argument("--levels", type=float, nargs="+", default=[0, 2, 5, 10, 20, 40])
    asked = parser.parse_args()
    data = shiftscope.load_dataset(asked.data)
    images = data.test.gather(torch.arange(min(asked.images, len(data.test))))
    labels = data.test.labels[:len(images), None]
    place = Placement(image=data.shape[1:], canvas=(2 * data.shape[1], 2 * data.shape[2]), step=asked.step)
    stored = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {"schema_version": 1, "records": []}
    for folder in asked.checkpoints:
        for name, model in variants(folder).items():
            for level in asked.levels:
                classes = answers(model, images, place, level)
                record = {"model": name, "level": level, "images": len(images), "placements": place.count,
                          "accuracy": (classes == labels).double().mean().item(),
                          "consistency": consistency(classes, data.classes), "data": data.name,
                          "measured": datetime.now(UTC).isoformat(timespec="seconds"),
                          "machine": describe_machine(torch.device("cpu"))}
                stored["records"].append(record)
                files.write_json(RESULTS, stored)
                print(f"{name:20} noise {level:4g}: accuracy {record['accuracy']:.4f}, "
                      f"consistency {record['consistency']:.4f}", flush=True)


if __name__ == "__main__":
    main()
