"""The figures of a run: made once, written as PNG and SVG, and kept for the report."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import nn

from shiftscope.data import Dataset
from shiftscope.errors import UsageError
from shiftscope.models import REGISTRY, load
from shiftscope.placement import Placement
from shiftscope.reporting import (
    ControlCell,
    ReportFigure,
    alt_text,
    class_gallery,
    classified_gallery,
    confusion_matrix,
    controls_table,
    image_credit,
    model_title,
    neuron_gallery,
    sample_gallery,
    save_figure,
    training_curves,
    weight_grid,
)
from shiftscope.results import ParameterRow, Synthesis
from shiftscope.runs import RunFolder, slug
from shiftscope.visualization import parameter_rows
from shiftscope.workflows.jobs import JobResult, build
from shiftscope.workflows.looks import class_neurons_figure, learned_from, looks

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
                run: RunFolder, seed: int) -> "Gallery":
    """Draw all figures of a run, write them into its folder, and return them for the report.

    Returns:
        The figures, the shown models' tables of parameters, and what could not be drawn.
    """
    shown = Gallery(run.figures)
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
    return shown


def _model_figures(result: JobResult, data: Dataset, placement: Placement, run: RunFolder, shown: "Gallery") -> None:
    name, title = slug(result.job.model), model_title(result.job.model)
    shown.add("confusion", f"confusion-{name}", confusion_matrix(result.test),
              f"{title}: rows are true classes, columns what it said, in percent of the row.")
    shown.add("classified", f"classified-{name}", classified_gallery(result.test),
              f"{title}: the first test images as it saw them; nothing was picked.")
    model = _stored_model(result, data, placement, run)
    picture, credit = (data.shape[0], *placement.canvas), image_credit(data.name, drawn=data.drawn)
    try:
        for synthesis in looks(model, picture, data.class_names, result.job.model):
            synthesis.save(run.result(result.job.key, slug(synthesis.objective)))
            _look_figures(model, synthesis, name, learned_from(data.name, drawn=data.drawn), shown)
    except UsageError as error:  # a model of one's own may have nothing to climb: the rest of the run still counts
        shown.notes.append(f"{title}: no pictures of what it likes to see: {error}")
    weights = first_weights(model, picture)
    if weights is not None:
        shown.add("weights", f"weights-{name}", weight_grid(
            weights, title=f"{title}: weights of its first layer", credit=credit),
            f"{title}: what each unit of the first layer looks for.")
    shown.parameters[title] = parameter_rows(model)


def _look_figures(model: nn.Module, synthesis: Synthesis, name: str, credit: str, shown: "Gallery") -> None:
    """Draw the gallery of a synthesis and, for neurons that feed the classes, which of them speak for which class."""
    title = model_title(synthesis.model)
    if synthesis.objective == "class:all":
        shown.add("classes", f"classes-{name}", class_gallery(synthesis, credit=credit),
                  f"{title}: for each class a picture that it takes for that class, made by gradient ascent. Where a "
                  "model hardly ever saw anything in training, as a perceptron at the rim, it may hold anything.")
        return
    layer = synthesis.objective.partition(":")[0]
    shown.add("neurons", f"neurons-{name}", neuron_gallery(synthesis, credit=credit),
              f"{title}: the picture that excites each neuron of {layer} most.")
    speakers = class_neurons_figure(model, synthesis, credit=credit)
    if speakers is not None:
        shown.add("neurons", f"class-neurons-{name}", speakers,
                  f"{title}: the weights from the neurons above to the classes, and the bias of each class.")


def _stored_model(result: JobResult, data: Dataset, placement: Placement, run: RunFolder) -> nn.Module:
    job = result.job
    fresh = None if job.model in REGISTRY else build(job.model, data, placement, job.seed)
    return load(run.checkpoint(job.key), model=fresh)


class Gallery:
    """Figures by name, each written to the run's folder as it comes; tables of parameters; notes for the report."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.figures: dict[str, ReportFigure] = {}
        self.parameters: dict[str, list[ParameterRow]] = {}
        self.notes: list[str] = []

    def add(self, section: str, name: str, figure: Figure, caption: str) -> None:
        """Write a figure and keep it for the report."""
        png, _ = save_figure(figure, self.folder, name)
        self.figures[name] = ReportFigure(section, png.read_bytes(), alt_text(figure), caption)
