"""Tables of results, models and units as plain text cells."""

from collections.abc import Sequence
from dataclasses import dataclass

from shiftscope.progress import duration
from shiftscope.reporting.audit_grid import audit_title, describe_audits
from shiftscope.reporting.controls import PLACEMENTS, ControlCell, find_cell, mean_and_spread, models_of
from shiftscope.reporting.formatting import (
    MISSING,
    accuracy_change,
    count,
    is_finite,
    model_title,
    percent,
    percent_spread,
)
from shiftscope.results import Audit, Evaluation, ParameterRow, TrainResult, UnitRow


@dataclass(frozen=True)
class ModelRow:
    """Row of the results table: one model and training placement, with mean and standard deviation over its seeds."""

    model: str
    title: str
    trained: str
    seeds: int
    parameters: str
    epochs: str
    seconds: str
    rate: str
    accuracy: dict[str, str]
    """By "test random", "test centered", "train random", "train centered"."""


def model_rows(training: Sequence[TrainResult], evaluations: Sequence[Evaluation]) -> list[ModelRow]:
    """Return a row for each model and training placement, in the order of `training`, then of `evaluations`."""
    keys = [(result.model, result.trained) for result in (*training, *evaluations)]
    return [_model_row(*key, [result for result in training if (result.model, result.trained) == key],
                       [result for result in evaluations if (result.model, result.trained) == key])
            for key in dict.fromkeys(keys)]


def _model_row(model: str, trained: str, training: list[TrainResult], evaluations: list[Evaluation]) -> ModelRow:
    accuracy = {}
    for split in ("test", "train"):
        for placement in ("random", "centered"):
            values = [result.accuracy[placement] for result in evaluations if result.split == split]
            accuracy[f"{split} {placement}"] = percent_spread(*mean_and_spread(values)) if values else MISSING
    first = training[0] if training else None
    seconds = [result.train_seconds for result in training]
    rates = [result.images_per_second for result in training]
    return ModelRow(
        model=model, title=model_title(model), trained=trained, accuracy=accuracy,
        seeds=len({result.seed for result in training or evaluations}),
        parameters=count(first.parameters) if first else MISSING, epochs=count(first.epochs) if first else MISSING,
        seconds=duration(sum(seconds) / len(seconds)) if seconds else MISSING,
        rate=count(sum(rates) / len(rates)) if rates else MISSING)


@dataclass(frozen=True)
class ControlRow:
    """Row of the comparison of training and test placements: one model and training placement that was measured."""

    title: str
    trained: str
    centered: str
    random: str
    change: str


def control_rows(cells: Sequence[ControlCell]) -> list[ControlRow]:
    """Return the measured rows of each model."""
    return [_control_row(cells, model, trained) for model in models_of(cells) for trained in PLACEMENTS
            if any(find_cell(cells, model, trained, tested) for tested in PLACEMENTS)]


def _control_row(cells: Sequence[ControlCell], model: str, trained: str) -> ControlRow:
    centered, random = (find_cell(cells, model, trained, tested) for tested in PLACEMENTS)
    change = accuracy_change(centered.mean - random.mean) if centered and random else MISSING
    texts = [percent_spread(cell.mean, cell.spread) if cell else MISSING for cell in (centered, random)]
    return ControlRow(title=model_title(model), trained=trained, centered=texts[0], random=texts[1], change=change)


def unmeasured_controls(cells: Sequence[ControlCell]) -> list[str]:
    """Return the models without the training placement "centered", if another model has it.

    >>> unmeasured_controls([ControlCell("a", "centered", "centered", 0.5), ControlCell("b", "random", "random", 0.5)])
    ['b']
    """
    centered = {cell.model for cell in cells if cell.trained == "centered"}
    return [model_title(model) for model in models_of(cells) if model not in centered] if centered else []


AUDIT_COLUMNS = {"Mean accuracy": "mean_accuracy", "Worst-case accuracy": "worst_case_accuracy",
                 "Top-5 accuracy": "top5_accuracy",
                 "Consistency": "consistency", "Unanimity": "unanimity", "Centered accuracy": "middle_accuracy"}
