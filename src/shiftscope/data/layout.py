"""Which files of a folder belong to which class and split; no picture is opened here, and what is left out is counted.

Two layouts: PATH/train/CLASS/*.png with PATH/test/CLASS/*.png, or PATH/CLASS/*.png, which is split 5 : 1 within every
class, the same way each time.
"""

import os
import stat
import unicodedata
import zlib
from collections import Counter, defaultdict
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from shiftscope import hashing
from shiftscope.data.base import require_classes
from shiftscope.errors import DataError, some_of
from shiftscope.hashing import Stream
from shiftscope.text import valid_unicode

SUFFIXES = (".png", ".jpg", ".jpeg")
_SPLIT_START = hashing.stream(Stream.FOLDER_SPLIT)

_OTHER_PICTURES = (".gif", ".webp", ".bmp", ".tif", ".tiff", ".heic", ".heif", ".avif", ".jfif", ".jpe", ".jp2", ".pgm",
                   ".ppm", ".tga")
_SPLITS = {"train": "train", "training": "train", "test": "test", "testing": "test", "val": "validation",
           "valid": "validation", "validation": "validation"}
"""Folder names in lower case, and the split that they mean."""

_SYSTEM = ("__macosx", "@eadir", "#recycle", "$recycle.bin", "system volume information", "lost+found", "__pycache__",
           "thumbs.db", "ehthumbs.db", "desktop.ini")
_TEST_SHARE = 6  # every sixth image of a class goes to the test set
_MOST_COUNTED = 10_000  # files below folders that are left out

Listing = dict[str, list[Path]]
"""Class name -> its picture files, both sorted."""


@dataclass(frozen=True)
class Layout:
    """The picture files of a folder, by split and class."""

    train: Listing
    test: Listing
    notes: tuple[str, ...]
    """What was left out."""


def pictures(listing: Listing) -> list[Path]:
    """Return all files of a listing, class by class."""
    return [file for files in listing.values() for file in files]


def list_layout(path: Path) -> Layout:
    """Return the training and the test files of either layout.

    Raises:
        DataError: no such folder, fewer than two classes, an empty class, one split without the other, different
            classes in the splits, or a name with two meanings.
    """
    _require_folder(path)
    left = _LeftOut(path)
    splits = _find_splits(path, left)
    if not splits:
        left = _LeftOut(path)
        train, test = _split(_list_classes(path, left))
    else:
        train, test = (_list_classes(splits[part], left) for part in ("train", "test"))
        _require_same_classes(path, splits, train, test)
    return Layout(train, test, tuple(left.notes()))


# ---------------------------------------------------------------------- what is left out

class _LeftOut:
    """Files and folders that are no part of a dataset, by the reason."""

    def __init__(self, root: Path):
        self.root = root
        self.found: defaultdict[str, list[str]] = defaultdict(list)
        self.folders: defaultdict[str, list[Path]] = defaultdict(list)

    def add(self, reason: str, path: Path) -> None:
        name = path.relative_to(self.root).as_posix()
        if reason != _SYSTEM_FILES and path.is_dir():
            self.folders[reason].append(path)
            name += "/"
        self.found[reason].append(name)

    def notes(self) -> list[str]:
        notes = []
        for reason, names in self.found.items():
            inside = f" with {count_pictures(self.folders[reason])} picture(s)" if self.folders[reason] else ""
            notes.append(f"left out of {some_of([self.root.name])}: {len(names):,} {reason}{inside} "
                         f"({some_of(names, 3)})")
        return notes


_SYSTEM_FILES = "file(s) or folder(s) of the operating system"


def count_pictures(folders: list[Path]) -> str:
    """Return how many PNG and JPEG files lie below folders: a number, or "at least" one where there are many files."""
    found = (name for folder in folders for _, _, files in os.walk(folder) for name in files)
    names = list(islice(found, _MOST_COUNTED))
    count = sum(name.lower().endswith(SUFFIXES) for name in names)
    return f"{count:,}" if len(names) < _MOST_COUNTED else f"at least {count:,}"


