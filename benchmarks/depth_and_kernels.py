"""Compare nets with the same number of parameters that differ in depth and kernel size.

Usage: OMP_NUM_THREADS=1 python benchmarks/depth_and_kernels.py [--seeds 3] [--draw]

Four nets share stem, head and recipe. Between stem and head they have 1 layer of 9 x 9, 2 of 5 x 5 or 4 of 3 x 3, with
the same receptive field of 9 x 9 positions, or 8 narrow layers of 3 x 3, with a larger one. Their numbers of parameters
differ by less than 5 %. Each is trained on the first training images at random placements and audited at all 841
placements of the first test images. One record per seed is added to benchmarks/results/depth-and-kernels.json, so that
an interrupted run resumes. With --draw the script only draws the figure and writes the table into docs/depth.md.
"""

import argparse
import json
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import nn

import shiftscope
from bench.machine import describe_machine
from page_markers import replace_between_markers
from shiftscope import files
from shiftscope.devices import resolve_device
from shiftscope.layers import Normalize
from shiftscope.models import count_parameters
from shiftscope.reporting.controls import mean_and_spread
from shiftscope.reporting.figure_style import BLUE, INK, VERMILLION, describe, foot, head, render_figure, styled
from shiftscope.reporting.formatting import percent_spread
from shiftscope.settings import TrainSettings

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "depth-and-kernels.json"
PAGE, PICTURE = ROOT / "docs" / "depth.md", ROOT / "docs" / "images" / "depth-and-kernels.png"

STEM = 8
"""Filters of the stem, 5 x 5, after which a max-pool halves the map."""

NETS = {"1 layer of 9 x 9": (1, 9, 18), "2 layers of 5 x 5": (2, 5, 18), "4 layers of 3 x 3": (4, 3, 19),
        "8 layers of 3 x 3": (8, 3, 13)}
"""Layers, kernel and width of the part that differs."""

RATES = {"1 layer of 9 x 9": 0.03, "2 layers of 5 x 5": 0.03, "4 layers of 3 x 3": 0.01, "8 layers of 3 x 3": 0.01}
"""Largest learning rates: of 0.003, 0.01 and 0.03 the best on 1,000 validation images after 3 epochs on 5,000 images
with seed 9, for each net by itself: no net should suffer from another one's rate."""

TRAIN_IMAGES, TEST_IMAGES, EPOCHS = 12_000, 2_000, 8
SETTINGS: dict[str, Any] = {"epochs": EPOCHS, "batch_size": 100, "validation": 0, "micro_batch": 0}
FIGURES = ("mean_accuracy", "worst_case_accuracy", "consistency", "middle_accuracy")


def net(layers: int, kernel: int, width: int) -> nn.Module:
    """Return stem, layers, the largest value of each channel over all places, and a linear layer to ten classes."""
    parts: list[nn.Module] = [Normalize(0.1307, 0.3081), *_unit(1, STEM, 5), nn.MaxPool2d(2)]
    for before in (STEM, *[width] * (layers - 1)):
        parts += _unit(before, width, kernel)
    return nn.Sequential(*parts, nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(width, 10))


def _unit(before: int, after: int, kernel: int) -> list[nn.Module]:
    return [nn.Conv2d(before, after, kernel, bias=False), nn.BatchNorm2d(after), nn.ReLU()]


def measure(name: str, seed: int, data: shiftscope.Dataset) -> dict[str, Any]:
    """Train one net and audit it at every placement."""
    layers, kernel, width = NETS[name]
    torch.manual_seed(seed)
    model = net(layers, kernel, width)
    place = shiftscope.Placement(image=(28, 28), canvas=(56, 56))
    settings = TrainSettings(seed=seed, learning_rate=RATES[name], **SETTINGS)
    trained = shiftscope.train(model, data, placement=place, settings=settings, name=name)
    begun = time.perf_counter()
    found = shiftscope.audit(model.eval(), data, placement=place, limit=TEST_IMAGES, name=name, trained="random")
    return {"net": name, "layers": layers, "kernel": kernel, "width": width, "seed": seed,
            "parameters": count_parameters(model), "train_seconds": trained.train_seconds,
            "train_images": trained.train_images, "train_accuracy": trained.history[-1]["train_accuracy"],
            "images": found.images, "placements": found.placements, "engine": found.engine, "ties": found.ties,
            "self_check": found.self_check, "audit_seconds": time.perf_counter() - begun,
            "settings": trained.settings, **{key: getattr(found, key) for key in FIGURES}}


