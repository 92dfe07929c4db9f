"""Datasets from folders of PNG and JPEG files, one folder a class; see `layout` for which file goes where."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from shiftscope.data.arrays import checksum
from shiftscope.data.base import Dataset, TensorImages
from shiftscope.data.layout import Layout, Listing, list_layout, pictures, shuffled
from shiftscope.data.picture import Header, measure, read_pixels, see_levels, short_name
from shiftscope.errors import DataError, require, some_of
from shiftscope.text import valid_unicode

LICENSE = "unknown"
MOST_BYTES = 8 * 2**30
"""Pixels of a folder that are read into memory at most."""

Size = tuple[int, int]
"""(height, width) in pixels."""

CheckSize = Callable[[Size], object]
"""Raises an error where images of this size cannot be used."""


@dataclass(frozen=True)
class Plan:
    """How the pictures of a folder are read, from their headers alone."""

    path: Path
    layout: Layout
    size: Size
    """(height, width) that all pictures get."""
    gray: bool
    """Whether all pictures have a gray mode."""
    bits: int
    """Depth of the pictures with more than 8 bits a channel."""
    source: str
    """Where the images come from, for people."""
    notes: tuple[str, ...]

    @property
    def name(self) -> str:
        """Name of the dataset."""
        return valid_unicode(self.path.resolve().name)


def read_folder(path: Path | str, *, image_size: Size | None = None, check_size: CheckSize | None = None) -> Dataset:
    """Return the pictures below `path` as a dataset.

    Sizes: all pictures are stretched (bilinear) to `image_size`, else to the most common size in the training set, the
    smaller one where two are equally common. Color: three channels if any picture has a colored pixel, else one.
    Transparent pixels are composed on black; EXIF orientation is applied; of several frames the first is used. 16-bit
    gray is scaled to 8 bits by the depth of the whole folder: the smallest of 8, 10, 12 and 16 bits that holds its
    largest value. What was left out, stretched or scaled stands in the dataset's `notes`.

    Args:
        path: the folder.
        image_size: (height, width) in pixels.
        check_size: called with the (height, width) of all images before any picture is decoded; it may raise.

    Raises:
        DataError: no such folder, fewer than two classes, an empty class, train without test, different classes in
            train and test, a picture that is unreadable or neither PNG nor JPEG, or more pixels than `MOST_BYTES`.
    """
    path = Path(path).expanduser()
    layout = list_layout(path)
    plan = plan_folder(path, layout, map(measure, files_of(layout)), image_size, check_size)
    _require_memory(plan)
    splits = [_read(listing, plan) for listing in (layout.train, layout.test)]
    channels = 3 if any(color for *_, color in splits) else 1
    train_set, test_set = (TensorImages(images[:, :channels].contiguous(), labels) for images, labels, _ in splits)
    checksums = {"train_images": checksum(train_set.images), "test_images": checksum(test_set.images)}
    return Dataset(name=plan.name, class_names=tuple(layout.train), train=train_set, test=test_set, source=plan.source,
                   license=LICENSE, checksums=checksums, notes=plan.notes)


def files_of(layout: Layout) -> list[Path]:
    """Return all files of a folder, those of the training set first."""
    return pictures(layout.train) + pictures(layout.test)


def plan_folder(path: Path, layout: Layout, headers: Iterable[Header], image_size: Size | None,
                check_size: CheckSize | None = None) -> Plan:
    """Return how the pictures of a folder are read.

    Args:
        headers: of `files_of(layout)`, in that order.
        image_size: (height, width) that the caller wants.
        check_size: as in `read_folder`.

    Raises:
        DataError: as `read_folder`.
    """
    files, found = files_of(layout), list(headers)
    training = len(pictures(layout.train))
    sizes = Counter(header.size for header in found[:training])
    size = _checked_size(image_size) or min(sizes, key=lambda item: (-sizes[item], item[0] * item[1], item))
    if check_size is not None:
        check_size(size)
    others = [index for index, header in enumerate(found) if header.size != size]
    rule = f"stretched to {size[0]} x {size[1]}" if others else f"{size[0]} x {size[1]}"
    scale = see_levels(file for file, header in zip(files, found, strict=True) if header.deep or header.animated)
    return Plan(path=path, layout=layout, size=size, gray=all(header.gray for header in found), bits=scale.bits,
                source=f"picture files in the folder {valid_unicode(path.resolve().name)}, {rule} (height x width) "
                       "pixels",
                notes=(*layout.notes, *_size_note(files, found, others, size), *scale.notes()))


def _size_note(files: list[Path], headers: list[Header], others: list[int], size: Size) -> list[str]:
    """Say which pictures are stretched, and name one of each size."""
    if not others:
        return []
    odd, same = others[0], next((index for index, header in enumerate(headers) if header.size == size), None)
    like = f", the size of {some_of([short_name(files[same])])}" if same is not None else ""
    height, width = headers[odd].size
    return [f"{len(others):,} of {len(files):,} pictures have another size and are stretched to {size[0]} x {size[1]} "
            f"(height x width){like}: {some_of([short_name(files[odd])])} is {height} x {width}"]


def _checked_size(size: Size | None) -> Size | None:
    if size is not None:
        require(len(size) == 2 and all(isinstance(n, int) and n >= 1 for n in size), "image_size", size,
                "two whole numbers of at least 1 (height, width)")
    return size


def _require_memory(plan: Plan) -> None:
    count, (height, width) = len(files_of(plan.layout)), plan.size
    needed = count * height * width * (1 if plan.gray else 3)
    if needed > MOST_BYTES:
        raise DataError(f"the {count:,} pictures of {plan.name} take {needed / 1e9:,.1f} GB as {height} x {width} "
                        f"pixels, at most {MOST_BYTES / 1e9:,.1f} GB are read into memory: make them smaller "
                        "(image_size=, or --image-size of `shiftscope data pack`), or pack them into one file and name "
                        "packed:PATH")


def _read(listing: Listing, plan: Plan) -> tuple[torch.Tensor, torch.Tensor, bool]:
    """Return all pictures of a split, uint8 (N, C, H, W), their labels (N,), and whether any has a colored pixel.

    There is one channel where the modes of all pictures are gray.
    """
    files, color = shuffled(listing), False
    images = np.empty((len(files), 1 if plan.gray else 3, *plan.size), dtype=np.uint8)
    for image, (file, _) in zip(images, files, strict=True):
        image[:] = read_pixels(file, plan.size, bits=plan.bits)
        color = color or bool((image != image[:1]).any())
    return torch.from_numpy(images), torch.tensor([label for _, label in files]), color
