"""What a result says in one to five lines of plain text.

Nothing here draws or needs matplotlib, so that the words are there where pictures are not: `shiftscope.reporting` has
such words as well, but comes with all of its figures.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from shiftscope.progress import duration
from shiftscope.results import (
    Attribution,
    Audit,
    Equivariance,
    Evaluation,
    Neighbors,
    Quality,
    Record,
    Synthesis,
    TrainResult,
    UnitTable,
)

LINES = 5
"""Most lines of a summary."""

WIDTH = 160
"""Most characters of a line: names of models and classes may be of any length."""

MISSING = "–"
"""Stands where there is no number."""


def summary(record: Record) -> str:
    """Return what a notebook shows of a result as text: what it is of, its main figures, how it was made.

    Of the record's notes the first one is shown, where there is room.

    Args:
        record: of any kind; one that is not known here shows its small values.
    """
    lines = list(_LINES.get(type(record), _small_values)(record))
    notes = list(getattr(record, "notes", ()))
    if notes and len(lines) < LINES:
        more = f" (and {len(notes) - 1} more in .notes)" if len(notes) > 1 else ""
        lines.append(f"note: {_short(notes[0], WIDTH - 40)}{more}")
    return "\n".join(_short(line, WIDTH) for line in lines[:LINES])


def _audit(audit: Audit) -> Iterable[str]:
    every = f"all {audit.placements:,} placements (exact)" if audit.placements > 1 else "the only placement"
    where = f"{audit.placements:,} of {audit.geometry.count:,} placements (sampled)" if audit.sampled else every
    begun = ", interrupted" if audit.partial else ""
    yield (f"Audit of {_short(audit.model)} on {_short(audit.dataset)}: {_many(audit.images, f'{audit.split} image')} "
           f"at {where}, mode {audit.mode}{begun}")
    yield (f"accuracy: mean {_percent(audit.mean_accuracy)}, worst case {_percent(audit.worst_case_accuracy)}, centered "
           f"{_percent(audit.middle_accuracy)}; consistency {_percent(audit.consistency)}, unanimity "
           f"{_percent(audit.unanimity)}")
    if np.isfinite(audit.accuracy_map).any():
        row, column = np.unravel_index(np.nanargmin(audit.accuracy_map), audit.accuracy_map.shape)
        yield (f"least accurate at (dy, dx) = ({audit.rows[row]}, {audit.columns[column]}): "
               f"{_percent(audit.accuracy_map[row, column])}")
    lost = f"; {audit.nonfinite:,} answers not finite, counted as wrong" if audit.nonfinite else ""
    yield f"engine {audit.engine}, {_time(audit.seconds)} on {audit.device}{lost}"


def _evaluation(evaluation: Evaluation) -> Iterable[str]:
    yield (f"Evaluation of {_short(evaluation.model)} on {_short(evaluation.dataset)}: "
           f"{_many(evaluation.images, f'{evaluation.split} image')}, trained {evaluation.trained}")
    accuracy = evaluation.accuracy
    yield (f"right: {_percent(accuracy.get('random'))} at random placements, {_percent(accuracy.get('centered'))} "
           "centered")
    known = [(share, name) for share, name in zip(evaluation.per_class.get("random", ()), evaluation.class_names,
                                                  strict=False) if share is not None and math.isfinite(share)]
    if known:
        share, name = min(known)
        yield f"hardest class: {_short(name)}, {_percent(share)} right at random placements"
    if evaluation.nonfinite:
        yield f"{evaluation.nonfinite:,} answers not finite, counted as wrong"


def _training(result: TrainResult) -> Iterable[str]:
    yield (f"Training of {_short(result.model)} on {_short(result.dataset)}: {_many(result.epochs, 'epoch')}, trained "
           f"{result.trained}, {result.parameters:,} parameters, seed {result.seed}")
    if result.history:
        last = result.history[-1]
        yield (f"last epoch: loss {_number(last['train_loss'])}, training accuracy "
               f"{_percent(last['train_accuracy'])}, validation accuracy {_percent(last['val_accuracy'])}")
    yield (f"{result.train_images:,} training and {result.validation_images:,} validation images, "
           f"{_time(result.train_seconds)} of steps on {result.device}")


def _synthesis(synthesis: Synthesis) -> Iterable[str]:
    size = " x ".join(map(str, synthesis.images.shape[1:]))
    yield (f"Synthesis of {_short(synthesis.objective)} in {_short(synthesis.model)}: "
           f"{_many(len(synthesis.units), 'picture')} of {size}, from {synthesis.start}")
    yield f"activation {_span(synthesis.activations)}; {_span(synthesis.activations_start)} at the start"
    yield f"{_time(synthesis.seconds)} on {synthesis.device}"


def _attribution(found: Attribution) -> Iterable[str]:
    layer = f" at {_short(found.layer)}" if found.layer else ""
    yield (f"Attribution by {found.method}{layer} in {_short(found.model)}: {_many(len(found.images), 'picture')}, "
           f"target {_short(found.target)}")
    told = found.labels >= 0
    if told.any():
        yield f"{int((found.labels == found.predictions)[told].sum())} of {int(told.sum())} pictures classified right"
    if np.isfinite(found.residuals).any():
        yield f"sum of a map less the score's rise: at most {np.nanmax(np.abs(found.residuals)):.2g}"
    yield f"{_time(found.seconds)} on {found.device}"


def _equivariance(found: Equivariance) -> Iterable[str]:
    yield (f"Equivariance of {_short(found.model)} on {_short(found.dataset)}: {_many(len(found.layers), 'layer')}, "
           f"{_many(found.images, f'{found.split} image')}, shifts of {_span(np.array(found.shifts))} pixels, mode "
           f"{found.mode}")
    if found.loses_most is None:
        yield "no map loses anything"
    else:
        drop = found.drops[found.layers.index(found.loses_most)]
        yield f"stops following the object most at {_short(found.loses_most)}: {_number(drop)} dB lost there"
    if found.layers:
        yield f"last layer, {_short(found.layers[-1])}: {_number(found.overall[-1])} dB over all shifts"
    yield f"{_time(found.seconds)} on {found.device}"


def _quality(quality: Quality) -> Iterable[str]:
    yield f"Quality of the pictures of {_short(quality.objective)} in {_short(quality.model)}: " + (
        _many(len(quality.units), "unit"))
    means = [f"{name.replace('_', ' ')} {value:.2g}" for name, value in quality.means().items() if value is not None]
    if means:
        yield f"means: {', '.join(means)}"
    if quality.transfer is not None:
        yield f"{_percent(quality.transfer)} named right by the judge, {_short(quality.judge or MISSING)}"
    if quality.exceeds_real is not None:
        yield f"{_percent(quality.exceeds_real)} of the units are excited more than by any real image"
    yield f"{quality.seconds_per_unit:.2g} s a unit"


def _neighbors(found: Neighbors) -> Iterable[str]:
    yield (f"Neighbors of {_short(found.objective)} in {_short(found.model)}: the {found.top_index.shape[1]} best "
           f"images of each of {_many(len(found.units), 'unit')}")
    yield f"{found.words} {_short(found.dataset)}."
    yield f"largest activation of a unit {_span(found.maximum)}"
    yield f"{_time(found.seconds)} on {found.device}"


def _units(table: UnitTable) -> Iterable[str]:
    yield (f"Units of {_short(table.model)} on {_short(table.dataset)}: {_many(table.images, f'{table.split} image')}, "
           f"{_many(len(table.rows), 'layer')}")
    for row in table.layers[:LINES - 1]:
        sparse = f", {_percent(row.sparsity)} of activations not above zero" if row.sparsity is not None else ""
        yield f"{_short(row.layer)}: {_many(row.units, 'unit')}, {len(row.dead)} dead, {row.repeated} doubled{sparse}"


def _small_values(record: Record) -> Iterable[str]:
    """A line with the kind, one with the small values that are a word or a number."""
    yield f"Result of kind {record.kind!r}"
    values = {field.name: getattr(record, field.name) for field in fields(record) if field.name not in record.arrays}
    yield ", ".join(f"{name} {value}" for name, value in values.items() if isinstance(value, str | int | float))


_LINES: dict[type[Record], Callable[[Any], Iterable[str]]] = {
    Attribution: _attribution, Audit: _audit, Equivariance: _equivariance, Evaluation: _evaluation,
    Neighbors: _neighbors, Quality: _quality, Synthesis: _synthesis, TrainResult: _training,
    UnitTable: _units,
}


def _short(text: str, width: int = 60) -> str:
    """`text` on one line, without characters that a terminal would obey, cut where it is long."""
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    return line if len(line) <= width else line[:width - 1].rstrip() + "…"


def _percent(share: float | None) -> str:
    return f"{100 * share:.1f} %" if share is not None and math.isfinite(share) else MISSING


def _number(value: float | None) -> str:
    return f"{value:.3g}" if value is not None and math.isfinite(value) else MISSING


def _time(seconds: float) -> str:
    """A time span: "0.42 s", "1:15"."""
    if not math.isfinite(seconds):
        return MISSING
    return f"{seconds:.2g} s" if seconds < 10 else duration(seconds)


def _many(count: int, word: str) -> str:
    """A count with its word: "1 image", "10,000 images"."""
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def _span(values: np.ndarray | Sequence[float]) -> str:
    """The least and the largest finite value: "1.5 to 20", "3" where they are alike."""
    finite = np.asarray(values, float)[np.isfinite(values)]
    if not len(finite):
        return MISSING
    low, high = _number(finite.min()), _number(finite.max())
    return low if low == high else f"{low} to {high}"
