import hashlib
import json
import os
import pickle
import re
import runpy
import shutil
import signal
import subprocess
import sys
import time
import zlib
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

import shiftscope
from shiftscope import files
from shiftscope.data import from_arrays, load_dataset, packed, packing, read_folder
from shiftscope.data.base import Dataset, Subset, TensorImages
from shiftscope.data.packing import from_dataset, from_folder, pack
from shiftscope.errors import DataError, OutputError, ShiftscopeError, UsageError
from shiftscope.models import build_model

ROOT = Path(__file__).parents[2]
OLD = Path(__file__).parent / "packed_0_1.pack"
convert = runpy.run_path(str(ROOT / "tools" / "convert_packed.py"))["convert"]


def noise(count: int, shape=(3, 5, 7), seed=0, classes=3) -> TensorImages:
    """Random images, not square, so that height and width cannot be confused."""
    random = np.random.default_rng(seed)
    return TensorImages(torch.from_numpy(random.integers(0, 256, (count, *shape), dtype=np.uint8)),
                        torch.arange(count) % classes)


def dataset(train=40, test=11, shape=(3, 5, 7)) -> Dataset:
    return Dataset(name="noise", class_names=("a", "b", "ç"), train=noise(train, shape), test=noise(test, shape, 1),
                   source="made by the test", license="MIT", checksums={"file.gz": "12ab"}, synthetic=True)


@pytest.fixture
def pair(tmp_path) -> tuple[Dataset, Dataset, Path]:
    """A dataset in memory, the same one packed, and the folder."""
    data = dataset()
    path = pack(from_dataset(data), tmp_path / "noise.pack").path
    return data, load_dataset(f"packed:{path}"), path


def write_images(folder: Path, colors: list[tuple[int, int, int]], size=(6, 4), start=0) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, color in enumerate(colors, start):
        Image.new("RGB", size, color).save(folder / f"{number:04}.png")


def bytes_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


def same(a, b) -> bool:
    rows = torch.arange(len(a))
    return a.shape == b.shape and bool(a.gather(rows).equal(b.gather(rows))) and bool(a.labels.equal(b.labels))


# ---------------------------------------------------------------------- reading

def test_a_packed_dataset_equals_the_original(pair):
    data, found, _ = pair
    assert same(found.train, data.train) and same(found.test, data.test)
    assert found.checksums.pop("file.gz") == "12ab"
    assert found.checksums == from_arrays(data.train.images, data.train.labels, data.test.images,
                                          data.test.labels).checksums
    assert replace(found, train=data.train, test=data.test, checksums=data.checksums) == data


@pytest.mark.parametrize("indices", [[7], [], [5, 3, 3, 39, 4, 0, 5, 3], list(range(40)), list(range(39, -1, -1))])
def test_gather_returns_images_in_the_order_of_the_indices(pair, indices):
    data, found, _ = pair
    wanted = torch.tensor(indices, dtype=torch.int64)
    images = found.train.gather(wanted)
    assert images.dtype == torch.uint8 and images.equal(data.train.gather(wanted))
    some = Subset(found.train, torch.tensor([30, 2, 9]))
    assert some.gather(torch.tensor([2, 0])).equal(data.train.gather(torch.tensor([9, 30])))


@pytest.mark.parametrize("index", [-1, 40])
def test_an_index_out_of_range_raises(pair, index):
    with pytest.raises(IndexError, match=r"images of the train set have indices from 0 to 39, got"):
        pair[1].train.gather(torch.tensor([3, index]))


def test_fork_and_pickling_work_but_not_with_another_dataset_in_the_folder(pair):
    data, found, path = pair
    child = os.fork()
    if child == 0:
        os._exit(0 if same(found.train, data.train) else 1)
    again = pickle.loads(pickle.dumps(found))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert same(again.train, data.train) and len(pickle.dumps(found)) < 5000
    kept = pickle.dumps(found)
    shutil.rmtree(path)
    pack(from_dataset(dataset(train=39)), path)
    assert same(found.train, data.train)  # open files keep their content
    with pytest.raises(DataError, match=r"noise.pack was replaced by another packed dataset since it was opened"):
        pickle.loads(kept)


