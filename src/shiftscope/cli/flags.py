"""Groups of options that commands share, and the parsers of their values."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Group, Parameter, Token

from shiftscope.errors import UsageError, require
from shiftscope.progress import Progress, default_progress
from shiftscope.settings import DataSettings, Interpolation, Resize, RunSettings, TrainSettings

IMAGES = Group.create_ordered("Images")
MODELS = Group.create_ordered("Model")
TRAINING = Group.create_ordered("Training")
RESULTS = Group.create_ordered("Results")

METRICS = ("mean", "worst", "consistency", "unanimity")
"""Metrics of an audit that a threshold may name."""

SECONDS = {"": 1, "s": 1, "m": 60, "min": 60, "h": 3600}


def size_parser(name: str) -> Callable[[Any, Sequence[Token]], tuple[int, int]]:
    """Return a parser of `56`, `48x64` or two numbers, `48 64`."""
    def parse(type_: Any, tokens: Sequence[Token]) -> tuple[int, int]:
        if len(tokens) > 2:
            raise UsageError(f"{name} must be one or two numbers, got {len(tokens)} values, the last one "
                             f"{tokens[-1].value!r}: write the other arguments before --{name}, or 48x64")
        text = "x".join(token.value for token in tokens)
        match = re.fullmatch(r"(\d{1,9})(?:[x×](\d{1,9}))?", text.strip().lower())
        if match is None or 0 in (sizes := [int(size) for size in match.groups() if size is not None]):
            raise UsageError(f"{name} must be one size in pixels or height x width, as in 56 or 48x64, got {text!r}")
        return sizes[0], sizes[-1]

    return parse


def parse_names(type_: Any, tokens: Sequence[Token]) -> tuple[str, ...]:
    """Parse names separated by commas or given as several values."""
    return tuple(name for token in tokens for name in token.value.split(",") if name)


def parse_thresholds(type_: Any, tokens: Sequence[Token]) -> dict[str, float]:
    """Parse `mean=0.9,worst=0.8`, or one number for the mean."""
    found = {}
    for part in parse_names(type_, tokens):
        name, equals, number = part.partition("=")
        name, number = (name.strip(), number.strip()) if equals else ("mean", name.strip())
        if name not in METRICS or not re.fullmatch(r"0?\.\d+|[01](\.0*)?", number):
            raise UsageError(f"fail-under must be fractions from 0 to 1 as in mean=0.9,worst=0.8, with names from "
                             f"{', '.join(METRICS)}, got {part!r}")
        found[name] = float(number)
    return found


def parse_normalize(type_: Any, tokens: Sequence[Token]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Parse `MEAN/STD`, each one number or one per channel: `0.5/0.5`, `0.485,0.456,0.406/0.229,0.224,0.225`."""
    text = ",".join(token.value for token in tokens)
    try:
        mean, std = (tuple(float(number) for number in part.split(",")) for part in text.split("/"))
    except ValueError as error:
        raise UsageError("normalize must be MEAN/STD, each one number or one per channel, as in 0.5/0.5, got "
                         f"{text!r}") from error
    return mean, std


def parse_time(type_: Any, tokens: Sequence[Token], name: str = "max-time") -> float:
    """Parse a duration in seconds: `90s`, `10m`, `1.5h`, or a number of seconds."""
    text = " ".join(token.value for token in tokens).strip().lower()
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|m|min|h|)", text)
    if match is None or float(match[1]) == 0:
        raise UsageError(f"{name} must be a time above 0 as in 90s, 10m or 1.5h, got {text!r}")
    return float(match[1]) * SECONDS[match[2]]


def show_default(value: Any) -> str | None:
    """Return a default as the help page shows it; None for a switch that is off and for no value.

    >>> show_default((56, 56)), show_default(("two-full", "two-conv")), show_default(False)
    ('56x56', 'two-full two-conv', None)
    """
    if value is None or value is False or value == ():
        return None
    if isinstance(value, tuple):
        return ("x" if isinstance(value[0], int) else " ").join(map(str, value))
    return str(value)


Canvas = Parameter(converter=size_parser("canvas"), n_tokens=1, metavar="SIZE")
ImageSize = Parameter(converter=size_parser("image-size"), n_tokens=-1, consume_multiple=(1, None), metavar="H W")
Normalize = Parameter(converter=parse_normalize, n_tokens=1, metavar="MEAN/STD")
Time = Parameter(converter=parse_time, n_tokens=1, metavar="TIME")
Budget = Parameter(converter=partial(parse_time, name="budget"), n_tokens=1, metavar="TIME", group=IMAGES)
Names = Parameter(converter=parse_names, consume_multiple=True, metavar="NAME")
Switch = Parameter(negative=())
Image, Training, Result = Parameter(group=IMAGES), Parameter(group=TRAINING), Parameter(group=RESULTS)
OutputType = Literal["logits", "probabilities", "log-probabilities"]


@Parameter(name="*", group=IMAGES)
@dataclass(frozen=True, kw_only=True)
class DataFlags(DataSettings):
    """Images and placement."""

    image_size: Annotated[tuple[int, int] | None, ImageSize] = None
    """Height and width to which the images of a folder are resized: 48 64, 48x64 or 56 (default: their usual size)."""
    canvas: Annotated[tuple[int, int] | None, Canvas] = None
    """Size of the canvas in pixels: 56, or 48x64 for height and width (default: 56; mode fill: size of the images)."""


