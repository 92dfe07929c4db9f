"""Converts a packed file of Shiftscope 0.1 into a packed folder.

Usage: python tools/convert_packed.py OLD_FILE NEW_FOLDER
"""

import argparse
import json
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from shiftscope.data.packing import Chunk, Packed, Source, pack
from shiftscope.errors import DataError, ShiftscopeError

PREAMBLE = struct.Struct("<8sIIQQQ")
TYPES = {"images": "|u1", "labels": "<i8", "sums": "<u4"}


def open_arrays(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return the header and the memory-mapped arrays of an old file, verified."""
    content = np.memmap(path, mode="r")
    if len(content) < PREAMBLE.size:
        raise DataError(f"{path} is not a packed file of Shiftscope 0.1")
    magic, version, crc, start, length, size = PREAMBLE.unpack(bytes(content[:PREAMBLE.size]))
    if magic != b"SHFTPACK" or version != 1:
        raise DataError(f"{path} is not a packed file of Shiftscope 0.1")
    text = bytes(content[start:start + length])
    if size != len(content) or zlib.crc32(text) != crc:
        raise DataError(f"{path} is truncated or damaged; pack the dataset again with `shiftscope data pack`")
    header = json.loads(text)
    arrays: dict[str, np.ndarray] = {
        name: np.memmap(path, dtype, "r", header["arrays"][name]["place"], tuple(header["arrays"][name]["shape"]))
        for name, dtype in TYPES.items()}
    for name in ("labels", "sums"):
        if zlib.crc32(arrays[name].data) != header["arrays"][name]["crc32"]:
            raise DataError(f"the {name} of {path} are damaged; pack the dataset again with `shiftscope data pack`")
    return header, arrays


def convert(path: Path, folder: Path) -> Packed:
    """Write the dataset in the old file `path` into the new folder."""
    header, arrays = open_arrays(path)

    def chunks(split: str) -> Iterator[Chunk]:
        first, end = header["splits"][split]
        for begin in range(first, end, 64):
            rows = slice(begin, min(begin + 64, end))
            images = np.array(arrays["images"][rows])
            if [zlib.crc32(image) for image in images] != arrays["sums"][rows].tolist():
                raise DataError(f"an image from {rows.start} to {rows.stop - 1} of {path} is damaged; pack the dataset "
                                "again with `shiftscope data pack`")
            yield images, arrays["labels"][rows]

    return pack(Source(
        name=header["name"], class_names=tuple(header["class_names"]), source=header["source"],
        license=header["licence"], shape=arrays["images"].shape[1:], checksums=header["checksums"],
        counts={split: end - begin for split, (begin, end) in header["splits"].items()}, chunks=chunks,
        synthetic=header["drawn"]), folder)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Convert a packed file of Shiftscope 0.1 into a packed folder.")
    parser.add_argument("old_file", type=Path)
    parser.add_argument("new_folder", type=Path)
    chosen = parser.parse_args()
    try:
        print(convert(chosen.old_file, chosen.new_folder).path)
    except (OSError, ShiftscopeError, KeyError, ValueError) as error:
        raise SystemExit(f"error: {error}") from error
