"""Datasets from folders of PNG and JPEG files, one folder per class; see `layout` for splits and classes."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from shiftscope.data.arrays import checksum
from shiftscope.data.base import Dataset, TensorImages
from shiftscope.data.image_file import Header, common_scale, measure, read_pixels, short_name
from shiftscope.data.layout import Layout, Listing, image_files, list_layout, shuffled
from shiftscope.errors import DataError, require, some_of
from shiftscope.text import valid_unicode

LICENSE = "unknown"
MAX_BYTES = 8 * 2**30
"""Largest size of the pixels of a folder that is read into memory."""

Size = tuple[int, int]
"""(height, width) in pixels."""

CheckSize = Callable[[Size], object]
"""Raises an error if images of this size cannot be used."""


@dataclass(frozen=True)
class Plan:
    """How the images of a folder are read, from their headers alone."""

    path: Path
    layout: Layout
    size: Size
    """(height, width) to which all images are stretched."""
    gray: bool
    """True if all images have a gray mode."""
    bits: int
    """Depth of the images with more than 8 bits per channel."""
    source: str
    """Description of the origin of the images."""
    notes: tuple[str, ...]

    @property
    def name(self) -> str:
        """Name of the dataset."""
        return valid_unicode(self.path.resolve().name)


def read_folder(path: Path | str, *, image_size: Size | None = None, check_size: CheckSize | None = None) -> Dataset:
    """Return the image files below `path` as a dataset.

    Sizes: all images are stretched (bilinear) to `image_size`, else to the most common size in the training set, the
    smaller one of equally common sizes. Color: three channels if any image has a colored pixel, else one. Transparent
    pixels are composed on black; the EXIF orientation is applied; of several frames the first is used. 16-bit gray is
    scaled to 8 bits by the depth of the whole folder: the smallest of 8, 10, 12 and 16 bits that holds its largest
    value. The dataset's `notes` list ignored files, stretching and scaling.

    Args:
        path: the folder.
        image_size: (height, width) in pixels.
        check_size: called with the (height, width) of all images before any image is decoded; it may raise.

    Raises:
        DataError: if the folder has an invalid layout (see `list_layout`), an image is unreadable or neither PNG nor
            JPEG, or there are more pixels than `MAX_BYTES`.
    """
    path = Path(path).expanduser()
    layout = list_layout(path)
    plan = plan_folder(path, layout, map(measure, files_of(layout)), image_size, check_size)
    _require_memory(plan)
    splits = [_read(listing, plan) for listing in (layout.train, layout.test)]
    channels = 3 if any(color for *_, color in splits) else 1
    train, test = (TensorImages(images[:, :channels].contiguous(), labels) for images, labels, _ in splits)
    return Dataset(name=plan.name, class_names=tuple(layout.train), train=train, test=test, source=plan.source,
                   license=LICENSE, notes=plan.notes,
                   checksums={"train_images": checksum(train.images), "test_images": checksum(test.images)})


def files_of(layout: Layout) -> list[Path]:
    """Return all files of a folder, those of the training set first."""
    return image_files(layout.train) + image_files(layout.test)


def plan_folder(path: Path, layout: Layout, headers: Iterable[Header], image_size: Size | None,
                check_size: CheckSize | None = None) -> Plan:
    """Return the reading parameters of the images of a folder.

    Args:
        headers: of `files_of(layout)`, in that order.
        image_size: as in `read_folder`.
        check_size: as in `read_folder`.
    """
    files, headers = files_of(layout), list(headers)
    if image_size is not None:
        require(len(image_size) == 2 and all(isinstance(n, int) and n >= 1 for n in image_size), "image_size",
                image_size, "two integers of at least 1 (height, width)")
    sizes = Counter(header.size for header in headers[:len(image_files(layout.train))])
    size = image_size or min(sizes, key=lambda size: (-sizes[size], size[0] * size[1], size))
    if check_size is not None:
        check_size(size)
    others = [index for index, header in enumerate(headers) if header.size != size]
    scale = common_scale(file for file, header in zip(files, headers, strict=True) if header.deep or header.animated)
    return Plan(path=path, layout=layout, size=size, gray=all(header.gray for header in headers), bits=scale.bits,
                source=f"image files in the folder {valid_unicode(path.resolve().name)}, "
                       f"{'stretched to ' if others else ''}{size[0]} x {size[1]} (height x width) pixels",
                notes=(*layout.notes, *_size_note(files, headers, others, size), *scale.notes()))


def _size_note(files: list[Path], headers: list[Header], others: list[int], size: Size) -> list[str]:
    """Return a note about stretched images, with an example of each size."""
    if not others:
        return []
    other, same = others[0], next((index for index, header in enumerate(headers) if header.size == size), None)
    example = f", the size of {some_of([short_name(files[same])])}" if same is not None else ""
    height, width = headers[other].size
    return [f"{len(others):,} of {len(files):,} images have another size and are stretched to {size[0]} x {size[1]} "
            f"(height x width){example}: {some_of([short_name(files[other])])} is {height} x {width}"]


def _require_memory(plan: Plan) -> None:
    count, (height, width) = len(files_of(plan.layout)), plan.size
    needed = count * height * width * (1 if plan.gray else 3)
    if needed > MAX_BYTES:
        raise DataError(f"the {count:,} images of {plan.name} take {needed / 1e9:,.1f} GB as {height} x {width} "
                        f"pixels, at most {MAX_BYTES / 1e9:,.1f} GB are read into memory: make them smaller "
                        "(image_size=, or --image-size of `shiftscope data pack`), or pack them with `shiftscope data "
                        "pack` and use packed:PATH")


def _read(listing: Listing, plan: Plan) -> tuple[torch.Tensor, torch.Tensor, bool]:
    """Return the images of a split, uint8 (N, C, H, W), their labels (N,), and True if any has a colored pixel.

    C is 1 if the modes of all images are gray.
    """
    files, color = shuffled(listing), False
    images = np.empty((len(files), 1 if plan.gray else 3, *plan.size), dtype=np.uint8)
    for image, (file, _) in zip(images, files, strict=True):
        image[:] = read_pixels(file, plan.size, bits=plan.bits)
        color = color or bool((image != image[:1]).any())
    return torch.from_numpy(images), torch.tensor([label for _, label in files]), color
