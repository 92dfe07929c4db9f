import errno
import json
import os
import pickle
import re
import signal
import struct
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


def noise(count: int, shape=(3, 5, 7), seed=0, classes=3) -> TensorImages:
    """Random images, whatever their class; not square, so that height and width cannot be mixed up."""
    random = np.random.default_rng(seed)
    return TensorImages(torch.from_numpy(random.integers(0, 256, (count, *shape), dtype=np.uint8)),
                        torch.arange(count) % classes)


def dataset(train=40, test=11, shape=(3, 5, 7)) -> Dataset:
    return Dataset(name="noise", class_names=("a", "b", "ç"), train=noise(train, shape), test=noise(test, shape, 1),
                   source="made by the test", license="MIT", checksums={"file.gz": "12ab"}, synthetic=True)


@pytest.fixture
def pair(tmp_path) -> tuple[Dataset, Dataset, Path]:
    """A dataset in memory, the same one packed, and the file."""
    data = dataset()
    path = pack(from_dataset(data), tmp_path / "noise.pack").path
    return data, load_dataset(f"packed:{path}"), path


def pictures(folder: Path, colors: list[tuple[int, int, int]], size=(6, 4), start=0) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, color in enumerate(colors, start):
        Image.new("RGB", size, color).save(folder / f"{number:04}.png")


def same(a, b) -> bool:
    rows = torch.arange(len(a))
    return a.shape == b.shape and bool(a.gather(rows).equal(b.gather(rows))) and bool(a.labels.equal(b.labels))


# ---------------------------------------------------------------------- reading

def test_what_is_packed_comes_back_with_all_that_is_said_of_it(pair):
    data, found, _ = pair
    assert same(found.train, data.train) and same(found.test, data.test)
    assert found.checksums.pop("file.gz") == "12ab"
    assert found.checksums == from_arrays(data.train.images, data.train.labels, data.test.images,
                                          data.test.labels).checksums
    assert replace(found, train=data.train, test=data.test, checksums=data.checksums) == data


@pytest.mark.parametrize("indices", [[7], [], [5, 3, 3, 39, 4, 0, 5, 3], list(range(40)), list(range(39, -1, -1))])
def test_gather_gives_the_images_in_the_order_that_was_asked_for(pair, indices):
    data, found, _ = pair
    wanted = torch.tensor(indices, dtype=torch.int64)
    images = found.train.gather(wanted)
    assert images.dtype == torch.uint8 and images.equal(data.train.gather(wanted))
    some = Subset(found.train, torch.tensor([30, 2, 9]))
    assert some.gather(torch.tensor([2, 0])).equal(data.train.gather(torch.tensor([9, 30])))


@pytest.mark.parametrize("index", [-1, 40])
def test_an_index_beyond_the_end_never_reads_the_other_split(pair, index):
    with pytest.raises(IndexError, match=r"images of the train set have indices from 0 to 39, got"):
        pair[1].train.gather(torch.tensor([3, index]))


def test_neighbors_come_in_one_call_and_short_reads_are_gone_on_with(pair, monkeypatch):
    data, found, _ = pair
    wanted, calls, real = torch.tensor([9, 3, 5, 4, 20, 3]), [], os.preadv

    def short(handle, buffers, place):
        calls.append(place)
        return real(handle, [buffers[0][:100], *buffers[1:]] if len(buffers[0]) <= 100 else [buffers[0][:100]], place)

    assert found.train.gather(wanted).equal(data.train.gather(wanted))
    monkeypatch.setattr(os, "preadv", lambda *given: calls.append(given[2]) or real(*given))
    found.train.gather(wanted)
    assert len(calls) == 3 and calls == sorted(calls)  # 3 to 5, 9, 20
    monkeypatch.setattr(os, "preadv", short)
    assert found.train.gather(wanted).equal(data.train.gather(wanted))


@pytest.mark.parametrize("missing", [["preadv"], ["preadv", "pread"]])
def test_systems_without_these_calls(pair, missing, monkeypatch):
    for name in missing:
        monkeypatch.delattr(os, name)
    data, found, _ = pair
    assert same(found.test, data.test)


def test_it_survives_a_fork_and_pickling_but_not_another_file_in_its_place(pair):
    data, found, path = pair
    child = os.fork()
    if child == 0:
        os._exit(0 if same(found.train, data.train) else 1)
    again = pickle.loads(pickle.dumps(found))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert same(again.train, data.train) and again.train.file is again.test.file
    kept = pickle.dumps(found)
    pack(from_dataset(dataset(train=39)), path)
    assert same(found.train, data.train)  # what is open stays as it was
    with pytest.raises(DataError, match=r"noise.pack was replaced by another packed file since it was opened"):
        pickle.loads(kept)


