"""Proofs that a model's outputs are the same at all placements, so that one placement suffices."""

from shiftscope.dense.invariance_proof.prove import Proof, prove_invariance

__all__ = ["Proof", "prove_invariance"]
