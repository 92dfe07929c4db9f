from dataclasses import replace

import numpy as np
import pytest
import torch

from shiftscope.auditing import audit
from shiftscope.data import load_dataset
from shiftscope.errors import CheckpointError
from shiftscope.models import TwoFullNet
from shiftscope.placement import Placement
from shiftscope.progress import SilentProgress
from shiftscope.reporting.selection import choose_images as images_of_page
from shiftscope.workflows.load_inputs import ModelWithData
from shiftscope.workflows.report.choose import choose_images, limited_to, shared_index

PLACE = Placement(image=(12, 12), canvas=(16, 15))
QUIET = SilentProgress()


@pytest.fixture(scope="module")
def data(npz):
    return load_dataset(f"npz:{npz}")


@pytest.fixture(scope="module")
def models():
    found = []
    for seed in (1, 2, 3):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            found.append(TwoFullNet(8, canvas=PLACE.canvas, classes=3).eval())
    return found


@pytest.fixture(scope="module")
def audits(data, models):
    """Each keeps ten images of its own, as an audit of many images does."""
    made = [audit(model, data, placement=PLACE, name=f"net {place}") for place, model in enumerate(models)]
    return [limited_to(found, np.r_[0:5, found.shown_index[-5:]]) for found in made]


def loading(models, data, loaded=None):
    """Return a function that loads the model of an audit by its name."""
    def load(audit):
        number = int(audit.model.split()[-1])
        if loaded is not None:
            loaded.append(number)
        return ModelWithData(model=models[number], name=audit.model, trained="random", data=data, placement=PLACE)
    return load


def inconsistent_by_hand(audit):
    """Images by rising consistency, computed in a loop."""
    found = []
    for index, predictions in enumerate(audit.predictions):
        counts = [int((predictions == cls).sum()) for cls in range(3)]
        if max(counts) < len(predictions):
            found.append((sum(count**2 for count in counts), index))
    return [index for _, index in sorted(found)]


def test_half_are_the_first_images_and_the_models_take_turns_with_the_others(audits):
    draw = np.random.default_rng(0)
    audits = [replace(found, predictions=draw.choice(3, found.predictions.shape, p=fractions).astype(np.uint8))
              for found, fractions in zip(audits, ([0.9, 0.1, 0], [0.6, 0.2, 0.2], [0.95, 0, 0.05]), strict=True)]
    index = shared_index(audits, 14).tolist()
    assert index[:7] == list(range(7)) and len(set(index)) == 14
    expected, sources = [], [iter(inconsistent_by_hand(found)) for found in audits]
    while len(expected) < 7:
        turn = []
        for source in sources:
            turn.append(next(image for image in source if image not in (*range(7), *expected)))
        expected = list(dict.fromkeys([*expected, *turn]))
    assert index[7:] == expected[:7]


def test_without_inconsistent_images_more_of_the_first_are_shown(audits):
    constant = [replace(found, predictions=np.zeros_like(found.predictions)) for found in audits]
    assert shared_index(constant, 14).tolist() == list(range(14))
    assert len(shared_index(audits, 100)) == 48 and len(shared_index([replace(
        found, images=5, predictions=found.predictions[:5]) for found in audits])) == 5


def test_all_models_have_scores_of_the_same_images(audits, data, models):
    loaded = []
    images = choose_images(audits, loading(models, data, loaded), QUIET)
    assert images.notes == [] and loaded == [0, 1, 2]
    index = shared_index(audits)
    assert len(index) == 24
    pixels = data.test.gather(torch.from_numpy(index))
    for number, (part, model) in enumerate(zip(images.shown, models, strict=True)):
        assert part.shown_index.tolist() == index.tolist() and part.model == f"net {number}"
        np.testing.assert_array_equal(part.shown_images, pixels.numpy())
        for column in (0, 7, 19):
            offsets = torch.from_numpy(part.offsets[column]).expand(len(index), 2)
            with torch.no_grad():
                scores = model(PLACE.place(pixels, offsets) / 255)
            shift = scores.numpy() - part.shown_logits[:, column].astype(np.float32)
            assert np.ptp(shift, axis=1).max() < 0.01  # a log-softmax shifts all scores of an image equally
    shown, first = images_of_page(images.shown)
    assert sorted(shown.tolist()) == sorted(index.tolist()) and first == 12


def test_no_model_is_loaded_if_all_scores_are_available(audits, data, models):
    complete = choose_images(audits, loading(models, data), QUIET).audits
    loaded = []
    again = choose_images(complete, loading(models, data, loaded), QUIET)
    assert loaded == [] and again.notes == [] and all(a is b for a, b in zip(again.audits, complete, strict=True))


def test_without_a_way_to_load_models_each_audit_shows_what_it_holds(audits):
    images, index = choose_images(audits), shared_index(audits)
    assert images.notes == [] and all(a is b for a, b in zip(images.audits, audits, strict=True))
    for part, whole in zip(images.shown, audits, strict=True):
        assert part.shown_index.tolist() == [i for i in index.tolist() if i in whole.shown_index]


def test_other_seeds_are_unchanged(audits, data, models):
    seeds = [audits[0], replace(audits[1], model="net 0"), audits[2]]
    loaded = []
    images = choose_images(seeds, loading(models, data, loaded), QUIET)
    assert loaded == [0, 2] and images.shown[1] is seeds[1]


def test_an_audit_of_a_missing_or_different_model_gets_a_note(audits, data, models):
    def load(audit):
        if audit.model == "net 0":
            raise CheckpointError("there is no checkpoint at here")
        return replace(loading(models, data)(audit), model=models[0])

    images = choose_images(audits[:2], load, QUIET)
    assert images.audits[0] is audits[0] and images.audits[1] is audits[1]
    assert len(images.notes) == 2 and "net 0: its confidence is not available for" in images.notes[0]
    assert images.notes[0].endswith("there is no checkpoint at here")
    assert "of its predictions differ from those of the audit" in images.notes[1]
    assert set(images.shown[0].shown_index.tolist()) <= set(shared_index(audits[:2]).tolist())


def test_different_images_are_detected(audits, data, models):
    images = choose_images(audits[:2], loading(models, data.limit(8)), QUIET)
    assert len(images.notes) == 2 and "are not those that were audited" in images.notes[0]
    assert images.audits[0] is audits[0]
