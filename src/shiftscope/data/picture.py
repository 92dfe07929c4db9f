"""Reads one picture file, PNG or JPEG, as pixels."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError

from shiftscope.errors import DataError

_KINDS = ("PNG", "JPEG", "MPO")  # MPO: a JPEG with further views behind it, as some phones write
_TURNED = range(5, 9)  # EXIF orientations that swap height and width
_ORIENTATION = 0x0112


def measure(path: Path) -> tuple[int, int]:
    """Return (height, width) of a picture file as it is looked at, without decoding its pixels.

    Raises:
        DataError: unreadable, animated, or neither PNG nor JPEG.
    """
    with _opened(path) as image:
        turned = image.getexif().get(_ORIENTATION) in _TURNED
        return (image.width, image.height) if turned else (image.height, image.width)


def read_picture(path: Path, size: tuple[int, int] | None = None) -> torch.Tensor:
    """Return the pixels of a picture file in colour, uint8 (3, H, W), stretched to `size` (height, width) if given.

    Transparent pixels lie on black, EXIF turns are applied, 16-bit grey is scaled to 8 bits.

    Raises:
        DataError: unreadable, truncated, animated, or neither PNG nor JPEG.
    """
    with _opened(path) as image:
        colour = _to_rgb(ImageOps.exif_transpose(image))
        if size is not None and colour.size != (size[1], size[0]):
            colour = colour.resize((size[1], size[0]), Image.Resampling.BILINEAR)
        return torch.from_numpy(np.array(colour).transpose(2, 0, 1).copy())


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """Open a picture that is not animated; what goes wrong while it is open is a `DataError` that names the file."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                _check_kind(image, path)
                yield image
    except DataError:
        raise
    except UnidentifiedImageError as error:
        raise DataError(f"{path} is no readable picture: its content is no image; replace or remove it") from error
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError,
            Image.DecompressionBombWarning) as error:
        raise DataError(f"{path} is no readable picture: {error}; replace or remove it") from error


def _check_kind(image: Image.Image, path: Path) -> None:
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":
        raise DataError(f"{path} is animated ({frames} frames), expected a single picture: save one frame as PNG")
    if image.format not in _KINDS:
        raise DataError(f"{path} is a {image.format} file, expected PNG or JPEG: convert it")


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # PIL would clip 16 bits instead of scaling them
        grey = np.asarray(image).astype(np.int64)
        image = Image.fromarray(np.clip(grey >> 8, 0, 255).astype(np.uint8))
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, (0, 0, 0, 255)), rgba)
    return image.convert("RGB")
