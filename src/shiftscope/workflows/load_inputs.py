"""Load what a command works on: a dataset with its placement, a checkpoint, or a model together with its images."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, TypedDict, TypeVar

import torch
from msgspec import Meta
from torch import nn

from shiftscope.data import Dataset, load_dataset
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
from shiftscope.models import CheckpointConfig, OnnxModel, load, load_config, load_model
from shiftscope.models.adapt import Normalization, adapt
from shiftscope.models.onnx_file import SUFFIX
from shiftscope.models.repair import Repaired, WholeAverage
from shiftscope.models.sources import check_source, is_named
from shiftscope.placement import Placement, default_fill, texture
from shiftscope.progress import Progress
from shiftscope.reading import as_type
from shiftscope.resolve import is_object_name
from shiftscope.results.validation import Size, wrong_placement
from shiftscope.runs import find_checkpoint
from shiftscope.settings import DataSettings, TrainSettings
from shiftscope.text import valid_unicode

BUILT_IN = ("garments", "fashion-mnist")
"""Datasets that need no path."""

VALIDATION = TrainSettings.validation
"""Size of the validation split of models whose training is unknown."""

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

    @property
    def class_names(self) -> list[str]:
        return self.config.provenance.class_names

    @property
    def validation(self) -> int:
        """Size of the validation split of the training."""
        return _described(self.config.provenance.settings or {}, _Split, "settings").get("validation", VALIDATION)


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
    mapped: bool = False
    """True if the class names of `data` are those of the model's outputs."""


def open_data(settings: DataSettings, progress: Progress) -> tuple[Dataset, Placement]:
    """Return the dataset and the placement that the settings describe."""
    data = load_data(settings, progress)
    return data, placement_for(data, settings)


def load_data(settings: DataSettings, progress: Progress) -> Dataset:
    """Load the dataset; images that do not fit on the canvas raise an error before they are decoded."""
    background = settings.background if isinstance(settings.background, int) else 0
    return load_dataset(settings.data, data_dir=settings.data_dir, limit=settings.limit, progress=progress,
                        image_size=settings.image_size, resize=settings.resize, background=background,
                        check_size=lambda size: _placement(size, settings, background))


def placement_for(data: Dataset, settings: DataSettings) -> Placement:
    """Return the placement of the dataset's images on the canvas of the settings."""
    channels, height, width = data.shape
    if settings.mode == "fill" and settings.fill is None:
        settings = replace(settings, fill=default_fill(data.shape))
    background = settings.background
    if background == "texture":
        background = texture(settings.canvas or (height, width), channels=channels)
    return _placement((height, width), settings, background)


def _placement(image: tuple[int, int], settings: DataSettings, background: int | torch.Tensor) -> Placement:
    return Placement(image=image, canvas=settings.canvas or image, mode=settings.mode, background=background,
                     fill=settings.fill, max_shift=settings.max_shift)


def open_model(source: str, overrides: dict[str, Any], *, device: str = "auto", allow_code: str | None = None,
               normalize: Normalization | None = None, weights: Path | None = None, class_map: ClassMap | None = None,
               progress: Progress) -> ModelWithData:
    """Load a classifier and its images.

    Args:
        source: checkpoint or run folder, package.module:object, an ONNX file, or, with `weights`, a registry name.
        overrides: fields of `DataSettings` that the user set; for a checkpoint the others are those of its training.
        normalize: (mean, std) of the input of an own model or an ONNX file.
        weights: state_dict of a model that is not a checkpoint or an ONNX file.
        class_map: for a checkpoint, which of its classes each class of the dataset is; see `audit`, which uses the map
            for other models.

    Raises:
        CheckpointError, DataError, UsageError: see `load_model` and `load_dataset`.
    """
    path = Path(source)
    check_source(source, weights)
    if is_named(source):
        return _named_model(source, overrides, device, normalize, weights, progress)
    if path.suffix == SUFFIX:
        return _onnx_model(path, overrides, normalize, progress)
    if normalize is not None:
        raise UsageError(f"{source} is a checkpoint, which contains its own normalization: leave out --normalize")
    return add_data(open_checkpoint(path, device=device, allow_code=allow_code), overrides, progress, class_map)


def check_model_source(source: str, weights: Path | None = None) -> None:
    """Raise the error of `open_model` for a model that does not exist, before any data are read."""
    check_source(source, weights)
    path = Path(source)
    if not is_named(source) and not path.exists() and path.suffix != SUFFIX:
        open_checkpoint(path)


def _named_model(name: str, overrides: dict[str, Any], device: str, normalize: Normalization | None,
                 weights: Path | None, progress: Progress) -> ModelWithData:
    data, placement = open_data(DataSettings(**overrides), progress)
    model = load_model(name, weights=weights, normalize=normalize, canvas=placement.canvas, channels=data.shape[0],
                       classes=data.classes or UNKNOWN_CLASSES, device=resolve_device(device), progress=progress)
    return ModelWithData(model=model, name=name, trained="unknown", data=data, placement=placement)


def _onnx_model(path: Path, overrides: dict[str, Any], normalize: Normalization | None,
                progress: Progress) -> ModelWithData:
    model = OnnxModel(path)
    if model.batch is not None:
        progress.note(f"{path} has a fixed batch size of {model.batch}: images are evaluated in batches of this size")
    shape = getattr(model, "input_shape", None)
    canvas = {"canvas": shape[1:]} if shape else {}
    data, placement = open_data(DataSettings(**(canvas | overrides)), progress)
    return ModelWithData(model=adapt(model, normalize=normalize), name=valid_unicode(path.name), trained="unknown",
                         data=data, placement=placement)


def add_data(checkpoint: LoadedCheckpoint, overrides: dict[str, Any], progress: Progress,
             class_map: ClassMap | None = None) -> ModelWithData:
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
    if is_folder(known["data"]):  # prepared as in the training, as `predict` does
        known |= {"image_size": placement.image, "resize": provenance.resize}
    settings = DataSettings(**(known | overrides))
    data = load_data(settings, progress)
    stored = placement.canvas, placement.image, placement.mode, placement.fill
    if (settings.canvas, data.shape[1:], settings.mode, settings.fill) != stored or settings.max_shift is not None:
        placement = placement_for(data, settings)
    data = _with_classes(checkpoint, data, class_map)
    return ModelWithData(model=checkpoint.model, name=checkpoint.config.name, trained=provenance.trained, data=data,
                         placement=placement, validation=checkpoint.validation, mapped=True)


def _with_classes(checkpoint: LoadedCheckpoint, data: Dataset, class_map: ClassMap | None) -> Dataset:
    """Return the dataset with the classes of the checkpoint."""
    names = checkpoint.class_names
    fewer = set(map(normalized, data.class_names)) < set(map(normalized, names))
    if fewer or not data.labeled or class_map is not None:
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
    return 1 if first is None else first.in_channels


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
