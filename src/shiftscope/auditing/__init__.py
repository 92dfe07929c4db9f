"""Audits over all placements, comparisons of two audits, and the equivariance of layers."""

from shiftscope.auditing.audit import audit
from shiftscope.auditing.compare import compare, not_worse_checks
from shiftscope.auditing.equivariance import equivariance
from shiftscope.auditing.worst_case import worst_case

__all__ = ["audit", "compare", "equivariance", "not_worse_checks", "worst_case"]
