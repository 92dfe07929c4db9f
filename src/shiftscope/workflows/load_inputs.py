"""Load what a command works on: a dataset with its placement, a checkpoint, or a model together with its images."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, TypedDict, TypeVar, Unpack

import torch
from msgspec import Meta
from torch import nn

from shiftscope.data import Dataset
from shiftscope.data.catalog import is_folder
from shiftscope.data.class_map import ClassMap, Outputs, with_output_labels
from shiftscope.data.garments import NAME as GARMENTS
from shiftscope.data.garments import TEST_IMAGES, TRAIN_IMAGES, parse_counts
from shiftscope.data.labels import normalized
from shiftscope.dense.shifts import DenseShifts
from shiftscope.devices import resolve_device
from shiftscope.errors import CheckpointError, ShiftscopeError, UsageError, some_of
from shiftscope.files import UnfitFileError
from shiftscope.geometry import Geometry
from shiftscope.layers import PlacementAverage
from shiftscope.models import CheckpointConfig, Provenance, load, load_config, open_source
from shiftscope.models.adapt import adapt
from shiftscope.models.checkpoint import FOREIGN
from shiftscope.models.repair import Repaired, WholeAverage
from shiftscope.models.sources import SourceOptions, check_source, kind_of
from shiftscope.modules import device_and_dtype, evaluating, model_name
from shiftscope.outputs import OutputType
from shiftscope.placement import Placement
from shiftscope.preparation import PADDED, Preparation
from shiftscope.progress import Progress
from shiftscope.protocols import Protocol
from shiftscope.reading import as_type
from shiftscope.resolve import is_object_name
from shiftscope.results.validation import Size, wrong_placement
from shiftscope.runs import find_checkpoint
from shiftscope.settings import DataSettings, TrainSettings
from shiftscope.source_info import SourceInfo
from shiftscope.workflows.load_images import load_data, open_data, placement_for

BUILT_IN = ("garments", "fashion-mnist", "mnist")
"""Datasets that need no path."""

VALIDATION = TrainSettings.validation
"""Size of the validation split of models whose training is unknown."""

NO_INFO = SourceInfo()

UNKNOWN_CLASSES = 10
"""Number of classes for which a model is built if the images have no labels."""

AnyModel = TypeVar("AnyModel", bound=nn.Module)


@dataclass(frozen=True, kw_only=True)
class LoadedCheckpoint:
    """A model with the description that its checkpoint holds."""

    model: nn.Module
    config: CheckpointConfig
    placement: Placement
    channels: int
    device: torch.device
    info: SourceInfo = NO_INFO
    """Input and classes as the source describes them."""
    is_checkpoint: bool = True
    """False: the description was made from what another source says."""

    @property
    def class_names(self) -> list[str]:
        return self.config.provenance.class_names

    @property
    def validation(self) -> int:
        """Size of the validation split of the training."""
        return _described(self.config.provenance.settings or {}, _Split, "settings").get("validation", VALIDATION)


class OutputNames(TypedDict):
    """Arguments of `audit` and `evaluate` that name a model's outputs."""

    class_map: ClassMap | None
    output_names: Sequence[str] | None
    wordnet_ids: Sequence[str] | None


@dataclass(frozen=True, kw_only=True)
class ModelWithData:
    """A classifier and the images on which a command evaluates it."""

    model: nn.Module
    name: str
    """Name in tables and figures."""
    trained: str
    """"random", "centered" or "unknown"."""
    data: Dataset
    placement: Placement
    validation: int = VALIDATION
    """Size of the validation split of the training."""
    info: SourceInfo = NO_INFO
    """Input and classes as the source of the model describes them."""
    class_map: ClassMap | None = None
    """Outputs of classes of `data`, which `audit` and `evaluate` match with the model's outputs."""
    mapped: bool = False
    """True if the class names of `data` are those of the model's outputs."""

    def outputs(self) -> OutputNames:
        """Return the arguments of `audit` and `evaluate` that name the model's outputs."""
        if self.mapped:
            return {"class_map": None, "output_names": self.data.class_names, "wordnet_ids": None}
        return {"class_map": self.class_map, "output_names": self.info.class_names,
                "wordnet_ids": self.info.wordnet_ids}


