"""Fashion-MNIST (Xiao, Rasul & Vollgraf 2017, arXiv 1708.07747): 60,000 + 10,000 garments, gray, 28 x 28.

Its four files, plain or gzipped, are taken from the first folder that has them, or downloaded. The SHA-256 of every
file is verified.
"""

import gzip
import hashlib
import zlib
from pathlib import Path

import numpy as np
import torch

from shiftscope.data.base import Dataset, TensorImages
from shiftscope.data.download import DATA_DIR_VARIABLE, download, search_folders
from shiftscope.errors import DataError
from shiftscope.files import open_regular
from shiftscope.progress import Progress, SilentProgress

NAME = "fashion-mnist"
CLASS_NAMES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
SOURCE = "Fashion-MNIST by Zalando Research, https://github.com/zalandoresearch/fashion-mnist"
LICENSE = "MIT, Copyright 2017 Zalando SE"

MIRRORS = (
    "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
    "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
)
"""Addresses of folders with the gzipped files, tried in this order."""

GZIPPED_SHA256 = {
    "train-images-idx3-ubyte": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
    "train-labels-idx1-ubyte": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
    "t10k-images-idx3-ubyte": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
    "t10k-labels-idx1-ubyte": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
}
"""SHA-256 of each downloaded file, whose name ends on .gz."""

UNPACKED_SHA256 = {
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}
"""SHA-256 of each unpacked file."""

_MAX_BYTES = 16 + 60_000 * 28 * 28  # of the largest unpacked file


def find(name: str, folders: list[Path]) -> Path | None:
    """Return the first file called `name` or `name`.gz in `folders`, or None."""
    candidates = (folder / (name + suffix) for folder in folders for suffix in ("", ".gz"))
    return next((path for path in candidates if path.is_file()), None)


def load_fashion_mnist(data_dir: Path | str | None = None, progress: Progress | None = None) -> Dataset:
    """Return Fashion-MNIST; files that are in no folder are downloaded.

    Args:
        data_dir: folder that is searched first; downloads go there.
        progress: shows downloads.

    Raises:
        DataError: if a file is damaged, or missing and every download fails.
    """
    arrays = {name: torch.from_numpy(_parse(read_verified(name, path)))
              for name, path in zip(UNPACKED_SHA256, obtain(data_dir, progress), strict=True)}
    train, test = (TensorImages(arrays[f"{part}-images-idx3-ubyte"][:, None], arrays[f"{part}-labels-idx1-ubyte"])
                   for part in ("train", "t10k"))
    return Dataset(name=NAME, class_names=CLASS_NAMES, train=train, test=test, source=SOURCE, license=LICENSE,
                   checksums=dict(UNPACKED_SHA256))


def read_verified(name: str, path: Path) -> bytes:
    """Return the unpacked content of the file at `path`, which must be the dataset's file `name`.

    Raises:
        DataError: if the file is unreadable or has another SHA-256.
    """
    remedy = f"delete {path.name} and run `shiftscope data fetch {NAME}`, or replace it with a good copy"
    try:
        with open_regular(path, _MAX_BYTES) as stream:
            gzipped = stream.read(2) == b"\x1f\x8b"
            stream.seek(0)
            content = (gzip.GzipFile(fileobj=stream) if gzipped else stream).read(_MAX_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:  # EOFError: truncated gzip data
        raise DataError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}; {remedy}") from error
    found = hashlib.sha256(content).hexdigest()
    if found != UNPACKED_SHA256[name]:
        raise DataError(f"{path} is damaged or another file: the SHA-256 of its content is {found}, expected "
                        f"{UNPACKED_SHA256[name]}; {remedy}")
    return content


def _parse(content: bytes) -> np.ndarray:
    """Return the values of an IDX file of unsigned bytes: magic number, sizes, values.

    >>> _parse(bytes([0, 0, 8, 1, 0, 0, 0, 2, 5, 7]))
    array([5, 7], dtype=uint8)
    """
    sizes = np.frombuffer(content, ">u4", count=content[3], offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + sizes.nbytes).reshape(sizes).copy()


def obtain(data_dir: Path | str | None = None, progress: Progress | None = None) -> list[Path]:
    """Return the paths of the four files after downloading those that are in no folder.

    Raises:
        DataError: if a file is missing and every download fails.
    """
    folders = search_folders(data_dir, NAME)
    paths = []
    for name, sha256 in GZIPPED_SHA256.items():
        path = find(name, folders)
        if path is None:
            path = folders[0] / f"{name}.gz"
            download([mirror + path.name for mirror in MIRRORS], path, sha256, progress or SilentProgress(),
                     remedy=f"without a network, put {', '.join(f'{name}.gz' for name in GZIPPED_SHA256)} into "
                            f"{folders[0]}, name their folder with --data-dir or {DATA_DIR_VARIABLE}, or use "
                            "--data garments")
        paths.append(path)
    return paths


def fetch(data_dir: Path | str | None = None, progress: Progress | None = None) -> list[Path]:
    """Download missing files, verify all four, and return their paths; errors as `load_fashion_mnist`."""
    paths = obtain(data_dir, progress)
    for name, path in zip(UNPACKED_SHA256, paths, strict=True):
        read_verified(name, path)
    return paths
