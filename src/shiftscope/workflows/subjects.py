"""What a command asks about: a checkpoint, a model of one's own by its name, or an ONNX file, and the images for it."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from shiftscope.data import Dataset, load_dataset
from shiftscope.devices import resolve_device
from shiftscope.errors import UsageError
from shiftscope.models import OnnxModel, build_model
from shiftscope.models.adapt import Normalization, adapt
from shiftscope.models.onnx_file import SUFFIX
from shiftscope.placement import Placement
from shiftscope.progress import Progress
from shiftscope.resolve import is_object_name
from shiftscope.settings import DataSettings
from shiftscope.text import valid_unicode
from shiftscope.workflows.checkpoints import Trained, open_checkpoint
from shiftscope.workflows.inputs import open_data, placement_for

BUILT_IN = ("garments", "fashion-mnist")
"""Datasets that are found by their name alone."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A classifier and the images that it is asked about."""

    model: nn.Module
    name: str
    """In tables and figures."""
    trained: str
    """"moved", "centred" or "unknown"."""
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
        normalize: (mean, deviation) that a model of one's own or an ONNX file wants.

    Raises:
        CheckpointError, DataError, UsageError: missing or unfit, see `load`, `load_dataset` and `build_model`.
    """
    path = Path(what)
    if path.suffix == SUFFIX:
        return _onnx_subject(path, overrides, normalize, progress)
    if is_object_name(what) and not path.exists():
        return _object_subject(what, overrides, device, normalize, progress)
    if normalize is not None:
        raise UsageError(f"{what} is a checkpoint, which knows how its pixels are normalised: leave out --normalize")
    return checkpoint_subject(open_checkpoint(path, device=device, allow_code=allow_code), overrides, progress)


def checkpoint_subject(trained: Trained, overrides: dict[str, Any], progress: Progress) -> Subject:
    """Return a loaded checkpoint with the images that it was trained on, or others of the same classes.

    Raises:
        UsageError: the dataset has other classes, or must be named with `data`.
    """
    provenance = trained.config.provenance
    known = {"data": overrides.get("data") or _named_in(provenance.dataset or DataSettings.data),
             "canvas": trained.placement.canvas, "mode": trained.placement.mode}
    settings = DataSettings(**(known | overrides))
    data = load_dataset(settings.data, data_dir=settings.data_dir, limit=settings.limit, progress=progress)
    placement = trained.placement
    if settings.canvas != placement.canvas or data.shape[1:] != placement.image:
        placement = placement_for(data, settings)
    elif settings.mode != placement.mode:
        placement = replace(placement, mode=settings.mode)
    if list(data.class_names) != trained.class_names:
        raise UsageError(f"the checkpoint tells {', '.join(trained.class_names)} apart, the dataset {data.name} has "
                         f"{', '.join(data.class_names)}: choose the dataset that the model was trained on")
    return Subject(model=trained.model, name=trained.config.name, trained=provenance.trained, data=data,
                   placement=placement, validation=(provenance.settings or {}).get("validation", 5000))


def _named_in(dataset: str) -> str:
    """Return the name of a dataset that stands in a checkpoint, where the images can be had by it."""
    if is_object_name(dataset):
        raise UsageError(f"the checkpoint says that its images come from code, {dataset}, and code is never imported "
                         f"by a name found in a file: where you trust it, say --data {dataset}")
    if dataset not in BUILT_IN and ":" not in dataset:
        raise UsageError(f"the checkpoint learned from images called {dataset!r} and does not say where they lie: name "
                         "them, for instance with --data folder:PATH")
    return dataset


def _object_subject(name: str, overrides: dict[str, Any], device: str, normalize: Normalization | None,
                    progress: Progress) -> Subject:
    data, placement = open_data(DataSettings(**overrides), progress)
    model = build_model(name, canvas=placement.canvas, channels=data.shape[0], classes=data.classes)
    model = adapt(model.to(resolve_device(device)), normalize=normalize)
    return Subject(model=model, name=name, trained="unknown", data=data, placement=placement, validation=5000)


def _onnx_subject(path: Path, overrides: dict[str, Any], normalize: Normalization | None,
                  progress: Progress) -> Subject:
    model = OnnxModel(path)
    if model.batch is not None:
        progress.note(f"{path} has a fixed batch of {model.batch}: pictures are asked about in such batches")
    picture = getattr(model, "picture", None)
    canvas = {"canvas": picture[1:]} if picture else {}
    data, placement = open_data(DataSettings(**(canvas | overrides)), progress)
    return Subject(model=adapt(model, normalize=normalize), name=valid_unicode(path.name), trained="unknown", data=data,
                   placement=placement, validation=5000)
