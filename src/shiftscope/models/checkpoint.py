"""Checkpoints: folders with `model.safetensors` and `config.json`, read without running code from them."""

from dataclasses import dataclass, field, fields
from functools import cache
from importlib.metadata import version
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
from shiftscope.migration import SCHEMA_VERSION, migrate, migrate_weights
from shiftscope.models.adapt import Adapted, Normalization, Preprocess, adapt
from shiftscope.models.forward import within_limits
from shiftscope.models.registry import REGISTRY, build_model, registry_name
from shiftscope.models.repair import Recipe, Repaired, apply_recipe
from shiftscope.modules import Classifier, as_module, has_inference_tensors, model_name
from shiftscope.reading import as_type, read_json, typed_dict
from shiftscope.resolve import is_object_name
from shiftscope.results.base import check_version
from shiftscope.results.validation import Size
from shiftscope.settings import Resize, current_model_name

WEIGHTS_FILE, CONFIG_FILE = "model.safetensors", "config.json"
KIND = "shiftscope-checkpoint"
FOREIGN = "foreign"

_HEADER_BYTES = 64 * 2**20
"""Bytes that a file of weights may have besides the weights."""

_MAX_NAME = 100
"""Characters of a name in a message."""

_MAX_NUMBERS = 64
"""Of one argument of a registry model."""

_Std = Annotated[float, Meta(gt=0)]


_ModelConfig = TypedDict("_ModelConfig", {
    "name": str, "class": NotRequired[str], "arguments": dict[str, Any], "preprocess": NotRequired[str | None],
    "normalize": NotRequired[tuple[float | list[float], _Std | list[_Std]] | None],
    "select_output": NotRequired[int | str | None], "repaired": NotRequired[list[Recipe]]})
"""The entry "model" of `config.json`; "class" is a Python keyword."""


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """The training that made a checkpoint; every field is plain JSON."""

    name: str | None = None
    """Name of the model in tables."""
    dataset: str | None = None
    class_names: list[str] = field(default_factory=list)
    placement: dict[str, Any] | None = None
    channels: int | None = None
    """Of the training images."""
    resize: Resize | None = None
    """How image files of other sizes were resized to the training images: "pad", "stretch" or "shorter"."""
    prepared: dict[str, Any] | None = None
    """All of it, see `shiftscope.preparation.Preparation.to_dict`."""
    trained: str = "unknown"
    settings: dict[str, Any] | None = None
    epochs: int | None = None
    finished: bool = True
    """False if epochs of the training are left."""
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
    """(mean, std) for the pixels of a foreign model."""
    preprocess: str | None = None
    """Name of the function that prepares the pixels of a foreign model; the caller has to pass it."""
    class_name: str | None = None
    """module:class of a foreign model, for messages; never imported."""
    select_output: int | str | None = None
    """Position, key or attribute of the scores among the outputs of a foreign model."""
    repaired: tuple[Recipe, ...] = ()
    """How the model was repaired, step by step; `model` is the original one."""

    @property
    def name(self) -> str:
        """Name of the model in tables."""
        return self.provenance.name or self.model


def save(model: Classifier, folder: Path | str, *, provenance: Provenance | None = None) -> Path:
    """Write `model` as a checkpoint folder.

    For registry models the checkpoint is complete; for others it holds only the weights, and `load` needs `model=`.

    Args:
        model: its weights are copied to the CPU and made contiguous.
        folder: created if missing; files in it are replaced atomically.
        provenance: the training of the model.

    Returns:
        The folder.

    Raises:
        UsageError: if a weight cannot be stored because it is quantized, sparse or on the meta device.
        OutputError: if the folder cannot be written or the disk is full.

    Example:
        >>> import tempfile
        >>> from shiftscope.models import TwoFullNet
        >>> folder = save(TwoFullNet(N=5), tempfile.mkdtemp() + "/net")
        >>> sorted(path.name for path in folder.iterdir()), type(load(folder)).__name__
        (['config.json', 'model.safetensors'], 'TwoFullNet')
    """
    folder, model = Path(folder), as_module(model)
    weights = _serialize(model.model if isinstance(model, Adapted) else model)
    config = {
        "schema_version": SCHEMA_VERSION, "kind": KIND, "model": _describe(model),
        "provenance": vars(provenance or Provenance()),
        "versions": {"shiftscope": version("shiftscope"), "torch": torch.__version__},
    }
    files.write_bytes(folder / WEIGHTS_FILE, weights)
    files.write_json(folder / CONFIG_FILE, config)
    return folder


