"""The figures of a run: made once, written as PNG and SVG, and kept for the report."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import nn

from shiftscope.data import Dataset
from shiftscope.models import REGISTRY, load
from shiftscope.placement import Placement
from shiftscope.reporting import (
    ControlCell,
    ReportFigure,
    alt_text,
    classified_gallery,
    confusion_matrix,
    controls_table,
    image_credit,
    model_title,
    sample_gallery,
    save_figure,
    training_curves,
    weight_grid,
)
from shiftscope.runs import RunFolder, slug
from shiftscope.workflows.jobs import JobResult

SAMPLES_PER_CLASS = 4


def samples_figure(data: Dataset, placement: Placement, seed: int) -> Figure:
    """Return the gallery of samples: the first training images of each class, each at a random place."""
    labels = data.train.labels
    chosen = torch.cat([(labels == cls).nonzero()[:SAMPLES_PER_CLASS, 0] for cls in range(data.classes)])
    canvases = placement.place(data.train.gather(chosen).cpu(), placement.sample(chosen, seed=seed))
    return sample_gallery(canvases.numpy(), labels[chosen].numpy(), data.class_names,
                          caption=image_credit(data.name, drawn=data.drawn), per_class=SAMPLES_PER_CLASS)


def first_weights(model: nn.Module, picture: tuple[int, ...]) -> np.ndarray | None:
    """Return the first layer's weights as pictures (units, C, h, w); None where they are none."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            return module.weight.detach().cpu().numpy()
        if isinstance(module, nn.Linear):
            if module.in_features != int(np.prod(picture)):
                return None
            return module.weight.detach().cpu().numpy().reshape(module.out_features, *picture)
    return None


def run_figures(data: Dataset, placement: Placement, results: Sequence[JobResult], cells: Sequence[ControlCell],
                run: RunFolder, seed: int) -> dict[str, ReportFigure]:
    """Draw all figures of a run, write them into its folder, and return them for the report."""
    shown = _Gallery(run.figures)
    shown.add("samples", "samples", samples_figure(data, placement, seed),
              f"{SAMPLES_PER_CLASS} training images of each class, each at a random place on the canvas.")
    credit = image_credit(data.name, drawn=data.drawn)
    if any(cell.trained == "centred" for cell in cells):
        shown.add("controls", "two-by-two", controls_table(cells, credit=credit),
                  "Test accuracy by where the garment lay in training and in testing.")
    shown.add("curves", "curves", training_curves([result.training for result in results]),
              "Loss and accuracy after each epoch. Training accuracy is a running mean with dropout at work.")
    for result in results:
        if result.job.seed == seed and not result.job.centred:
            _model_figures(result, data, placement, run, shown)
    return shown.figures


def _model_figures(result: JobResult, data: Dataset, placement: Placement, run: RunFolder, shown: "_Gallery") -> None:
    name, title = slug(result.job.model), model_title(result.job.model)
    shown.add("confusion", f"confusion-{name}", confusion_matrix(result.test),
              f"{title}: rows are true classes, columns what it said, in percent of the row.")
    shown.add("classified", f"classified-{name}", classified_gallery(result.test),
              f"{title}: the first test images as it saw them; nothing was picked.")
    weights = _stored_weights(result, run, (data.shape[0], *placement.canvas))
    if weights is not None:
        shown.add("weights", f"weights-{name}", weight_grid(
            weights, title=f"{title}: weights of its first layer",
            credit=image_credit(data.name, drawn=data.drawn)), f"{title}: what each unit of the first layer looks for.")


def _stored_weights(result: JobResult, run: RunFolder, picture: tuple[int, ...]) -> np.ndarray | None:
    name = result.job.model
    folder = run.checkpoint(result.job.key)
    return first_weights(load(folder, allow_code=None if name in REGISTRY else name), picture)


class _Gallery:
    """Figures by name, each written to the run's folder as it comes."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.figures: dict[str, ReportFigure] = {}

    def add(self, section: str, name: str, figure: Figure, caption: str) -> None:
        png, _ = save_figure(figure, self.folder, name)
        self.figures[name] = ReportFigure(section, png.read_bytes(), alt_text(figure), caption)
