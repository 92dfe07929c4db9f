"""Datasets from folders of PNG and JPEG files, in class folders or without labels; see `layout`."""

import hashlib
import os
import shutil
import tempfile
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch

from shiftscope.data.arrays import checksum
from shiftscope.data.base import UNLABELED, Dataset, ImageSet, NoImages, TensorImages
from shiftscope.data.image_file import Header, common_scale, measure, read_pixels, short_name
from shiftscope.data.layout import Layout, Listing, image_files, list_layout, shuffled
from shiftscope.data.resizing import Target, differ_much, usual_size
from shiftscope.data.spooled import SpooledImages
from shiftscope.errors import DataError, some_of
from shiftscope.geometry import Size
from shiftscope.preparation import PADDED, Preparation
from shiftscope.progress import Progress, SilentProgress
from shiftscope.text import valid_unicode

LICENSE = "unknown"
MAX_BYTES = 2**30
"""Largest size of the pixels of a folder that is held in memory; more are stored in a temporary file."""

_SHOWN_PIXELS = 10**9
"""Pixels of all files together above which progress is shown."""

_THREADED_PIXELS = 2**18
"""Pixels of the largest file from which on threads decode: for smaller images most of the work is Python code."""

_DECODING_BYTES, _BYTES_PER_PIXEL = 2**29, 12
"""Memory for images that are being decoded, and what one takes per pixel."""

CheckSize = Callable[[Size], object]
"""Raises an error if images of this size cannot be used."""


@dataclass(frozen=True)
class Plan:
    """How the images of a folder are read, from their headers alone."""

    path: Path
    layout: Layout
    target: Target
    """The size of all images, and how images of other sizes are resized."""
    preparation: str
    """How many images are resized, and how; "" if none is."""
    gray: bool
    """True if all images have a gray mode."""
    bits: int
    """Depth of the images with more than 8 bits per channel."""
    largest: int
    """Pixels of the largest image file."""
    source: str
    """Description of the origin of the images."""
    notes: tuple[str, ...]

    @property
    def prepared(self) -> Preparation:
        """The preparation of other images for the same model, such as those of `predict`."""
        return self.target.without_size()

    @property
    def name(self) -> str:
        """Name of the dataset."""
        return valid_unicode(self.path.resolve().name)


def read_folder(path: Path | str, *, image_size: Size | None = None, check_size: CheckSize | None = None,
                progress: Progress | None = None, **how: Any) -> Dataset:
    """Return the image files below `path` as a dataset.

    Labels are the class folders. Images that are not in class folders have no labels and are test images, sorted by
    their paths; `layout` lists all layouts.

    Sizes: all images are resized to `image_size`, by default to the size that `resizing.usual_size` chooses among those
    of the training set, or of the test set if there is none. Color: three channels if any image has a colored pixel,
    else one. Transparent pixels are composed on black; the EXIF orientation is applied; of several frames the first is
    used. 16-bit gray is scaled to 8 bits by the depth of the whole folder: the smallest of 8, 10, 12 and 16 bits that
    holds its largest value. The dataset's `notes` list ignored files, resizing and scaling; `preparation` states the
    resizing. The images' `names` are the paths of their files, relative to `path`. Threads decode large images.
    Prepared images are in memory, or in a temporary file if they take more than `MAX_BYTES`.

    Args:
        path: the folder.
        image_size: (height, width) in pixels.
        check_size: called with the (height, width) of all images before any image is decoded; it may raise.
        progress: shows the decoding of large images.
        how: resize, shorter_side, crop, interpolation, antialias and background, see `Preparation`.

    Raises:
        UsageError: if the size has no pixels or too many, or another value is invalid.
        DataError: if the folder has an invalid layout (see `list_layout`), or an image is unreadable, too elongated, or
            neither PNG nor JPEG.
        OutputError: if there is no space for a temporary file.
    """
    path = Path(path).expanduser()
    layout = list_layout(path)
    plan = plan_folder(path, layout, map(measure, files_of(layout)), image_size, check_size, Preparation(**how))
    sets = _read(plan, progress or SilentProgress())
    return Dataset(name=plan.name, class_names=layout.class_names, test=sets["test"],
                   train=sets.get("train") or NoImages(plan.name, sets["test"].shape), source=plan.source,
                   license=LICENSE, notes=plan.notes, resize=plan.target.resize, preparation=plan.preparation,
                   prepared=plan.prepared, labeled=layout.labeled,
                   checksums={f"{split}_images": checksum_of(images) for split, images in sets.items()})


