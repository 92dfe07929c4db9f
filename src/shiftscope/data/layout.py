"""Lists the image files of a folder by split and class, without opening them; ignored files are counted.

Labeled images: PATH/train/CLASS/*.png with PATH/test/CLASS/*.png; PATH/test/CLASS/*.png or PATH/val/CLASS/*.png alone,
without training images; or PATH/CLASS/*.png, where every sixth image of a class becomes a test image, always the same
ones, or all of them if each class has a single image. Without labels: PATH/*.png, PATH/test/*.png or PATH/val/*.png.
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
_OTHER_FORMATS = (".gif", ".webp", ".bmp", ".tif", ".tiff", ".heic", ".heif", ".avif", ".jfif", ".jpe", ".jp2", ".pgm",
                  ".ppm", ".tga")
_SPLITS = {"train": "train", "training": "train", "test": "test", "testing": "test", "val": "validation",
           "valid": "validation", "validation": "validation"}
"""Folder name in lower case -> split."""

_SYSTEM = ("__macosx", "@eadir", "#recycle", "$recycle.bin", "system volume information", "lost+found", "__pycache__",
           "thumbs.db", "ehthumbs.db", "desktop.ini")
_SYSTEM_FILES = "file(s) or folder(s) of the operating system"
_TEST_FRACTION = 6  # one of six images of a class is a test image
_MAX_COUNTED = 10_000  # files below ignored folders

Listing = dict[str, list[Path]]
"""Class name -> its image files, both sorted."""


@dataclass(frozen=True)
class Layout:
    """The image files of a folder, by split and class."""

    train: Listing
    test: Listing
    notes: tuple[str, ...]
    """Ignored files and folders."""
    labeled: bool = True
    """False if the images are not in class folders."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes; empty without labels."""
        return tuple(self.test) if self.labeled else ()


def image_files(listing: Listing) -> list[Path]:
    """Return all files of a listing, class by class."""
    return [file for files in listing.values() for file in files]


def list_layout(path: Path) -> Layout:
    """Return the training and test files of any layout; the training files are empty without train/.

    Raises:
        DataError: if the folder is missing or empty, has fewer than two classes, an empty class, train/ without test/,
            different classes in them, images beside class folders, or an ambiguous name.
    """
    _require_folder(path)
    ignored = _Ignored(path)
    splits = _find_splits(path, ignored)
    if "train" in splits:
        train, test = (_list_classes(splits[split], ignored) for split in ("train", "test"))
        _require_same_classes(path, splits, train, test)
        return Layout(train, test, tuple(ignored.notes()))
    if not splits:
        ignored = _Ignored(path)
    found = splits.get("test", path)
    if _holds_images(found, ignored):
        return Layout({}, {"": _list_images(found, ignored, "subfolder(s)")}, tuple(ignored.notes()), labeled=False)
    train, test = ({}, _list_classes(found, ignored, fewest=1)) if splits else _split(_list_classes(path, ignored))
    return Layout(train, test, tuple(ignored.notes()))


class _Ignored:
    """Files and folders that are not part of a dataset, by reason."""

    def __init__(self, root: Path):
        self.root = root
        self.names: defaultdict[str, list[str]] = defaultdict(list)
        self.folders: defaultdict[str, list[Path]] = defaultdict(list)

    def add(self, reason: str, path: Path) -> None:
        name = path.relative_to(self.root).as_posix()
        if reason != _SYSTEM_FILES and path.is_dir():
            self.folders[reason].append(path)
            name += "/"
        self.names[reason].append(name)

    def notes(self) -> list[str]:
        notes = []
        for reason, names in self.names.items():
            inside = f" with {_count_images(self.folders[reason])} image(s)" if self.folders[reason] else ""
            notes.append(f"ignored in {some_of([self.root.name])}: {len(names):,} {reason}{inside} "
                         f"({some_of(names, 3)})")
        return notes


def _count_images(folders: list[Path]) -> str:
    """Return the number of PNG and JPEG files below folders, with "at least" if there are very many files."""
    names = list(islice((name for folder in folders for _, _, files in os.walk(folder) for name in files),
                        _MAX_COUNTED))
    count = sum(name.lower().endswith(SUFFIXES) for name in names)
    return f"{count:,}" if len(names) < _MAX_COUNTED else f"at least {count:,}"


def _entries(path: Path, ignored: _Ignored) -> tuple[list[Path], list[Path]]:
    """Return the folders and the regular files in a folder, sorted, except those of the operating system."""
    folders, files = [], []
    try:
        for entry in sorted(path.iterdir()):
            if entry.name.startswith(".") or entry.name.lower() in _SYSTEM:
                ignored.add(_SYSTEM_FILES, entry)
            elif (kind := _kind(entry)) == stat.S_IFDIR:
                if entry.is_symlink() and entry.parent.resolve().is_relative_to(entry.resolve()):
                    ignored.names["link(s) to a parent folder"].append(entry.relative_to(ignored.root).as_posix())
                else:
                    folders.append(entry)
            elif kind == stat.S_IFREG:
                files.append(entry)
            else:
                ignored.add("broken link(s), pipe(s), device(s) or socket(s)", entry)
    except OSError as error:
        raise DataError(f"cannot list the folder {path}: {error.strerror or error}; change its permissions, or remove "
                        "it") from error
    return folders, files


