"""Tables of comma-separated numbers, one image a row: a label and the pixels, as in Kaggle's files of MNIST.

Sizes are limited before memory is allocated: of the file by the memory of the machine, of a line by `MAX_LINE`.
"""

import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from io import TextIOWrapper
from itertools import chain, islice
from math import isqrt
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from shiftscope.data import csv_other
from shiftscope.data.base import Dataset
from shiftscope.data.emnist import CLASS_NAMES, NOTE, emnist_set, upright
from shiftscope.data.images import from_either
from shiftscope.data.items import LABEL_NAMES
from shiftscope.data.layout import held_out_rows
from shiftscope.errors import DataError, quoted, some_of
from shiftscope.files import UnfitFileError, memory, open_regular, reason
from shiftscope.text import valid_unicode

MAX_LINE = 2**24
"""Characters of a line; a photograph of 1024 x 1024 pixels in color has 12 million."""

_ROWS = 1024  # parsed at a time
_INTEGER = re.compile(r'\s*"?\s*[+-]?\d{1,18}\s*"?\s*')
_INDEX_NAMES = ("", "id", "index", "unnamed: 0")  # columns that number the rows
_TEST_NAME = re.compile(r"(?<![a-z])(test|testing|t10k|val|valid|validation)(?![a-z])", re.IGNORECASE)

Size = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Table:
    """The rows of a file."""

    images: np.ndarray
    """uint8 (N, H, W) or (N, H, W, 3)."""
    labels: np.ndarray | None
    """int64 (N,), None without a column of labels."""
    ignored: tuple[str, ...] = ()
    """Names of columns that number the rows."""


def read_csv(paths: str, image_size: Size | None = None) -> Dataset:
    """Return the dataset in one or two files of comma-separated integers, one image a row.

    A column called label (or another usual name), else the first one, holds the labels, and the others the pixels row
    by row, from 0 to 255. A first line with few numbers is a header. A file without a column of labels has a number of
    columns that is a square. Semicolons and tabs separate values too. Files whose name begins with emnist-letters or
    another set of EMNIST are read upright and with class names.

    Args:
        paths: "TRAIN,TEST", two files; or one file. If its name contains "test" or "val", or it has no labels, all its
            rows are test images. Otherwise every sixth image of a class is a test image, always the same ones.
        image_size: (H, W) of the stored images (default: square and gray). With three times as many pixels, images are
            in color, with the three channels of a pixel one after the other.

    Raises:
        DataError: if a file is missing, no text file or too large, rows differ in length, a value is not an integer, a
            pixel is not from 0 to 255, or the size of the images is unclear.
    """
    files = _split_paths(paths)
    tables = [read_table(file, image_size) for file in files]
    kind, name = emnist_set(files[0]), valid_unicode(files[-1].stem)
    notes = [f"ignored in {valid_unicode(file.name)}: the column {some_of(map(repr, table.ignored))}"
             for file, table in zip(files, tables, strict=True) if table.ignored]
    if kind is not None:
        tables = [_upright(kind, table) for table in tables]
        notes.append(NOTE)
    origin: dict[str, Any] = {"class_names": list(CLASS_NAMES[kind]) if kind else None, "name": name,
              "source": f"rows of {', '.join(valid_unicode(file.name) for file in files)}"}
    if len(files) == 2:
        for file, table in zip(files, tables, strict=True):
            if table.labels is None:
                raise DataError(f"{file} has no column of labels, which a training and a test file need: audit a file "
                                "without labels alone, as csv:FILE")
        data = from_either([value for table in tables for value in (table.images, table.labels)], **origin)
    else:
        data, more = _from_one(files[0], tables[0], origin)
        notes += more
    return replace(data, notes=(*notes, *data.notes))


def _split_paths(paths: str) -> list[Path]:
    whole = Path(paths).expanduser()
    if whole.exists() or "," not in paths:
        return [whole]
    files = [Path(part.strip()).expanduser() for part in paths.split(",")]
    if len(files) != 2:
        raise DataError(f"csv:{paths} names {len(files)} files, expected csv:FILE or csv:TRAIN,TEST")
    return files


def _from_one(file: Path, table: Table, origin: dict[str, Any]) -> tuple[Dataset, list[str]]:
    """Return the dataset of one file, its rows divided into training and test images if it is no test file."""
    labels = table.labels
    if labels is None or _TEST_NAME.search(file.stem) or np.unique(labels, return_counts=True)[1].max() == 1:
        return from_either([table.images, labels], **origin), []
    test = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        test[rows[held_out_rows(str(label), len(rows))]] = True
    data = from_either([values[rows] for rows in (~test, test) for values in (table.images, labels)], **origin)
    return data, [f"every sixth image of a class in {valid_unicode(file.name)} is a test image ({test.sum():,} of "
                  f"{len(test):,} rows); csv:TRAIN,TEST names two files"]