def test_memory_does_not_grow_with_the_files(tmp_path):
    """Mapped pages of the files do not count: the system takes them back when memory is needed."""
    data = dataset(train=12_000, test=3, shape=(3, 40, 40))  # 58 MB
    path = pack(from_dataset(data), tmp_path / "large.pack").path
    script = f"""
import threading, time, torch, shiftscope
from shiftscope.data import load_dataset
peak, done = [0], threading.Event()
def watch():
    while not done.is_set():
        lines = open("/proc/self/status").read().splitlines()
        peak[0] = max(peak[0], next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")))
        time.sleep(0.002)
data, model = load_dataset("packed:{path}"), torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 40 * 40, 3))
place = shiftscope.Placement(image=(40, 40), canvas=(40, 40))
settings = shiftscope.TrainSettings(epochs=1, batch_size=50, validation=1000, optimizer="sgd", learning_rate=1e-4)
threading.Thread(target=watch).start()
shiftscope.train(model, data.limit(500), placement=place, settings=settings)
before = peak[0]
shiftscope.train(model, data, placement=place, settings=settings)
done.set()
print(peak[0] - before)
"""
    if not Path("/proc/self/status").exists():
        pytest.skip("needs /proc/self/status, which this system does not have")
    grown = int(subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout)
    assert grown < 12_000  # KiB; the images are 56,000


def test_a_set_moves_to_a_device_as_a_whole_if_it_fits_else_batch_by_batch(pair, monkeypatch):
    data, found, _ = pair
    wanted = torch.tensor([4, 2])
    assert found.train.to("cpu") is found.train
    moved = found.train.to("meta")
    assert isinstance(moved, packed.HostImages)
    assert moved.gather(wanted).device.type == "meta" and moved.to("cpu") is found.train
    monkeypatch.setattr(packed, "free_memory", lambda device: 10**9)
    whole = found.train.to("meta")
    assert isinstance(whole, TensorImages) and whole.images.shape == data.train.images.shape
    assert packed.HostImages(found.train, torch.device("cpu")).load().images.equal(data.train.images)


def test_images_that_are_needed_soon_are_read_ahead(pair, monkeypatch):
    found, asked = pair[1].train, []

    class Map:
        def madvise(self, option, start, length):
            asked.append((start, length))

        def __len__(self):
            return 128 + 40 * 105

    monkeypatch.setattr(found, "_map", Map())
    monkeypatch.setattr("mmap.PAGESIZE", 64)
    packed.read_ahead(Subset(packed.HostImages(found, torch.device("cpu")), torch.tensor([8, 1, 7])),
                      torch.tensor([0, 2]))
    assert asked == [(128 + 7 * 105 - 31, 105 + 31), (128 + 8 * 105 - 8, 105 + 8)]
    packed.read_ahead(noise(4), torch.tensor([0]))
    packed.read_ahead(found, torch.tensor([], dtype=torch.int64))
    assert len(asked) == 2


# ---------------------------------------------------------------------- all verbs

def test_training_evaluation_and_audit_equal_those_from_memory(tmp_path):
    held = load_dataset("garments:300,40")
    read = load_dataset(f"packed:{pack(from_dataset(held), tmp_path / 'garments.pack').path}")
    found = []
    for data in (held, read):
        model = build_model("two-full", seed=0)
        settings = shiftscope.TrainSettings(epochs=2, validation=50)
        trained = shiftscope.train(model, data, name="two-full", settings=settings)
        place = shiftscope.Placement(image=(28, 28), canvas=(56, 56)).narrowed(max_shift=2)
        audit = shiftscope.audit(model, data, placement=place)
        evaluation = shiftscope.evaluate(model, data)
        found.append((model.state_dict(), trained.history, evaluation.predictions, audit.predictions, trained.settings))
    (weights, history, predictions, seen, settings), other = found
    assert all(value.equal(other[0][name]) for name, value in weights.items())
    assert history == other[1] and np.array_equal(predictions, other[2]) and np.array_equal(seen, other[3])
    assert settings == other[4]  # the recipe of synthetic garments, because the name is kept