def test_memory_does_not_grow_with_the_file(tmp_path):
    data = dataset(train=12_000, test=3, shape=(3, 40, 40))  # 58 MB
    path = pack(from_dataset(data), tmp_path / "large.pack").path
    script = f"""
import torch, shiftscope
from shiftscope.data import load_dataset
def peak():
    return int(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
data, model = load_dataset("packed:{path}"), torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 40 * 40, 3))
place = shiftscope.Placement(image=(40, 40), canvas=(40, 40))
settings = shiftscope.TrainSettings(epochs=1, batch_size=50, validation=1000, optimizer="sgd", learning_rate=1e-4)
shiftscope.train(model, data.limit(500), placement=place, settings=settings)
before = peak()
shiftscope.train(model, data, placement=place, settings=settings)
print(peak() - before)
"""
    if not Path("/proc/self/status").exists():
        pytest.skip("needs /proc/self/status, which this system does not have")
    grown = int(subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout)
    assert grown < 12_000  # KiB; the images are 56,000


def test_on_another_device_all_at_once_where_there_is_room_else_batch_by_batch(pair, monkeypatch):
    data, found, _ = pair
    wanted = torch.tensor([4, 2])
    assert found.train.to("cpu") is found.train
    moved = found.train.to("meta")
    assert isinstance(moved, packed.MovedImages)
    assert moved.gather(wanted).device.type == "meta" and moved.to("cpu") is found.train
    monkeypatch.setattr(packed, "free_memory", lambda device: 10**9)
    whole = found.train.to("meta")
    assert isinstance(whole, TensorImages) and whole.images.shape == data.train.images.shape
    assert packed.MovedImages(found.train, torch.device("cpu")).whole().images.equal(data.train.images)


def test_what_comes_next_is_asked_for_early(pair, monkeypatch):
    found, asked = pair[1].train, []
    monkeypatch.setattr(os, "posix_fadvise", lambda handle, place, length, what: asked.append((place, length)),
                        raising=False)
    monkeypatch.setattr(os, "POSIX_FADV_WILLNEED", 3, raising=False)
    packed.read_ahead(Subset(packed.MovedImages(found, torch.device("cpu")), torch.tensor([8, 1, 7])),
                      torch.tensor([0, 2]))
    assert asked == [(4096 + 7 * 105, 2 * 105)]
    packed.read_ahead(noise(4), torch.tensor([0]))
    packed.read_ahead(found, torch.tensor([], dtype=torch.int64))
    assert len(asked) == 1


# ---------------------------------------------------------------------- all verbs

def test_training_evaluation_and_audit_give_the_same_bits_as_from_memory(tmp_path):
    held = load_dataset("garments:300,40")
    read = load_dataset(f"packed:{pack(from_dataset(held), tmp_path / 'garments.pack').path}")
    found = []
    for data in (held, read):
        model = build_model("two-full", seed=0)
        settings = shiftscope.TrainSettings(epochs=2, validation=50)
        trained = shiftscope.train(model, data, name="two-full", settings=settings)
        place = shiftscope.Placement(image=(28, 28), canvas=(56, 56)).narrowed(max_shift=2)
        audit = shiftscope.audit(model, data, placement=place)
        found.append((model.state_dict(), trained.history, shiftscope.evaluate(model, data).predictions, audit.predictions,
                      trained.settings))
    (weights, history, predictions, seen, settings), other = found
    assert all(value.equal(other[0][name]) for name, value in weights.items())
    assert history == other[1] and np.array_equal(predictions, other[2]) and np.array_equal(seen, other[3])
    assert settings == other[4]  # the recipe of synthetic garments, for the name is kept


def test_fewer_images_than_a_batch(tmp_path):
    data = dataset(train=4, test=2)
    read = load_dataset(f"packed:{pack(from_dataset(data), tmp_path / 'few.pack').path}")
    place = shiftscope.Placement(image=(5, 7), canvas=(8, 8))
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 64, 3))
    result = shiftscope.train(model, read, placement=place, settings=shiftscope.TrainSettings(epochs=1, batch_size=125))
    assert (result.train_images, result.epochs) == (4, 1)


# ---------------------------------------------------------------------- damage

def rewrite(path: Path, change) -> None:
    content = bytearray(path.read_bytes())
    changed = change(content)
    path.write_bytes(content if changed is None else changed)


