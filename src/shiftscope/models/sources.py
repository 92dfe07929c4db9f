"""Models by the sources that every command takes: checkpoints, code of the caller, files, and models of hubs."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypedDict, Unpack

import torch
from torch import nn

from shiftscope.errors import CheckpointError, UsageError
from shiftscope.models.adapt import Normalization, adapt, copy_model
from shiftscope.models.checkpoint import load, load_config
from shiftscope.models.hubs import RANDOM, check_hub_name, is_hub_name, load_from_hub, split
from shiftscope.models.onnx_file import SUFFIX, OnnxModel
from shiftscope.models.program_files import PICKLES, check_program, is_program, load_program
from shiftscope.models.registry import REGISTRY, build_model, check_model_name
from shiftscope.models.select_output import OutputKey
from shiftscope.models.weights import check_weights_file, load_weights
from shiftscope.progress import Progress, SilentProgress
from shiftscope.resolve import is_object_name, resolve_object
from shiftscope.runs import find_checkpoint
from shiftscope.settings import current_model_name
from shiftscope.source_info import SourceInfo
from shiftscope.text import valid_unicode

Kind = Literal["checkpoint", "named", "hub", "onnx", "program"]


class SourceOptions(TypedDict, total=False):
    """How the model of a source is loaded; the arguments of `load_model` with these names."""

    allow_code: str | None
    weights: Path | str | None
    normalize: Normalization | None
    select_output: OutputKey | None
    trust_model_file: bool


NO_OPTIONS: SourceOptions = {}
"""The defaults."""


@dataclass(frozen=True, kw_only=True)
class LoadedSource:
    """A model with input and classes as its source describes them."""

    model: nn.Module
    """In eval mode; it takes pixels in [0, 1]."""
    info: SourceInfo
    name: str
    """Name in tables."""


def kind_of(source: Path | str) -> Kind:
    """Return the kind of a source; files and folders of a checkpoint need not exist.

    Raises:
        UsageError: if it names both a file or folder and an object or a model of a hub.

    Example:
        >>> kind_of("my_models:Net"), kind_of("timm:resnet18@none"), kind_of("net.onnx"), kind_of("runs/demo")
        ('named', 'hub', 'onnx', 'checkpoint')
    """
    name, exists = str(source), Path(source).exists()
    if exists and (is_object_name(name) or is_hub_name(name)):
        raise UsageError(f"{name} is ambiguous: it names a model and also a file or folder here; write ./{name} for "
                         "the file, or rename it")
    if is_hub_name(name):
        return "hub"
    if not exists and (is_object_name(name) or current_model_name(name) in REGISTRY):
        return "named"
    path = Path(source)
    if path.suffix.lower() == SUFFIX and not path.is_dir():
        return "onnx"
    return "program" if is_program(path) and not path.is_dir() else "checkpoint"


def check_source(source: Path | str, weights: Path | str | None = None, *, normalize: Normalization | None = None,
                 select_output: OutputKey | None = None, allow_code: str | None = None,
                 trust_model_file: bool = False) -> None:
    """Raise the error of `load_model` for a source or an option that cannot be used, before work begins.

    Nothing is downloaded, and no code is run from a file.
    """
    name, kind = str(source), kind_of(source)
    _check_options(name, kind, weights, normalize, select_output)
    if kind == "hub":
        check_hub_name(name)
    elif kind == "named":
        if weights is None and not is_object_name(name):
            raise UsageError(f"{source} is the name of a model without trained weights: name a checkpoint folder, or "
                             "give the weights with --weights FILE (weights=)")
        check_model_name(name)
    elif kind == "program":
        check_program(Path(source), trusted=trust_model_file)
    elif kind == "checkpoint":
        _check_checkpoint(Path(source))
    if weights is not None:
        check_weights_file(weights)


def _check_options(name: str, kind: Kind, weights: Path | str | None, normalize: Normalization | None,
                   select_output: OutputKey | None) -> None:
    if weights is not None and kind != "named" and not (kind == "hub" and split(name)[2] == RANDOM):
        hint = f", or use {name}@{RANDOM}" if kind == "hub" and not name.startswith("hf:") else ""
        raise UsageError(f"weights are for package.module:object and named models, and {name} holds its own: leave out "
                         f"--weights (weights=){hint}")
    if kind == "checkpoint" and normalize is not None:
        raise UsageError(f"{name} is a checkpoint, which contains its own normalization: leave out --normalize")
    if kind == "checkpoint" and select_output is not None:
        raise UsageError(f"{name} is a checkpoint, which contains the choice of its output: leave out --select-output")


def _check_checkpoint(path: Path) -> None:
    if path.suffix.lower() in PICKLES and not path.is_dir():
        raise CheckpointError(f"{path} looks like a file of weights, which holds no model: name the model's class as "
                              "package.module:Class, and add --weights FILE (weights=)")
    if not path.exists() and ":" in str(path):
        raise UsageError(f"unknown model source {str(path)!r}: give a checkpoint folder, package.module:object, "
                         "FILE.onnx, FILE.pt2, FILE.pt, torchvision:NAME, timm:NAME or hf:NAME")
    load_config(find_checkpoint(path))


def load_model(source: Path | str, *, weights: Path | str | None = None, allow_code: str | None = None,
               normalize: Normalization | None = None, select_output: OutputKey | None = None,
               trust_model_file: bool = False, canvas: tuple[int, int] = (56, 56), channels: int = 1,
               classes: int = 10, device: torch.device | str = "cpu", progress: Progress | None = None) -> nn.Module:
    """Load a classifier, in eval mode. It takes pixels in [0, 1].

    Args:
        source: checkpoint or run folder; package.module:object (see `build_model`); FILE.onnx; FILE.pt2 (torch.export)
            or FILE.pt, .ts (TorchScript) with `trust_model_file`; torchvision:NAME[@WEIGHTS]; timm:NAME[@none];
            hf:NAME_OR_FOLDER; or, with `weights`, a registry name. @none means random weights. Only the last three
            forms but folders download weights, once.
        weights: file with the state_dict of a named model, see `load_weights`.
        allow_code: package.module:object for a checkpoint of a model that is not in the registry.
        normalize: (mean, std) of the input, for a source that is not a checkpoint (default: that of the source).
        select_output: position, key or attribute of the scores (B, K) if the model returns several outputs (default:
            the only tensor (B, K), else "logits").
        trust_model_file: load a file that can run code while it loads.
        canvas: (H, W) with which a named model is built, if it has such a parameter; likewise channels and classes.
        device: device of the returned model; an ONNX file stays on the CPU.
        progress: shows notes.

    Raises:
        UsageError: if the source is unknown, does not have one of the options, needs a package that is not installed,
            or is a file that is not trusted.
        CheckpointError: if a checkpoint or file cannot be read, weights cannot be downloaded, or do not fit the model.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     torch.save(build_model("two-full").state_dict(), f"{folder}/net.pt")
        ...     type(load_model("two-full", weights=f"{folder}/net.pt")).__name__
        'TwoFullNet'
    """
    return open_source(source, weights=weights, allow_code=allow_code, normalize=normalize, select_output=select_output,
                       trust_model_file=trust_model_file, canvas=canvas, channels=channels, classes=classes,
                       device=device, progress=progress).model


def open_source(source: Path | str, *, canvas: tuple[int, int] = (56, 56), channels: int = 1, classes: int = 10,
                device: torch.device | str = "cpu", progress: Progress | None = None,
                **options: Unpack[SourceOptions]) -> LoadedSource:
    """Load a classifier with its input and classes as the source describes them.

    Args and errors: see `load_model`.

    Example:
        >>> import tempfile
        >>> from shiftscope.models import TwoFullNet, save
        >>> folder = save(TwoFullNet(N=5), tempfile.mkdtemp() + "/net")
        >>> info = open_source(folder).info
        >>> info.channels, info.input_size, info.class_names
        (1, (56, 56), None)
    """
    chosen = SourceOptions(**options)
    check_source(source, **chosen)
    notes = progress or SilentProgress()
    loaders = {"checkpoint": _checkpoint, "named": _named, "hub": _hub, "onnx": _onnx, "program": _program}
    sizes = {"canvas": canvas, "channels": channels, "classes": classes}
    model, info = loaders[kind_of(source)](source, chosen, sizes, device, notes)
    given = chosen.get("normalize")
    normalize = given if given is not None else (info.mean, info.std) if info.mean and info.std else None
    if given is not None:
        info = replace(info, mean=_numbers(given[0]), std=_numbers(given[1]))
    adapted = adapt(model, normalize=normalize,
                    select_output=None if isinstance(model, OnnxModel) else chosen.get("select_output"))
    return LoadedSource(model=adapted, info=info, name=_title(source))


def _numbers(values: Any) -> tuple[float, ...]:
    return tuple(values) if isinstance(values, (tuple, list)) else (float(values),)


def _title(source: Path | str) -> str:
    """Return the name of a source in tables: that of a file or folder without its path.

    >>> _title("models/net.onnx"), _title("timm:resnet18@none")
    ('net.onnx', 'timm:resnet18@none')
    """
    return valid_unicode(str(source) if kind_of(source) in ("named", "hub") else Path(source).name)


def _checkpoint(source: Any, options: SourceOptions, sizes: Any, device: Any, notes: Any) -> Any:
    folder = find_checkpoint(Path(source))
    provenance = load_config(folder).provenance
    canvas = (provenance.placement or {}).get("canvas")
    info = SourceInfo(channels=provenance.channels, input_size=tuple(canvas) if canvas else None,
                      class_names=tuple(provenance.class_names) or None)
    model = load(folder, allow_code=options.get("allow_code"), device=device)
    shape = getattr(model, "input_shape", None)
    if shape is not None:
        info = replace(info, channels=info.channels or shape[0], input_size=info.input_size or tuple(shape[1:]))
    return model, info


def _hub(source: Any, options: SourceOptions, sizes: Any, device: Any, notes: Progress) -> Any:
    name = str(source)
    if split(name)[2] != RANDOM and not Path(split(name)[1]).exists():
        notes.note(f"loading {name}; its weights are downloaded if they are not on this machine")
    model, info = load_from_hub(name, device=device)
    _load_into(model, options.get("weights"), notes)
    return model, info


def _onnx(source: Any, options: SourceOptions, sizes: Any, device: Any, notes: Progress) -> Any:
    model = OnnxModel(source, select_output=options.get("select_output"))
    if model.dtype == torch.uint8 and options.get("normalize") is not None:
        raise UsageError(f"{source} takes uint8 pixels, which it normalizes itself: leave out --normalize (normalize=)")
    if model.batch is not None:
        notes.note(f"{source} has a fixed batch size of {model.batch}: images are evaluated in batches of this size")
    shape = getattr(model, "input_shape", None)
    return model, SourceInfo() if shape is None else SourceInfo(channels=shape[0], input_size=tuple(shape[1:]))


def _program(source: Any, options: SourceOptions, sizes: Any, device: Any, notes: Progress) -> Any:
    return load_program(Path(source), trusted=options.get("trust_model_file", False), device=device)


def _named(source: Any, options: SourceOptions, sizes: Any, device: Any, notes: Progress) -> Any:
    name, weights = str(source), options.get("weights")
    model = build_model(name, **sizes)
    if weights is not None and is_object_name(name) and isinstance(resolve_object(name), nn.Module):
        model = copy_model(model, (sizes["channels"], *sizes["canvas"]))  # the caller's object is not changed
    _load_into(model, weights, notes)
    return model.to(device).eval(), SourceInfo()


def _load_into(model: nn.Module, weights: Path | str | None, notes: Progress) -> None:
    for note in () if weights is None else load_weights(model, weights):
        notes.note(note)
