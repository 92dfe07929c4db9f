"""The table of audits in the report, as plain text cells."""

from collections.abc import Sequence
from dataclasses import dataclass

from shiftscope.reporting.audit_grid import audit_title, how_audited
from shiftscope.reporting.wording import percent
from shiftscope.results import Audit


@dataclass(frozen=True)
class AuditRow:
    """One line: a model's figures as text."""

    model: str
    title: str
    mean: str
    worst_case: str
    consistency: str
    unanimity: str
    centred: str
    how: str
    """Images, placements, exact or sampled, mode."""


def audit_rows(audits: Sequence[Audit]) -> list[AuditRow]:
    """Return a row for each audit, in their order."""
    return [AuditRow(model=audit.model, title=audit_title(audit), how=how_audited(audit),
                     mean=_figure(audit, "mean_accuracy"), worst_case=_figure(audit, "worst_case_accuracy"),
                     consistency=_figure(audit, "consistency"), unanimity=_figure(audit, "unanimity"),
                     centred=_figure(audit, "middle_accuracy")) for audit in audits]


def _figure(audit: Audit, name: str) -> str:
    """A share with its interval: "76.7 % (75.9 to 77.5)"."""
    share = percent(getattr(audit, name))
    if name not in audit.intervals:
        return share
    low, high = audit.intervals[name]
    return f"{share} ({100 * low:.1f} to {100 * high:.1f})"
