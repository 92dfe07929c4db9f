"""Recentering: find the object on its canvas and show it at a fixed place.

Whatever follows is then indifferent to place, to the bit, for it is given the same pixels. It is a fair baseline and
must be declared as one: it needs a background that is known, and noise on the background moves or widens the box.
"""

import torch
from torch import nn

from shiftscope.errors import UsageError, require
from shiftscope.layers.ties import settled, tied

LEVELS = 255
"""Weights of pixels are whole numbers of these steps, so that sums are exact in whatever order they are taken."""


def occupied(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return where the shortest arcs that hold all that is occupied on a circle begin, and their length.

    Args:
        values: bool (B, N).

    Returns:
        bool (B, N), more than one place where the longest gaps are equally long; int64 (B,). Where nothing is occupied
        the arc has no place to begin and length 0.

    Example:
        >>> occupied(torch.tensor([[True, False, False, False, True]]))
        (tensor([[False, False, False, False,  True]]), tensor([2]))
    """
    size = values.shape[1]
    places = torch.arange(2 * size, device=values.device)
    twice = torch.cat((values, values), 1)
    last = torch.where(twice, places, -1).cummax(1).values  # the last occupied place up to each one
    before = last.roll(1, 1)[:, size:]  # the last one before each place of the second round
    gap = torch.where(values, places[size:] - before - 1, -1)  # empty places in front of each occupied one
    largest = gap.amax(1, keepdim=True)
    return values & (gap == largest), (size - largest[:, 0]).masked_fill(largest[:, 0] < 0, 0)


def first_place(left: torch.Tensor, pixels: torch.Tensor) -> torch.Tensor:
    """Return one of the places `left` of each picture, int64 (B, 2): from where the torus reads largest, row by row.

    Pictures are compared value by value, in steps of 1/255. Places that tie to the end show the same picture, so the
    choice moves along with the content. (0, 0) where no place is left.

    Args:
        left: bool (B, H, W).
        pixels: (B, C, H, W).
    """
    height, width = pixels.shape[2:]
    flat = left.flatten(1)
    first = flat.to(torch.uint8).argmax(1)
    which = tied(flat).nonzero()[:, 0]
    if len(which):
        bases = 256.0 ** (torch.arange(pixels.shape[1], device=pixels.device) % 6)  # digits: exact in float64
        values = ((pixels[which].double() * LEVELS).round() * bases.double()[:, None, None]).sum(1)
        keys = (values.roll((-y, -x), (1, 2)).flatten(1) for y in range(height) for x in range(width))
        first[which] = settled(flat[which], keys, 0.0)
    return torch.stack((first // width, first % width), 1)


def box_corners(pixels: torch.Tensor, size: tuple[int, int], background: float) -> torch.Tensor:
    """Return the corner of the window of `size` that has the box of what differs from `background` in its middle.

    Args:
        pixels: (B, C, H, W).

    Returns:
        int64 (B, 2), from 0 to H - 1 and W - 1; windows may reach around the torus. (0, 0) for an empty canvas.
    """
    there = (pixels != pixels.new_tensor(background)).any(1)  # (B, H, W)
    (rows, height), (columns, width) = occupied(there.any(2)), occupied(there.any(1))
    first = first_place(rows[:, :, None] & columns[:, None], pixels)
    length = torch.stack((height, width), 1)
    margin = torch.div(torch.tensor(size, device=pixels.device) - length, 2, rounding_mode="floor")
    corners = (first - margin) % torch.tensor(pixels.shape[2:], device=pixels.device)
    return corners * (length > 0)


def heaviest_corners(pixels: torch.Tensor, size: tuple[int, int], background: float) -> torch.Tensor:
    """Return the corner of the window of `size` that holds most of what differs from the background, int64 (B, 2).

    Windows that hold as much are told apart by how near to the middle it lies, then by which lies further up, then
    further left, then value by value. All sums are of whole numbers, so a shift of the canvas shifts the answer,
    exactly.

    Args:
        pixels: (B, C, H, W) in [0, 1].
    """
    there = (pixels - pixels.new_tensor(background)).abs().double()
    weight = (there * LEVELS).round().sum(1)  # (B, H, W)
    moments = _Moments(weight, size)
    left = torch.ones_like(weight, dtype=torch.bool)
    spread = moments.of(2, 0) + moments.of(0, 2)
    for score in (moments.of(0, 0), -spread, moments.of(1, 0), moments.of(0, 1)):
        best = score.masked_fill(~left, -torch.inf).amax((1, 2), keepdim=True)
        left &= score == best
    return first_place(left, pixels) * (weight.sum((1, 2)) > 0)[:, None]


class _Moments:
    """Sums over each window of a torus, of weight times powers of twice the distance from the window's middle."""

    def __init__(self, weight: torch.Tensor, size: tuple[int, int]):
        self.weight, self.size = weight, size

    def of(self, down: int, right: int) -> torch.Tensor:
        """Return the moment of each window by its corner, float64 (B, H, W)."""
        return self._along(self._along(self.weight, 1, down), 2, right)

    def _along(self, values: torch.Tensor, axis: int, power: int) -> torch.Tensor:
        n = self.size[axis - 1]
        result = torch.zeros_like(values)
        for place in range(n):
            result += values.roll(-place, axis) * float((2 * place - n + 1) ** power)
        return result


def windows_at(pixels: torch.Tensor, corners: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Return the window (B, C, h, w) at each corner (B, 2); beyond a side of the canvas it shows the other side."""
    batch, channels, height, width = pixels.shape
    rows = (torch.arange(size[0], device=pixels.device) + corners[:, :1]) % height  # (B, h)
    columns = (torch.arange(size[1], device=pixels.device) + corners[:, 1:]) % width
    places = (rows[:, :, None] * width + columns[:, None]).flatten(1)[:, None].expand(batch, channels, -1)
    return pixels.flatten(2).gather(2, places).view(batch, channels, *size)


def recentered(pixels: torch.Tensor, size: tuple[int, int], background: float, robust: bool) -> torch.Tensor:
    """Return the window of `size` around the object of each picture, see `Recenter`."""
    corners = (heaviest_corners if robust else box_corners)(pixels, size, background)
    return windows_at(pixels, corners, size)


@torch.library.custom_op("shiftscope::recenter", mutates_args=())
def _as_one_node(pixels: torch.Tensor, height: int, width: int, background: float, robust: bool) -> torch.Tensor:
    return recentered(pixels, (height, width), background, robust)


@_as_one_node.register_fake
def _shape_alone(pixels: torch.Tensor, height: int, width: int, background: float, robust: bool) -> torch.Tensor:
    return pixels.new_empty(pixels.shape[0], pixels.shape[1], height, width)


class Recenter(nn.Module):
    """Show the object in the middle of a window, wherever on the canvas (a torus) it lies.

    Exact in the modes canvas (the image wholly on an empty canvas of the constant `background`) and circular: all
    placements of an image give equal tensors. Not in mode crop, where parts of the image leave the canvas, and not
    with a textured or noisy background, to which the robust form is less sensitive.

    Args:
        size: (h, w) of the window; None: the canvas's own.
        background: of an empty canvas, as a pixel in [0, 1].
        robust: False: the middle of the bounding box of all that differs from the background; True: the window that
            holds most of the difference, in steps of 1/255, which single noisy pixels hardly move.

    Raises:
        UsageError: (in forward) the window is larger than the canvas.

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
        require(size is None or (len(size) == 2 and min(size) >= 1), "size", size, "two whole numbers of at least 1")
        require(0 <= background <= 1, "background", background, "a pixel in [0, 1]")
        self.size, self.background, self.robust = size, background, robust

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        height, width = self.size or tuple(pixels.shape[2:])
        if height > pixels.shape[2] or width > pixels.shape[3]:
            raise UsageError(f"a window of {height} x {width} does not fit on a canvas of {pixels.shape[2]} x "
                             f"{pixels.shape[3]}: recenter to a smaller window, or use a larger canvas")
        if torch.compiler.is_exporting():
            return torch.ops.shiftscope.recenter(pixels, height, width, self.background, self.robust)
        return recentered(pixels, (height, width), self.background, self.robust)

    def extra_repr(self) -> str:
        return f"size={self.size}, background={self.background}, robust={self.robust}"