def open_model(source: Path | str, overrides: dict[str, Any], *, device: str = "auto",
               class_map: ClassMap | None = None, protocol: Protocol | None = None, progress: Progress,
               **loading: Unpack[SourceOptions]) -> ModelWithData:
    """Load a classifier and its images.

    Args:
        source: see `load_model`.
        overrides: fields of `DataSettings` that the user set; for a checkpoint the others are those of its training.
        class_map: output of each class of the dataset, for a dataset with fewer classes than the model has outputs.
        protocol: published evaluation that sets image sizes and placement, instead of the settings.
        loading: further arguments of `load_model`.

    Raises:
        CheckpointError, DataError, UsageError: see `load_model` and `load_dataset`.
    """
    check_source(source, **loading)
    kind = kind_of(source)
    if kind == "checkpoint":
        return add_data(open_checkpoint(Path(source), device=device, allow_code=loading.get("allow_code")), overrides,
                        progress, class_map, protocol)
    options: dict[str, Any] = {**loading, "device": resolve_device(device), "progress": progress}
    if kind == "named":  # built for the images
        data, placement = open_data(DataSettings(**overrides), progress, protocol=protocol)
        opened = open_source(source, canvas=placement.canvas, channels=data.shape[0],
                             classes=data.classes or UNKNOWN_CLASSES, **options)
    else:
        opened = open_source(source, **options)
        canvas: dict[str, Any] = {"canvas": opened.info.input_size} if opened.info.input_size else {}
        data, placement = open_data(DataSettings(**(canvas | overrides)), progress, _source_preparation(opened.info),
                                    protocol)
    return ModelWithData(model=opened.model, name=opened.name, trained="unknown", data=data, placement=placement,
                         info=opened.info, class_map=class_map)


def _source_preparation(info: SourceInfo) -> Preparation | None:
    """Return the preparation of photographs that a source states; None if it states nothing."""
    return Preparation.of_source(resize=info.resize, crop=info.crop, interpolation=info.interpolation,
                                 antialias=info.antialias)


class DescribedOptions(SourceOptions, total=False):
    """Further arguments of `open_described`."""

    canvas: tuple[int, int] | None
    output_type: OutputType | None


DESCRIBED: DescribedOptions = {}
"""The defaults."""


def open_described(source: Path | str, *, device: str = "auto", canvas: tuple[int, int] | None = None,
                   output_type: OutputType | None = None, progress: Progress | None = None,
                   **loading: Unpack[SourceOptions]) -> LoadedCheckpoint:
    """Load a model with a description: that of its checkpoint, or one made from what another source says.

    Args:
        source: see `load_model`.
        canvas: (H, W) of the model's input, if the source does not say it. It is also the size of the images.
        output_type: type of the outputs, which a model with one number per image needs.
        loading: further arguments of `load_model`.

    Raises:
        UsageError: if the input size is unknown, or the model cannot take images of this size.
        CheckpointError, UsageError: see `load_model` and `open_checkpoint`.
    """
    check_source(source, **loading)
    if kind_of(source) == "checkpoint":
        checkpoint = open_checkpoint(Path(source), device=device, allow_code=loading.get("allow_code"))
        if canvas not in (None, checkpoint.placement.canvas):
            raise UsageError(f"{source} is a checkpoint, which contains its canvas: leave out --canvas")
        return checkpoint
    torch_device = resolve_device(device)
    sizes: dict[str, Any] = {} if canvas is None else {"canvas": canvas}
    if canvas is None and kind_of(source) == "named":
        raise _no_size(source)
    opened = open_source(source, device=torch_device, progress=progress, **sizes, **loading)
    size = canvas or opened.info.input_size
    if size is None:
        raise _no_size(source)
    config = CheckpointConfig(model=FOREIGN, arguments={}, provenance=Provenance(name=opened.name))
    channels = opened.info.channels or input_channels(opened.model, config)
    model = adapt(opened.model, shape=(channels, *size), output_type=output_type)
    placement = Placement(image=size, canvas=size)
    how = (_source_preparation(opened.info) or PADDED).on_canvas(size, "crop")
    provenance = replace(config.provenance, class_names=_class_names(model, (channels, *size), opened.info),
                         placement=placement.to_dict(), channels=channels, resize=how.resize, prepared=how.to_dict())
    return LoadedCheckpoint(model=model, config=replace(config, provenance=provenance), placement=placement,
                            channels=channels, device=torch_device, info=opened.info, is_checkpoint=False)


def require_checkpoint(source: Path | str, command: str, instead: str) -> None:
    """Raise a `UsageError` if a source is no folder, for commands that read more than a model from it."""
    if kind_of(source) != "checkpoint":
        raise UsageError(f"{command} takes a folder that Shiftscope wrote, got the model source {source}: {instead}")