def set_byte(place: int, value: int):
    def change(content: bytearray) -> None:
        content[place] = value
    return change


def header_place(content) -> tuple[int, int]:
    _, _, _, place, length, _ = packed.PREAMBLE.unpack(content[:packed.PREAMBLE.size])
    return place, length


def spoil_labels(content: bytearray) -> None:
    place, length = header_place(content)
    content[json.loads(content[place:place + length])["arrays"]["labels"]["place"]] ^= 255


@pytest.mark.parametrize(("change", "problem"), [
    (lambda content: content[:-7], r"noise.pack is truncated: it promises [\d,]+ bytes and holds [\d,]+; pack it anew"),
    (lambda content: content[:20], r"is truncated: it ends within its first 40 bytes"),
    (lambda content: content + b"x", r"has grown: it promises"),
    (lambda content: b"", r"is no packed file of Shiftscope: it begins with b''"),
    (lambda content: b"PK\3\4 and so on", r"is no packed file of Shiftscope: it begins with b'PK"),
    (set_byte(8, 9), r"is a packed file of version 9, this Shiftscope reads version 1: pack it anew"),
    (lambda content: content.__setitem__(header_place(content)[0] + 5, 33), r"the header of .* is damaged: its checks"),
    (spoil_labels, r"the labels of .* are damaged: their checksum is wrong"),
])
def test_files_that_are_refused_at_once(pair, change, problem):
    rewrite(pair[2], change)
    with pytest.raises(DataError, match=problem):
        load_dataset(f"packed:{pair[2]}")


def test_a_damaged_image_is_named_when_it_is_read_and_the_others_are_fine(pair):
    data, _, path = pair
    rewrite(path, set_byte(4096 + 7 * 105 + 50, 0))
    rewrite(path, lambda content: content.__setitem__(4096 + 41 * 105, content[4096 + 41 * 105] ^ 1))
    found = load_dataset(f"packed:{path}")
    fine = torch.tensor([6, 8])
    assert found.train.gather(fine).equal(data.train.gather(fine))
    for _ in range(2):
        with pytest.raises(DataError, match=r"image 7 of the train set in .*noise.pack is damaged: its checksum is"):
            found.train.gather(torch.tensor([8, 7, 6]))
    with pytest.raises(DataError, match="image 1 of the test set in"):
        found.test.gather(torch.arange(3))


def test_a_file_that_is_cut_while_it_is_read(pair):
    _, found, path = pair
    os.truncate(path, 4096 + 20 * 105)
    with pytest.raises(DataError, match=r"noise.pack is truncated: it ends at [\d,]+ bytes, while it was being read"):
        found.train.gather(torch.tensor([1, 30]))


def forge(path: Path, **changes) -> None:
    """Put another header into the file, with a checksum that is right."""
    content = path.read_bytes()
    place, length = header_place(content)
    header = json.loads(content[place:place + length])
    for key, value in changes.items():
        keys = key.split("__")
        inner = header
        for name in keys[:-1]:
            inner = inner[name]
        inner[keys[-1]] = value
    text = json.dumps(header).encode()
    preamble = packed.PREAMBLE.pack(packed.MAGIC, packed.VERSION, zlib.crc32(text), place, len(text), place + len(text))
    path.write_bytes(preamble + content[len(preamble):place] + text)


@pytest.mark.parametrize("changes", [
    {"splits": {"train": [0, 40], "test": [40, 99]}}, {"splits": {"train": [5, 5], "test": [0, 9]}}, {"splits": {}},
    {"arrays__labels__shape": [10**12]}, {"arrays__labels__type": "|O"}, {"arrays__labels__place": 10**12},
    {"arrays__labels__place": -8}, {"arrays__images__shape": [51, 3, 5, 70]}, {"arrays__images__shape": "large"},
    {"arrays__images__shape": [51, 3, 5, -7]}, {"class_names": 3},
])
def test_headers_that_promise_what_cannot_be(pair, changes):
    forge(pair[2])
    load_dataset(f"packed:{pair[2]}")
    forge(pair[2], **changes)
    with pytest.raises(DataError, match=r"the header of .*noise.pack is not what it should be \(.*\); pack it anew"):
        load_dataset(f"packed:{pair[2]}")


def test_labels_without_a_class(pair):
    forge(pair[2], class_names=["a", "b"])
    with pytest.raises(DataError, match="label 2 of image 2 in the training set of noise is out of range"):
        load_dataset(f"packed:{pair[2]}")


