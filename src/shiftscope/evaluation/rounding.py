"""How far two outputs may be apart by rounding alone."""

import torch

from shiftscope.outputs import is_finite, top_two

SHARE = 1e-5
"""Largest difference put down to rounding, as a share of the spread of the outputs. Sums of thousands of float32
products in another order differ by some 1e-6 of it."""

ROUNDINGS = 4
"""The same in units of the last place of the largest output: all outputs may lie far from zero and close together."""

MASK = 1e4
"""Outputs so many times as large as the usual winner are masks such as -1e9, not scores."""


def tolerance(logits: torch.Tensor, dtype: torch.dtype) -> float:
    """Return the largest difference that is put down to rounding: it scales with the outputs.

    Args:
        logits: (n, K), of the plain model. Infinite values and masks (-1e9 and the like) do not count, nor do rows
            without a finite prediction where others have one.
        dtype: that the model computes in; below float32 its own rounding rules.

    Example:
        >>> outputs = torch.tensor([[1.0, -1.0], [-3.0, 3.0]])
        >>> tolerance(outputs, torch.float32) == SHARE * 3, tolerance(1e-6 * outputs, torch.float32) < 1e-10
        (True, True)
    """
    values = logits.detach().cpu().double()
    rows = values[is_finite(values)] if len(values) else values
    if not len(rows):  # no prediction is finite: the finite values give the scale
        rows = values.masked_fill(~values.isfinite(), 0)
    _, best, second = top_two(rows)
    winners = torch.maximum(best.abs(), second.masked_fill(second.isinf(), 0).abs())
    winners = winners[winners > 0]
    if not winners.numel():
        return 0.0
    live = rows.abs() <= MASK * winners.median()
    largest = float(rows.abs().masked_fill(~live, 0).max())
    mean = rows.masked_fill(~live, 0).sum(1, keepdim=True) / live.sum(1, keepdim=True)
    spread = float((rows - mean).abs().masked_fill(~live, 0).max())
    return max(SHARE * spread, ROUNDINGS * torch.finfo(dtype).eps * largest)