def _no_size(source: Path | str) -> UsageError:
    return UsageError(f"{source} does not say the size of its input: give it with --canvas, as in --canvas 224x224")


def _class_names(model: nn.Module, shape: tuple[int, int, int], info: SourceInfo) -> list[str]:
    """Return the names of the outputs; their numbers if the source does not name them."""
    device, dtype = device_and_dtype(model)
    with evaluating(model):
        outputs = model(torch.zeros(2, *shape, device=device, dtype=dtype))
    if not isinstance(outputs, torch.Tensor) or outputs.ndim != 2:
        got = tuple(outputs.shape) if isinstance(outputs, torch.Tensor) else type(outputs).__name__
        raise UsageError(f"{model_name(model)} must return a tensor (batch, classes), got {got} for a batch of 2")
    known = info.class_names or ()
    return list(known) if len(known) == outputs.shape[1] else [str(index) for index in range(outputs.shape[1])]


def add_data(checkpoint: LoadedCheckpoint, overrides: dict[str, Any], progress: Progress,
             class_map: ClassMap | None = None, protocol: Protocol | None = None) -> ModelWithData:
    """Load the dataset that a checkpoint was trained on, another one with some of its classes, or without labels.

    Raises:
        UsageError: if the dataset has other classes, or must be named with `data`.
    """
    provenance, placement = checkpoint.config.provenance, checkpoint.placement
    known: dict[str, Any] = {
        "data": overrides.get("data") or _stored_dataset(provenance.dataset or DataSettings.data),
        "canvas": placement.canvas, "mode": placement.mode, "background": placement.geometry.background}
    if overrides.get("mode", placement.mode) == placement.mode:
        known["fill"] = placement.fill
    prepared = None
    if is_folder(known["data"]) and not overrides.keys() & {"image_size", "resize", "shorter_side"}:
        prepared = stored_preparation(checkpoint.config)
    if is_folder(known["data"]):  # prepared as in the training, as `predict` does
        known |= {"image_size": placement.image, "resize": provenance.resize}
    settings = DataSettings(**(known | overrides))
    data = load_data(settings, progress, prepared, protocol)
    stored = placement.canvas, placement.image, placement.mode, placement.fill
    asked = settings.canvas, data.shape[1:], settings.mode, settings.fill
    if asked != stored or settings.max_shift is not None or protocol is not None:
        placement = placement_for(data, settings, protocol)
    data = _with_classes(checkpoint, data, class_map)
    return ModelWithData(model=checkpoint.model, name=checkpoint.config.name, trained=provenance.trained, data=data,
                         placement=placement, validation=checkpoint.validation, info=checkpoint.info, mapped=True)


def _with_classes(checkpoint: LoadedCheckpoint, data: Dataset, class_map: ClassMap | None) -> Dataset:
    """Return the dataset with the classes of the checkpoint, or of a model of another source."""
    names, info = checkpoint.class_names, checkpoint.info
    if not checkpoint.is_checkpoint:
        outputs = Outputs(count=len(names), names=info.class_names and names, wordnet_ids=info.wordnet_ids,
                          model=checkpoint.config.name)
        return with_output_labels(data, outputs, class_map)
    if data.classes < len(names) or not data.labeled or class_map is not None:
        outputs = Outputs(count=len(names), names=names, model=f"the checkpoint {checkpoint.config.name}")
        return with_output_labels(data, outputs, class_map)
    _check_classes(checkpoint, data)
    return data


def _check_classes(checkpoint: LoadedCheckpoint, data: Dataset) -> None:
    stored, names = (list(map(normalized, names)) for names in (checkpoint.class_names, data.class_names))
    if stored != names:
        different = sorted(set(stored) ^ set(names))
        where = f"only one of them has {some_of(different, 3)}" if different else "in another order"
        raise UsageError(f"the classes of the checkpoint are {some_of(checkpoint.class_names, 3)}, the dataset "
                         f"{data.name} has {some_of(data.class_names, 3)} ({where}): choose the dataset that the model "
                         "was trained on")


def _stored_dataset(dataset: str) -> str:
    """Return the name of the dataset in a checkpoint if it can be loaded by this name alone."""
    if is_object_name(dataset):
        raise UsageError(f"the checkpoint names code as its dataset, {dataset}, and code is never imported by a name "
                         f"found in a file: if you trust it, pass --data {dataset}")
    check_synthetic_count(dataset)
    if dataset not in BUILT_IN and ":" not in dataset:
        raise UsageError(f"the checkpoint was trained on images called {dataset!r} and does not contain their path: "
                         "name them, for instance with --data folder:PATH")
    return dataset


