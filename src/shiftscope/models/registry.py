"""Models by name: the registry's own, or package.module:object from the caller."""

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from shiftscope.errors import ShiftscopeError, UsageError, reason_of, unknown, where_raised
from shiftscope.models.convnet import TwoConvTwoFullNet
from shiftscope.models.invariant import InvariantNet
from shiftscope.models.perceptron import TwoFullNet
from shiftscope.models.recentered import RecenteredNet
from shiftscope.models.scattering_net import ScatteringFull, ScatteringLinear
from shiftscope.modules import as_module
from shiftscope.resolve import is_object_name, resolve_object

REGISTRY: dict[str, type[nn.Module]] = {
    "two-full": TwoFullNet, "two-conv": TwoConvTwoFullNet, "recentered": RecenteredNet, "invariant": InvariantNet,
    "scattering-linear": ScatteringLinear, "scattering-full": ScatteringFull}
"""Models that a checkpoint may name."""

DESCRIPTIONS = {
    "two-full": "perceptron of the course: two fully connected layers, 100 hidden neurons",
    "two-conv": "convnet of the course: two 5 x 5 convolutions, two fully connected layers",
    "recentered": "finds the object, shows it at a fixed place to a small residual convnet",
    "invariant": "circular convolutions, polyphase downsampling, global pooling: a shift changes nothing",
    "scattering-linear": "means of wavelet scattering maps, filters not learned, then one linear layer",
    "scattering-full": "means of wavelet scattering maps, filters not learned, then a perceptron, 100 hidden neurons",
}


def registry_name(model: nn.Module) -> str | None:
    """Return the registry's name of a model's class, None for a foreign one."""
    return next((name for name, cls in REGISTRY.items() if type(model) is cls), None)


def check_model_name(name: str) -> None:
    """Raise a `UsageError` where no model has this name; one of the caller's own is imported, but not built.

    >>> check_model_name("two-full")
    """
    if name in REGISTRY:
        return
    if not is_object_name(name):
        raise unknown("model", name, [*REGISTRY, "package.module:object"])
    found = resolve_object(name)
    if not callable(found):
        raise UsageError(f"{name!r} must be an nn.Module, or a class or function that returns one, got {found!r:.100}")


def build_model(name: str, *, canvas: tuple[int, int] = (56, 56), channels: int = 1, classes: int = 10,
                seed: int = 0, **arguments: Any) -> nn.Module:
    """Build a model with weights fixed by `seed`; the global random state stays as it was.

    Args:
        name: a registry name, or package.module:object: a class or function that returns an nn.Module (called with
            those of canvas, channels and classes that it has parameters for), a module as it is, or a function of
            pixels (B, C, H, W) that returns (B, K).
        canvas: (H, W).
        arguments: further arguments of a registry model.

    Raises:
        UsageError: an unknown name, or an object that yields no nn.Module.

    Example:
        >>> type(build_model("two-full", canvas=(40, 48), classes=3)).__name__
        'TwoFullNet'
    """
    given = {"canvas": canvas, "channels": channels, "classes": classes} | arguments
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        if name in REGISTRY:
            return REGISTRY[name](**given)
        return _foreign(name, given)


def _foreign(name: str, given: dict[str, Any]) -> nn.Module:
    check_model_name(name)
    found: Any = resolve_object(name)
    if isinstance(found, nn.Module):
        return as_module(found)
    if not callable(found):
        raise UsageError(f"{name!r} must be an nn.Module, or a class or function that returns one, got {found!r}")
    if _takes_pixels(found, given):
        return as_module(found)
    try:
        model = found(**_accepted(found, given))
    except ShiftscopeError:
        raise
    except Exception as error:  # whatever code of the caller's raises
        place = where_raised(error)
        raise UsageError(f"{name!r} raised {type(error).__name__} {place}: {reason_of(error)}; it is called with those "
                         "of canvas, channels and classes that it has parameters for") from error
    if not callable(model):
        raise UsageError(f"{name!r} must return an nn.Module, got {type(model).__name__}")
    return as_module(model)


def _takes_pixels(found: Callable[..., Any], given: dict[str, Any]) -> bool:
    """Return whether a function is a model itself: it wants one argument, which is no size of one."""
    if isinstance(found, type):
        return False
    try:
        parameters = inspect.signature(found).parameters.values()
    except ValueError:  # built in C: nothing is known
        return False
    needed = [one.name for one in parameters if one.default is one.empty and one.kind is not one.KEYWORD_ONLY
              and one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)]
    return len(needed) == 1 and needed[0] not in given


def _accepted(factory: Callable[..., Any], given: dict[str, Any]) -> dict[str, Any]:
    """Return those of `given` that the factory has parameters for."""
    try:
        parameters = inspect.signature(factory).parameters
    except ValueError:  # built in C: nothing is known
        return {}
    return {key: value for key, value in given.items() if key in parameters}


def count_parameters(model: nn.Module) -> int:
    """Return how many numbers training may change."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
