"""From records to the rows of the table: means over seeds, intervals, tests between neighbors, and what is in bold."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from leaderboard.figures import Board, Row, Share
from leaderboard.records import FIGURES, LeaderboardRecord, by_entry
from shiftscope.auditing.compare import compare_means, compare_worst_case
from shiftscope.reporting.controls import mean_and_spread

SURE = 0.05
"""A best figure is in bold where the test against the next one gives less."""

Test = Callable[[LeaderboardRecord, LeaderboardRecord], dict[str, Any]]

TESTED: dict[str, Test] = {"worst_case_accuracy": compare_worst_case, "mean_accuracy": compare_means}
"""Figures that are compared image by image."""


@dataclass(frozen=True)
class _Line:
    """An entry's row and the records that it was made from; chance has none."""

    row: Row
    records: Sequence[LeaderboardRecord]


def board(records: Sequence[LeaderboardRecord]) -> Board:
    """Return the leaderboard of records, which `read_records` has found to belong together.

    Rows are ordered by worst-case accuracy, then by the mean. Each is compared with the next measured one below; a
    figure is in bold where it is the best of all and the test against the second best gives p < 0.05.
    """
    lines = [_Line(_row(records), records) for records in by_entry(records).values()]
    lines += [_Line(row, ()) for row in chance_rows(records)]
    lines.sort(key=lambda line: (-_value(line, "worst_case_accuracy"), -_value(line, "mean_accuracy"), line.row.entry))
    measured = [line for line in lines if line.records]
    tests = {above.row.entry: _tests(above.records, below.records) for above, below in pairwise(measured)}
    rows = [replace(line.row, below=tests.get(line.row.entry, {})) for line in lines]
    for name in TESTED:
        best = _surely_best(lines, name)
        rows = [replace(row, bold=(*row.bold, name)) if row.entry == best else row for row in rows]
    first = records[0] if records else None
    return Board(rows=rows, dataset=first.dataset if first else "", synthetic=bool(first and first.synthetic),
                 images=first.images if first else 0, placements=first.placements if first else 0,
                 mode=first.mode if first else "", placement=first.placement if first else {},
                 measured=max((record.measured for record in records), default=""))


def chance_rows(records: Sequence[LeaderboardRecord]) -> list[Row]:
    """Return what two ways of not looking give with K classes at P placements; none where there are no records.

    Always the same class, drawn once: right about 1 / K of the images, and it never changes its mind. A guess at each
    placement: right everywhere with probability K^-P, the same answer everywhere with K^(1-P), and the same answer at
    two placements, which are one and the same for 1 / P of the pairs, with 1 / P + (1 - 1 / P) / K.
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


def _computed(entry: str, title: str, figures: Mapping[str, float]) -> Row:
    return Row(entry=entry, title=title, shares={name: Share(mean=figures[name]) for name in FIGURES})


def _value(line: _Line, name: str) -> float:
    return line.row.shares[name].mean


def _row(records: Sequence[LeaderboardRecord]) -> Row:
    first = records[0]
    seconds = mean_and_spread([one.train_seconds for one in records])
    machines = {_machine(one.hardware) for one in records}
    return Row(
        entry=first.entry, title=first.title, description=first.description, seeds=len(records),
        parameters=first.parameters, epochs=first.epochs, train_seconds=seconds, machine=" / ".join(sorted(machines)),
        level=first.claims.get(first.mode, {}).get("level", ""), why=first.claims.get(first.mode, {}).get("why", ""),
        flips=sum(one.flips for one in records), ties=sum(one.ties for one in records),
        predictions=sum(one.images * one.placements for one in records),
        each=[(one.mean_accuracy, one.worst_case_accuracy) for one in records],
        shares={name: _share(records, name) for name in FIGURES})


def _share(records: Sequence[LeaderboardRecord], name: str) -> Share:
    """The mean over seeds, its std, and the mean of the seeds' intervals, which averaging can only narrow."""
    mean, std = mean_and_spread([getattr(one, name) for one in records])
    low, high = np.mean([one.intervals[name] for one in records], axis=0).tolist()
    return Share(mean=mean, std=std, interval=(low, high))


def _machine(hardware: Mapping[str, Any]) -> str:
    """Return a machine in words.

    >>> _machine({"processor": "chip", "cores": 2, "device": "cpu", "torch": "2.13.0"})
    'chip, 2 cores, PyTorch 2.13.0'
    """
    cores = f"{hardware.get('processor', 'unknown')}, {hardware.get('cores', 'unknown')} cores"
    return f"{hardware.get('gpu', cores)}, PyTorch {hardware.get('torch', 'unknown')}"


def _tests(a: Sequence[LeaderboardRecord], b: Sequence[LeaderboardRecord]) -> dict[str, float | None]:
    return {name: sure_of(a, b, name) for name in TESTED}


def sure_of(a: Sequence[LeaderboardRecord], b: Sequence[LeaderboardRecord], name: str) -> float | None:
    """Return how sure it is that one entry is better than another: the largest p-value over the seeds that both have.

    Each seed's two models are compared on the same images. A seed with which the first is not the better one counts as
    1: all seeds must agree.

    Args:
        a, b: the records of each entry.
        name: "worst_case_accuracy" (McNemar's test) or "mean_accuracy" (a paired z-test).

    Returns:
        None where they have no seed in common.
    """
    others, found = {one.seed: one for one in b}, []
    for one in a:
        if one.seed in others:
            other = others[one.seed]
            better = getattr(one, name) > getattr(other, name)
            found.append(TESTED[name](one, other)["p_value"] if better else 1.0)
    return max(found, default=None)


def _surely_best(lines: Sequence[_Line], name: str) -> str | None:
    """Return the entry whose figure is the best of all and surely better than the second best, if there is one."""
    ordered = sorted(lines, key=lambda line: -_value(line, name))
    if len(ordered) < 2:
        return None
    p_value = sure_of(ordered[0].records, ordered[1].records, name)
    return ordered[0].row.entry if p_value is not None and p_value < SURE else None
