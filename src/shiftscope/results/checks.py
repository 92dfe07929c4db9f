"""Requirements on the metrics of an audit, as records for messages, exit codes and JUnit files."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from shiftscope.results.audit import Audit
from shiftscope.results.worst_case import WorstCase

METRICS = {"mean": "mean_accuracy", "worst": "worst_case_accuracy", "consistency": "consistency",
           "unanimity": "unanimity"}
"""Metrics that a requirement may name, with the field of the audit."""

NEED_LABELS = ("mean", "worst")


@dataclass(frozen=True, kw_only=True)
class Check:
    """One requirement on a metric of an audit.

    Example:
        >>> Check(metric="worst", value=0.42, required="at least 0.5", passed=False).sentence
        'worst 0.4200, required at least 0.5'
    """

    metric: str
    """One of `METRICS`."""
    value: float
    required: str
    """The requirement in words."""
    passed: bool

    @property
    def sentence(self) -> str:
        """Metric, value and requirement."""
        return f"{self.metric} {self.value:.4f}, required {self.required}"


def threshold_checks(audit: Audit | WorstCase, minimum: Mapping[str, float]) -> list[Check]:
    """Return one check per minimum; a metric that is not known, such as an accuracy without labels, does not pass.

    Args:
        minimum: fractions from 0 to 1 by the names of `METRICS`.
    """
    values = {name: float(getattr(audit, METRICS[name])) for name in minimum}
    return [Check(metric=name, value=values[name], required=f"at least {least:g}",
                  passed=math.isfinite(values[name]) and values[name] >= least) for name, least in minimum.items()]
