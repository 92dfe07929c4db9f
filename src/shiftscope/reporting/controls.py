"""The 2 x 2 comparison: trained centered or on random placements, tested centered or on random placements."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from shiftscope.errors import require
from shiftscope.reporting.formatting import is_finite, model_title, percent, points
from shiftscope.results import Evaluation

PLACEMENTS = ("centered", "random")
"""Rows and columns of the table."""


@dataclass(frozen=True)
class ControlCell:
    """One accuracy of a model's 2 x 2 table.

    Raises:
        UsageError: if `trained` or `tested` is neither "centered" nor "random".
    """

    model: str
    trained: str
    """"centered" or "random"."""
    tested: str
    """"centered" or "random"."""
    mean: float
    """Test accuracy from 0 to 1, mean over the seeds."""
    spread: float | None = None
    """Sample standard deviation over the seeds; None for one seed."""
    seeds: int = 1

    def __post_init__(self) -> None:
        for name in ("trained", "tested"):
            require(getattr(self, name) in PLACEMENTS, name, getattr(self, name), "centered or random")

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

    Evaluations on other splits and of models with unknown training are ignored.
    """
    values: dict[tuple[str, str, str], list[float]] = {}
    for evaluation in evaluations:
        if evaluation.split == "test" and evaluation.trained in PLACEMENTS:
            for tested in PLACEMENTS:
                key = (evaluation.model, evaluation.trained, tested)
                values.setdefault(key, []).append(evaluation.accuracy[tested])
    return [ControlCell(*key, *mean_and_spread(accuracies), len(accuracies)) for key, accuracies in values.items()]


def find_cell(cells: Iterable[ControlCell], model: str, trained: str, tested: str) -> ControlCell | None:
    """Return a cell, or None if it was not measured."""
    return next((cell for cell in cells if (cell.model, cell.trained, cell.tested) == (model, trained, tested)), None)


def models_of(cells: Iterable[ControlCell]) -> list[str]:
    """Return the models of the cells without duplicates, in order."""
    return list(dict.fromkeys(cell.model for cell in cells))


def placement_cost(cells: Sequence[ControlCell], model: str) -> float | None:
    """Return the accuracy trained and tested centered minus that with random placements; None if one is missing.

    >>> cells = [ControlCell("net", "centered", "centered", 0.75), ControlCell("net", "random", "random", 0.5)]
    >>> placement_cost(cells, "net")
    0.25
    """
    centered, random = (_accuracy(cells, model, placement, placement) for placement in PLACEMENTS)
    return None if centered is None or random is None else centered - random


def headline(cells: Sequence[ControlCell]) -> list[str]:
    """Return the main findings as sentences, the most important first.

    >>> headline([ControlCell("two-full", placement, placement, mean)
    ...           for placement, mean in (("centered", 0.88), ("random", 0.767))])[0]
    'The perceptron loses 11.3 points of accuracy on random placements: 88.0 % trained and tested centered, 76.7 % \
trained and tested on random placements.'
    """
    models = models_of(cells)
    sentences = [_cost(cells, model) for model in models] + [_untrained_drop(cells, model) for model in models]
    return [sentence for sentence in (*sentences, _ranking(cells)) if sentence]


def _accuracy(cells: Sequence[ControlCell], model: str, trained: str, tested: str) -> float | None:
    cell = find_cell(cells, model, trained, tested)
    return cell.mean if cell is not None and is_finite(cell.mean) else None


def _cost(cells: Sequence[ControlCell], model: str) -> str:
    cost = placement_cost(cells, model)
    if cost is None:
        return ""
    centered, random = (percent(_accuracy(cells, model, placement, placement)) for placement in PLACEMENTS)
    loss = "no accuracy" if cost <= 0 else f"{points(cost)} of accuracy"
    return (f"The {model_title(model)} loses {loss} on random placements: {centered} trained and tested centered, "
            f"{random} trained and tested on random placements.")


def _untrained_drop(cells: Sequence[ControlCell], model: str) -> str:
    """The drop of a model that was trained on centered images only."""
    centered, random = (_accuracy(cells, model, "centered", tested) for tested in PLACEMENTS)
    if centered is None or random is None or random >= centered:
        return ""
    return (f"Trained on centered images only, the {model_title(model)} drops from {percent(centered)} on centered "
            f"test images to {percent(random)} on random placements.")


def _ranking(cells: Sequence[ControlCell]) -> str:
    """The best model on random placements, and its lead."""
    ranking = sorted([(accuracy, model_title(model)) for model in models_of(cells)
                      if (accuracy := _accuracy(cells, model, "random", "random")) is not None],
                     key=lambda entry: -entry[0])
    if not ranking:
        return ""
    best, name = ranking[0]
    lead = f", {points(best - ranking[1][0])} more than the {ranking[1][1]}" if len(ranking) > 1 else ""
    return f"On random placements the {name} has an accuracy of {percent(best)}{lead}."
