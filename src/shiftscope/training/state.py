"""The training state: all that is needed to go on as if nothing had happened, in one file, replaced as a whole."""

import io
import pickle
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from shiftscope import files
from shiftscope.errors import CheckpointError, UsageError
from shiftscope.results.base import SCHEMA_VERSION, check_version
from shiftscope.results.training import EpochRecord

STATE_FILE = "training-state.pt"


@dataclass
class TrainingState:
    """Where a training stands. It changes with every step; everything else about a training is fixed."""

    epoch: int = 0
    """Epochs done."""
    step: int = 0
    """Steps done in the present epoch."""
    sums: torch.Tensor = field(default_factory=lambda: torch.zeros(3, dtype=torch.float64))
    """Of the present epoch: loss summed over images, right answers, images."""
    history: list[EpochRecord] = field(default_factory=list)
    seconds: float = 0.0
    """Training steps only, over all resumes."""


def save_state(folder: Path, state: TrainingState, tensors: dict[str, Any], identity: dict[str, Any]) -> None:
    """Write the state file.

    Args:
        tensors: state dictionaries of model and optimiser.
        identity: what must not change between beginning and resuming.
    """
    buffer = io.BytesIO()
    values = vars(state) | {"sums": state.sums.cpu()}
    torch.save({"schema_version": SCHEMA_VERSION, "state": values, "tensors": tensors, "identity": identity}, buffer)
    files.write_bytes(folder / STATE_FILE, buffer.getvalue())


def load_state(folder: Path, device: torch.device) -> tuple[TrainingState, dict[str, Any], dict[str, Any]] | None:
    """Return (state, tensors, identity), or None where nothing was saved yet.

    Raises:
        CheckpointError: the file is corrupt, hostile or from another version. Pickled code never runs.
    """
    path = folder / STATE_FILE
    if not path.is_file():
        return None
    try:
        stored = torch.load(path, map_location=device, weights_only=True)
        check_version(stored, f"the training state {path}")
        return TrainingState(**stored["state"]), stored["tensors"], stored["identity"]
    except (RuntimeError, pickle.UnpicklingError, zipfile.BadZipFile, EOFError, OSError, KeyError, TypeError,
            AttributeError, ValueError) as error:
        raise CheckpointError(f"{path} is corrupt or not a training state ({type(error).__name__}); delete it and "
                              "train anew, or restore it from a copy") from error


def check_identity(saved: dict[str, Any], now: dict[str, Any], folder: Path) -> None:
    """Raise a `UsageError` where a training would go on with other settings than it began with."""
    for key in sorted(saved.keys() | now.keys()):
        if saved.get(key) != now.get(key):
            raise UsageError(f"the training in {folder} was begun with {key} = {saved.get(key)!r} and would go on with "
                             f"{now.get(key)!r}: give the same settings, or train anew with --overwrite")