def _upright(kind: str, table: Table) -> Table:
    labels = np.zeros(len(table.images), np.int64) if table.labels is None else table.labels
    images, labels = upright(kind, table.images, labels)
    return replace(table, images=images, labels=None if table.labels is None else labels)


# ---------------------------------------------------------------------- one file

def read_table(path: Path, image_size: Size | None = None) -> Table:
    """Return the images and labels in a file; errors are those of `read_csv`."""
    try:
        with open_regular(path, memory()) as binary:
            if binary.read(4)[:2] in (b"\x1f\x8b", b"PK"):
                raise UnfitFileError("it is an archive; unpack it")
            binary.seek(0)
            with TextIOWrapper(binary, encoding="utf-8-sig") as stream:
                return _read(path, stream, image_size)
    except FileNotFoundError as error:
        raise DataError(f"there is no file {path}; check the path after csv:") from error
    except (OSError, UnicodeDecodeError) as error:
        why = reason(error) if isinstance(error, OSError) else "it is not text in UTF-8"
        raise DataError(f"{path} is not a readable CSV file: {why}; write one row per image, a label and pixels from 0 "
                        "to 255, separated by commas") from error


def _lines(stream: TextIO) -> Iterator[tuple[int, str]]:
    """Yield number and text of the lines that are not empty."""
    number = 0
    while line := stream.readline(MAX_LINE + 1):
        number += 1
        if len(line) > MAX_LINE:
            raise UnfitFileError(f"line {number:,} has more than {MAX_LINE:,} characters, which is the limit")
        if "\0" in line:
            raise UnfitFileError(f"line {number:,} holds binary data")
        if line.strip():
            yield number, line.rstrip("\n")


def _read(path: Path, stream: TextIO, image_size: Size | None) -> Table:
    lines = _lines(stream)
    first = next(lines, None)
    if first is None:
        raise DataError(f"{path} is empty, expected one row per image, a label and pixels")
    columns = _Columns.of(path, first[1], image_size)
    rows = lines if columns.header is not None else chain([first], lines)
    parsed = [columns.parse(some) for some in iter(lambda: list(islice(rows, _ROWS)), [])]
    if not parsed:
        raise DataError(f"{path} holds a header and no rows, expected one row per image")
    pixels, labels = (np.concatenate(parts) for parts in zip(*parsed, strict=True))
    images = pixels.reshape(-1, *columns.shape)
    ignored = tuple(columns.header[k].strip() for k in columns.ignored) if columns.header else ()
    return Table(images=images, labels=None if columns.label is None else labels, ignored=ignored)


