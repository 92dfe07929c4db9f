"""Published datasets of four IDX files: found in a folder or downloaded, and verified by their SHA-256."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from shiftscope.data.base import Dataset, TensorImages
from shiftscope.data.download import DATA_DIR_VARIABLE, download, search_folders
from shiftscope.data.idx import parse_idx, read_unpacked
from shiftscope.errors import DataError
from shiftscope.files import reason
from shiftscope.progress import Progress, SilentProgress

_MAX_BYTES = 16 + 60_000 * 28 * 28  # of the largest unpacked file


@dataclass(frozen=True, kw_only=True)
class Published:
    """A dataset of 60,000 + 10,000 gray images of 28 x 28 in the four files of MNIST, plain or gzipped."""

    name: str
    """Name in `load_dataset` and of the folder in the user's cache."""
    description: str
    class_names: tuple[str, ...]
    source: str
    license: str
    mirrors: tuple[str, ...]
    """Addresses of folders with the gzipped files, tried in this order."""
    gzipped_sha256: Mapping[str, str]
    """SHA-256 of each downloaded file by its name without .gz."""
    unpacked_sha256: Mapping[str, str]
    """SHA-256 of each unpacked file, in the same order."""

    def load(self, data_dir: Path | str | None = None, progress: Progress | None = None) -> Dataset:
        """Return the dataset; files that are in no folder are downloaded.

        Args:
            data_dir: folder that is searched first; downloads go there.
            progress: shows downloads.

        Raises:
            DataError: if a file is damaged, or missing and every download fails.
        """
        arrays = {name: torch.from_numpy(parse_idx(self.read_verified(name, path)))
                  for name, path in zip(self.unpacked_sha256, self.obtain(data_dir, progress), strict=True)}
        train, test = (TensorImages(arrays[f"{part}-images-idx3-ubyte"][:, None], arrays[f"{part}-labels-idx1-ubyte"])
                       for part in ("train", "t10k"))
        return Dataset(name=self.name, class_names=self.class_names, train=train, test=test, source=self.source,
                       license=self.license, checksums=dict(self.unpacked_sha256))

    def found(self, folders: list[Path]) -> list[Path] | None:
        """Return the paths of the four files in `folders`, or None if one of them is missing."""
        paths = [path for name in self.gzipped_sha256 if (path := find(name, folders)) is not None]
        return paths if len(paths) == len(self.gzipped_sha256) else None

    def read_verified(self, name: str, path: Path) -> bytes:
        """Return the unpacked content of the file at `path`, which must be the dataset's file `name`.

        Raises:
            DataError: if the file is unreadable or has another SHA-256.
        """
        remedy = f"delete {path.name} and run `shiftscope data fetch {self.name}`"
        try:
            content = read_unpacked(path, _MAX_BYTES)
        except OSError as error:
            raise DataError(f"cannot read {path}: {reason(error)}; {remedy}, or replace it with a good copy") from error
        found = hashlib.sha256(content).hexdigest()
        if found != self.unpacked_sha256[name]:
            raise DataError(f"{path} is damaged or another file: the SHA-256 of its content is {found:.12}…, expected "
                            f"{self.unpacked_sha256[name]:.12}…; {remedy}, or, if it belongs to another "
                            f"dataset, put the files of {self.name} into a folder {self.name} beside it")
        return content

    def obtain(self, data_dir: Path | str | None = None, progress: Progress | None = None) -> list[Path]:
        """Return the paths of the four files after downloading those that are in no folder.

        Raises:
            DataError: if a file is missing and every download fails.
        """
        folders = search_folders(data_dir, self.name)
        paths = []
        for name, sha256 in self.gzipped_sha256.items():
            path = find(name, folders)
            if path is None:
                path = folders[0] / f"{name}.gz"
                download([mirror + path.name for mirror in self.mirrors], path, sha256, progress or SilentProgress(),
                         remedy=f"without a network, put {', '.join(f'{one}.gz' for one in self.gzipped_sha256)} "
                                f"into {folders[0]}, name their folder with --data-dir or {DATA_DIR_VARIABLE}, or use "
                                "--data garments")
            paths.append(path)
        return paths

    def fetch(self, data_dir: Path | str | None = None, progress: Progress | None = None) -> list[Path]:
        """Download missing files, verify all four, and return their paths; errors as `load`."""
        paths = self.obtain(data_dir, progress)
        for name, path in zip(self.unpacked_sha256, paths, strict=True):
            self.read_verified(name, path)
        return paths


def find(name: str, folders: list[Path]) -> Path | None:
    """Return the first file called `name` or `name`.gz in `folders`, or None."""
    candidates = (folder / (name + suffix) for folder in folders for suffix in ("", ".gz"))
    return next((path for path in candidates if path.is_file()), None)
