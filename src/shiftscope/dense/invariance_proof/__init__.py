"""The proof that a model's answer is the same at all placements: then one of them tells all."""

from shiftscope.dense.invariance_proof.prove import Proof, prove_invariance
from shiftscope.dense.invariance_proof.refusal import NotInvariant

__all__ = ["NotInvariant", "Proof", "prove_invariance"]
