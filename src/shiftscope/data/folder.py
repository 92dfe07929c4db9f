"""Datasets from folders of PNG and JPEG files, in class folders or without labels; see `layout`."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from shiftscope.data.arrays import checksum
from shiftscope.data.base import UNLABELED, Dataset, NoImages, TensorImages
from shiftscope.data.image_file import Header, common_scale, measure, read_pixels, short_name
from shiftscope.data.layout import Layout, Listing, image_files, list_layout, shuffled
from shiftscope.data.resizing import Size, Target, differ_much, usual_size
from shiftscope.errors import DataError, some_of
from shiftscope.settings import Resize
from shiftscope.text import valid_unicode

LICENSE = "unknown"
MAX_BYTES = 8 * 2**30
"""Largest size of the pixels of a folder that is read into memory."""

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
    source: str
    """Description of the origin of the images."""
    notes: tuple[str, ...]

    @property
    def name(self) -> str:
        """Name of the dataset."""
        return valid_unicode(self.path.resolve().name)


def read_folder(path: Path | str, *, image_size: Size | None = None, resize: Resize = "pad", background: int = 0,
                check_size: CheckSize | None = None) -> Dataset:
    """Return the image files below `path` as a dataset.

    Labels are the class folders. Images that are not in class folders have no labels and are test images, sorted by
    their paths; `layout` lists all layouts.

    Sizes: all images are resized (bilinear) to `image_size`, by default to the size that `resizing.usual_size` chooses
    among those of the training set, or of the test set if there is none. Color: three channels if any image has a
    colored pixel, else one. Transparent pixels are composed on black; the EXIF orientation is applied; of several
    frames the first is used. 16-bit gray is scaled to 8 bits by the depth of the whole folder: the smallest of 8, 10,
    12 and 16 bits that holds its largest value. The dataset's `notes` list ignored files, resizing and
    scaling; `preparation` states the resizing.

    Args:
        path: the folder.
        image_size: (height, width) in pixels.
        resize: "pad": the aspect ratio is kept, and the image is centered and padded; "stretch": it is not kept.
        background: pixel value of the padding, 0 to 255.
        check_size: called with the (height, width) of all images before any image is decoded; it may raise.

    Raises:
        UsageError: if the size has no pixels or too many.
        DataError: if the folder has an invalid layout (see `list_layout`), an image is unreadable or neither PNG nor
            JPEG, or there are more pixels than `MAX_BYTES`.
    """
    path = Path(path).expanduser()
    layout = list_layout(path)
    plan = plan_folder(path, layout, map(measure, files_of(layout)), image_size, check_size, resize=resize,
                       background=background)
    _require_memory(plan)
    splits = {name: _read(listing, plan) for name, listing in (("train", layout.train), ("test", layout.test))
              if listing}
    channels = 3 if any(color for _, color in splits.values()) else 1
    sets = {name: TensorImages(images.images[:, :channels].contiguous(), images.labels, images.files)
            for name, (images, _) in splits.items()}
    return Dataset(name=plan.name, class_names=layout.class_names, test=sets["test"],
                   train=sets.get("train") or NoImages(plan.name, sets["test"].shape), source=plan.source,
                   license=LICENSE, notes=plan.notes, resize=resize, preparation=plan.preparation,
                   labeled=layout.labeled,
                   checksums={f"{name}_images": checksum(images.images) for name, images in sets.items()})


def files_of(layout: Layout) -> list[Path]:
    """Return all files of a folder, those of the training set first."""
    return image_files(layout.train) + image_files(layout.test)


def plan_folder(path: Path, layout: Layout, headers: Iterable[Header], image_size: Size | None,
                check_size: CheckSize | None = None, *, resize: Resize = "pad", background: int = 0) -> Plan:
    """Return the reading parameters of the images of a folder.

    Args:
        headers: of `files_of(layout)`, in that order.
        image_size, check_size, resize, background: as in `read_folder`.
    """
    given = None if image_size is None else Target(size=image_size, resize=resize, background=background)
    files, headers = files_of(layout), list(headers)
    sizes = [header.size for header in headers]
    first = len(image_files(layout.train)) or len(files)
    target = given or Target(size=usual_size(sizes[:first]), resize=resize, background=background)
    if check_size is not None:
        check_size(target.size)
    others = sum(size != target.size for size in sizes)
    scale = common_scale(file for file, header in zip(files, headers, strict=True) if header.deep or header.animated)
    preparation = f"{others:,} of {len(files):,} images {target.describe()}" if others else ""
    return Plan(path=path, layout=layout, target=target, gray=all(header.gray for header in headers), bits=scale.bits,
                preparation=preparation,
                source=f"image files in the folder {valid_unicode(path.resolve().name)}, "
                       f"{preparation or '{} x {} (height x width) pixels'.format(*target.size)}",
                notes=(*layout.notes, *_size_notes(files, sizes, target, chosen=given is None), *scale.notes()))


def _size_notes(files: list[Path], sizes: list[Size], target: Target, *, chosen: bool) -> list[str]:
    """Return a note about resized images with an example, and a warning if sizes differ much and none was given."""
    others = [index for index, size in enumerate(sizes) if size != target.size]
    if not others:
        return []
    same = next((index for index, size in enumerate(sizes) if size == target.size), None)
    example = "" if same is None else f", the size of {some_of([short_name(files[same])])}"
    first, (height, width) = some_of([short_name(files[others[0]])]), sizes[others[0]]
    notes = [f"{len(others):,} of {len(files):,} images have another size and are {target.describe()}{example}: "
             f"{first} is {height} x {width}"]
    if chosen and differ_much(sizes, target.size):
        low, high = (f"{height} x {width}" for height, width in _extremes(sizes))
        notes.append(f"the sizes of the images differ much, from {low} to {high}: check the size that was chosen, or "
                     "set one with --image-size H W (image_size=)")
    return notes


def _extremes(sizes: Iterable[Size]) -> tuple[Size, Size]:
    """Return the sizes with the smallest and the largest area."""
    ordered = sorted(sizes, key=lambda size: (size[0] * size[1], size))
    return ordered[0], ordered[-1]


def _require_memory(plan: Plan) -> None:
    count, (height, width) = len(files_of(plan.layout)), plan.target.size
    needed = count * height * width * (1 if plan.gray else 3)
    if needed > MAX_BYTES:
        raise DataError(f"the {count:,} images of {plan.name} take {needed / 1e9:,.1f} GB as {height} x {width} "
                        f"pixels, at most {MAX_BYTES / 1e9:,.1f} GB are read into memory: make them smaller "
                        "(--image-size H W, image_size=), or pack them with `shiftscope data pack` and use "
                        "packed:PATH")


def _read(listing: Listing, plan: Plan) -> tuple[TensorImages, bool]:
    """Return the images of a split, and True if any has a colored pixel; with one channel if all modes are gray."""
    files, color = _ordered(listing, plan.layout), False
    images = np.empty((len(files), 1 if plan.gray else 3, *plan.target.size), dtype=np.uint8)
    for image, (file, _) in zip(images, files, strict=True):
        image[:] = read_pixels(file, plan.target, bits=plan.bits)
        color = color or bool((image != image[:1]).any())
    names = [valid_unicode(file.relative_to(plan.path).as_posix()) for file, _ in files]
    return TensorImages(torch.from_numpy(images), torch.tensor([label for _, label in files]), names), color


def _ordered(listing: Listing, layout: Layout) -> list[tuple[Path, int]]:
    """Return (file, label) of all images: shuffled, or sorted if they have no labels."""
    return shuffled(listing) if layout.labeled else [(file, UNLABELED) for file in image_files(listing)]
