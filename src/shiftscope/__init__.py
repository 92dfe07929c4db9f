"""Measures whether the prediction of an image classifier depends on the position of the object, and repairs it.

The public names are imported on first use, so `import shiftscope` alone is fast.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shiftscope import data, models
    from shiftscope.auditing import audit
    from shiftscope.data import Dataset, from_arrays, from_torch, load_dataset
    from shiftscope.errors import ShiftscopeError
    from shiftscope.evaluation import evaluate
    from shiftscope.models import load, load_model, save
    from shiftscope.placement import Placement
    from shiftscope.results import Audit, Evaluation, TrainResult
    from shiftscope.settings import DataSettings, RunSettings, TrainSettings
    from shiftscope.training import train
    from shiftscope.visualization import visualize
    from shiftscope.workflows.report.page import report

    __version__: str

_HOMES = {
    "audit": "shiftscope.auditing",
    "Audit": "shiftscope.results",
    "Dataset": "shiftscope.data",
    "from_arrays": "shiftscope.data",
    "from_torch": "shiftscope.data",
    "load_dataset": "shiftscope.data",
    "ShiftscopeError": "shiftscope.errors",
    "evaluate": "shiftscope.evaluation",
    "load": "shiftscope.models",
    "load_model": "shiftscope.models",
    "save": "shiftscope.models",
    "Placement": "shiftscope.placement",
    "Evaluation": "shiftscope.results",
    "TrainResult": "shiftscope.results",
    "DataSettings": "shiftscope.settings",
    "RunSettings": "shiftscope.settings",
    "TrainSettings": "shiftscope.settings",
    "train": "shiftscope.training",
    "visualize": "shiftscope.visualization",
    "report": "shiftscope.workflows.report.page",
}
_SUBMODULES = ("data", "models")

__all__ = [
    "Audit",
    "DataSettings",
    "Dataset",
    "Evaluation",
    "Placement",
    "RunSettings",
    "ShiftscopeError",
    "TrainResult",
    "TrainSettings",
    "audit",
    "data",
    "evaluate",
    "from_arrays",
    "from_torch",
    "load",
    "load_dataset",
    "load_model",
    "models",
    "report",
    "save",
    "train",
    "visualize",
]


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("shiftscope")
    except PackageNotFoundError:  # the package is used without installation
        return "unknown"


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = getattr(import_module(_HOMES[name]), name)
    elif name in _SUBMODULES:
        value = import_module(f"shiftscope.{name}")
    elif name == "__version__":
        value = _version()
    else:
        raise AttributeError(f"module 'shiftscope' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})
