"""Fashion-MNIST (Xiao, Rasul & Vollgraf 2017, arXiv 1708.07747): 60,000 + 10,000 garments, gray, 28 x 28.

Its four files are used where they are found, plain or gzipped, and fetched where they are not. Every file that is used
is checked by its SHA-256.
"""

import hashlib
from pathlib import Path

import torch

from shiftscope.data import idx
from shiftscope.data.base import Dataset, TensorImages
from shiftscope.data.download import download
from shiftscope.data.places import DATA_DIR_VARIABLE, search_folders
from shiftscope.errors import DataError
from shiftscope.progress import Progress, SilentProgress

NAME = "fashion-mnist"
CLASS_NAMES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
SOURCE = "Fashion-MNIST by Zalando Research, https://github.com/zalandoresearch/fashion-mnist"
LICENSE = "MIT, Copyright 2017 Zalando SE"

MIRRORS = (
    "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
    "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
)
"""Addresses of folders that hold the gzipped files, tried in this order."""

PACKED_SHA256 = {
    "train-images-idx3-ubyte": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
    "train-labels-idx1-ubyte": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
    "t10k-images-idx3-ubyte": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
    "t10k-labels-idx1-ubyte": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
}
"""SHA-256 of each file as it is fetched: gzipped, with .gz behind its name."""

UNPACKED_SHA256 = {
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}
"""SHA-256 of each file once unpacked, however it was packed."""


def find(name: str, folders: list[Path]) -> Path | None:
    """Return the first file called `name` or `name`.gz in `folders`, or None."""
    candidates = (folder / (name + suffix) for folder in folders for suffix in ("", ".gz"))
    return next((path for path in candidates if path.is_file()), None)


def load_fashion_mnist(data_dir: Path | str | None = None, progress: Progress | None = None) -> Dataset:
    """Return Fashion-MNIST, fetching what no folder holds.

    Args:
        data_dir: folder that is looked into first, and filled where no folder holds the files.
        progress: where a download shows itself.

    Raises:
        DataError: a file is damaged, or missing and every address fails.
    """
    contents = {}
    for name, path in zip(UNPACKED_SHA256, obtain(data_dir, progress), strict=True):
        dimensions = 3 if "images" in name else 1
        contents[name] = torch.from_numpy(idx.parse(read_checked(name, path), path, dimensions, _remedy(path)))
    train, test = (TensorImages(contents[f"{part}-images-idx3-ubyte"][:, None], contents[f"{part}-labels-idx1-ubyte"])
                   for part in ("train", "t10k"))
    return Dataset(name=NAME, class_names=CLASS_NAMES, train=train, test=test, source=SOURCE, license=LICENSE,
                   checksums=dict(UNPACKED_SHA256))


def read_checked(name: str, path: Path) -> bytes:
    """Return the unpacked content of the file at `path`, which must be the dataset's file `name`.

    Raises:
        DataError: unreadable, or its SHA-256 is another one.
    """
    content = idx.read_bytes(path, 3 if "images" in name else 1, _remedy(path))
    found = hashlib.sha256(content).hexdigest()
    if found != UNPACKED_SHA256[name]:
        raise DataError(f"{path} is damaged or another file: the SHA-256 of its content is {found}, expected "
                        f"{UNPACKED_SHA256[name]}; {_remedy(path)}")
    return content


def _remedy(path: Path) -> str:
    return f"delete {path.name} and run `shiftscope data fetch {NAME}`, or put a good copy in its place"


def obtain(data_dir: Path | str | None = None, progress: Progress | None = None) -> list[Path]:
    """Return the paths of the four files, fetching those that no folder holds.

    A file that is found is not checked here, but a file that is fetched is.

    Raises:
        DataError: a file is missing and every address fails.
    """
    folders = search_folders(data_dir, NAME)
    paths = []
    for name, sha256 in PACKED_SHA256.items():
        path = find(name, folders)
        if path is None:
            path = folders[0] / f"{name}.gz"
            download([mirror + path.name for mirror in MIRRORS], path, sha256, progress or SilentProgress(),
                     remedy=_without_network(folders[0]))
        paths.append(path)
    return paths


def _without_network(folder: Path) -> str:
    files = ", ".join(f"{name}.gz" for name in PACKED_SHA256)
    return (f"without a network, put {files} into {folder}, name their folder with --data-dir or {DATA_DIR_VARIABLE}, "
            "or use --data garments")


def fetch(data_dir: Path | str | None = None, progress: Progress | None = None) -> list[Path]:
    """Make sure that the four files are there and whole, and return their paths.

    Raises:
        DataError: a file is damaged, or missing and every address fails.
    """
    paths = obtain(data_dir, progress)
    for name, path in zip(UNPACKED_SHA256, paths, strict=True):
        read_checked(name, path)
    return paths
