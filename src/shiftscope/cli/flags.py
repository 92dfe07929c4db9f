"""The settings as options: what the command line adds to `shiftscope.settings` is how some values are typed."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Group, Parameter, Token

from shiftscope.errors import UsageError, require
from shiftscope.settings import DataSettings, RunSettings, TrainSettings

IMAGES = Group.create_ordered("Images")
TRAINING = Group.create_ordered("Training")
RESULTS = Group.create_ordered("Results")


def parse_canvas(type_: Any, tokens: Sequence[Token]) -> tuple[int, int]:
    """Read the size of a canvas."""
    return parse_size("canvas", tokens)


def parse_image_size(type_: Any, tokens: Sequence[Token]) -> tuple[int, int]:
    """Read the size of an image."""
    return parse_size("image-size", tokens)


def parse_stride(type_: Any, tokens: Sequence[Token]) -> tuple[int, int]:
    """Read a stride: one number, or down x right."""
    return parse_size("stride", tokens)


def parse_size(name: str, tokens: Sequence[Token]) -> tuple[int, int]:
    """Read `56`, `48x64` or, from a file or variable, the two numbers `48 64`."""
    text = "x".join(token.value for token in tokens)
    match = re.fullmatch(r"(\d{1,9})(?:[x×](\d{1,9}))?", text.strip().lower())
    if match is None or 0 in (sizes := [int(size) for size in match.groups() if size is not None]):
        raise UsageError(f"{name} must be one size in pixels or height x width, as in 56 or 48x64, got {text!r}")
    return sizes[0], sizes[-1]


def parse_names(type_: Any, tokens: Sequence[Token]) -> tuple[str, ...]:
    """Read names that are separated by commas or stand apart."""
    return tuple(name for token in tokens for name in token.value.split(",") if name)


FIGURES = ("mean", "worst", "consistency", "unanimity")
"""Figures of an audit that a threshold may name."""


def parse_thresholds(type_: Any, tokens: Sequence[Token]) -> dict[str, float]:
    """Read `mean=0.9,worst=0.8`, or one number, which is meant for the mean."""
    found = {}
    for part in parse_names(type_, tokens):
        name, equals, number = part.partition("=")
        name, number = (name.strip(), number.strip()) if equals else ("mean", name.strip())
        if name not in FIGURES or not re.fullmatch(r"0?\.\d+|[01](\.0*)?", number):
            raise UsageError(f"fail-under must be shares from 0 to 1 as in mean=0.9,worst=0.8, names from "
                             f"{', '.join(FIGURES)}, got {part!r}")
        found[name] = float(number)
    return found


def parse_normalize(type_: Any, tokens: Sequence[Token]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Read `MEAN/STD`, each one number or one a channel: `0.5/0.5`, `0.485,0.456,0.406/0.229,0.224,0.225`."""
    text = ",".join(token.value for token in tokens)
    try:
        mean, std = (tuple(float(number) for number in part.split(",")) for part in text.split("/"))
    except ValueError as error:
        raise UsageError("normalize must be MEAN/STD, each one number or one a channel, as in 0.5/0.5, got "
                         f"{text!r}") from error
    return mean, std


_SECONDS = {"": 1, "s": 1, "m": 60, "min": 60, "h": 3600}


def parse_time(type_: Any, tokens: Sequence[Token]) -> float:
    """Read a time span in seconds: `90s`, `10m`, `1.5h`, or a bare number of seconds."""
    text = " ".join(token.value for token in tokens).strip().lower()
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|m|min|h|)", text)
    if match is None or float(match[1]) == 0:
        raise UsageError(f"max-time must be a time above 0 as in 90s, 10m or 1.5h, got {text!r}")
    return float(match[1]) * _SECONDS[match[2]]


