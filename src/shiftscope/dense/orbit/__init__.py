"""The proof that a model's answer is the same at all placements: then one of them tells all."""

from shiftscope.dense.orbit.prove import Proof, prove_invariance
from shiftscope.dense.orbit.refusal import NotInvariant

__all__ = ["NotInvariant", "Proof", "prove_invariance"]
