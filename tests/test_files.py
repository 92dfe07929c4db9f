import errno
import os
import shutil
import socket
import stat
import tempfile
from pathlib import Path

import numpy as np
import pytest

from shiftscope import files
from shiftscope.errors import OutputError


def test_writes_replace_the_file_and_leave_nothing_else(tmp_path):
    path = tmp_path / "deep" / "file.txt"
    files.write_text(path, "one")
    files.write_text(path, "two")
    assert path.read_text() == "two" and [entry.name for entry in path.parent.iterdir()] == ["file.txt"]
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~mask


@pytest.mark.parametrize("call", ["write", "fsync", "replace"])
def test_a_full_disk_leaves_the_old_file_and_no_litter(call, tmp_path, monkeypatch):
    path = tmp_path / "file"
    files.write_bytes(path, b"old")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, call, full)
    with pytest.raises(OutputError, match=r"cannot write .*file: No space left on device"):
        files.write_bytes(path, b"new")
    assert path.read_bytes() == b"old" and len(list(tmp_path.iterdir())) == 1


def test_folders_renamed_after_the_last_rename_raise_the_error_of_the_guard(tmp_path, monkeypatch):
    real = Path.replace

    def replace_and_rename(part, path):
        real(part, path)
        tmp_path.joinpath("run").rename(tmp_path / "elsewhere")

    def guard(path):
        if tmp_path.joinpath("elsewhere").exists():
            raise OutputError("the folder was renamed")

    monkeypatch.setattr(Path, "replace", replace_and_rename)
    files.add_guard(guard)
    try:
        with pytest.raises(OutputError, match=r"^the folder was renamed$"):
            files.write_text(tmp_path / "run" / "file", "text")
    finally:
        files.remove_guard(guard)


def test_short_writes_are_completed(tmp_path, monkeypatch):
    real = os.write
    monkeypatch.setattr(os, "write", lambda handle, data: real(handle, data[:3]))
    files.write_bytes(tmp_path / "file", b"0123456789")
    assert (tmp_path / "file").read_bytes() == b"0123456789"


def test_json_has_no_nan_and_keeps_numpy_values(tmp_path):
    values = {"nan": float("nan"), "inf": [np.float32("inf"), 1.5], "count": np.int64(3), "array": np.eye(2)}
    assert files.plain(values) == {"nan": None, "inf": [None, 1.5], "count": 3, "array": [[1.0, 0.0], [0.0, 1.0]]}


@pytest.mark.skipif(os.name != "posix", reason="needs named pipes and sockets as files")
def test_only_regular_files_are_opened_and_none_blocks(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        folder = Path(tempfile.mkdtemp())  # the path of a socket has at most 107 bytes
        server.bind(str(folder / "s"))
        for path, kind in ((tmp_path / "pipe", "named pipe"), (folder / "s", "socket"), (Path("/dev/zero"), "device"),
                           (tmp_path, "folder")):
            with pytest.raises(files.UnfitFileError, match=f"it is a {kind}, expected a regular file"):
                files.open_regular(path, 10)
        shutil.rmtree(folder)
    with pytest.raises(FileNotFoundError):
        files.open_regular(tmp_path / "missing", 10)


def test_a_file_above_its_limit_is_not_read(tmp_path):
    (tmp_path / "small").write_bytes(b"1234")
    (tmp_path / "link").symlink_to("small")
    assert files.read_regular(tmp_path / "link", 4) == b"1234"
    with pytest.raises(files.UnfitFileError, match="it holds 4 bytes, the limit for such a file is 3"):
        files.read_regular(tmp_path / "small", 3)
    with (tmp_path / "sparse").open("wb") as stream:
        stream.truncate(2**40)
    with pytest.raises(files.UnfitFileError, match=r"it holds 1,099,511,627,776 bytes"):
        files.read_regular(tmp_path / "sparse", 2**30)


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs /proc, whose files do not tell their size")
def test_a_file_that_does_not_tell_its_size_is_read_up_to_the_limit():
    with pytest.raises(files.UnfitFileError, match="it holds more than 20 bytes"):
        files.read_regular("/proc/self/maps", 20)