"""Headings of the audit table, and the fields below them."""


@dataclass(frozen=True)
class AuditRow:
    """Row of the audit table: one model and training placement, over its seeds."""

    model: str
    title: str
    seeds: int
    cells: list[tuple[str, str]]
    """(value, uncertainty): standard deviation over seeds, or the confidence interval if there is a single seed."""
    settings: str
    """Images, placements, exact or sampled, mode."""
    columns: list[str]
    """Headings of the cells."""

    def named_cells(self) -> dict[str, tuple[str, str]]:
        """Return the cells by their heading."""
        return dict(zip(self.columns, self.cells, strict=True))


def is_labeled(audits: Sequence[Audit]) -> bool:
    """Return True if some audit has labels, or there are none."""
    return not audits or any(audit.labeled for audit in audits)


def audit_columns(audits: Sequence[Audit]) -> list[str]:
    """Return the headings of the audit table: those of metrics that some audit has."""
    return [title for title, name in AUDIT_COLUMNS.items() if any(is_finite(getattr(one, name)) for one in audits)]


def audit_rows(audits: Sequence[Audit]) -> list[AuditRow]:
    """Return a row for each model and training placement, in the order of the audits."""
    groups: dict[tuple[str, str], list[Audit]] = {}
    columns = audit_columns(audits)
    for audit in audits:
        groups.setdefault((audit.model, audit.trained), []).append(audit)
    return [AuditRow(model=group[0].model, title=audit_title(group[0]), seeds=len(group),
                     cells=[_audit_cell(group, AUDIT_COLUMNS[title]) for title in columns], columns=columns,
                     settings=describe_audits(group[0])) for group in groups.values()]


def _audit_cell(group: Sequence[Audit], name: str) -> tuple[str, str]:
    mean, std = mean_and_spread([getattr(audit, name) for audit in group])
    if std is not None:
        return percent(mean), f"± {100 * std:.1f}"
    low, high = group[0].intervals.get(name, (None, None))
    return percent(mean), "" if low is None or high is None else f"{100 * low:.1f} to {100 * high:.1f}"


def parameter_cells(rows: Sequence[ParameterRow]) -> list[tuple[str, str, str, str, str, str]]:
    """Return the table of parameters: name, shape, count, mean, std, norm.

    >>> parameter_cells([ParameterRow("fc2.bias", (10,), 10, 0.01234, 0.5, 1.6)])
    [('fc2.bias', '10', '10', '0.0123', '0.5', '1.6')]
    """
    return [(row.name, " x ".join(map(str, row.shape)) or "1", count(row.count), f"{row.mean:.3g}",
             f"{row.std:.3g}", f"{row.norm:.3g}") for row in rows]


UNIT_COLUMNS = ("layer", "measured", "units", "dead", "duplicates", "mean activation", "zero activations")
"""Headings of `unit_cells`; the last column is the fraction of activations that the ReLU sets to zero."""

_NAMED = 4  # units listed in a cell


def unit_cells(rows: Sequence[UnitRow]) -> list[tuple[str, str, str, str, str, str, str]]:
    """Return the table of units, see `UNIT_COLUMNS`.

    >>> unit_cells([UnitRow("fc1", True, 100, (13, 68), ((2, 5),), 0.8611, 0.7)])
    [('fc1', 'after ReLU', '100', '2 (13, 68)', '1 (5 = 2)', '0.861', '70.0 %')]
    """
    return [(row.layer, "after ReLU" if row.after_relu else "raw output", count(row.units),
             _count_and_names(len(row.dead), [str(unit) for unit in row.dead]),
             _count_and_names(row.repeated, [f"{second} = {first}" for first, second in row.duplicates]),
             f"{row.mean:.3g}", MISSING if row.sparsity is None else percent(row.sparsity)) for row in rows]


def _count_and_names(total: int, names: Sequence[str]) -> str:
    shown = ", ".join(names[:_NAMED]) + (", …" if len(names) > _NAMED else "")
    return f"{total} ({shown})" if names else str(total)