def _serialize(model: nn.Module) -> bytes:
    """Return a model's weights as safetensors.

    Raises:
        UsageError: if a weight holds no numbers, or the format does not support it.
    """
    tensors: dict[str, torch.Tensor] = {}
    for key, value in model.state_dict().items():
        if not isinstance(value, torch.Tensor):
            raise UsageError(f"{model_name(model)} cannot be saved: its {key!r} is a {type(value).__name__}, not a "
                             "tensor, as in quantized models; save the model before quantization")
        if isinstance(value, UninitializedTensorMixin) or value.is_meta or value.layout != torch.strided:
            kind = "is sparse" if value.layout != torch.strided else "holds no numbers yet"
            raise UsageError(f"{model_name(model)} cannot be saved: its {key!r} {kind}; give a model of dense tensors, "
                             "loaded or called once")
        tensors[key] = value.detach().cpu().contiguous().clone()
    try:
        return safetensors.torch.save(tensors)
    except Exception as error:  # of several types
        dtypes = ", ".join(sorted({str(tensor.dtype).removeprefix("torch.") for tensor in tensors.values()}))
        raise UsageError(f"{model_name(model)} cannot be saved with weights of the types {dtypes}: {reason_of(error)}; "
                         "convert it to float32, float64, float16 or bfloat16") from error


def _describe(model: nn.Module) -> dict[str, Any]:
    """Return name and arguments of a model, the preparation of its pixels, and how it was repaired."""
    repaired = [recipe.to_dict() for recipe in model.recipes] if isinstance(model, Repaired) else []
    model = model.base if isinstance(model, Repaired) else model
    normalize = preprocess = select_output = None
    if isinstance(model, Adapted):
        normalize, select_output = model.normalize, model.select_output
        preprocess = getattr(model.preprocess, "__qualname__", repr(model.preprocess)) if model.preprocess else None
        model = model.model
    name = registry_name(model)
    described = {"name": name or FOREIGN, "class": f"{type(model).__module__}:{type(model).__qualname__}",
                 "arguments": getattr(model, "arguments", {}) if name else {}, "normalize": normalize,
                 "preprocess": preprocess}
    selected = {"select_output": select_output} if select_output is not None else {}
    return described | selected | ({"repaired": repaired} if repaired else {})


def load_config(folder: Path | str) -> CheckpointConfig:
    """Read and check a checkpoint's `config.json`.

    Raises:
        CheckpointError: if it is missing, unreadable, of another version, or names a model that is not in the registry.
    """
    folder = Path(folder)
    path = folder / CONFIG_FILE
    if not path.exists():
        raise CheckpointError(f"{folder} is not a checkpoint: it has no {CONFIG_FILE}; give the folder that holds "
                              f"{WEIGHTS_FILE} and {CONFIG_FILE}")
    try:
        values = migrate(read_json(path))
        check_version(values, f"the checkpoint {folder}")
        model = as_type(values.get("model"), _ModelConfig, "model")
        _check_recipes(values["model"].get("repaired", []))
        config = CheckpointConfig(
            model=current_model_name(model["name"]), arguments=model["arguments"], normalize=model.get("normalize"),
            provenance=as_type(values.get("provenance"), Provenance, "provenance"), preprocess=model.get("preprocess"),
            class_name=model.get("class"), select_output=model.get("select_output"),
            repaired=tuple(model.get("repaired", ())))
    except (OSError, UsageError) as error:
        why = files.reason(error) if isinstance(error, OSError) else error
        raise CheckpointError(f"{path} is not a valid checkpoint description ({why}); save the model again") from error
    if config.model not in (*REGISTRY, FOREIGN):
        raise CheckpointError(f"{path} names the model {quoted(config.model)}, which is not in the registry: "
                              f"{nearest(config.model[:100], REGISTRY)}. No code was run")
    return config


def _check_recipes(steps: list[dict[str, Any]]) -> None:
    """Raise a `UsageError` for unknown fields, without which the repaired model could compute something else."""
    known = {part.name for part in fields(Recipe)}
    for number, step in enumerate(steps):
        unknown = sorted(step.keys() - known)
        if unknown:
            raise UsageError(f"model.repaired[{number}] has the unknown setting {quoted(unknown[0])}")


