"""Pixels of PIL images, tensors and arrays as uint8, by the same rules for every source of images.

An image is first read as *levels*: uint8, uint16 (integers of more than 8 bits) or floats. A `Scale` then collects the
ranges of the whole dataset and converts all of them alike. docs/how-to/own-images.md lists the rule of each PIL mode.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps

from shiftscope.errors import DataError, some_of

ORIENTATION = 0x0112
"""EXIF tag."""

_BITS = (8, 10, 12, 16)
_BYTES_FROM = 16.0
"""Floats above this are read as values from 0 to 255; floats between 1 and this are refused as ambiguous."""

_BLOCK = 2**20  # values converted at a time, to avoid a wide copy of a large image
_SHORT_GRAY = {"L;2": 85, "L;4": 17}
"""Pillow scales gray levels of 2 and 4 bits to 8 bits, but not the transparent level of the file."""


def pil_levels(image: Image.Image, what: str) -> np.ndarray:
    """Return the levels of a PIL image (C, H, W), C = 1 for gray modes, else 3; EXIF orientation is applied.

    Transparent pixels are composed on black.

    Raises:
        DataError: if the image cannot be decoded or its values are not supported; `what` names it.
    """
    try:
        raw = raw_mode(image)
        return _mode_levels(upright(image), raw, what)
    except DataError:
        raise
    except Exception as error:  # decoders raise errors of many kinds
        raise DataError(f"{what} is not a readable image: {one_line(error)}; replace or remove it") from error


def upright(image: Image.Image) -> Image.Image:
    """Return an image with its pixels decoded and its EXIF orientation applied."""
    image.load()
    return ImageOps.exif_transpose(image) if image.getexif().get(ORIENTATION, 1) != 1 else image


def is_plain(image: Image.Image) -> bool:
    """Return True if the levels of an image that is not decoded yet are its 8-bit pixels: gray or RGB, all opaque."""
    return image.mode in ("L", "RGB") and "transparency" not in image.info and not is_deep(image)


def one_line(error: Exception) -> str:
    """Return the message of an error on one line of at most 150 characters."""
    return " ".join((str(error) or type(error).__name__).split())[:150]


def raw_mode(image: Image.Image) -> str:
    """Return Pillow's raw mode of an image that is not decoded yet, "" for other images."""
    tile = getattr(image, "tile", None)
    mode = tile[0][3] if tile else ""
    return str(mode[0] if isinstance(mode, tuple) and mode else mode)


def has_frames(image: Image.Image) -> bool:
    """Return True if an image is animated or has several pages."""
    return getattr(image, "n_frames", 1) > 1 and image.format != "MPO"  # MPO: a JPEG file with additional views


def is_deep(image: Image.Image) -> bool:
    """Return True if an image that is not decoded yet has more than 8 bits per channel."""
    return image.mode.startswith("I") or _is_deep_color(raw_mode(image))


def _is_deep_color(raw: str) -> bool:
    return raw[-4:-1] == ";16" and not raw.startswith("I")


def _mode_levels(image: Image.Image, raw: str, what: str) -> np.ndarray:
    mode, key = image.mode, image.info.get("transparency")
    if mode == "F":
        return array_levels(np.asarray(image), what)[None]
    if mode.startswith("I"):
        return _without_key(array_levels(np.array(image), what), key)[None]
    if mode in ("1", "L"):
        key = key * _SHORT_GRAY.get(raw, 1) if mode == "L" and isinstance(key, int) else key
        return _without_key(np.array(image.convert("L")), key)[None]
    if mode in ("La", "RGBa"):  # premultiplied: equal to the composition on black
        return _channels_first(np.asarray(image)[..., :-1])
    if _is_deep_color(raw):
        return _deep_color_levels(image, key, what)
    if mode == "RGB" and isinstance(key, tuple):
        return _channels_first(_without_key(np.array(image), key))
    if mode != "LA" and not mode.endswith("A") and key is None:
        return _channels_first(np.asarray(image if mode == "RGB" else image.convert("RGB")))
    return _channels_first(_on_black(np.asarray(image if mode == "LA" else image.convert("RGBA"))))