def test_fewer_images_than_a_batch(tmp_path):
    data = dataset(train=4, test=2)
    read = load_dataset(f"packed:{pack(from_dataset(data), tmp_path / 'few.pack').path}")
    place = shiftscope.Placement(image=(5, 7), canvas=(8, 8))
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 64, 3))
    result = shiftscope.train(model, read, placement=place, settings=shiftscope.TrainSettings(epochs=1, batch_size=125))
    assert (result.train_images, result.epochs) == (4, 1)


# ---------------------------------------------------------------------- damage

def spoil(path: Path, place: int) -> None:
    """Change one byte of a file."""
    content = bytearray(path.read_bytes())
    content[place] ^= 255
    path.write_bytes(content)


def describe(folder: Path, **changes) -> None:
    """Change values of dataset.json; `files__NAME` is the entry of a file."""
    path = folder / "dataset.json"
    described = json.loads(path.read_text(encoding="utf-8"))
    for key, value in changes.items():
        holder, name = (described["files"], key.removeprefix("files__")) if "__" in key else (described, key)
        holder[name.replace("_npy", ".npy")] = value
    path.write_text(json.dumps(described), encoding="utf-8")


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 7)


def save(array) -> object:
    return lambda path: np.save(path, array)


@pytest.mark.parametrize(("name", "change", "problem"), [
    ("train_images.npy", cut, r"train_images.npy has [\d,]+ bytes, expected [\d,]+: it is truncated or was replaced"),
    ("test_labels.npy", cut, r"test_labels.npy has [\d,]+ bytes, expected [\d,]+: it is truncated or was replaced"),
    ("test_labels.npy", lambda path: spoil(path, 140), r"test_labels.npy is damaged: its SHA-256 differs"),
    ("train_crc32.npy", lambda path: spoil(path, 140), r"train_crc32.npy is damaged: its SHA-256 differs"),
    ("train_images.npy", lambda path: spoil(path, 0), r"cannot read .*train_images.npy: it does not begin as a .npy"),
    ("train_images.npy", lambda path: spoil(path, 6), r"cannot read .*train_images.npy: it does not begin as a .npy"),
    ("train_images.npy", Path.unlink, r"cannot read .*train_images.npy: No such file or directory"),
    ("dataset.json", Path.unlink, r"noise.pack has no file dataset.json, expected a folder written by `shiftscope d"),
    ("dataset.json", lambda path: path.write_text("{"), r"dataset.json is damaged: it is not JSON"),
    ("dataset.json", lambda path: path.write_text("{}"), r"noise.pack has the schema_version None, this Shiftscope r"),
    ("dataset.json", lambda path: path.write_text('{"schema_version": 1}'), r"dataset.json is damaged: .*missing req"),
])
def test_damaged_files_are_refused_when_a_folder_is_opened(pair, name, change, problem):
    change(pair[2] / name)
    with pytest.raises(DataError, match=problem) as caught:
        load_dataset(f"packed:{pair[2]}")
    assert str(caught.value).endswith("pack the dataset again with `shiftscope data pack`") or "no file" in problem


class Code:
    def __reduce__(self):
        return os.mkdir, ("executed",)


