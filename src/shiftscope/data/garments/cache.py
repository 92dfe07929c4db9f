"""The synthetic garments as a dataset, kept in the user's cache folder once drawn."""

import hashlib
import io
import re
from pathlib import Path

import numpy as np
import torch

from shiftscope import files
from shiftscope.data.base import Dataset, TensorImages
from shiftscope.data.garments.drawing import PAINTERS, VERSION, draw
from shiftscope.data.garments.raster import SIZE
from shiftscope.data.download import cache_folder
from shiftscope.errors import OutputError, UsageError, require, shortened
from shiftscope.npz import read_arrays
from shiftscope.progress import Progress, SilentProgress

NAME = "garments"
TRAIN_IMAGES, TEST_IMAGES = 12_000, 2_000
"""How many images there are unless asked otherwise."""

MOST_IMAGES = 200_000
"""Training and test images together. So many take minutes to draw and 160 MB of memory."""

LICENSE = "MIT, The Shiftscope developers"
_SPLITS = ("train", "test")


def load_garments(*, train_images: int = TRAIN_IMAGES, test_images: int = TEST_IMAGES, seed: int = 0,
                  progress: Progress | None = None) -> Dataset:
    """Return synthetic garments: ten classes with Fashion-MNIST's names, gray, 28 x 28, filling the frame.

    Image i of a split depends on the seed alone, not on how many are asked for.

    Raises:
        UsageError: fewer than ten images in a split, so that a class would have none; more than `MOST_IMAGES` in all.
    """
    counts = (train_images, test_images)
    for name, count in zip(("train_images", "test_images"), counts, strict=True):
        require(count >= len(PAINTERS), name, count, f"a whole number of at least {len(PAINTERS)}, one image a class")
    require(sum(counts) <= MOST_IMAGES, "train_images + test_images", sum(counts), f"at most {MOST_IMAGES:,} in all")
    path = cache_path(counts, seed)
    arrays = _read(path, counts)
    if arrays is None:
        arrays = _draw(counts, seed, progress or SilentProgress())
        _write(path, arrays)
    train, test = (TensorImages(torch.from_numpy(arrays[f"{split}_images"])[:, None],
                                torch.from_numpy(arrays[f"{split}_labels"])) for split in _SPLITS)
    checksums = {name: hashlib.sha256(array.tobytes()).hexdigest() for name, array in arrays.items()}
    return Dataset(name=NAME, class_names=tuple(PAINTERS), train=train, test=test, license=LICENSE, synthetic=True,
                   source=f"drawn by Shiftscope's own code (version {VERSION} of the drawings, seed {seed})",
                   checksums=checksums)


def named_counts(text: str) -> tuple[int, int]:
    """Return the numbers of training and test images in what follows "garments:".

    Raises:
        UsageError: the text is not TRAIN,TEST with two whole numbers.

    Example:
        >>> named_counts("300,60")
        (300, 60)
    """
    match = re.fullmatch(r"\s*([0-9]{1,15})\s*,\s*([0-9]{1,15})\s*", text)
    if match is None:
        raise UsageError(f"garments:{shortened(text, 40)} must be garments:TRAIN,TEST with two whole numbers, for "
                         "instance garments:12000,2000")
    return int(match[1]), int(match[2])


def cache_path(counts: tuple[int, int] = (TRAIN_IMAGES, TEST_IMAGES), seed: int = 0) -> Path:
    """Return where the drawings are kept; the file need not exist."""
    return cache_folder() / NAME / f"garments-v{VERSION}-seed{seed}-{counts[0]}-{counts[1]}.npz"


def _draw(counts: tuple[int, int], seed: int, progress: Progress) -> dict[str, np.ndarray]:
    arrays = {}
    for split, (name, count) in enumerate(zip(_SPLITS, counts, strict=True)):
        images, labels = draw(count, seed=seed, split=split, progress=progress)
        arrays[f"{name}_images"], arrays[f"{name}_labels"] = images[:, 0].numpy(), labels.numpy()
    return arrays


def _read(path: Path, counts: tuple[int, int]) -> dict[str, np.ndarray] | None:
    """Return the cached drawings; None where there are none, or where the file is not whole."""
    names = [f"{split}_{what}" for split in _SPLITS for what in ("images", "labels")]
    try:
        arrays = read_arrays(path, names, limit=2 * sum(counts) * (SIZE * SIZE + 8) + 2**20)
    except OSError:
        return None
    if set(arrays) != set(names):
        return None
    for split, count in zip(_SPLITS, counts, strict=True):
        images, labels = arrays[f"{split}_images"], arrays[f"{split}_labels"]
        kinds = (images.dtype, images.shape, labels.dtype, labels.shape)
        if kinds != (np.uint8, (count, SIZE, SIZE), np.int64, (count,)):
            return None
    return arrays


def _write(path: Path, arrays: dict[str, np.ndarray]) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    try:
        files.write_bytes(path, buffer.getvalue())
    except OutputError:
        return  # a cache that cannot be kept only costs time
