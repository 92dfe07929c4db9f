"""How a picture is described while it changes: parameters that give the logits of its pixels.

A sigmoid makes pixels of logits, so that they never leave their range, whatever the ascent does.
"""

from dataclasses import dataclass
from typing import Protocol

import torch

_EDGE = 0.08  # black and white begin this far from the ends of the range: nearer to them a sigmoid hardly moves


class Parametrization(Protocol):
    """From a start to parameters, from parameters to logits: all that an ascent needs to know of a picture."""

    def start(self, logits: torch.Tensor) -> torch.Tensor:
        """Return the parameters (B, ...) of pictures that begin with logits (B, C, H, W)."""
        ...

    def logits(self, parameters: torch.Tensor) -> torch.Tensor:
        """Return the logits (B, C, H, W) of the pictures' pixels."""
        ...

    def pull(self, parameters: torch.Tensor, slope: torch.Tensor) -> torch.Tensor:
        """Return the step (B, ...) that a slope by the logits (B, C, H, W) means for the parameters."""
        ...


@dataclass(frozen=True)
class Pixels:
    """Every pixel for itself: the parameters are the logits."""

    def start(self, logits: torch.Tensor) -> torch.Tensor:
        """Return a copy."""
        return logits.clone()

    def logits(self, parameters: torch.Tensor) -> torch.Tensor:
        """Return the parameters."""
        return parameters

    def pull(self, parameters: torch.Tensor, slope: torch.Tensor) -> torch.Tensor:
        """Return the slope."""
        return slope


def to_pixels(z: torch.Tensor) -> torch.Tensor:
    """Return pixels in [0, 1]: the sigmoid of their logits.

    >>> to_pixels(torch.zeros(1))
    tensor([0.5000])
    """
    return torch.sigmoid(z)


def to_logits(pixels: torch.Tensor) -> torch.Tensor:
    """Return the logits of pixels in [0, 1]; those near the ends are moved in, to 0.08 and 0.92.

    >>> to_pixels(to_logits(torch.tensor([0.25, 1.0])))
    tensor([0.2500, 0.9200])
    """
    return torch.logit(pixels.clamp(_EDGE, 1 - _EDGE))


def soft_window(height: int, width: int, shares: tuple[float, float]) -> torch.Tensor | None:
    """Return 1 in the middle and 0 outside, with an edge a few pixels wide, float64 (H, W); None for all of it.

    Args:
        shares: of height and width that lie inside.

    >>> soft_window(8, 8, (1.0, 1.0)) is None
    True
    """
    if min(shares) >= 1:
        return None
    rows, columns = (_inside(size, share) for size, share in zip((height, width), shares, strict=True))
    return rows[:, None] * columns


def _inside(size: int, share: float) -> torch.Tensor:
    away = (torch.arange(size, dtype=torch.float64) - (size - 1) / 2).abs()
    return torch.sigmoid(share * size / 2 - away) if share < 1 else torch.ones(size, dtype=torch.float64)


@dataclass(frozen=True)
class Frame:
    """Lays pictures on what they began with: x = ground + window * (sigmoid(z) - ground)."""

    ground: torch.Tensor
    """(B, C, H, W), the pixels that the ascent began with."""
    window: torch.Tensor | None = None
    """(H, W), how far a pixel belongs to the picture; None: all do."""

    def pixels(self, z: torch.Tensor) -> torch.Tensor:
        """Return pixels (B, C, H, W) in [0, 1]."""
        x = torch.sigmoid(z)
        return x if self.window is None else self.ground + self.window * (x - self.ground)

    def slope(self, z: torch.Tensor, by_pixels: torch.Tensor) -> torch.Tensor:
        """Return the slope by logits of something whose slope by pixels is given."""
        x = torch.sigmoid(z)
        change = x * (1 - x)
        return by_pixels * (change if self.window is None else change * self.window)

    def rows(self, chosen: torch.Tensor) -> "Frame":
        """Return the frame of some of the pictures."""
        return Frame(self.ground[chosen], self.window)