@pytest.mark.parametrize(("name", "array", "problem"), [
    ("train_images", np.zeros((40, 105), np.uint8), r"has shape \(40, 105\), expected \(N, C, h, w\)"),
    ("train_images", np.zeros((40, 3, 5, 7), np.float32), r"holds an array of type float32, expected \|u1"),
    ("train_images", np.zeros((0, 3, 5, 7), np.uint8), r"it holds an array of type uint8 and shape \(0, 3, 5, 7\)"),
    ("train_images", np.asfortranarray(np.zeros((40, 3, 5, 7), np.uint8)), r"it holds an array of type uint8"),
    ("train_labels", np.zeros(39, np.int64), r"train_labels.npy has shape \(39,\), expected \(40,\)"),
    ("train_labels", np.array([Code()] * 40, dtype=object), r"train_labels.npy: it holds an array of type object"),
    ("train_crc32", np.zeros(40, np.int64), r"train_crc32.npy holds an array of type int64, expected <u4"),
])
def test_arrays_of_another_kind_are_refused_and_no_pickle_is_loaded(pair, name, array, problem, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = pair[2] / f"{name}.npy"
    np.save(path, array)
    describe(pair[2], **{f"files__{name}_npy": {"bytes": path.stat().st_size}})
    with pytest.raises(DataError, match=problem):
        load_dataset(f"packed:{pair[2]}")
    assert not Path("executed").exists()


@pytest.mark.parametrize("header", ["{'descr': '|u1', 'fortran_order': False, 'shape': (10**15, 3, 5, 7), }",
                                    "{'descr': '|u1', 'fortran_order': False, 'shape': (999999999999, 3, 5, 7), }",
                                    "{'descr': '|u1', 'fortran_order': False, 'shape': (-40, 3, 5, -7), }",
                                    "__import__('os').mkdir('executed')"])
def test_headers_that_describe_more_than_the_file_holds_allocate_nothing(pair, header):
    path = pair[2] / "train_images.npy"
    content = path.read_bytes()
    path.write_bytes(content[:10] + header.encode().ljust(117) + content[127:])
    with pytest.raises(DataError, match=r"cannot read .*train_images.npy: (its header describes|it does not begin as|"
                                        "its array .* has the impossible shape)"):
        load_dataset(f"packed:{pair[2]}")


def test_labels_that_do_not_fit_into_memory_are_refused_before_they_are_read(pair, monkeypatch):
    monkeypatch.setattr(packed, "memory", lambda: 500)
    with pytest.raises(DataError, match=r"holds 40 train images, whose labels do not fit into memory"):
        load_dataset(f"packed:{pair[2]}")


def test_a_damaged_image_is_named_when_it_is_read_and_the_others_are_fine(pair):
    data, _, path = pair
    spoil(path / "train_images.npy", 128 + 7 * 105 + 50)
    spoil(path / "test_images.npy", 128 + 105)
    found = load_dataset(f"packed:{path}")
    fine = torch.tensor([6, 8])
    assert found.train.gather(fine).equal(data.train.gather(fine))
    for _ in range(2):
        with pytest.raises(DataError, match=r"image 7 of the train set in .*noise.pack is damaged: its checksum diff"):
            found.train.gather(torch.tensor([8, 7, 6]))
    with pytest.raises(DataError, match="image 1 of the test set in"):
        found.test.gather(torch.arange(3))


def test_a_file_that_is_truncated_while_it_is_in_use(pair):
    _, found, path = pair
    os.truncate(path / "train_images.npy", 128 + 20 * 105)
    with pytest.raises(DataError, match=r"noise.pack/train_images.npy was truncated while it was in use"):
        found.train.gather(torch.tensor([1, 30]))


def test_labels_without_a_class(pair):
    describe(pair[2], class_names=["a", "b"])
    with pytest.raises(DataError, match="label 2 of image 2 in the training set of noise is out of range"):
        load_dataset(f"packed:{pair[2]}")


def test_paths_that_are_not_packed_folders(tmp_path):
    with pytest.raises(DataError, match=r"there is no folder .*missing.pack; check the path after packed:"):
        load_dataset(f"packed:{tmp_path}/missing.pack")
    with pytest.raises(DataError, match=r"has no file dataset.json, expected a folder written by"):
        load_dataset(f"packed:{tmp_path}")
    (tmp_path / "text").write_text("hello")
    with pytest.raises(DataError, match=r"text is a file, expected a folder written by `shiftscope data pack`"):
        load_dataset(f"packed:{tmp_path}/text")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match=r"cannot read .*pipe: it is a named pipe"):
        load_dataset(f"packed:{tmp_path}/pipe")
    with pytest.raises(UsageError, match="image_size is an option of folder:PATH, not of packed:x"):
        load_dataset("packed:x", image_size=(3, 3))


