"""Models by name: those of the registry, and `package.module:object` of the caller."""

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from shiftscope.errors import ShiftscopeError, UsageError, reason_of, unknown, where_raised
from shiftscope.models.course import TwoConvTwoFullNet, TwoFullNet
from shiftscope.models.invariant import InvariantNet, RecenteredNet
from shiftscope.models.scattering_net import ScatteringFull, ScatteringLinear
from shiftscope.modules import as_module
from shiftscope.resolve import is_object_name, resolve_object
from shiftscope.settings import current_model_name

REGISTRY: dict[str, type[nn.Module]] = {
    "two-full": TwoFullNet, "two-conv": TwoConvTwoFullNet, "recentered": RecenteredNet, "invariant": InvariantNet,
    "scattering-linear": ScatteringLinear, "scattering-full": ScatteringFull}
"""Models that a checkpoint may name."""

DESCRIPTIONS = {
    "two-full": "perceptron of the course: two fully connected layers, 100 hidden neurons",
    "two-conv": "convnet of the course: two 5 x 5 convolutions, two fully connected layers",
    "recentered": "finds the object and shows it at a fixed position to a small residual convnet",
    "invariant": "circular convolutions, polyphase downsampling, global pooling: invariant to circular shifts",
    "scattering-linear": "means of wavelet scattering maps with fixed filters, then one linear layer",
    "scattering-full": "means of wavelet scattering maps with fixed filters, then a perceptron, 100 hidden neurons",
}


def registry_name(model: nn.Module) -> str | None:
    """Return the registry name of a model's class, None for other models."""
    return next((name for name, cls in REGISTRY.items() if type(model) is cls), None)


def check_model_name(name: str) -> None:
    """Raise a `UsageError` if there is no model of this name; an object of the caller is imported, but not built.

    >>> check_model_name("two-full")
    """
    if current_model_name(name) not in REGISTRY:
        _resolve(name)


def build_model(name: str, *, canvas: tuple[int, int] = (56, 56), channels: int = 1, classes: int = 10,
                seed: int = 0, **arguments: Any) -> nn.Module:
    """Build a model with weights determined by `seed`; the global random state is not changed.

    Args:
        name: a registry name, or package.module:object: a class or function that returns an nn.Module (called with
            those of canvas, channels and classes that it has parameters for), a module, or a function of pixels
            (B, C, H, W) that returns (B, K).
        canvas: (H, W).
        arguments: further arguments of a registry model.

    Raises:
        UsageError: if the name is unknown, or the object is not a model and does not return one.

    Example:
        >>> type(build_model("two-full", canvas=(40, 48), classes=3)).__name__
        'TwoFullNet'
    """
    name = current_model_name(name)
    sizes = {"canvas": canvas, "channels": channels, "classes": classes}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return REGISTRY[name](**sizes, **arguments) if name in REGISTRY else _foreign(name, sizes | arguments)


def _resolve(name: str) -> Any:
    if not is_object_name(name):
        raise unknown("model", name, [*REGISTRY, "package.module:object"])
    found = resolve_object(name)
    if not callable(found):
        raise UsageError(f"{name!r} must be an nn.Module, or a class or function that returns one, got {found!r:.100}")
    return found


def _foreign(name: str, sizes: dict[str, Any]) -> nn.Module:
    found = _resolve(name)
    if isinstance(found, nn.Module) or _is_function_of_pixels(found, sizes):
        return as_module(found)
    try:
        accepted = _parameters(found)
        model = found(**{key: value for key, value in sizes.items() if key in accepted})
    except ShiftscopeError:
        raise
    except Exception as error:
        raise UsageError(f"{name!r} raised {type(error).__name__} {where_raised(error)}: {reason_of(error)}; it is "
                         "called with those of canvas, channels and classes that it has parameters for") from error
    if not callable(model):
        raise UsageError(f"{name!r} must return an nn.Module, got {type(model).__name__}")
    return as_module(model)


def _is_function_of_pixels(found: Callable[..., Any], sizes: dict[str, Any]) -> bool:
    """Return True for a function with one required argument that is not a size, so that it is a model itself."""
    if isinstance(found, type):
        return False
    required = [one.name for one in _parameters(found).values() if one.default is one.empty
                and one.kind not in (one.KEYWORD_ONLY, one.VAR_POSITIONAL, one.VAR_KEYWORD)]
    return len(required) == 1 and required[0] not in sizes


def _parameters(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    try:
        return dict(inspect.signature(function).parameters)
    except ValueError:  # functions implemented in C have no signature
        return {}


def count_parameters(model: nn.Module) -> int:
    """Return the number of trainable parameters."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
