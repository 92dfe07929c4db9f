"""How photographs of any size become images of one size, as a record that data and model sources share; no torch."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Self, get_args

from shiftscope.errors import CheckpointError, UsageError, require
from shiftscope.geometry import Size, check_size
from shiftscope.settings import Interpolation, Resize

SCALE = 256 / 224
"""Default ratio of the shorter side to the crop, as in the usual evaluation of ImageNet models."""

MOST_PIXELS = 89_000_000
"""Pixels of the largest image that is decoded or scaled."""


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """How images are resized and cropped.

    Args:
        resize: "pad": scaled to fit with the aspect ratio kept, centered, and padded; "stretch": each side scaled;
            "shorter": the shorter side is scaled to `shorter_side` with the aspect ratio kept, then the center is
            cropped.
        shorter_side: pixels, for "shorter" (default: the longer side of the image size).
        crop: (height, width) of the window that a model sees when images are centered, for "shorter" (default: the
            image size). It is at most `shorter_side`.
        interpolation: "nearest", "box", "bilinear", "hamming", "bicubic" or "lanczos", as in Pillow.
        antialias: False: a reduced image is sampled without smoothing, as tensors without `antialias=True` are; for
            "nearest", "bilinear" and "bicubic". ImageNet models lose accuracy by it.
        background: pixel value of the padding, 0 to 255.

    Raises:
        UsageError: if a value is unknown, or values contradict each other.

    Example:
        >>> Preparation(resize="shorter", shorter_side=256, crop=(224, 224)).on_canvas((112, 112), "crop").shorter_side
        128
    """

    resize: Resize = "pad"
    shorter_side: int | None = None
    crop: Size | None = None
    interpolation: Interpolation = "bilinear"
    antialias: bool = True
    background: int = 0

    def __post_init__(self) -> None:
        require(self.resize in get_args(Resize), "resize", self.resize, "pad, stretch or shorter")
        require(self.interpolation in get_args(Interpolation), "interpolation", self.interpolation,
                f"one of {', '.join(get_args(Interpolation))}")
        require(self.antialias or self.interpolation in ("nearest", "bilinear", "bicubic"), "interpolation",
                self.interpolation, "nearest, bilinear or bicubic without antialias")
        if self.crop is not None:
            check_size("crop", self.crop)
        if self.shorter_side is not None:
            require(self.resize == "shorter", "resize", self.resize, "shorter with shorter_side")
            check_size("shorter_side", (self.shorter_side, self.shorter_side))
            if self.crop is not None and self.shorter_side < max(self.crop):
                raise UsageError(_too_short(self.shorter_side, "crop", self.crop))

    @classmethod
    def of(cls, source: "Preparation | None" = None, **given: Any) -> Self:
        """Return the preparation of a model's source, or the default one, with the values that are given and not None.

        A given `shorter_side` implies the resizing "shorter"; another given `resize` replaces that of the source with
        its shorter side.

        >>> Preparation.of(None, shorter_side=256, interpolation=None).resize
        'shorter'
        """
        values: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        known: dict[str, Any] = {} if source is None else vars(source)
        if "shorter_side" in values:
            values = {"resize": "shorter", "crop": None} | values
        if values.get("resize", known.get("resize")) != known.get("resize"):
            known = {**known, "shorter_side": None, "crop": None}
        return cls(**{**known, **values})

    @classmethod
    def of_source(cls, *, resize: int | Size | None, crop: Size | None, interpolation: Interpolation | None = None,
                  antialias: bool = True) -> Self | None:
        """Return the preparation that a model's source states; None if it states no resizing.

        Args:
            resize: length of the shorter side with the aspect ratio kept, or (height, width), not kept.
            crop: (height, width) of the crop in the middle; None: no crop.

        >>> Preparation.of_source(resize=256, crop=(224, 224), interpolation="bicubic").shorter_side
        256
        """
        if resize is None:
            return None
        kept = isinstance(resize, int)
        return cls(resize="shorter" if kept else "stretch", shorter_side=resize if kept else None, crop=crop,
                   interpolation=interpolation or "bilinear", antialias=antialias)

    def on_canvas(self, canvas: Size, mode: str) -> Self:
        """Return the preparation for a canvas of another size than `crop`: the shorter side is scaled likewise.

        Without `shorter_side` and `crop`, the shorter side is `SCALE` times the longer side of the canvas.
        """
        if self.resize != "shorter" or mode not in CENTERED:
            return self
        side = self.shorter_side
        if side is None:
            side = round(SCALE * max(canvas))
        elif self.crop not in (None, canvas):
            side = round(side * max(canvas) / max(self.crop))
        if side < max(canvas):
            raise UsageError(_too_short(side, "canvas", canvas))
        return replace(self, shorter_side=side, crop=canvas)

    def image_size(self, canvas: Size, mode: str) -> Size | None:
        """Return the (height, width) of prepared images on a canvas; None if images of any size fit.

        In mode "crop" an image is the largest centered square that every photograph contains. It is one pixel smaller
        where this lets the middle window be the same pixels as a center crop of the whole photograph.

        >>> how = Preparation(resize="shorter", shorter_side=235)
        >>> how.image_size((224, 224), "crop"), how.image_size((224, 224), "canvas")
        ((234, 234), None)
        """
        if mode == "fill":
            return canvas if self.resize == "shorter" else None
        if mode != "crop" or self.resize == "pad":
            return None
        if self.resize == "stretch":
            height, width = (round(SCALE * side) for side in canvas)
            return height, width
        side = self.shorter_side or round(SCALE * max(canvas))
        if side < max(canvas):
            raise UsageError(_too_short(side, "canvas", canvas))
        height, width = (side - (side - length) % 2 for length in canvas)
        return height, width

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as plain JSON."""
        return asdict(self) | {"crop": None if self.crop is None else list(self.crop)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Create a preparation from the output of `to_dict`.

        Raises:
            CheckpointError: a value is invalid.
        """
        try:
            crop = values.get("crop")
            return cls(**{**values, "crop": None if crop is None else tuple(crop)})
        except (TypeError, ValueError, UsageError) as error:
            raise CheckpointError(f"the preparation of images in a file is not valid: {error}; create the file again"
                                  ) from error


PADDED = Preparation()
"""The default, except for photographs in mode "crop"."""

CENTERED = ("crop", "fill")
"""Modes in which the canvas is a window of a photograph."""


def _too_short(side: int, name: str, size: Size) -> str:
    return (f"shorter_side must be at least the longer side of the {name}, {size[0]} x {size[1]} (height x width), got "
            f"{side}: choose a larger --shorter-side or a smaller {name}")
