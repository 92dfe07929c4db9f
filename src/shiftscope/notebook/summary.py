"""Plain-text summaries of results, one to five lines; they need no matplotlib.

`str` of a record returns `summary`, `repr` returns `short_summary` (see `results/base.py`).
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
    WorstCase,
)

LINES, WIDTH = 5, 160
"""Maximum number and length of lines; names of models and classes may be long."""

MISSING = "–"


def summary(record: Record) -> str:
    """Return the summary of a record, with its first note if there is space."""
    lines = list(_LINES.get(type(record), _scalars)(record))
    notes = list(getattr(record, "notes", ()))
    if notes and len(lines) < LINES:
        more = f" (and {len(notes) - 1} more in .notes)" if len(notes) > 1 else ""
        lines.append(f"note: {_short(notes[0], WIDTH - 40)}{more}")
    return "\n".join(_short(line, WIDTH) for line in lines[:LINES])


def short_summary(record: Record) -> str:
    """Return the first two lines of the summary as one line; the class and its kind if a field is damaged."""
    try:
        return f"<{'; '.join(summary(record).split(chr(10))[:2])}>"
    except Exception:  # repr must not fail while an invalid record is debugged
        return f"<{type(record).__name__} (not valid: its fields do not fit together)>"


def _audit(audit: Audit) -> Iterable[str]:
    placements = f"all {audit.placements:,} placements (exact)" if audit.placements > 1 else "the only placement"
    if audit.sampled:
        placements = f"{audit.placements:,} of {audit.geometry.count:,} placements (sampled)"
    yield (f"Audit of {_short(audit.model)} on {_short(audit.dataset)}: {_count(audit.images, f'{audit.split} image')} "
           f"at {placements}, mode {audit.geometry.mode_label}{', interrupted' if audit.partial else ''}")
    stability = f"consistency {_percent(audit.consistency)}, unanimity {_percent(audit.unanimity)}"
    if not audit.labeled:
        yield f"without labels: {stability}"
        if np.isfinite(audit.agreement_map).any():
            row, column = np.unravel_index(np.nanargmin(audit.agreement_map), audit.agreement_map.shape)
            yield (f"least agreement with the middle at (dy, dx) = ({audit.rows[row]}, {audit.columns[column]}): "
                   f"{_percent(audit.agreement_map[row, column])}")
    else:
        yield (f"accuracy: mean {_percent(audit.mean_accuracy)}, worst case {_percent(audit.worst_case_accuracy)}, "
               f"centered {_percent(audit.middle_accuracy)}; {stability}")
    if np.isfinite(audit.accuracy_map).any():
        row, column = np.unravel_index(np.nanargmin(audit.accuracy_map), audit.accuracy_map.shape)
        yield (f"least accurate at (dy, dx) = ({audit.rows[row]}, {audit.columns[column]}): "
               f"{_percent(audit.accuracy_map[row, column])}")
    yield f"engine {audit.engine}, {_time(audit.seconds)} on {audit.device}{_nonfinite(audit.nonfinite, '; ')}"


def _worst_case(result: WorstCase) -> Iterable[str]:
    yield (f"Worst case of {_short(result.model)} on {_short(result.dataset)}: "
           f"{_count(result.images, f'{result.split} image')} at all {result.placements:,} placements (exact), mode "
           f"{result.mode}{', interrupted' if result.partial else ''}")
    yield (f"accuracy: worst case {_percent(result.worst_case_accuracy)}, centered {_percent(result.middle_accuracy)}; "
           f"{result.computed:,} of {result.images * result.placements:,} predictions computed")
    yield f"engine {result.engine}, {_time(result.seconds)} on {result.device}"


def _evaluation(evaluation: Evaluation) -> Iterable[str]:
    yield (f"Evaluation of {_short(evaluation.model)} on {_short(evaluation.dataset)}: "
           f"{_count(evaluation.images, f'{evaluation.split} image')}, trained {evaluation.trained}")
    accuracy = evaluation.accuracy
    yield (f"accuracy: {_percent(accuracy.get('random'))} at random placements, {_percent(accuracy.get('centered'))} "
           "centered")
    if evaluation.top5_accuracy:
        yield (f"top-5 accuracy: {_percent(evaluation.top5_accuracy['random'])} at random placements, "
               f"{_percent(evaluation.top5_accuracy['centered'])} centered")
    classes = [(value, name) for value, name in zip(evaluation.per_class.get("random", ()), evaluation.class_names,
                                                    strict=False) if value is not None and math.isfinite(value)]
    if classes:
        value, name = min(classes)
        yield f"least accurate class: {_short(name)}, {_percent(value)} at random placements"
    if evaluation.nonfinite:
        yield _nonfinite(evaluation.nonfinite)


def _training(result: TrainResult) -> Iterable[str]:
    yield (f"Training of {_short(result.model)} on {_short(result.dataset)}: {_count(result.epochs, 'epoch')}, trained "
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
           f"{_count(len(synthesis.units), 'image')} of {size}, from {synthesis.start}")
    yield f"activation {_range(synthesis.activations)}; {_range(synthesis.activations_start)} at the start"
    yield f"{_time(synthesis.seconds)} on {synthesis.device}"


def _attribution(result: Attribution) -> Iterable[str]:
    layer = f" at {_short(result.layer)}" if result.layer else ""
    yield (f"Attribution by {result.method}{layer} in {_short(result.model)}: {_count(len(result.images), 'image')}, "
           f"target {_short(result.target)}")
    labeled = result.labels >= 0
    if labeled.any():
        correct = int((result.labels == result.predictions)[labeled].sum())
        yield f"{correct} of {int(labeled.sum())} images classified correctly"
    if np.isfinite(result.residuals).any():
        yield f"largest error of the sum of a map: {np.nanmax(np.abs(result.residuals)):.2g}"
    yield f"{_time(result.seconds)} on {result.device}"


def _equivariance(result: Equivariance) -> Iterable[str]:
    yield (f"Equivariance of {_short(result.model)} on {_short(result.dataset)}: {_count(len(result.layers), 'layer')},"
           f" {_count(result.images, f'{result.split} image')}, shifts of {_range(result.shifts)} pixels, mode "
           f"{result.mode}")
    if result.loses_most is None:
        yield "no layer loses equivariance"
    else:
        drop = result.drops[result.layers.index(result.loses_most)]
        yield f"largest loss of equivariance at {_short(result.loses_most)}: {_number(drop)} dB"
    if result.layers:
        yield f"last layer, {_short(result.layers[-1])}: {_number(result.overall[-1])} dB over all shifts"
    yield f"{_time(result.seconds)} on {result.device}"


def _quality(quality: Quality) -> Iterable[str]:
    yield (f"Quality of the images of {_short(quality.objective)} in {_short(quality.model)}: "
           f"{_count(len(quality.units), 'unit')}")
    means = [f"{name.replace('_', ' ')} {value:.2g}" for name, value in quality.means().items() if value is not None]
    if means:
        yield f"means: {', '.join(means)}"
    if quality.transfer is not None:
        yield f"{_percent(quality.transfer)} classified correctly by the judge, {_short(quality.judge or MISSING)}"
    if quality.exceeds_real is not None:
        yield f"{_percent(quality.exceeds_real)} of the units have a higher activation than for any real image"
    yield f"{quality.seconds_per_unit:.2g} s per unit"


def _neighbors(result: Neighbors) -> Iterable[str]:
    yield (f"Neighbors of {_short(result.objective)} in {_short(result.model)}: the {result.top_index.shape[1]} best "
           f"images of each of {_count(len(result.units), 'unit')}")
    yield f"{result.words} {_short(result.dataset)}."
    yield f"largest activation of a unit {_range(result.maximum)}"
    yield f"{_time(result.seconds)} on {result.device}"


def _units(table: UnitTable) -> Iterable[str]:
    yield (f"Units of {_short(table.model)} on {_short(table.dataset)}: {_count(table.images, f'{table.split} image')},"
           f" {_count(len(table.rows), 'layer')}")
    for row in table.layers[:LINES - 1]:
        sparsity = f", sparsity {_percent(row.sparsity)}" if row.sparsity is not None else ""
        yield (f"{_short(row.layer)}: {_count(row.units, 'unit')}, {len(row.dead)} dead, {row.repeated} duplicate"
               f"{sparsity}")


def _scalars(record: Record) -> Iterable[str]:
    """The kind of a record and its fields that are strings or numbers."""
    yield f"Result of kind {record.kind!r}"
    values = {field.name: getattr(record, field.name) for field in fields(record) if field.name not in record.arrays}
    yield ", ".join(f"{name} {value}" for name, value in values.items() if isinstance(value, str | int | float))


_LINES: dict[type[Record], Callable[[Any], Iterable[str]]] = {
    Attribution: _attribution, Audit: _audit, Equivariance: _equivariance, Evaluation: _evaluation,
    Neighbors: _neighbors, Quality: _quality, Synthesis: _synthesis, TrainResult: _training, UnitTable: _units,
    WorstCase: _worst_case}


def _nonfinite(count: int, prefix: str = "") -> str:
    return f"{prefix}{count:,} non-finite predictions, counted as incorrect" if count else ""


def _short(text: str, width: int = 60) -> str:
    """`text` on one line of at most `width` printable characters."""
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    return line if len(line) <= width else line[:width - 1].rstrip() + "…"


def _percent(fraction: float | None) -> str:
    return f"{100 * fraction:.1f} %" if fraction is not None and math.isfinite(fraction) else MISSING


def _number(value: float | None) -> str:
    return f"{value:.3g}" if value is not None and math.isfinite(value) else MISSING


def _time(seconds: float) -> str:
    if not math.isfinite(seconds):
        return MISSING
    return f"{seconds:.2g} s" if seconds < 10 else duration(seconds)


def _count(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _range(values: np.ndarray | Sequence[float]) -> str:
    """The smallest and the largest finite value: "1.5 to 20", or "3" if they are equal."""
    finite = np.asarray(values, float)[np.isfinite(values)]
    if not len(finite):
        return MISSING
    low, high = _number(finite.min()), _number(finite.max())
    return low if low == high else f"{low} to {high}"
