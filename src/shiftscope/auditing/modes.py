"""Layers that compute something else in train mode than in eval mode."""

from typing import Any

from torch import nn

from shiftscope.modules import Wrapper

OFF = ("p", "dropout", "drop_prob")
"""Attributes of layers that drop values: where they are 0, the mode changes nothing."""


def layers_that_change(model: nn.Module) -> list[str]:
    """Return the names of the classes whose results depend on the mode, sorted: their code reads `training`.

    >>> layers_that_change(nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5), nn.Dropout(0.0), nn.BatchNorm2d(1)))
    ['BatchNorm2d', 'Dropout']
    """
    return sorted({_kind(module) for module in model.modules() if _reads_mode(module) and not _is_off(module)})


def _kind(module: nn.Module) -> str:
    return getattr(module, "original_name", type(module).__name__)  # of a module that was scripted


def _reads_mode(module: nn.Module) -> bool:
    code = getattr(module, "code", "")
    if isinstance(code, str) and "self.training" in code:  # TorchScript
        return True
    if isinstance(module, Wrapper):  # it only hands the mode on
        return False
    own = type(module).__mro__[:type(module).__mro__.index(nn.Module)]
    return any("training" in names for cls in own for names in map(_names, vars(cls).values()))


def _names(method: Any) -> tuple[str, ...]:
    return getattr(getattr(method, "__code__", None), "co_names", ())


def _is_off(module: nn.Module) -> bool:
    if hasattr(module, "track_running_stats"):  # batch and instance norm
        return not module.track_running_stats
    return any(_rate(getattr(module, name, None)) == 0 for name in OFF)


def _rate(value: Any) -> Any:
    return getattr(value, "p", value)  # a layer of its own in transformers