# ---------------------------------------------------------------------- files of release 0.1

def test_a_file_of_release_0_1_names_the_script_that_converts_it(tmp_path):
    with pytest.raises(DataError, match=r"packed_0_1.pack is a packed file of Shiftscope 0.1: convert it with `python "
                                        r"tools/convert_packed.py packed_0_1.pack NEW_FOLDER`"):
        load_dataset(f"packed:{OLD}")
    done = convert(OLD, tmp_path / "new")
    found = load_dataset(f"packed:{tmp_path / 'new'}")
    data = dataset(train=12, test=5)
    assert same(found.train, data.train) and same(found.test, data.test)
    assert found.checksums == done.checksums and found.checksums["file.gz"] == "12ab"
    assert replace(found, train=data.train, test=data.test, checksums=data.checksums) == data


@pytest.mark.parametrize(("place", "problem"), [
    (0, "is not a packed file of Shiftscope 0.1"), (12_900, "is truncated or damaged"),
    (8192, "the labels of .* are damaged"), (4500, r"an image from 0 to 11 of .* is damaged")])
def test_damaged_files_of_release_0_1_are_not_converted(tmp_path, place, problem):
    shutil.copy(OLD, tmp_path / "old.pack")
    spoil(tmp_path / "old.pack", place)
    with pytest.raises(DataError, match=problem):
        convert(tmp_path / "old.pack", tmp_path / "new")
    assert [path.name for path in tmp_path.iterdir()] == ["old.pack"]


# ---------------------------------------------------------------------- folders

def gray(levels) -> list[tuple[int, int, int]]:
    return [(level,) * 3 for level in levels]


@pytest.mark.parametrize("colored", [None, "train", "test"])
def test_a_packed_folder_equals_read_folder(tmp_path, colored, monkeypatch):
    """The one colored image comes after gray ones, which must get three channels too."""
    folder = tmp_path / "pets"
    monkeypatch.setattr(packing, "_MAX_CHUNK", 16)  # so that these few files are divided among processes
    for part, count in (("train", 150), ("test", 70)):
        write_images(folder / part / "cat", gray(range(count)))
        write_images(folder / part / "dog", gray(range(count, count + 20)), size=(10, 10))
    if colored:
        last = read_order(folder, colored)
        Image.new("RGB", (6, 4), (250, 3, 3)).save(last)
    held = read_folder(folder)
    done = pack(from_folder(folder, workers=2), tmp_path / "pets.pack", license="CC0")
    found = load_dataset(f"packed:{done.path}")
    assert same(found.train, held.train) and same(found.test, held.test)
    assert found.shape == (3 if colored else 1, 4, 6)
    assert replace(found, train=held.train, test=held.test, license=held.license, notes=held.notes) == held
    assert found.license == "CC0" == done.license and done.checksums == held.checksums
    assert (done.train_images, done.test_images, done.bytes) == (170, 90, bytes_of(done.path))


def read_order(folder: Path, part: str) -> Path:
    """Return the image of a split that is read last."""
    from shiftscope.data.layout import list_layout, shuffled

    layout = list_layout(folder)
    return shuffled(layout.train if part == "train" else layout.test)[-1][0]


def test_a_given_size(tmp_path):
    for name in ("cat", "dog"):
        write_images(tmp_path / "pets" / name, gray(range(4)))
    pack(from_folder(tmp_path / "pets", image_size=(3, 2)), tmp_path / "pets.pack")
    assert load_dataset(f"packed:{tmp_path}/pets.pack").shape == (1, 3, 2)
    with pytest.raises(UsageError, match="workers must be an integer of at least 0, got -1"):
        from_folder(tmp_path / "pets", workers=-1)


