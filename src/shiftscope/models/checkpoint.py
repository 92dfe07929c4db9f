"""Checkpoints: a folder of `model.safetensors` and `config.json`, read without running foreign code."""

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from functools import cache
from importlib.metadata import version
from math import prod
from pathlib import Path
from typing import Annotated, Any, NotRequired, TypedDict, get_type_hints

import safetensors
import safetensors.torch
import torch
from msgspec import Meta
from torch import nn
from torch.nn.parameter import UninitializedTensorMixin  # pyright: ignore[reportAttributeAccessIssue]

from shiftscope import files
from shiftscope.errors import CheckpointError, ShiftscopeError, UsageError, nearest, quoted, reason_of
from shiftscope.files import UnfitFileError
from shiftscope.geometry import MOST_PIXELS
from shiftscope.migration import migrate, migrate_weights
from shiftscope.models.adapt import Adapted, Normalization, adapt
from shiftscope.models.registry import REGISTRY, build_model, registry_name
from shiftscope.models.repair import Recipe, Repaired, repair_again
from shiftscope.models.sizes import LARGEST
from shiftscope.modules import Classifier, as_module, made_in_inference_mode, model_name
from shiftscope.reading import as_type, read_json, typed_dict
from shiftscope.results.base import SCHEMA_VERSION, check_version
from shiftscope.results.validation import Size

WEIGHTS_FILE, CONFIG_FILE = "model.safetensors", "config.json"
KIND = "shiftscope-checkpoint"
FOREIGN = "foreign"

_SLACK = 64 * 2**20
"""Bytes that a file of weights may have beside them."""

_MOST_NUMBERS = 64
"""Of one argument of a registry model."""

_Std = Annotated[float, Meta(gt=0)]


class _Described(TypedDict):
    """What `config.json` says of the model."""

    name: str
    arguments: dict[str, Any]
    normalize: NotRequired[tuple[float | list[float], _Std | list[_Std]] | None]
    preprocess: NotRequired[str | None]
    repaired: NotRequired[list[Recipe]]


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """What a checkpoint says about the training that made it; every field is plain JSON."""

    name: str | None = None
    """The model's name in tables."""
    dataset: str | None = None
    class_names: list[str] = field(default_factory=list)
    placement: dict[str, Any] | None = None
    channels: int | None = None
    """Of the images that it was trained on."""
    trained: str = "unknown"
    settings: dict[str, Any] | None = None
    epochs: int | None = None
    finished: bool = True
    """False while training has epochs to go."""
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class CheckpointConfig:
    """`config.json`, checked."""

    model: str
    """Registry name, or "foreign"."""
    arguments: dict[str, Any]
    """Arguments of the registry model."""
    provenance: Provenance
    normalize: Normalization | None = None
    """(mean, std) that a foreign model's pixels are normalized with."""
    preprocess: str | None = None
    """Name of the function that a foreign model's pixels went through; only the caller can bring it."""
    repaired: tuple[Recipe, ...] = ()
    """How the model was repaired, one way after the other; "model" is what it was before."""

    @property
    def name(self) -> str:
        """The model's name in tables."""
        return self.provenance.name or self.model


def save(model: Classifier, folder: Path | str, *, provenance: Provenance | None = None) -> Path:
    """Write `model` as a checkpoint folder.

    A registry model loads again by itself; any other keeps its weights only, and `load` wants `model=` for it.

    Args:
        model: the module; its weights are copied to the CPU and made contiguous.
        folder: made where missing; files there are replaced, each whole or not at all.
        provenance: where it comes from.

    Returns:
        The folder.

    Raises:
        UsageError: a weight is of a kind that checkpoints do not hold: quantized, sparse, on the meta device.
        OutputError: the folder cannot be written or the disk is full.
    """
    folder, model = Path(folder), as_module(model)
    weights = _written(model.model if isinstance(model, Adapted) else model)
    config = {
        "schema_version": SCHEMA_VERSION, "kind": KIND, "model": _described(model),
        "provenance": vars(provenance or Provenance()),
        "versions": {"shiftscope": version("shiftscope"), "torch": torch.__version__},
    }
    files.write_bytes(folder / WEIGHTS_FILE, weights)
    files.write_json(folder / CONFIG_FILE, config)
    return folder


