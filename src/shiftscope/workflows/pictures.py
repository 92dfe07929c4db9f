"""The figures of a run: made once, written as PNG and SVG, and kept for the report."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import nn

from shiftscope import files
from shiftscope.data import Dataset
from shiftscope.errors import UsageError
from shiftscope.placement import Placement
from shiftscope.reporting import ControlCell, image_credit, model_title, sample_gallery, weight_grid
from shiftscope.results import SCHEMA_VERSION, Audit, ParameterRow
from shiftscope.runs import RunFolder, slug
from shiftscope.visualization import parameter_rows
from shiftscope.workflows.figure_shelf import Shelf
from shiftscope.workflows.jobs import JobResult, stored_model
from shiftscope.workflows.looks import Look, class_neurons_figure, learned_from, looks
from shiftscope.workflows.record_figures import (
    CLASS_NEURONS,
    PARAMETERS_FILE,
    SAMPLES,
    WEIGHTS,
    Seen,
    audits_figures,
    controls_figure,
    curves_figure,
    evaluation_figures,
    synthesis_figures,
)

SAMPLES_PER_CLASS = 4


def samples_figure(data: Dataset, placement: Placement, seed: int) -> Figure:
    """Return the gallery of samples: the first training images of each class, each at a random place."""
    labels = data.train.labels
    chosen = torch.cat([(labels == cls).nonzero()[:SAMPLES_PER_CLASS, 0] for cls in range(data.classes)])
    canvases = placement.place(data.train.gather(chosen).cpu(), placement.sample(chosen, seed=seed))
    return sample_gallery(canvases.numpy(), labels[chosen].numpy(), data.class_names,
                          caption=image_credit(data.name, synthetic=data.synthetic), per_class=SAMPLES_PER_CLASS)


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
                audits: Mapping[str, Audit], run: RunFolder, seed: int) -> Shelf:
    """Draw all figures of a run, write them into its folder, and return them for the report.

    Returns:
        The figures, the shown models' tables of parameters, and what could not be drawn.
    """
    shelf = Shelf(run.figures)
    shelf.add("samples", "samples", samples_figure(data, placement, seed), SAMPLES)
    controls_figure(cells, shelf, credit=image_credit(data.name, synthetic=data.synthetic))
    audits_figures([audits[result.job.key] for result in results
                    if result.job.seed == seed and result.job.key in audits], shelf)
    curves_figure([result.training for result in results], shelf)
    for result in results:
        if result.job.seed == seed and not result.job.centered:
            _model_figures(result, data, placement, run, shelf)
    return shelf


def _model_figures(result: JobResult, data: Dataset, placement: Placement, run: RunFolder, shelf: Shelf) -> None:
    name, title = slug(result.job.model), model_title(result.job.model)
    evaluation_figures(result.test, shelf)
    model = stored_model(result.job, data, placement, run)
    picture, credit = (data.shape[0], *placement.canvas), image_credit(data.name, synthetic=data.synthetic)
    try:
        for look in looks(model, data, placement, result.job.model):
            look.save(run.result(result.job.key, slug(look.synthesis.objective)))
            _look_figures(model, look, name, learned_from(data.name, synthetic=data.synthetic), shelf)
    except UsageError as error:  # a model of one's own may have nothing to climb: the rest of the run still counts
        shelf.notes.append(f"{title}: no pictures of what it likes to see: {error}")
    weights = first_weights(model, picture)
    if weights is not None:
        shelf.add("weights", f"weights-{name}", weight_grid(
            weights, title=f"{title}: weights of its first layer", credit=credit), f"{title}{WEIGHTS}")
    shelf.parameters[title] = parameter_rows(model)
    write_parameters(run.result(result.job.key, PARAMETERS_FILE), result.job.model, shelf.parameters[title])


def _look_figures(model: nn.Module, look: Look, name: str, credit: str, shelf: Shelf) -> None:
    """Draw a synthesis; for neurons that feed the classes also which of them speak for which class."""
    synthesis = look.synthesis
    synthesis_figures(Seen(synthesis=synthesis, neighbors=look.neighbors, quality=look.quality), shelf,
                      credit=credit)
    speakers = class_neurons_figure(model, synthesis, credit=credit)
    if speakers is not None:
        shelf.add("neurons", f"class-neurons-{name}", speakers, f"{model_title(synthesis.model)}{CLASS_NEURONS}")


def write_parameters(path: Path, model: str, rows: Sequence[ParameterRow]) -> None:
    """Write a model's table of parameters, so that a later report can show it without the model."""
    files.write_json(path, {"schema_version": SCHEMA_VERSION, "model": model,
                            "parameters": [vars(row) for row in rows]})
