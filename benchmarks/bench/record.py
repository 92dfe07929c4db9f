"""Records of benchmarks: seconds of several methods, and growth of time."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypedDict

import numpy as np

from shiftscope.results.base import Record
from shiftscope.results.validation import Count

OURS = "ours"
"""The method that all others are compared with."""

BUSY = 0.05
"""A record is flagged if other programs use a larger fraction of the cores."""

ENOUGH = 5
"""Recommended number of rounds for a median."""


class Contestant(TypedDict):
    """One of the compared methods."""

    name: str
    what: str
    """Description, one sentence."""
    seconds: list[float]
    """One value per round."""
    median: float


class Comparison(TypedDict):
    """Several methods for the same work, measured in alternation."""

    title: str
    """The model and the task."""
    unit: str
    """Unit of the seconds, for example "seconds per epoch of 60,000 images"."""
    contestants: list[Contestant]
    ratios: dict[str, float]
    """Time of each other method divided by ours."""
    figures: dict[str, float]
    """Other measurements, by name."""


class GrowthLine(TypedDict):
    """Our seconds against one size, everything else fixed."""

    title: str
    axis: str
    """The growing size: "images", "canvas pixels", "hidden neurons", ..."""
    unit: str
    values: list[float]
    seconds: list[list[float]]
    """One list per value, with one number per round."""
    medians: list[float]
    exponent: float | None
    """k of the fit seconds ~ value^k; None if it cannot be fitted."""
    exponent_end: float | None
    """The same between the two largest sizes, where fixed costs matter least."""


class Load(TypedDict):
    """Fraction of all cores used by other programs; None if the system does not provide it."""

    before: float | None
    during: float | None
    source: str


@dataclass(frozen=True, kw_only=True)
class Bench(Record):
    """A benchmark of one part of Shiftscope on one machine."""

    kind: ClassVar[str] = "bench"

    bench: str
    """"training", "audit", "visualize" or "data"."""
    measured: str
    """Date and time, UTC."""
    dataset: str
    synthetic: bool
    repeats: Count
    """Rounds; each method runs once per round."""
    settings: dict[str, Any]
    comparisons: list[Comparison]
    growth: list[GrowthLine]
    machine: dict[str, Any]
    others: Load
    busy: bool
    """True if other programs used more than `BUSY` of the machine; the times are then unreliable."""
    notes: list[str]


def compare(title: str, unit: str, what: Mapping[str, str], seconds: Mapping[str, Sequence[float]],
            figures: Mapping[str, float] | None = None) -> Comparison:
    """Return the comparison of measured seconds.

    A ratio is the median over rounds of the ratio within a round, because a slow moment of the machine affects all
    methods of a round.

    Args:
        what: description of each method, by name.
        seconds: by name, one value per round for each method; must contain `OURS`.

    Example:
        >>> result = compare("x", "s", {"ours": "a", "other": "b"}, {"ours": [1.0, 2.0, 1.0], "other": [3.0, 4.0, 5.0]})
        >>> result["ratios"], [contestant["median"] for contestant in result["contestants"]]
        ({'other': 3.0}, [1.0, 4.0])
    """
    ours = seconds[OURS]
    ratios = {name: statistics.median(other / own for other, own in zip(values, ours, strict=True))
              for name, values in seconds.items() if name != OURS}
    contestants: list[Contestant] = [
        {"name": name, "what": what[name], "seconds": list(values), "median": statistics.median(values)}
        for name, values in seconds.items()]
    return {"title": title, "unit": unit, "contestants": contestants, "ratios": ratios, "figures": dict(figures or {})}


def growth_line(title: str, axis: str, unit: str, values: Sequence[float],
                seconds: Sequence[Sequence[float]]) -> GrowthLine:
    """Return the growth of time over several sizes, with its fitted exponent."""
    medians = [statistics.median(row) for row in seconds]
    return {"title": title, "axis": axis, "unit": unit, "values": list(values),
            "seconds": [list(row) for row in seconds], "medians": medians,
            "exponent": fitted_exponent(values, medians),
            "exponent_end": fitted_exponent(values[-2:], medians[-2:])}


def fitted_exponent(values: Sequence[float], seconds: Sequence[float]) -> float | None:
    """Return k of the least-squares line log(seconds) = k log(value) + c; None for fewer than two different values.

    >>> round(fitted_exponent([1, 2, 4], [3.0, 12.0, 48.0]), 6)
    2.0
    """
    pairs = [(value, time) for value, time in zip(values, seconds, strict=True) if value > 0 and time > 0]
    if len({value for value, _ in pairs}) < 2:
        return None
    x, y = (np.log(np.array(column, dtype=float)) for column in zip(*pairs, strict=True))
    slope = float(((x - x.mean()) * (y - y.mean())).sum() / ((x - x.mean()) ** 2).sum())
    return slope if math.isfinite(slope) else None


def is_busy(load: Load) -> bool:
    """Return True if other programs used more than `BUSY` of the machine before or during the benchmark.

    >>> is_busy({"before": 0.01, "during": 0.07, "source": "x"})
    True
    """
    return any(fraction is not None and fraction > BUSY for fraction in (load["before"], load["during"]))
