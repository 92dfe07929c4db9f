"""Models by the sources that every command takes: a checkpoint, code of the caller, a registry name, an ONNX file."""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from shiftscope.errors import UsageError
from shiftscope.models.adapt import Normalization, adapt, copy_model
from shiftscope.models.checkpoint import load
from shiftscope.models.onnx_file import SUFFIX, OnnxModel
from shiftscope.models.registry import REGISTRY, build_model, check_model_name
from shiftscope.models.weights import check_weights_file, load_weights
from shiftscope.progress import Progress, SilentProgress
from shiftscope.resolve import is_object_name, resolve_object
from shiftscope.runs import find_checkpoint
from shiftscope.settings import current_model_name


def is_named(source: Path | str) -> bool:
    """Return True if a source names code or a registry model, and is not a file or folder.

    >>> is_named("my_models:Net"), is_named("two-conv"), is_named("net.onnx")
    (True, True, False)
    """
    name = str(source)
    return (is_object_name(name) or current_model_name(name) in REGISTRY) and not Path(name).exists()


def check_source(source: Path | str, weights: Path | str | None = None) -> None:
    """Raise the error of `load_model` for a source or a file of weights that does not exist, before work begins."""
    if not is_named(source):
        if weights is not None:
            raise UsageError(f"weights are for package.module:object and named models, and {source} holds its own: "
                             "leave out --weights (weights=)")
        return
    if weights is None and not is_object_name(str(source)):
        raise UsageError(f"{source} is the name of a model without trained weights: name a checkpoint folder, or give "
                         "the weights with --weights FILE (weights=)")
    check_model_name(str(source))
    if weights is not None:
        check_weights_file(weights)


def load_model(source: Path | str, *, weights: Path | str | None = None, allow_code: str | None = None,
               normalize: Normalization | None = None, canvas: tuple[int, int] = (56, 56), channels: int = 1,
               classes: int = 10, device: torch.device | str = "cpu", progress: Progress | None = None) -> nn.Module:
    """Load a classifier, in eval mode. It takes pixels in [0, 1].

    Args:
        source: checkpoint or run folder, package.module:object (see `build_model`), ONNX file, or, with `weights`, a
            registry name.
        weights: file with the state_dict of a named model, see `load_weights`.
        allow_code: package.module:object for a checkpoint of a model that is not in the registry.
        normalize: (mean, std) of the input, for an own model or an ONNX file.
        canvas: (H, W) with which a named model is built, if it has such a parameter; likewise channels and classes.
        device: device of the returned model; an ONNX file stays on the CPU.
        progress: shows notes.

    Raises:
        UsageError: if the source is unknown, or does not have one of the options.
        CheckpointError: if a checkpoint, ONNX file or file of weights cannot be read, or does not fit the model.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     torch.save(build_model("two-full").state_dict(), f"{folder}/net.pt")
        ...     type(load_model("two-full", weights=f"{folder}/net.pt")).__name__
        'TwoFullNet'
    """
    check_source(source, weights)
    path = Path(source)
    if is_named(source):
        model = _named(str(source), weights, {"canvas": canvas, "channels": channels, "classes": classes},
                       progress or SilentProgress())
        return adapt(model.to(device), normalize=normalize).eval()
    if path.suffix == SUFFIX:
        return adapt(OnnxModel(path), normalize=normalize)
    if normalize is not None:
        raise UsageError(f"{source} is a checkpoint, which contains its own normalization: leave out --normalize")
    return load(find_checkpoint(path), allow_code=allow_code, device=device)


def _named(name: str, weights: Path | str | None, sizes: dict[str, Any], progress: Progress) -> nn.Module:
    model = build_model(name, **sizes)
    if weights is None:
        return model
    if is_object_name(name) and isinstance(resolve_object(name), nn.Module):
        model = copy_model(model, (sizes["channels"], *sizes["canvas"]))  # the caller's object is not changed
    for note in load_weights(model, weights):
        progress.note(note)
    return model
