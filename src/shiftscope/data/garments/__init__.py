"""Synthetic garments: a dataset that needs no download, cached in the user's cache folder once drawn."""

import hashlib
import io
import re
from pathlib import Path

import numpy as np
import torch

from shiftscope import files, hashing
from shiftscope.data.base import Dataset, TensorImages
from shiftscope.data.download import cache_folder
from shiftscope.data.garments import others, tops
from shiftscope.data.garments.painting import SIZE, Painter, Random
from shiftscope.errors import OutputError, UsageError, require, shortened
from shiftscope.hashing import Stream
from shiftscope.npz import read_arrays
from shiftscope.progress import Progress, SilentProgress

NAME = "garments"
TRAIN_IMAGES, TEST_IMAGES = 12_000, 2_000
"""Default numbers of images."""

MAX_IMAGES = 200_000
"""Largest number of training and test images together. They take minutes to draw and 160 MB of memory."""

LICENSE = "MIT, The Shiftscope developers"
VERSION = 1
"""Version of the drawings; cached images of another version are not used."""

PAINTERS: dict[str, Painter] = {
    "T-shirt/top": tops.t_shirt, "Trouser": others.trouser, "Pullover": tops.pullover, "Dress": tops.dress,
    "Coat": tops.coat, "Sandal": others.sandal, "Shirt": tops.shirt, "Sneaker": others.sneaker, "Bag": others.bag,
    "Ankle boot": others.ankle_boot,
}
"""Class name -> painter, in the order of the labels, which is that of Fashion-MNIST."""

_SPLITS = ("train", "test")
_BATCH = 200  # images of one class at a time: their layers stay in the processor's cache


def load_garments(*, train_images: int = TRAIN_IMAGES, test_images: int = TEST_IMAGES, seed: int = 0,
                  progress: Progress | None = None) -> Dataset:
    """Return synthetic garments: ten classes with the names of Fashion-MNIST, gray, 28 x 28, filling the image.

    Image i of a split depends on the seed only, not on the number of images.

    Raises:
        UsageError: if a split has fewer than ten images (one per class), or both have more than `MAX_IMAGES`.
    """
    counts = (train_images, test_images)
    for name, count in zip(("train_images", "test_images"), counts, strict=True):
        require(count >= len(PAINTERS), name, count, f"an integer of at least {len(PAINTERS)}, one image per class")
    require(sum(counts) <= MAX_IMAGES, "train_images + test_images", sum(counts), f"at most {MAX_IMAGES:,} in all")
    path = cache_path(counts, seed)
    arrays = _read(path, counts)
    if arrays is None:
        arrays = {}
        for split, (name, count) in enumerate(zip(_SPLITS, counts, strict=True)):
            images, labels = draw(count, seed=seed, split=split, progress=progress or SilentProgress())
            arrays[f"{name}_images"], arrays[f"{name}_labels"] = images[:, 0].numpy(), labels.numpy()
        _write(path, arrays)
    train, test = (TensorImages(torch.from_numpy(arrays[f"{split}_images"])[:, None],
                                torch.from_numpy(arrays[f"{split}_labels"])) for split in _SPLITS)
    checksums = {name: hashlib.sha256(array.tobytes()).hexdigest() for name, array in arrays.items()}
    return Dataset(name=NAME, class_names=tuple(PAINTERS), train=train, test=test, license=LICENSE, synthetic=True,
                   source=f"synthetic images drawn by Shiftscope (version {VERSION} of the drawings, seed {seed})",
                   checksums=checksums)


def parse_counts(text: str) -> tuple[int, int]:
    """Return the numbers of training and test images in the text after "garments:".

    Raises:
        UsageError: if the text is not TRAIN,TEST with two integers.

    Example:
        >>> parse_counts("300,60")
        (300, 60)
    """
    match = re.fullmatch(r"\s*([0-9]{1,15})\s*,\s*([0-9]{1,15})\s*", text)
    if match is None:
        raise UsageError(f"garments:{shortened(text, 40)} must be garments:TRAIN,TEST with two integers, for example "
                         "garments:12000,2000")
    return int(match[1]), int(match[2])


def cache_path(counts: tuple[int, int] = (TRAIN_IMAGES, TEST_IMAGES), seed: int = 0) -> Path:
    """Return the path of the cached images, which may not exist."""
    return cache_folder() / NAME / f"garments-v{VERSION}-seed{seed}-{counts[0]}-{counts[1]}.npz"


def draw(count: int, *, seed: int, split: int, progress: Progress) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw the first `count` images of a split.

    Image i depends on (seed, split, i) only. Every ten consecutive images hold each class once.

    Returns:
        Images uint8 (count, 1, 28, 28) and labels int64 (count,).
    """
    start = hashing.stream(Stream.GARMENTS, VERSION, seed, split)
    labels = _labels(start, count)
    images = torch.empty(count, 1, SIZE, SIZE, dtype=torch.uint8)
    task = progress.task("drawing garments", count)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the batches are too small for more threads
    try:
        for label, painter in enumerate(PAINTERS.values()):
            for indices in (labels == label).nonzero().flatten().split(_BATCH):
                random = Random(start, indices)
                images[indices, 0] = torch.from_numpy(painter(random).finish(random))
                task.advance(len(indices))
    finally:
        torch.set_num_threads(threads)
        task.close()
    return images, labels


def _labels(start: int, count: int) -> torch.Tensor:
    """Return labels (count,): each block of ten is a random order of the ten classes."""
    classes = len(PAINTERS)
    blocks = -(-count // classes)
    keys = hashing.mix(torch.arange(blocks * classes) ^ start).view(blocks, classes)
    return keys.argsort(dim=1, stable=True).flatten()[:count]


def _read(path: Path, counts: tuple[int, int]) -> dict[str, np.ndarray] | None:
    """Return the cached images, or None if the file is missing or damaged."""
    expected = {}
    for split, count in zip(_SPLITS, counts, strict=True):
        expected[f"{split}_images"] = (np.uint8, (count, SIZE, SIZE))
        expected[f"{split}_labels"] = (np.int64, (count,))
    try:
        arrays = read_arrays(path, expected, limit=2 * sum(counts) * (SIZE * SIZE + 8) + 2**20)
    except OSError:
        return None
    return arrays if {name: (array.dtype, array.shape) for name, array in arrays.items()} == expected else None


def _write(path: Path, arrays: dict[str, np.ndarray]) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    try:
        files.write_bytes(path, buffer.getvalue())
    except OutputError:
        return  # without the cache the images are drawn again