def unreadable(folder: Path) -> None:
    (folder / "cat" / "0002.png").write_text("hello")


def truncated(folder: Path) -> None:
    path = folder / "dog" / "0003.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 60, 3), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:900])


def no_pictures(folder: Path) -> None:
    (folder / "bird").mkdir()


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(("spoil", "problem"), [
    (unreadable, r"cat/0002.png is not a readable image: its content is not an image; replace or remove it"),
    (truncated, r"dog/0003.png is not a readable image: .*; replace or remove it"),
    (no_pictures, r"the class folder .*bird holds no PNG or JPEG file: add images, or remove the folder"),
])
def test_folders_that_cannot_be_packed_leave_no_file(tmp_path, spoil, problem, workers, monkeypatch):
    monkeypatch.setattr(packing, "_MAX_CHUNK", 1)
    for name in ("cat", "dog"):
        write_images(tmp_path / "pets" / name, gray(range(8)))
    spoil(tmp_path / "pets")
    with pytest.raises(DataError, match=problem):
        pack(from_folder(tmp_path / "pets", workers=workers), tmp_path / "out" / "pets.pack")
    assert not (tmp_path / "out").exists() or list((tmp_path / "out").iterdir()) == []


def test_a_worker_process_that_dies(tmp_path, monkeypatch):
    for name in ("cat", "dog"):
        write_images(tmp_path / "pets" / name, gray(range(8)))
    monkeypatch.setattr(packing, "_MAX_CHUNK", 1)
    source = from_folder(tmp_path / "pets", workers=2)
    monkeypatch.setattr(packing, "read_pixels", lambda path, size, bits: os.kill(os.getpid(), signal.SIGKILL))
    with pytest.raises(ShiftscopeError, match=r"a process that decodes images died, perhaps because memory ran out"):
        pack(source, tmp_path / "pets.pack")
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "cache") == ["pets"]


def test_nan_and_more_labels_than_images_are_refused():
    pixels = np.full((4, 8, 8), np.nan, dtype=np.float32)
    with pytest.raises(DataError, match="pixels of train_images of arrays are NaN or infinite, expected uint8"):
        from_arrays(pixels, [0, 1, 0, 1], pixels, [0, 1, 0, 1])
    with pytest.raises(DataError, match=r"labels must be 4 integers, one per image, got shape \(5,\)"):
        from_arrays(np.zeros((4, 8, 8), np.uint8), [0, 1, 0, 1, 1], np.zeros((1, 8, 8), np.uint8), [0])


# ---------------------------------------------------------------------- whole or not at all

def test_an_existing_path_is_refused_and_unchanged(pair, tmp_path):
    before = {path: path.read_bytes() for path in pair[2].iterdir()}
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("mine")
    for path in (pair[2], tmp_path / "empty", tmp_path / "file"):
        with pytest.raises(UsageError, match="exists already: choose another folder with --out, or remove it"):
            pack(from_dataset(dataset()), path)
    assert {path: path.read_bytes() for path in pair[2].iterdir()} == before
    assert list((tmp_path / "empty").iterdir()) == [] and (tmp_path / "file").read_text() == "mine"


def test_too_little_disk_space_is_reported_before_the_work_begins(tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=500))
    with pytest.raises(OutputError, match=r"packing noise takes 0 MB or more, 0 MB are free there; free some space"):
        pack(from_dataset(dataset()), tmp_path / "noise.pack")
    assert list(tmp_path.iterdir()) == []


def test_a_write_error_leaves_nothing(tmp_path):
    resource = pytest.importorskip("resource", reason="needs a limit of the size of files, which Windows does not have")
    source, before = from_dataset(dataset(train=2000, shape=(3, 20, 20))), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, before[1]))
    try:
        with pytest.raises(OutputError, match=r"noise.pack: File too large; free some space or choose another folder"):
            pack(source, tmp_path / "noise.pack")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []


