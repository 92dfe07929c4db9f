"""The figures of a report that results alone suffice for: neither models nor images are needed."""

from collections.abc import Sequence
from dataclasses import dataclass

from shiftscope.reporting import (
    ControlCell,
    audit_figures,
    class_gallery,
    classified_gallery,
    confusion_matrix,
    controls_table,
    model_title,
    neighbors_figure,
    neuron_gallery,
    quality_summary,
    training_curves,
)
from shiftscope.results import Audit, Equivariance, Evaluation, Neighbors, Quality, Synthesis, TrainResult
from shiftscope.runs import slug
from shiftscope.workflows.figure_shelf import Shelf

BESIDE_IMAGES = 4
"""Real images beside each synthesis in the report: with two models they add about 150 kB to it."""

SAMPLES = "Some training images of each class, each at a random place on the canvas."
WEIGHTS = ": what each unit of the first layer looks for."
CLASS_NEURONS = ": the weights from the neurons above to the classes, and the bias of each class."
"""Captions of figures that need images or a model: a later report takes those figures out of the run's folder."""

PARAMETERS_FILE = "parameters.json"
"""A model's table of parameters."""

ABREAST = 4
"""Audits in one figure, at most: more maps side by side no longer fit on a page."""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A synthesis and what was stored beside it."""

    synthesis: Synthesis
    neighbors: Neighbors | None = None
    quality: Quality | None = None


def controls_figure(cells: Sequence[ControlCell], shelf: Shelf, *, credit: str) -> None:
    """Draw the 2 x 2 table where a model was trained centered."""
    if any(cell.trained == "centered" for cell in cells):
        shelf.add("controls", "two-by-two", controls_table(cells, credit=credit),
                  "Test accuracy by where the garment lay in training and in testing.")


def curves_figure(training: Sequence[TrainResult], shelf: Shelf) -> None:
    """Draw loss and accuracy of all trainings, if there are any."""
    if training:
        shelf.add("curves", "curves", training_curves(training),
                  "Loss and accuracy after each epoch. Training accuracy is a running mean with dropout at work.")


def audits_figures(audits: Sequence[Audit], shelf: Shelf, profiles: Sequence[Equivariance] = ()) -> None:
    """Draw what models answer at every placement; the report shows the figures of all models together, the images
    about which a model changes its mind, and layer profiles."""
    for begin in range(0, len(audits), ABREAST):
        part = audits[begin:begin + ABREAST]
        for name, figure, caption in audit_figures(part, profiles if begin == 0 else ()):
            if name in ("accuracy-map", "placements-right") or name.startswith(("changes-", "layers-")):
                shelf.add("audit", name, figure, caption)
            else:
                shelf.file_only(name, figure)


def evaluation_figures(evaluation: Evaluation, shelf: Shelf) -> None:
    """Draw the confusion matrix and the first images as the model saw them."""
    name, title = slug(evaluation.model), model_title(evaluation.model)
    shelf.add("confusion", f"confusion-{name}", confusion_matrix(evaluation),
              f"{title}: rows are true classes, columns what it said, in percent of the row.")
    shelf.add("classified", f"classified-{name}", classified_gallery(evaluation),
              f"{title}: the first {evaluation.split} images as it saw them; nothing was picked.")


def synthesis_figures(seen: Seen, shelf: Shelf, *, credit: str) -> None:
    """Draw the gallery of a synthesis, and for classes real images beside it."""
    synthesis = seen.synthesis
    name, title, layer = slug(synthesis.model), model_title(synthesis.model), synthesis.objective.partition(":")[0]
    if layer == "class":
        shelf.add("classes", f"classes-{name}", class_gallery(synthesis, credit=credit),
                  f"{title}: for each class a picture that it takes for that class, made by gradient ascent. Where a "
                  "model hardly ever saw anything in training, as a perceptron at the rim, it may hold anything.")
        if seen.neighbors is not None:
            figure = neighbors_figure(synthesis, seen.neighbors, images=BESIDE_IMAGES)
            told = "" if seen.quality is None else f" {quality_summary(seen.quality)}"
            shelf.add("classes", f"neighbors-{name}", figure,
                      f"{title}: real images beside the pictures above.{told}")
        return
    shelf.add("neurons", f"neurons-{name}", neuron_gallery(synthesis, credit=credit),
              f"{title}: the picture that excites each neuron of {layer} most.")
