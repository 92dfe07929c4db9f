"""`shiftscope visualize`: what the units of a checkpoint like to see, what stands beside it, and its parameters."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from shiftscope import files
from shiftscope.data import Dataset, read_image_file
from shiftscope.errors import DataError, UsageError
from shiftscope.placement import Placement
from shiftscope.progress import Progress
from shiftscope.reporting import class_gallery, neighbors_figure, neuron_gallery, quality_figure, save_figure
from shiftscope.results import SCHEMA_VERSION
from shiftscope.runs import slug
from shiftscope.runs.outputs import figure_files, new_files, record_files
from shiftscope.settings import SynthesisChecks, SynthesisSettings
from shiftscope.visualization import default_objectives, parameter_rows, visualize
from shiftscope.visualization.initial_images import STARTS
from shiftscope.visualization.neighbors import coarser
from shiftscope.workflows.checkpoints import Trained, open_checkpoint
from shiftscope.workflows.looks import Beside, Look, class_neurons_figure, learned_from, look_beside
from shiftscope.workflows.subjects import checkpoint_subject

QUALITY, PARAMETERS = "quality.json", "parameters.json"

ROWS = 20
"""Units in a figure of real images, the first ones: more no longer fit on a page."""


def visualize_checkpoint(checkpoint: Path, objectives: Sequence[str] = (), *, out: Path, start: str | None = None,
                         settings: SynthesisSettings, beside: SynthesisChecks | None = None,
                         overrides: dict[str, Any] | None = None, overwrite: bool = False, device: str = "auto",
                         allow_code: str | None = None, progress: Progress) -> list[Look]:
    """Make pictures for each objective, look at real images, and measure; write records and figures into `out`.

    Args:
        checkpoint: checkpoint folder or run folder.
        objectives: "class:Bag", "fc1:0-9", ...; all classes and the first fully connected layer's neurons if none.
        out: folder; an objective's record lies in a subfolder named after it.
        start: "zero", "black", "random", "mean", or a PNG or JPEG file of the canvas's or the image's size; see
            `visualize`.
        beside: what stands beside the pictures.
        overrides: fields of `DataSettings` for the real images. Where the dataset that the model was trained on is not
            there, a note says so and there are none; one that was named here must be there.
        overwrite: replace records and figures that are there.

    Raises:
        UsageError, OutputError: a file in `out` exists, or `out` cannot be written; raised before pictures are made.
        CheckpointError, DataError, UsageError: see `load` and `visualize`; a start picture of another size; a judge of
            other classes or another canvas.
    """
    trained = open_checkpoint(checkpoint, device=device, allow_code=allow_code)
    shape = (trained.channels, *trained.placement.canvas)
    goals = list(objectives) or default_objectives(trained.model, shape)
    with new_files(out, _names(goals), overwrite=overwrite, summaries=(QUALITY, PARAMETERS)):
        looks = _looks(trained, goals, start, settings, beside or SynthesisChecks(), overrides or {}, device, progress)
        _save_all(trained, goals, looks, out)
    return looks


def _names(goals: Sequence[str]) -> list[str]:
    names = [slug(goal) for goal in goals]
    figures = [f"{begin}{name}" for name in names for begin in ("", "quality-", "neighbors-", "class-neurons-")]
    records = [f"{name}{part}" for name in names for part in ("", "/quality", "/neighbors")]
    return [*figure_files(*figures), *record_files(*records)]


def _looks(trained: Trained, goals: Sequence[str], start: str | None, settings: SynthesisSettings,
           given: SynthesisChecks, overrides: dict[str, Any], device: str, progress: Progress) -> list[Look]:
    """Make the pictures, and look at real images beside them."""
    shape = (trained.channels, *trained.placement.canvas)
    begin: Any = start if start is None or start in STARTS else start_picture(Path(start), trained)
    judge = None if given.judge is None else open_judge(given.judge, trained, device, given.judge_code)
    wants = given.neighbors or start == "mean" or settings.parametrization == "maco"
    real = real_images(trained, overrides, progress) if wants else None
    train = None if real is None else real[0].train
    made = [visualize(trained.model, goal, start=begin, settings=settings, shape=shape, progress=progress, images=train,
                      placement=trained.placement, class_names=trained.class_names, name=trained.config.name)
            for goal in goals]
    plan = Beside(judge=judge and judge.model, judge_name=judge and judge.config.name, seeds=given.seeds, train=train,
                  canvas=trained.placement)
    if real is not None and given.neighbors:
        thin = real[1] if given.placements is None else coarser(real[1], given.placements)
        plan = replace(plan, data=real[0], placement=thin, k=given.neighbors)
    return look_beside(trained.model, made, plan, progress=progress)


def real_images(trained: Trained, overrides: dict[str, Any], progress: Progress) -> tuple[Dataset, Placement] | None:
    """Return real images for a model and how they lie; None where there are none, with a note that says why.

    Raises:
        DataError, UsageError: the dataset was named in `overrides` and is missing or unfit.
    """
    known = trained.config.provenance.dataset
    if known is None and "data" not in overrides:
        progress.note("no real images beside the pictures: the checkpoint does not say what it was trained on; name a "
                      "dataset with --data")
        return None
    try:
        subject = checkpoint_subject(trained, overrides, progress)
    except (DataError, UsageError) as error:
        if "data" in overrides:
            raise
        progress.note(f"no real images beside the pictures: {known} could not be used: {error}")
        return None
    return subject.data, subject.placement


def open_judge(path: Path, trained: Trained, device: str, code: str | None) -> Trained:
    """Load the checkpoint of a judge.

    Raises:
        UsageError: it tells other classes apart or takes other pictures than the model.
    """
    judge = open_checkpoint(path, device=device, allow_code=code)
    if judge.class_names != trained.class_names:
        raise UsageError(f"the judge {path} tells {', '.join(judge.class_names)} apart, the model "
                         f"{', '.join(trained.class_names)}: choose a judge that learned from the same dataset")
    if judge.placement.canvas != trained.placement.canvas:
        (height, width), (H, W) = judge.placement.canvas, trained.placement.canvas
        raise UsageError(f"the judge {path} takes a canvas of {height} x {width}, the model one of {H} x {W}: choose a "
                         "judge of the same canvas")
    return judge


def _save_all(trained: Trained, goals: Sequence[str], looks: Sequence[Look], out: Path) -> None:
    """Write records, figures, the figures of merit and the table of parameters."""
    credit = learned_from(trained.config.provenance.dataset or "unknown images")
    for goal, look in zip(goals, looks, strict=True):
        look.save(out / slug(goal))
        _draw(look, trained.model, credit, out, slug(goal))
    files.write_json(out / QUALITY, {
        "schema_version": SCHEMA_VERSION, "model": trained.config.name,
        "objectives": [look.quality.summary() for look in looks]})
    rows = [vars(row) for row in parameter_rows(trained.model)]
    files.write_json(out / PARAMETERS, {"schema_version": SCHEMA_VERSION, "model": trained.config.name,
                                        "parameters": rows})


def _draw(look: Look, model: nn.Module, credit: str, out: Path, name: str) -> None:
    """Write the figures of a synthesis and what stands beside it."""
    synthesis = look.synthesis
    draw = class_gallery if synthesis.units[0].startswith("class:") else neuron_gallery
    save_figure(draw(synthesis, credit=credit), out, name)
    save_figure(quality_figure(look.quality, credit=credit), out, f"quality-{name}")
    if look.neighbors is not None:
        save_figure(neighbors_figure(synthesis, look.neighbors, limit=ROWS), out, f"neighbors-{name}")
    speakers = class_neurons_figure(model, synthesis, credit=credit)
    if speakers is not None:
        save_figure(speakers, out, f"class-neurons-{name}")


def start_picture(path: Path, trained: Trained) -> torch.Tensor:
    """Return a picture file as uint8 (C, H, W) of the canvas's size; one of the image's size is laid in the middle.

    Raises:
        DataError: no such file, or no picture.
        UsageError: another size.
    """
    if not path.exists():
        raise DataError(f"there is no file {path} to start from: give zero, black, random, or a PNG or JPEG file")
    picture = read_image_file(path)
    if trained.channels == 1:
        gray = Image.fromarray(picture.permute(1, 2, 0).numpy()).convert("L")
        picture = torch.from_numpy(np.array(gray))[None]
    size, placement = tuple(picture.shape[1:]), trained.placement
    if size == placement.canvas:
        return picture
    if size != placement.image:
        raise UsageError(f"the start picture {path} is {size[0]} x {size[1]} pixels: give one of the canvas's size, "
                         f"{placement.canvas[0]} x {placement.canvas[1]}, or of the image's size, "
                         f"{placement.image[0]} x {placement.image[1]}")
    return placement.place(picture[None], placement.centered(1, picture.device))[0]