def _entries(path: Path, left: _LeftOut) -> tuple[list[Path], list[Path]]:
    """Return the folders and the regular files in a folder, sorted; what is neither, or the system's, is left out."""
    folders, files = [], []
    try:
        for entry in sorted(path.iterdir()):
            if entry.name.startswith(".") or entry.name.lower() in _SYSTEM:
                left.add(_SYSTEM_FILES, entry)
            elif (kind := _kind(entry)) == stat.S_IFDIR:
                folders.append(entry)
            elif kind == stat.S_IFREG:
                files.append(entry)
            else:
                left.add("broken link(s), pipe(s), device(s) or socket(s)", entry)
    except OSError as error:
        raise DataError(f"cannot list the folder {path}: {error.strerror or error}; change its permissions, or take it "
                        "out") from error
    return _without_loops(folders, left), files


def _kind(path: Path) -> int:
    """Return the kind of file that a path leads to; 0 for a link that leads nowhere."""
    try:
        return stat.S_IFMT(path.stat().st_mode)
    except PermissionError:
        raise
    except OSError:
        return 0


def _without_loops(folders: list[Path], left: _LeftOut) -> list[Path]:
    kept = []
    for folder in folders:
        if folder.is_symlink() and folder.parent.resolve().is_relative_to(folder.resolve()):
            left.found["link(s) to a folder above"].append(folder.relative_to(left.root).as_posix())
        else:
            kept.append(folder)
    return kept


# ---------------------------------------------------------------------- splits

def _require_folder(path: Path) -> None:
    if path.is_dir():
        return
    if not path.exists():
        raise DataError(f"there is no folder {path}; check the path after folder:")
    if path.suffix.lower() in (".zip", ".tar", ".gz", ".tgz", ".7z", ".rar"):
        raise DataError(f"{path} is an archive, expected a folder: unpack it, for instance with `python -m zipfile -e "
                        f"{path.name} {path.stem}` or `tar -xf {path.name}`, and name the folder that holds the class "
                        "folders")
    raise DataError(f"{path} is a file, expected a folder that holds one folder of pictures for each class")


def _find_splits(path: Path, left: _LeftOut) -> dict[str, Path]:
    """Return the folders "train" and "test", whatever their exact names; none where class folders lie in `path`.

    Raises:
        DataError: one of them without the other, or two folders for one split.
    """
    folders, files = _entries(path, left)
    found: defaultdict[str, list[Path]] = defaultdict(list)
    for folder in folders:
        found[_SPLITS.get(folder.name.lower(), "")].append(folder)
    for split, several in found.items():
        if split and len(several) > 1:
            raise DataError(f"{path} holds {several[0].name}/ and {several[1].name}/, which both mean the {split} "
                            "images: put them together, or rename one of them")
    splits = {split: several[0] for split, several in found.items() if split}
    if "train" in splits and "test" in splits:
        _leave_out_the_rest(splits, [*found[""], *files], left)
        return splits
    only = splits.get("validation") if len(splits) == 1 else None
    if splits and not (only and _count_files(_entries(only, _LeftOut(path))[1])):  # a class may be called "valid"
        raise _lacking(path, splits)
    return {}


def _leave_out_the_rest(splits: dict[str, Path], others: list[Path], left: _LeftOut) -> None:
    if "validation" in splits:
        left.add("folder of validation images, which are cut from the training images instead", splits["validation"])
    for other in others:
        left.add("folder(s) or file(s) beside train/ and test/", other)


def _lacking(path: Path, splits: dict[str, Path]) -> DataError:
    names = " and ".join(f"{folder.name}/" for folder in splits.values())
    lacking = " and ".join(f"{split}/" for split in ("train", "test") if split not in splits)
    other = f"rename {splits['validation'].name}/ to test/, " if lacking == "test/" and "validation" in splits else ""
    return DataError(f"{path} holds {names} but no {lacking}, expected both train/ and test/: {other}add what is "
                     "missing, or name a folder that holds the class folders directly, to be split; rename it if it is "
                     "a class")


def _require_same_classes(path: Path, splits: dict[str, Path], train: Listing, test: Listing) -> None:
    if train.keys() == test.keys():
        return
    names = {part: f"{splits[part].name}/" for part in ("train", "test")}
    lower = {name.casefold(): name for name in train}
    for name in sorted(test.keys() - train.keys()):
        if name.casefold() in lower:
            raise DataError(f"{names['train']}{lower[name.casefold()]} and {names['test']}{name} in {path} differ only "
                            "in upper and lower case: give both folders one name")
    only = [f"{some_of(sorted(mine - theirs))} only in {name}"
            for mine, theirs, name in ((train.keys(), test.keys(), names["train"]),
                                       (test.keys(), train.keys(), names["test"])) if mine - theirs]
    both = f"{names['train']} and {names['test']}"
    raise DataError(f"{both} in {path} must hold the same classes, got {'; '.join(only)}: "
                    "add the folders that are missing, or remove the others")


