"""Answers at all placements for less than all the work: a classifier's à-trous twin, whose one pass over a field gives
the logits of every window that can be cut out of it, and the proof that all of them are the same.
"""

from shiftscope.dense.engine import DenseEngine, build_dense
from shiftscope.dense.invariance_proof import NotInvariant, Proof, prove_invariance
from shiftscope.dense.refusal import NotDense
from shiftscope.dense.shifts import placement_average

__all__ = ["DenseEngine", "NotDense", "NotInvariant", "Proof", "build_dense", "placement_average", "prove_invariance"]
