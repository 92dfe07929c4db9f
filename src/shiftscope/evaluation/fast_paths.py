"""Faster ways to the same values: placements as windows of one larger image, and max pooling by slices."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from shiftscope.models.forward import to_pixels
from shiftscope.placement import Placement


class FieldWindows:
    """Reads placements as windows of the images' fields (`Placement.field`), which is much faster than placing.

    A field is first cut into strips: one for each column at which a window starts, as wide as a window. In a strip,
    a window is one block of memory at any row, so reading it is a plain copy.

    Args:
        placement: must have a field.
        offsets: int64 (P, 2), the placements to read.
        channels_last: memory layout of the canvases.

    Attributes:
        columns: int64, columns of the field at which strips start, ascending.
        rows: first row of the field that a window contains, and the row after the last one.

    Example:
        >>> place = Placement(image=(1, 2), canvas=(2, 3))
        >>> images = torch.tensor([[[[51, 255]]]], dtype=torch.uint8)
        >>> windows = FieldWindows(place, place.offsets())
        >>> windows.read(windows.strips(images), torch.tensor([0]), torch.tensor([1]))
        tensor([[[[0.0000, 0.2000, 1.0000],
                  [0.0000, 0.0000, 0.0000]]]])
    """

    def __init__(self, placement: Placement, offsets: torch.Tensor, *, channels_last: bool = False):
        self.placement, self.channels_last = placement, channels_last
        corners = placement.corners(offsets)
        self.columns, column = corners[:, 1].unique(return_inverse=True)
        first = int(corners[:, 0].min())
        self.rows = first, int(corners[:, 0].max()) + placement.canvas[0]
        self.index = column * (self.rows[1] - first) + corners[:, 0] - first  # (P,), row within the stacked strips

    def numel(self, channels: int) -> int:
        """Return the number of pixels in the strips of one image."""
        return channels * len(self.columns) * (self.rows[1] - self.rows[0]) * self.placement.canvas[1]

    def strips(self, images: torch.Tensor, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        """Return the strips of images as pixels: (B, C, columns, rows, W, 1), channels last (B, 1, ..., W, C).

        Args:
            images: uint8 (B, C, h, w).
            dtype: data type of the pixels.
        """
        field = to_pixels(self.placement.field(images)[:, :, self.rows[0]:self.rows[1]], dtype)
        strips = field.unfold(3, self.placement.canvas[1], 1).index_select(3, self.columns)  # (B, C, rows, columns, W)
        strips = strips.permute(*((0, 3, 2, 4, 1) if self.channels_last else (0, 1, 3, 2, 4))).contiguous()
        return strips[:, None] if self.channels_last else strips[..., None]

    def read(self, strips: torch.Tensor, images: torch.Tensor, placements: torch.Tensor) -> torch.Tensor:
        """Return canvases (n, C, H, W).

        Args:
            strips: of all images.
            images: int64 (n,), index of the image on each canvas.
            placements: int64 (n,), index of its offset.
        """
        count, groups, columns, rows, width, depth = strips.shape
        shape = (self.placement.canvas[0], width, depth)
        starts = count * groups * columns * rows - shape[0] + 1
        blocks = strips.flatten().as_strided((starts, math.prod(shape)), (width * depth, 1))
        first = (images[:, None] * groups + torch.arange(groups, device=images.device)) * (columns * rows)
        index = (first + self.index[placements][:, None]).flatten()  # (n * groups,)
        canvases = blocks.index_select(0, index).view(len(images), groups, *shape)
        return canvases[:, 0].permute(0, 3, 1, 2) if self.channels_last else canvases[..., 0]


class SlicedMaxPooling(TorchFunctionMode):
    """Inside a `with` block, max pooling without overlap is computed as the maximum of strided slices.

    Results are bit-identical. On one CPU core this is six times faster than torch's kernel in the contiguous layout
    and twice as fast channels-last, because no indices are computed. Other pools, those with gradients and those on
    other devices are left to torch.

    Example:
        >>> x = torch.tensor([[[[1.0, 2.0], [3.0, 0.0]]]])
        >>> with SlicedMaxPooling():
        ...     torch.nn.functional.max_pool2d(x, 2)
        tensor([[[[3.]]]])
    """

    def __torch_function__(self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (),
                           kwargs: dict[str, Any] | None = None) -> Any:
        kwargs = kwargs or {}
        is_pool = getattr(func, "__name__", "") in ("max_pool2d", "_max_pool2d")  # not adaptive_max_pool2d
        size = _slice_size(*args, **kwargs) if is_pool else None
        return func(*args, **kwargs) if size is None else _pool(args[0], *size)


def _slice_size(source: Any = None, kernel_size: Any = None, stride: Any = None, padding: Any = 0, dilation: Any = 1,
                ceil_mode: bool = False, return_indices: bool = False, **others: Any) -> tuple[int, int] | None:
    """Return the kernel size if the windows tile the map and slices are faster, else None."""
    if not isinstance(source, torch.Tensor) or source.ndim != 4 or source.device.type != "cpu" or source.requires_grad:
        return None
    size = _pair(kernel_size)
    tiles = stride is None or stride == [] or _pair(stride) == size
    plain = _pair(padding) == (0, 0) and _pair(dilation) == (1, 1) and not ceil_mode and not return_indices
    fits = source.shape[2] >= size[0] and source.shape[3] >= size[1]
    return size if tiles and plain and fits and not others and 1 < max(size) <= 4 else None


def _pair(value: Any) -> tuple[int, int]:
    height, width = (value, value) if isinstance(value, int) else (value * 2 if len(value) == 1 else value)
    return int(height), int(width)


def _pool(source: torch.Tensor, height: int, width: int) -> torch.Tensor:
    maxima = source.permute(0, 2, 3, 1)
    for axis, side in ((1, height), (2, width)):
        tiled = maxima.narrow(axis, 0, maxima.shape[axis] // side * side)
        maxima = tiled[:, ::side] if axis == 1 else tiled[:, :, ::side]
        for first in range(1, side):
            maxima = torch.maximum(maxima, tiled[:, first::side] if axis == 1 else tiled[:, :, first::side])
    return maxima.permute(0, 3, 1, 2)
