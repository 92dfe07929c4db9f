"""Every placement, exactly: how often a model is right, where, and how often it changes its mind."""

from shiftscope.auditing.commuting import equivariance
from shiftscope.auditing.compare import compare
from shiftscope.auditing.every_placement import audit

__all__ = ["audit", "compare", "equivariance"]
