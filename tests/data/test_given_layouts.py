"""Datasets as other projects write them: every layout is read with its pixels and labels, or refused with lines of code
that convert it, which are run here."""

import csv
import gzip
import os
import pickle
import re
import tracemalloc
import zipfile
from collections import namedtuple
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

import shiftscope
from shiftscope.data import csv_file as csv_module
from shiftscope.data import from_images, from_iterable, from_torch, load_dataset
from shiftscope.data.base import UNLABELED
from shiftscope.data.emnist import CLASS_NAMES
from shiftscope.errors import DataError, UsageError

from .conftest import idx_bytes

DRAW = np.random.default_rng(0)
GRAY = DRAW.integers(0, 256, (12, 6, 6), dtype=np.uint8)
WIDE = DRAW.integers(0, 256, (12, 4, 9), dtype=np.uint8)
COLOR = DRAW.integers(0, 256, (12, 4, 5, 3), dtype=np.uint8)
LABELS = np.arange(12) % 3


def pixels(images) -> np.ndarray:
    return images.gather(torch.arange(len(images))).numpy()


def same(data, images, labels=LABELS) -> None:
    """Training and test images are `images` (N, H, W) or (N, H, W, 3) with `labels`."""
    expected = images[:, None] if images.ndim == 3 else images.transpose(0, 3, 1, 2)
    for found in (data.train, data.test):
        if len(found):
            assert np.array_equal(pixels(found), expected) and found.labels.tolist() == list(labels)


def refusal(call, problem: str, kind=DataError) -> str:
    """Check the sentence of a refusal and return its lines of code."""
    with pytest.raises(kind, match=problem) as raised:
        call()
    sentence, _, code = str(raised.value).partition("\n")
    assert len(sentence) < 400 and len(code.splitlines()) <= 5
    return "\n".join(line.removeprefix("    ") for line in code.splitlines())


def run(code: str, **names):
    """Run lines of code as a user would, in the current folder; return its names."""
    assert code
    scope = {"shiftscope": shiftscope, **names}
    exec(compile(code, "<the lines of the message>", "exec"), scope)
    return scope


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


# ---------------------------------------------------------------------- npz

def splits(names, images=GRAY, labels=LABELS, **more):
    return dict(zip(names, (images, labels, images, labels), strict=True)) | more


MEDMNIST = ("train_images", "train_labels", "test_images", "test_labels")
KERAS = ("x_train", "y_train", "x_test", "y_test")


@pytest.mark.parametrize(("arrays", "images", "note"), [
    (splits(MEDMNIST, labels=LABELS[:, None], val_images=GRAY[:2], val_labels=LABELS[:2, None]), GRAY,
     "ignored in a.npz: val_images, val_labels"),
    (splits(MEDMNIST, COLOR, LABELS[:, None].astype(np.uint8)), COLOR, None),
    (splits(KERAS), GRAY, None), (splits(KERAS, COLOR, LABELS[:, None]), COLOR, None),
    (splits([name.capitalize() for name in KERAS]), GRAY, None),
    (dict(zip(MEDMNIST[2:], (GRAY, LABELS), strict=True)), GRAY, None),
    (dict(zip(KERAS[2:], (GRAY, LABELS), strict=True)), GRAY, None),
    ({"images": GRAY, "labels": LABELS}, GRAY, None)],
    ids=["MedMNIST", "MedMNIST in color", "Keras", "Keras CIFAR-10", "X_train", "test alone", "x_test", "images"])
def test_npz_files_of_other_projects(arrays, images, note):
    np.savez_compressed("a.npz", **arrays)
    data = load_dataset("npz:a.npz")
    same(data, images)
    assert data.class_names == ("class 0", "class 1", "class 2") and data.notes == ((note,) if note else ())
    np.savez("b.npz", **arrays, class_names=["x", "y", "z"])
    assert load_dataset("npz:b.npz").class_names == ("x", "y", "z")


MULTI = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [0, 0, 0], [1, 0, 0]] * 2)
VOLUMES = DRAW.integers(0, 256, (12, 6, 6, 6), dtype=np.uint8)


