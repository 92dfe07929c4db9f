"""What a benchmark found: seconds side by side, and how they grow."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypedDict

import numpy as np

from shiftscope.results.base import Record
from shiftscope.results.validation import Count

OURS = "ours"
"""The contestant that all others are compared with."""

BUSY = 0.05
"""A record is marked where other programs take a larger share of the machine's cores."""

ENOUGH = 5
"""Rounds that a median should rest on."""


class Contestant(TypedDict):
    """One way of doing the work."""

    name: str
    what: str
    """In a sentence, for people."""
    seconds: list[float]
    """A value a round."""
    median: float


class Comparison(TypedDict):
    """Ways of doing the same work, measured in turns."""

    title: str
    """The model, and what was asked of it."""
    unit: str
    """What the seconds are of: "seconds an epoch of 60,000 images"."""
    contestants: list[Contestant]
    ratios: dict[str, float]
    """How many times as long as ours each other one takes."""
    figures: dict[str, float]
    """What else was measured, by name."""


class GrowthLine(TypedDict):
    """Seconds of ours against one size, everything else fixed."""

    title: str
    axis: str
    """What grows: "images", "canvas pixels", "hidden neurons", ..."""
    unit: str
    values: list[float]
    seconds: list[list[float]]
    """A list a value, with a number a round."""
    medians: list[float]
    exponent: float | None
    """k of the fit seconds ~ value^k; None where it cannot be told."""
    exponent_end: float | None
    """The same between the two largest sizes, where a fixed start weighs least."""


class Load(TypedDict):
    """What other programs did meanwhile, as shares of all cores; None where the system does not tell."""

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
    """Rounds; in each one every contestant has one turn."""
    settings: dict[str, Any]
    comparisons: list[Comparison]
    growth: list[GrowthLine]
    machine: dict[str, Any]
    others: Load
    busy: bool
    """Other programs took more than `BUSY` of the machine: the times say little."""
    notes: list[str]


def compare(title: str, unit: str, what: Mapping[str, str], seconds: Mapping[str, Sequence[float]],
            figures: Mapping[str, float] | None = None) -> Comparison:
    """Put measured seconds side by side.

    A ratio is the median over the rounds of the round's own ratio: a moment in which the machine was slow hits all
    contestants of a round alike.

    Args:
        what: a sentence for each contestant, by name.
        seconds: by name, as many values for each one, round by round; `OURS` among them.

    Example:
        >>> found = compare("x", "s", {"ours": "a", "other": "b"}, {"ours": [1.0, 2.0, 1.0], "other": [3.0, 4.0, 5.0]})
        >>> found["ratios"], [contestant["median"] for contestant in found["contestants"]]
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
    """Put the seconds at several sizes together and fit their exponent."""
    medians = [statistics.median(row) for row in seconds]
    return {"title": title, "axis": axis, "unit": unit, "values": list(values),
            "seconds": [list(row) for row in seconds], "medians": medians,
            "exponent": fitted_exponent(values, medians),
            "exponent_end": fitted_exponent(values[-2:], medians[-2:])}


def fitted_exponent(values: Sequence[float], seconds: Sequence[float]) -> float | None:
    """Return k of the least-squares line log(seconds) = k log(value) + c; None with fewer than two different values.

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
    """Return whether others took more than `BUSY` of the machine before or meanwhile.

    >>> is_busy({"before": 0.01, "during": 0.07, "source": "x"})
    True
    """
    return any(share is not None and share > BUSY for share in (load["before"], load["during"]))
