import json

import pytest

from shiftscope.data import dataset_catalog, dataset_info, fetch_dataset, load_dataset
from shiftscope.errors import UsageError


@pytest.fixture
def small():
    return load_dataset("garments:40,20")


def test_a_dataset_is_passed_through_and_limited(small):
    assert load_dataset(small) is small
    limited = load_dataset(small, limit=30)
    assert (len(limited.train), len(limited.test)) == (30, 20)


def test_garments_counts_by_name_and_by_keyword_are_the_same(small):
    by_keyword = load_dataset("garments", train_images=40, test_images=20)
    assert by_keyword.checksums == small.checksums
    assert load_dataset("garments:40,20", seed=1).checksums != small.checksums


def test_own_objects_come_from_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_data_for_test.py").write_text(
        "import shiftscope.data\n"
        "def make():\n    return shiftscope.data.load_dataset('garments:20,10')\n"
        "ready = make()\nnumber = 5\n")
    assert len(load_dataset("own_data_for_test:make").train) == 20
    assert len(load_dataset("own_data_for_test:ready", limit=5).test) == 5
    with pytest.raises(UsageError, match=r"own_data_for_test:number must be a shiftscope Dataset .* got int"):
        load_dataset("own_data_for_test:number")


@pytest.mark.parametrize(("name", "problem"), [
    ("fashion-mnits", r"unknown dataset 'fashion-mnits': did you mean 'fashion-mnist'\?"),
    ("folder:", r"unknown dataset 'folder:': did you mean 'folder:PATH'"),
    ("garments:5", r"garments:5 must be garments:TRAIN,TEST with two integers"),
    ("garments:5,x", r"garments:5,x must be garments:TRAIN,TEST"),
    ("garments:99999999,10", r"train_images \+ test_images must be at most 200,000 in all, got 100000009"),
    ("garments:" + "9" * 5000 + ",10", r"garments:9+…9+,10 must be garments:TRAIN,TEST"),
    ("garments:40,3", r"test_images must be an integer of at least 10, one image per class, got 3"),
])
def test_names_that_are_refused(name, problem):
    with pytest.raises(UsageError, match=problem):
        load_dataset(name)


def test_options_of_other_datasets_are_refused(small):
    with pytest.raises(UsageError, match="image_size is an option of folder:PATH, not of garments"):
        load_dataset("garments", image_size=(5, 5))
    with pytest.raises(UsageError, match="train_images is an option of garments, not of fashion-mnist"):
        load_dataset("fashion-mnist", train_images=5)
    with pytest.raises(UsageError, match="image_size is an option of folder:PATH, not of a dataset that is loaded"):
        load_dataset(small, image_size=(5, 5))


def test_info_is_plain_json_and_counts_classes(small):
    info = dataset_info(small)
    assert json.loads(json.dumps(info)) == info
    assert info["images_per_class"]["train"] == dict.fromkeys(small.class_names, 4)
    assert (info["synthetic"], info["shape"], info["test_images"]) == (True, [1, 28, 28], 20)
    assert "drawn by Shiftscope" in info["source"] and info["license"].startswith("MIT")
    assert set(info["checksums"]) == {"train_images", "train_labels", "test_images", "test_labels"}


def test_catalog_lists_every_kind_and_existing_files():
    entries = {entry["name"]: entry for entry in dataset_catalog()}
    assert set(entries) == {"garments", "fashion-mnist", "folder:PATH", "npz:FILE", "packed:PATH",
                            "package.module:object"}
    assert all(entry["found"] is None for entry in entries.values())
    assert "Zalando" in entries["fashion-mnist"]["license"]


def test_datasets_that_cannot_be_fetched():
    with pytest.raises(UsageError, match="folder:x is your own data and needs no fetching"):
        fetch_dataset("folder:x")
    with pytest.raises(UsageError, match="unknown dataset to fetch 'garment': did you mean 'garments'"):
        fetch_dataset("garment")
