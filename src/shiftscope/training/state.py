"""The training state: everything an exact resume needs, in one file that is replaced atomically."""

import io
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict

import msgspec
import torch
from torch import nn

from shiftscope import files
from shiftscope.errors import CheckpointError, ShiftscopeError, UsageError, quoted
from shiftscope.files import UnfitFileError
from shiftscope.migration import SCHEMA_VERSION, migrate, migrate_weights
from shiftscope.models.weights import check_archive
from shiftscope.reading import as_type, decode
from shiftscope.results.base import check_version
from shiftscope.results.training import EpochRecord
from shiftscope.training.plan import Plan

STATE_FILE = "training-state.pt"

_SLACK = 64 * 2**20
"""Bytes that a state file may hold besides its tensors."""


@dataclass
class TrainingState:
    """The part of a training that changes with every step."""

    epoch: int = 0
    """Completed epochs."""
    step: int = 0
    """Completed steps of the current epoch."""
    sums: torch.Tensor = field(default_factory=lambda: torch.zeros(3, dtype=torch.float64))
    """Of the current epoch: loss summed over images, correct predictions, images."""
    history: list[EpochRecord] = field(default_factory=list)
    seconds: float = 0.0
    """Time of training steps only, over all resumes."""


def save_state(folder: Path, state: TrainingState, tensors: dict[str, Any], identity: dict[str, Any]) -> None:
    """Write the state file.

    Args:
        tensors: state dictionaries of model and optimizer.
        identity: values that must not change when the training is resumed.
    """
    buffer = io.BytesIO()
    values = vars(state) | {"sums": state.sums.cpu()}
    torch.save({"schema_version": SCHEMA_VERSION, "state": values, "tensors": tensors, "identity": identity}, buffer)
    files.write_bytes(folder / STATE_FILE, buffer.getvalue())


class _Tensors(TypedDict):
    model: dict[str, Any]
    optimizer: dict[str, Any]
    plan: Plan


class Stored(TypedDict):
    """Content of a state file."""

    state: TrainingState
    tensors: _Tensors
    identity: dict[str, Any]


def load_state(folder: Path, device: torch.device, model: nn.Module) -> Stored | None:
    """Read the state file; None if there is none.

    Args:
        model: the model to train; the size of its weights limits the size of the file.

    Raises:
        CheckpointError: if the file is corrupt, malicious or from another version. Pickled code never runs.
    """
    path = folder / STATE_FILE
    if not path.exists():
        return None
    limit = 32 * sum(value.numel() for value in _tensors(model.state_dict().values())) + _SLACK
    try:
        with files.open_regular(path, limit) as stream:
            check_archive(stream)
            stored = torch.load(stream, map_location=device, weights_only=True)
        stored = migrate(as_type(stored, dict[str, Any]))
        check_version(stored, f"the training state {path}")
        content = as_type(stored, Stored)
        content["tensors"]["model"] = migrate_weights(content["tensors"]["model"], model.state_dict())
        decode(msgspec.json.encode(content["identity"]))  # raises unless it is plain JSON
        _check_counts(content["state"], content["tensors"]["plan"])
    except ShiftscopeError:
        raise
    except Exception as error:  # torch's reader has no error class of its own
        raise _corrupt(path, str(error) or type(error).__name__) from error
    return content


def _corrupt(path: Path, why: str) -> CheckpointError:
    return CheckpointError(f"{path} is corrupt or not a training state ({' '.join(why.split())[:100]}); delete it and "
                           "train again, or restore it from a backup")


def _check_counts(state: TrainingState, plan: Plan) -> None:
    if state.sums.shape != (3,) or state.sums.dtype != torch.float64:
        raise UnfitFileError(f"its sums are {state.sums.dtype} of shape {tuple(state.sums.shape)}")
    if min(state.epoch, state.step, plan.micro_batch, plan.threads) < 0:
        raise UnfitFileError("it has a negative count")


def restore_state(tensors: _Tensors, model: nn.Module, optimizer: torch.optim.Optimizer, folder: Path) -> None:
    """Load the tensors of a state file into a model and its optimizer, which keeps its own settings.

    Raises:
        CheckpointError: if tensors are missing or have other shapes or types.
    """
    mismatch = _first_mismatch(tensors["model"], model.state_dict())
    try:
        state = as_type(tensors["optimizer"].get("state"), dict[int, dict[str, Any]], "state")
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        for number, values in state.items():
            shapes = (parameters[number].shape, torch.Size(()))
            if any(value.shape not in shapes or not value.is_floating_point() for value in _tensors(values.values())):
                raise UnfitFileError(f"the optimizer's state of parameter {number} does not fit")
        if mismatch:
            raise UnfitFileError(mismatch)
        model.load_state_dict(tensors["model"])
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    except (OSError, RuntimeError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise _corrupt(folder / STATE_FILE, str(error)) from error


def _first_mismatch(stored: dict[str, Any], expected: dict[str, Any]) -> str:
    """Describe the first tensor with an unexpected shape or type; "" if all fit."""
    for key in sorted(stored.keys() | expected.keys()):
        kinds = [(value.shape, value.dtype) if isinstance(value, torch.Tensor) else type(value)
                 for value in (stored.get(key), expected.get(key))]
        if kinds[0] != kinds[1]:
            return f"{key[:50]} does not fit the model"
    return ""


def _tensors(values: Iterable[Any]) -> list[torch.Tensor]:
    return [value for value in values if isinstance(value, torch.Tensor)]


def check_identity(saved: dict[str, Any], now: dict[str, Any], folder: Path) -> None:
    """Raise a `UsageError` if a training would resume with other settings than it started with."""
    old, new = _flat(saved), _flat(now)
    for key in sorted(old.keys() | new.keys()):
        if old.get(key) != new.get(key):
            raise UsageError(f"the training in {folder} was started with {key} = {quoted(old.get(key))} and would "
                             f"resume with {quoted(new.get(key))}; give the same settings, or train again "
                             "with --overwrite")


def _flat(values: dict[str, Any]) -> dict[str, Any]:
    """Return values by name, those of a nested dictionary as outer.inner."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= {f"{key}.{name}": inner for name, inner in value.items()} if isinstance(value, dict) else {key: value}
    return flat
