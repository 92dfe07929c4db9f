"""Reads the header or the pixels of a PNG or JPEG file."""

import struct
import threading
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError

from shiftscope.data.decoding import (
    ORIENTATION,
    Scale,
    has_frames,
    is_deep,
    is_plain,
    one_line,
    pil_levels,
    to_bytes,
    upright,
)
from shiftscope.data.resizing import Target
from shiftscope.errors import DataError
from shiftscope.files import UnfitFileError, open_regular
from shiftscope.preparation import MOST_PIXELS
from shiftscope.settings import Resize

MAX_PIXELS = MOST_PIXELS
"""Pixels of the largest image that is decoded, which takes about 0.9 GB of memory."""

_MAX_BYTES = 2**30  # of a file
_FORMATS = ("PNG", "JPEG", "MPO")  # MPO: a JPEG file with additional views, as some phones write
_GRAY = ("1", "L", "LA", "I", "I;16", "I;16B")
_TRANSPOSED = range(5, 9)  # EXIF orientations that swap height and width
_METADATA = (b"eXIf", b"iTXt", b"tEXt", b"zTXt")  # chunks of a PNG file that may contain the orientation


@dataclass(frozen=True)
class Header:
    """Properties of an image file that are known without decoding its pixels."""

    size: tuple[int, int]
    """(height, width) after the EXIF orientation is applied."""
    gray: bool
    """True if the mode has no color; an image with a color mode may still be gray."""
    deep: bool
    """True if there are more than 8 bits per channel."""
    animated: bool


def measure(path: Path) -> Header:
    """Return the header of an image file without decoding its pixels.

    Raises:
        DataError: if the file is unreadable, too large, or neither PNG nor JPEG.
    """
    with _opened(path) as image:
        transposed = _orientation(image) in _TRANSPOSED
        return Header(size=(image.width, image.height) if transposed else (image.height, image.width),
                      gray=image.mode in _GRAY, deep=is_deep(image), animated=has_frames(image))


def read_image_file(path: Path, size: tuple[int, int] | None = None, *, bits: int | None = None,
                    resize: Resize = "pad", background: int = 0) -> torch.Tensor:
    """Return the pixels of an image file in color, uint8 (3, H, W), resized to `size` (height, width) if given.

    Transparent pixels are composed on black, the EXIF orientation is applied, and of several frames the first is used.

    Args:
        path: PNG or JPEG file.
        size: (height, width) in pixels.
        bits: depth of an image with more than 8 bits per channel (default: from its own largest value).
        resize: "pad": the aspect ratio is kept and the image is padded; "stretch".
        background: pixel value of the padding.

    Raises:
        DataError: if the file is unreadable, truncated, too large, or neither PNG nor JPEG.
    """
    target = None if size is None else Target(size=size, resize=resize, background=background)
    pixels = read_pixels(path, target, bits=common_scale([path]).bits if bits is None else bits)
    return torch.from_numpy(pixels if len(pixels) == 3 else pixels.repeat(3, axis=0))


def read_pixels(path: Path, target: Target | None = None, *, bits: int) -> np.ndarray:
    """Return the pixels of an image file as `read_image_file`, uint8 (C, H, W), with C = 1 for gray modes."""
    with _opened(path) as image:
        if target is not None and is_plain(image):  # the same pixels with less memory
            return target.fit(upright(image))
        pixels = to_bytes(pil_levels(image, str(path)), bits)
    return pixels if target is None else target.fit(pixels)


def common_scale(paths: Iterable[Path]) -> Scale:
    """Return the common scale of image files; those with more than 8 bits are decoded until the depth is known.

    Raises:
        DataError: as `read_image_file`; or if 16-bit color has only values that the upper 8 bits do not represent.
    """
    scale = Scale()
    for path in paths:
        with _opened(path) as image:
            scale.update_from_header(image, short_name(path))
            if is_deep(image) and scale.bits < 16:
                scale.update(pil_levels(image, str(path)), str(path))
    scale.check()
    return scale


def short_name(path: Path) -> str:
    """Return the name of a file with that of its folder, for notes."""
    return f"{path.parent.name}/{path.name}" if path.parent.name else path.name


class _Quiet:
    """Ignores warnings of decoders, about damaged metadata and about sizes, which `MAX_PIXELS` limits.

    `warnings.catch_warnings` alone would not restore the filters if several threads entered and left it in turn.
    """

    def __init__(self) -> None:
        self.lock, self.inside, self.filters = threading.Lock(), 0, warnings.catch_warnings()

    def __enter__(self) -> None:
        with self.lock:
            if self.inside == 0:
                self.filters = warnings.catch_warnings()
                self.filters.__enter__()
                warnings.simplefilter("ignore")
            self.inside += 1

    def __exit__(self, *error: object) -> None:
        with self.lock:
            self.inside -= 1
            if self.inside == 0:
                self.filters.__exit__(None, None, None)


_QUIET = _Quiet()


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """Open an image; errors while it is open become a `DataError` that names the file."""
    try:
        with open_regular(path, _MAX_BYTES) as file, _QUIET, Image.open(file) as image:
            if image.format not in _FORMATS:
                raise DataError(f"{path} is a {image.format} file, expected PNG or JPEG: convert it")
            if image.width * image.height > MAX_PIXELS:
                raise Image.DecompressionBombError
            yield image
    except DataError:
        raise
    except FileNotFoundError as error:
        raise DataError(f"there is no file {path}; name a PNG or JPEG file") from error
    except PermissionError as error:
        raise DataError(f"{path} may not be read (permission denied): change its permissions, or remove it") from error
    except Exception as error:  # decoders raise errors of many types
        why = one_line(error)
        if isinstance(error, UnfitFileError):
            why = str(error)
        elif isinstance(error, UnidentifiedImageError):
            why = "its content is not an image"
        elif isinstance(error, Image.DecompressionBombError):
            why = f"it has more than {MAX_PIXELS:,} pixels"
        raise DataError(f"{path} is not a readable image: {why}; replace or remove it") from error


def _orientation(image: Image.Image) -> int | None:
    """Return the EXIF orientation. A PNG file is decoded only if it has metadata after its pixels."""
    if image.format != "PNG" or _has_late_metadata(image):
        return image.getexif().get(ORIENTATION)
    return Image.Image.getexif(image).get(ORIENTATION)  # the method of PngImageFile decodes the pixels


def _has_late_metadata(image: Image.Image) -> bool:
    """Return True if metadata follow the pixels of a PNG file; reads the names of its chunks only."""
    file = getattr(image, "fp", None)
    if file is None:
        return False
    start, after_pixels, late = file.tell(), False, False
    file.seek(8)
    while not late and len(head := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        after_pixels |= kind == b"IDAT"
        late = after_pixels and kind in _METADATA
        file.seek(length + 4, 1)
    file.seek(start)
    return late
