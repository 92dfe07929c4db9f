"""A checkpoint together with the placement and the class names that it was trained with."""

from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from shiftscope.dense.shifts import dense_shifts
from shiftscope.devices import resolve_device
from shiftscope.errors import ShiftscopeError, UsageError
from shiftscope.geometry import Geometry
from shiftscope.layers import PlacementAverage
from shiftscope.models import CheckpointConfig, load, load_config
from shiftscope.models.mending import Mended, WholeAverage
from shiftscope.placement import Placement
from shiftscope.runs import find_checkpoint

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
    channels = int(config.arguments.get("channels", 1))
    return Trained(model=model, config=config, placement=stored_placement(described, channels), channels=channels,
                   device=where)


def in_one_pass(model: AnyModel) -> AnyModel:
    """Let a model that was mended by averaging over all placements compute them in one pass, where that is possible.

    Returns:
        The model, changed in place; any other as it is.
    """
    average = model.net if isinstance(model, Mended) else None
    if isinstance(model, Mended) and isinstance(average, PlacementAverage | WholeAverage):
        with suppress(ShiftscopeError):  # the loop over all placements stays
            average.everywhere = dense_shifts(average.model.eval(), model.picture)
    return model


def stored_placement(values: dict, channels: int) -> Placement:
    """Return the placement that `Placement.to_dict` described, over all its offsets: a model trained on centred images
    is asked about moved ones as well."""
    every = replace(Geometry.from_dict(values), max_shift=None, step=1, offset_list=None)
    return Placement.of(every, channels)
