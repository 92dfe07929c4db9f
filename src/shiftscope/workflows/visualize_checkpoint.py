"""`shiftscope visualize`: images that maximally activate units of a checkpoint, their quality, and its parameters."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from shiftscope import files
from shiftscope.data import read_image_file
from shiftscope.errors import DataError, UsageError
from shiftscope.progress import Progress
from shiftscope.reporting import class_gallery, neighbors_figure, neuron_gallery, quality_figure, save_figure
from shiftscope.results import SCHEMA_VERSION
from shiftscope.runs import slug
from shiftscope.runs.outputs import figure_files, new_files, record_files
from shiftscope.settings import SynthesisChecks, SynthesisSettings
from shiftscope.visualization import default_objectives, parameter_rows, visualize
from shiftscope.visualization.initial_images import STARTS
from shiftscope.visualization.neighbors import coarser
from shiftscope.workflows.jobs import write_parameters
from shiftscope.workflows.load_inputs import LoadedCheckpoint, ModelWithData, add_data, open_checkpoint
from shiftscope.workflows.report.figures import class_neurons_figure, training_credit
from shiftscope.workflows.report.gather import PARAMETERS_FILE
from shiftscope.workflows.syntheses import MeasuredSynthesis, NeighborSearch, measure_syntheses

QUALITY_FILE = "quality.json"

MAX_ROWS = 20
"""Units in a figure of real images; more do not fit on a page."""


def visualize_checkpoint(checkpoint: Path, objectives: Sequence[str] = (), *, out: Path, start: str | None = None,
                         settings: SynthesisSettings, checks: SynthesisChecks | None = None,
                         overrides: dict[str, Any] | None = None, overwrite: bool = False, device: str = "auto",
                         allow_code: str | None = None, progress: Progress) -> list[MeasuredSynthesis]:
    """Synthesize images for each objective and compare them with real ones; write records and figures into `out`.

    Args:
        checkpoint: checkpoint folder or run folder.
        objectives: "class:Bag", "fc1:0-9", ...; empty: all classes and the neurons of the first fully connected layer.
        start: "zero", "black", "random", "mean", or an image file of the canvas's or the image's size.
        overrides: fields of `DataSettings` for the real images. Without the training dataset, no real images are shown,
            and a note reports it; a dataset named here must be available.

    Raises:
        UsageError, OutputError: if a file in `out` exists, or `out` cannot be written; raised first.
        CheckpointError, DataError, UsageError: see `load` and `visualize`; also for a start image of another size, and
            a judge with other classes or another canvas.
    """
    loaded = open_checkpoint(checkpoint, device=device, allow_code=allow_code)
    goals = list(objectives) or default_objectives(loaded.model, (loaded.channels, *loaded.placement.canvas))
    with new_files(out, _file_names(goals), overwrite=overwrite, summaries=(QUALITY_FILE, PARAMETERS_FILE)):
        syntheses = _synthesize(loaded, goals, start, settings, checks or SynthesisChecks(), overrides or {}, device,
                                progress)
        _save_all(loaded, goals, syntheses, out)
    return syntheses


def _file_names(goals: Sequence[str]) -> list[str]:
    names = [slug(goal) for goal in goals]
    figures = [f"{begin}{name}" for name in names for begin in ("", "quality-", "neighbors-", "class-neurons-")]
    records = [f"{name}{part}" for name in names for part in ("", "/quality", "/neighbors")]
    return [*figure_files(*figures), *record_files(*records)]


def _synthesize(loaded: LoadedCheckpoint, goals: Sequence[str], start: str | None, settings: SynthesisSettings,
                checks: SynthesisChecks, overrides: dict[str, Any], device: str,
                progress: Progress) -> list[MeasuredSynthesis]:
    begin: Any = start if start is None or start in STARTS else read_start(Path(start), loaded)
    judge = None if checks.judge is None else open_judge(checks.judge, loaded, device, checks.judge_code)
    needs_images = checks.neighbors or start == "mean" or settings.parametrization == "maco"
    real = real_images(loaded, overrides, progress) if needs_images else None
    common: dict[str, Any] = {"images": None if real is None else real.data.train, "placement": loaded.placement}
    syntheses = [visualize(loaded.model, goal, start=begin, settings=settings, progress=progress,
                           shape=(loaded.channels, *loaded.placement.canvas), class_names=loaded.class_names,
                           name=loaded.config.name, **common) for goal in goals]
    search = None
    if real is not None and checks.neighbors:
        searched = real.placement if checks.placements is None else coarser(real.placement, checks.placements)
        search = NeighborSearch(data=real.data, placement=searched, k=checks.neighbors)
    return measure_syntheses(loaded.model, syntheses, search, progress=progress, judge=judge and judge.model,
                             judge_name=judge and judge.config.name, seeds=checks.seeds, **common)


def real_images(loaded: LoadedCheckpoint, overrides: dict[str, Any], progress: Progress) -> ModelWithData | None:
    """Return the model with real images; None, with a note, if there are none.

    Raises:
        DataError, UsageError: if the dataset named in `overrides` is missing or invalid.
    """
    dataset = loaded.config.provenance.dataset
    if dataset is None and "data" not in overrides:
        progress.note("no real images are shown: the checkpoint does not name the dataset that it was trained on; name "
                      "one with --data")
        return None
    try:
        return add_data(loaded, overrides, progress)
    except (DataError, UsageError) as error:
        if "data" in overrides:
            raise
        progress.note(f"no real images are shown: {dataset} could not be used: {error}")
        return None


def open_judge(path: Path, loaded: LoadedCheckpoint, device: str, code: str | None) -> LoadedCheckpoint:
    """Load a judge; a `UsageError` is raised if it has other classes or another canvas than the model."""
    judge = open_checkpoint(path, device=device, allow_code=code)
    if judge.class_names != loaded.class_names:
        raise UsageError(f"the judge {path} has the classes {', '.join(judge.class_names)}, the model "
                         f"{', '.join(loaded.class_names)}: choose a judge that was trained on the same dataset")
    if judge.placement.canvas != loaded.placement.canvas:
        (height, width), (H, W) = judge.placement.canvas, loaded.placement.canvas
        raise UsageError(f"the judge {path} has a canvas of {height} x {width}, the model one of {H} x {W}: choose a "
                         "judge with the same canvas")
    return judge


def _save_all(loaded: LoadedCheckpoint, goals: Sequence[str], syntheses: Sequence[MeasuredSynthesis],
              out: Path) -> None:
    credit, name = training_credit(loaded.config.provenance.dataset or "unknown images"), loaded.config.name
    for goal, measured in zip(goals, syntheses, strict=True):
        measured.save(out / slug(goal))
        _draw(measured, loaded.model, credit, out, slug(goal))
    files.write_json(out / QUALITY_FILE, {
        "schema_version": SCHEMA_VERSION, "model": name,
        "objectives": [measured.quality.summary() for measured in syntheses if measured.quality is not None]})
    write_parameters(out / PARAMETERS_FILE, name, parameter_rows(loaded.model))


def _draw(measured: MeasuredSynthesis, model: nn.Module, credit: str, out: Path, name: str) -> None:
    synthesis = measured.synthesis
    gallery = class_gallery if synthesis.units[0].startswith("class:") else neuron_gallery
    save_figure(gallery(synthesis, credit=credit), out, name)
    if measured.quality is not None:
        save_figure(quality_figure(measured.quality, credit=credit), out, f"quality-{name}")
    if measured.neighbors is not None:
        save_figure(neighbors_figure(synthesis, measured.neighbors, limit=MAX_ROWS), out, f"neighbors-{name}")
    neurons = class_neurons_figure(model, synthesis, credit=credit)
    if neurons is not None:
        save_figure(neurons, out, f"class-neurons-{name}")


def read_start(path: Path, loaded: LoadedCheckpoint) -> torch.Tensor:
    """Return an image file as uint8 (C, H, W) of the canvas's size; one of the image's size is placed in the middle."""
    if not path.exists():
        raise DataError(f"there is no start image {path}: choose zero, black, random, mean, or a PNG or JPEG file")
    image = read_image_file(path)
    if loaded.channels == 1:
        gray = Image.fromarray(image.permute(1, 2, 0).numpy()).convert("L")
        image = torch.from_numpy(np.array(gray))[None]
    size, placement = tuple(image.shape[1:]), loaded.placement
    if size == placement.canvas:
        return image
    if size != placement.image:
        raise UsageError(f"the start image {path} is {size[0]} x {size[1]} pixels: use one of the canvas's size, "
                         f"{placement.canvas[0]} x {placement.canvas[1]}, or of the image's size, "
                         f"{placement.image[0]} x {placement.image[1]}")
    return placement.place(image[None], placement.centered(1, image.device))[0]