@pytest.mark.parametrize(("arrays", "problem", "images", "labels"), [
    (splits(MEDMNIST, labels=MULTI), r"train_labels has shape \(12, 3\), several labels for an image, expected one",
     GRAY[MULTI.sum(1) == 1], MULTI.argmax(1)[MULTI.sum(1) == 1]),
    (splits(KERAS, labels=np.eye(3, dtype=int)[LABELS]), r"y_train has shape \(12, 3\), several labels", GRAY, LABELS),
    (splits(MEDMNIST, VOLUMES), r"train_images has shape \(12, 6, 6, 6\).*middle slice", VOLUMES[:, 3], LABELS),
    (splits(KERAS, COLOR.transpose(0, 3, 1, 2)), r"x_train has shape \(12, 3, 4, 5\).*channels last", COLOR, LABELS),
    (splits(MEDMNIST, np.concatenate([COLOR, COLOR[..., :1]], 3)), r"remove the alpha channel", COLOR, LABELS),
    (splits(("Xtr", "Ytr", "Xte", "Yte")), r"lacks train_images.*it holds Xtr uint8 \(12, 6, 6\)", GRAY, LABELS),
    (splits(("train_x", "train_y", "val_x", "val_y"), GRAY.reshape(12, 36)), r"lacks", GRAY, LABELS),
    ({"data": GRAY.reshape(12, 36), "target": LABELS}, r"lacks train_images", GRAY, LABELS),
    ({"X": COLOR, "y": LABELS}, r"lacks train_images", COLOR, LABELS)])
def test_npz_files_that_the_lines_of_the_message_convert(arrays, problem, images, labels):
    np.savez("a.npz", **arrays)
    run(refusal(lambda: load_dataset("npz:a.npz"), problem))
    same(load_dataset("npz:converted.npz"), images, labels)


CIFAR_ROWS = DRAW.integers(0, 256, (12, 3072), dtype=np.uint8)
CIFAR_IMAGES = CIFAR_ROWS.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)


def other_files():
    """Name, content and images of files of other libraries."""
    from scipy.io import savemat

    def written(write, content):
        write(file := BytesIO(), content)
        return file.getvalue()

    batch = pickle.dumps({"data": CIFAR_ROWS, "labels": LABELS.tolist()})
    svhn = {"X": COLOR.transpose(1, 2, 3, 0), "y": np.where(LABELS == 0, 10, LABELS)[:, None]}
    return [("a.mat", written(savemat, svhn), COLOR),
            ("data_batch_1", batch, CIFAR_IMAGES), ("a.pkl", batch, CIFAR_IMAGES),
            ("a.bin", np.concatenate([LABELS[:, None].astype(np.uint8), CIFAR_ROWS], 1).tobytes(), CIFAR_IMAGES),
            ("a.pt", written(lambda file, pair: torch.save(pair, file),
                             (torch.from_numpy(GRAY), torch.from_numpy(LABELS))), GRAY),
            ("a.NPY", written(np.save, GRAY), GRAY)]


@pytest.mark.parametrize("prefix", ["", "npz:", "idx:"])
def test_files_of_other_libraries_that_the_lines_of_the_message_convert(prefix):
    for name, content, images in other_files():
        Path(name).write_bytes(content)
        if not prefix and "." not in name:
            continue  # without a suffix or prefix it could be the name of a dataset
        run(refusal(lambda name=name: load_dataset(prefix + name), "is not a dataset but a", UsageError))
        same(load_dataset("npz:converted.npz"), images, [UNLABELED] * 12 if "NPY" in name else LABELS)


def test_an_hdf5_file_that_the_lines_of_the_message_convert():
    h5py = pytest.importorskip("h5py", reason="needs h5py: pip install h5py")
    with h5py.File("a.h5", "w") as file:
        file["x"], file["y"] = COLOR, LABELS[:, None, None, None]
    run(refusal(lambda: load_dataset("a.h5"), "is not a dataset but an HDF5 file", UsageError))
    same(load_dataset("npz:converted.npz"), COLOR, LABELS)


def test_a_parquet_file_that_the_lines_of_the_message_load(monkeypatch):
    datasets = pytest.importorskip("datasets", reason="needs datasets: pip install datasets")
    items = {"image": list(map(Image.fromarray, GRAY)), "label": LABELS.tolist()}
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["a", "b", "c"])})
    datasets.Dataset.from_dict(items, features=features).to_parquet("a.parquet")
    lines = refusal(lambda: load_dataset("a.parquet"), "is not a dataset but a Parquet file", UsageError)
    Path("my_data.py").write_text(lines)
    same(load_dataset("my_data:data"), GRAY, LABELS)


