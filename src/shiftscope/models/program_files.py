"""TorchScript and torch.export files, which hold code: they are loaded only if the caller trusts them."""

import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import nn

from shiftscope import files
from shiftscope.errors import CheckpointError, UsageError, reason_of, shortened
from shiftscope.graph.export import silenced
from shiftscope.models.weights import check_archive
from shiftscope.modules import as_module, set_mode
from shiftscope.source_info import SourceInfo

EXPORTED, TORCHSCRIPT = (".pt2",), (".pt", ".ts", ".pth", ".torchscript")
PICKLES = (".pkl", ".pickle", ".bin", ".ckpt", ".safetensors", ".tar")
"""Endings of files that hold weights or pickles, and no model that could be loaded."""

INSTEAD = "prefer ONNX files, or safetensors with your own code (--weights)"


def is_program(path: Path) -> bool:
    """Return True if a name ends like that of a file that holds a model as code.

    >>> is_program(Path("net.pt2")), is_program(Path("net.onnx"))
    (True, False)
    """
    return path.suffix.lower() in (*EXPORTED, *TORCHSCRIPT)


def check_program(path: Path, *, trusted: bool) -> None:
    """Raise the error of `load_program` for a file that is missing, not of this kind, or not trusted; runs no code."""
    exported = path.suffix.lower() in EXPORTED
    kind = "torch.export" if exported else "TorchScript"
    try:
        with files.open_regular(path, files.memory()) as stream:
            if not zipfile.is_zipfile(stream):
                raise _unreadable(path, kind, "it is truncated or of another format")
            with zipfile.ZipFile(stream) as archive:
                names = {name.partition("/")[2] for name in archive.namelist()}
            if not exported and "constants.pkl" not in names:
                stream.seek(0)
                check_archive(stream)
                raise CheckpointError(f"{path} is a pickle of torch.save, not TorchScript: pickled models are code and "
                                      "are not loaded; save the state_dict, name the class as package.module:Class, "
                                      "and add --weights FILE (weights=)")
    except (OSError, zipfile.BadZipFile) as error:
        why = files.reason(error) if isinstance(error, OSError) else shortened(str(error), 90)
        raise _unreadable(path, kind, why) from error
    if not trusted:
        raise UsageError(f"{path} is a {kind} file, which can run code and write files while it loads, so it was not "
                         f"loaded: pass --trust-model-file (trust_model_file=True) if you trust its author; {INSTEAD}")


def load_program(path: Path, *, trusted: bool, device: torch.device | str = "cpu") -> tuple[nn.Module, SourceInfo]:
    """Load a model from a TorchScript or torch.export file, in eval mode. Such a file can run any code.

    Args:
        path: FILE.pt2 of `torch.export.save`, or FILE.pt, .ts, .pth or .torchscript of `torch.jit.save`.
        trusted: the caller trusts the file's author.

    Raises:
        UsageError: if the file is not trusted.
        CheckpointError: if it is missing, truncated, damaged, or a pickled module.
    """
    check_program(path, trusted=trusted)
    exported = path.suffix.lower() in EXPORTED
    try:
        with warnings.catch_warnings(), silenced():
            warnings.simplefilter("ignore")
            loaded: Any = torch.export.load(path) if exported else torch.jit.load(path, map_location=device)
            model, info = as_module(loaded).to(device), _info(loaded) if exported else SourceInfo()
    except Exception as error:  # neither torch.export nor TorchScript has one class of errors
        kind = "torch.export" if exported else "TorchScript"
        raise _unreadable(path, kind, shortened(reason_of(error), 120)) from error
    set_mode(model, train=False)
    for module in model.modules() if exported else ():
        module.training = False  # the mode was fixed at export
    return model, info


def _info(program: torch.export.ExportedProgram) -> SourceInfo:
    """Return the channels and the input size of an exported program, if they are fixed."""
    graph = program.graph_module.graph
    inputs = [node for node in graph.nodes if node.name in program.graph_signature.user_inputs]
    shape: tuple[Any, ...] = tuple(getattr(inputs[0].meta.get("val"), "shape", ())) if len(inputs) == 1 else ()
    if len(shape) != 4:
        return SourceInfo()
    channels, height, width = [one if isinstance(one, int) else None for one in shape[1:]]
    return SourceInfo(channels=channels, input_size=(height, width) if height and width else None)


def _unreadable(path: Path, kind: str, why: str) -> CheckpointError:
    return CheckpointError(f"{path} is not a readable {kind} file ({why}): save the model again; {INSTEAD}")
