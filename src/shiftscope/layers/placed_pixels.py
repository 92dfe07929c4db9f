"""Pixels prepared before they are laid on the canvas: an image is a quarter of its canvas or less.

What a model does to every pixel alike (scaling, normalizing) gives the same numbers before and after placing; done
before, it touches the image alone. Placing then writes whole rows of the image.
"""

from collections.abc import Callable

import torch

from shiftscope.errors import require
from shiftscope.placement import Placement


def laid_in_rows(placement: Placement, device: torch.device) -> bool:
    """Return whether `prepared_canvases` serves these placements: on CPUs, one background value, images kept whole."""
    return device.type == "cpu" and placement.mode == "canvas" and isinstance(placement.background, int)


def prepared_canvases(images: torch.Tensor, offsets: torch.Tensor, placement: Placement, dtype: torch.dtype,
                      prepare: Callable[[torch.Tensor], torch.Tensor] | None = None) -> torch.Tensor:
    """Return `prepare(place(images, offsets) / 255)`, the same to the bit.

    Args:
        images: uint8 (B, C, h, w).
        offsets: int64 (B, 2).
        placement: one for which `laid_in_rows` holds.
        dtype: floating type of the pixels.
        prepare: pixels in [0, 1] -> the same shape, every position treated alike; None: nothing.

    Returns:
        (B, C, H, W).

    Raises:
        UsageError: the images are not of this placement's size.

    Example:
        >>> place = Placement(image=(1, 2), canvas=(1, 4))
        >>> white = torch.full((1, 1, 1, 2), 255, dtype=torch.uint8)
        >>> prepared_canvases(white, torch.tensor([[0, 1]]), place, torch.float32, lambda pixels: pixels - 1)
        tensor([[[[-1.,  0.,  0., -1.]]]])
    """
    require(tuple(images.shape[2:]) == placement.image, "images", tuple(images.shape),
            f"(batch, channel, {placement.image[0]}, {placement.image[1]}) for this placement")
    pixels = images.to(dtype).div_(255)
    empty = torch.full((1, images.shape[1], 1, 1), int(placement.background), dtype=dtype).div_(255)
    if prepare is not None:
        pixels, empty = prepare(pixels), prepare(empty)
    canvases = empty.expand(*images.shape[:2], *placement.canvas).contiguous()
    _write_rows(canvases, pixels, offsets)
    return canvases


def _write_rows(canvases: torch.Tensor, pixels: torch.Tensor, offsets: torch.Tensor) -> None:
    """Write each row of each image as one piece: an index a row instead of one a pixel."""
    (batch, channels, h, w), (height, width) = pixels.shape, canvases.shape[2:]
    planes = torch.arange(batch * channels).view(batch, channels, 1) * (height * width)
    corners = (offsets[:, 0] * width + offsets[:, 1]).view(batch, 1, 1)
    starts = planes + corners + torch.arange(h) * width  # (B, C, h): where each row begins in memory
    windows = canvases.as_strided((max(canvases.numel() - w + 1, 0), w), (1, 1))  # row k: w pixels from the k-th on
    windows.index_copy_(0, starts.flatten(), pixels.reshape(-1, w))
