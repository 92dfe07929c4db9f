import errno
import os
import stat

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


def test_short_writes_are_completed(tmp_path, monkeypatch):
    real = os.write
    monkeypatch.setattr(os, "write", lambda handle, data: real(handle, data[:3]))
    files.write_bytes(tmp_path / "file", b"0123456789")
    assert (tmp_path / "file").read_bytes() == b"0123456789"


def test_json_has_no_nan_and_keeps_numpy_values(tmp_path):
    values = {"nan": float("nan"), "inf": [np.float32("inf"), 1.5], "count": np.int64(3), "array": np.eye(2)}
    assert files.plain(values) == {"nan": None, "inf": [None, 1.5], "count": 3, "array": [[1.0, 0.0], [0.0, 1.0]]}
