"""Rows of the table from records: means over seeds, intervals, tests between neighboring rows."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from leaderboard.figures import Board, Estimate, Row
from leaderboard.records import METRICS, LeaderboardRecord, by_entry
from shiftscope.auditing.compare import compare_means, compare_worst_case
from shiftscope.reporting.controls import mean_and_spread

SIGNIFICANCE = 0.05
"""A best value is in bold if the p-value of the test against the second best is lower."""

Test = Callable[[LeaderboardRecord, LeaderboardRecord], dict[str, Any]]

TESTED: dict[str, Test] = {"worst_case_accuracy": compare_worst_case, "mean_accuracy": compare_means}
"""Metrics that are compared image by image."""


@dataclass(frozen=True)
class _Line:
    """Row of an entry, and its records; chance has none."""

    row: Row
    records: Sequence[LeaderboardRecord]


def board(records: Sequence[LeaderboardRecord]) -> Board:
    """Return the leaderboard of records that share their settings (`read_records` checks this).

    Rows are ordered by worst-case accuracy, then by the mean. Each is compared with the next measured one below. The
    best value of a metric is in bold if the test against the second best gives p < 0.05.
    """
    lines = [_Line(_row(records), records) for records in by_entry(records).values()]
    lines += [_Line(row, ()) for row in chance_rows(records)]
    lines.sort(key=lambda line: (-_value(line, "worst_case_accuracy"), -_value(line, "mean_accuracy"), line.row.entry))
    measured = [line for line in lines if line.records]
    tests = {above.row.entry: _tests(above.records, below.records) for above, below in pairwise(measured)}
    rows = [replace(line.row, p_values=tests.get(line.row.entry, {})) for line in lines]
    for name in TESTED:
        best = _significantly_best(lines, name)
        rows = [replace(row, bold=(*row.bold, name)) if row.entry == best else row for row in rows]
    first = records[0] if records else None
    return Board(rows=rows, dataset=first.dataset if first else "", synthetic=bool(first and first.synthetic),
                 images=first.images if first else 0, placements=first.placements if first else 0,
                 mode=first.mode if first else "", placement=first.placement if first else {},
                 measured=max((record.measured for record in records), default=""))


def chance_rows(records: Sequence[LeaderboardRecord]) -> list[Row]:
    """Return the rows of two classifiers that ignore the image, with K classes and P placements; none without records.

    One class for all images: accuracy 1 / K, and the prediction never changes. A random guess at each placement: an
    image is correct at all placements with probability K^-P, has a single prediction with probability K^(1-P), and has
    the same prediction at two placements with probability 1 / P + (1 - 1 / P) / K, because 1 / P of all pairs contain
    the same placement twice.
    """
    if not records:
        return []
    K, P = records[0].classes, records[0].placements
    constant = dict.fromkeys(("mean_accuracy", "worst_case_accuracy", "middle_accuracy"), 1 / K)
    constant |= {"consistency": 1.0, "unanimity": 1.0}
    guess = {"mean_accuracy": 1 / K, "middle_accuracy": 1 / K, "worst_case_accuracy": float(K) ** -P,
             "consistency": 1 / P + (1 - 1 / P) / K, "unanimity": float(K) ** (1 - P)}
    return [_computed("chance-constant", "chance: one class for all", constant),
            _computed("chance-guess", "chance: a guess at each placement", guess)]


def _computed(entry: str, title: str, values: Mapping[str, float]) -> Row:
    return Row(entry=entry, title=title, estimates={name: Estimate(mean=values[name]) for name in METRICS})


def _value(line: _Line, name: str) -> float:
    return line.row.estimates[name].mean


def _row(records: Sequence[LeaderboardRecord]) -> Row:
    first = records[0]
    seconds = mean_and_spread([one.train_seconds for one in records])
    machines = {_machine(one.hardware) for one in records}
    return Row(
        entry=first.entry, title=first.title, description=first.description, seeds=len(records),
        parameters=first.parameters, epochs=first.epochs, train_seconds=seconds, machine=" / ".join(sorted(machines)),
        claim=first.claims.get(first.mode, {}).get("level", ""),
        claim_reason=first.claims.get(first.mode, {}).get("why", ""),
        flips=sum(one.flips for one in records), ties=sum(one.ties for one in records),
        predictions=sum(one.images * one.placements for one in records),
        seed_values=[(one.mean_accuracy, one.worst_case_accuracy) for one in records],
        estimates={name: _estimate(records, name) for name in METRICS})


def _estimate(records: Sequence[LeaderboardRecord], name: str) -> Estimate:
    """Return the mean over seeds, its std, and the mean of the seeds' intervals (an average has no wider interval)."""
    mean, std = mean_and_spread([getattr(one, name) for one in records])
    low, high = np.mean([one.intervals[name] for one in records], axis=0).tolist()
    return Estimate(mean=mean, std=std, interval=(low, high))


def _machine(hardware: Mapping[str, Any]) -> str:
    """Return a machine as text.

    >>> _machine({"processor": "chip", "cores": 2, "device": "cpu", "torch": "2.13.0"})
    'chip, 2 cores, PyTorch 2.13.0'
    """
    cores = f"{hardware.get('processor', 'unknown')}, {hardware.get('cores', 'unknown')} cores"
    return f"{hardware.get('gpu', cores)}, PyTorch {hardware.get('torch', 'unknown')}"


def _tests(a: Sequence[LeaderboardRecord], b: Sequence[LeaderboardRecord]) -> dict[str, float | None]:
    return {name: largest_p_value(a, b, name) for name in TESTED}


def largest_p_value(a: Sequence[LeaderboardRecord], b: Sequence[LeaderboardRecord], name: str) -> float | None:
    """Return the largest p-value, over the common seeds, of the test that entry `a` is better than entry `b`.

    The two models of a seed are compared on the same images. A seed for which `a` is not better counts as 1, so all
    seeds must agree.

    Args:
        a, b: the records of each entry.
        name: "worst_case_accuracy" (McNemar's test) or "mean_accuracy" (a paired z-test).

    Returns:
        None if they have no common seed.
    """
    others, p_values = {one.seed: one for one in b}, []
    for one in a:
        if one.seed in others:
            other = others[one.seed]
            better = getattr(one, name) > getattr(other, name)
            p_values.append(TESTED[name](one, other)["p_value"] if better else 1.0)
    return max(p_values, default=None)


def _significantly_best(lines: Sequence[_Line], name: str) -> str | None:
    """Return the entry with the best value if it is significantly better than the second best, else None."""
    ordered = sorted(lines, key=lambda line: -_value(line, name))
    if len(ordered) < 2:
        return None
    p_value = largest_p_value(ordered[0].records, ordered[1].records, name)
    return ordered[0].row.entry if p_value is not None and p_value < SIGNIFICANCE else None
