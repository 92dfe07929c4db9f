import gzip
import os
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest

from shiftscope.data.idx import parse, read_idx
from shiftscope.errors import DataError

HEADER = bytes([0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 3])
PIXELS = bytes(range(12))


@pytest.mark.parametrize("packed", [False, True])
def test_reads_rows_before_columns_plain_or_gzipped(tmp_path, packed):
    path = tmp_path / ("images.gz" if packed else "images")
    path.write_bytes(gzip.compress(HEADER + PIXELS) if packed else HEADER + PIXELS)
    images = read_idx(path, 3)
    assert images.shape == (2, 2, 3)
    assert images[1, 0].tolist() == [6, 7, 8]
    images[0, 0, 0] = 9  # writable: torch refuses to share read-only memory


@pytest.mark.parametrize(("content", "problem"), [
    (HEADER + PIXELS[:-1], r"images is truncated: its header promises 2 x 2 x 3 = 12 values, it holds 11; get another"),
    (HEADER + PIXELS + b"x", r"images is too long: .* 12 values, it holds more; get another"),
    (HEADER[:9], r"images is truncated: it ends within its header; get another"),
    (b"\x00\x00\x0d\x03" + HEADER[4:] + PIXELS, r"no IDX file .* begins with '00000d03', expected '00000803'"),
    (b"<html>", r"images is no IDX file .* begins with '3c68746d'"),
    (b"", r"images is no IDX file .* begins with ''"),
])
def test_damaged_content_is_named_with_the_way_out(content, problem):
    with pytest.raises(DataError, match=problem):
        parse(content, Path("images"), 3, "get another")


def test_sizes_beyond_memory_are_an_error_and_no_allocation():
    with pytest.raises(DataError, match="truncated"):
        parse(bytes([0, 0, 8, 3]) + b"\xff" * 12, Path("images"), 3)


def test_labels_are_not_taken_for_images():
    with pytest.raises(DataError, match=r"with 1 dimension\(s\)"):
        parse(HEADER + PIXELS, Path("labels"), 1)


def test_bad_gzip_files(tmp_path):
    path = tmp_path / "images.gz"
    header = HEADER[:4] + b"".join(size.to_bytes(4, "big") for size in (1, 40, 100))
    whole = gzip.compress(header + np.random.default_rng(0).bytes(4000))
    path.write_bytes(whole[:-100])
    with pytest.raises(DataError, match=r"images.gz is truncated: its gzip data ends too early; replace it"):
        read_idx(path, 3)
    path.write_bytes(whole[:200] + bytes(300) + whole[500:])
    with pytest.raises(DataError, match=r"images.gz is no valid gzip file: .*; replace it"):
        read_idx(path, 3)
    path.write_bytes(HEADER + PIXELS)
    with pytest.raises(DataError, match="is named as a gzip file but does not begin as one"):
        read_idx(path, 3)


@pytest.mark.parametrize("promised", [4, 2**31])
def test_a_gzip_bomb_is_refused_before_it_is_unpacked(promised, tmp_path):
    """Three gigabytes of zeros, packed into three megabytes: more than the header says, or far more than is usual."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    header = bytes([0, 0, 8, 1]) + promised.to_bytes(4, "big")
    part = packer.compress(header + bytes(2**24)) + packer.flush(zlib.Z_FULL_FLUSH)
    zeros = packer.compress(bytes(2**24)) + packer.flush(zlib.Z_FULL_FLUSH)
    (tmp_path / "labels.gz").write_bytes(part + zeros * 191 + packer.flush())
    tracemalloc.start()
    with pytest.raises(DataError, match=r"is too long: .* 4 values" if promised == 4 else
                       r"unpacks to 2,147,483,648 values, as its header says, the limit for a file of its size is"):
        read_idx(tmp_path / "labels.gz", 1)
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


def test_a_pipe_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "labels")
    with pytest.raises(DataError, match="cannot read .*labels: it is a named pipe, expected a regular file"):
        read_idx(tmp_path / "labels", 1)


def test_missing_file(tmp_path):
    with pytest.raises(DataError, match=r"cannot read .*images: No such file"):
        read_idx(tmp_path / "images", 3)
