"""A classifier's à-trous twin: one pass over a field gives the logits of every window that can be cut out of it."""

from shiftscope.dense.engine import DenseEngine, build_dense
from shiftscope.dense.refusal import NotDense

__all__ = ["DenseEngine", "NotDense", "build_dense"]