# ---------------------------------------------------------------------- classes

def _list_classes(path: Path, left: _LeftOut) -> Listing:
    folders, files = _entries(path, left)
    if not folders:
        held = f"holds {count} picture(s) but no" if (count := _count_files(files)) else "holds no"
        raise DataError(f"{path} {held} class folders, expected one folder of PNG or JPEG files for each class")
    for file in files:
        left.add("file(s) beside the class folders", file)
    named = _by_name(path, folders)
    if len(named) < 2:
        _hint_at_deeper(path, folders[0])
    require_classes(list(named), str(path))
    return {name: _list_pictures(named[name], left) for name in sorted(named)}


def _count_files(files: list[Path]) -> int:
    return sum(file.suffix.lower() in SUFFIXES for file in files)


def _by_name(path: Path, folders: list[Path]) -> dict[str, Path]:
    """Return class folders by their names in one spelling: macOS writes é as two characters, others as one."""
    named: dict[str, Path] = {}
    for folder in folders:
        name = unicodedata.normalize("NFC", valid_unicode(folder.name))
        if name in named:
            raise DataError(f"{path} holds two folders called {name}, with different Unicode spellings (NFC and NFD): "
                            "put their pictures into one")
        named[name] = folder
    return named


def _hint_at_deeper(path: Path, folder: Path) -> None:
    """Raise a `DataError` where the only folder in `path` holds the classes."""
    deeper, files = _entries(folder, _LeftOut(path))
    if deeper and not _count_files(files):
        raise DataError(f"{path} holds the single folder {folder.name}/, which holds the folders "
                        f"{some_of([entry.name for entry in deeper], 3)}: name that one, folder:{folder}")


def _list_pictures(folder: Path, left: _LeftOut) -> list[Path]:
    folders, files = _entries(folder, left)
    strange = next((file for file in files if file.suffix.lower() in _OTHER_PICTURES), None)
    if strange is not None:
        raise DataError(f"{strange} is neither PNG nor JPEG: convert it, or take it out of the folder")
    found = [file for file in files if file.suffix.lower() in SUFFIXES]
    if not found:
        raise DataError(f"the class folder {folder} holds no PNG or JPEG file{_instead(folders, files)}: add pictures, "
                        "or remove the folder")
    for subfolder in folders:
        left.add("subfolder(s) of class folders", subfolder)
    for file in files:
        if file.suffix.lower() not in SUFFIXES:
            left.add("file(s) that are neither PNG nor JPEG", file)
    return found


def _instead(folders: list[Path], files: list[Path]) -> str:
    """Say what a folder without pictures holds."""
    if folders:
        return (f", but the folders {some_of([entry.name for entry in folders], 3)} with "
                f"{count_pictures(folders)} picture(s), and pictures must lie directly in it")
    kinds = Counter(file.suffix.lower() or "without suffix" for file in files)
    return f", but {', '.join(f'{count} {kind}' for kind, count in kinds.most_common(3))}" if kinds else ""


def _split(classes: Listing) -> tuple[Listing, Listing]:
    """Put every sixth picture of a class, at least one, into the test set; a hash of the class name picks them."""
    train, test = {}, {}
    for name, files in classes.items():
        if len(files) < 2:
            raise DataError(f"the class {name} in {files[0].parent} has 1 picture, expected at least 2, one each to "
                            "train and to test on: add pictures, or lay out train/ and test/ yourself")
        order = hashing.permutation(_SPLIT_START ^ zlib.crc32(name.encode()), len(files)).tolist()
        chosen = set(order[:max(1, len(files) // _TEST_SHARE)])
        test[name] = [file for index, file in enumerate(files) if index in chosen]
        train[name] = [file for index, file in enumerate(files) if index not in chosen]
    return train, test


def shuffled(listing: Listing) -> list[tuple[Path, int]]:
    """Return (file, label) of all pictures, in a seeded order that mixes the classes: the first N hold every class."""
    files = [(file, label) for label, paths in enumerate(listing.values()) for file in paths]
    return [files[index] for index in hashing.permutation(_SPLIT_START, len(files)).tolist()]