def _deep_color_levels(image: Image.Image, key: Any, what: str) -> np.ndarray:
    """Return 16-bit color as uint16; Pillow reads the upper 8 bits, which are repeated as the lower 8."""
    if key is not None:
        raise DataError(f"{what} has 16 bits per channel and a transparent color, which 8 bits cannot represent: "
                        "convert it to 8 bits or to an alpha channel")
    pixels = np.asarray(image)
    if image.mode == "RGBA":
        pixels = _on_black(pixels)
    return _channels_first(pixels).astype(np.uint16) * np.uint16(257)


def _channels_first(pixels: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def _without_key(pixels: np.ndarray, key: Any) -> np.ndarray:
    """Set the pixels of a transparent level or color to black, in place."""
    if key is not None:
        same = pixels == np.asarray(key)
        pixels[same.all(-1) if isinstance(key, tuple) else same] = 0
    return pixels


def _on_black(pixels: np.ndarray) -> np.ndarray:
    """Compose pixels (H, W, channels + alpha) on black."""
    color, alpha = pixels[..., :-1].astype(np.uint16), pixels[..., -1:]
    return ((color * alpha + 127) // 255).astype(np.uint8)


# ---------------------------------------------------------------------- tensors and arrays

def array_levels(values: Any, what: str) -> np.ndarray:
    """Return a tensor or array of any shape as levels: uint8, uint16, float32 or float64.

    Raises:
        DataError: if values are not numbers, negative, not finite, or integers above 65535; `what` names them.
    """
    array = _to_numpy(values, what)
    if array.dtype == np.uint8:
        return array
    if array.dtype.kind == "b":
        return array.astype(np.uint8) * np.uint8(255)
    if array.dtype.kind not in "iuf":
        raise DataError(f"pixels of {what} are {array.dtype}, expected uint8, other integers from 0 to 65535, floats "
                        "from 0 to 1, or booleans")
    if array.size == 0:
        return array.astype(np.uint8)
    low, high = array.min(), array.max()
    if not np.isfinite(low) or not np.isfinite(high):  # NaN too
        raise DataError(f"pixels of {what} are NaN or infinite, expected uint8, or floats from 0 to 1: repair or "
                        "remove these images")
    if low < 0:
        raise DataError(f"pixels of {what} are negative (from {low:g} to {high:g}), expected uint8, or floats from 0 "
                        "to 1: remove Normalize from the transform, because models normalize their own input, or scale "
                        "signed data to that range")
    if array.dtype.kind == "f":
        return array if array.dtype.itemsize == 8 else array.astype(np.float32)
    if high > 0xFFFF:
        raise DataError(f"pixels of {what} go up to {high}, expected integers of at most 16 bits: scale them to uint8, "
                        "0 to 255")
    return array.astype(np.uint16)


def _to_numpy(values: Any, what: str) -> np.ndarray:
    try:
        if isinstance(values, torch.Tensor):
            values = values.detach().cpu()
            if values.is_floating_point() and values.dtype != torch.float64:
                values = values.float()  # NumPy has no bfloat16
            return values.numpy()
        return np.asarray(values)
    except (TypeError, ValueError, RuntimeError) as error:
        got = type(values).__name__
        raise DataError(f"{what} must be an array of numbers, got {got}: {one_line(error)}") from error


# ---------------------------------------------------------------------- the scale of a dataset

class Scale:
    """The conversion of levels to uint8, the same for all images of a dataset.

    Integers of more than 8 bits are multiplied by 255 / (2**depth - 1). The depth is the smallest of 8, 10, 12 and 16
    bits that holds the largest value of the dataset. Floats range from 0 to 1, or from 0 to 255.

    Example:
        >>> scale = Scale()
        >>> scale.update(np.array([0, 4095], dtype=np.uint16), "image 0")
        >>> scale.bits, scale.apply(np.array([0, 1000, 2048], dtype=np.uint16)).tolist()
        (12, [0, 62, 128])
    """

    def __init__(self) -> None:
        self.highest = -1
        """Largest value of the integers of more than 8 bits; -1: none yet."""
        self.unit: bool | None = None
        """True if floats range from 0 to 1, False if to 255, None: unknown yet."""
        self._color = ""  # the first image with 16-bit color
        self._frames: list[str] = []

    @property
    def bits(self) -> int:
        """Depth of the integers of more than 8 bits."""
        return next(bits for bits in _BITS if self.highest < 2**bits)

    def update(self, levels: np.ndarray, what: str) -> None:
        """Take the levels of one or more images into account.

        Raises:
            DataError: if floats have an unknown range, or another one than those before.
        """
        if levels.size == 0 or levels.dtype == np.uint8:
            return
        if levels.dtype == np.uint16:
            self.highest = max(self.highest, int(levels.max()))
        else:
            self._update_floats(float(levels.max()), what)

    def update_from_header(self, image: Image.Image, what: str) -> None:
        """Take the header of a PIL image into account: several frames, or 16-bit color."""
        if has_frames(image):
            self._frames.append(what)
        if _is_deep_color(raw_mode(image)):
            self._color = self._color or what

    def _update_floats(self, high: float, what: str) -> None:
        unit = high <= 1
        if high == 0 or (unit and self.unit is False):  # fits either range
            return
        if high > 255 or (not unit and self.unit is None and high <= _BYTES_FROM):
            raise DataError(f"pixels of {what} are floats up to {high:g}, expected floats from 0 to 1, or from 0 to "
                            "255: scale or clip them, or convert them to uint8")
        if not unit and self.unit:
            raise DataError(f"pixels of {what} are floats up to {high:g}, the images before it have floats from 0 to "
                            "1: scale all images alike, or convert them to uint8")
        self.unit = unit

    def check(self) -> None:
        """Raise a `DataError` if 16-bit color loses its depth, because Pillow reads the upper 8 bits only."""
        if self._color and self.bits < 16:
            raise DataError(f"{self._color} has 16-bit color, of which the upper 8 bits are read, but no value of the "
                            f"dataset exceeds {self.highest}: convert these images to 8 bits by their own range")

    def apply(self, levels: np.ndarray) -> np.ndarray:
        """Return levels as uint8; uint8 is not copied."""
        if levels.dtype == np.uint8:
            return levels
        if levels.dtype == np.uint16:
            return to_bytes(levels, self.bits)
        factor = 1 if self.unit is False else 255
        return _by_block(levels, lambda block: np.rint(block * factor))

    def notes(self) -> list[str]:
        """Return notes about the conversion for the user."""
        notes = []
        if 0 <= self.highest < 4096:
            notes.append(f"the largest value of the 16-bit images is {self.highest:,}: they are read as "
                         f"{self.bits}-bit data, 0 to {2**self.bits - 1:,}, and scaled to 8 bits")
        if self.unit is False:
            notes.append("float pixels range from 0 to 255; they are rounded to integers")
        if self._frames:
            notes.append(f"of images with several frames the first one is used: {some_of(self._frames, 3)}")
        return notes


def to_bytes(levels: np.ndarray, bits: int) -> np.ndarray:
    """Return levels of the given depth as uint8, scaled and rounded; uint8 is not changed.

    >>> to_bytes(np.array([0, 0x8000, 0xFFFF], dtype=np.uint16), 16).tolist()
    [0, 128, 255]
    """
    if levels.dtype == np.uint8:
        return levels
    top = 2**bits - 1
    return _by_block(levels, lambda block: (block.astype(np.uint32) * 255 + top // 2) // top)


def _by_block(levels: np.ndarray, convert: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    converted = np.empty(levels.shape, dtype=np.uint8)
    source, target = np.ascontiguousarray(levels).reshape(-1), converted.reshape(-1)
    for begin in range(0, source.size, _BLOCK):
        target[begin:begin + _BLOCK] = convert(source[begin:begin + _BLOCK])
    return converted
