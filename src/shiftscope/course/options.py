"""The notebook's `args`: read at each call, checked, and converted to the library's settings."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from shiftscope.errors import require
from shiftscope.settings import ResolvedSettings, TrainSettings


class AttrDict(dict[str, Any]):
    """A dict whose keys are also attributes.

    >>> args = AttrDict(epochs=10)
    >>> args.lr = 0.01
    >>> args.epochs, args["lr"]
    (10, 0.01)
    """

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            known = ", ".join(map(str, self)) or "nothing"
            raise AttributeError(f"no attribute {name!r}; choose from {known}") from None

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def __delattr__(self, name: str) -> None:
        if name not in self:
            raise AttributeError(name)
        del self[name]


DEFAULTS: dict[str, Any] = {
    "batch_size": 125, "test_batch_size": 1000, "epochs": 10, "lr": 3e-3, "momentum": 0.9, "optimizer": "adamw",
    "schedule": "one-cycle", "weight_decay": 0.01, "seed": 0, "log_interval": 10, "cuda": False,
}
"""Good values for both nets of the course; `momentum` is the first beta of adamw."""

MISSING: dict[str, Any] = DEFAULTS | {"optimizer": "sgd", "schedule": "constant", "lr": 0.01, "momentum": 0.5,
                                       "weight_decay": 0.0}
"""Values of attributes that a notebook's own `args` lacks: SGD with a constant rate, as in the original notebooks."""

_OPTIMIZERS = {"adamw": "adamw", "adam": "adamw", "sgd": "sgd"}
_SCHEDULES = ("one-cycle", "cosine", "constant")


def _integer(least: int) -> tuple[Callable[[Any], bool], str]:
    return lambda value: isinstance(value, int) and value >= least, f"an integer of at least {least}"


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


_CHECKS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "batch_size": _integer(1), "test_batch_size": _integer(1), "epochs": _integer(1), "seed": _integer(0),
    "log_interval": _integer(1),
    "lr": (lambda value: _number(value) and value > 0, "a number above 0"),
    "momentum": (lambda value: _number(value) and 0 <= value < 1, "at least 0 and below 1"),
    "weight_decay": (lambda value: _number(value) and value >= 0, "a number of at least 0"),
    "optimizer": (lambda value: str(value).lower() in _OPTIMIZERS, f"one of {', '.join(_OPTIMIZERS)}"),
    "schedule": (lambda value: value in _SCHEDULES, f"one of {', '.join(_SCHEDULES)}"),
}


@dataclass(frozen=True, kw_only=True)
class Options:
    """The checked values of `args`."""

    settings: ResolvedSettings
    batch_size: int
    test_batch_size: int
    log_interval: int
    """Batches between two updates of the progress line."""
    cuda: bool
    """True: move batches to the model's device."""


def read_options(args: Any) -> Options:
    """Return the options in `args`: a mapping, or any object with attributes (`argparse.Namespace`).

    Raises:
        UsageError: for an invalid value; the message names the attribute to set.

    Example:
        >>> read_options(AttrDict(epochs=2)).settings.optimizer
        'sgd'
    """
    attributes = dict(args) if isinstance(args, Mapping) else vars(args)
    values = MISSING | attributes
    for name, (check, expected) in _CHECKS.items():
        require(check(values[name]), f"model_utils.args.{name}", values[name], expected)
    settings = TrainSettings(
        epochs=values["epochs"], batch_size=values["batch_size"], learning_rate=float(values["lr"]),
        momentum=float(values["momentum"]), weight_decay=float(values["weight_decay"]), schedule=values["schedule"],
        optimizer="sgd" if _OPTIMIZERS[str(values["optimizer"]).lower()] == "sgd" else "adamw", seed=values["seed"],
        label_smoothing=0.0, validation=0)
    return Options(settings=settings.resolve(""), batch_size=values["batch_size"],
                   test_batch_size=values["test_batch_size"], log_interval=values["log_interval"],
                   cuda=bool(values["cuda"]))
