"""The figures of a run: made once, written as PNG and SVG, and kept for the report."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import nn

from shiftscope.data import Dataset
from shiftscope.errors import UsageError
from shiftscope.placement import Placement
from shiftscope.reporting import (
    ControlCell,
    ReportFigure,
    alt_text,
    audit_figures,
    class_gallery,
    classified_gallery,
    confusion_matrix,
    controls_table,
    few_colours,
    image_credit,
    model_title,
    neighbours_figure,
    neuron_gallery,
    quality_sentence,
    sample_gallery,
    save_figure,
    training_curves,
    weight_grid,
)
from shiftscope.results import Audit, ParameterRow
from shiftscope.runs import RunFolder, slug
from shiftscope.visualization import parameter_rows
from shiftscope.workflows.jobs import JobResult, stored_model
from shiftscope.workflows.looks import Look, class_neurons_figure, learned_from, looks

SAMPLES_PER_CLASS = 4

BESIDE_IMAGES = 4
"""Real images beside each synthesis in the report: with two models they add about 150 kB to it."""


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
                audits: Mapping[str, Audit], run: RunFolder, seed: int) -> "Gallery":
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
    _audit_figures([audits[result.job.key] for result in results
                    if result.job.seed == seed and result.job.key in audits], shown)
    shown.add("curves", "curves", training_curves([result.training for result in results]),
              "Loss and accuracy after each epoch. Training accuracy is a running mean with dropout at work.")
    for result in results:
        if result.job.seed == seed and not result.job.centred:
            _model_figures(result, data, placement, run, shown)
    return shown


def _audit_figures(audits: Sequence[Audit], shown: "Gallery") -> None:
    """Draw what the models of one seed answer at every placement; the report shows those of all models together, and
    the images about which a model changes its mind."""
    if not audits:
        return
    for name, figure, caption in audit_figures(audits):
        if name in ("accuracy-map", "placements-right") or name.startswith("changes-"):
            shown.add("audit", name, figure, caption)
        else:
            save_figure(figure, shown.folder, name)


def _model_figures(result: JobResult, data: Dataset, placement: Placement, run: RunFolder, shown: "Gallery") -> None:
    name, title = slug(result.job.model), model_title(result.job.model)
    shown.add("confusion", f"confusion-{name}", confusion_matrix(result.test),
              f"{title}: rows are true classes, columns what it said, in percent of the row.")
    shown.add("classified", f"classified-{name}", classified_gallery(result.test),
              f"{title}: the first test images as it saw them; nothing was picked.")
    model = stored_model(result.job, data, placement, run)
    picture, credit = (data.shape[0], *placement.canvas), image_credit(data.name, drawn=data.drawn)
    try:
        for look in looks(model, data, placement, result.job.model):
            look.save(run.result(result.job.key, slug(look.synthesis.objective)))
            _look_figures(model, look, name, learned_from(data.name, drawn=data.drawn), shown)
    except UsageError as error:  # a model of one's own may have nothing to climb: the rest of the run still counts
        shown.notes.append(f"{title}: no pictures of what it likes to see: {error}")
    weights = first_weights(model, picture)
    if weights is not None:
        shown.add("weights", f"weights-{name}", weight_grid(
            weights, title=f"{title}: weights of its first layer", credit=credit),
            f"{title}: what each unit of the first layer looks for.")
    shown.parameters[title] = parameter_rows(model)


def _look_figures(model: nn.Module, look: Look, name: str, credit: str, shown: "Gallery") -> None:
    """Draw the gallery of a synthesis; for classes real images beside it, for neurons that feed the classes which of
    them speak for which class."""
    synthesis, title = look.synthesis, model_title(look.synthesis.model)
    if synthesis.objective == "class:all":
        shown.add("classes", f"classes-{name}", class_gallery(synthesis, credit=credit),
                  f"{title}: for each class a picture that it takes for that class, made by gradient ascent. Where a "
                  "model hardly ever saw anything in training, as a perceptron at the rim, it may hold anything.")
        if look.neighbours is not None:
            figure = neighbours_figure(synthesis, look.neighbours, images=BESIDE_IMAGES)
            shown.add("classes", f"neighbours-{name}", figure,
                      f"{title}: real images beside the pictures above. {quality_sentence(look.quality)}")
        return
    layer = synthesis.objective.partition(":")[0]
    shown.add("neurons", f"neurons-{name}", neuron_gallery(synthesis, credit=credit),
              f"{title}: the picture that excites each neuron of {layer} most.")
    speakers = class_neurons_figure(model, synthesis, credit=credit)
    if speakers is not None:
        shown.add("neurons", f"class-neurons-{name}", speakers,
                  f"{title}: the weights from the neurons above to the classes, and the bias of each class.")


class Gallery:
    """Figures by name, each written to the run's folder as it comes; tables of parameters; notes for the report."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.figures: dict[str, ReportFigure] = {}
        self.parameters: dict[str, list[ParameterRow]] = {}
        self.notes: list[str] = []

    def add(self, section: str, name: str, figure: Figure, caption: str) -> None:
        """Write a figure and keep it for the report, there with fewer colours, so that it can be sent by mail."""
        png = save_figure(figure, self.folder, name)[0].read_bytes()
        self.figures[name] = ReportFigure(section, few_colours(png), alt_text(figure), caption)
