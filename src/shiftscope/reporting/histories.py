"""How training went, for the curves of a page."""

import math
from collections.abc import Sequence
from typing import Any

from shiftscope.reporting.wording import series_title
from shiftscope.results import TrainResult

KEYS = ("train_loss", "train_accuracy", "val_accuracy")


def histories(results: Sequence[TrainResult]) -> list[dict[str, Any]]:
    """Return what `mountCurves` of `app.js` draws, as plain JSON: a line a model and way of training.

    Several seeds of one are their mean, over the epochs that all of them have.

    Returns:
        [{title, epochs: [{epoch, train_loss, train_accuracy, val_accuracy}]}], None for a number that is not known.

    Example:
        >>> histories([])
        []
    """
    groups: dict[tuple[str, str], list[TrainResult]] = {}
    for result in results:
        groups.setdefault((result.model, result.trained), []).append(result)
    found = []
    for (model, trained), seeds in groups.items():
        title = series_title(model, trained) + (f", mean of {len(seeds)} seeds" if len(seeds) > 1 else "")
        lines = zip(*(result.history for result in seeds), strict=False)
        found.append({"title": title, "epochs": [{"epoch": line[0]["epoch"]} | {
            key: _mean([part[key] for part in line]) for key in KEYS} for line in lines]})
    return found


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None and math.isfinite(value)]
    return math.fsum(known) / len(known) if len(known) == len(values) else None
