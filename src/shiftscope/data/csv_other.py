"""CSV files that do not hold one pixel a column, with the lines of code that convert them."""

import re
from collections.abc import Sequence
from pathlib import Path

from shiftscope.data.items import LABEL_NAMES
from shiftscope.errors import DataError, some_of

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_FILE_NAMES = ("file", "filename", "file_name", "filepath", "path", "image", "img", "image_path", "image_id",
               "image_name", "img_name", "id", "id_code")
_MOST_COLUMNS = 15


def is_number(text: str) -> bool:
    """Return True if a value of a table is a number.

    >>> is_number("12"), is_number("-1.5e3"), is_number("pixel0"), is_number("")
    (True, True, False, False)
    """
    return _NUMBER.fullmatch(text) is not None


def refuse(path: Path, header: Sequence[str]) -> None:
    """Raise a `DataError` if a file with this header holds all pixels of an image in one column, or names of files."""
    by_lower = {name.lower(): name for name in header}
    if "pixels" in by_lower:
        pixels, label = by_lower["pixels"], _label([name for name in header if name.lower() != "pixels"])
        raise DataError(f"{path} has the columns {some_of(header)}, with all pixels of an image in one of them, "
                        "expected one column per pixel; convert it to an .npz file of test images:\n"
                        "    import csv, numpy\n"
                        f"    rows = list(csv.DictReader(open({str(path)!r})))\n"
                        f"    images = numpy.array([row[{pixels!r}].split() for row in rows], dtype='uint8')\n"
                        "    images = images.reshape(len(rows), int(images.shape[1] ** 0.5), -1)\n"
                        "    numpy.savez('converted.npz', images=images, labels=[int(row["
                        f"{label!r}]) for row in rows])")
    files = [by_lower[name] for name in _FILE_NAMES if name in by_lower]
    if files and 2 <= len(header) <= _MOST_COLUMNS:
        label = _label([name for name in header if name != files[0]])
        raise DataError(f"{path} has the columns {some_of(header)}, which name image files, expected one column per "
                        "pixel; sort the files into class folders and read them with folder:sorted:\n"
                        "    import csv, pathlib, shutil\n"
                        f"    for row in csv.DictReader(open({str(path)!r})):\n"
                        f"        folder = pathlib.Path('sorted', row[{label!r}])\n"
                        "        folder.mkdir(parents=True, exist_ok=True)\n"
                        f"        shutil.copy(pathlib.Path({str(path.parent)!r}, row[{files[0]!r}]), folder)")


def _label(names: Sequence[str]) -> str:
    """Return the name that is most likely that of the label."""
    return next((name for name in names if name.lower() in LABEL_NAMES),
                next((name for name in names if name.lower() in ("emotion", "dx", "diagnosis", "breed")), names[-1]
                     if names else "label"))