@Parameter(name="*", group=TRAINING)
@dataclass(frozen=True, kw_only=True)
class TrainFlags(TrainSettings):
    """Settings of the training."""

    max_time: Annotated[float | None, Time] = None
    """Stop after this time (90s, 10m, 1.5h) and save; --resume continues (default: no limit)."""


@Parameter(name="*", group=RESULTS)
@dataclass(frozen=True, kw_only=True)
class RunFlags(RunSettings):
    """Settings of `shiftscope run`."""

    models: Annotated[tuple[str, ...], Names, Training] = RunSettings.models
    """Models to train: two-full (perceptron), two-conv (convnet), or package.module:object for your own."""
    epochs: Annotated[int | None, Training] = None
    seed: Annotated[int, Training] = RunSettings.seed
    seeds: Annotated[int, Training] = RunSettings.seeds
    controls: Annotated[bool, Training] = RunSettings.controls
    max_time: Annotated[float | None, Time] = None
    """Stop after this time (90s, 10m, 1.5h) and save; --resume continues (default: no limit)."""


@Parameter(name="*", group=IMAGES)
@dataclass(frozen=True, kw_only=True)
class DataOverrides:
    """Data for a checkpoint; None keeps the setting of its training."""

    data: str | None = None
    """Another dataset with the same classes (default: that of the training)."""
    data_dir: Path | None = None
    """Folder with the dataset's files."""
    limit: int | None = None
    """Use the first N images only."""
    image_size: Annotated[tuple[int, int] | None, ImageSize] = None
    """Height and width to which the images of a folder are resized (default: as in the training)."""
    resize: Resize | None = None
    """pad: aspect ratio kept, padded with the background; stretch: not kept; shorter: kept, shorter side scaled, center
    cropped (default: as in the training; for other models shorter in mode crop, else pad)."""
    shorter_side: int | None = None
    """Pixels to which the shorter side of a folder's images is scaled, before the center is cropped (default: as in the
    training or in the model's source, else 256/224 of the canvas)."""
    interpolation: Interpolation | None = None
    """How a folder's images are scaled, antialiased (default: as in the training or in the model's source, else
    bilinear)."""
    canvas: Annotated[tuple[int, int] | None, Canvas] = None
    """Size of the canvas in pixels, for a model that accepts any (default: that of the training)."""

    def given(self) -> dict[str, Any]:
        """Return the settings that are not None, by name."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if value is not None}


@Parameter(name="*", group=MODELS)
@dataclass(frozen=True, kw_only=True)
class SourceFlags:
    """How the model of a source is loaded."""

    allow_code: str | None = None
    """For a checkpoint of your own code: its model as package.module:object, which is imported."""
    weights: Path | None = None
    """File of torch.save or safetensors with the state_dict of package.module:object, a named model, or NAME@none."""
    normalize: Annotated[tuple[tuple[float, ...], tuple[float, ...]] | None, Normalize] = None
    """Normalization of the input of a model that is not a checkpoint, as in 0.5/0.5 (default: that of the source)."""
    select_output: str | None = None
    """Position or name of the scores among several outputs (default: the only one (batch, classes), else logits)."""
    trust_model_file: Annotated[bool, Switch] = False
    """Load MODEL from a TorchScript or torch.export file, which can run any code while it loads."""

    def options(self, **others: Any) -> Any:
        """Return the options as arguments of `shiftscope.load_model`, with others."""
        values = {field.name: getattr(self, field.name) for field in fields(SourceFlags)}
        key = self.select_output
        is_position = key is not None and key.removeprefix("-").isdecimal()
        return values | others | {"select_output": int(key) if key is not None and is_position else key}


@Parameter(name="*", group=MODELS)
@dataclass(frozen=True, kw_only=True)
class ModelFlags(SourceFlags):
    """How a model is loaded, and where it runs."""

    device: Annotated[str, Parameter(group=RESULTS)] = "auto"
    """One of auto, cpu, cuda or mps."""


@Parameter(name="*", group=RESULTS)
@dataclass(frozen=True, kw_only=True)
class OutputFlags:
    """What a command prints."""

    json: Annotated[bool, Switch] = False
    """Print the result as one JSON document."""
    quiet: Annotated[bool, Switch] = False
    """Show no progress."""

    def progress(self) -> Progress:
        """Return the progress display."""
        return default_progress(quiet=self.quiet)


@Parameter(name="*", group=RESULTS)
@dataclass(frozen=True, kw_only=True)
class ProcessFlags:
    """Processes that share the work."""

    devices: int = 1
    """Number of processes on this machine that share the work, each with one GPU or its part of the CPU cores."""

    def __post_init__(self) -> None:
        require(self.devices >= 1, "devices", self.devices, "an integer of at least 1")


@Parameter(name="*", group=RESULTS)
@dataclass(frozen=True, kw_only=True)
class FolderFlags:
    """Device and folder of a training."""

    device: str = "auto"
    """One of auto, cpu, cuda or mps."""
    out: Path | None = None
    """Folder for the checkpoint (default: shiftscope-train/MODEL)."""
    resume: bool = False
    """Continue the training in --out."""
    overwrite: bool = False
    """Replace the training in --out."""

    def __post_init__(self) -> None:
        require(not (self.resume and self.overwrite), "resume and overwrite", True, "not both given")


SOURCE = SourceFlags()
DATA, TRAIN, RUN, OVERRIDES, OUTPUT = DataFlags(), TrainFlags(), RunFlags(), DataOverrides(), OutputFlags()
MODEL, FOLDER, ONE_PROCESS = ModelFlags(), FolderFlags(), ProcessFlags()
"""Defaults in signatures; they are frozen and can be shared."""