def load(folder: Path | str, *, model: Classifier | None = None, allow_code: str | None = None,
         preprocess: Preprocess | None = None, device: torch.device | str = "cpu") -> nn.Module:
    """Load the model of a checkpoint, in eval mode. It takes pixels in [0, 1].

    Code that the checkpoint names is never run: a model that is not in the registry is passed by the caller.

    Args:
        folder: written by `save`.
        model: a module to load the weights into.
        allow_code: package.module:object that builds such a module.
        preprocess: the function that the model was saved with, if any.
        device: device of the returned model.

    Raises:
        CheckpointError: if the checkpoint is missing, damaged, of another version, or its weights do not fit the model.

    Example:
        >>> import tempfile
        >>> net, same = (nn.Sequential(nn.Flatten(), nn.Linear(4, 2)) for _ in range(2))
        >>> folder = save(net, tempfile.mkdtemp() + "/net")
        >>> loaded = load(folder, model=same)
        >>> loaded is same, torch.equal(same[1].weight, net[1].weight), same.training
        (True, True, False)
    """
    folder = Path(folder)
    config = load_config(folder)
    if not (folder / WEIGHTS_FILE).exists():
        raise CheckpointError(f"{folder / WEIGHTS_FILE} is missing: the checkpoint is incomplete; copy it again or "
                              "train again")
    if model is None and allow_code is not None:
        model = build_model(allow_code, **_sizes(config.provenance, folder))
    if config.preprocess is not None and preprocess is None:
        raise CheckpointError(f"the model in {folder} was saved with preprocess={config.preprocess}, which a "
                              "checkpoint cannot hold: pass it to load(folder, preprocess=...)")
    model = _registry_model(config, folder) if model is None else as_module(model)
    prepare: dict[str, Any] = {"normalize": config.normalize, "preprocess": preprocess,
                               "select_output": config.select_output}
    if config.repaired and getattr(model, "recipes", ()) != config.repaired:  # else `model` is already repaired
        model, prepare = _repaired(adapt(model, **prepare), config, folder), {}
    weights = _read_weights(folder / WEIGHTS_FILE, model)
    _check_fit(model, weights, folder)
    try:
        assign = next(model.parameters(), torch.empty(0)).is_meta or has_inference_tensors(model)
        model.load_state_dict(weights, assign=assign)
    except (RuntimeError, KeyError, TypeError, AttributeError) as error:  # from custom loading code
        raise CheckpointError(f"{model_name(model)} cannot load the weights in {folder}: {reason_of(error)}; load them "
                              "into a model like the one that was saved") from error
    return adapt(model, **prepare).to(device).eval()


def _repaired(model: nn.Module, config: CheckpointConfig, folder: Path) -> nn.Module:
    """Repair a model by the recipes of the checkpoint, before its weights are loaded."""
    try:
        for recipe in config.repaired:
            model = apply_recipe(model.eval(), recipe)
    except (ShiftscopeError, RuntimeError, ValueError, TypeError) as error:
        raise CheckpointError(f"the model in {folder} cannot be repaired by the recipe in its {CONFIG_FILE}: {error}; "
                              "repair it again") from error
    return model


def _stored_code(config: CheckpointConfig) -> str | None:
    """Return the name that the model had in its training, or of its class, for messages only; None if unusable."""
    names = (config.provenance.name, config.class_name)
    return next((name for name in names if name and len(name) <= _MAX_NAME and is_object_name(name)
                 and not name.startswith("__main__:")), None)


def _registry_model(config: CheckpointConfig, folder: Path) -> nn.Module:
    if config.model == FOREIGN:
        code = _stored_code(config)
        raise CheckpointError(f"{folder} holds the weights of {code or 'a model'}, which is not in Shiftscope's "
                              "registry: if you trust its code, pass the model (load(folder, model=...)) or name it "
                              f"(--allow-code {code or 'package.module:object'})")
    try:
        arguments = _checked_arguments(config)
        with torch.device("meta"):  # no memory is allocated before the sizes are known to match the weights
            return REGISTRY[config.model](**arguments)
    except (OSError, TypeError, ValueError, RuntimeError, OverflowError, UsageError) as error:
        raise CheckpointError(f"the arguments in {folder} are not valid for {config.model!r}: {error}; save the model "
                              "again") from error