def _written(model: nn.Module) -> bytes:
    """Return a model's weights as safetensors.

    Raises:
        UsageError: one of them holds no numbers, or is of a kind that the format does not know.
    """
    tensors: dict[str, torch.Tensor] = {}
    for key, value in model.state_dict().items():
        if not isinstance(value, torch.Tensor):
            raise UsageError(f"{model_name(model)} cannot be saved: its {key!r} is a {type(value).__name__}, not a "
                             "tensor, as in quantized models; save the model as it was before")
        if isinstance(value, UninitializedTensorMixin) or value.is_meta or value.layout != torch.strided:
            kind = "is sparse" if value.layout != torch.strided else "holds no numbers yet"
            raise UsageError(f"{model_name(model)} cannot be saved: its {key!r} {kind}; give a model of plain tensors, "
                             "loaded or called once")
        tensors[key] = value.detach().cpu().contiguous().clone()
    try:
        return safetensors.torch.save(tensors)
    except Exception as error:  # of several kinds
        kinds = ", ".join(sorted({str(tensor.dtype).removeprefix("torch.") for tensor in tensors.values()}))
        raise UsageError(f"{model_name(model)} cannot be saved with weights of the types {kinds}: {reason_of(error)}; "
                         "convert it to float32, float64, float16 or bfloat16") from error


def _described(model: nn.Module) -> dict[str, Any]:
    """Return what builds a model again: its name and arguments, how its pixels are prepared, how it was repaired."""
    repaired = [recipe.to_dict() for recipe in model.recipes] if isinstance(model, Repaired) else []
    model = model.base if isinstance(model, Repaired) else model
    normalize = preprocess = None
    if isinstance(model, Adapted):
        normalize = model.normalize
        preprocess = getattr(model.preprocess, "__qualname__", repr(model.preprocess)) if model.preprocess else None
        model = model.model
    name = registry_name(model)
    described = {"name": name or FOREIGN, "class": f"{type(model).__module__}:{type(model).__qualname__}",
                 "arguments": getattr(model, "arguments", {}) if name else {}, "normalize": normalize,
                 "preprocess": preprocess}
    return described | ({"repaired": repaired} if repaired else {})


def load_config(folder: Path | str) -> CheckpointConfig:
    """Read and check a checkpoint's `config.json`.

    Raises:
        CheckpointError: missing, unreadable, of another version, or naming a model that no checkpoint may name.
    """
    folder = Path(folder)
    path = folder / CONFIG_FILE
    if not path.exists():
        raise CheckpointError(f"{folder} is no checkpoint: it has no {CONFIG_FILE}; give the folder that holds "
                              f"{WEIGHTS_FILE} and {CONFIG_FILE}")
    try:
        values = migrate(read_json(path))
        check_version(values, f"the checkpoint {folder}")
        model = as_type(values.get("model"), _Described, "model")
        _check_recipes(values["model"].get("repaired", []))
        config = CheckpointConfig(
            model=model["name"], arguments=model["arguments"], normalize=model.get("normalize"),
            provenance=as_type(values.get("provenance"), Provenance, "provenance"), preprocess=model.get("preprocess"),
            repaired=tuple(model.get("repaired", ())))
    except (OSError, UsageError) as error:
        why = files.reason(error) if isinstance(error, OSError) else error
        raise CheckpointError(f"{path} is not readable as a checkpoint's description ({why}); save the model "
                              "anew") from error
    if config.model not in (*REGISTRY, FOREIGN):
        raise CheckpointError(f"{path} names the model {quoted(config.model)}, which no checkpoint may name: "
                              f"{nearest(config.model[:100], REGISTRY)}. Nothing was run")
    return config


