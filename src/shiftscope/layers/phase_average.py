"""Averaging a net over the shifts that its strides cannot see."""

import copy
from collections.abc import Sequence

import torch
from torch import nn

from shiftscope.errors import require
from shiftscope.layers.averaging import MeanOfViews, Of, check_of
from shiftscope.layers.maps import check_maps

WITHIN = 1e-9
"""Difference of outputs in float64 that counts as rounding: deep nets reach 1e-12."""


def phases(stride: int) -> range:
    """Return the shifts that a stride tells apart: one of each remainder, those nearest to none.

    On a torus any of each remainder would do; an image near the rim of its canvas is wrapped around by large ones.

    >>> list(phases(4)), list(phases(3)), list(phases(2)), list(phases(1))
    ([-1, 0, 1, 2], [-1, 0, 1], [0, 1], [0])
    """
    return range(-((stride - 1) // 2), stride // 2 + 1)


class PhaseAverage(nn.Module):
    """Average a net's outputs over the circular shifts of its input, both ways, that its stride tells apart.

    A net of circular layers with strides and global pooling is indifferent to shifts by its total stride; the average
    over the shifts in between makes it indifferent to all circular shifts, exactly. A net that is not, for instance
    one with zero padding or with a layer that reads positions, becomes less sensitive and no more: `drift` and
    `is_exact` tell which. Any net may be averaged without training, at stride * stride times its cost.

    Args:
        model: (B, C, H, W) -> (B, K), logits or log-probabilities.
        stride: its total stride, one number or (rows, columns).
        of: average "probabilities" or "logits" (the outputs as they are), see `MeanOfViews`.

    Raises:
        UsageError: a stride below 1, an unknown `of`.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(1, 3, 2, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()).double()
        >>> mended, x = PhaseAverage(net, 2), torch.rand(1, 1, 6, 8, dtype=torch.float64)
        >>> mended.is_exact((1, 6, 8)), torch.allclose(mended(x), mended(x.roll((3, 5), (2, 3))), atol=1e-12)
        (True, True)

    References:
        Coifman & Donoho, "Translation-invariant de-noising", 1995 (cycle spinning over a part of the shifts).
    """

    def __init__(self, model: nn.Module, stride: int | tuple[int, int], *, of: Of = "probabilities"):
        super().__init__()
        pair = tuple(stride) if isinstance(stride, Sequence) else (stride, stride)
        require(len(pair) == 2 and all(isinstance(n, int) and n >= 1 for n in pair), "stride", stride,
                "a whole number of at least 1, or one for rows and one for columns")
        check_of(of)
        self.model, self.stride = model, (pair[0], pair[1])
        self.of: Of = of

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        check_maps(pixels, "PhaseAverage")
        mean = MeanOfViews(self.of)
        for dy in phases(self.stride[0]):
            for dx in phases(self.stride[1]):
                view = pixels.roll((dy, dx), (2, 3)) if dy or dx else pixels
                mean.add(self.model(view)[None])
        return mean.result()

    def drift(self, shape: tuple[int, int, int], *, images: int = 2, seed: int = 0) -> float:
        """Return the largest change of the net's own outputs under shifts by the stride, down and to the right.

        Tried on noise, with a copy of the net in float64 and eval mode. All that is left of shifts after averaging is
        made of these changes: 0 (but for rounding) means that the average is exact.

        Args:
            shape: (C, H, W) of the pictures.
            images: of noise.
            seed: of the noise.
        """
        model = copy.deepcopy(self.model).double().eval()
        device = next((value.device for value in (*model.parameters(), *model.buffers())), torch.device("cpu"))
        generator = torch.Generator().manual_seed(seed)
        noise = torch.rand(images, *shape, dtype=torch.float64, generator=generator).to(device)
        with torch.no_grad():
            still = model(noise)
            moved = [model(noise.roll(shift, axis)) for axis, shift in zip((2, 3), self.stride, strict=True)]
        return max(float((outputs - still).abs().max()) for outputs in moved)

    def is_exact(self, shape: tuple[int, int, int], *, within: float = WITHIN) -> bool:
        """Return whether the net is indifferent to shifts by the stride, so that the average is to all of them.

        Args:
            shape: (C, H, W) of the pictures.
            within: largest `drift` that counts as rounding.
        """
        return self.drift(shape) <= within

    def extra_repr(self) -> str:
        return f"stride={self.stride}, of={self.of!r}"