def test_no_such_file_and_options_that_it_does_not_have(tmp_path):
    with pytest.raises(DataError, match=r"there is no file .*missing.pack; check the path after packed:"):
        load_dataset(f"packed:{tmp_path}/missing.pack")
    with pytest.raises(DataError, match=r"cannot read "):
        load_dataset(f"packed:{tmp_path}")
    with pytest.raises(UsageError, match="image_size is an option of folder:PATH, not of packed:x"):
        load_dataset("packed:x", image_size=(3, 3))


# ---------------------------------------------------------------------- folders

def gray(levels) -> list[tuple[int, int, int]]:
    return [(level,) * 3 for level in levels]


@pytest.mark.parametrize("colored", [None, "train", "test"])
def test_a_folder_is_packed_as_it_is_read(tmp_path, colored, monkeypatch):
    """The one colored picture comes after gray ones have been written, which must then become three channels."""
    folder = tmp_path / "pets"
    monkeypatch.setattr(packing, "_MOST_IN_CHUNK", 16)  # so that even these few are shared among processes
    for part, count in (("train", 150), ("test", 70)):
        pictures(folder / part / "cat", gray(range(count)))
        pictures(folder / part / "dog", gray(range(count, count + 20)), size=(10, 10))
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
    assert (done.train_images, done.test_images, done.bytes) == (170, 90, done.path.stat().st_size)


def read_order(folder: Path, part: str) -> Path:
    """Return the picture of a part that is read last."""
    from shiftscope.data.layout import list_layout, shuffled

    layout = list_layout(folder)
    return shuffled(layout.train if part == "train" else layout.test)[-1][0]


def test_a_given_size(tmp_path):
    for name in ("cat", "dog"):
        pictures(tmp_path / "pets" / name, gray(range(4)))
    pack(from_folder(tmp_path / "pets", image_size=(3, 2)), tmp_path / "pets.pack")
    assert load_dataset(f"packed:{tmp_path}/pets.pack").shape == (1, 3, 2)
    with pytest.raises(UsageError, match="workers must be a whole number of at least 0, got -1"):
        from_folder(tmp_path / "pets", workers=-1)


def unreadable(folder: Path) -> None:
    (folder / "cat" / "0002.png").write_text("hello")


def cut(folder: Path) -> None:
    path = folder / "dog" / "0003.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 60, 3), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:900])


def no_pictures(folder: Path) -> None:
    (folder / "bird").mkdir()


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(("spoil", "problem"), [
    (unreadable, r"cat/0002.png is no readable picture: its content is no image; replace or remove it"),
    (cut, r"dog/0003.png is no readable picture: .*; replace or remove it"),
    (no_pictures, r"the class folder .*bird holds no PNG or JPEG file: add pictures, or remove the folder"),
])
def test_folders_that_cannot_be_packed_leave_no_file(tmp_path, spoil, problem, workers, monkeypatch):
    monkeypatch.setattr(packing, "_MOST_IN_CHUNK", 1)
    for name in ("cat", "dog"):
        pictures(tmp_path / "pets" / name, gray(range(8)))
    spoil(tmp_path / "pets")
    with pytest.raises(DataError, match=problem):
        pack(from_folder(tmp_path / "pets", workers=workers), tmp_path / "out" / "pets.pack")
    assert not (tmp_path / "out").exists() or list((tmp_path / "out").iterdir()) == []


def test_a_worker_process_that_dies(tmp_path, monkeypatch):
    for name in ("cat", "dog"):
        pictures(tmp_path / "pets" / name, gray(range(8)))
    monkeypatch.setattr(packing, "_MOST_IN_CHUNK", 1)
    source = from_folder(tmp_path / "pets", workers=2)
    monkeypatch.setattr(packing, "read_picture", lambda path, size, bits: os.kill(os.getpid(), signal.SIGKILL))
    with pytest.raises(ShiftscopeError, match=r"a process that decodes pictures died, perhaps because memory ran out"):
        pack(source, tmp_path / "pets.pack")
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "cache") == ["pets"]


def test_nan_and_more_labels_than_images_never_reach_a_file():
    pixels = np.full((4, 8, 8), np.nan, dtype=np.float32)
    with pytest.raises(DataError, match="pixels of train_images of arrays are NaN or infinite, expected uint8"):
        from_arrays(pixels, [0, 1, 0, 1], pixels, [0, 1, 0, 1])
    with pytest.raises(DataError, match=r"labels must be 4 whole numbers, one an image, got shape \(5,\)"):
        from_arrays(np.zeros((4, 8, 8), np.uint8), [0, 1, 0, 1, 1], np.zeros((1, 8, 8), np.uint8), [0])


