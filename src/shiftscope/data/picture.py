"""Reads one picture file, PNG or JPEG: its header, or its pixels."""

import struct
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError

from shiftscope.data.decoding import ORIENTATION, Scale, has_frames, is_deep, one_line, pil_levels, to_bytes
from shiftscope.errors import DataError
from shiftscope.files import UnfitFileError, open_regular

MOST_PIXELS = 89_000_000
"""Pixels of the largest picture that is decoded, which takes about 0.9 GB of memory meanwhile."""

_MOST_BYTES = 2**30  # of a picture file
_KINDS = ("PNG", "JPEG", "MPO")  # MPO: a JPEG with further views behind it, as some phones write
_GRAY = ("1", "L", "LA", "I", "I;16", "I;16B")
_TURNED = range(5, 9)  # EXIF orientations that swap height and width
_TEXTS = (b"eXIf", b"iTXt", b"tEXt", b"zTXt")  # chunks of a PNG file that may state the orientation


@dataclass(frozen=True)
class Header:
    """What a picture file says of itself before its pixels are decoded."""

    size: tuple[int, int]
    """(height, width) as the picture is looked at, EXIF orientation applied."""
    gray: bool
    """Whether its mode has no color; one of a color mode may still be gray."""
    deep: bool
    """Whether it has more than 8 bits a channel."""
    animated: bool


def measure(path: Path) -> Header:
    """Return the header of a picture file; its pixels are not decoded.

    Raises:
        DataError: unreadable, too large, or neither PNG nor JPEG.
    """
    with _opened(path) as image:
        turned = _orientation(image) in _TURNED
        return Header(size=(image.width, image.height) if turned else (image.height, image.width),
                      gray=image.mode in _GRAY, deep=is_deep(image), animated=has_frames(image))


def read_picture(path: Path, size: tuple[int, int] | None = None, *, bits: int | None = None) -> torch.Tensor:
    """Return the pixels of a picture file in color, uint8 (3, H, W), stretched to `size` (height, width) if given.

    Transparent pixels are composed on black, EXIF orientation is applied, and of several frames the first is used.

    Args:
        path: PNG or JPEG file.
        size: (height, width) in pixels.
        bits: depth of a picture with more than 8 bits a channel, see `common_bits`; None: decided by this one alone.

    Raises:
        DataError: unreadable, truncated, too large, or neither PNG nor JPEG.
    """
    pixels = read_pixels(path, size, bits=common_bits([path]) if bits is None else bits)
    return torch.from_numpy(pixels if len(pixels) == 3 else pixels.repeat(3, axis=0))


def read_pixels(path: Path, size: tuple[int, int] | None = None, *, bits: int) -> np.ndarray:
    """Return the pixels of a picture file as `read_picture`, uint8 (C, H, W), C = 1 where its mode is gray."""
    with _opened(path) as image:
        pixels = to_bytes(pil_levels(image, str(path)), bits)
    if size is None or pixels.shape[1:] == tuple(size):
        return pixels
    image = Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0))
    stretched = np.asarray(image.resize((size[1], size[0]), Image.Resampling.BILINEAR))
    return stretched[None] if stretched.ndim == 2 else np.ascontiguousarray(stretched.transpose(2, 0, 1))


def common_bits(paths: Iterable[Path]) -> int:
    """Return the depth in bits that the pictures with more than 8 bits a channel share; 8 where there are none.

    Raises:
        DataError: as `read_picture`; or 16-bit color whose values are so small that the upper 8 bits do not hold them.
    """
    return see_levels(paths).bits


def see_levels(paths: Iterable[Path]) -> Scale:
    """Return the scale of pictures. Those with more than 8 bits a channel are decoded until their depth is known."""
    scale = Scale()
    for path in paths:
        with _opened(path) as image:
            scale.see_header(image, short_name(path))
            if is_deep(image) and scale.bits < 16:
                scale.see(pil_levels(image, str(path)), str(path))
    scale.check()
    return scale


def short_name(path: Path) -> str:
    """Return the name of a file with that of its folder, for notes."""
    return f"{path.parent.name}/{path.name}" if path.parent.name else path.name


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """Open a picture; what goes wrong while it is open is a `DataError` that names the file."""
    try:
        with open_regular(path, _MOST_BYTES) as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of decoders: damaged metadata, and sizes, for which MOST_PIXELS stands
            with Image.open(file) as image:
                _check_kind(image, path)
                yield image
    except DataError:
        raise
    except FileNotFoundError as error:
        raise DataError(f"there is no file {path}; give a PNG or JPEG file") from error
    except UnfitFileError as error:
        raise DataError(f"{path} is no readable picture: {error}; replace or remove it") from error
    except PermissionError as error:
        raise DataError(f"{path} may not be read (permission denied): change its permissions, or remove it") from error
    except UnidentifiedImageError as error:
        raise DataError(f"{path} is no readable picture: its content is no image; replace or remove it") from error
    except Image.DecompressionBombError as error:
        raise _too_large(path) from error
    except Exception as error:  # decoders raise errors of many kinds
        raise DataError(f"{path} is no readable picture: {one_line(error)}; replace or remove it") from error


def _too_large(path: Path) -> DataError:
    return DataError(f"{path} is no readable picture: it has more than {MOST_PIXELS:,} pixels; make it smaller, or "
                     "remove it")


def _check_kind(image: Image.Image, path: Path) -> None:
    if image.format not in _KINDS:
        raise DataError(f"{path} is a {image.format} file, expected PNG or JPEG: convert it")
    if image.width * image.height > MOST_PIXELS:
        raise _too_large(path)


def _orientation(image: Image.Image) -> int | None:
    """Return the EXIF orientation; a PNG file is decoded for it only if it has metadata behind its pixels."""
    if image.format != "PNG" or _has_late_text(image):
        return image.getexif().get(ORIENTATION)
    return Image.Image.getexif(image).get(ORIENTATION)  # that of PngImageFile decodes the pixels


def _has_late_text(image: Image.Image) -> bool:
    """Return whether metadata follow the pixels of a PNG file; reads the names of its chunks alone."""
    file = getattr(image, "fp", None)
    if file is None:
        return False
    place, behind, late = file.tell(), False, False
    file.seek(8)
    while not late and len(head := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        behind |= kind == b"IDAT"
        late = behind and kind in _TEXTS
        file.seek(length + 4, 1)
    file.seek(place)
    return late
