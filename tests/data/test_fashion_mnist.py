import gzip
import threading
import tracemalloc
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import torch

from shiftscope.data import load_dataset
from shiftscope.data.catalog import PUBLISHED, dataset_catalog, fetch_dataset
from shiftscope.errors import DataError
from shiftscope.progress import SilentProgress

from .conftest import change_published


def write_files(folder, files, packed=False):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        path = folder / (f"{name}.gz" if packed else name)
        path.write_bytes(gzip.compress(content, mtime=0) if packed else content)


@pytest.fixture
def no_network(monkeypatch):
    change_published(monkeypatch, mirrors=("http://127.0.0.1:9/one/", "http://localhost:9/two/"))


@pytest.fixture
def mirror(monkeypatch):
    """A server with the files in `served`, and the paths of all requests; other paths give 404."""
    served: dict[str, bytes] = {}
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            content = served.get(self.path)
            self.send_response(404 if content is None else 200)
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    base = f"http://127.0.0.1:{server.server_port}"
    change_published(monkeypatch, mirrors=(f"{base}/first/", f"{base}/second/"))
    yield served, asked
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("packed", [False, True])
def test_files_in_a_folder_are_used_without_network(tmp_path, small_files, no_network, packed):
    write_files(tmp_path / "data", small_files, packed)
    data = load_dataset("fashion-mnist", data_dir=tmp_path / "data")
    assert (len(data.train), len(data.test), data.shape) == (20, 10, (1, 28, 28))
    assert data.train.labels[:3].tolist() == [0, 1, 2]
    pixels = np.frombuffer(small_files["t10k-images-idx3-ubyte"], np.uint8, offset=16).reshape(10, 28, 28)
    assert np.array_equal(data.test.gather(torch.tensor([9]))[0, 0].numpy(), pixels[9])
    assert data.checksums == PUBLISHED["fashion-mnist"].unpacked_sha256
    assert "Zalando" in data.license and not data.synthetic


def test_folders_are_searched_in_order_and_together(tmp_path, small_files, no_network, monkeypatch, cache):
    names = list(small_files)
    write_files(tmp_path / "given", {names[0]: small_files[names[0]]})
    write_files(tmp_path / "variable", {names[0]: b"never read", names[1]: small_files[names[1]]})
    write_files(cache / "fashion-mnist", small_files | {names[1]: b"never read"}, packed=True)
    monkeypatch.setenv("SHIFTSCOPE_DATA_DIR", str(tmp_path / "variable"))
    assert len(load_dataset("fashion-mnist", data_dir=tmp_path / "given").train) == 20


def test_other_content_is_refused_by_its_checksum(tmp_path, small_files, no_network):
    content = bytearray(small_files["train-images-idx3-ubyte"])
    content[100] ^= 1
    write_files(tmp_path, small_files | {"train-images-idx3-ubyte": bytes(content)})
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte is damaged or another file: .*delete train-images-"
                                        r"idx3-ubyte and run `shiftscope data fetch fashion-mnist`") as caught:
        load_dataset("fashion-mnist", data_dir=tmp_path)
    assert caught.value.exit_code == 3


@pytest.mark.parametrize(("change", "problem"), [
    (lambda content: content[:-6], r"cannot read .*labels-idx1-ubyte.gz: Compressed file ended before.*delete t10k-"),
    (lambda content: content[:20] + bytes(10) + content[30:], r"cannot read .*labels-idx1-ubyte.gz: .*delete t10k-l"),
    (lambda content: b"<html>", r"labels-idx1-ubyte.gz is damaged or another file: .*; delete t10k-labels"),
    (lambda content: b"", r"labels-idx1-ubyte.gz is damaged or another file: .*; delete t10k-labels"),
])
def test_damaged_gzip_files_are_named(tmp_path, small_files, no_network, change, problem):
    write_files(tmp_path, small_files, packed=True)
    path = tmp_path / "t10k-labels-idx1-ubyte.gz"
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(DataError, match=problem):
        load_dataset("fashion-mnist", data_dir=tmp_path)


def test_a_gzip_bomb_is_not_unpacked(tmp_path, small_files, no_network):
    write_files(tmp_path, small_files)
    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    (tmp_path / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(bytes(2**24)) * 12)  # 192 MB
    tracemalloc.start()
    with pytest.raises(DataError, match="is damaged or another file"):
        load_dataset("fashion-mnist", data_dir=tmp_path)
    assert tracemalloc.get_traced_memory()[1] < 120e6
    tracemalloc.stop()


def test_without_a_network_the_error_names_files_and_folder(tmp_path, no_network):
    with pytest.raises(DataError) as caught:
        load_dataset("fashion-mnist", data_dir=tmp_path / "mine")
    message = str(caught.value)
    assert caught.value.exit_code == 3
    for part in ("127.0.0.1: ConnectionError", "localhost: ConnectionError", str(tmp_path / "mine"), "--data-dir",
                 "SHIFTSCOPE_DATA_DIR", *(f"{name}.gz" for name in PUBLISHED["fashion-mnist"].gzipped_sha256)):
        assert part in message
    assert list((tmp_path / "mine").iterdir()) == []