# ---------------------------------------------------------------------- whole or not at all

def test_a_full_disk_leaves_the_old_file_and_nothing_else(pair, monkeypatch):
    path, before = pair[2], pair[2].read_bytes()
    real, written = os.write, []

    def full(handle, data):
        if sum(written) > 8000:
            raise OSError(errno.ENOSPC, "No space left on device")
        written.append(real(handle, bytes(data)[:3000]))
        return written[-1]

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OutputError, match=r"cannot write .*noise.pack: No space left on device; free some space or"):
        pack(from_dataset(dataset(train=500)), path)
    assert path.read_bytes() == before and list(path.parent.glob("*noise*")) == [path]


def test_too_little_space_is_said_before_the_work_begins(tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=500))
    with pytest.raises(OutputError, match=r"packing noise takes 0 MB or more, 0 MB are free there; free some space"):
        pack(from_dataset(dataset()), tmp_path / "noise.pack")
    assert list(tmp_path.iterdir()) == []


def test_a_real_limit_of_the_system(tmp_path):
    resource = pytest.importorskip("resource", reason="needs a limit of the size of files, which Windows does not have")
    source, before = from_dataset(dataset(train=2000, shape=(3, 20, 20))), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, before[1]))
    try:
        with pytest.raises(OutputError, match=r"noise.pack: File too large; free some space or choose another folder"):
            pack(source, tmp_path / "noise.pack")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []


def test_a_signal_leaves_nothing_half_written(tmp_path):
    script = f"""
import time
from shiftscope.data import packing
from shiftscope.cli import main
real = packing.read_picture
def slow(path, size, bits):
    time.sleep(0.02)
    return real(path, size, bits=bits)
packing.read_picture = slow
raise SystemExit(main(["data", "pack", r"folder:{tmp_path}/pets", "--out", r"{tmp_path}/pets.pack"]))
"""
    for name in ("cat", "dog"):
        pictures(tmp_path / "pets" / name, gray(range(200)))
    process = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 60
    while not [part for part in tmp_path.glob(".pets.pack*") if part.stat().st_size] and time.monotonic() < until:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said.splitlines()[-1].endswith("was interrupted; no partial file remains")
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "cache") == ["pets"]


def test_asked_to_stop(tmp_path):
    asked = iter([False, True])
    with pytest.raises(KeyboardInterrupt):
        pack(from_dataset(dataset(train=500)), tmp_path / "noise.pack", stop=lambda: next(asked))
    assert list(tmp_path.iterdir()) == []


def test_the_format_is_the_one_that_is_documented(pair):
    """Read by hand, as another program would."""
    data, _, path = pair
    content = path.read_bytes()
    magic, version, crc, place, length, whole = struct.unpack_from("<8sIIQQQ", content)
    assert (magic, version, whole) == (b"SHFTPACK", 1, len(content)) and place + length == whole
    text = content[place:]
    assert zlib.crc32(text) == crc
    header = json.loads(text)
    assert header["splits"] == {"train": [0, 40], "test": [40, 51]} and header["class_names"] == ["a", "b", "ç"]
    arrays = {name: np.memmap(path, dtype=told["type"], mode="r", offset=told["place"], shape=tuple(told["shape"]))
              for name, told in header["arrays"].items()}
    assert all(told["place"] % 4096 == 0 for told in header["arrays"].values())
    assert np.array_equal(arrays["images"], torch.cat((data.train.images, data.test.images)).numpy())
    assert np.array_equal(arrays["labels"], torch.cat((data.train.labels, data.test.labels)).numpy())
    assert [zlib.crc32(image) for image in arrays["images"]] == arrays["sums"].tolist()


def test_the_code_of_the_page_on_scale_runs(tmp_path, monkeypatch, capsys):
    page = (Path(__file__).parents[2] / "docs" / "scale.md").read_text(encoding="utf-8")
    code = [block for block in re.findall(r"^```python\n(.*?)^```", page, flags=re.M | re.S)
            if "torch.distributed" not in block]  # which tests/distributed runs, in two processes
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
    assert "pictures (36, 3, 64, 64) {'train': [0, 30], 'test': [30, 36]}\n30 {" in capsys.readouterr().out


def test_writing_and_reading_back_within_a_block(tmp_path):
    with pytest.raises(ZeroDivisionError), files.replacing(tmp_path / "deep" / "file") as handle:
        os.write(handle, b"half")
        raise ZeroDivisionError
    assert list((tmp_path / "deep").iterdir()) == []
