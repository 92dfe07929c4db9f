"""The 2 x 2 question: trained in the middle or moved, tested in the middle or moved, and what the move costs."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from shiftscope.errors import require
from shiftscope.results import Evaluation

PLACES = ("centered", "random")
"""Rows and columns of the table: in the middle of the canvas, or at random places."""


@dataclass(frozen=True)
class ControlCell:
    """One number of a model's 2 x 2 table.

    Raises:
        UsageError: `trained` or `tested` is neither "centered" nor "random".
    """

    model: str
    trained: str
    """"centered" or "random"."""
    tested: str
    """"centered" or "random"."""
    mean: float
    """Accuracy on the test set, a share from 0 to 1, mean over the seeds."""
    spread: float | None = None
    """Sample standard deviation over the seeds, a share; None for one seed."""
    seeds: int = 1

    def __post_init__(self) -> None:
        for name in ("trained", "tested"):
            value = getattr(self, name)
            require(value in PLACES, name, value, "centered or moved")

    def to_dict(self) -> dict[str, Any]:
        """Return the cell as plain JSON."""
        return asdict(self)


def mean_and_spread(values: Sequence[float]) -> tuple[float, float | None]:
    """Return the mean and the sample standard deviation (None for a single value).

    >>> mean_and_spread([0.25, 0.5, 0.75])
    (0.5, 0.25)
    """
    mean = math.fsum(values) / len(values)
    if len(values) < 2:
        return mean, None
    return mean, math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))


def control_cells(evaluations: Iterable[Evaluation]) -> list[ControlCell]:
    """Return the 2 x 2 cells of evaluations on the test set, over all seeds of a model.

    Evaluations on other splits, and of models whose training is unknown, are left out.
    """
    values: dict[tuple[str, str, str], list[float]] = {}
    for evaluation in evaluations:
        if evaluation.split == "test" and evaluation.trained in PLACES:
            for tested, key in (("centered", "centered"), ("random", "random")):
                cell = (evaluation.model, evaluation.trained, tested)
                values.setdefault(cell, []).append(evaluation.accuracy[key])
    return [ControlCell(*cell, *mean_and_spread(found), len(found)) for cell, found in values.items()]


def find_cell(cells: Iterable[ControlCell], model: str, trained: str, tested: str) -> ControlCell | None:
    """Return the cell with these names, or None where it was not measured."""
    return next((cell for cell in cells if (cell.model, cell.trained, cell.tested) == (model, trained, tested)), None)


def models_of(cells: Iterable[ControlCell]) -> list[str]:
    """Return the models of the cells, each once, in their order."""
    return list(dict.fromkeys(cell.model for cell in cells))


def moving_cost(cells: Sequence[ControlCell], model: str) -> float | None:
    """Return what moving costs a model that trains as it is tested, a share; None where a figure is missing.

    It is the accuracy trained and tested centered, minus the accuracy trained and tested on random placements.

    >>> cells = [ControlCell("net", "centered", "centered", 0.75), ControlCell("net", "random", "random", 0.5)]
    >>> moving_cost(cells, "net")
    0.25
    """
    still, moved = (find_cell(cells, model, place, place) for place in PLACES)
    if still is None or moved is None or not math.isfinite(still.mean - moved.mean):
        return None
    return still.mean - moved.mean
