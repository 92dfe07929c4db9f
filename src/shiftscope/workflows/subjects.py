"""What a command asks about: a checkpoint, a model of one's own by its name, or an ONNX file, and the images for it."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from shiftscope.data import Dataset
from shiftscope.data.garments import NAME as GARMENTS
from shiftscope.data.garments import TEST_IMAGES, TRAIN_IMAGES, parse_counts
from shiftscope.data.labels import normalized
from shiftscope.devices import resolve_device
from shiftscope.errors import UsageError, some_of
from shiftscope.models import OnnxModel, build_model
from shiftscope.models.adapt import Normalization, adapt
from shiftscope.models.onnx_file import SUFFIX
from shiftscope.models.registry import check_model_name
from shiftscope.placement import Placement
from shiftscope.progress import Progress
from shiftscope.resolve import is_object_name
from shiftscope.settings import VALIDATION_IMAGES, DataSettings
from shiftscope.text import valid_unicode
from shiftscope.workflows.checkpoints import Trained, open_checkpoint
from shiftscope.workflows.inputs import load_data, open_data, placement_for

BUILT_IN = ("garments", "fashion-mnist")
"""Datasets that are found by their name alone."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A classifier and the images that it is asked about."""

    model: nn.Module
    name: str
    """In tables and figures."""
    trained: str
    """"random", "centered" or "unknown"."""
    data: Dataset
    placement: Placement
    validation: int
    """Size of the validation split that was cut off in training."""


def open_subject(what: str, overrides: dict[str, Any], *, device: str = "auto", allow_code: str | None = None,
                 normalize: Normalization | None = None, progress: Progress) -> Subject:
    """Return the classifier called `what` with its images.

    Args:
        what: checkpoint or run folder, package.module:object, or an ONNX file.
        overrides: fields of `DataSettings` that were given; for a checkpoint the others are as it was trained.
        normalize: (mean, std) that a model of one's own or an ONNX file wants.

    Raises:
        CheckpointError, DataError, UsageError: missing or unfit, see `load`, `load_dataset` and `build_model`.
    """
    path = Path(what)
    if path.suffix == SUFFIX:
        return _onnx_subject(path, overrides, normalize, progress)
    if is_object_name(what) and not path.exists():
        return _object_subject(what, overrides, device, normalize, progress)
    if normalize is not None:
        raise UsageError(f"{what} is a checkpoint, which knows how its pixels are normalized: leave out --normalize")
    return checkpoint_subject(open_checkpoint(path, device=device, allow_code=allow_code), overrides, progress)


def check_subject(what: str) -> None:
    """Raise what `open_subject` would raise for a name that leads nowhere, before any data is read.

    Raises:
        CheckpointError, UsageError: no such model or checkpoint.
    """
    path = Path(what)
    if is_object_name(what) and not path.exists():
        check_model_name(what)
    elif not path.exists() and path.suffix != SUFFIX:
        open_checkpoint(path)


def checkpoint_subject(trained: Trained, overrides: dict[str, Any], progress: Progress) -> Subject:
    """Return a loaded checkpoint with the images that it was trained on, or others of the same classes.

    Raises:
        UsageError: the dataset has other classes, or must be named with `data`.
    """
    provenance = trained.config.provenance
    known = {"data": overrides.get("data") or _named_in(provenance.dataset or DataSettings.data),
             "canvas": trained.placement.canvas, "mode": trained.placement.mode}
    settings = DataSettings(**(known | overrides))
    data = load_data(settings, progress)
    placement = trained.placement
    if settings.canvas != placement.canvas or data.shape[1:] != placement.image:
        placement = placement_for(data, settings)
    elif settings.mode != placement.mode:
        placement = replace(placement, mode=settings.mode)
    theirs, ours = (list(map(normalized, names)) for names in (data.class_names, trained.class_names))
    if theirs != ours:
        odd = sorted(set(theirs) ^ set(ours))
        where = f"only one of them has {some_of(odd, 3)}" if odd else "in another order"
        raise UsageError(f"the checkpoint tells {some_of(trained.class_names, 3)} apart, the dataset {data.name} has "
                         f"{some_of(data.class_names, 3)} ({where}): choose the dataset that the model was trained on")
    return Subject(model=trained.model, name=trained.config.name, trained=provenance.trained, data=data,
                   placement=placement, validation=trained.validation)


def _named_in(dataset: str) -> str:
    """Return the name of a dataset that stands in a checkpoint, where the images can be had by it."""
    if is_object_name(dataset):
        raise UsageError(f"the checkpoint says that its images come from code, {dataset}, and code is never imported "
                         f"by a name found in a file: where you trust it, say --data {dataset}")
    check_drawings(dataset)
    if dataset not in BUILT_IN and ":" not in dataset:
        raise UsageError(f"the checkpoint learned from images called {dataset!r} and does not say where they lie: name "
                         "them, for instance with --data folder:PATH")
    return dataset


def check_drawings(dataset: str) -> None:
    """Raise a `UsageError` where a file asks for more synthetic garments than there usually are: they take time to draw."""
    kind, _, counts = dataset.partition(":")
    usual = TRAIN_IMAGES + TEST_IMAGES
    if kind == GARMENTS and counts and sum(parse_counts(counts)) > usual:
        raise UsageError(f"{dataset} is named in a file and has more than {usual:,} images to be drawn: where you want "
                         f"them, say --data {dataset}")


def _object_subject(name: str, overrides: dict[str, Any], device: str, normalize: Normalization | None,
                    progress: Progress) -> Subject:
    data, placement = open_data(DataSettings(**overrides), progress)
    model = build_model(name, canvas=placement.canvas, channels=data.shape[0], classes=data.classes)
    model = adapt(model.to(resolve_device(device)), normalize=normalize)
    return Subject(model=model, name=name, trained="unknown", data=data, placement=placement,
                   validation=VALIDATION_IMAGES)


def _onnx_subject(path: Path, overrides: dict[str, Any], normalize: Normalization | None,
                  progress: Progress) -> Subject:
    model = OnnxModel(path)
    if model.batch is not None:
        progress.note(f"{path} has a fixed batch of {model.batch}: pictures are asked about in such batches")
    picture = getattr(model, "input_shape", None)
    canvas = {"canvas": picture[1:]} if picture else {}
    data, placement = open_data(DataSettings(**(canvas | overrides)), progress)
    return Subject(model=adapt(model, normalize=normalize), name=valid_unicode(path.name), trained="unknown", data=data,
                   placement=placement, validation=VALIDATION_IMAGES)