def show_default(value: Any) -> str | None:
    """Return a default as the help page shows it; None for a switch that is off and a value that is left open.

    >>> show_default((56, 56)), show_default(("two-full", "two-conv")), show_default(False)
    ('56x56', 'two-full two-conv', None)
    """
    if value is None or value is False or value == ():
        return None
    if isinstance(value, tuple):
        return ("x" if isinstance(value[0], int) else " ").join(map(str, value))
    return str(value)


Canvas = Parameter(converter=parse_canvas, n_tokens=1, metavar="SIZE")
Size = Parameter(converter=parse_image_size, n_tokens=1, metavar="SIZE")
Time = Parameter(converter=parse_time, n_tokens=1, metavar="TIME")
Switch = Parameter(negative=())
OutputType = Literal["logits", "probabilities", "log-probabilities"]


@Parameter(name="*", group=IMAGES)
@dataclass(frozen=True, kw_only=True)
class DataFlags(DataSettings):
    """Which images, and how they lie on the canvas."""

    canvas: Annotated[tuple[int, int], Canvas] = DataSettings.canvas
    """Size of the canvas in pixels: 56, or height and width as in 48x64."""


@Parameter(name="*", group=TRAINING)
@dataclass(frozen=True, kw_only=True)
class TrainFlags(TrainSettings):
    """How a model is trained."""

    max_time: Annotated[float | None, Time] = None
    """End after so much time (90s, 10m, 1.5h), checkpoint saved; --resume goes on (default: no limit)."""


@Parameter(name="*", group=RESULTS)
@dataclass(frozen=True, kw_only=True)
class RunFlags(RunSettings):
    """The main job."""

    models: Annotated[tuple[str, ...], Parameter(
        converter=parse_names, consume_multiple=True, metavar="NAME", group=TRAINING)] = RunSettings.models
    """Which models to train: two-full (perceptron), two-conv (convnet), or package.module:object of your own."""
    epochs: Annotated[int | None, Parameter(group=TRAINING)] = None
    seed: Annotated[int, Parameter(group=TRAINING)] = RunSettings.seed
    seeds: Annotated[int, Parameter(group=TRAINING)] = RunSettings.seeds
    controls: Annotated[bool, Parameter(group=TRAINING)] = RunSettings.controls
    max_time: Annotated[float | None, Time] = None
    """End after so much time (90s, 10m, 1.5h), all that is done saved; --resume goes on (default: no limit)."""


@Parameter(name="*", group=IMAGES)
@dataclass(frozen=True, kw_only=True)
class DataOverrides:
    """Data for a checkpoint, which knows what it was trained on: what is None stays so."""

    data: str | None = None
    """Another dataset with the same classes and image size (default: what the model was trained on)."""
    data_dir: Path | None = None
    """Folder that holds the dataset's files."""
    limit: int | None = None
    """Use the first N images only."""
    canvas: Annotated[tuple[int, int] | None, Canvas] = None
    """Size of the canvas in pixels, for a model that takes any (default: as trained)."""

    def given(self) -> dict[str, Any]:
        """Return the settings that were given, by name."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if value is not None}


@Parameter(name="*", group=RESULTS)
@dataclass(frozen=True, kw_only=True)
class OutputFlags:
    """How a command shows what it found out."""

    json: Annotated[bool, Switch] = False
    """Print the result as one JSON document."""
    quiet: Annotated[bool, Switch] = False
    """Show no progress."""


@Parameter(name="*", group=RESULTS)
@dataclass(frozen=True, kw_only=True)
class ProcessFlags:
    """How many processes share the work."""

    devices: int = 1
    """Processes of this machine that share the work: a GPU each, or their part of the processor's cores."""

    def __post_init__(self) -> None:
        require(self.devices >= 1, "devices", self.devices, "a whole number of at least 1")


DATA, TRAIN, RUN, OVERRIDES, OUTPUT = DataFlags(), TrainFlags(), RunFlags(), DataOverrides(), OutputFlags()
ONE_PROCESS = ProcessFlags()
"""The defaults, for signatures: frozen, so one object serves all."""
