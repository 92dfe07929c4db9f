"""Fixtures of the dataset tests: a temporary cache and a small Fashion-MNIST."""

import gzip
import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from shiftscope.data.catalog import PUBLISHED


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    """An empty cache folder, and no data folder in the environment."""
    folder = tmp_path / "cache"
    monkeypatch.setattr("platformdirs.user_cache_path", lambda *_, **__: folder)
    monkeypatch.delenv("SHIFTSCOPE_DATA_DIR", raising=False)
    return folder


def idx_bytes(array: np.ndarray) -> bytes:
    """The IDX file of a uint8 array."""
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.astype(np.uint8).tobytes()


def change_published(monkeypatch, **changes) -> None:
    """Change fields of every published dataset."""
    for name, one in list(PUBLISHED.items()):
        monkeypatch.setitem(PUBLISHED, name, replace(one, **changes))


@pytest.fixture
def small_files(monkeypatch) -> dict[str, bytes]:
    """Unpacked files (20 + 10 images) that replace the real ones, and their checksums: name -> content."""
    random = np.random.default_rng(0)
    contents = {}
    for part, count in (("train", 20), ("t10k", 10)):
        contents[f"{part}-images-idx3-ubyte"] = idx_bytes(random.integers(0, 256, (count, 28, 28)))
        contents[f"{part}-labels-idx1-ubyte"] = idx_bytes(np.arange(count) % 10)
    packed = {name: hashlib.sha256(gzip.compress(data, mtime=0)).hexdigest() for name, data in contents.items()}
    plain = {name: hashlib.sha256(data).hexdigest() for name, data in contents.items()}
    change_published(monkeypatch, gzipped_sha256=packed, unpacked_sha256=plain)
    return contents