def files_of(layout: Layout) -> list[Path]:
    """Return all files of a folder, those of the training set first."""
    return image_files(layout.train) + image_files(layout.test)


def plan_folder(path: Path, layout: Layout, headers: Iterable[Header], image_size: Size | None,
                check_size: CheckSize | None = None, how: Preparation = PADDED) -> Plan:
    """Return the reading parameters of the images of a folder.

    Args:
        headers: of `files_of(layout)`, in that order.
        image_size, check_size, how: as in `read_folder`.
    """
    if image_size is None and how.shorter_side is not None:
        image_size = how.crop or (how.shorter_side, how.shorter_side)
    given = None if image_size is None else Target.sized(how, image_size)
    files, headers = files_of(layout), list(headers)
    sizes = [header.size for header in headers]
    first = len(image_files(layout.train)) or len(files)
    target = given or Target.sized(how, usual_size(sizes[:first]))
    if check_size is not None:
        check_size(target.size)
    for file, size in zip(files, sizes, strict=True):
        target.check(size, str(file))
    others = sum(not target.keeps(size) for size in sizes)
    scale = common_scale(file for file, header in zip(files, headers, strict=True) if header.deep or header.animated)
    preparation = f"{others:,} of {len(files):,} images {target.describe()}" if others else ""
    return Plan(path=path, layout=layout, target=target, gray=all(header.gray for header in headers), bits=scale.bits,
                largest=max(height * width for height, width in sizes), preparation=preparation,
                source=f"image files in the folder {valid_unicode(path.resolve().name)}, "
                       f"{preparation or '{} x {} (height x width) pixels'.format(*target.size)}",
                notes=(*layout.notes, *_size_notes(files, sizes, target, chosen=given is None), *scale.notes()))


def _size_notes(files: list[Path], sizes: list[Size], target: Target, *, chosen: bool) -> list[str]:
    """Return a note about resized images with an example, and a warning if sizes differ much and none was given."""
    others = [index for index, size in enumerate(sizes) if not target.keeps(size)]
    if not others:
        return []
    same = next((index for index, size in enumerate(sizes) if target.keeps(size)), None)
    example = "" if same is None else f", the size of {some_of([short_name(files[same])])}"
    first, (height, width) = some_of([short_name(files[others[0]])]), sizes[others[0]]
    notes = [f"{len(others):,} of {len(files):,} images have another size and are {target.describe()}{example}: "
             f"{first} is {height} x {width}"]
    if target.resize == "shorter":
        return notes + _enlarged_notes(files, sizes, target)
    if chosen and differ_much(sizes, target.size):
        low, high = (f"{height} x {width}" for height, width in _extremes(sizes))
        notes.append(f"the sizes of the images differ much, from {low} to {high}: check the size that was chosen, or "
                     "set one with --image-size H W (image_size=)")
    return notes


def _enlarged_notes(files: list[Path], sizes: list[Size], target: Target) -> list[str]:
    """Return a note if images are smaller than the crop of a photograph should be, with the smallest one."""
    small = [index for index, size in enumerate(sizes) if min(size) < target.side]
    if not small:
        return []
    index = min(small, key=lambda index: min(sizes[index]))
    return [f"{len(small):,} of {len(files):,} images are enlarged, because their shorter side is below {target.side} "
            f"pixels: the smallest one, {some_of([short_name(files[index])])}, is {sizes[index][0]} x "
            f"{sizes[index][1]}"]


def _extremes(sizes: Iterable[Size]) -> tuple[Size, Size]:
    """Return the sizes with the smallest and the largest area."""
    ordered = sorted(sizes, key=lambda size: (size[0] * size[1], size))
    return ordered[0], ordered[-1]


# ---------------------------------------------------------------------- pixels

Images = TensorImages | SpooledImages


