"""Selection of one of several candidates that commutes with shifts, also if candidates tie.

A shift reorders the candidates, so "the first of the best" would be a different one. Ties are therefore broken by
further keys that a shift does not change. Candidates that tie in all keys are taken to have the same content.
"""

from collections.abc import Iterable

import torch


def near_best(values: torch.Tensor, candidates: torch.Tensor, margin: torch.Tensor | float) -> torch.Tensor:
    """Return which candidates are within `margin` of the largest value among them, bool (B, N).

    Args:
        values: (B, N).
        candidates: bool (B, N).
        margin: at least 0; (B, 1) or one for all.
    """
    best = values.masked_fill(~candidates, -torch.inf).amax(1, keepdim=True)
    return candidates & (values >= best - margin)


def tied(candidates: torch.Tensor) -> torch.Tensor:
    """Return which rows have more than one candidate, bool (B,)."""
    return candidates.sum(1) > 1


def break_ties(candidates: torch.Tensor, keys: Iterable[torch.Tensor], tolerance: float) -> torch.Tensor:
    """Return the index of one candidate per row, int64 (B,): the best by the keys, which are compared in order.

    Args:
        candidates: bool (B, N), at least one per row.
        keys: each (B, N), at least 0, larger is better.
        tolerance: candidates tie if a key is within this fraction of its maximum.

    Example:
        >>> break_ties(torch.tensor([[True, False, True]]), [torch.tensor([[1.0, 9.0, 2.0]])], 0.0)
        tensor([2])
    """
    if bool(tied(candidates).any()):
        for key in keys:
            best = key.masked_fill(~candidates, 0).amax(1, keepdim=True)
            candidates = near_best(key, candidates, tolerance * best)
            if not bool(tied(candidates).any()):
                break
    return candidates.to(torch.uint8).argmax(1)
