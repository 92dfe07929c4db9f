"""Averaging a net over the shifts that its strides cannot see."""

from collections.abc import Sequence

import torch
from torch import nn

from shiftscope.errors import require
from shiftscope.layers.averaging import MeanOfViews, Of, check_of, one_tensor
from shiftscope.layers.maps import check_maps
from shiftscope.outputs import OutputType, check_output_type


def phases(stride: int) -> range:
    """Return the shifts that a stride tells apart: one of each remainder, those nearest to none.

    On a torus any of each remainder would do; an image near the rim of its canvas is wrapped around by large ones.

    >>> list(phases(4)), list(phases(3)), list(phases(2)), list(phases(1))
    ([-1, 0, 1, 2], [-1, 0, 1], [0, 1], [0])
    """
    return range(-((stride - 1) // 2), stride // 2 + 1)


class PhaseAverage(nn.Module):
    """Average a net's outputs over the circular shifts of its input, both ways, that its stride tells apart.

    A net of circular layers with strides and global pooling gives the same outputs for shifts by its total stride; the
    average over the shifts in between makes it invariant to all circular shifts. A net that is not, for instance one
    with zero padding or with a layer that reads positions, becomes less sensitive to position and no more.
    `shiftscope.dense.prove_invariance` tells the two apart where the net's graph can be followed, an audit in any case.
    Any net may be averaged without training, at stride * stride times its cost.

    Args:
        model: (B, C, H, W) -> (B, K), logits, probabilities or log-probabilities.
        stride: its total stride, one number or (rows, columns).
        of: average "probabilities" or "logits" (the outputs as they are), see `MeanOfViews`.
        output_type: what the net returns; determined in the first call unless given, and kept.

    Raises:
        UsageError: a stride below 1, an unknown `of`; (in forward) a model that does not return one tensor.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(1, 3, 2, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()).double()
        >>> repaired, x = PhaseAverage(net, 2), torch.rand(1, 1, 6, 8, dtype=torch.float64)
        >>> torch.allclose(repaired(x), repaired(x.roll((3, 5), (2, 3))), atol=1e-12)
        True

    References:
        Coifman & Donoho, "Translation-invariant de-noising", 1995 (cycle spinning over a part of the shifts).
    """

    def __init__(self, model: nn.Module, stride: int | tuple[int, int], *, of: Of = "probabilities",
                 output_type: OutputType | None = None):
        super().__init__()
        pair = tuple(stride) if isinstance(stride, Sequence) else (stride, stride)
        require(len(pair) == 2 and all(isinstance(n, int) and n >= 1 for n in pair), "stride", stride,
                "a whole number of at least 1, or one for rows and one for columns")
        check_of(of)
        self.model, self.stride = model, (pair[0], pair[1])
        self.of: Of = of
        self.output_type: OutputType | None = None if output_type is None else check_output_type(output_type)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        check_maps(pixels, "PhaseAverage")
        mean = MeanOfViews(self.of, self.output_type)
        for dy in phases(self.stride[0]):
            for dx in phases(self.stride[1]):
                view = pixels.roll((dy, dx), (2, 3))  # a copy, also where nothing moves: the net may work in place
                mean.add(one_tensor(self.model(view), self.model)[None])
        self.output_type = mean.output_type
        return mean.result()

    def extra_repr(self) -> str:
        return f"stride={self.stride}, of={self.of!r}"