def read() -> list[dict[str, Any]]:
    """Return the records that are there."""
    return json.loads(RESULTS.read_text(encoding="utf-8"))["records"] if RESULTS.is_file() else []


def write(records: Sequence[dict[str, Any]]) -> None:
    """Keep the records, with the machine that made the last one."""
    files.write_json(RESULTS, {
        "schema_version": 2,
        "what": f"nets of equal parameters, trained on random placements of the first {TRAIN_IMAGES} training images "
        f"for {EPOCHS} epochs, audited at all placements of the first {TEST_IMAGES} test images; other work "
        "shared the machine, so times say little",
        "measured": datetime.now(UTC).date().isoformat(), "records": list(records),
        "machine": describe_machine(resolve_device("cpu"))})


def groups(records: Sequence[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Return the records of each net, in the order of NETS."""
    found = {name: [record for record in records if record["net"] == name] for name in NETS}
    return {name: some for name, some in found.items() if some}


def table(records: Sequence[dict[str, Any]]) -> str:
    """Return the Markdown table of the records."""
    lines = ["| between stem and head | width | parameters | mean | worst case | consistency | centered | seeds |",
             "|---|---|---|---|---|---|---|---|"]
    for name, some in groups(records).items():
        shares = (percent_spread(*mean_and_spread([one[key] for one in some])) for key in FIGURES)
        first = some[0]
        lines.append(f"| {name} | {first['width']} | {first['parameters']:,} | {' | '.join(shares)} | {len(some)} |")
    return "\n".join(lines)


@styled
def figure(records: Sequence[dict[str, Any]]) -> Figure:
    """Draw mean and worst case of each net: small marks for the seeds, large ones for their means."""
    synthetic = Figure(figsize=(7.2, 3.4))
    axes = synthetic.add_axes((0.21, 0.25, 0.74, 0.5))
    some = groups(records)
    words = []
    for place, (name, ones) in enumerate(some.items()):
        means = []
        for key, color, marker in (("worst_case_accuracy", VERMILLION, "o"), ("mean_accuracy", BLUE, "s")):
            shares = [one[key] for one in ones]
            mean = 100 * mean_and_spread(shares)[0]
            means.append(mean)
            axes.plot([100 * share for share in shares], [place] * len(shares), marker, color=color, markersize=3.5,
                      alpha=0.6)
            axes.plot([mean], [place], marker, color=color, markersize=9, markeredgecolor=INK, markeredgewidth=0.5)
            axes.annotate(f"{mean:.1f}", (mean, place), (0, 9), textcoords="offset points", ha="center", fontsize=8)
        axes.hlines(place, *means, color=INK, linewidth=1, zorder=0)
        words.append(f"{name}: mean {means[1]:.1f} %, worst case {means[0]:.1f} %")
    axes.set_yticks(range(len(some)), list(some))
    axes.set_ylim(len(some) - 0.5, -0.6)
    axes.set_xlabel("accuracy, %")
    head(synthetic, "Depth and kernel size at equal numbers of parameters",
         "Circles: worst-case accuracy (correct at every placement). Squares: mean accuracy over all placements.")
    foot(synthetic, f"Small marks: seeds. {records[0]['train_images']:,} training images, {EPOCHS} epochs; the first "
         f"{records[0]['images']:,} test images of Fashion-MNIST at all {records[0]['placements']} placements.")
    return describe(synthetic, "; ".join(words))


def draw(records: Sequence[dict[str, Any]]) -> None:
    """Write figure and table into the documentation."""
    files.write_bytes(PICTURE, render_figure(figure(records), "png"))
    text = replace_between_markers(PAGE.read_text(encoding="utf-8"), "depth", table(records), str(PAGE))
    files.write_text(PAGE, text)


def main() -> None:
    """Measure what is missing, or draw what is there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--draw", action="store_true")
    asked, records = parser.parse_args(), read()
    if asked.draw:
        draw(records)
        return
    data = shiftscope.load_dataset("fashion-mnist", limit=TRAIN_IMAGES)
    for seed in range(asked.seeds):
        for name in NETS:
            if not any((record["net"], record["seed"]) == (name, seed) for record in records):
                records.append(measure(name, seed, data))
                write(records)
                print({key: records[-1][key] for key in ("net", "seed", "parameters", "train_seconds", "engine",
                                                         "audit_seconds", *FIGURES)}, flush=True)


if __name__ == "__main__":
    main()