def _check_recipes(steps: list[dict[str, Any]]) -> None:
    """Raise a `UsageError` for what no recipe has: a model repaired without it could compute something else."""
    known = {part.name for part in fields(Recipe)}
    for number, step in enumerate(steps):
        strange = sorted(step.keys() - known)
        if strange:
            raise UsageError(f"model.repaired[{number}] has the unknown setting {quoted(strange[0])}")


def load(folder: Path | str, *, model: Classifier | None = None, allow_code: str | None = None,
         preprocess: Callable[[torch.Tensor], torch.Tensor] | None = None,
         device: torch.device | str = "cpu") -> nn.Module:
    """Return the model of a checkpoint, in eval mode, taking pixels in [0, 1].

    No code that the checkpoint names is ever run: a model that is not in the registry is passed by the caller.

    Args:
        folder: what `save` wrote.
        model: a module to load the weights into.
        allow_code: package.module:object that builds such a module.
        preprocess: the function that the model was saved with, where it was.
        device: where to put it.

    Raises:
        CheckpointError: missing, truncated, hostile, from another version, or with weights of other shapes.
    """
    folder = Path(folder)
    config = load_config(folder)
    if not (folder / WEIGHTS_FILE).exists():
        raise CheckpointError(f"{folder / WEIGHTS_FILE} is missing: the checkpoint is incomplete; copy it again or "
                              "train anew")
    if model is None and allow_code is not None:
        model = build_model(allow_code, **_sizes(config.provenance, folder))
    if config.preprocess is not None and preprocess is None:
        raise CheckpointError(f"the model in {folder} was saved with preprocess={config.preprocess}, which a "
                              "checkpoint cannot hold: pass it to load(folder, preprocess=...)")
    model = _registry_model(config, folder) if model is None else as_module(model)
    prepare = {"normalize": config.normalize, "preprocess": preprocess}
    if config.repaired and getattr(model, "recipes", ()) != config.repaired:  # else the caller's model is repaired already
        model, prepare = _repaired(adapt(model, **prepare), config, folder), {}
    weights = _read_weights(folder / WEIGHTS_FILE, model)
    _check_fit(model, weights, folder)
    try:
        assign = next(model.parameters(), torch.empty(0)).is_meta or made_in_inference_mode(model)
        model.load_state_dict(weights, assign=assign)
    except (RuntimeError, KeyError, TypeError, AttributeError) as error:  # modules may have ways of their own to load
        raise CheckpointError(f"{model_name(model)} does not take the weights in {folder}: {reason_of(error)}; load "
                              "them into a model of the kind that they were saved from") from error
    return adapt(model, **prepare).to(device).eval()


def _repaired(model: nn.Module, config: CheckpointConfig, folder: Path) -> nn.Module:
    """Repair a model as the checkpoint says, before it has its weights."""
    try:
        for recipe in config.repaired:
            model = repair_again(model.eval(), recipe)
    except (ShiftscopeError, RuntimeError, ValueError, TypeError) as error:
        raise CheckpointError(f"the model in {folder} cannot be repaired as its {CONFIG_FILE} says: {error}; repair it "
                              "anew") from error
    return model


def _registry_model(config: CheckpointConfig, folder: Path) -> nn.Module:
    if config.model == FOREIGN:
        raise CheckpointError(f"{folder} holds the weights of a model that is not Shiftscope's own: pass the model "
                              "(load(folder, model=...)) or allow its code (--allow-code package.module:object)")
    try:
        arguments = _checked_arguments(config)
        with torch.device("meta"):  # no memory is taken before the sizes are known to match the weights
            return REGISTRY[config.model](**arguments)
    except (OSError, TypeError, ValueError, RuntimeError, OverflowError, UsageError) as error:
        raise CheckpointError(f"the arguments of {folder} do not build a {config.model!r}: {error}; save the model "
                              "anew") from error


