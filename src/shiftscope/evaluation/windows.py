"""Many placements of the same images at once, each read out of one larger picture."""

import math
from collections.abc import Sequence

import torch

from shiftscope.models.forward import to_pixels
from shiftscope.placement import Placement


class Windows:
    """Reads placements as windows of the images' fields (`Placement.field`), which is many times faster than laying.

    A field is first cut into strips: one for each column at which a window begins, as wide as a window. In a strip a
    window is one block of memory, whatever its row, so that reading it is plain copying.

    Args:
        placement: one that has fields.
        offsets: int64 (P, 2), the placements that may be asked for.
        channels_last: memory layout of what is read.

    Attributes:
        columns: int64, where strips begin on a field, rising.
        rows: first and last row of a field that a window reaches, the last one not included.

    Example:
        >>> place = Placement(image=(1, 2), canvas=(2, 3))
        >>> images = torch.tensor([[[[51, 255]]]], dtype=torch.uint8)
        >>> windows = Windows(place, place.offsets())
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
        self.index = column * (self.rows[1] - first) + corners[:, 0] - first  # (P,), the rows of an image's strips

    def values(self, channels: int) -> int:
        """Return the number of pixels in the strips of one image."""
        return channels * len(self.columns) * (self.rows[1] - self.rows[0]) * self.placement.canvas[1]

    def strips(self, images: torch.Tensor, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        """Return the strips of images, pixels in [0, 1]: (B, C, columns, rows, W, 1), channels last (B, 1, ..., W, C).

        Args:
            images: uint8 (B, C, h, w).
            dtype: of the pixels.
        """
        field = to_pixels(self.placement.field(images)[:, :, self.rows[0]:self.rows[1]], dtype)
        found = field.unfold(3, self.placement.canvas[1], 1).index_select(3, self.columns)  # (B, C, rows, columns, W)
        order = (0, 3, 2, 4, 1) if self.channels_last else (0, 1, 3, 2, 4)
        found = found.permute(*order).contiguous()
        return found[:, None] if self.channels_last else found[..., None]

    def read(self, strips: torch.Tensor, which: torch.Tensor, placements: torch.Tensor) -> torch.Tensor:
        """Return canvases (n, C, H, W): of the images of numbers `which`, each at the placement of its number.

        Args:
            strips: of all images.
            which: int64 (n,), numbers of images.
            placements: int64 (n,), numbers of offsets.
        """
        images, groups, columns, rows, width, depth = strips.shape
        shape: Sequence[int] = (self.placement.canvas[0], width, depth)
        every = images * groups * columns * rows - shape[0] + 1
        blocks = strips.flatten().as_strided((every, math.prod(shape)), (width * depth, 1))
        of_group = (which[:, None] * groups + torch.arange(groups, device=which.device)) * (columns * rows)
        chosen = (of_group + self.index[placements][:, None]).flatten()  # (n * groups,)
        found = blocks.index_select(0, chosen).view(len(which), groups, *shape)
        return found[:, 0].permute(0, 3, 1, 2) if self.channels_last else found[..., 0]
