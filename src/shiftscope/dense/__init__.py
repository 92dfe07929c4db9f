"""Outputs at all placements in one pass, by a dense (à-trous) version of the model, and proofs of invariance."""

from shiftscope.dense.engine import DenseEngine, build_dense
from shiftscope.dense.invariance_proof import Proof, prove_invariance
from shiftscope.dense.shifts import placement_average
from shiftscope.dense.unsupported import NotDense, NotInvariant

__all__ = ["DenseEngine", "NotDense", "NotInvariant", "Proof", "build_dense", "placement_average", "prove_invariance"]