def _checked_arguments(config: CheckpointConfig) -> dict[str, Any]:
    """Return the arguments of a registry model, converted to the types of its parameters.

    Raises:
        UnfitFileError: if an argument is unknown, of another type, or too large.
    """
    types = _argument_types(config.model)
    unknown = sorted(config.arguments.keys() - types.__annotations__.keys())
    if unknown:
        raise UnfitFileError(f"it has no argument {quoted(unknown[0])}")
    arguments = as_type(config.arguments, types)
    for name, value in arguments.items():
        if isinstance(value, list | tuple) and len(value) > _MAX_NUMBERS:
            raise UnfitFileError(f"{name} has {len(value):,} numbers, the limit is {_MAX_NUMBERS}")
    sizes = [arguments.get("channels", 1), *arguments.get("canvas", (1, 1))]
    shape = as_type(sizes, tuple[Size, Size, Size], "canvas")
    if not within_limits(shape):
        raise UnfitFileError(f"images of {' x '.join(map(str, shape))} are larger than the limit")
    return arguments


@cache
def _argument_types(model: str) -> Any:
    """Return a TypedDict of a registry model's parameters."""
    return typed_dict({name: NotRequired[hint] for name, hint in get_type_hints(REGISTRY[model].__init__).items()})


def _read_weights(path: Path, model: nn.Module) -> dict[str, torch.Tensor]:
    """Return the weights in a file whose size is limited by that of the model."""
    held = model.state_dict().values()
    lazy = any(isinstance(value, UninitializedTensorMixin) for value in held)  # of any shape
    most = files.memory() if lazy else _HEADER_BYTES + 8 * sum(value.numel() for value in held if _has_shape(value))
    try:
        return migrate_weights(safetensors.torch.load(files.read_regular(path, most)), model.state_dict())
    except (OSError, safetensors.SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as error:
        why = files.reason(error) if isinstance(error, OSError) else error
        raise CheckpointError(f"{path} is truncated or corrupt ({why}); copy it again or train again") from error


def _check_fit(model: nn.Module, weights: dict[str, torch.Tensor], folder: Path) -> None:
    """Raise a `CheckpointError` if names, shapes or types of the weights differ from those of the model."""
    held = model.state_dict().items()
    lazy = {key for key, value in held if isinstance(value, UninitializedTensorMixin)}
    expected = {key: (tuple(value.shape), _kind(value)) for key, value in held if _has_shape(value)}
    found = {key: (tuple(value.shape), _kind(value)) for key, value in weights.items() if key not in lazy}
    for key in sorted(expected.keys() | found.keys()):
        for index, verb in enumerate(("has shape", "holds")):
            one, other = (some[key][index] if key in some else "missing" for some in (found, expected))
            if one != other:
                raise CheckpointError(f"the weights in {folder} do not fit {model_name(model)}: {key[:100]!r} "
                                      f"{verb} {one} in the file and {other} in the model; load them into a model "
                                      "like the one that was saved")
    dtypes = {value.dtype for value in weights.values() if value.is_floating_point()}
    if len(dtypes) > 1 and registry_name(model):
        raise CheckpointError(f"the weights in {folder} do not fit {model_name(model)}: they are "
                              f"{' and '.join(sorted(map(str, dtypes)))}; save the model again")


def _has_shape(value: object) -> bool:
    return isinstance(value, torch.Tensor) and not isinstance(value, UninitializedTensorMixin)


def _kind(value: torch.Tensor) -> str:
    """Return the class of types that may be loaded into each other: real numbers of 16 to 64 bits, or one type."""
    return "real numbers" if value.dtype in _REAL else str(value.dtype)


_REAL = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def _sizes(provenance: Provenance, folder: Path) -> dict[str, Any]:
    sizes: dict[str, Any] = {}
    if provenance.placement:
        try:
            sizes["canvas"] = as_type(provenance.placement.get("canvas"), tuple[Size, Size], "placement.canvas")
        except UnfitFileError as error:
            raise CheckpointError(f"{folder / CONFIG_FILE} is not a valid checkpoint description ({error}); "
                                  "save the model again") from error
    if provenance.class_names:
        sizes["classes"] = len(provenance.class_names)
    if provenance.channels is not None:
        sizes["channels"] = provenance.channels
    return sizes
