"""Files of weights: a state_dict written by `torch.save` or safetensors, read without running code from it."""

import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import safetensors.torch
import torch
from torch import nn
from torch.nn.parameter import UninitializedTensorMixin  # pyright: ignore[reportAttributeAccessIssue]

from shiftscope import files
from shiftscope.errors import CheckpointError, reason_of, shortened, some_of
from shiftscope.files import UnfitFileError
from shiftscope.migration import migrate_weights
from shiftscope.modules import as_module, has_inference_tensors, is_on_meta, model_name

PREFIXES = ("module.", "_orig_mod.")
"""What `DataParallel`, `DistributedDataParallel` and `torch.compile` put before the names of weights."""

_REAL = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_EXTRA, _COUNTER = "_extra_state", "num_batches_tracked"
_PICKLES, _ARCHIVE = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"), b"PK\x03\x04"

Weights = dict[str, Any]
"""Name of a weight -> tensor."""


def load_weights(model: nn.Module, path: Path | str) -> list[str]:
    """Load a state_dict into a model, which must have exactly its weights.

    Args:
        model: changed in place; a wrapper such as `DataParallel` around it does not matter.
        path: file of `torch.save`, read with `weights_only=True`, or of safetensors. It holds a state_dict, or a
            dictionary with a single state_dict in it, such as {"state_dict": ..., "epoch": 3}.

    Returns:
        Notes: what was taken out of the file, and which prefixes were removed from the names.

    Raises:
        CheckpointError: if the file is missing, too large or damaged, needs code to be read, holds no or several
            state_dicts, or its weights differ from those of the model in name, shape or type.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     torch.save(nn.DataParallel(nn.Linear(2, 3)).state_dict(), f"{folder}/net.pt")
        ...     load_weights(nn.Linear(2, 3), f"{folder}/net.pt")
        ["'module.' was removed from the names of the weights"]
    """
    path, model = Path(path), as_module(model)
    held = model.state_dict()
    if not held:
        raise CheckpointError(f"{model_name(model)} has no weights, so {path} cannot be loaded into it: leave out the "
                              "weights, or name the class of a module")
    weights, notes = _single_state_dict(read_weights(path), path)
    weights, removed = _without_prefixes(weights, set(held))
    notes += [f"{prefix!r} was removed from the names of the weights" for prefix in removed]
    weights = migrate_weights(weights, held)
    for name in held.keys() - weights.keys():
        if name.endswith(_COUNTER):  # PyTorch 0.4 did not store them, and torch accepts files without them
            weights[name] = held[name]
    _check_fit(weights, held, path, model_name(model))
    try:
        model.load_state_dict(weights, assign=is_on_meta(model) or has_inference_tensors(model))
    except Exception as error:  # from custom loading code
        raise CheckpointError(f"{model_name(model)} cannot load {path}: {reason_of(error)}; pass the weights of this "
                              "model") from error
    return notes


def check_weights_file(path: Path | str) -> None:
    """Raise a `CheckpointError` if the file cannot be read, before work begins."""
    try:
        files.open_regular(path, files.memory()).close()
    except OSError as error:
        raise _unreadable(Path(path), files.reason(error)) from error


# ---------------------------------------------------------------------- reading

def read_weights(path: Path) -> Any:
    """Return the content of a file of weights, on the CPU; errors as `load_weights`."""
    try:
        with files.open_regular(path, files.memory()) as stream:
            start = stream.read(8)
            stream.seek(0)
            if start.startswith((_ARCHIVE, *_PICKLES)):
                return _read_torch(stream, is_archive=start.startswith(_ARCHIVE))
        return safetensors.torch.load(files.read_regular(path, files.memory()))
    except pickle.UnpicklingError as error:
        raise _needs_code(path, error) from error
    except OSError as error:
        raise _unreadable(path, files.reason(error)) from error
    except Exception as error:  # neither torch nor safetensors has one class of errors
        raise _unreadable(path, f"it is truncated, damaged or of another format ({_short(error)})") from error


def _read_torch(stream: BinaryIO, *, is_archive: bool) -> Any:
    if is_archive:
        check_archive(stream)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the protocol of pickles that are then refused
        return torch.load(stream, map_location="cpu", weights_only=True)


def check_archive(stream: BinaryIO) -> None:
    """Raise an error unless the file is a ZIP archive of uncompressed members, as `torch.save` writes it."""
    with zipfile.ZipFile(stream) as archive:
        members = archive.infolist()
    names = {member.filename.partition("/")[2] for member in members}
    if "data.pkl" not in names or "constants.pkl" in names:
        raise UnfitFileError("it is no file of torch.save but another archive, such as TorchScript or torch.export, "
                             "which hold code")
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise UnfitFileError("its members are compressed")
    if sum(member.file_size for member in members) > stream.seek(0, 2):
        raise UnfitFileError("its members are larger than the file")
    stream.seek(0)


def _unreadable(path: Path, why: str) -> CheckpointError:
    return CheckpointError(f"cannot read the weights in {path}: {why}; name a file of torch.save(model.state_dict(), "
                           "FILE) or a .safetensors file")


