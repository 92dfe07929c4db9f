"""A checkpoint together with the placement and the class names that it was trained with."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, TypedDict, TypeVar

import torch
from msgspec import Meta
from torch import nn

from shiftscope.dense.shifts import DenseShifts
from shiftscope.devices import resolve_device
from shiftscope.errors import CheckpointError, ShiftscopeError, UsageError
from shiftscope.files import UnfitFileError
from shiftscope.geometry import Geometry
from shiftscope.layers import PlacementAverage
from shiftscope.models import CheckpointConfig, load, load_config
from shiftscope.models.adapt import adapt
from shiftscope.models.repair import Repaired, WholeAverage
from shiftscope.placement import Placement
from shiftscope.reading import as_type
from shiftscope.results.whole import Size, wrong_placement
from shiftscope.runs import find_checkpoint
from shiftscope.settings import TrainSettings

AnyModel = TypeVar("AnyModel", bound=nn.Module)


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A loaded model and what its checkpoint says about it."""

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
        """Size of the validation split that was cut off in training."""
        return _described(self.config.provenance.settings or {}, _Split, "settings").get("validation", 5000)


def open_checkpoint(path: Path, *, device: str = "auto", allow_code: str | None = None) -> Trained:
    """Load a checkpoint folder, or the only one of a run folder.

    Raises:
        CheckpointError: missing, corrupt, hostile or from another version.
        UsageError: it does not say what it was trained on.
    """
    folder = find_checkpoint(path)
    config = load_config(folder)
    where = resolve_device(device)
    model = in_one_pass(load(folder, allow_code=allow_code, device=where))
    described = config.provenance.placement
    if described is None or not config.provenance.class_names:
        raise UsageError(f"{folder} does not say on which images it was trained; train it with shiftscope train, or "
                         "pass provenance= to shiftscope.save")
    channels = _described(channels_of(model, config), Size, "channels")
    placement = stored_placement(described, channels)
    return Trained(model=adapt(model, shape=(channels, *placement.canvas)), config=config, placement=placement,
                   channels=channels, device=where)


def channels_of(model: nn.Module, config: CheckpointConfig) -> int:
    """Return the channels of the pictures that a model takes: as its checkpoint or the model says.

    Older checkpoints of models of others do not say; the first convolution then does.
    """
    known = config.provenance.channels or config.arguments.get("channels")
    if known is not None:
        return known
    picture = next((vars(module)["picture"] for module in model.modules() if "picture" in vars(module)), None)
    if picture is not None:
        return int(picture[0])
    first = next((module for module in model.modules() if isinstance(module, nn.Conv2d)), None)
    return 1 if first is None else first.in_channels


def in_one_pass(model: AnyModel) -> AnyModel:
    """Let a model that was repaired by averaging over all placements compute them in one pass, where that is possible.

    Returns:
        The model, changed in place; any other as it is.
    """
    average = model.net if isinstance(model, Repaired) else None
    if isinstance(model, Repaired) and isinstance(average, PlacementAverage | WholeAverage):
        with suppress(ShiftscopeError):  # the loop over all placements stays
            average.everywhere = DenseShifts(average.model.eval(), model.picture)
    return model


def stored_placement(values: Mapping[str, Any], channels: int) -> Placement:
    """Return the placement that `Placement.to_dict` described, over all its offsets: a model trained on centered images
    is asked about moved ones as well.

    Raises:
        CheckpointError: it lacks a size, or describes what cannot be.
    """
    if wrong := wrong_placement(values):
        raise CheckpointError(f"the checkpoint's description is damaged: {wrong[0]}; save the model anew")
    try:
        every = replace(Geometry.from_dict(values), max_shift=None, step=1, offset_list=None)
    except CheckpointError as error:
        raise CheckpointError(f"the checkpoint's description is damaged: {error.__cause__}") from error
    return Placement.of(every, channels)


def stored_settings(settings: Mapping[str, Any] | None) -> TrainSettings:
    """Return what a checkpoint was trained with; what it does not say is left open.

    Raises:
        CheckpointError: a setting of another type, or out of its range.
    """
    return _described(settings or {}, TrainSettings, "settings")


class _Split(TypedDict, total=False):
    validation: Annotated[int, Meta(ge=0)]


def _described(value: Any, kind: Any, name: str) -> Any:
    """Return a part of a checkpoint's description as the type that it should have."""
    try:
        return as_type(value, kind, name)
    except (UnfitFileError, UsageError) as error:
        raise CheckpointError(f"the checkpoint's description is damaged: {error}; save the model anew") from error
