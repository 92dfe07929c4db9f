"""Arrays of .npz files are read; everything else is refused before memory is allocated."""

import io
import os
import struct
import tracemalloc
import zipfile
import zlib

import numpy as np
import pytest

from shiftscope.files import UnfitFileError
from shiftscope.npz import describe_arrays, read_arrays

ARRAYS = {"a": np.arange(6).reshape(2, 3), "b": np.asfortranarray(np.random.default_rng(0).normal(size=(3, 4, 2))),
          "c": np.array(["é", "text"]), "d": np.zeros((0, 4), np.uint8), "e": np.array(3.5, np.float16),
          "f": np.array([b"ab", b"c"]), "g": np.array([True, False]), "h": np.arange(3, dtype=">i4"),
          "i": np.array([1 + 2j])}


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_equal_those_of_numpy(save, tmp_path):
    save(tmp_path / "x.npz", **ARRAYS)
    found = read_arrays(tmp_path / "x.npz")
    assert list(found) == list(ARRAYS) == list(describe_arrays(tmp_path / "x.npz"))
    with np.load(tmp_path / "x.npz") as expected:
        for name, array in found.items():
            assert array.dtype == expected[name].dtype and array.flags.writeable
            np.testing.assert_array_equal(array, expected[name])
    assert list(read_arrays(tmp_path / "x.npz", ["c", "missing"])) == ["c"]


def npy(header: str, body: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    text = header.encode() + b"\n"
    return b"\x93NUMPY" + version + struct.pack("<H" if version == b"\x01\x00" else "<I", len(text)) + text + body


HEADER = "{'descr': '|u1', 'fortran_order': False, 'shape': (4,), }"


@pytest.mark.parametrize("content, problem", [
    (npy(HEADER, b"123"), "should have 4 bytes and has 3"),
    (npy(HEADER, b"12345"), "should have 4 bytes and has 5"),
    (npy(HEADER.replace("4,", "99999999999,"), b"1234"), "should have 99,999,999,999 bytes and has 4"),
    (npy(HEADER.replace("4,", "-4,"), b"1234"), "impossible shape"),
    (npy(HEADER.replace("4,", "True, 4"), b"1234"), "impossible shape"),
    (npy(HEADER.replace("4,", "4.0,"), b"1234"), "damaged"),
    (npy(HEADER.replace("4,", "2**70,"), b"1234"), "damaged"),
    (npy(HEADER.replace("4,", "4294967296, 4294967296, 0"), b""), "damaged"),
    (npy(HEADER.replace("|u1", "|O"), b"1234"), "not a plain array: Python objects .* never unpickled"),
    (npy(HEADER.replace("'|u1'", "[('a', '<i4')]"), b"1234"), "not a plain array"),
    (npy(HEADER.replace("|u1", "<M8[s]"), b"1234"), "not a plain array"),
    (npy(HEADER.replace("|u1", "<U0"), b""), "not a plain array"),
    (npy(HEADER, b"1234", b"\x03\x00"), r"version \(3, 0\)"),
    (npy("(" * 200), "damaged"), (npy("{'descr': [["), "damaged"), (npy("__import__('os').system('true')"), "damaged"),
    (npy("{}"), "damaged"), (b"", "damaged"), (b"\x93NUMPY", "damaged"), (b"not an array", "damaged"),
    (npy(HEADER)[:20], "damaged"), (npy(HEADER + " " * 20_000, b"1234"), "damaged"),
])
def test_members_that_are_not_plain_arrays_are_refused(content, problem, tmp_path):
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("a.npy", content)
    with pytest.raises(UnfitFileError, match=problem) as caught:
        read_arrays(tmp_path / "x.npz")
    assert len(str(caught.value)) < 300


def packed(folder, method=zipfile.ZIP_DEFLATED):
    """Return an archive of one array whose bytes cannot be compressed."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", method) as archive:
        archive.writestr("a.npy", npy(HEADER.replace("4,", "4000,"), np.random.default_rng(0).bytes(4000)))
    return bytearray(made.getvalue())


@pytest.mark.parametrize("place, value", [(8, 1), (10, 93), (10, 12)])
def test_encrypted_members_and_other_compression_methods_are_refused(place, value, tmp_path):
    content = packed(tmp_path)
    content[content.find(b"PK\x01\x02") + place] |= value
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(UnfitFileError, match="is encrypted or compressed with a method that NumPy does not use"):
        read_arrays(tmp_path / "x.npz")


def test_each_changed_byte_gives_the_same_arrays_or_an_unfit_file_error(tmp_path):
    content, path = packed(tmp_path), tmp_path / "x.npz"
    expected, refused = np.frombuffer(np.random.default_rng(0).bytes(4000), np.uint8), 0
    for place in [*range(120), *range(120, len(content) - 130, 97), *range(len(content) - 130, len(content))]:
        changed = content.copy()
        changed[place] ^= 0xFF
        path.write_bytes(changed)
        try:
            found = read_arrays(path)
        except UnfitFileError:
            refused += 1
        else:
            assert all(array.dtype != np.uint8 or np.array_equal(array, expected) for array in found.values())
    assert refused > 150


def test_a_decompression_bomb_is_refused_before_it_is_unpacked(tmp_path):
    """Three gigabytes of zeros in three megabytes."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    head = packer.compress(npy(HEADER.replace("4,", f"{3 * 2**30},"))) + packer.flush(zlib.Z_FULL_FLUSH)
    part = packer.compress(bytes(2**24)) + packer.flush(zlib.Z_FULL_FLUSH)
    info = zipfile.ZipInfo("a.npy")
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr(info, head + part * 192 + packer.flush())
        info.compress_type, info.file_size = zipfile.ZIP_DEFLATED, 3 * 2**30 + len(npy(HEADER)) + 9
    tracemalloc.start()
    with pytest.raises(UnfitFileError, match=r"its 3,\d+,\d+ bytes unpack to 3,221,\d+,\d+, the limit is 6"):
        read_arrays(tmp_path / "x.npz")
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


def test_small_shapes_on_black_compress_well_and_are_read(tmp_path):
    """A set of 20,000 images of 64 x 64 with one small square each has a compression ratio of 100."""
    images = np.zeros((20_000, 64, 64), np.uint8)
    images[:, 20:24, 30:34] = 255
    np.savez_compressed(tmp_path / "x.npz", images=images)
    assert images.nbytes > 100 * (tmp_path / "x.npz").stat().st_size
    assert np.array_equal(read_arrays(tmp_path / "x.npz")["images"], images)


@pytest.mark.skipif(os.name != "posix", reason="needs named pipes")
def test_files_that_are_not_archives_are_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    np.save(tmp_path / "one.npy", np.zeros(3))
    (tmp_path / "text").write_text("x" * 100)
    for name, problem in (("pipe", "it is a named pipe"), ("one.npy", "it holds a single array"),
                          ("text", "it is damaged"), (".", "it is a folder")):
        with pytest.raises(UnfitFileError, match=problem):
            read_arrays(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        read_arrays(tmp_path / "missing")
    with pytest.raises(UnfitFileError, match="it holds 152 bytes, the limit for such a file is 100"):
        read_arrays(tmp_path / "one.npy", limit=100)