def test_files_missing_on_the_first_mirror_come_from_the_second(small_files, mirror, cache):
    served, asked = mirror
    for name, content in small_files.items():
        served[f"/second/{name}.gz"] = gzip.compress(content, mtime=0)
    paths = fetch_dataset("fashion-mnist")
    assert [path.name for path in paths] == [f"{name}.gz" for name in small_files]
    assert {path.parent for path in paths} == {cache / "fashion-mnist"}
    assert asked[:2] == [f"/first/{paths[0].name}", f"/second/{paths[0].name}"]
    count = len(asked)
    assert len(load_dataset("fashion-mnist").test) == 10
    assert len(asked) == count  # existing files are not downloaded again
    entries = {entry["name"]: entry for entry in dataset_catalog()}
    assert entries["fashion-mnist"]["found"] == str(paths[0].parent)


def test_a_broken_download_leaves_nothing_and_replaces_nothing(tmp_path, small_files, mirror):
    served, _ = mirror
    names = list(small_files)
    good = gzip.compress(small_files[names[0]], mtime=0)
    write_files(tmp_path, {names[0]: small_files[names[0]]}, packed=True)
    served[f"/first/{names[1]}.gz"] = gzip.compress(small_files[names[1]], mtime=0)[:-3]
    with pytest.raises(DataError, match=rf"cannot fetch {names[1]}.gz \(127.0.0.1: delivered a file with another "
                                        r"SHA-256; 127.0.0.1: HTTP status 404\)"):
        fetch_dataset("fashion-mnist", tmp_path)
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == [f"{names[0]}.gz"]
    assert (tmp_path / f"{names[0]}.gz").read_bytes() == good


def test_a_download_above_the_size_limit_is_stopped(tmp_path, small_files, mirror, monkeypatch):
    served, _ = mirror
    served[f"/first/{next(iter(small_files))}.gz"] = bytes(5000)
    monkeypatch.setattr("shiftscope.data.download.MAX_BYTES", 4000)
    with pytest.raises(DataError, match=r"127.0.0.1: more than 4,000 bytes"):
        fetch_dataset("fashion-mnist", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_download_counts_every_byte(small_files, mirror):
    served, _ = mirror
    for name, content in small_files.items():
        served[f"/first/{name}.gz"] = gzip.compress(content, mtime=0)
    tasks = []

    class Counting(SilentProgress):
        def task(self, title, total, unit="images", done=0):
            tasks.append([title, total, 0])
            return self

        def advance(self, count, **_):
            tasks[-1][2] += count

        def close(self):
            pass

    fetch_dataset("fashion-mnist", progress=Counting())
    assert [(title, total) for title, total, _ in tasks] == [
        (f"fetching {path.rsplit('/', 1)[1]}", len(content)) for path, content in served.items()]
    assert all(total == counted for _, total, counted in tasks)


def test_the_real_files(fashion_mnist_dir):
    data = load_dataset("fashion-mnist", data_dir=fashion_mnist_dir)
    assert (len(data.train), len(data.test)) == (60_000, 10_000)
    assert data.train.labels.bincount().tolist() == [6000] * 10
    assert data.train.labels[:5].tolist() == [9, 0, 0, 3, 0]


def test_the_real_files_of_mnist(mnist_dir):
    data = load_dataset("mnist", data_dir=mnist_dir)
    assert (len(data.train), len(data.test), data.class_names) == (60_000, 10_000, tuple("0123456789"))
    assert data.train.labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert data.test.labels.bincount().tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert "CC BY-SA 3.0" in data.license and "LeCun" in data.license
    pixels = data.test.gather(torch.arange(10_000))[:, 0].double()
    at = torch.arange(28.0).double()
    mass = pixels.sum((1, 2))
    for axis in (1, 2):  # digits are centered by mass, at 14 of 28
        assert (((pixels.sum(axis) * at).sum(1) / mass) - 14).abs().max() < 1


def test_files_of_one_dataset_are_refused_as_another(small_files, no_network, tmp_path, monkeypatch):
    own = PUBLISHED["mnist"]
    others = dict.fromkeys(small_files, "0" * 64)
    monkeypatch.setitem(PUBLISHED, "mnist", replace(own, unpacked_sha256=others))
    write_files(tmp_path, small_files)
    assert len(load_dataset("fashion-mnist", data_dir=tmp_path).test) == 10
    with pytest.raises(DataError, match=r"put the files of mnist into a folder mnist beside it$") as caught:
        load_dataset("mnist", data_dir=tmp_path)
    assert len(str(caught.value)) < 400
    monkeypatch.setitem(PUBLISHED, "mnist", own)
    write_files(tmp_path / "mnist", small_files)
    monkeypatch.setenv("SHIFTSCOPE_DATA_DIR", str(tmp_path))
    data = load_dataset("mnist")
    assert (data.name, len(data.test)) == ("mnist", 10)
    assert {entry["name"]: entry["found"] for entry in dataset_catalog()}["mnist"] == str(tmp_path / "mnist")
    assert [path.parent for path in fetch_dataset("mnist")] == [tmp_path / "mnist"] * 4