def _checked_arguments(config: CheckpointConfig) -> dict[str, Any]:
    """Return the arguments of a registry model by the types of its parameters.

    Raises:
        UnfitFileError: an unknown argument, one of another type, or more pixels than any picture has.
    """
    kind = _arguments_of(config.model)
    strange = sorted(config.arguments.keys() - kind.__annotations__.keys())
    if strange:
        raise UnfitFileError(f"it has no argument {quoted(strange[0])}")
    arguments = as_type(config.arguments, kind)
    for name, value in arguments.items():
        if isinstance(value, list | tuple) and len(value) > _MOST_NUMBERS:
            raise UnfitFileError(f"{name} has {len(value):,} numbers, the limit is {_MOST_NUMBERS}")
    sizes = [arguments.get("channels", 1), *arguments.get("canvas", (1, 1))]
    picture = as_type(sizes, tuple[Size, Size, Size], "canvas")
    if prod(picture) > LARGEST or prod(picture[1:]) > MOST_PIXELS:
        raise UnfitFileError(f"a picture of {' x '.join(map(str, picture))} is larger than any that is allowed")
    return arguments


@cache
def _arguments_of(model: str) -> Any:
    """Return the TypedDict of a registry model's parameters."""
    return typed_dict({name: NotRequired[hint] for name, hint in get_type_hints(REGISTRY[model].__init__).items()})


def _read_weights(path: Path, model: nn.Module) -> dict[str, torch.Tensor]:
    """Return the weights in a file that is no larger than the model's own need."""
    held = model.state_dict().values()
    lazy = any(isinstance(value, UninitializedTensorMixin) for value in held)  # they take any shape
    most = files.memory() if lazy else _SLACK + 8 * sum(value.numel() for value in held if _has_shape(value))
    try:
        return migrate_weights(safetensors.torch.load(files.read_regular(path, most)), model.state_dict())
    except (OSError, safetensors.SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as error:
        why = files.reason(error) if isinstance(error, OSError) else error
        raise CheckpointError(f"{path} is truncated or corrupt ({why}); copy it again or train anew") from error


def _check_fit(model: nn.Module, weights: dict[str, torch.Tensor], folder: Path) -> None:
    """Raise a `CheckpointError` unless the weights have the names, shapes and kinds of numbers of the model's."""
    held = model.state_dict().items()
    lazy = {key for key, value in held if isinstance(value, UninitializedTensorMixin)}
    expected = {key: (tuple(value.shape), _kind(value)) for key, value in held if _has_shape(value)}
    found = {key: (tuple(value.shape), _kind(value)) for key, value in weights.items() if key not in lazy}
    for key in sorted(expected.keys() | found.keys()):
        for place, what in enumerate(("has shape", "holds")):
            one, other = (some[key][place] if key in some else "missing" for some in (found, expected))
            if one != other:
                raise CheckpointError(f"the weights in {folder} do not fit {model_name(model)}: {key[:100]!r} "
                                      f"{what} {one} in the file and {other} in the model; load them into the model "
                                      "that they were saved from")
    kinds = {value.dtype for value in weights.values() if value.is_floating_point()}
    if len(kinds) > 1 and registry_name(model):
        raise CheckpointError(f"the weights in {folder} do not fit {model_name(model)}: they are "
                              f"{' and '.join(sorted(map(str, kinds)))}; save the model anew")


def _has_shape(value: object) -> bool:
    return isinstance(value, torch.Tensor) and not isinstance(value, UninitializedTensorMixin)


def _kind(value: torch.Tensor) -> str:
    """Return what may be loaded into each other: real numbers of 16 to 64 bits, or one type alone."""
    return "real numbers" if value.dtype in _REAL else str(value.dtype)


_REAL = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def _sizes(provenance: Provenance, folder: Path) -> dict[str, Any]:
    sizes: dict[str, Any] = {}
    if provenance.placement:
        try:
            sizes["canvas"] = as_type(provenance.placement.get("canvas"), tuple[Size, Size], "placement.canvas")
        except UnfitFileError as error:
            raise CheckpointError(f"{folder / CONFIG_FILE} is not readable as a checkpoint's description ({error}); "
                                  "save the model anew") from error
    if provenance.class_names:
        sizes["classes"] = len(provenance.class_names)
    if provenance.channels is not None:
        sizes["channels"] = provenance.channels
    return sizes
