"""`shiftscope visualize`: what the units of a checkpoint like to see, and its parameters."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from shiftscope import files
from shiftscope.data import read_picture
from shiftscope.errors import DataError, UsageError
from shiftscope.progress import Progress
from shiftscope.reporting import class_gallery, neuron_gallery, save_figure
from shiftscope.results import SCHEMA_VERSION, Synthesis
from shiftscope.runs import slug
from shiftscope.settings import SynthesisSettings
from shiftscope.visualization import default_objectives, parameter_rows, visualize
from shiftscope.visualization.parametrisation import STARTS
from shiftscope.workflows.checkpoints import Trained, open_checkpoint
from shiftscope.workflows.looks import class_neurons_figure, learned_from


def visualize_checkpoint(checkpoint: Path, objectives: Sequence[str] = (), *, out: Path, start: str | None = None,
                         settings: SynthesisSettings, device: str = "auto", allow_code: str | None = None,
                         progress: Progress) -> list[Synthesis]:
    """Make pictures for each objective; write records, galleries and the table of parameters into `out`.

    Args:
        checkpoint: checkpoint folder or run folder.
        objectives: "class:Bag", "fc1:0-9", ...; all classes and the first fully connected layer's neurons if none.
        out: folder; an objective's record lies in a subfolder named after it.
        start: "zero", "black", "random", or a PNG or JPEG file of the canvas's or the image's size; see `visualize`.

    Raises:
        CheckpointError, DataError, UsageError: see `load` and `visualize`; a start picture of another size.
    """
    trained = open_checkpoint(checkpoint, device=device, allow_code=allow_code)
    shape = (trained.channels, *trained.placement.canvas)
    begin: Any = start if start is None or start in STARTS else start_picture(Path(start), trained)
    goals = objectives or default_objectives(trained.model, shape)
    made = [visualize(trained.model, goal, start=begin, settings=settings, shape=shape, progress=progress,
                      class_names=trained.class_names, name=trained.config.name) for goal in goals]
    credit = learned_from(trained.config.provenance.dataset or "unknown images")
    for goal, synthesis in zip(goals, made, strict=True):
        _save(synthesis, trained.model, credit, out, slug(goal))
    rows = [vars(row) for row in parameter_rows(trained.model)]
    files.write_json(out / "parameters.json", {"schema_version": SCHEMA_VERSION, "model": trained.config.name,
                                               "parameters": rows})
    return made


def _save(synthesis: Synthesis, model: nn.Module, credit: str, out: Path, name: str) -> None:
    """Write the record and the figures of a synthesis."""
    synthesis.save(out / name)
    draw = class_gallery if synthesis.units[0].startswith("class:") else neuron_gallery
    save_figure(draw(synthesis, credit=credit), out, name)
    speakers = class_neurons_figure(model, synthesis, credit=credit)
    if speakers is not None:
        save_figure(speakers, out, f"class-neurons-{name}")


def start_picture(path: Path, trained: Trained) -> torch.Tensor:
    """Return a picture file as uint8 (C, H, W) of the canvas's size; one of the image's size is laid in the middle.

    Raises:
        DataError: no such file, or no picture.
        UsageError: another size.
    """
    if not path.is_file():
        raise DataError(f"there is no file {path} to start from: give zero, black, random, or a PNG or JPEG file")
    picture = read_picture(path)
    if trained.channels == 1:
        grey = Image.fromarray(picture.permute(1, 2, 0).numpy()).convert("L")
        picture = torch.from_numpy(np.array(grey))[None]
    size, placement = tuple(picture.shape[1:]), trained.placement
    if size == placement.canvas:
        return picture
    if size != placement.image:
        raise UsageError(f"the start picture {path} is {size[0]} x {size[1]} pixels: give one of the canvas's size, "
                         f"{placement.canvas[0]} x {placement.canvas[1]}, or of the image's size, "
                         f"{placement.image[0]} x {placement.image[1]}")
    return placement.place(picture[None], placement.centred(1, picture.device))[0]