def _read(plan: Plan, progress: Progress) -> dict[str, Images]:
    """Return the images of each split that has any, with one channel if no pixel has a color."""
    listings = {split: _ordered(listing, plan.layout) for split, listing in
                (("train", plan.layout.train), ("test", plan.layout.test)) if listing}
    files = [file for listing in listings.values() for file, _ in listing]
    shape = (1 if plan.gray else 3, *plan.target.size)
    spooled = len(files) * prod(shape) > MAX_BYTES
    if spooled:
        _require_space(plan, len(files) * prod(shape))
    stores = {split: SpooledImages(shape) if spooled else np.empty((len(listing), *shape), dtype=np.uint8)
              for split, listing in listings.items()}
    large = len(files) * plan.largest > _SHOWN_PIXELS
    task = (progress if large else SilentProgress()).task(f"prepare {plan.name}", len(files))
    color, decoded = False, decode(files, plan)
    try:
        for split, listing in listings.items():
            store = stores[split]
            for index, pixels in zip(range(len(listing)), decoded):  # noqa: B905 (stops after the listing)
                image = np.broadcast_to(pixels, shape)
                color = color or bool((image != image[:1]).any())
                if isinstance(store, SpooledImages):
                    store.append(image)
                else:
                    store[index] = image
                task.advance(1)
    finally:
        decoded.close()
        task.close()
    return {split: _finish(stores[split], listing, plan, 3 if color else 1) for split, listing in listings.items()}


def _ordered(listing: Listing, layout: Layout) -> list[tuple[Path, int]]:
    """Return (file, label) of all images: shuffled, or sorted if they have no labels."""
    return shuffled(listing) if layout.labeled else [(file, UNLABELED) for file in image_files(listing)]


def _finish(store: SpooledImages | np.ndarray, listing: list[tuple[Path, int]], plan: Plan, channels: int) -> Images:
    labels = torch.tensor([label for _, label in listing])
    names = [valid_unicode(file.relative_to(plan.path).as_posix()) for file, _ in listing]
    if isinstance(store, SpooledImages):
        store.finish(labels, names, channels)
        return store
    return TensorImages(torch.from_numpy(store)[:, :channels].contiguous(), labels, names)


def decode(files: Sequence[Path], plan: Plan) -> Generator[np.ndarray]:
    """Yield the prepared pixels of files in order, uint8 (C, H, W); threads decode large images a little ahead.

    """
    threads, read = thread_count(plan.largest), partial(read_pixels, target=plan.target, bits=plan.bits)
    if threads == 1:
        yield from map(read, files)
        return
    pool, pending = ThreadPoolExecutor(threads), deque[Future[np.ndarray]]()
    try:
        for file in files:
            if len(pending) == 2 * threads:
                yield pending.popleft().result()
            pending.append(pool.submit(read, file))
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def thread_count(pixels: int) -> int:
    """Return the number of threads that decode images with at most `pixels` pixels.

    It is limited by the cores, and by the memory that the images take while they are decoded; small images get one.
    """
    if pixels < _THREADED_PIXELS:
        return 1
    return min(cores(), max(1, _DECODING_BYTES // (pixels * _BYTES_PER_PIXEL)))


def cores() -> int:
    """Return the number of CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _require_space(plan: Plan, needed: int) -> None:
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    if needed > free:
        height, width = plan.target.size
        raise DataError(f"the {len(files_of(plan.layout)):,} images of {plan.name} take {needed / 1e9:,.1f} GB as "
                        f"{height} x {width} pixels, {free / 1e9:,.1f} GB are free in {folder}: make them smaller "
                        "(--image-size H W, image_size=), or set TMPDIR to a folder on another disk")


def checksum_of(images: ImageSet) -> str:
    """Return the SHA-256 of the pixels of all images in row-major order; the shape is not included.

    >>> few = TensorImages(torch.zeros(2, 1, 2, 2, dtype=torch.uint8), torch.tensor([0, 1]))
    >>> checksum_of(few) == checksum(few.images)
    True
    """
    if isinstance(images, TensorImages):
        return checksum(images.images)
    digest = hashlib.sha256()
    for index in torch.arange(len(images)).split(1):
        digest.update(images.gather(index).numpy().data)
    return digest.hexdigest()
