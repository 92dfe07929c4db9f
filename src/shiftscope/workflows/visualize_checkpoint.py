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
from shiftscope.progress import Progress, about, is_silent
from shiftscope.reporting import class_gallery, neighbors_figure, neuron_gallery, quality_figure, save_figure
from shiftscope.results import SCHEMA_VERSION, Synthesis
from shiftscope.runs import slug
from shiftscope.runs.outputs import figure_files, new_files, record_files
from shiftscope.settings import SynthesisChecks, SynthesisSettings
from shiftscope.visualization import default_objectives, parameter_rows, visualize
from shiftscope.visualization.initial_images import STARTS
from shiftscope.visualization.neighbors import IMAGES, coarser
from shiftscope.visualization.synthesis import synthesis_seconds
from shiftscope.workflows.jobs import write_parameters
from shiftscope.workflows.load_inputs import (
    DESCRIBED,
    DescribedOptions,
    LoadedCheckpoint,
    ModelWithData,
    add_data,
    open_checkpoint,
    open_described,
)
from shiftscope.workflows.report.figures import class_neurons_figure, training_credit
from shiftscope.workflows.report.gather import PARAMETERS_FILE
from shiftscope.workflows.syntheses import RUN_PLACEMENTS, MeasuredSynthesis, NeighborSearch, measure_syntheses

QUALITY_FILE = "quality.json"

SEARCH_SECONDS = 20.0
"""Time for the search among real images, unless their number is given."""

MAX_ROWS = 20
"""Units in a figure of real images; more do not fit on a page."""


def visualize_checkpoint(checkpoint: Path | str, objectives: Sequence[str] = (), *, out: Path, start: str | None = None,
                         settings: SynthesisSettings, checks: SynthesisChecks | None = None,
                         overrides: dict[str, Any] | None = None, overwrite: bool = False, device: str = "auto",
                         loading: DescribedOptions = DESCRIBED, progress: Progress) -> list[MeasuredSynthesis]:
    """Synthesize images for each objective and compare them with real ones; write records and figures into `out`.

    Args:
        checkpoint: checkpoint folder or run folder, or another source of `load_model`.
        objectives: "class:Bag", "fc1:0-9", ...; empty: all classes and the neurons of the first fully connected layer.
        start: "zero", "black", "random", "mean", or an image file of the canvas's or the image's size.
        overrides: fields of `DataSettings` for the real images. Without the training dataset, no real images are shown,
            and a note reports it; a dataset named here must be available.
        loading: further arguments of `open_described`.

    Raises:
        UsageError, OutputError: if a file in `out` exists, or `out` cannot be written; raised first.
        CheckpointError, DataError, UsageError: see `load` and `visualize`; also for a start image of another size, and
            a judge with other classes or another canvas.
    """
    loaded = open_described(checkpoint, device=device, progress=progress, **loading)
    goals = list(objectives) or default_objectives(loaded.model, (loaded.channels, *loaded.placement.canvas))
    with new_files(out, _file_names(goals), overwrite=overwrite, summaries=(QUALITY_FILE, PARAMETERS_FILE)):
        return _visualize(loaded, goals, start, settings, checks or SynthesisChecks(), overrides or {}, device, out,
                          progress)


def _file_names(goals: Sequence[str]) -> list[str]:
    names = [slug(goal) for goal in goals]
    figures = [f"{begin}{name}" for name in names for begin in ("", "quality-", "neighbors-", "class-neurons-")]
    records = [f"{name}{part}" for name in names for part in ("", "/quality", "/neighbors")]
    return [*figure_files(*figures), *record_files(*records)]


