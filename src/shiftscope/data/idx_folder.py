"""The user's own IDX files: EMNIST, KMNIST, QMNIST's images and other sets with the file names of MNIST."""

import re
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np

from shiftscope.data.base import Dataset
from shiftscope.data.emnist import CLASS_NAMES, NOTE, emnist_set, upright
from shiftscope.data.idx import read_idx
from shiftscope.data.images import from_either
from shiftscope.errors import DataError, some_of
from shiftscope.files import reason
from shiftscope.text import valid_unicode

_FILE = re.compile(r"(.*?)-?(train|t10k|test)-(images|labels)[-.]idx[13]-ubyte(\.gz)?")
_PARTS = [(split, kind) for split in ("train", "test") for kind in ("images", "labels")]

Files = dict[tuple[str, str], Path]
"""(split, "images" or "labels") -> file."""


def read_idx_folder(path: Path | str) -> Dataset:
    """Return the dataset of the IDX files in a folder, plain or gzipped.

    Args:
        path: a folder with one set of files called [PREFIX-]train-images-idx3-ubyte, train-labels-idx1-ubyte,
            t10k-images-idx3-ubyte (or test-) and t10k-labels-idx1-ubyte; or FOLDER/PREFIX. Without training files, the
            dataset has test images only. Files of EMNIST (emnist-letters, ...) are read upright and with class names.

    Raises:
        DataError: if files are missing, ambiguous, damaged, too large, or not of unsigned bytes.
    """
    path = Path(path).expanduser()
    files = _find_set(path)
    arrays = {part: _read(file) for part, file in files.items()}
    for split in {split for split, _ in files}:
        images, labels = arrays[split, "images"], arrays[split, "labels"]
        if (images.ndim, labels.ndim) != (3, 1):
            raise DataError(f"{files[split, 'images']} and its file of labels hold arrays of shapes {images.shape} and "
                            f"{labels.shape}, expected (N, H, W) and (N,): check which file is which")
    kind = emnist_set(files["test", "images"])
    if kind is not None:
        for split in {split for split, _ in files}:
            arrays[split, "images"], arrays[split, "labels"] = upright(kind, arrays[split, "images"],
                                                                       arrays[split, "labels"])
    name = valid_unicode(path.name)
    data = from_either([arrays[part] for part in _PARTS if part in arrays], name=name, source=f"IDX files in {name}",
                       class_names=list(CLASS_NAMES[kind]) if kind else None)
    return replace(data, notes=(NOTE, *data.notes)) if kind else data


def _find_set(path: Path) -> Files:
    """Return the files of one set.

    Raises:
        DataError: if there is none, several, or one is missing.
    """
    folder, prefix = (path, None) if path.is_dir() else (path.parent, path.name.rstrip("-"))
    sets: defaultdict[str, Files] = defaultdict(dict)
    try:
        entries = sorted(folder.iterdir()) if folder.is_dir() else []
    except OSError as error:
        raise DataError(f"cannot list the folder {folder}: {reason(error)}; change its permissions, or remove it"
                        ) from error
    for file in entries:
        if (found := _FILE.fullmatch(file.name)) and prefix in (None, found[1]):
            sets[found[1]].setdefault(("train" if found[2] == "train" else "test", found[3]), file)
    if not sets:
        raise DataError(f"{path} has no IDX files, expected files such as t10k-images-idx3-ubyte and "
                        "t10k-labels-idx1-ubyte, plain or gzipped: write idx:FOLDER, or idx:FOLDER/PREFIX if "
                        "their names begin with PREFIX-")
    if len(sets) > 1:
        raise DataError(f"{path} holds several sets of IDX files: name one of them, for example "
                        f"idx:{path / max(sets)}; their prefixes are {some_of(sorted(map(repr, sets)))}")
    files = next(iter(sets.values()))
    splits = {split for split, _ in files} | {"test"}
    missing = [f"{split}-{kind}" for split, kind in _PARTS if split in splits and (split, kind) not in files]
    if missing:
        raise DataError(f"{path} lacks the IDX files {', '.join(missing)}: it holds "
                        f"{some_of([file.name for file in files.values()])}; add them")
    return {part: files[part] for part in _PARTS if part in files}


def _read(file: Path) -> np.ndarray:
    try:
        return read_idx(file)
    except OSError as error:
        raise DataError(f"{file} is not a readable IDX file: {reason(error)}; replace it, or convert it with "
                        "numpy.savez and read it as npz:FILE") from error
