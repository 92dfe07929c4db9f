"""One epoch of the perceptron: through PIL and a DataLoader, by Shiftscope, and bare steps on a ready batch.

Usage: python benchmarks/training_pipeline.py [--data fashion-mnist] [--repeats 5]

The three are interleaved in one process; medians and ratios are printed and written to benchmarks/results/.
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

import torch
from torch.utils.data import DataLoader

import shiftscope
from shiftscope import files
from shiftscope.models import TwoFullNet
from shiftscope.settings import TrainSettings

sys.path.insert(0, str(Path(__file__).parent))
from notebook_way import PlacedPictures, train_epoch

RESULTS = Path(__file__).parent / "results" / "training-pipeline.json"
BATCH = 250


class NotebookModel(TwoFullNet):
    """The same perceptron for pixels that the loader has normalised already."""

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return log-probabilities (B, classes)."""
        hidden = torch.relu(self.fc1(pixels.flatten(1)))
        return torch.log_softmax(self.fc2(hidden), dim=1)


def notebook_way(data: shiftscope.Dataset) -> float:
    """Return the seconds of an epoch over the same training images as ours (validation split left out)."""
    images, _ = data.split(5000)
    pictures = images.gather(torch.arange(len(images)))[:, 0].numpy()
    loader = DataLoader(PlacedPictures(pictures, images.labels.numpy()), batch_size=BATCH, shuffle=True)
    model = NotebookModel()
    return train_epoch(model, torch.optim.AdamW(model.parameters(), lr=1e-3), loader)


def ours(data: shiftscope.Dataset) -> float:
    """Return the seconds of an epoch by Shiftscope."""
    settings = TrainSettings(epochs=1, batch_size=BATCH)
    return shiftscope.train(TwoFullNet(), data, settings=settings, name="two-full").train_seconds


def bare(data: shiftscope.Dataset) -> float:
    """Return the seconds of as many forward, backward and optimiser steps on one ready batch."""
    images, _ = data.split(5000)
    model = NotebookModel()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    batch = [(torch.rand(BATCH, 1, 56, 56), torch.randint(0, 10, (BATCH,)))] * -(-len(images) // BATCH)
    return train_epoch(model, optimizer, batch)  # pyright: ignore[reportArgumentType]


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="fashion-mnist")
    parser.add_argument("--repeats", type=int, default=5)
    asked = parser.parse_args()
    data, load = shiftscope.load_dataset(asked.data), os.getloadavg()[0]
    seconds: dict[str, list[float]] = {"notebook": [], "ours": [], "bare": []}
    for _ in range(asked.repeats):
        for name, measure in (("notebook", notebook_way), ("ours", ours), ("bare", bare)):
            seconds[name].append(measure(data))
            time.sleep(0.5)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    for name, median in medians.items():
        print(f"{name:9s} {median:6.2f} s an epoch (median of {asked.repeats})")
    print(f"ours / notebook = {medians['ours'] / medians['notebook']:.3f}")
    files.write_json(RESULTS, {
        "schema_version": 1, "measured": datetime.now(UTC).isoformat(timespec="seconds"), "data": data.name,
        "what": "seconds of one perceptron epoch, batches of 250", "seconds": seconds, "median": medians,
        "ours_over_notebook": medians["ours"] / medians["notebook"], "load_before": load,
        "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "machine": {"cores": os.cpu_count(), "threads": torch.get_num_threads(), "platform": platform.machine(),
                    "torch": torch.__version__}})


if __name__ == "__main__":
    main()
