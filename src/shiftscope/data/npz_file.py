"""Datasets in .npz files with the arrays of Shiftscope, MedMNIST or Keras, or with test images alone.

Files with other arrays are refused with the lines of code that convert them.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import isqrt
from pathlib import Path

from shiftscope.data.base import Dataset
from shiftscope.data.images import from_either
from shiftscope.errors import DataError, some_of
from shiftscope.files import reason
from shiftscope.npz import describe_arrays, read_arrays
from shiftscope.text import valid_unicode

NPZ_KEYS = ("train_images", "train_labels", "test_images", "test_labels")
"""The arrays of an .npz file, which may also hold class_names. MedMNIST uses the same names."""

KERAS_KEYS = ("x_train", "y_train", "x_test", "y_test")

_NAMES = "class_names"
_SINGLE = ("images", "labels")
_CONVERTED = "'converted.npz'"
_TRAIN, _TEST = re.compile("train|tr$|^tr", re.IGNORECASE), re.compile("test|te$|^te|val", re.IGNORECASE)

Shapes = dict[str, tuple[int, ...]]


def read_npz(path: Path | str) -> Dataset:
    """Return the dataset in an .npz file; code in it never runs.

    The file holds `NPZ_KEYS`, as MedMNIST's files, or `KERAS_KEYS`, in upper or lower case; or without training images
    test_images (or images) with test_labels (or labels) or without labels. Images are (N, H, W) or (N, H, W, C) as in
    `from_arrays`, labels integers (N,) or (N, 1). class_names, an array of text, is optional. Other arrays, such as
    MedMNIST's val_images, are ignored with a note: validation images are taken from the training images.

    Raises:
        DataError: if the file is missing, damaged, too large for the memory or not an .npz file, holds pickled objects,
            lacks an array, or has several labels per image. The message ends with the lines that convert it, if
            possible.
    """
    path = Path(path).expanduser()
    try:
        described = describe_arrays(path)
        keys = _find_keys(path, described)
        _check(path, keys, described)
        arrays = read_arrays(path, keys)
    except FileNotFoundError as error:
        raise DataError(f"there is no file {path}; check the path after npz:") from error
    except OSError as error:
        raise DataError(f"{path} is not a readable .npz file: {reason(error)}; write it again with numpy.savez"
                        ) from error
    classes = [_text(name) for name in arrays[keys.pop()].ravel()] if _has_names(keys) else None
    data = from_either([arrays[key] for key in keys], class_names=classes, name=valid_unicode(path.stem),
                       source=f"arrays in the file {valid_unicode(path.name)}")
    others = [name for name in described if name not in arrays]
    ignored = [f"ignored in {valid_unicode(path.name)}: {some_of(others)}"] if others else []
    return replace(data, notes=(*ignored, *data.notes))


def _has_names(keys: Sequence[str]) -> bool:
    return keys[-1].lower() == _NAMES


def _text(name: object) -> str:
    return name.decode(errors="replace") if isinstance(name, bytes) else str(name)


def _find_keys(path: Path, described: Mapping[str, str]) -> list[str]:
    """Return the names of the arrays to read: images and labels in the order of `NPZ_KEYS`, then class_names.

    Raises:
        DataError: if the file lacks an array.
    """
    by_lower = {name.lower(): name for name in reversed(list(described))}
    names = [by_lower[_NAMES]] if _NAMES in by_lower else []
    for wanted in (NPZ_KEYS, KERAS_KEYS):
        if all(key in by_lower for key in wanted):
            return [*(by_lower[key] for key in wanted), *names]
    if not any(key in by_lower for key in (*NPZ_KEYS[:2], *KERAS_KEYS[:2])):
        for images, labels in (NPZ_KEYS[2:], KERAS_KEYS[2:], _SINGLE):
            if images in by_lower and (images == _SINGLE[0] or labels in by_lower):
                return [by_lower[key] for key in (images, labels) if key in by_lower] + names
    wanted = KERAS_KEYS if any(key in by_lower for key in KERAS_KEYS) else NPZ_KEYS
    missing = [key for key in wanted if key not in by_lower]
    held = some_of([f"{name:.30} {kind}" for name, kind in described.items()]) or "nothing"
    raise DataError(f"{path} lacks {', '.join(missing)}: it holds {held}; write {', '.join(NPZ_KEYS)} with numpy.savez"
                    f"{_rename(path, _shapes(described))}")


def _shapes(described: Mapping[str, str]) -> Shapes:
    """Return the shapes of the arrays, from results of `describe_arrays` such as "uint8 (4, 2, 3)"."""
    return {name: tuple(map(int, re.findall(r"\d+", kind.partition(" ")[2]))) for name, kind in described.items()}


def _rename(path: Path, shapes: Shapes) -> str:
    """Return the lines that write the arrays of a file under the expected names, "" if it is unclear which they are."""
    images = {name: call for name, shape in shapes.items() if (call := _image_call(shape)) is not None}
    labels = [name for name, shape in shapes.items() if name not in images and len(shape) in (1, 2)]
    pairs = []
    for split in (_TRAIN, _TEST):
        found = [[name for name in names if split.search(name)] for names in (images, labels)]
        pairs += [part[0] if len(part) == 1 else "" for part in found]
    keys: Sequence[str] = NPZ_KEYS
    if not all(pairs):
        if len(images) != 1 or len(labels) != 1:
            return ""
        keys, pairs = _SINGLE, [*images, *labels]
    written = ", ".join(f"{key}=arrays[{name!r}]{images.get(name, '')}" for key, name in zip(keys, pairs, strict=True))
    return (f":\n    import numpy\n    arrays = numpy.load({str(path)!r})\n    numpy.savez({_CONVERTED}, "
            f"{written})")


def _image_call(shape: tuple[int, ...]) -> str | None:
    """Return the call that turns an array of this shape into images; None: it does not hold images.

    >>> _image_call((70, 28, 28)), _image_call((70, 784)), _image_call((70, 10))
    ('', '.reshape(-1, 28, 28)', None)
    """
    if len(shape) in (3, 4):
        return ""
    if len(shape) == 2 and shape[1] >= 16 and isqrt(shape[1]) ** 2 == shape[1]:
        return f".reshape(-1, {isqrt(shape[1])}, {isqrt(shape[1])})"
    return None


def _check(path: Path, keys: Sequence[str], described: Mapping[str, str]) -> None:
    """Raise a `DataError` with lines that convert the file if its images or labels have too many axes."""
    keys, shapes = keys[:-1] if _has_names(keys) else keys, _shapes(described)
    images, labels = tuple(keys[::2]), tuple(keys[1::2])
    shape, problem, lines = shapes[images[0]], "", ""
    several = [key for key in labels if len(shapes[key]) == 2 and shapes[key][1] > 1
               and described[key].startswith(("int", "uint", "bool"))]
    if len(shape) == 4 and shape[3] not in (1, 3):
        change, what = _axes_change(shape)
        problem = f"{images[0]} has shape {shape}, expected (N, H, W), or (N, H, W, C) with 1 or 3 channels; {what}"
        lines = f"    for key in {images}:\n        arrays[key] = arrays[key]{change}"
    elif several:
        problem = f"{several[0]} has shape {shapes[several[0]]}, several labels for an image, expected one; keep the " \
                  "images that have exactly one"
        lines = (f"    for images, labels in {tuple(zip(images, labels, strict=True))}:\n"
                 "        keep = arrays[labels].sum(1) == 1\n"
                 "        arrays |= {images: arrays[images][keep], labels: arrays[labels][keep].argmax(1)}")
    if problem:
        raise DataError(f"{path} cannot be read as it is: {problem}:\n    import numpy; arrays = "
                        f"dict(numpy.load({str(path)!r}))\n{lines}\n    numpy.savez({_CONVERTED}, **arrays)")


def _axes_change(shape: tuple[int, ...]) -> tuple[str, str]:
    """Return the code that makes images of an array of another shape, and what it does."""
    if shape[1] in (1, 3):
        return ".transpose(0, 2, 3, 1)", "move the channels last"
    if shape[3] in (2, 4):
        return f"[..., :{shape[3] - 1}]", "remove the alpha channel"
    return f"[:, {shape[1] // 2}]", "of volumes take the middle slice"
