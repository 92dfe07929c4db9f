"""Measure how accuracy and consistency of each model decrease with noise on the canvas.

Usage: python benchmarks/noise.py CHECKPOINT... [--data fashion-mnist] [--images 500] [--step 7] [--levels 0 2 5]
       python benchmarks/noise.py --draw

Whole canvases get Gaussian noise of the given standard deviations in gray levels (of 255), rounded and clipped, new for
every image and placement. Exact translation invariance holds for a clean background only; this measures what remains.
Every `step`-th placement from the middle is evaluated. A model called `recentered` is also measured in its robust form.
One record per model and level is written to benchmarks/results/noise.json and replaces an older one. With --draw the
script only draws the figure and writes the table into docs/noise.md.
"""

import argparse
import json
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
from shiftscope.models import RecenteredNet, load, load_config
from shiftscope.models.forward import evaluating, to_pixels
from shiftscope.placement import Placement
from shiftscope.reporting.figure_style import SERIES, describe, foot, head, render_figure, styled
from shiftscope.reporting.formatting import percent

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "noise.json"
PAGE, PICTURE = ROOT / "docs" / "noise.md", ROOT / "docs" / "images" / "noise.png"


def noisy(canvases: torch.Tensor, level: float, generator: torch.Generator) -> torch.Tensor:
    """Return uint8 canvases with Gaussian noise of std `level` gray levels."""
    noise = torch.randn(canvases.shape, generator=generator) * level
    return (canvases + noise).round().clamp(0, 255).to(torch.uint8)


def predictions(model: nn.Module, images: torch.Tensor, place: Placement, level: float) -> torch.Tensor:
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
    """Return a checkpoint's model by name, the recentered one in its robust form as well."""
    model, name = load(folder), load_config(folder).name
    found = {name: model}
    if isinstance(model, RecenteredNet):
        robust = RecenteredNet(**(model.arguments | {"robust": True})).eval()
        robust.load_state_dict(model.state_dict())
        found[f"{name}, robust"] = robust
    return found


def read() -> list[dict[str, Any]]:
    """Return the records measured so far."""
    return json.loads(RESULTS.read_text(encoding="utf-8"))["records"] if RESULTS.is_file() else []


def curves(records: Sequence[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Return the records of each model by level, the models in the order in which they were measured."""
    found: dict[str, list[dict[str, Any]]] = {}
    for record in sorted(records, key=lambda one: one["level"]):
        found.setdefault(record["model"], []).append(record)
    return {name: found[name] for name in dict.fromkeys(record["model"] for record in records)}


def table(records: Sequence[dict[str, Any]]) -> str:
    """Return the Markdown table of the records: accuracy and, after a stroke, consistency."""
    found = curves(records)
    levels = sorted({record["level"] for record in records})
    lines = [f"| accuracy / consistency at noise of | {' | '.join(f'{level:g}' for level in levels)} |",
             f"|---|{'---|' * len(levels)}"]
    for name, some in found.items():
        cells = {one["level"]: f"{percent(one['accuracy'])} / {percent(one['consistency'])}" for one in some}
        lines.append(f"| {name} | {' | '.join(cells.get(level, '–') for level in levels)} |")
    return "\n".join(lines)


@styled
def figure(records: Sequence[dict[str, Any]]) -> Figure:
    """Draw accuracy and consistency of each model against the level of noise."""
    synthetic, words = Figure(figsize=(7.2, 3.7)), []
    panels = [synthetic.add_axes((left, 0.26, 0.38, 0.47)) for left in (0.09, 0.58)]
    for key, axes in zip(("accuracy", "consistency"), panels, strict=True):
        for (name, some), (color, marker) in zip(curves(records).items(), SERIES, strict=False):
            shares = [100 * one[key] for one in some]
            axes.plot([one["level"] for one in some], shares, marker=marker, color=color, markersize=5, label=name)
            words.append(f"{name}, {key}: {', '.join(f'{share:.1f}' for share in shares)} %")
        axes.set_title(key)
        axes.set_ylim(0, 103)
        axes.set_xlabel("noise, gray levels of 255")
    panels[0].set_ylabel("%")
    panels[1].legend(loc="lower left", fontsize=7.5)
    head(synthetic, "Noise on the whole canvas",
         "Exact invariance requires a clean background. No model was trained with noise.")
    first = records[0]
    foot(synthetic, f"{first['images']} test images of {first['data']}, {first['placements']} placements each, new "
         "noise for each of them. One trained model per curve.")
    return describe(synthetic, "; ".join(words))


def draw(records: Sequence[dict[str, Any]]) -> None:
    """Write figure and table into the documentation."""
    files.write_bytes(PICTURE, render_figure(figure(records), "png"))
    text = replace_between_markers(PAGE.read_text(encoding="utf-8"), "noise", table(records), str(PAGE))
    files.write_text(PAGE, text)


def main() -> None:
    """Measure each checkpoint at each level, or draw what is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoints", nargs="*", type=Path)
    parser.add_argument("--data", default="fashion-mnist")
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--step", type=int, default=7)
    parser.add_argument("--levels", type=float, nargs="+", default=[0, 2, 5, 10, 20, 40])
    parser.add_argument("--draw", action="store_true")
    asked, records = parser.parse_args(), read()
    if asked.draw:
        draw(records)
        return
    data = shiftscope.load_dataset(asked.data)
    images = data.test.gather(torch.arange(min(asked.images, len(data.test))))
    labels = data.test.labels[:len(images), None]
    place = Placement(image=data.shape[1:], canvas=(2 * data.shape[1], 2 * data.shape[2]), step=asked.step)
    for folder in asked.checkpoints:
        for name, model in variants(folder).items():
            for level in asked.levels:
                classes = predictions(model, images, place, level)
                records = [one for one in records if (one["model"], one["level"]) != (name, level)]
                records.append({"model": name, "level": level, "images": len(images), "placements": place.count,
                                "accuracy": (classes == labels).double().mean().item(),
                                "consistency": consistency(classes, data.classes), "data": data.name,
                                "measured": datetime.now(UTC).isoformat(timespec="seconds"),
                                "machine": describe_machine(torch.device("cpu"))})
                files.write_json(RESULTS, {"schema_version": 2, "records": records})
                print(f"{name:20} noise {level:4g}: accuracy {records[-1]['accuracy']:.4f}, "
                      f"consistency {records[-1]['consistency']:.4f}", flush=True)


if __name__ == "__main__":
    main()
