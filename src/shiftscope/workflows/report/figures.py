"""The figures of a report, drawn from results; and the few that `shiftscope run` draws with data or a model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import nn

from shiftscope.data import Dataset
from shiftscope.placement import Placement
from shiftscope.reporting import (
    ControlCell,
    ReportFigure,
    accuracy_map,
    agreement_map,
    alt_text,
    audit_figures,
    class_gallery,
    class_neurons,
    classified_gallery,
    confusion_matrix,
    control_cells,
    controls_table,
    correct_placements_histogram,
    image_credit,
    model_title,
    neighbors_figure,
    neuron_gallery,
    quality_summary,
    render_figure,
    sample_gallery,
    save_figure,
    training_curves,
    weight_grid,
)
from shiftscope.reporting.audit_grid import audit_title, common_scale, position_map
from shiftscope.reporting.selection import first_seeds
from shiftscope.reporting.theme_layers import split_layers
from shiftscope.results import Audit, Equivariance, Evaluation, Neighbors, Quality, Record, Synthesis, TrainResult
from shiftscope.runs import slug
from shiftscope.visualization import class_weights
from shiftscope.workflows.syntheses import MeasuredSynthesis

NEIGHBORS = 4
"""Real images per class in the report; more would make it too large to send by email."""

AUDITS_PER_FIGURE = 4
"""More accuracy maps side by side do not fit on a page."""

SAMPLES_PER_CLASS = 4

STORED_FIGURES = {
    "samples": ("samples", "Training images of each class, each at a random position on the canvas."),
    "weights": ("weights", "weights of the units of the first layer."),
    "class-neurons": ("neurons", "weights from the neurons to the classes, and the bias of each class."),
}
"""(section, caption) of figures that need data or a model: `shiftscope run` stores them for later reports."""


@dataclass(frozen=True, kw_only=True)
class StoredFigure:
    """A figure that needs data or a model."""

    kind: str
    """A key of `STORED_FIGURES`."""
    model: str = ""
    png: bytes
    alt: str

    @property
    def name(self) -> str:
        return f"{self.kind}-{slug(self.model)}" if self.model else self.kind


class FigureCollector:
    """Collects the figures of a report by name.

    Args:
        folder: each figure is also written into it as PNG and SVG; None: nowhere.
    """

    def __init__(self, folder: Path | None = None):
        self.folder = folder
        self.figures: dict[str, ReportFigure] = {}

    def add(self, section: str, name: str, figure: Figure, caption: str, model: str = "") -> None:
        """Add a figure, in the tab of a model if `model` is its display name."""
        if self.folder is None:
            png = render_figure(figure, "png")
        else:
            png = save_figure(figure, self.folder, name)[0].read_bytes()
        self.add_png(section, name, png, alt_text(figure), caption, model)

    def add_only(self, section: str, name: str, figure: Figure, caption: str, model: str = "") -> None:
        """Add a figure that is not written into the folder."""
        self.add_png(section, name, render_figure(figure, "png"), alt_text(figure), caption, model)

    def add_png(self, section: str, name: str, png: bytes, alt: str, caption: str, model: str = "") -> None:
        """Add an image file with at most 256 colors per layer; a second one of the same name gets a number."""
        count = sum(known == name or known.startswith(f"{name}-again") for known in self.figures)
        key = f"{name}-again-{count}" if count else name
        drawn, images = split_layers(png)
        self.figures[key] = ReportFigure(section, drawn, alt, caption, model, images)

    def save_only(self, name: str, figure: Figure) -> None:
        """Write a figure into the folder without adding it to the report."""
        if self.folder is not None:
            save_figure(figure, self.folder, name)


def draw_figures(records: Sequence[Record], stored: Sequence[StoredFigure], dataset: Mapping[str, Any],
                 folder: Path | None = None) -> dict[str, ReportFigure]:
    """Draw the figures of all results. Of several seeds of a model, those of the first.

    `dataset` has the keys of `ReportData.dataset`; for `folder` see `FigureCollector`.
    """
    collector = FigureCollector(folder)
    name, synthetic = str(dataset.get("name", "")), bool(dataset.get("synthetic"))
    evaluations, audits = _of(Evaluation, records), _of(Audit, records)
    for figure in stored:
        if figure.kind != "class-neurons":
            _add_stored(figure, collector)
    _draw_controls(control_cells(evaluations), collector, image_credit(name or "unknown images", synthetic=synthetic))
    _draw_audits(first_seeds(audits), _of(Equivariance, records), collector)
    _draw_curves(_of(TrainResult, records), collector)
    for evaluation in _shown_evaluations(evaluations):
        _draw_evaluation(evaluation, collector)
    credit = training_credit(name, synthetic=synthetic) if name else ""
    for synthesis in _measured(records):
        _draw_synthesis(synthesis, credit, collector)
    for figure in stored:  # after the neurons to which they refer
        if figure.kind == "class-neurons":
            _add_stored(figure, collector)
    return collector.figures


def _of(kind: type[Any], records: Sequence[Record]) -> list[Any]:
    return [record for record in records if isinstance(record, kind)]


def _shown_evaluations(evaluations: Sequence[Evaluation]) -> list[Evaluation]:
    """Return one evaluation per model, on test images if possible; of centered training only if there is no other."""
    first = first_seeds(sorted(evaluations, key=lambda one: one.split != "test"))
    other = {one.model for one in evaluations if one.trained != "centered"}
    return [one for one in first if one.trained != "centered" or one.model not in other]


def _measured(records: Sequence[Record]) -> list[MeasuredSynthesis]:
    """Return each synthesis with the neighbors and the quality of the same model and units."""
    def matching(synthesis: Synthesis, kind: type[Any]) -> Any:
        return next((record for record in _of(kind, records) if (record.model, record.objective, record.units) == (
            synthesis.model, synthesis.objective, synthesis.units)), None)

    return [MeasuredSynthesis(synthesis=one, neighbors=matching(one, Neighbors), quality=matching(one, Quality))
            for one in _of(Synthesis, records)]


def _add_stored(figure: StoredFigure, collector: FigureCollector) -> None:
    section, caption = STORED_FIGURES[figure.kind]
    title = model_title(figure.model) if figure.model else ""
    collector.add_png(section, figure.name, figure.png, figure.alt, f"{title}: {caption}" if title else caption, title)


def _draw_controls(cells: Sequence[ControlCell], collector: FigureCollector, credit: str) -> None:
    """Draw the comparison of training placements into the folder; the report has it as a table."""
    if any(cell.trained == "centered" for cell in cells) and collector.folder is not None:
        collector.save_only("two-by-two", controls_table(cells, credit=credit))


def _draw_audits(audits: Sequence[Audit], profiles: Sequence[Equivariance], collector: FigureCollector) -> None:
    """Draw the figures of audits: those of one model into its tab, those of all models only into the folder."""
    scale = common_scale([position_map(audit) for audit in audits]) if audits else None
    for audit in audits:
        title, key = audit_title(audit), slug(f"{audit.model}-{audit.trained}")
        if not audit.labeled:
            collector.add_only("audit", f"map-{key}", agreement_map([audit], scale=scale),
                               f"{title}: fraction of images whose prediction is that at the middle position.", title)
            continue
        collector.add_only("audit", f"map-{key}", accuracy_map([audit], scale=scale),
                           f"{title}: accuracy at every position of the image on its canvas.", title)
        collector.add_only("audit", f"histogram-{key}", correct_placements_histogram([audit]),
                           f"{title}: fraction of placements with a correct prediction. The last bar is the worst-case "
                           "accuracy.", title)
    for begin in range(0, len(audits), AUDITS_PER_FIGURE):
        part, titles = audits[begin:begin + AUDITS_PER_FIGURE], [""]
        first = "class-maps-" if all(audit.labeled for audit in part) else "changes-"  # figure of each audit
        for name, figure, caption in audit_figures(part, profiles if begin == 0 else ()):
            if name.startswith(first):
                titles.append(audit_title(part[len(titles) - 1]))
            if name.startswith("changes-"):
                collector.add("audit", name, figure, caption, titles[-1])
            elif name.startswith("layers-"):
                collector.add("audit", name, figure, caption)
            else:
                collector.save_only(name, figure)


def _draw_curves(training: Sequence[TrainResult], collector: FigureCollector) -> None:
    if training:
        collector.add("curves", "curves", training_curves(training), "Training curves: loss and accuracy after each "
                      "epoch. Training accuracy is a running mean with dropout active.")


def _draw_evaluation(evaluation: Evaluation, collector: FigureCollector) -> None:
    name, title = slug(evaluation.model), model_title(evaluation.model)
    collector.add("confusion", f"confusion-{name}", confusion_matrix(evaluation),
                  f"{title}: confusion matrix. Rows are true classes, columns are predictions, in percent of the row.")
    collector.add("classified", f"classified-{name}", classified_gallery(evaluation),
                  f"{title}: predictions for the first {evaluation.split} images, without selection.", title)


def _draw_synthesis(measured: MeasuredSynthesis, credit: str, collector: FigureCollector) -> None:
    synthesis = measured.synthesis
    name, title, layer = slug(synthesis.model), model_title(synthesis.model), synthesis.objective.partition(":")[0]
    if layer != "class":
        collector.add("neurons", f"neurons-{name}", neuron_gallery(synthesis, credit=credit),
                      f"{title}: the image that maximally activates each neuron of {layer}.", title)
        return
    collector.add("classes", f"classes-{name}", class_gallery(synthesis, credit=credit),
                  f"{title}: an image that maximally activates each class, made by gradient ascent. It is arbitrary "
                  "where the training images had almost no content, such as at the border of the canvas.", title)
    if measured.neighbors is not None:
        quality = "" if measured.quality is None else f" {quality_summary(measured.quality)}"
        collector.add("neighbors", f"neighbors-{name}",
                      neighbors_figure(synthesis, measured.neighbors, images=NEIGHBORS),
                      f"{title}: the real images that activate each class most, next to the synthesized ones.{quality}",
                      title)


def training_credit(dataset: str, *, synthetic: bool = False) -> str:
    """Return the line that names the training images of a model.

    >>> training_credit("folder:cats")
    'The model was trained on folder:cats'
    """
    return f"The model was trained on {image_credit(dataset, synthetic=synthetic).removeprefix('Images: ')}"


def samples_figure(data: Dataset, placement: Placement, seed: int) -> Figure:
    """Draw the first training images of each class, each at a random position."""
    labels = data.train.labels
    chosen = torch.cat([(labels == cls).nonzero()[:SAMPLES_PER_CLASS, 0] for cls in range(data.classes)])
    canvases = placement.place(data.train.gather(chosen).cpu(), placement.sample(chosen, seed=seed))
    caption = image_credit(data.name, synthetic=data.synthetic, preparation=data.preparation)
    return sample_gallery(canvases.numpy(), labels[chosen].numpy(), data.class_names, caption=caption,
                          per_class=SAMPLES_PER_CLASS)


def weights_figure(model: nn.Module, name: str, shape: tuple[int, ...], *, credit: str) -> Figure | None:
    """Draw the weights of the first layer as images; None if they are not images."""
    layer = next((module for module in model.modules() if isinstance(module, nn.Conv2d | nn.Linear)), None)
    if layer is None or (isinstance(layer, nn.Linear) and layer.in_features != int(np.prod(shape))):
        return None
    weights = layer.weight.detach().cpu().numpy()
    if isinstance(layer, nn.Linear):
        weights = weights.reshape(layer.out_features, *shape)
    return weight_grid(weights, title=f"{model_title(name)}: weights of its first layer", credit=credit)


def class_neurons_figure(model: nn.Module, synthesis: Synthesis, *, credit: str) -> Figure | None:
    """Draw which neurons of a layer contribute to which class; None unless the layer feeds the classes directly."""
    layer, _, units = synthesis.objective.partition(":")
    if layer == "class" or units != "all" or not synthesis.class_names:
        return None
    found = class_weights(model, neurons=len(synthesis.units), classes=len(synthesis.class_names))
    if found is None:
        return None
    weights, bias = (part.cpu().float().numpy() for part in found)
    title = f"Neurons of {layer} that contribute to each class in the {model_title(synthesis.model)}"
    return class_neurons(weights, bias, synthesis.class_names, title=title, layer=layer, credit=credit)