@dataclass(frozen=True, kw_only=True)
class _Columns:
    """What the columns of a file hold."""

    path: Path
    separator: str
    count: int
    header: list[str] | None
    label: int | None
    ignored: tuple[int, ...]
    shape: tuple[int, ...]
    """(H, W) or (H, W, 3)."""

    @staticmethod
    def of(path: Path, line: str, image_size: Size | None) -> "_Columns":
        """Derive the columns from the first line; it is a header if less than half of its values are numbers."""
        separator = max(",;\t", key=line.count)
        values = [value.strip().strip('"').strip() for value in line.split(separator)]
        header = values if 2 * sum(map(csv_other.is_number, values)) < len(values) else None
        if header is not None:
            csv_other.refuse(path, header)
        names = [value.lower() for value in header or []]
        ignored = tuple(k for k, name in enumerate(names) if name in _INDEX_NAMES)
        labels = [k for k, name in enumerate(names) if name in LABEL_NAMES]
        if len(labels) > 1:
            raise DataError(f"{path} has the columns {some_of(names[k] for k in labels)}, expected one column "
                            "of labels: remove the others")
        pixels = len(values) - len(ignored)
        if header is None and not (_shape(pixels, image_size) and not _shape(pixels - 1, image_size)):
            labels = [0]
        shape = _shape(pixels - len(labels), image_size)
        if shape is None:
            raise _unclear(path, pixels - len(labels), image_size, labeled=bool(labels))
        return _Columns(path=path, separator=separator, count=len(values), header=header, ignored=ignored, shape=shape,
                        label=labels[0] if labels else None)

    def parse(self, lines: Sequence[tuple[int, str]]) -> tuple[np.ndarray, np.ndarray]:
        """Return pixels, uint8 (n, pixels), and labels, int64 (n,), of numbered lines."""
        for number, line in lines:
            found = line.count(self.separator) + 1
            if found != self.count:
                raise DataError(f"line {number:,} of {self.path} has {found:,} values, line 1 has {self.count:,}, "
                                "expected the same number in every line: remove or complete it")
        values = self._numbers(lines)
        kept = [k for k in range(self.count) if k != self.label and k not in self.ignored]
        pixels = values[:, kept]
        invalid = (pixels < 0) | (pixels > 255)
        if invalid.any():
            row, column = np.argwhere(invalid)[0]
            raise DataError(f"value {kept[column] + 1:,} in line {lines[row][0]:,} of {self.path} is the pixel "
                            f"{pixels[row, column]}, expected an integer from 0 to 255: scale the pixels, or remove a "
                            "line of column numbers")
        return pixels.astype(np.uint8), values[:, self.label or 0]

    def _numbers(self, lines: Sequence[tuple[int, str]]) -> np.ndarray:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", DeprecationWarning)  # of floats, which NumPy would truncate
                return np.loadtxt([line for _, line in lines], np.int64, delimiter=self.separator, comments=None,
                                  quotechar='"', ndmin=2)
        except (ValueError, DeprecationWarning) as error:
            raise self._invalid_value(lines) from error

    def _invalid_value(self, lines: Sequence[tuple[int, str]]) -> DataError:
        for number, line in lines:
            for column, value in enumerate(line.split(self.separator)):
                if column not in self.ignored and not _INTEGER.fullmatch(value):
                    what = "label" if column == self.label else "pixel"
                    code = self._conversion(value.strip(), what == "label")
                    return DataError(f"value {column + 1:,} in line {number:,} of {self.path} is the {what} "
                                     f"{quoted(value.strip())}, expected an integer"
                                     f"{f'; convert the file:{code}' if code else ': correct it'}")
        return DataError(f"{self.path} holds values that are not integers: write integers only")

    def _conversion(self, value: str, label: bool) -> str:
        """Return the lines that convert a file with this value, "" if there are none."""
        number = csv_other.is_number(value)
        if self.ignored or not value or number == label:
            return ""
        return self._numbered_labels() if label else self._float_pixels()

    def _numbered_labels(self) -> str:
        """Return the lines that number the names of classes."""
        first, k = int(self.header is not None), self.label
        return (f"\n    import csv\n    rows = list(csv.reader(open({str(self.path)!r}), delimiter={self.separator!r}))"
                f"\n    names = sorted({{row[{k}] for row in rows[{first}:]}})"
                f"\n    for row in rows[{first}:]: row[{k}] = names.index(row[{k}])"
                "\n    csv.writer(open('converted.csv', 'w', newline='')).writerows(rows)")

    def _float_pixels(self) -> str:
        """Return the lines that write floats into an .npz file, whose images may be floats."""
        labels = "" if self.label is None else f", labels=table[:, {self.label}].astype(int)"
        pixels = "table" if self.label is None else f"numpy.delete(table, {self.label}, 1)"
        return (f"\n    import numpy\n    table = numpy.loadtxt({str(self.path)!r}, delimiter={self.separator!r}, "
                f"skiprows={int(self.header is not None)})\n    numpy.savez('converted.npz', "
                f"images={pixels}.reshape(-1, *{self.shape}){labels})")


def _shape(pixels: int, image_size: Size | None) -> tuple[int, ...] | None:
    """Return the shape of an image, None if its size is unclear or another one.

    >>> _shape(784, None), _shape(785, None), _shape(36, (3, 4)), _shape(12, (3, 4))
    ((28, 28), None, (3, 4, 3), (3, 4))
    """
    if image_size is None:
        side = isqrt(max(pixels, 0))
        return (side, side) if side > 0 and side * side == pixels else None
    height, width = image_size
    return {height * width: (height, width), 3 * height * width: (height, width, 3)}.get(pixels)


def _unclear(path: Path, pixels: int, image_size: Size | None, *, labeled: bool) -> DataError:
    besides = "besides the label" if labeled else "and no column called label"
    if image_size is not None:
        height, width = image_size
        return DataError(f"{path} has {pixels:,} columns {besides}, expected {height * width:,} for gray or "
                         f"{3 * height * width:,} for color images of {height} x {width} pixels (height x width): "
                         "check --image-size")
    return DataError(f"{path} has {pixels:,} columns {besides}, which is not the number of pixels of a square gray "
                     "image: give the size of the stored images with --image-size H W (image_size= in Python)")
