import hashlib

import numpy as np
import pytest
import torch

from shiftscope.data import load_dataset
from shiftscope.data.garments import cache_path, draw
from shiftscope.errors import UsageError
from shiftscope.progress import SilentProgress

QUIET = SilentProgress()


def sha256(values: torch.Tensor) -> str:
    return hashlib.sha256(values.numpy().tobytes()).hexdigest()


@pytest.fixture(scope="module")
def synthetic():
    return draw(600, seed=0, split=0, progress=QUIET)


def test_an_image_does_not_depend_on_how_many_are_drawn(synthetic):
    images, labels = draw(37, seed=0, split=0, progress=QUIET)
    assert images.equal(synthetic[0][:37])
    assert labels.equal(synthetic[1][:37])


def test_an_image_does_not_depend_on_its_batch(synthetic, monkeypatch):
    monkeypatch.setattr("shiftscope.data.garments._BATCH", 7)
    assert draw(200, seed=0, split=0, progress=QUIET)[0].equal(synthetic[0][:200])


def test_seed_and_split_change_the_images(synthetic):
    for seed, split in ((1, 0), (0, 1)):
        assert not draw(10, seed=seed, split=split, progress=QUIET)[0].equal(synthetic[0][:10])


def test_every_ten_images_hold_each_class_once_in_changing_order(synthetic):
    blocks = synthetic[1].view(-1, 10)
    assert blocks.sort(dim=1).values.equal(torch.arange(10).expand(60, 10))
    assert len(blocks.unique(dim=0)) > 50


def test_all_images_differ(synthetic):
    assert len(synthetic[0].unique(dim=0)) == 600


def test_garments_fill_the_image_and_leave_the_background_black(synthetic):
    images = synthetic[0][:, 0]
    upright = images[:, 0].any(dim=1) & images[:, -1].any(dim=1)
    across = images[:, :, 0].any(dim=1) & images[:, :, -1].any(dim=1)
    assert (upright | across).float().mean() > 0.97
    assert (images == 0).flatten(1).float().mean(dim=1).max() < 0.95
    assert (images == 0).float().mean() > 0.3


def test_drawing_restores_the_number_of_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        draw(10, seed=0, split=0, progress=QUIET)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_a_linear_classifier_is_above_chance_but_not_perfect():
    images, labels = draw(3000, seed=0, split=0, progress=QUIET)
    features = torch.cat((images.flatten(1).double() / 255, torch.ones(3000, 1, dtype=torch.float64)), dim=1)
    targets = torch.nn.functional.one_hot(labels, 10).double()
    fit, check = slice(0, 2400), slice(2400, 3000)
    gram = features[fit].T @ features[fit] + 10 * torch.eye(785, dtype=torch.float64)
    weights = torch.linalg.solve(gram, features[fit].T @ targets[fit])
    accuracy = ((features[check] @ weights).argmax(1) == labels[check]).double().mean()
    assert 0.7 < accuracy < 0.97  # far above chance, 0.1, and not trivial


def test_images_are_cached_and_drawn_again_if_the_cache_is_damaged(monkeypatch):
    first = load_dataset("garments:20,10")
    path = cache_path((20, 10))
    good = path.read_bytes()
    for damage in (good[:-200], b"", b"rubbish", good.replace(b"test_labels", b"some_labels")):
        path.write_bytes(damage)
        assert load_dataset("garments:20,10").checksums == first.checksums
        assert path.read_bytes() == good
    monkeypatch.setattr("shiftscope.data.garments.draw", None)  # must not be called any more
    assert load_dataset("garments:20,10").checksums == first.checksums


def test_a_cache_of_other_counts_is_not_used():
    load_dataset("garments:20,10")
    cache_path((30, 10)).write_bytes(cache_path((20, 10)).read_bytes())
    assert len(load_dataset("garments:30,10").train) == 30


def test_an_unwritable_cache_folder_is_not_an_error(cache):
    cache.write_text("a file where the folder would be")
    assert len(load_dataset("garments:20,10").train) == 20


def test_the_dataset_is_marked_as_synthetic():
    data = load_dataset("garments:20,10")
    assert data.synthetic and "drawn by Shiftscope" in data.source and data.license.startswith("MIT")
    assert data.class_names[0] == "T-shirt/top" and data.class_names[9] == "Ankle boot"
    assert np.isin(data.train.labels.numpy(), range(10)).all()


def test_too_few_images_are_refused():
    with pytest.raises(UsageError, match=r"train_images must be an integer of at least 10, .* got 9"):
        load_dataset("garments", train_images=9)


def test_images_are_those_of_the_first_release():
    images, labels = draw(100, seed=3, split=1, progress=QUIET)
    assert (sha256(images), sha256(labels)) == (
        "995160a73fdc6cd854315dade7b05b3ed771b7c527677a6df2ee6174fab33f76",
        "b98dc51023c36dfcaab6e42f34e8427347b8b3ae653238fffdce206d229278e1")