def _kind(path: Path) -> int:
    """Return the file type of the target of a path, 0 for a broken link."""
    try:
        return stat.S_IFMT(path.stat().st_mode)
    except PermissionError:
        raise
    except OSError:
        return 0


# ---------------------------------------------------------------------- splits

def _require_folder(path: Path) -> None:
    if path.is_dir():
        return
    if not path.exists():
        raise DataError(f"there is no folder {path}; check the path after folder:")
    if path.suffix.lower() in (".zip", ".tar", ".gz", ".tgz", ".7z", ".rar"):
        raise DataError(f"{path} is an archive, expected a folder: unpack it, for example with `python -m zipfile -e "
                        f"{path.name} {path.stem}` or `tar -xf {path.name}`, and name the folder that holds the class "
                        "folders")
    raise DataError(f"{path} is a file, expected a folder with one folder of images per class")


def _find_splits(path: Path, ignored: _Ignored) -> dict[str, Path]:
    """Return the folders "train" and "test", or "test" alone, whatever their exact names; nothing if `path` holds class
    folders or images."""
    folders, files = _entries(path, ignored)
    by_split: defaultdict[str, list[Path]] = defaultdict(list)
    for folder in folders:
        by_split[_SPLITS.get(folder.name.lower(), "")].append(folder)
    others = [*by_split.pop("", []), *files]
    for split, several in by_split.items():
        if len(several) > 1:
            raise DataError(f"{path} holds {several[0].name}/ and {several[1].name}/, which both mean the {split} "
                            "images: merge them, or rename one of them")
    splits = {split: several[0] for split, several in by_split.items()}
    if "train" in splits and "test" in splits:
        if "validation" in splits:
            ignored.add("folder of validation images, which are taken from the training images instead",
                        splits["validation"])
        for other in others:
            ignored.add("folder(s) or file(s) beside train/ and test/", other)
        return splits
    alone = splits.get("test", splits.get("validation"))
    if alone and "train" not in splits and not set(others) & set(folders) and not _count_files(files):
        if splits.get("validation", alone) != alone:
            ignored.add("folder of validation images", splits["validation"])
        for other in others:
            ignored.add(f"file(s) beside {alone.name}/", other)
        return {"test": alone}
    only = splits.get("validation") if len(splits) == 1 else None
    if splits and not (only and _count_files(_entries(only, _Ignored(path))[1])):  # a class may be called "valid"
        raise _missing_split(path, splits)
    return {}


def _holds_images(path: Path, ignored: _Ignored) -> bool:
    """Return True if the folder holds images directly; its subfolders, without images, are ignored.

    Raises:
        DataError: if it holds both images and folders of images.
    """
    folders, files = _entries(path, _Ignored(ignored.root))
    first = next((file for file in files if file.suffix.lower() in SUFFIXES), None)
    if first is None:
        return False
    inside = next((folder for folder in folders if _count_files(_entries(folder, _Ignored(ignored.root))[1])), None)
    if inside is not None:
        raise DataError(f"{path} holds both images ({_count_files(files):,}, such as {first.name:.60}) and folders of "
                        f"images (such as {inside.name:.60}/), so it is unclear whether the folders are classes: move "
                        "the images into class folders, or all of them into one folder to audit them without labels")
    return True


def _missing_split(path: Path, splits: dict[str, Path]) -> DataError:
    names = " and ".join(f"{folder.name}/" for folder in splits.values())
    missing = " and ".join(f"{split}/" for split in ("train", "test") if split not in splits)
    other = f"rename {splits['validation'].name}/ to test/, " if missing == "test/" and "validation" in splits else ""
    return DataError(f"{path} holds {names} but no {missing}, expected both train/ and test/, or only test/: {other}"
                     "add the missing folder, or name a folder that holds the class folders or the images directly; "
                     "rename it if it is a class")


def _require_same_classes(path: Path, splits: dict[str, Path], train: Listing, test: Listing) -> None:
    if train.keys() == test.keys():
        return
    names = {split: f"{splits[split].name}/" for split in ("train", "test")}
    lower = {name.casefold(): name for name in train}
    for name in sorted(test.keys() - train.keys()):
        if name.casefold() in lower:
            raise DataError(f"{names['train']}{lower[name.casefold()]} and {names['test']}{name} in {path} differ only "
                            "in upper and lower case: give both folders the same name")
    only = [f"{some_of(sorted(ours - theirs))} only in {name}"
            for ours, theirs, name in ((train.keys(), test.keys(), names["train"]),
                                       (test.keys(), train.keys(), names["test"])) if ours - theirs]
    raise DataError(f"{names['train']} and {names['test']} in {path} must hold the same classes, got "
                    f"{'; '.join(only)}: add the missing folders, or remove the others")


