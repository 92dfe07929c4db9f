"""How a picture is described while it changes: by its pixels' logits, so that they never leave their range."""

from typing import Any

import numpy as np
import torch

from shiftscope.errors import UsageError, unknown
from shiftscope.settings import require

STARTS = ("zero", "black", "random")

_EDGE = 0.08  # black and white begin this far from the ends of the range: nearer to them a sigmoid hardly moves


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


def start_name(start: Any) -> str:
    """Return "zero", "black", "random" or "image"."""
    return start if isinstance(start, str) else "image"


def start_logits(start: Any, shape: tuple[int, int, int], count: int, *, seed: int,
                 dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Return what an ascent begins with, on the CPU.

    Args:
        start: "zero" (mid-grey everywhere), "black" (nearly), "random" (noise around mid-grey, another one for each
            picture), or one picture (C, H, W), for C = 1 also (H, W): uint8, or floats in [0, 1].
        shape: (C, H, W) of the pictures.
        count: how many, B.

    Returns:
        (B, C, H, W).

    Raises:
        UsageError: an unknown word, a picture of another size, values that are not finite or outside [0, 1].
    """
    if not isinstance(start, str):
        return to_logits(_picture(start, shape, dtype)).expand(count, *shape).clone()
    if start not in STARTS:
        raise unknown("start", start, [*STARTS, "a picture"])
    if start == "black":
        return to_logits(torch.zeros(count, *shape, dtype=dtype))
    if start == "zero":
        return torch.zeros(count, *shape, dtype=dtype)
    draw = torch.Generator().manual_seed(seed)
    return 0.5 * torch.randn(count, *shape, generator=draw, dtype=dtype)


def _picture(start: Any, shape: tuple[int, int, int], dtype: torch.dtype) -> torch.Tensor:
    picture = torch.as_tensor(np.asarray(start) if not isinstance(start, torch.Tensor) else start).detach().cpu()
    whole = picture.dtype == torch.uint8
    picture = picture.to(dtype) / (255 if whole else 1)
    if tuple(picture.shape) == shape[1:] and shape[0] == 1:
        picture = picture[None]
    if tuple(picture.shape) != shape:
        raise UsageError(f"the start picture has shape {tuple(picture.shape)}, the model takes {shape} (channels, "
                         "height, width): resize it first")
    inside = bool(((picture >= 0) & (picture <= 1)).all())  # NaN is not inside either
    require(inside, "the start picture", f"{picture.min():g} to {picture.max():g}", "pixels from 0 to 1, or uint8")
    return picture
