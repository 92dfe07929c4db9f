"""Sizes, shift mode and offsets of placements, as a record that does not need torch.

Three modes, with image (h, w), canvas (H, W) and offset (dy, dx):

canvas    the image's top-left corner is at row dy, column dx; 0 <= dy <= H-h, 0 <= dx <= W-w
circular  the image is centered, at ((H-h)//2, (W-w)//2), then the canvas is rolled by (dy, dx); 0 <= dy < H
crop      the image is larger than the canvas, which is its window with top-left corner (dy, dx); 0 <= dy <= h-H

+dy is down, +dx is right. `shiftscope.placement.Placement` adds pixels and background textures, which need torch.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal, Self, get_args

import numpy as np

from shiftscope.errors import CheckpointError, UsageError, require
from shiftscope.settings import Mode

MOST_PIXELS = 2**24
"""Largest number of pixels of an image or a canvas. Sizes can come from a file."""

Size = tuple[int, int]
Offset = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """The placements of images of one size on canvases of one size.

    Args:
        image: (h, w), pixels.
        canvas: (H, W), pixels.
        mode: "canvas", "circular" or "crop", see the module docstring.
        background: pixel value (0 to 255) of the empty canvas, or "texture".
        max_shift: keep offsets at most this many pixels from the middle, in each direction.
        step: keep every `step`-th offset, counted from the middle.
        offset_list: keep only these offsets, in this order; they must include the middle.
        reference: the offset that other placements are compared with (default: that of the centered image).

    Raises:
        UsageError: the image does not fit on the canvas (mode "crop": the canvas does not fit in the image), or an
            offset is out of range.

    Example:
        >>> geometry = Geometry(image=(28, 28), canvas=(56, 56), step=14)
        >>> geometry.middle, geometry.count, geometry.offsets[:3].tolist()
        ((14, 14), 9, [[0, 0], [0, 14], [0, 28]])
        >>> Geometry.from_dict(geometry.to_dict()) == geometry
        True
    """

    image: Size
    canvas: Size
    mode: Mode = "canvas"
    background: int | Literal["texture"] = 0
    max_shift: int | None = None
    step: int = 1
    offset_list: tuple[Offset, ...] | None = None
    reference: Offset | None = None

    def __post_init__(self) -> None:
        for name in ("image", "canvas"):
            check_size(name, getattr(self, name))
        require(self.mode in get_args(Mode), "mode", self.mode, "canvas, circular or crop")
        require(self.background == "texture" or _is_integer(self.background, 0, 255), "background", self.background,
                "a pixel value from 0 to 255")
        require(_is_integer(self.step, 1), "step", self.step, "an integer of at least 1")
        require(self.max_shift is None or _is_integer(self.max_shift, 0), "max_shift", self.max_shift,
                "an integer of at least 0")
        self._check_sizes()
        self._check_offsets()

    def _check_sizes(self) -> None:
        (h, w), (H, W) = self.image, self.canvas
        if self.mode == "crop" and (H > h or W > w):
            raise UsageError(f"mode crop needs an image at least as large as the canvas: the image is {h} x {w}, the "
                             f"canvas {H} x {W}; choose a smaller canvas or the mode canvas")
        if self.mode != "crop" and (h > H or w > W):
            raise UsageError(f"the image does not fit: it is {h} x {w}, the canvas {H} x {W}; choose a canvas of at "
                             f"least {h} x {w}, smaller images (--image-size H W, image_size=), or the mode crop")

    def _check_offsets(self) -> None:
        rows, columns = self.limits
        given = [*(self.offset_list or ()), *([] if self.reference is None else [self.reference])]
        for offset in given:
            require(_is_pair(offset, least=0) and offset[0] < rows and offset[1] < columns, "offset", offset,
                    f"from (0, 0) to ({rows - 1}, {columns - 1})")
        if self.offset_list is not None:
            listed = set(self.offset_list)
            require(len(listed) == len(self.offset_list) and self.middle in listed, "offset_list",
                    f"{len(self.offset_list)} offsets", f"distinct offsets that include {self.middle}")

    @property
    def limits(self) -> Size:
        """Number of possible values of dy and of dx, which start at 0."""
        if self.mode == "circular":
            return self.canvas
        (h, w), (H, W) = self.image, self.canvas
        return abs(H - h) + 1, abs(W - w) + 1

    @property
    def start(self) -> Offset:
        """Row and column of the centered image's top-left corner on the canvas (mode crop: of the middle window)."""
        (h, w), (H, W) = self.image, self.canvas
        return abs(H - h) // 2, abs(W - w) // 2

    @property
    def middle(self) -> Offset:
        """The reference offset (default: that of the centered image)."""
        if self.reference is not None:
            return self.reference
        return (0, 0) if self.mode == "circular" else self.start

    def signed(self, values: np.ndarray, axis: int) -> np.ndarray:
        """Return values of dy (axis 0) or dx (axis 1) for display: in circular mode, from -size/2 to size/2.

        >>> Geometry(image=(2, 2), canvas=(4, 5), mode="circular").signed(np.arange(5), 1).tolist()
        [0, 1, 2, -2, -1]
        """
        size = self.canvas[axis]
        return np.where(values > size // 2, values - size, values) if self.mode == "circular" else values

    def shifts(self, values: np.ndarray, axis: int) -> np.ndarray:
        """Return the shift in pixels from the middle for values of dy (axis 0) or dx (axis 1)."""
        away, size = values - self.middle[axis], self.canvas[axis]
        if self.mode != "circular":
            return away
        away = away % size
        return np.where(away > size // 2, away - size, away)

    def _axis(self, axis: int) -> np.ndarray:
        values = np.arange(self.limits[axis])
        return values[self._keeps(self.shifts(values, axis))]

    def _keeps(self, shifts: np.ndarray) -> np.ndarray:
        keep = shifts % self.step == 0
        return keep if self.max_shift is None else keep & (np.abs(shifts) <= self.max_shift)

    @cached_property
    def axes(self) -> tuple[np.ndarray, np.ndarray]:
        """All values of dy and of dx in increasing order, int64. Without `offset_list`, their product is the
        placements."""
        if self.offset_list is None:
            return self._axis(0), self._axis(1)
        return np.unique(self.offsets[:, 0]), np.unique(self.offsets[:, 1])

    @cached_property
    def offsets(self) -> np.ndarray:
        """All offsets, int64 (P, 2): row-major, or in the order of `offset_list`."""
        if self.offset_list is None:
            return _product(*self.axes)
        listed = np.array(self.offset_list, np.int64).reshape(-1, 2)
        keep = self._keeps(self.shifts(listed[:, 0], 0)) & self._keeps(self.shifts(listed[:, 1], 1))
        return listed[keep]

    @property
    def count(self) -> int:
        """Number of placements."""
        rows, columns = self.axes
        return len(rows) * len(columns) if self.offset_list is None else len(self.offsets)

    @property
    def is_grid(self) -> bool:
        """True if the placements are all pairs of a dy and a dx, in row-major order."""
        return self.offset_list is None or np.array_equal(self.offsets, _product(*self.axes))

    def column(self, offsets: np.ndarray) -> int | None:
        """Return the index of the middle among offsets (P, 2), None if it is not included."""
        found = np.flatnonzero((np.asarray(offsets) == self.middle).all(1))
        return int(found[0]) if len(found) else None

    def to_dict(self) -> dict[str, Any]:
        """Return all fields and the number of placements as plain JSON."""
        values = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}
        if self.offset_list is not None:
            values["offset_list"] = [list(offset) for offset in self.offset_list]
        return values | {"placements": self.count}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Create a geometry from the output of `to_dict`.

        Raises:
            CheckpointError: a value is missing or invalid.
        """
        try:
            listed, reference = values.get("offset_list"), values.get("reference")
            return cls(image=_pair(values["image"]), canvas=_pair(values["canvas"]), mode=values["mode"],
                       background=values.get("background", 0), max_shift=values.get("max_shift"),
                       step=values.get("step", 1), reference=None if reference is None else _pair(reference),
                       offset_list=None if listed is None else tuple(map(_pair, listed)))
        except (KeyError, TypeError, ValueError, AttributeError, UsageError) as error:
            text = f"{error} is missing" if isinstance(error, KeyError) else str(error)
            raise CheckpointError(f"the placement in a file is not valid: {text}; create the file again") from error


def check_size(name: str, size: Any) -> None:
    """Raise a `UsageError` unless a size is two integers with at most `MOST_PIXELS` pixels.

    >>> check_size("canvas", (40_000, 40_000))
    Traceback (most recent call last):
    shiftscope.errors.UsageError: canvas must be at most 16,777,216 pixels in total, got (40000, 40000)
    """
    require(_is_pair(size, least=1), name, size, "two integers of at least 1 (height, width)")
    require(size[0] * size[1] <= MOST_PIXELS, name, size, f"at most {MOST_PIXELS:,} pixels in total")


def _product(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Return all pairs in row-major order, int64 (rows * columns, 2)."""
    return np.stack((np.repeat(rows, len(columns)), np.tile(columns, len(rows))), 1)


def _is_integer(value: object, least: int, most: int | None = None) -> bool:
    return (isinstance(value, int) and not isinstance(value, bool) and value >= least
            and (most is None or value <= most))


def _is_pair(value: Any, least: int) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and all(_is_integer(n, least) for n in value)


def _pair(values: Any) -> tuple[int, int]:
    first, second = values
    return first, second
