"""Common layouts of datasets: read with the correct pixels, labels and names, or refused in one sentence.

Images have a single gray level, which identifies their class and split in the tables.
"""

import io
import os
import re
import socket
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from shiftscope.data import from_arrays, from_torch, load_dataset
from shiftscope.data.base import image_names
from shiftscope.errors import DataError, ShiftscopeError, UsageError

SIZE = (6, 4)
ROOT = {"cat/a.png": 10, "cat/b.png": 11, "dog/a.png": 20, "dog/b.png": 21}
SPLIT = {"train/cat/a.png": 10, "train/dog/a.png": 20, "test/cat/a.png": 11, "test/dog/a.png": 21}
CATS_AND_DOGS = ({10: "cat", 20: "dog"}, {11: "cat", 21: "dog"})
NFC, NFD = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))


def png(level: int = 0, size: tuple[int, int] = SIZE, kind: str = "PNG") -> bytes:
    stream = io.BytesIO()
    Image.new("L", size, level).save(stream, kind)
    return stream.getvalue()


def write_files(root: Path, files: dict) -> None:
    """Write files: a gray level becomes a PNG file, bytes a file, None a folder; a function creates the file itself."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if callable(content):
            content(path)
        elif content is None:
            path.mkdir(exist_ok=True)
        else:
            path.write_bytes(png(content) if isinstance(content, int) else content)


def sock(path: Path) -> None:
    before = Path.cwd()
    os.chdir(path.parent)  # the path of a socket must be short
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(before)


def renamed(**names: str) -> dict:
    """SPLIT with other names of the splits."""
    return {f"{names.get(name.split('/')[0], name.split('/')[0])}/{name.split('/', 1)[1]}": level
            for name, level in SPLIT.items()}


def classes_by_value(images, names) -> dict[int, str]:
    """Gray level -> class of a set whose images have a single level."""
    pixels = images.gather(torch.arange(len(images))).numpy()
    assert (pixels == pixels[:, :, :1, :1]).all()
    return {int(image[0, 0, 0]): names[label] for image, label in zip(pixels, images.labels.tolist(), strict=True)}


READ = [
    ("class folders", ROOT, None, ()),
    ("train and test", SPLIT, CATS_AND_DOGS, ()),
    ("Train and TEST", renamed(train="Train", test="TEST"), CATS_AND_DOGS, ()),
    ("training and testing", renamed(train="training", test="Testing"), CATS_AND_DOGS, ()),
    ("val beside them", SPLIT | {"val/cat/a.png": 90, "val/dog/b.png": 91}, CATS_AND_DOGS,
     (r"1 folder of validation images, which are taken from the training images instead with 2 image\(s\) \(val/\)",)),
    ("Valid beside them", SPLIT | {"Valid/cat/a.png": 90}, CATS_AND_DOGS, (r"validation images.*\(Valid/\)",)),
    ("other folders beside them", SPLIT | {"extra/a.png": 90, "notes.txt": b"x"}, CATS_AND_DOGS,
     (r"2 folder\(s\) or file\(s\) beside train/ and test/ with 1 image\(s\) \(extra/, notes.txt\)",)),
    ("folders of macOS, a NAS and Jupyter", ROOT | {"__MACOSX/cat/._a.png": b"x", "@eaDir/cat/a.png": 90,
                                                    ".ipynb_checkpoints/a.png": 91, "cat/@eaDir/a.png": 92}, None,
     (r"4 file\(s\) or folder\(s\) of the operating system",)),
    ("files of systems", ROOT | {"cat/.DS_Store": b"x", "cat/Thumbs.db": b"x", "dog/desktop.ini": b"x",
                                 "dog/._a.png": b"x", ".DS_Store": b"x"}, None,
     (r"5 file\(s\) or folder\(s\) of the operating system \(.DS_Store, cat/.DS_Store, cat/Thumbs.db and 2 more\)",)),
    ("system folders beside train and test", SPLIT | {"__MACOSX/train/cat/a.png": 90, "train/@eaDir/a.png": 91},
     CATS_AND_DOGS, (r"2 file\(s\) or folder\(s\) of the operating system \(__MACOSX, train/@eaDir\)",)),
    ("nested subfolders", ROOT | {"cat/more/c.png": 90, "cat/more/d.png": 91, "dog/x/y/z.png": 92}, None,
     (r"2 subfolder\(s\) of class folders with 3 image\(s\) \(cat/more/, dog/x/\)",)),
    ("unknown suffixes", ROOT | {"cat/list.csv": b"x", "cat/c.npy": b"x", "dog/c": b"x"}, None,
     (r"3 file\(s\) that are neither PNG nor JPEG \(cat/c.npy, cat/list.csv, dog/c\)",)),
    ("files beside the classes", ROOT | {"list.csv": b"x", "readme.txt": b"x"}, None,
     (r"2 file\(s\) beside the class folders \(list.csv, readme.txt\)",)),
    ("upper-case suffixes", {**ROOT, "cat/c.PNG": 12}, None, ()),
    ("a class called valid", {"valid/a.png": 10, "valid/b.png": 11, "invalid/a.png": 20, "invalid/b.png": 21}, None,
     ()),
    ("one name in two Unicode spellings", {f"train/{NFC}/a.png": 10, "train/dog/a.png": 20, f"test/{NFD}/a.png": 11,
                                           "test/dog/a.png": 21}, ({10: NFC, 20: "dog"}, {11: NFC, 21: "dog"}), ()),
    ("names in any script", {"猫/a.png": 10, "猫/b.png": 11, "سگ/a.png": 20, "سگ/b.png": 21}, None, ()),
    ("a link to the folder above", ROOT | {"cat/loop": lambda path: path.symlink_to(".."),
                                           "all": lambda path: path.symlink_to(".")}, None,
     (r"2 link\(s\) to a parent folder \(all, cat/loop\)",)),
    ("links to images and folders", {"pool/x/c.png": 12, **{f"set/{name}": level for name, level in ROOT.items()},
                                       "set/cat/c.png": lambda path: path.symlink_to("../../pool/x/c.png")}, "set", ()),
    ("a broken link", ROOT | {"cat/gone.png": lambda path: path.symlink_to("nowhere.png")}, None,
     (r"1 broken link\(s\), pipe\(s\), device\(s\) or socket\(s\) \(cat/gone.png\)",)),
    ("a pipe, a device and a socket", ROOT | {"cat/pipe.png": os.mkfifo, "dog/sock.png": sock,
                                              "dog/null.png": lambda path: path.symlink_to("/dev/null"),
                                              "pipe": os.mkfifo}, None,
     (r"4 broken link\(s\), pipe\(s\), device\(s\) or socket\(s\) \(pipe, cat/pipe.png, dog/null.png and 1 more\)",)),
    ("other sizes", {**SPLIT, "train/cat/b.png": png(12, (12, 8)), "train/dog/b.png": 22},
     ({10: "cat", 12: "cat", 20: "dog", 22: "dog"}, CATS_AND_DOGS[1]),
     (r"1 of 6 images have another size and are resized to fit 4 x 6 pixels \(height x width\) and padded with 0, the "
      r"size of cat/a.png: cat/b.png is 8 x 12",)),
]


@pytest.mark.parametrize(("files", "expected", "notes"), [row[1:] for row in READ], ids=[row[0] for row in READ])
def test_folders_that_are_read(tmp_path, files, expected, notes):
    root = tmp_path / expected if isinstance(expected, str) else tmp_path / "data"
    write_files(tmp_path if isinstance(expected, str) else root, files)
    data = load_dataset(f"folder:{root}")
    found = [classes_by_value(images, data.class_names) for images in (data.train, data.test)]
    if isinstance(expected, tuple):
        assert (found[0], found[1]) == expected
    else:  # split by Shiftscope: every image once, each class in both sets
        prefix = f"{expected}/" if expected else ""
        classes = {name.removeprefix(prefix).split("/")[0]: level for name, level in files.items()
                   if isinstance(level, int) and level < 90 and name.startswith(prefix)}
        levels = {level: name.removeprefix(prefix).split("/")[0] for name, level in files.items()
                  if isinstance(level, int) and level < 90 and name.startswith(prefix)}
        levels |= {12: "cat"} if expected == "set" else {}
        assert found[0] | found[1] == levels and not found[0].keys() & found[1].keys()
        assert data.class_names == tuple(sorted(classes)) and set(found[1].values()) == set(classes)
    assert len(data.notes) == len(notes)
    for note, pattern in zip(data.notes, notes, strict=True):
        assert re.search(pattern, note) and len(note) < 400, note


WITHOUT_TRAINING = [
    ("only Test", {"Test/cat/a.png": 1, "Test/dog/a.png": 2}, {1: "cat", 2: "dog"}),
    ("only val", {"val/cat/a.png": 1, "val/dog/a.png": 2}, {1: "cat", 2: "dog"}),
    ("test and val", {"test/cat/a.png": 1, "test/dog/a.png": 2, "val/cat/b.png": 9}, {1: "cat", 2: "dog"}),
    ("one class in test", {"test/cat/a.png": 1, "test/cat/b.png": 2}, {1: "cat", 2: "cat"}),
    ("one image in each class", {"cat/a.png": 1, "dog/a.png": 2}, {1: "cat", 2: "dog"}),
]


@pytest.mark.parametrize(("files", "expected"), [row[1:] for row in WITHOUT_TRAINING],
                         ids=[row[0] for row in WITHOUT_TRAINING])
def test_class_folders_without_training_images(tmp_path, files, expected):
    write_files(tmp_path, files)
    data = load_dataset(f"folder:{tmp_path}")
    assert data.labeled and classes_by_value(data.test, data.class_names) == expected and len(data.train) == 0
    refused(lambda: data.split_images("train", 0), DataError, "has no training images, only test images")
    refused(lambda: data.train.gather(torch.arange(1)), DataError, "has no training images")
    assert len(data.limit(1).test) == 1 and len(data.limit(1).train) == 0


UNLABELED = [
    ("images", {"b.png": 2, "a.png": 1}, ["a.png", "b.png"]),
    ("images and a text", {"b.png": 2, "a.png": 1, "read.me": b"x"}, ["a.png", "b.png"]),
    ("images beside folders without images", {"a.png": 1, "captions/a.txt": b"x"}, ["a.png"]),
    ("test", {"test/a.png": 1, "test/b.png": 2}, ["test/a.png", "test/b.png"]),
    ("val", {"Val/a.png": 1}, ["Val/a.png"]),
]


@pytest.mark.parametrize(("files", "names"), [row[1:] for row in UNLABELED], ids=[row[0] for row in UNLABELED])
def test_folders_of_unlabeled_images(tmp_path, files, names):
    write_files(tmp_path, files)
    data = load_dataset(f"folder:{tmp_path}")
    assert not data.labeled and data.class_names == () and list(image_names(data.test)) == names
    levels = data.test.gather(torch.arange(len(names)))[:, 0, 0, 0].tolist()
    assert levels == [files[name] for name in names] and data.test.labels.tolist() == [-1] * len(names)
    refused(lambda: data.require_labels("training"), DataError, "training needs labels, and the images of .* have none")
    assert list(image_names(data.limit(1).test)) == names[:1]


def noise(path: Path) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 60), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:900])


FOLDERS_REFUSED = [
    ("val and valid", SPLIT | {"val/cat/a.png": 1, "valid/cat/a.png": 1}, r"val/ and valid/, which both mean the"),
    ("Train and train", SPLIT | {"Train/cat/a.png": 1}, r"Train/ and train/, which both mean the train images"),
    ("train and val", renamed(test="val"), r"holds train/ and val/ but no test/, .*: rename val/ to test/, "),
    ("only train", {"train/cat/a.png": 1, "train/dog/a.png": 1}, r"holds train/ but no test/, expected both"),
    ("images beside the classes", ROOT | {"stray.png": 1}, r"holds both images \(1, such as stray.png\) and folders"),
    ("images beside classes in test", {"test/a.png": 1, "test/cat/a.png": 1}, r"test holds both images \(1, such as a"),
    ("images beside test", {"a.png": 1, "test/cat/a.png": 1, "test/dog/a.png": 1}, r"holds test/ but no train/"),
    ("train beside classes", ROOT | {"train/a.png": 1}, r"holds train/ but no test/, .*rename it if it is a class"),
    ("images in train and test", {"train/a.png": 1, "test/a.png": 1}, r"train holds 1 image\(s\) but no class"),
    ("a class only in test", SPLIT | {"test/cow/a.png": 1}, r"must hold the same classes, got cow only in test/: add"),
    ("a class only in train", SPLIT | {"train/cow/a.png": 1}, r"must hold the same classes, got cow only in train/"),
    ("other classes", SPLIT | {"train/a/a.png": 1, "test/b/a.png": 1}, r"got a only in train/; b only in test/: add"),
    ("case of a class", {"train/Cat/a.png": 1, "train/dog/a.png": 1, "test/cat/a.png": 1, "test/dog/a.png": 1},
     r"train/Cat and test/cat in .* differ only in upper and lower case: give both folders the same name"),
    ("both Unicode forms", ROOT | {f"{NFC}/a.png": 1, f"{NFD}/a.png": 1}, r"two folders called café, in"),
    ("an empty class", ROOT | {"cow": None}, r"class folder .*cow holds no PNG or JPEG file: add images, or remove"),
    ("a class of arrays", ROOT | {"cow/a.npy": b"x", "cow/b.npy": b"x"}, r"no PNG or JPEG file, but 2 .npy: add imag"),
    ("a class of system files", ROOT | {"cow/Thumbs.db": b"x"}, r"class folder .*cow holds no PNG or JPEG file: add"),
    ("images one level too deep", ROOT | {"cow/a/a.png": 1, "cow/b/a.png": 1},
     r"cow holds no PNG or JPEG file, but the folders a, b with 2 image\(s\), and images must be directly in it"),
    ("an archive's own folder", {"set/train/cat/a.png": 1, "set/test/cat/a.png": 1},
     r"holds the single folder set/, which holds the folders test, train: name that one, folder:.*set"),
    ("one class", {"cat/a.png": 1, "cat/b.png": 1}, r"has 1 class\(es\) \(cat\), expected at least 2"),
    ("other formats without classes", {"a.webp": b"x"}, r"holds a.webp, which is neither PNG nor JPEG, and no class"),
    ("an unlabeled image of another format", {"a.png": 1, "b.gif": b"x"}, r"b.gif is neither PNG nor JPEG: convert"),
    ("an empty test folder", {"test": None}, r"test holds no class folders, expected one folder of PNG or JPEG"),
    ("an empty folder", {"__MACOSX/cat/a.png": 1}, r"holds no class folders, expected one folder of PNG or JPEG files"),
    ("one image in one class", ROOT | {"cow/a.png": 1}, r"the class cow in .* has 1 image, expected at least 2"),
    ("other formats", ROOT | {"cat/c.webp": b"x"}, r"cat/c.webp is neither PNG nor JPEG: convert it, or remove it"),
    ("another format's content", ROOT | {"cat/c.png": png(1, kind="BMP")}, r"cat/c.png is a BMP file, expected PNG or"),
    ("an empty file", ROOT | {"cat/c.png": b""}, r"cat/c.png is not a readable image: its content is not an image"),
    ("a truncated file", ROOT | {"cat/c.png": noise}, r"cat/c.png is not a readable image: .*; replace or remove it"),
    ("a truncated header", ROOT | {"cat/c.png": png()[:20]}, r"cat/c.png is not a readable image: .*; replace or"),
    ("a web page", ROOT | {"cat/c.jpg": b"<html>"}, r"cat/c.jpg is not a readable image: its content is not an image"),
    ("a thousand classes", {f"train/{k:04}/a.png": 1 for k in range(1000)} | {"test/cat/a.png": 1, "test/dog/a.png": 1},
     r"got 0000, 0001, 0002, 0003, 0004, 0005 and 994 more only in train/; cat, dog only in test/"),
    ("a file", {"../set.png": 1}, r"is a file, expected a folder"),
    ("nothing", {}, r"there is no folder .*data; check the path after folder:"),
]


@pytest.mark.parametrize(("files", "problem"), [row[1:] for row in FOLDERS_REFUSED],
                         ids=[row[0] for row in FOLDERS_REFUSED])
def test_folders_that_are_refused(tmp_path, files, problem):
    write_files(tmp_path / "data", files)
    root = tmp_path / "set.png" if "../set.png" in files else tmp_path / "data"
    refused(lambda: load_dataset(f"folder:{root}"), DataError, problem)


def refused(call, kind: type[ShiftscopeError], problem: str) -> None:
    """Expect an error of exactly this type: one sentence below 400 characters, and at most five lines of code."""
    with pytest.raises(ShiftscopeError, match=problem) as raised:
        call()
    sentence, *code = str(raised.value).split("\n")
    assert type(raised.value) is kind
    assert len(sentence) < 400 and len(code) <= 5 and all(line.startswith("    ") for line in code)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="everything may be read by root")
def test_folders_and_files_without_read_permission(tmp_path):
    write_files(tmp_path / "data", ROOT)
    (tmp_path / "data" / "cat" / "a.png").chmod(0)
    refused(lambda: load_dataset(f"folder:{tmp_path}/data"), DataError, r"cat/a.png may not be read \(permission")
    (tmp_path / "data" / "dog").chmod(0)
    refused(lambda: load_dataset(f"folder:{tmp_path}/data"), DataError, r"cannot list the folder .*dog: Permission")
    (tmp_path / "data" / "dog").chmod(0o700)


def test_folders_that_cannot_be_listed(tmp_path, monkeypatch):
    write_files(tmp_path / "data", ROOT)
    real = Path.iterdir

    def iterdir(path):
        if path.name == "dog":
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(Path, "iterdir", iterdir)
    refused(lambda: load_dataset(f"folder:{tmp_path}/data"), DataError, r"cannot list the folder .*dog: Permission")


def test_a_file_that_cannot_be_opened(tmp_path, monkeypatch):
    write_files(tmp_path / "data", ROOT)
    real = os.open

    def opened(path, *arguments, **options):
        if str(path).endswith("dog/b.png"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *arguments, **options)

    monkeypatch.setattr(os, "open", opened)
    refused(lambda: load_dataset(f"folder:{tmp_path}/data"), DataError, r"dog/b.png may not be read \(permission")


@pytest.mark.skipif(os.name != "posix", reason="names are text on other systems")
def test_class_names_that_are_not_utf8(tmp_path):
    write_files(tmp_path / "data", ROOT)
    try:
        (tmp_path / "data" / "cat").rename(tmp_path / "data" / os.fsdecode(b"caf\xe9"))
    except OSError:
        pytest.skip("the file system takes UTF-8 alone")
    assert "caf\\xe9" in load_dataset(f"folder:{tmp_path}/data").class_names


NAMES_REFUSED = [
    ("{root}", UsageError, r"is not the name of a dataset: .*data is a folder; write folder:.*data"),
    ("{root}/", UsageError, r"write folder:.*data"),
    ("data", UsageError, r"'data' is not the name of a dataset: data is a folder; write folder:data"),
    ("data/", UsageError, r"write folder:data"),
    ("Folder:data", UsageError, r"'Folder:data' is not the name of a dataset: data is a folder; write folder:data"),
    ("imagefolder:data", UsageError, r"write folder:data"),
    ("set.npz", UsageError, r"set.npz is a file; write npz:set.npz"),
    ("set.pack", UsageError, r"set.pack is a file; write packed:set.pack"),
    ("set.zip", UsageError, r"set.zip is a file; name a folder:PATH of class folders, .*unpack an archive first"),
    ("folder:set.zip", DataError, r"set.zip is an archive, expected a folder: unpack it, for example with `python -m"),
    ("folder:set.npz", DataError, r"set.npz is a file, expected a folder"),
    ("missing/photos", UsageError, r"there is no file or folder missing/photos: check the path, and write folder:PATH"),
    ("missing", UsageError, r"unknown dataset 'missing'"),
    (Path("data"), UsageError, r"got the path data: write load_dataset\('folder:data'\)"),
    (Path("set.npz"), UsageError, r"write load_dataset\('npz:set.npz'\)"),
    (None, UsageError, r"name must be a string or a Dataset, got NoneType: make a dataset of your own with"),
    ([1, 2], UsageError, r"name must be a string or a Dataset, got list"),
]


@pytest.mark.parametrize(("name", "kind", "problem"), NAMES_REFUSED)
def test_names_that_are_refused(tmp_path, monkeypatch, name, kind, problem):
    write_files(tmp_path / "data", ROOT)
    write_files(tmp_path, {"set.npz": b"x", "set.pack": b"x", "set.zip": b"x"})
    monkeypatch.chdir(tmp_path)
    name = name.format(root=tmp_path / "data") if isinstance(name, str) else name
    refused(lambda: load_dataset(name), kind, problem)


# ---------------------------------------------------------------------- arrays and torch Datasets

GRAY = np.arange(4 * 2 * 5, dtype=np.uint8).reshape(4, 2, 5) * 6
COLOR = np.arange(4 * 2 * 5 * 3, dtype=np.uint8).reshape(4, 2, 5, 3) * 2
FIRST = np.ascontiguousarray(COLOR.transpose(0, 3, 1, 2))
LABELS = np.array([0, 1, 1, 0])


class Items(torch.utils.data.Dataset):
    def __init__(self, items):
        self.items = list(items)

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        return self.items[index]


def pairs(images, labels=LABELS) -> Items:
    return Items(zip(images, labels, strict=True))


def arrays(images=GRAY, labels=LABELS, **options):
    return from_arrays(images, labels, images, labels, **options)


def torches(images=GRAY, labels=LABELS, **options):
    return from_torch(pairs(images, labels), pairs(images, labels), **options)


ARRAYS_READ = [
    ("gray", lambda: arrays(), GRAY[:, None]),
    ("one channel last", lambda: arrays(GRAY[..., None]), GRAY[:, None]),
    ("three channels last", lambda: arrays(COLOR), FIRST),
    ("three channels first, tensors", lambda: arrays(torch.from_numpy(FIRST)), FIRST),
    ("a list of arrays", lambda: arrays(list(COLOR)), FIRST),
    ("a list of tensors", lambda: arrays(list(torch.from_numpy(FIRST))), FIRST),
    ("a list of PIL images", lambda: arrays([Image.fromarray(image) for image in COLOR]), FIRST),
    ("nested lists", lambda: arrays(GRAY.tolist()), GRAY[:, None]),
    ("floats to 1", lambda: arrays(GRAY / 255), GRAY[:, None]),
    ("floats to 255", lambda: arrays(GRAY.astype(np.float32)), GRAY[:, None]),
    ("int64", lambda: arrays(GRAY.astype(np.int64)), GRAY[:, None]),
    ("booleans", lambda: arrays(GRAY > 100), (GRAY > 100)[:, None] * np.uint8(255)),
    ("uint16", lambda: arrays(GRAY.astype(np.uint16) * 257), GRAY[:, None]),
    ("12 bits in uint16", lambda: arrays(GRAY.astype(np.uint16) * 17),
     np.floor(GRAY[:, None].astype(float) * 17 * 255 / 4095 + 0.5).astype(np.uint8)),
    ("a column of labels", lambda: arrays(labels=LABELS[:, None]), GRAY[:, None]),
    ("a list of columns", lambda: arrays(labels=LABELS[:, None].tolist()), GRAY[:, None]),
    ("labels of uint8", lambda: arrays(labels=LABELS.astype(np.uint8)), GRAY[:, None]),
    ("boolean labels", lambda: arrays(labels=LABELS.astype(bool)), GRAY[:, None]),
    ("a tensor of labels", lambda: arrays(labels=torch.from_numpy(LABELS)), GRAY[:, None]),
    ("torch: pairs", lambda: torches(), GRAY[:, None]),
    ("torch: lists of two", lambda: from_torch(Items(map(list, pairs(GRAY))), pairs(GRAY)), GRAY[:, None]),
    ("torch: tensors", lambda: torches(torch.from_numpy(FIRST)), FIRST),
    ("torch: float tensors", lambda: torches(torch.from_numpy(FIRST) / 255), FIRST),
    ("torch: half", lambda: torches((torch.from_numpy(FIRST) / 255).half()), FIRST),
    ("torch: doubles", lambda: torches(torch.from_numpy(FIRST).double() / 255), FIRST),
    ("torch: floats to 255", lambda: torches(torch.from_numpy(FIRST).float()), FIRST),
    ("torch: int64", lambda: torches(torch.from_numpy(FIRST).long()), FIRST),
    ("torch: arrays, channels last", lambda: torches(COLOR), FIRST),
    ("torch: PIL images", lambda: torches([Image.fromarray(image) for image in COLOR]), FIRST),
    ("torch: gray among color", lambda: torches([Image.fromarray(GRAY[0]), *map(Image.fromarray, COLOR[1:])]),
     np.concatenate([GRAY[:1, None].repeat(3, 1), FIRST[1:]])),
    ("torch: color behind gray", lambda: torches([*map(Image.fromarray, GRAY[:3]), Image.fromarray(COLOR[3])]),
     np.concatenate([GRAY[:3, None].repeat(3, 1), FIRST[3:]])),
    ("torch: labels of NumPy", lambda: torches(labels=[np.int64(0), np.uint8(1), np.array(1), np.array([0])]),
     GRAY[:, None]),
    ("torch: labels of torch", lambda: torches(labels=[torch.tensor(k) for k in (0, 1)] + [torch.tensor([1]), 0]),
     GRAY[:, None]),
    ("torch: boolean labels", lambda: torches(labels=[False, True, np.True_, torch.tensor(False)]), GRAY[:, None]),
]


@pytest.mark.parametrize(("make", "expected"), [row[1:] for row in ARRAYS_READ], ids=[row[0] for row in ARRAYS_READ])
def test_arrays_and_torch_datasets_that_are_read(make, expected):
    data = make()
    for images in (data.train, data.test):
        found = images.gather(torch.arange(len(images))).numpy()
        assert found.dtype == np.uint8 and np.array_equal(found, expected)
        assert images.labels.tolist() == LABELS.tolist()
    assert data.class_names == ("class 0", "class 1")


NAMED_LABELS = ["shoe", "bag", "bag", "shoe"]


@pytest.mark.parametrize("make", [
    lambda **options: arrays(labels=NAMED_LABELS, **options), lambda **options: torches(labels=NAMED_LABELS, **options),
    lambda **options: arrays(labels=np.array(NAMED_LABELS)[:, None], **options),
    lambda **options: arrays(labels=np.array(NAMED_LABELS).astype("S"), **options),
    lambda **options: arrays(labels=np.array(NAMED_LABELS, dtype=object), **options)])
def test_labels_that_are_names(make):
    assert make().class_names == ("bag", "shoe") and make().train.labels.tolist() == [1, 0, 0, 1]
    given = make(class_names=["shoe", "hat", "bag"])
    assert given.train.labels.tolist() == [0, 2, 2, 0]
    assert given.notes == ("no training image has the class hat; class numbers begin at 0",)
    refused(lambda: make(class_names=["shoe", "hat"]), DataError, r"label 'bag' of image 1 in .* is not a class: the")


def test_names_in_two_unicode_forms_are_one_class():
    data = from_arrays(GRAY, [NFC, "bag", "bag", NFD], GRAY[:2], [NFD, "bag"])
    assert data.class_names == ("bag", NFC) and data.train.labels.tolist() == [1, 0, 0, 1]


ONE_HOT = np.eye(3, dtype=np.int64)[[0, 1, 2, 0]]
ARRAYS_REFUSED = [
    ("labels: halves", lambda: arrays(labels=LABELS + 0.5), r"must be integers .*got float64 .*\.astype\(int\)"),
    ("labels: whole floats", lambda: arrays(labels=LABELS * 1.0), r"must be integers .*got float64"),
    ("labels: one-hot", lambda: arrays(labels=ONE_HOT), r"which is one-hot:\n    labels = labels.argmax\(1\)"),
    ("labels: one-hot floats", lambda: arrays(labels=ONE_HOT * 1.0), r"which is one-hot:\n    labels = labels.argmax"),
    ("labels: multi-label", lambda: arrays(labels=ONE_HOT | ONE_HOT[::-1]), r"\(multi-label\), expected one; keep the"),
    ("labels: scores", lambda: arrays(labels=ONE_HOT * 0.7), r"for scores of the classes pass the best class"),
    ("labels: masks", lambda: arrays(labels=GRAY), r"one per image, got shape \(4, 2, 5\): pass one class number"),
    ("labels: objects", lambda: arrays(labels=np.array([0, 1, None, 1])), r"the label of image 2 in .* is a NoneType,"),
    ("labels: objects in rows", lambda: arrays(labels=np.full((4, 2), None)), r"must be integers of shape \(N,\)"),
    ("labels: one-hot lists", lambda: arrays(labels=ONE_HOT.tolist()), r"which is one-hot:\n    labels ="),
    ("labels: None", lambda: arrays(labels=[0, 1, None, 1]), r"the label of image 2 in .* is a NoneType, expected one"),
    ("labels: mixed", lambda: arrays(labels=[0, "a", 1, "b"]), r"mix class numbers and names"),
    ("labels: huge", lambda: arrays(labels=LABELS * 10**9), r"go up to 1,000,000,000, expected class numbers from 0"),
    ("labels: beyond int64", lambda: arrays(labels=np.array([0, 1, 2, 2**64 - 1], dtype=np.uint64)), r"must be class"),
    ("labels: negative", lambda: arrays(labels=np.array([-1, 0, 1, 0])), r"label -1 of image 0 in the training set .*"),
    ("labels: too few", lambda: arrays(labels=LABELS[:3]), r"labels must be 4 integers, one per image"),
    ("labels: one class", lambda: arrays(labels=LABELS * 0), r"arrays has 1 class\(es\) \(class 0\), expected at"),
    ("labels: unknown in test", lambda: from_arrays(GRAY, NAMED_LABELS, GRAY[:1], ["hat"]), r"label 'hat' of image 0"),
    ("names: a string", lambda: arrays(class_names="ab"), r"class_names of arrays must be a sequence of names, .*'ab'"),
    ("names: a number", lambda: arrays(class_names=2), r"class_names of arrays must be a sequence of names, .*got 2"),
    ("names: twice", lambda: arrays(class_names=[NFC, NFD]), r"class_names of arrays must differ, got more than once:"),
    ("images: channels first", lambda: arrays(FIRST), r"channels first:\n    images = images.transpose\(0, 2, 3, 1\)"),
    ("images: channels last, tensor", lambda: arrays(torch.from_numpy(COLOR)), r"images.permute\(0, 3, 1, 2\)"),
    ("images: alpha", lambda: arrays(np.zeros((4, 2, 5, 4), np.uint8)), r"alpha channel:\n    images = images\[:, :,"),
    ("images: one", lambda: arrays(GRAY[0]), r"has shape \(2, 5\), expected \(N, H, W\)"),
    ("images: none", lambda: arrays(GRAY[:0], LABELS[:0]), r"train_images of arrays hold no images, expected at least"),
    ("images: an empty list", lambda: arrays([], []), r"train_images of arrays hold no images, expected at least one"),
    ("images: no pixels", lambda: arrays(GRAY[:, :0]), r"has shape \(4, 0, 5\)"),
    ("images: NaN", lambda: arrays(np.where(GRAY > 9, np.nan, GRAY)), r"pixels of train_images of arrays are NaN or"),
    ("images: infinite", lambda: arrays(np.where(GRAY > 9, np.inf, GRAY)), r"are NaN or infinite"),
    ("images: normalized", lambda: arrays(GRAY / 128 - 0.5), r"are negative \(from -0.5 to .*remove Normalize"),
    ("images: beyond 1", lambda: arrays(GRAY / 200), r"floats up to 1.17, expected floats from 0 to 1, or from 0 to"),
    ("images: beyond 255", lambda: arrays(GRAY * 2.0), r"floats up to 468, expected floats from 0 to 1"),
    ("images: beyond 16 bits", lambda: arrays(GRAY.astype(np.int64) * 1000), r"go up to 234000, expected integers of"),
    ("images: complex", lambda: arrays(GRAY * 1j), r"are complex128, expected uint8"),
    ("images: text", lambda: arrays(np.array([["a"]] * 4)), r"are <U1, expected uint8"),
    ("images: ragged", lambda: arrays([[[1, 2]], [[1]]]), r"must be an array of numbers, got list"),
    ("images: two ranges", lambda: from_arrays(GRAY / 255, LABELS, GRAY * 1.0, LABELS), r"the images before it have"),
    ("images: two sizes", lambda: arrays([GRAY[0], GRAY[1][:, :3], *GRAY[2:]]), r"image 1 in .* is 2 x 3 pixels,"),
    ("torch: dicts", lambda: from_torch(Items([{"img": 1, "my_label": 0}]), pairs(GRAY)),
     r"is a dict with the keys img, my_label, .*:\n    data = shiftscope.from_torch\(train, test, image='img', la"),
    ("torch: triples", lambda: from_torch(Items([(GRAY[0], 0, 7)]), pairs(GRAY)), r"item 0 .* has 3 parts, expected"),
    ("torch: no labels", lambda: from_torch(Items(GRAY), pairs(GRAY)), r"item 0 .* is a ndarray, expected a"),
    ("torch: tensors of two rows without labels", lambda: from_torch(Items(torch.from_numpy(GRAY)), pairs(GRAY)),
     r"item 0 of the train dataset is a Tensor, expected a pair \(image, label\)"),
    ("torch: label first", lambda: from_torch(Items([(0, GRAY[0])]), pairs(GRAY)), r"image 0 .* is a int, expected a"),
    ("torch: floats", lambda: torches(labels=[0, 1, 1.5, 0]), r"the label of image 2 of the train dataset is the"),
    ("torch: whole floats", lambda: torches(labels=[0, 1, 1.0, 0]), r"the label of image 2 .* is the float 1,"),
    ("torch: float tensors", lambda: torches(labels=torch.tensor([0.0, 1, 1, 0])), r"label of image 0 .* is the float"),
    ("torch: one-hot", lambda: torches(labels=torch.eye(4)), r"has 4 numbers, expected one"),
    ("torch: empty", lambda: from_torch(Items([]), pairs(GRAY)), r"the train dataset is empty, expected at least one"),
    ("torch: a loader", lambda: from_torch(torch.utils.data.DataLoader(pairs(GRAY)), pairs(GRAY)),
     r"got DataLoader, a loader of batches: pass loader.dataset"),
    ("torch: an iterator", lambda: from_torch(iter(pairs(GRAY)), pairs(GRAY)), r"into a list, or train on it as a"),
    ("torch: channels last", lambda: torches(torch.from_numpy(COLOR)), r"images = images.permute\(2, 0, 1\)"),
    ("torch: four channels", lambda: torches(torch.zeros(4, 4, 2, 5)), r"images = images\[:3\]"),
    ("torch: two sizes", lambda: torches([GRAY[0], GRAY[1].T, *GRAY[2:]]), r"image 1 of .* is 5 x 2 pixels, image 0"),
    ("torch: two ranges", lambda: torches([GRAY[1] / 255, *GRAY[1:] * 1.0]), r"image 1 .* floats up to 114, the"),
    ("torch: its own error", lambda: from_torch(Length(), pairs(GRAY)),
     r"the train dataset raised IndexError for index 0 of 3, in .*test_layouts.py:\d+: nothing here"),
]


class Length(torch.utils.data.Dataset):
    def __len__(self):
        return 3

    def __getitem__(self, index):
        raise IndexError("nothing here")


@pytest.mark.parametrize(("make", "problem"), [row[1:] for row in ARRAYS_REFUSED],
                         ids=[row[0] for row in ARRAYS_REFUSED])
def test_arrays_and_torch_datasets_that_are_refused(make, problem):
    refused(make, DataError, problem)


def test_classes_that_differ_between_train_and_test_are_refused():
    train, test = pairs(GRAY), pairs(GRAY)
    train.classes, test.classes = ["bag", "hat", "shoe"], ["bag", "shoe"]
    refused(lambda: from_torch(train, test), DataError, r"train.classes and test.classes .* differ \(hat in one of")
    test.classes = ["hat", "bag", "shoe"]
    refused(lambda: from_torch(train, test), DataError, r"differ in order, so that equal labels mean different")
    test.classes = 3  # no names
    assert from_torch(train, test).class_names == ("bag", "hat", "shoe")


def test_notes_about_arrays():
    assert arrays(GRAY.astype(np.uint16) * 17).notes == (
        "the largest value of the 16-bit images is 3,978: they are read as 12-bit data, 0 to 4,095, and scaled to 8 "
        "bits",)
    assert arrays(GRAY * 1.0).notes == ("float pixels range from 0 to 255; they are rounded to integers",)
    assert arrays(GRAY // 200).notes == ("the largest pixel value of the training images is 1 of 255: if pixels are 0 "
                                         "and 1, pass booleans, or multiply by 255",)
    assert arrays(labels=LABELS + 1).notes == ("no training image has the class class 0; class numbers begin at 0",)


@pytest.mark.parametrize(("keys", "problem"), [
    ({"x_train": GRAY, "y_train": LABELS, "x_test": GRAY},
     r"lacks y_test: it holds x_train uint8 \(4, 2, 5\), y_train int64 \(4,\), x_test uint8 \(4, 2, 5\); write train_"),
    ({}, r"lacks .*: it holds nothing; write train_images, "),
    ({f"{k}{'x' * 90}": LABELS for k in range(50)}, r"it holds 0xxxxxxxxx.* and 44 more; write train_images, "),
])
def test_npz_files_with_other_keys(tmp_path, keys, problem):
    np.savez(tmp_path / "x.npz", **keys)
    with pytest.raises(DataError, match=problem):
        load_dataset(f"npz:{tmp_path}/x.npz")


def test_npz_files_with_other_arrays_a_column_of_labels_and_names(tmp_path):
    np.savez(tmp_path / "x.npz", train_images=GRAY[..., None], train_labels=LABELS[:, None], test_images=GRAY,
             test_labels=LABELS, class_names=["bag", "shoe"], val_images=GRAY)
    data = load_dataset(f"npz:{tmp_path}/x.npz")
    assert data.train.labels.tolist() == LABELS.tolist() and data.shape == (1, 2, 5)
    assert data.notes == ("ignored in x.npz: val_images",)