def check_synthetic_count(dataset: str) -> None:
    """Raise a `UsageError` if a file names more synthetic garments than the default: generating them takes time."""
    kind, _, counts = dataset.partition(":")
    limit = TRAIN_IMAGES + TEST_IMAGES
    if kind == GARMENTS and counts and sum(parse_counts(counts)) > limit:
        raise UsageError(f"{dataset} is named in a file and has more than {limit:,} synthetic images: if you want to "
                         f"generate them, pass --data {dataset}")


def open_checkpoint(path: Path, *, device: str = "auto", allow_code: str | None = None) -> LoadedCheckpoint:
    """Load a checkpoint folder, or the only one of a run folder.

    Raises:
        CheckpointError: missing, corrupt, hostile or from another version.
        UsageError: if it does not describe its training images.
    """
    folder = find_checkpoint(path)
    config = load_config(folder)
    torch_device = resolve_device(device)
    model = use_one_pass(load(folder, allow_code=allow_code, device=torch_device))
    description = config.provenance.placement
    if description is None or not config.provenance.class_names:
        raise UsageError(f"{folder} does not describe the images that it was trained on; train it with shiftscope "
                         "train, or pass provenance= to shiftscope.save")
    channels = _described(input_channels(model, config), Size, "channels")
    placement = stored_placement(description, channels)
    return LoadedCheckpoint(model=adapt(model, shape=(channels, *placement.canvas)), config=config,
                            placement=placement, channels=channels, device=torch_device)


def input_channels(model: nn.Module, config: CheckpointConfig) -> int:
    """Return the number of input channels, from the checkpoint, the model, or its first convolution."""
    known = config.provenance.channels or config.arguments.get("channels")
    if known is not None:
        return known
    shape = next((vars(module)["input_shape"] for module in model.modules() if "input_shape" in vars(module)), None)
    if shape is not None:
        return int(shape[0])
    first = next((module for module in model.modules() if isinstance(module, nn.Conv2d)), None)
    if first is not None:
        return first.in_channels
    kernel = next((weight for weight in model.parameters() if weight.ndim == 4), None)  # of TorchScript
    return 1 if kernel is None else kernel.shape[1]


def use_one_pass(model: AnyModel) -> AnyModel:
    """Let a model that averages over placements compute them in one dense pass if possible; changed in place."""
    average = model.net if isinstance(model, Repaired) else None
    if isinstance(model, Repaired) and isinstance(average, PlacementAverage | WholeAverage):
        with suppress(ShiftscopeError):  # the loop over all placements remains
            average.all_shifts = DenseShifts(average.model.eval(), model.input_shape)
    return model


def stored_placement(values: Mapping[str, Any], channels: int) -> Placement:
    """Return the placement that `Placement.to_dict` described, with all its offsets.

    A model trained on centered images is thus also evaluated at the other offsets.

    Raises:
        CheckpointError: if a value is missing or invalid.
    """
    if wrong := wrong_placement(values):
        raise CheckpointError(f"the checkpoint's description is damaged: {wrong[0]}; save the model again")
    try:
        geometry = Geometry.from_dict(values).unrestricted()
    except CheckpointError as error:
        raise CheckpointError(f"the checkpoint's description is damaged: {error.__cause__}") from error
    return Placement.of(geometry, channels)


def stored_preparation(config: CheckpointConfig) -> Preparation:
    """Return the preparation of the training images.

    Raises:
        CheckpointError: if a value is invalid.
    """
    provenance = config.provenance
    if provenance.prepared is not None:
        return Preparation.from_dict(provenance.prepared)
    return Preparation(resize=provenance.resize or "pad")


def stored_settings(settings: Mapping[str, Any] | None) -> TrainSettings:
    """Return the training settings in a checkpoint; missing ones have their defaults."""
    return _described(settings or {}, TrainSettings, "settings")


class _Split(TypedDict, total=False):
    validation: Annotated[int, Meta(ge=0)]


def _described(value: Any, kind: Any, name: str) -> Any:
    """Return a part of a checkpoint's description as its type."""
    try:
        return as_type(value, kind, name)
    except (UnfitFileError, UsageError) as error:
        raise CheckpointError(f"the checkpoint's description is damaged: {error}; save the model again") from error