def _needs_code(path: Path, error: Exception) -> CheckpointError:
    """Return the error for a pickled module, which names the first object that is not a tensor."""
    name = re.search(r"GLOBAL ([\w.]+)", str(error))
    what = f"Python objects ({shortened(name[1], 60)})" if name else "pickled Python objects other than tensors"
    return CheckpointError(f"{path} holds {what}, which reading would run as code, so it was not read: load it where "
                           "it was made, and save the weights alone with torch.save(model.state_dict(), FILE)")


def _short(error: Exception) -> str:
    return shortened(" ".join((str(error) or type(error).__name__).split()), 90)


# ---------------------------------------------------------------------- names

def _single_state_dict(content: Any, path: Path) -> tuple[Weights, list[str]]:
    """Return the state_dict in the content of a file, and a note if it was inside a dictionary."""
    if _is_state_dict(content):
        return dict(content), []
    entries = content.items() if isinstance(content, Mapping) else ()
    inside = [key for key, value in entries if _is_state_dict(value)]
    if len(inside) == 1:
        return dict(content[inside[0]]), [f"the weights are the entry {inside[0]!r} of {path.name}"]
    if inside:
        raise CheckpointError(f"{path} holds several state_dicts, {some_of(inside)}, expected one: save the one to "
                              "load with torch.save(..., FILE)")
    got = f"a dictionary of {some_of(content, 4)}" if isinstance(content, Mapping) else type(content).__name__
    raise CheckpointError(f"{path} holds {got}, expected a state_dict of names and tensors: save the weights with "
                          "torch.save(model.state_dict(), FILE)")


def _is_state_dict(value: Any) -> bool:
    return isinstance(value, Mapping) and len(value) > 0 and all(
        isinstance(name, str) and (isinstance(item, torch.Tensor) or name.endswith(_EXTRA))
        for name, item in value.items())


def _without_prefixes(weights: Weights, expected: set[str]) -> tuple[Weights, list[str]]:
    """Remove `PREFIXES` from names of which the model has none; return the weights and the prefixes removed."""
    removed: list[str] = []
    while not weights.keys() & expected:
        prefix = next((prefix for prefix in PREFIXES if all(name.startswith(prefix) for name in weights)), None)
        if prefix is None:
            break
        removed.append(prefix)
        weights = {name.removeprefix(prefix): value for name, value in weights.items()}
    compiled = f".{PREFIXES[1]}"  # of compiled parts of a model
    if any(compiled in name for name in weights) and not any(compiled in name for name in expected):
        removed.append(PREFIXES[1])
        weights = {name.replace(compiled, "."): value for name, value in weights.items()}
    return weights, removed


def _check_fit(weights: Weights, held: Mapping[str, Any], path: Path, model: str) -> None:
    """Raise a `CheckpointError` that lists missing, unexpected and different weights."""
    missing, unexpected = held.keys() - weights.keys(), weights.keys() - held.keys()
    unlike = {name: why for name in weights.keys() & held.keys() if (why := _difference(weights[name], held[name]))}
    problems = [f"{len(names)} {what} ({some_of(sorted(names), 2)})"
                for names, what in ((missing, "missing"), (unexpected, "unexpected")) if names]
    if unlike:
        name = min(unlike)
        problems.append(f"{len(unlike)} of another shape or type ({some_of([name])}: {unlike[name]})")
    if problems:
        raise CheckpointError(f"the weights in {path} do not fit {model}: {', '.join(problems)}; pass the weights of "
                              f"this model{_prefix_hint(missing, unexpected)}")
    if sum(value.nbytes for value in weights.values() if isinstance(value, torch.Tensor)) > files.memory():
        raise CheckpointError(f"the weights in {path} take more than the memory of this machine: use smaller ones")


def _prefix_hint(missing: set[str], unexpected: set[str]) -> str:
    """Return advice if the names differ by one prefix only."""
    first = min(missing, default="")
    prefixes = {name.removesuffix(first) for name in unexpected if first and name.endswith(first)}
    unexpected = {name for name in unexpected if not name.endswith(_COUNTER)}
    fitting = [prefix for prefix in prefixes if {f"{prefix}{name}" for name in missing} == unexpected]
    return f", with {shortened(fitting[0], 40)!r} removed from their names" if fitting else ""


def _difference(value: Any, held: Any) -> str:
    """Return the difference in shape or type of a weight of the file from that of the model; "" if it fits."""
    if not isinstance(value, torch.Tensor) or not isinstance(held, torch.Tensor):
        return ""  # extra state, which the model's own code reads
    if value.is_meta or value.layout != torch.strided or value.is_quantized:
        return "it is sparse, quantized or without numbers in the file"
    if not isinstance(held, UninitializedTensorMixin) and value.shape != held.shape:
        return f"{_shape(value)} in the file, {_shape(held)} in the model"
    if value.dtype != held.dtype and not (value.dtype in _REAL and held.dtype in _REAL):
        return f"{value.dtype} in the file, {held.dtype} in the model"
    return ""


def _shape(tensor: torch.Tensor) -> str:
    return " x ".join(map(str, tensor.shape)) or "a number"
