"""The table of audits in the report, as plain text cells."""

from collections.abc import Sequence
from dataclasses import dataclass

from shiftscope.reporting.audit_grid import audit_title, how_audited
from shiftscope.reporting.cells import mean_and_spread
from shiftscope.reporting.wording import percent
from shiftscope.results import Audit

COLUMNS = {"Mean": "mean_accuracy", "Worst case": "worst_case_accuracy", "Consistency": "consistency",
           "Unanimity": "unanimity", "Centered": "middle_accuracy"}
"""Headings, and the figures of an audit that stand below them."""


@dataclass(frozen=True)
class AuditCell:
    """A share, and how sure it is."""

    share: str
    spread: str
    """The interval over images of one audit, the std over seeds of several, or nothing."""


@dataclass(frozen=True)
class AuditRow:
    """One line: the figures of a model trained in one way, over its seeds."""

    model: str
    title: str
    seeds: int
    cells: list[AuditCell]
    how: str
    """Images, placements, exact or sampled, mode."""


def audit_rows(audits: Sequence[Audit]) -> list[AuditRow]:
    """Return a row for each model and way of training, in the order of the first audit of each."""
    groups: dict[tuple[str, str], list[Audit]] = {}
    for audit in audits:
        groups.setdefault((audit.model, audit.trained), []).append(audit)
    return [AuditRow(model=group[0].model, title=audit_title(group[0]), seeds=len(group), how=how_audited(group[0]),
                     cells=[_cell(group, name) for name in COLUMNS.values()]) for group in groups.values()]


def _cell(group: Sequence[Audit], name: str) -> AuditCell:
    """The mean over seeds with its std: "76.7 %", "± 0.4"; of a single one the interval: "75.9 to 77.5"."""
    mean, std = mean_and_spread([getattr(audit, name) for audit in group])
    if std is not None:
        return AuditCell(percent(mean), f"± {100 * std:.1f}")
    if name not in group[0].intervals:
        return AuditCell(percent(mean), "")
    low, high = group[0].intervals[name]
    return AuditCell(percent(mean), f"{100 * low:.1f} to {100 * high:.1f}")