@pytest.mark.parametrize(("arrays", "problem"), [
    (splits(MEDMNIST, GRAY.astype(object)), r"its array train_images is not a plain array: .*never"),
    (splits(KERAS, labels=LABELS.astype(object)), r"its array y_train is not a plain array"),
    (splits((*MEDMNIST[:2], "test_images", "labels")), r"lacks test_labels"),
    ({"a": LABELS, "b": LABELS}, r"lacks train_images, train_labels, test_images, test_labels: it holds a int64"),
    (splits(KERAS, labels=LABELS + 0.5), r"train_labels of a must be integers of shape \(N,\), got float64")])
def test_npz_files_without_a_conversion(arrays, problem):
    np.savez("a.npz", **arrays)
    with pytest.raises(DataError, match=problem):
        load_dataset("npz:a.npz")


def test_a_compressed_bomb_in_an_npz_file_is_not_unpacked():
    with zipfile.ZipFile("a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in KERAS:
            with archive.open(f"{name}.npy", "w", force_zip64=True) as stream:
                np.lib.format.write_array_header_1_0(stream, {"descr": "|u1", "fortran_order": False,
                                                              "shape": (200_000, 28, 28)})
                for _ in range(150):
                    stream.write(bytes(2**20))
    tracemalloc.start()
    refusal(lambda: load_dataset("npz:a.npz"), r"its [\d,]+ bytes unpack to [\d,]+, the limit is 536,870,912")
    assert tracemalloc.get_traced_memory()[1] < 30e6
    tracemalloc.stop()


# ---------------------------------------------------------------------- csv

def write_csv(name="a.csv", images=GRAY, labels=LABELS, header=True, separator=",", end="\n", label="label"):
    rows = images.reshape(len(images), -1).astype(object)
    head = [f"pixel{k}" for k in range(rows.shape[1])]
    if labels is not None:
        rows, head = np.concatenate([np.asarray(labels, dtype=object)[:, None], rows], 1), [label, *head]
    lines = [separator.join(head)] * header + [separator.join(map(str, row)) for row in rows]
    with Path(name).open("w", encoding="utf-8", newline="") as stream:
        stream.write(end.join([*lines, ""]))
    return name


@pytest.mark.parametrize("options", [
    {}, {"header": False}, {"separator": ";"}, {"separator": "\t"}, {"end": "\r\n"}, {"end": "\n\n"},
    {"label": '"Label"'}, {"label": "class"}, {"label": "\ufefflabel"}], ids=repr)
def test_csv_files_as_in_kaggle(options):
    write_csv("train.csv", **options)
    write_csv("mnist_test.csv", GRAY[:5], LABELS[:5], **options)
    data = load_dataset("csv:train.csv,mnist_test.csv")
    assert np.array_equal(pixels(data.train)[:, 0], GRAY) and data.train.labels.tolist() == LABELS.tolist()
    assert np.array_equal(pixels(data.test)[:, 0], GRAY[:5]) and data.notes == ()
    alone = load_dataset("csv:mnist_test.csv")
    assert len(alone.train) == 0 and np.array_equal(pixels(alone.test)[:, 0], GRAY[:5]) and alone.labeled


def test_one_csv_file_is_divided_by_class():
    images = np.arange(40 * 4, dtype=np.uint8).reshape(40, 2, 2)
    write_csv("a.csv", images, np.arange(40) % 3)
    data = load_dataset("csv:a.csv")
    assert len(data.train) + len(data.test) == 40 and data.test.labels.bincount().tolist() == [2, 2, 2]
    found = {tuple(image.ravel().tolist()): int(label) for part in (data.train, data.test)
             for image, label in zip(pixels(part), part.labels, strict=True)}
    assert found == {tuple(image.ravel().tolist()): k % 3 for k, image in enumerate(images)}
    assert re.search(r"every sixth image of a class in a.csv is a test image \(6 of 40 rows\)", data.notes[0])
    assert pixels(load_dataset("csv:a.csv").test).tolist() == pixels(data.test).tolist()


def test_csv_files_without_labels_hold_test_images():
    for name, header in (("unlabeled.csv", True), ("plain.csv", False)):
        data = load_dataset(f"csv:{write_csv(name, labels=None, header=header)}")
        assert not data.labeled and np.array_equal(pixels(data.test)[:, 0], GRAY)
    write_csv("train.csv")
    refusal(lambda: load_dataset("csv:train.csv,plain.csv"), r"plain.csv has no column of labels, which a training and")


def test_sizes_that_are_not_square_are_given():
    for images in (WIDE[:, :, :5], COLOR):
        write_csv("test.csv", images)
        refusal(lambda: load_dataset("csv:test.csv"), r"has \d+ columns besides the label, which is not the number of "
                                                      r"pixels of a square gray image: give .* with --image-size H W")
        same(load_dataset("csv:test.csv", image_size=(4, 5)), images)
    refusal(lambda: load_dataset("csv:test.csv", image_size=(5, 5)), r"expected 25 for gray or 75 for color images of ")
    write_csv("square.csv", WIDE)  # 36 pixels: 6 x 6, unless the size is given
    assert load_dataset("csv:square.csv", image_size=(4, 9)).shape == (1, 4, 9)
    write_csv("last.csv", labels=None)
    with Path("last.csv").open(encoding="utf-8") as stream:
        rows = list(csv.reader(stream))
    rows = [["", *rows[0], "label"]] + [[k, *row, k % 3] for k, row in enumerate(rows[1:])]
    with Path("last_test.csv").open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows(rows)
    data = load_dataset("csv:last_test.csv")  # the label is the last column, the first one numbers the rows
    same(data, GRAY)
    assert data.notes == ("ignored in last_test.csv: the column ''",)


@pytest.mark.parametrize(("change", "problem"), [
    (lambda lines: [*lines[:3], lines[3] + ",7", *lines[4:]], r"line 4 of .*a.csv has 38 values, line 1 has 37"),
    (lambda lines: [*lines[:3], lines[3].rpartition(",")[0]], r"line 4 of .*a.csv has 36 values, line 1 has 37"),
    (lambda lines: [*lines[:3], lines[3].replace(",", ";")], r"line 4 of .*a.csv has 1 values, line 1 has 37"),
    (lambda lines: [*lines[:3], "1.5" + lines[3][1:]], r"value 1 in line 4 of .* is the label '1.5', expected an inte"),
    (lambda lines: [*lines[:3], "1.0" + lines[3][1:]], r"value 1 in line 4 of .* is the label '1.0', expected an inte"),
    (lambda lines: [*lines[:3], lines[3][1:]], r"value 1 in line 4 of .* is the label '', expected an integer"),
    (lambda lines: [*lines[:3], "nan" + lines[3][1:]], r"is the label 'nan', expected an integer"),
    (lambda lines: [*lines[:3], "-1" + lines[3][1:]], r"label -1 of image"),
    (lambda lines: [*lines[:3], lines[3].rpartition(",")[0] + ",256"], r"value 37 in line 4 of .* is the pixel 256, e"),
    (lambda lines: [*lines[:3], lines[3].rpartition(",")[0] + ",-1"], r"value 37 in line 4 of .* is the pixel -1, exp"),
    (lambda lines: [*lines[:3], lines[3].rpartition(",")[0] + ",x"], r"value 37 in line 4 .* pixel 'x', expected an i"),
    (lambda lines: [*lines[:3], lines[3].rpartition(",")[0] + "," + "9" * 30], r"pixel '9{30}', expected an int"),
    (lambda lines: lines[:1], r"holds a header and no rows"),
    (lambda lines: [], r"a.csv is empty, expected one row per image"),
    (lambda lines: ["\0\1\2"], r"line 1 holds binary data"),
    (lambda lines: [lines[0].replace("pixel0", "label"), *lines[1:]], r"has the columns label, label, expected one co"),
    (lambda lines: [lines[0].replace("label", "number"), *lines[1:]], r"has 37 columns and no column called label"),
])
def test_csv_files_that_are_refused(change, problem):
    with Path(write_csv()).open(encoding="utf-8") as stream:
        lines = stream.read().splitlines()
    with Path("a.csv").open("w", encoding="utf-8") as stream:
        stream.write("\n".join(change(lines)))
    refusal(lambda: load_dataset("csv:a.csv"), problem)


def test_files_that_are_no_csv_files(monkeypatch):
    refusal(lambda: load_dataset("csv:none.csv"), r"there is no file none.csv; check the path after csv:")
    refusal(lambda: load_dataset("csv:a,b,c"), r"csv:a,b,c names 3 files, expected csv:FILE or csv:TRAIN,TEST")
    os.mkfifo("pipe.csv")
    refusal(lambda: load_dataset("csv:pipe.csv"), r"pipe.csv is not a readable CSV file: it is a named pipe, expected ")
    refusal(lambda: load_dataset("csv:."), r"is not a readable CSV file: it is a folder")
    with Path(write_csv()).open("rb") as stream, gzip.open("a.csv.gz", "wb") as packed:
        packed.write(stream.read())
    refusal(lambda: load_dataset("csv:a.csv.gz"), r"not a readable CSV file: it is an archive; unpack it")
    with Path("utf16.csv").open("w", encoding="utf-16") as stream:
        stream.write("label,pixel0\n1,2\n")
    refusal(lambda: load_dataset("csv:utf16.csv"), r"not a readable CSV file: it is not text in UTF-8")
    monkeypatch.setattr(csv_module, "MAX_LINE", 50)
    refusal(lambda: load_dataset("csv:a.csv"), r"line 1 has more than 50 characters, which is the limit")
    monkeypatch.setattr(csv_module, "memory", lambda: 100)
    refusal(lambda: load_dataset("csv:a.csv"), r"it holds [\d,]+ bytes, the limit for such a file is 100")
    refusal(lambda: load_dataset("csv:a.csv", resize="stretch"), r"resize is an option of folder:PATH", UsageError)
    refusal(lambda: load_dataset("a.csv"), r"a.csv is a file; write csv:a.csv", UsageError)


def test_a_csv_file_takes_little_more_memory_than_its_images():
    images = DRAW.integers(0, 256, (3000, 28, 28), dtype=np.uint8)
    write_csv("a_test.csv", images, np.arange(3000) % 10)
    tracemalloc.start()
    data = load_dataset("csv:a_test.csv")
    assert tracemalloc.get_traced_memory()[1] < 3 * images.nbytes + 30e6
    tracemalloc.stop()
    same(data, images, np.arange(3000) % 10)


@pytest.mark.parametrize("header", [True, False])
def test_csv_files_with_names_of_classes_are_converted(header):
    names = np.array(["cat", "dog", "cow"])
    write_csv("a.csv", labels=names[LABELS], header=header)
    run(refusal(lambda: load_dataset("csv:a.csv"), r"is the label 'cat', expected an integer; convert the file:"))
    Path("converted.csv").rename("converted_test.csv")
    same(load_dataset("csv:converted_test.csv"), GRAY, [sorted(names).index(names[k]) for k in LABELS])


@pytest.mark.parametrize("labels", [LABELS, None])
def test_csv_files_of_floats_are_converted(labels):
    write_csv("a.csv", GRAY / 255, labels)
    run(refusal(lambda: load_dataset("csv:a.csv"), r"is the pixel '[\d.]+', expected an integer; convert the file:"))
    data = load_dataset("npz:converted.npz")
    assert np.array_equal(pixels(data.test)[:, 0], GRAY) and data.labeled == (labels is not None)


def test_csv_files_of_pixels_in_one_column_and_of_file_names_are_converted(folder):
    with Path("fer.csv").open("w", encoding="utf-8") as stream:
        stream.write("emotion,pixels,Usage\n")
        stream.writelines(f"{label},{' '.join(map(str, image.ravel()))},Training\n"
                          for image, label in zip(GRAY, LABELS, strict=True))
    run(refusal(lambda: load_dataset("csv:fer.csv"), r"has the columns emotion, pixels, Usage, with all pixels of an "))
    same(load_dataset("npz:converted.npz"), GRAY)
    (folder / "files").mkdir()
    with Path("files/labels.csv").open("w", encoding="utf-8") as stream:
        stream.write("image,label\n")
        for k, image in enumerate(GRAY):
            Image.fromarray(image).save(f"files/{k}.png")
            stream.write(f"{k}.png,{'abc'[LABELS[k]]}\n")
    run(refusal(lambda: load_dataset("csv:files/labels.csv"), r"has the columns image, label, which name image files"))
    data = load_dataset("folder:sorted")
    assert data.class_names == ("a", "b", "c") and len(data.train) + len(data.test) == 12


# ---------------------------------------------------------------------- IDX

def write_idx(prefix, images, labels, *, folder=".", test="t10k", packed=False, parts=("train", "t10k"), dash="-"):
    for part in parts:
        for kind, values in (("images", images), ("labels", labels)):
            content = idx_bytes(values)
            name = f"{folder}/{prefix}{part.replace('t10k', test)}-{kind}{dash}idx{values.ndim}-ubyte"
            with Path(name + ".gz" * packed).open("wb") as stream:
                stream.write(gzip.compress(content) if packed else content)


@pytest.mark.parametrize(("options", "name"), [
    ({}, "idx:."), ({"packed": True}, "idx:."), ({"dash": "."}, "idx:."), ({"test": "test"}, "idx:."),
    ({"parts": ("t10k",)}, "idx:."), ({"prefix": "kmnist-"}, "idx:kmnist"), ({"prefix": "kmnist-"}, "idx:./kmnist-")],
    ids=repr)
def test_idx_files_of_the_user(options, name):
    write_idx(**{"prefix": "", "images": WIDE, "labels": LABELS} | options)
    data = load_dataset(name)
    same(data, WIDE)
    assert len(data.train) == (0 if "parts" in options else 12)


@pytest.mark.parametrize("kind", CLASS_NAMES)
def test_emnist_is_read_upright_and_its_letters_from_0(kind):
    labels = np.arange(12) % len(CLASS_NAMES[kind])
    for others in ("emnist-digits-", f"emnist-{kind}-"):
        write_idx(others, WIDE.transpose(0, 2, 1), labels + (kind == "letters"), test="test", packed=True)
    write_csv(f"emnist-{kind}-test.csv", GRAY.transpose(0, 2, 1), labels + (kind == "letters"), header=False)
    data, table = load_dataset(f"idx:emnist-{kind}"), load_dataset(f"csv:emnist-{kind}-test.csv")
    same(data, WIDE, labels)
    same(table, GRAY, labels)
    assert data.class_names == table.class_names == tuple(CLASS_NAMES[kind])
    assert data.notes[0] == table.notes[0] == "EMNIST stores its images transposed; they are read upright"
    assert {name: len(names) for name, names in CLASS_NAMES.items()} == {
        "byclass": 62, "bymerge": 47, "balanced": 47, "letters": 26, "digits": 10, "mnist": 10}
    if kind != "digits":
        refusal(lambda: load_dataset("idx:."), r"holds several sets of IDX files: name one of them, for example idx:em")


def test_idx_files_that_are_refused(monkeypatch):
    refusal(lambda: load_dataset("idx:nowhere"), r"nowhere has no IDX files, expected files such as t10k-images-idx3-u")
    write_idx("", WIDE, LABELS)
    refusal(lambda: load_dataset("t10k-images-idx3-ubyte"), r"write idx:\.", UsageError)
    Path("train-labels-idx1-ubyte").rename("keep")
    refusal(lambda: load_dataset("idx:."), r"lacks the IDX files train-labels: it holds t10k-images-idx3-ubyte, t10k-l")
    os.mkfifo("train-labels-idx1-ubyte")
    refusal(lambda: load_dataset("idx:."), r"train-labels-idx1-ubyte is not a readable IDX file: it is a named pipe")
    Path("train-labels-idx1-ubyte").unlink()
    cases = [(idx_bytes(LABELS)[:-1], r"its header announces 12 bytes, and it holds 11"),
             (idx_bytes(LABELS) + b"x", r"announces 12 bytes, and it holds more"),
             (b"<html>", r"it does not begin as an IDX file"), (b"", r"it does not begin as an IDX file"),
             (idx_bytes(LABELS)[:6], r"its header announces"),
             (bytes([0, 0, 12, 2]) + bytes(64), r"it holds values of type 0x0c in 2 dimensions, expected unsigned byt"),
             (bytes([0, 0, 8, 1, 255, 255, 255, 255]), r"announces 4,294,967,295 bytes, and its 8 bytes hold at most "),
             (idx_bytes(WIDE), r"hold arrays of shapes \(12, 4, 9\) and \(12, 4, 9\), expected"),
             (gzip.compress(idx_bytes(LABELS))[:-9], r"is not a readable IDX file: "),
             (gzip.compress(bytes([0, 0, 8, 1, 255, 255, 255, 255]) + bytes(9)), r"bytes hold at most 536,870,912"),
             (idx_bytes(LABELS[:5]), r"labels must be 12 integers, one per image, got shape \(5,\)")]
    for content, problem in cases:
        with Path("train-labels-idx1-ubyte").open("wb") as stream:
            stream.write(content)
        refusal(lambda: load_dataset("idx:."), problem)


# ---------------------------------------------------------------------- items of Hugging Face and others

class ClassLabel:
    """The interface of `datasets.ClassLabel` that is used: `names`."""

    def __init__(self, *names):
        self.names = list(names)


ImageFeature = type("Image", (), {})  # stands for datasets.Image, which is recognized by its name
Value = type("Value", (), {})


class HuggingFace:
    """The interface of `datasets.Dataset`: `features`, `len`, iteration, and rows that are dictionaries."""

    def __init__(self, features, **columns):
        self.features, self.columns = features, columns

    def __len__(self):
        return len(next(iter(self.columns.values())))

    def __getitem__(self, index):
        return {name: values[index] for name, values in self.columns.items()}

    def __iter__(self):
        return (self[index] for index in range(len(self)))


PICTURES = [Image.fromarray(image) for image in GRAY]
NAMES = ("cat", "dog", "cow")
CIFAR = {"img": ImageFeature(), "fine_label": ClassLabel(*NAMES), "coarse_label": ClassLabel("pet", "farm")}


def hugging_face(image="image", label="label", **features):
    features = features or {image: ImageFeature(), label: ClassLabel(*NAMES)}
    return HuggingFace(features, **{image: PICTURES, label: LABELS.tolist()})


@pytest.mark.parametrize("names", [("image", "label"), ("img", "label"), ("foto", "sorte"), ("x", "y")], ids=str)
def test_hugging_face_datasets_state_columns_and_classes(names):
    rows = hugging_face(*names)
    data = from_torch(rows, rows)
    same(data, GRAY)
    assert data.class_names == NAMES
    alone = from_images(rows)
    same(alone, GRAY)
    assert alone.class_names == NAMES
    stream = from_iterable(rows, rows)
    images, labels = stream.train.first(12)
    assert np.array_equal(images[:, 0].numpy(), GRAY) and labels.tolist() == LABELS.tolist()
    assert stream.class_names == NAMES


def test_hugging_face_columns_can_be_named_and_labels_can_be_text():
    rows = HuggingFace(CIFAR, img=PICTURES, fine_label=LABELS.tolist(), coarse_label=[0] * 12)
    problem = r"item 0 of the train dataset is a dict with the keys img, fine_label, coarse_label, and it is unclear w"
    code = refusal(lambda: from_torch(rows, rows), problem)
    same(run(code, train=rows, test=rows)["data"], GRAY)
    data = from_torch(rows, rows, label="fine_label")
    same(data, GRAY)
    assert data.class_names == NAMES
    code = refusal(lambda: from_images(rows), r"unclear which of them are the image and the label")
    same(run(code, images=rows)["data"], GRAY)
    text = HuggingFace({"image": ImageFeature(), "label": Value()}, image=PICTURES, label=[NAMES[k] for k in LABELS])
    data = from_torch(text, text)
    assert data.class_names == ("cat", "cow", "dog") and data.train.labels.tolist() == [(0, 2, 1)[k] for k in LABELS]


def test_hugging_face_datasets_without_labels_and_their_splits():
    rows = HuggingFace({"image": ImageFeature()}, image=PICTURES)
    code = refusal(lambda: from_torch(rows, rows), r"item 0 .* with the keys image, and none is its label: name it, or")
    data = run(code, images=rows)["data"]
    assert not data.labeled and np.array_equal(pixels(data.test)[:, 0], GRAY)
    both = {"train": hugging_face(), "validation": hugging_face()}
    for call in (lambda: from_torch(both, both), lambda: load_dataset(both)):
        code = refusal(call, r"is a dict with the keys train, validation, expected one dataset: choose two of its spli")
        same(run(code, splits=both)["data"], GRAY)
    rows = HuggingFace({"image": ImageFeature(), "label": ClassLabel(*NAMES)}, image=PICTURES, label=[[0, 1]] * 12)
    refusal(lambda: from_torch(rows, rows), r"the label of image 0 of the train dataset has 2 numbers, expected one")
    rows = HuggingFace({"image": ImageFeature(), "label": ClassLabel(*NAMES)}, image=PICTURES, label=[-1] * 12)
    refusal(lambda: from_torch(hugging_face(), rows), r"label -1 of image 0 in the test set of .* is out of range")


@dataclass
class Sample:
    img: np.ndarray
    target: int
    path: str = ""


class Slots:
    __slots__ = ("label", "picture")

    def __init__(self, picture, label):
        self.picture, self.label = picture, label


Row = namedtuple("Row", "image path label")


@pytest.mark.parametrize("make", [
    lambda image, label: {"image": image, "label": label}, lambda image, label: {"Image": image, "Target": label},
    lambda image, label: {"pixel_values": torch.from_numpy(image)[None], "labels": torch.tensor(label)},
    Sample, Slots, lambda image, label: Row(image, "a.png", label), lambda image, label: (image, label),
    lambda image, label: [image, label], lambda image, label: SimpleNamespace(x=image, y=label)],
    ids=["dict", "upper case", "transformers", "dataclass", "slots", "namedtuple", "tuple", "list", "namespace"])
def test_items_of_any_kind(make):
    items = [make(image, int(label)) for image, label in zip(GRAY, LABELS, strict=True)]
    same(from_torch(items, items), GRAY)
    same(from_images(iter(items)), GRAY)
    images, labels = from_iterable(items, items, NAMES).train.first(12)
    assert np.array_equal(images[:, 0].numpy(), GRAY) and labels.tolist() == LABELS.tolist()


def test_parts_by_index_key_or_attribute():
    triples = [(index, image, label) for index, (image, label) in enumerate(zip(GRAY, LABELS, strict=True))]
    same(from_torch(triples, triples, image=1, label=2), GRAY)
    same(from_images(triples, image=1, label=2), GRAY)
    objects = [SimpleNamespace(photo_1=image, photo_2=None, kind=int(k)) for image, k in zip(GRAY, LABELS, strict=True)]
    same(from_torch(objects, objects, image="photo_1", label="kind"), GRAY)
    stream = from_iterable(triples, triples, NAMES, image=1, label=2).train.limit(5)
    assert stream.first(5)[1].tolist() == [0, 1, 2, 0, 1]
    code = refusal(lambda: from_torch([(*pair[1:], 0) for pair in triples], triples), r"item 0 .* has 3 parts, expecte")
    items = [(*pair[1:], 0) for pair in triples]
    same(run(code, train=items, test=items)["data"], GRAY)


@pytest.mark.parametrize(("items", "options", "problem"), [
    ([{"image": GRAY[0], "label": 0}], {"label": "kind"}, r"is a dict with the keys image, label and has no 'kind': n"),
    ([(GRAY[0], 0)], {"image": 5}, r"item 0 .* is a tuple with 2 parts and has no 5: name parts that it has"),
    ([Sample(GRAY[0], 0)], {"image": "photo"}, r"is a Sample with the keys img, target, path and has no 'photo'"),
    ([{"image": GRAY[0], "img": GRAY[0], "label": 0}], {}, r"keys image, img, label, and it is unclear which of them"),
    ([{}], {}, r"is a dict, expected a pair \(image, label\)"),
    ([object()], {}, r"is a object, expected a pair"), ([3], {}, r"is a int, expected a pair"),
    ([{"image": {"bytes": b"", "path": None}, "label": 0}], {}, r"image 0 .* is a dict, expected a PIL image, a torc")])
def test_items_that_are_refused(items, options, problem):
    refusal(lambda: from_torch(items, items, **options), problem)


def test_objects_of_own_code_may_be_pairs_or_splits(folder):
    (folder / "own_splits_for_test.py").write_text(
        "import numpy as np\n"
        "rows = [{'image': np.full((4, 4), k, np.uint8), 'label': k % 2} for k in range(9)]\n"
        "def pair():\n    return rows, rows[:3]\n"
        "splits = {'train': rows, 'test': rows[:3], 'validation': rows}\n")
    for name in ("pair", "splits"):
        data = load_dataset(f"own_splits_for_test:{name}")
        assert (len(data.train), len(data.test), data.name, data.shape) == (9, 3, name, (1, 4, 4))


def test_torch_subsets_keep_the_names_of_classes():
    rows = hugging_face()
    few = torch.utils.data.Subset(rows, [0, 1, 2, 5])
    assert from_torch(few, few).class_names == NAMES
    assert from_torch(few, few).train.labels.tolist() == [0, 1, 2, 2]
