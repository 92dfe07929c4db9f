"""Sizes, shift mode and offsets of placements, as a record that does not need torch.

Four modes, with image (h, w), canvas (H, W) and offset (dy, dx):

canvas    the image's top-left corner is at row dy, column dx; 0 <= dy <= H-h, 0 <= dx <= W-w
circular  the image is centered, at ((H-h)//2, (W-w)//2), then the canvas is rolled by (dy, dx); 0 <= dy < H
crop      the image is larger than the canvas, which is its window with top-left corner (dy, dx); 0 <= dy <= h-H
fill      image and canvas have the same size; content that leaves is lost, and the rest is filled: with the background
          (constant), the nearest border pixel (edge), or the image mirrored at its border pixel (reflect);
          |dy| and |dx| <= max_shift, so offsets can be negative, and the unshifted image is at (0, 0)

+dy is down, +dx is right. `shiftscope.placement.Placement` adds pixels and background textures, which need torch.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any, Literal, Self, get_args

import numpy as np

from shiftscope.errors import CheckpointError, UsageError, require
from shiftscope.settings import Fill, Mode

MOST_PIXELS = 2**24
"""Largest number of pixels of an image or a canvas. Sizes can come from a file."""

Size = tuple[int, int]
Offset = tuple[int, int]

OFFSETS: dict[Mode, Callable[[int, int], range]] = {
    "canvas": lambda image, canvas: range(canvas - image + 1),
    "circular": lambda image, canvas: range(canvas),
    "crop": lambda image, canvas: range(image - canvas + 1),
    "fill": lambda image, canvas: range(1 - image, image),
}
"""Possible offsets along one axis, from the sizes of image and canvas."""

_PART = 8  # mode fill: default max_shift is the smaller side divided by this number


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """The placements of images of one size on canvases of one size.

    Args:
        image: (h, w), pixels.
        canvas: (H, W), pixels.
        mode: "canvas", "circular", "crop" or "fill", see the module docstring.
        background: pixel value (0 to 255) of the empty canvas, or "texture".
        fill: mode fill only: "constant", "edge" or "reflect" (default: constant).
        max_shift: keep offsets at most this many pixels from the middle, in each direction (default: all; mode fill
            without `offset_list`: an eighth of the smaller side, at least 1).
        step: keep every `step`-th offset, counted from the middle.
        offset_list: keep only these offsets, in this order; they must include the middle.
        reference: the offset that other placements are compared with (default: that of the centered image).

    Raises:
        UsageError: the image does not fit on the canvas (mode "crop": the canvas does not fit in the image; mode
            "fill": their sizes differ), or an offset is out of range.

    Example:
        >>> geometry = Geometry(image=(28, 28), canvas=(56, 56), step=14)
        >>> geometry.middle, geometry.count, geometry.offsets[:3].tolist()
        ((14, 14), 9, [[0, 0], [0, 14], [0, 28]])
        >>> Geometry.from_dict(geometry.to_dict()) == geometry
        True
        >>> Geometry(image=(16, 16), canvas=(16, 16), mode="fill").axes[0].tolist()
        [-2, -1, 0, 1, 2]
    """

    image: Size
    canvas: Size
    mode: Mode = "canvas"
    background: int | Literal["texture"] = 0
    max_shift: int | None = None
    step: int = 1
    offset_list: tuple[Offset, ...] | None = None
    reference: Offset | None = None
    fill: Fill | None = None

    def __post_init__(self) -> None:
        for name in ("image", "canvas"):
            check_size(name, getattr(self, name))
        require(self.mode in get_args(Mode), "mode", self.mode, "canvas, circular, crop or fill")
        require(self.background == "texture" or _is_integer(self.background, 0, 255), "background", self.background,
                "a pixel value from 0 to 255")
        require(_is_integer(self.step, 1), "step", self.step, "an integer of at least 1")
        require(self.max_shift is None or _is_integer(self.max_shift, 0), "max_shift", self.max_shift,
                "an integer of at least 0")
        self._check_sizes()
        self._check_fill()
        self._check_offsets()

    def _check_sizes(self) -> None:
        (h, w), (H, W) = self.image, self.canvas
        if self.mode == "fill" and self.image != self.canvas:
            raise UsageError(f"mode fill needs an image of the size of the canvas: the image is {h} x {w}, the canvas "
                             f"{H} x {W}; choose that canvas, other images (--image-size H W, image_size=), or the "
                             "mode canvas or crop")
        if self.mode == "crop" and (H > h or W > w):
            raise UsageError(f"mode crop needs an image at least as large as the canvas: the image is {h} x {w}, the "
                             f"canvas {H} x {W}; choose a smaller canvas or the mode canvas")
        if self.mode != "crop" and (h > H or w > W):
            raise UsageError(f"the image does not fit: it is {h} x {w}, the canvas {H} x {W}; choose a canvas of at "
                             f"least {h} x {w}, smaller images (--image-size H W, image_size=), or the mode crop")

    def _check_fill(self) -> None:
        """Check `fill`, and set the defaults of mode fill."""
        require(self.fill is None or self.mode == "fill", "fill", self.fill,
                f"None in mode {self.mode}, because only mode fill (--mode fill) fills pixels")
        if self.mode != "fill":
            return
        require(self.fill is None or self.fill in get_args(Fill), "fill", self.fill, "constant, edge or reflect")
        require(self.background != "texture", "background", self.background, "a pixel value from 0 to 255 in mode fill")
        most = min(self.image) - 1
        require(self.max_shift is None or self.max_shift <= most, "max_shift", self.max_shift,
                f"at most {most} in mode fill, less than the height and width of the images")
        object.__setattr__(self, "fill", self.fill or "constant")
        if self.max_shift is None and self.offset_list is None:
            object.__setattr__(self, "max_shift", min(max(min(self.image) // _PART, 1), most))

    def _check_offsets(self) -> None:
        rows, columns = self.ranges
        given = [*(self.offset_list or ()), *([] if self.reference is None else [self.reference])]
        for offset in given:
            require(_is_pair(offset) and offset[0] in rows and offset[1] in columns, "offset", offset,
                    f"from ({rows[0]}, {columns[0]}) to ({rows[-1]}, {columns[-1]})")
        if self.offset_list is not None:
            listed = set(self.offset_list)
            require(len(listed) == len(self.offset_list) and self.middle in listed, "offset_list",
                    f"{len(self.offset_list)} offsets", f"distinct offsets that include {self.middle}")

    @property
    def mode_label(self) -> str:
        """The mode for display, in mode fill with the fill.

        >>> Geometry(image=(9, 9), canvas=(9, 9), mode="fill", fill="edge").mode_label
        'fill (edge)'
        """
        return self.mode if self.fill is None else f"{self.mode} ({self.fill})"

    @property
    def keeps_pixels(self) -> bool:
        """True if every placement shows all pixels of the image: modes canvas and circular."""
        return self.mode in ("canvas", "circular")

    @property
    def ranges(self) -> tuple[range, range]:
        """All possible values of dy and of dx, which `max_shift`, `step` and `offset_list` may restrict."""
        return self._ranges(self.mode)

    def _ranges(self, mode: Mode) -> tuple[range, range]:
        (h, w), (H, W) = self.image, self.canvas
        return OFFSETS[mode](h, H), OFFSETS[mode](w, W)

    @property
    def limits(self) -> Size:
        """Number of possible values of dy and of dx."""
        rows, columns = self.ranges
        return len(rows), len(columns)

    @property
    def start(self) -> Offset:
        """Row and column of the centered image's top-left corner on the canvas (mode crop: of the middle window)."""
        rows, columns = self._ranges("canvas" if self.mode == "circular" else self.mode)
        return rows[(len(rows) - 1) // 2], columns[(len(columns) - 1) // 2]

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
        values = np.array(self.ranges[axis])
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

    def unrestricted(self) -> Self:
        """Return the geometry with all offsets.

        Mode fill keeps the largest shift unless it is 0, because the default of `max_shift` may be less.

        >>> Geometry(image=(2, 2), canvas=(4, 4), max_shift=0, step=2).unrestricted().count
        9
        """
        largest = self.max_shift if self.offset_list is None else int(np.abs(self.offsets - self.middle).max())
        kept = largest or None if self.mode == "fill" else None
        return replace(self, max_shift=kept, step=1, offset_list=None)

    def column(self, offsets: np.ndarray) -> int | None:
        """Return the index of the middle among offsets (P, 2), None if it is not included."""
        found = np.flatnonzero((np.asarray(offsets) == self.middle).all(1))
        return int(found[0]) if len(found) else None

    def to_dict(self) -> dict[str, Any]:
        """Return all fields (`fill` only in mode fill) and the number of placements as plain JSON."""
        values = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}
        if self.offset_list is not None:
            values["offset_list"] = [list(offset) for offset in self.offset_list]
        if self.fill is None:
            del values["fill"]  # as in files that were written before mode fill existed
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
                       step=values.get("step", 1), fill=values.get("fill"),
                       reference=None if reference is None else _pair(reference),
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
    require(_is_pair(size) and min(size) >= 1, name, size, "two integers of at least 1 (height, width)")
    require(size[0] * size[1] <= MOST_PIXELS, name, size, f"at most {MOST_PIXELS:,} pixels in total")


def _product(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Return all pairs in row-major order, int64 (rows * columns, 2)."""
    return np.stack((np.repeat(rows, len(columns)), np.tile(columns, len(rows))), 1)


def _is_integer(value: object, least: int | None = None, most: int | None = None) -> bool:
    return (isinstance(value, int) and not isinstance(value, bool) and (least is None or value >= least)
            and (most is None or value <= most))


def _is_pair(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and all(map(_is_integer, value))


def _pair(values: Any) -> tuple[int, int]:
    first, second = values
    return first, second