def _visualize(loaded: LoadedCheckpoint, goals: Sequence[str], start: str | None, settings: SynthesisSettings,
               checks: SynthesisChecks, overrides: dict[str, Any], device: str, out: Path,
               progress: Progress) -> list[MeasuredSynthesis]:
    """Synthesize and write the images, then search real ones and write the comparison."""
    begin: Any = start if start is None or start in STARTS else read_start(Path(start), loaded)
    judge = None if checks.judge is None else open_judge(checks.judge, loaded, device, checks.judge_code)
    needs_images = checks.neighbors or start == "mean" or settings.parametrization == "maco"
    real = real_images(loaded, overrides, progress) if needs_images else None
    common: dict[str, Any] = {"images": None if real is None else real.data.train, "placement": loaded.placement}
    options = common | {"start": begin, "settings": settings, "shape": (loaded.channels, *loaded.placement.canvas),
                        "class_names": loaded.class_names, "name": loaded.config.name}
    search = None if real is None or not checks.neighbors else neighbor_search(real, checks)
    if not is_silent(progress):
        progress.note(time_needed(loaded.model, goals, options, seeds=checks.seeds, search=search))
    syntheses = []
    for goal in goals:
        syntheses.append(visualize(loaded.model, goal, progress=progress, **options))
        _save_images(loaded, syntheses[-1], out, slug(goal))
    measured = measure_syntheses(loaded.model, syntheses, search, progress=progress, judge=judge and judge.model,
                                 judge_name=judge and judge.config.name, seeds=checks.seeds, **common)
    if search is not None and measured and measured[0].neighbors is not None:
        near = measured[0].neighbors
        progress.note(f"real images: the first {near.images:,} of {len(search.data.test):,} test images at "
                      f"{near.placements:,} of {near.possible:,} placements each; --neighbor-images and --placements "
                      "choose more")
    _save_checks(loaded, goals, measured, out)
    return measured


def neighbor_search(real: ModelWithData, checks: SynthesisChecks) -> NeighborSearch:
    """Return the search for real images: of the number that the user chose, or as many as `SEARCH_SECONDS` allow."""
    return NeighborSearch(
        data=real.data, placement=coarser(real.placement, checks.placements or RUN_PLACEMENTS), k=checks.neighbors,
        images=checks.neighbor_images or IMAGES, max_time=None if checks.neighbor_images else SEARCH_SECONDS)


def time_needed(model: nn.Module, goals: Sequence[str], options: dict[str, Any], *, seeds: int,
                search: NeighborSearch | None) -> str:
    """Return a sentence with the estimated time for the images of all objectives and for the real ones.

    Args:
        options: arguments of `visualize`.
        seeds: number of additional syntheses of each objective.
        search: the search for real images, if there is one.
    """
    images = (1 + seeds) * sum(synthesis_seconds(model, goal, **options) for goal in goals)
    sentence = f"synthesis of {len(goals)} objective{'s' * (len(goals) != 1)}: at most {about(images)}"
    if search is None:
        return sentence
    if search.max_time is None:
        return f"{sentence}; then a search among {min(search.images, len(search.data.test)):,} test images"
    return f"{sentence}; then a search among the test images of at most {about(search.max_time)}"


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


def _credit(loaded: LoadedCheckpoint) -> str:
    return training_credit(loaded.config.provenance.dataset or "unknown images")


def _save_images(loaded: LoadedCheckpoint, synthesis: Synthesis, out: Path, name: str) -> None:
    """Write a synthesis and its figures."""
    synthesis.save(out / name)
    gallery = class_gallery if synthesis.units[0].startswith("class:") else neuron_gallery
    save_figure(gallery(synthesis, credit=_credit(loaded)), out, name)
    neurons = class_neurons_figure(loaded.model, synthesis, credit=_credit(loaded))
    if neurons is not None:
        save_figure(neurons, out, f"class-neurons-{name}")


def _save_checks(loaded: LoadedCheckpoint, goals: Sequence[str], syntheses: Sequence[MeasuredSynthesis],
                 out: Path) -> None:
    """Write the comparison with real images, the quality measures and the table of parameters."""
    for goal, measured in zip(goals, syntheses, strict=True):
        measured.save_checks(out / slug(goal))
        if measured.quality is not None:
            save_figure(quality_figure(measured.quality, credit=_credit(loaded)), out, f"quality-{slug(goal)}")
        if measured.neighbors is not None:
            figure = neighbors_figure(measured.synthesis, measured.neighbors, limit=MAX_ROWS)
            save_figure(figure, out, f"neighbors-{slug(goal)}")
    files.write_json(out / QUALITY_FILE, {
        "schema_version": SCHEMA_VERSION, "model": loaded.config.name,
        "objectives": [measured.quality.summary() for measured in syntheses if measured.quality is not None]})
    write_parameters(out / PARAMETERS_FILE, loaded.config.name, parameter_rows(loaded.model))


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