# ---------------------------------------------------------------------- classes

def _list_classes(path: Path, ignored: _Ignored, fewest: int = 2) -> Listing:
    folders, files = _entries(path, ignored)
    if not folders:
        count = _count_files(files)
        other = next((file.name for file in files if file.suffix.lower() in _OTHER_FORMATS), None)
        held = f"{count} image(s) but " if count else ""
        if other and not count:
            held = f"{other:.60}, which is neither PNG nor JPEG, and "
        raise DataError(f"{path} holds {held}no class folders, expected one folder of PNG or JPEG files per class, or "
                        "PNG or JPEG files without labels")
    for file in files:
        ignored.add("file(s) beside the class folders", file)
    named: dict[str, Path] = {}
    for folder in folders:
        name = unicodedata.normalize("NFC", valid_unicode(folder.name))  # macOS writes é as two characters
        if name in named:
            raise DataError(f"{path} holds two folders called {name}, in different Unicode forms (NFC and NFD): merge "
                            "them")
        named[name] = folder
    if len(named) == 1:
        _check_nested(path, folders[0])
    if fewest > 1:
        require_classes(list(named), str(path))
    return {name: _list_images(named[name], ignored) for name in sorted(named)}


def _count_files(files: list[Path]) -> int:
    return sum(file.suffix.lower() in SUFFIXES for file in files)


def _check_nested(path: Path, folder: Path) -> None:
    """Raise a `DataError` if the only folder in `path` holds the classes."""
    nested, files = _entries(folder, _Ignored(path))
    if nested and not _count_files(files):
        raise DataError(f"{path} holds the single folder {folder.name}/, which holds the folders "
                        f"{some_of([entry.name for entry in nested], 3)}: name that one, folder:{folder}")


def _list_images(folder: Path, ignored: _Ignored, subfolders: str = "subfolder(s) of class folders") -> list[Path]:
    folders, files = _entries(folder, ignored)
    other = next((file for file in files if file.suffix.lower() in _OTHER_FORMATS), None)
    if other is not None:
        raise DataError(f"{other} is neither PNG nor JPEG: convert it, or remove it from the folder")
    images = [file for file in files if file.suffix.lower() in SUFFIXES]
    if not images:
        raise DataError(f"the class folder {folder} holds no PNG or JPEG file{_content(folders, files)}: add images, "
                        "or remove the folder")
    for subfolder in folders:
        ignored.add(subfolders, subfolder)
    for file in files:
        if file.suffix.lower() not in SUFFIXES:
            ignored.add("file(s) that are neither PNG nor JPEG", file)
    return images


def _content(folders: list[Path], files: list[Path]) -> str:
    """Describe the content of a folder without images."""
    if folders:
        return (f", but the folders {some_of([entry.name for entry in folders], 3)} with "
                f"{_count_images(folders)} image(s), and images must be directly in it")
    kinds = Counter(file.suffix.lower() or "without suffix" for file in files)
    return f", but {', '.join(f'{count} {kind}' for kind, count in kinds.most_common(3))}" if kinds else ""


def _split(classes: Listing) -> tuple[Listing, Listing]:
    """Move every sixth image of a class, at least one, to the test set, chosen by a hash of the class name.

    If each class has a single image, all images are test images.
    """
    if all(len(files) == 1 for files in classes.values()):
        return {}, classes
    train, test = {}, {}
    for name, files in classes.items():
        if len(files) < 2:
            raise DataError(f"the class {name} in {files[0].parent} has 1 image, expected at least 2, one for training "
                            "and one for testing: add images, or create train/ and test/ yourself")
        chosen = set(held_out_rows(name, len(files)))
        test[name] = [file for index, file in enumerate(files) if index in chosen]
        train[name] = [file for index, file in enumerate(files) if index not in chosen]
    return train, test


def held_out_rows(name: str, count: int) -> list[int]:
    """Return which of the `count` images of a class are test images: one of six, at least one, by a hash of its name.

    >>> len(held_out_rows("cat", 13)), len(held_out_rows("cat", 2))
    (2, 1)
    """
    order = hashing.permutation(_SPLIT_START ^ zlib.crc32(name.encode()), count).tolist()
    return order[:max(1, count // _TEST_FRACTION)]


def shuffled(listing: Listing) -> list[tuple[Path, int]]:
    """Return (file, label) of all images, in a fixed pseudo-random order: the first N contain all classes."""
    files = [(file, label) for label, paths in enumerate(listing.values()) for file in paths]
    return [files[index] for index in hashing.permutation(_SPLIT_START, len(files)).tolist()]
