"""Which output each class is: names, WordNet ids, numbers, maps in files, and what is refused."""

import json

import pytest
import torch

from shiftscope.data.base import Dataset, NoImages, TensorImages
from shiftscope.data.class_map import Outputs, read_class_map, with_output_labels
from shiftscope.errors import DataError, UsageError

NAMES = ("tench, Tinca tinca", "Great-White_Shark", "crane (2)", "crane (3)", "tabby, tabby cat", "Egyptian cat",
         "café")
IDS = tuple(f"n{index:08}" for index in range(7))


def dataset(*names: str, labeled: bool = True) -> Dataset:
    images = TensorImages(torch.zeros(len(names), 1, 4, 4, dtype=torch.uint8),
                          torch.arange(len(names)) if labeled else None)
    return Dataset(name="pets", class_names=names if labeled else (), train=NoImages("pets", images.shape), test=images,
                   source="-", license="-", labeled=labeled)


@pytest.mark.parametrize(("names", "class_map", "labels"), [
    (("tench", "great white shark"), None, [0, 1]),
    (("TABBY CAT", "tinca_tinca"), None, [4, 0]),
    (("Tench, Tinca tinca", "cafe\u0301"), None, [0, 6]),  # é as two characters
    (("n00000005", "n00000002"), None, [5, 2]),
    (("n00000005_some cat", "tench"), None, [5, 0]),
    (("3", "0", "6"), None, [3, 0, 6]),
    (("bird", "tench"), {"bird": 2}, [2, 0]),
    (("bird", "fish"), {"bird": "Egyptian cat", "fish": "n00000001"}, [5, 1]),
    (tuple(reversed(("tench", "Great White Shark", "a", "b", "tabby", "Egyptian cat", "café"))), {"a": 2, "b": 3},
     [6, 5, 4, 3, 2, 1, 0]),
])
def test_classes_are_outputs(names, class_map, labels):
    found = with_output_labels(dataset(*names), Outputs(count=7, names=NAMES, wordnet_ids=IDS), class_map)
    assert found.test.labels.tolist() == labels and len(found.class_names) == 7 and len(found.train) == 0
    assert found.test.gather(torch.tensor([1])).shape == (1, 1, 4, 4)
    for name, label in zip(names, labels, strict=True):
        own = name.isdecimal() or name.startswith("n0000")
        assert found.class_names[label] == (NAMES[label] if own else name)


def test_as_many_classes_as_outputs_are_the_outputs_in_order():
    data = dataset("a", "b", "c")
    assert with_output_labels(data, Outputs(count=3)) is data
    assert with_output_labels(data, Outputs(count=3, names=["x", "y", "z"])) is data
    assert with_output_labels(data, Outputs(count=3, names=["a", "b", "c"])) is data
    moved = with_output_labels(data, Outputs(count=3, names=["c", "a", "b"]))
    assert moved.test.labels.tolist() == [1, 2, 0] and moved.class_names == ("c", "a", "b")


def test_outputs_without_names_and_images_without_labels():
    assert with_output_labels(dataset("0", "2"), Outputs(count=3)).class_names == ("0", "output 1", "2")
    data = with_output_labels(dataset("x", labeled=False), Outputs(count=2, names=["a", "b"]))
    assert data.class_names == ("a", "b") and data.test.labels.tolist() == [-1] and not data.labeled


@pytest.mark.parametrize(("names", "class_map", "problem"), [
    (("dog", "tench"), None, "has 7 outputs, the dataset has 2 classes; 1 of 2 match no output: dog"),
    (("crane", "tench"), None, "crane matches the outputs 2, 3"),
    (("tench", "n00000000"), None, "tench, n00000000 match the same output 0"),
    (("7", "0"), None, "1 of 2 match no output: 7"),
    (tuple("abcdefgh"), None, "has 7 outputs, the dataset has 8 classes; 8 of 8 match no output"),
    (("dog", "tench"), {"dgo": 1}, "the class map has classes that the dataset lacks, dgo: "),
    (("dog", "tench"), {"dog": 7}, "the output of 'dog' in the class map is 7, expected an index from 0 to 6"),
    (("dog", "tench"), {"dog": -1}, "is -1, expected an index from 0 to 6"),
    (("dog", "tench"), {"dog": True}, "is True, expected an index or a name"),
    (("dog", "tench"), {"dog": 1.5}, "is 1.5, expected an index or a name"),
    (("dog", "tench"), {"dog": 0}, "dog, tench match the same output 0"),
    (("dog", "tench"), {"dog": "poodle"}, "the output 'poodle' of 'dog' in the class map is not the name of an output"),
    (("dog", "tench"), {"dog": "crane"}, "the output 'crane' of 'dog' in the class map is the name of 2 outputs"),
    (("dog", "tench"), ["dog"], "class_map must be a mapping from classes to outputs, got list"),
])
def test_what_is_refused(names, class_map, problem):
    with pytest.raises(UsageError, match=problem) as raised:
        with_output_labels(dataset(*names), Outputs(count=7, names=NAMES, wordnet_ids=IDS, model="net"), class_map)
    assert len(str(raised.value)) < 400


def test_maps_for_unlabeled_images_and_wrong_numbers_of_names_are_refused():
    with pytest.raises(UsageError, match="a class map needs classes, and the images of pets have no labels"):
        with_output_labels(dataset("x", labeled=False), Outputs(count=3), {"a": 1})
    with pytest.raises(UsageError, match="output_names must hold 3 names, one for each output of the model, got 2"):
        Outputs(count=3, names=["a", "b"])


def test_files_of_class_maps(tmp_path):
    (tmp_path / "map.json").write_text(json.dumps({"cat": 4, "dog": "poodle"}))
    (tmp_path / "map.csv").write_text("\ufeffclass,output\ncat,4\n\n\"dog, small\",poodle\n", encoding="utf-8")
    assert read_class_map(tmp_path / "map.json") == {"cat": 4, "dog": "poodle"}
    assert read_class_map(tmp_path / "map.csv") == {"cat": 4, "dog, small": "poodle"}


@pytest.mark.parametrize(("name", "content", "problem"), [
    ("map.json", '{"cat": 1, "cat": 2}', "has more than one output for cat"),
    ("map.csv", "cat,1\ncat,2\n", "has more than one output for cat"),
    ("map.json", "[1, 2]", "is invalid: it holds a list"),
    ("map.json", '{"cat": [1]}', "is invalid: the output of 'cat' is"),
    ("map.json", '{"cat": 1.5}', "is invalid: the output of 'cat' is 1.5"),
    ("map.json", "[" * 100_000, "is invalid"),
    ("map.json", "{", "is invalid"),
    ("map.csv", "cat,1,2\n", "is invalid: line 1 has 3 columns instead of 2"),
    ("map.csv", b"\xff\xfe", "is invalid"),
    ("no.json", None, "cannot read the class map"),
])
def test_files_that_are_refused(tmp_path, name, content, problem):
    if content is not None:
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=problem) as raised:
        read_class_map(tmp_path / name)
    assert len(str(raised.value)) < 400