def test_a_signal_leaves_nothing(tmp_path):
    script = f"""
import time
from shiftscope.data import packing
from shiftscope.cli import main
real = packing.read_pixels
def slow(path, size, bits):
    time.sleep(0.02)
    return real(path, size, bits=bits)
packing.read_pixels = slow
raise SystemExit(main(["data", "pack", r"folder:{tmp_path}/pets", "--out", r"{tmp_path}/pets.pack"]))
"""
    for name in ("cat", "dog"):
        write_images(tmp_path / "pets" / name, gray(range(200)))
    process = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 60
    while not list(tmp_path.glob(".pets.pack*/train_images.npy")) and time.monotonic() < until:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said.splitlines()[-1].endswith("was interrupted; no partial folder remains")
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "cache") == ["pets"]


def test_stop_leaves_nothing(tmp_path):
    asked = iter([False, True])
    with pytest.raises(KeyboardInterrupt):
        pack(from_dataset(dataset(train=500)), tmp_path / "noise.pack", stop=lambda: next(asked))
    assert list(tmp_path.iterdir()) == []


def test_the_format_is_the_documented_one(pair):
    data, _, path = pair
    described = json.loads((path / "dataset.json").read_text(encoding="utf-8"))
    assert described["schema_version"] == 1 and described["class_names"] == ["a", "b", "ç"]
    assert set(described["files"]) == {file.name for file in path.iterdir()} - {"dataset.json"}
    for split, images in (("train", data.train), ("test", data.test)):
        arrays = {what: np.load(path / f"{split}_{what}.npy") for what in ("images", "labels", "crc32")}
        assert np.array_equal(arrays["images"], images.images) and np.array_equal(arrays["labels"], images.labels)
        assert arrays["crc32"].tolist() == [zlib.crc32(image) for image in arrays["images"]]
        assert described["checksums"][f"{split}_images"] == hashlib.sha256(arrays["images"].tobytes()).hexdigest()
    for name, listed in described["files"].items():
        content = (path / name).read_bytes()
        assert listed["bytes"] == len(content) and listed.get("sha256") in (None, hashlib.sha256(content).hexdigest())


def test_the_code_of_the_page_on_scale_runs(tmp_path, monkeypatch, capsys):
    page = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")
    code = [block for block in re.findall(r"^```python\n(.*?)^```", page, flags=re.M | re.S)
            if "torch.distributed" not in block]  # which tests/distributed runs in two processes
    train, test = noise(30, (3, 64, 64), classes=2), noise(6, (3, 64, 64), 1, classes=2)
    for name in ("pictures", "held"):
        pack(from_dataset(Dataset(name=name, class_names=("cup", "plate"), train=train, test=test, source="-",
                                  license="-")), tmp_path / f"{name}.pack")
    (tmp_path / "shards").mkdir()
    for number in range(3):
        rows = slice(10 * number, 10 * number + 10)
        np.savez(tmp_path / "shards" / f"{number}.npz", images=train.images[rows], labels=train.labels[rows])
    monkeypatch.chdir(tmp_path)
    names: dict = {"__name__": "page"}
    for block in code:
        exec(block, names)
    assert len(code) == 2
    assert "(30, 3, 64, 64) [0 1 0]\n30 {" in capsys.readouterr().out


def test_a_new_folder_leaves_nothing_after_an_error(tmp_path):
    with pytest.raises(ZeroDivisionError), files.new_folder(tmp_path / "deep" / "folder") as folder:
        (folder / "half").write_bytes(b"half")
        raise ZeroDivisionError
    assert list((tmp_path / "deep").iterdir()) == []
    with files.new_folder(tmp_path / "deep" / "folder") as folder:
        (folder / "file").write_bytes(b"x")
    assert [path.name for path in (tmp_path / "deep").rglob("*")] == ["folder", "file"]
    with pytest.raises(OutputError, match="cannot write .*folder: it exists already"), \
            files.new_folder(tmp_path / "deep" / "folder"):
        pass
