"""Choosing one of several candidates so that the choice moves along with the content, ties included.

A shift reorders candidates; "the first of the best" would then be another one. Ties are settled by further keys that a
shift does not change, and what ties in all of them is the same content as far as the keys can see.
"""

from collections.abc import Iterable

import torch


def near_best(values: torch.Tensor, left: torch.Tensor, margin: torch.Tensor | float) -> torch.Tensor:
    """Return which of the candidates `left` lie within `margin` of the largest value among them.

    Args:
        values: (B, N).
        left: bool (B, N).
        margin: at least 0; (B, 1) or one for all.
    """
    best = values.masked_fill(~left, -torch.inf).amax(1, keepdim=True)
    return left & (values >= best - margin)


def tied(left: torch.Tensor) -> torch.Tensor:
    """Return in which rows more than one candidate is left, bool (B,)."""
    return left.sum(1) > 1


def settled(left: torch.Tensor, keys: Iterable[torch.Tensor], close: float) -> torch.Tensor:
    """Return the number of one candidate a row, int64 (B,): the best by the keys, looked at in order while any tie.

    Args:
        left: bool (B, N), the candidates that tie so far, at least one a row.
        keys: each (B, N), at least 0, larger is better.
        close: share of a key's best within which candidates go on tying; rounding.

    Example:
        >>> settled(torch.tensor([[True, False, True]]), [torch.tensor([[1.0, 9.0, 2.0]])], 0.0)
        tensor([2])
    """
    if bool(tied(left).any()):
        for key in keys:
            best = key.masked_fill(~left, 0).amax(1, keepdim=True)
            left = near_best(key, left, close * best)
            if not bool(tied(left).any()):
                break
    return left.to(torch.uint8).argmax(1)
