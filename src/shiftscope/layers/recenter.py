"""Recentering: find the object on its canvas and show it at a fixed position.

The network behind it is then translation-invariant bit for bit, because it gets the same pixels. This is a baseline
that must be declared as one: the background must be known, and noise on it moves or enlarges the bounding box.
"""

import torch
from torch import nn

from shiftscope.errors import UsageError, require
from shiftscope.layers.common import exported_as_one_node
from shiftscope.layers.ties import break_ties, tied

LEVELS = 255
"""Pixel weights are integers in these steps, so that sums are exact in any order."""


def occupied_arcs(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the possible starts of the shortest arc that holds all True values on a circle, and its length.

    Args:
        values: bool (B, N).

    Returns:
        bool (B, N), several starts if the longest gaps are equally long; int64 (B,). Without True values there is no
        start, and the length is 0.

    Example:
        >>> occupied_arcs(torch.tensor([[True, False, False, False, True]]))
        (tensor([[False, False, False, False,  True]]), tensor([2]))
    """
    size = values.shape[1]
    index = torch.arange(2 * size, device=values.device)
    twice = torch.cat((values, values), 1)
    last = torch.where(twice, index, -1).cummax(1).values  # the last True value up to each position
    before = last.roll(1, 1)[:, size:]  # the last one before each position of the second round
    gap = torch.where(values, index[size:] - before - 1, -1)  # number of False values before each True one
    largest = gap.amax(1, keepdim=True)
    return values & (gap == largest), (size - largest[:, 0]).masked_fill(largest[:, 0] < 0, 0)


def select_origin(candidates: torch.Tensor, pixels: torch.Tensor) -> torch.Tensor:
    """Return one candidate position per image, int64 (B, 2): the one from which the torus, read in rows, is largest.

    Images are compared value by value, in steps of 1/255. Candidates that tie in all values show the same image, so
    the selection commutes with shifts. (0, 0) if there are no candidates.

    Args:
        candidates: bool (B, H, W).
        pixels: (B, C, H, W).
    """
    height, width = pixels.shape[2:]
    flat = candidates.flatten(1)
    first = flat.to(torch.uint8).argmax(1)
    rows = tied(flat).nonzero()[:, 0]
    if len(rows):
        bases = 256.0 ** (torch.arange(pixels.shape[1], device=pixels.device) % 6)  # digits: exact in float64
        values = ((pixels[rows].double() * LEVELS).round() * bases.double()[:, None, None]).sum(1)
        keys = (values.roll((-y, -x), (1, 2)).flatten(1) for y in range(height) for x in range(width))
        first[rows] = break_ties(flat[rows], keys, 0.0)
    return torch.stack((first // width, first % width), 1)


def box_corners(pixels: torch.Tensor, size: tuple[int, int], background: float) -> torch.Tensor:
    """Return the corner of the window of `size` that is centered on the bounding box of all non-background pixels.

    Args:
        pixels: (B, C, H, W).

    Returns:
        int64 (B, 2), from 0 to H - 1 and W - 1; windows may wrap around. (0, 0) for an empty canvas.
    """
    occupied = (pixels != pixels.new_tensor(background)).any(1)  # (B, H, W)
    (rows, height), (columns, width) = occupied_arcs(occupied.any(2)), occupied_arcs(occupied.any(1))
    first = select_origin(rows[:, :, None] & columns[:, None], pixels)
    length = torch.stack((height, width), 1)
    margin = torch.div(torch.tensor(size, device=pixels.device) - length, 2, rounding_mode="floor")
    corners = (first - margin) % torch.tensor(pixels.shape[2:], device=pixels.device)
    return corners * (length > 0)


def heaviest_corners(pixels: torch.Tensor, size: tuple[int, int], background: float) -> torch.Tensor:
    """Return the corner of the window of `size` with the largest sum of differences from the background, int64 (B, 2).

    Ties are broken by how close the differences are to the middle, then by their position up and left, then value by
    value. All sums are sums of integers, so the result commutes with shifts exactly.

    Args:
        pixels: (B, C, H, W) in [0, 1].
    """
    difference = (pixels - pixels.new_tensor(background)).abs().double()
    weight = (difference * LEVELS).round().sum(1)  # (B, H, W)

    def moment(down: int, right: int) -> torch.Tensor:
        """Sum over each window, by its corner, of weight times powers of twice the distance from its middle."""
        values = weight
        for axis, power in ((1, down), (2, right)):
            n = size[axis - 1]
            values = sum(((values.roll(-place, axis) * float((2 * place - n + 1) ** power)) for place in range(n)),
                         torch.zeros_like(values))
        return values

    candidates = torch.ones_like(weight, dtype=torch.bool)
    for score in (moment(0, 0), -moment(2, 0) - moment(0, 2), moment(1, 0), moment(0, 1)):
        best = score.masked_fill(~candidates, -torch.inf).amax((1, 2), keepdim=True)
        candidates &= score == best
    return select_origin(candidates, pixels) * (weight.sum((1, 2)) > 0)[:, None]


def windows_at(pixels: torch.Tensor, corners: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Return the window (B, C, h, w) at each corner (B, 2); windows wrap around."""
    batch, channels, height, width = pixels.shape
    rows = (torch.arange(size[0], device=pixels.device) + corners[:, :1]) % height  # (B, h)
    columns = (torch.arange(size[1], device=pixels.device) + corners[:, 1:]) % width
    index = (rows[:, :, None] * width + columns[:, None]).flatten(1)[:, None].expand(batch, channels, -1)
    return pixels.flatten(2).gather(2, index).view(batch, channels, *size)


@exported_as_one_node("recenter", lambda pixels, height, width, *_: pixels.new_empty(*pixels.shape[:2], height, width))
def recenter(pixels: torch.Tensor, height: int, width: int, background: float, robust: bool) -> torch.Tensor:
    """Return the window (B, C, height, width) around the object of each image, see `Recenter`."""
    size = (height, width)
    return windows_at(pixels, (heaviest_corners if robust else box_corners)(pixels, size, background), size)


class Recenter(nn.Module):
    """Show the object in the middle of a window, wherever on the (circular) canvas it is.

    Exact in the modes canvas (the whole image on an empty canvas of the constant `background`) and circular: all
    placements of an image give equal tensors. Not exact in mode crop, where parts of the image leave the canvas, nor
    with a textured or noisy background, to which the robust form is less sensitive.

    Args:
        size: (h, w) of the window; None: the size of the canvas.
        background: pixel value in [0, 1] of an empty canvas.
        robust: False: center the bounding box of all pixels that differ from the background. True: show the window with
            the largest total difference, in steps of 1/255; single noisy pixels hardly move it.

    Raises:
        UsageError: if size or background is out of range; (in forward) if the window is larger than the canvas.

    Example:
        >>> canvas = torch.zeros(1, 1, 5, 6)
        >>> canvas[..., 4, 1:3] = 1
        >>> Recenter((3, 4))(canvas)
        tensor([[[[0., 0., 0., 0.],
                  [0., 1., 1., 0.],
                  [0., 0., 0., 0.]]]])
    """

    def __init__(self, size: tuple[int, int] | None = None, *, background: float = 0.0, robust: bool = False):
        super().__init__()
        require(size is None or (len(size) == 2 and min(size) >= 1), "size", size, "two positive integers")
        require(0 <= background <= 1, "background", background, "a pixel value in [0, 1]")
        self.size, self.background, self.robust = size, background, robust

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        height, width = self.size or tuple(pixels.shape[2:])
        if height > pixels.shape[2] or width > pixels.shape[3]:
            raise UsageError(f"a window of {height} x {width} does not fit on a canvas of {pixels.shape[2]} x "
                             f"{pixels.shape[3]}: choose a smaller window or a larger canvas")
        return recenter(pixels, height, width, self.background, self.robust)

    def extra_repr(self) -> str:
        return f"size={self.size}, background={self.background}, robust={self.robust}"
