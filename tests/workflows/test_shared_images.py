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
from shiftscope.reporting.selection import choose_images
from shiftscope.workflows.shared_images import Asked, narrowed, share_images, shared_index, shown_alike

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
    """Each keeps ten images of its own, as one of many images does."""
    made = [audit(model, data, placement=PLACE, name=f"net {place}") for place, model in enumerate(models)]
    return [narrowed(found, np.r_[0:5, found.shown_index[-5:]]) for found in made]


def asking(models, data, asked=None):
    def ask(place):
        if asked is not None:
            asked.append(place)
        return Asked(model=models[place], data=data, placement=PLACE)
    return ask


def wavering_by_hand(audit):
    """Images from the most to the least fickle, by a loop."""
    found = []
    for index, predictions in enumerate(audit.predictions):
        counts = [int((predictions == cls).sum()) for cls in range(3)]
        if max(counts) < len(predictions):
            found.append((sum(count**2 for count in counts), index))
    return [index for _, index in sorted(found)]


def test_half_are_the_first_ones_and_the_models_take_turns_with_the_others(audits):
    draw = np.random.default_rng(0)
    audits = [replace(found, predictions=draw.choice(3, found.predictions.shape, p=shares).astype(np.uint8))
              for found, shares in zip(audits, ([0.9, 0.1, 0], [0.6, 0.2, 0.2], [0.95, 0, 0.05]), strict=True)]
    index = shared_index(audits, 14).tolist()
    assert index[:7] == list(range(7)) and len(set(index)) == 14
    expected, sources = [], [iter(wavering_by_hand(found)) for found in audits]
    while len(expected) < 7:
        turn = []
        for source in sources:
            turn.append(next(image for image in source if image not in (*range(7), *expected)))
        expected = list(dict.fromkeys([*expected, *turn]))
    assert index[7:] == expected[:7]


def test_where_nothing_changes_a_mind_more_of_the_first_are_shown(audits):
    still = [replace(found, predictions=np.zeros_like(found.predictions)) for found in audits]
    assert shared_index(still, 14).tolist() == list(range(14))
    assert len(shared_index(audits, 100)) == 48 and len(shared_index([replace(
        found, images=5, predictions=found.predictions[:5]) for found in audits])) == 5


def test_all_models_then_have_scores_of_the_same_images(audits, data, models):
    asked = []
    found, notes = share_images(audits, asking(models, data, asked), QUIET)
    assert notes == [] and asked == [0, 1, 2]
    alike, index = shown_alike(found), shared_index(audits)
    assert len(index) == 24
    pixels = data.test.gather(torch.from_numpy(index))
    for place, (part, model) in enumerate(zip(alike, models, strict=True)):
        assert part.shown_index.tolist() == index.tolist() and part.model == f"net {place}"
        np.testing.assert_array_equal(part.shown_images, pixels.numpy())
        for column in (0, 7, 19):
            offsets = torch.from_numpy(part.offsets[column]).expand(len(index), 2)
            with torch.no_grad():
                scores = model(PLACE.place(pixels, offsets) / 255)
            shift = scores.numpy() - part.shown_logits[:, column].astype(np.float32)
            assert np.ptp(shift, axis=1).max() < 0.01  # a log-softmax moves all scores of a picture alike
    shown, first = choose_images(alike)
    assert sorted(shown.tolist()) == sorted(index.tolist()) and first == 12


def test_nothing_is_asked_again_where_all_is_there(audits, data, models):
    found, _ = share_images(audits, asking(models, data), QUIET)
    asked = []
    again, notes = share_images(found, asking(models, data, asked), QUIET)
    assert asked == [] and notes == [] and all(a is b for a, b in zip(again, found, strict=True))


def test_further_seeds_stay_as_they_are(audits, data, models):
    seeds = [audits[0], replace(audits[1], model="net 0"), audits[2]]
    asked = []
    found, _ = share_images(seeds, asking(models, data, asked), QUIET)
    assert asked == [0, 2] and shown_alike(found)[1] is seeds[1]


def test_a_model_that_is_gone_or_another_one_leaves_its_audit_with_a_note(audits, data, models):
    def ask(place):
        if place == 0:
            raise CheckpointError("there is no checkpoint at here")
        return Asked(model=models[0], data=data, placement=PLACE)

    found, notes = share_images(audits[:2], ask, QUIET)
    assert found[0] is audits[0] and found[1] is audits[1]
    assert len(notes) == 2 and "net 0: its confidence is not known for" in notes[0]
    assert notes[0].endswith("there is no checkpoint at here")
    assert "of its answers are not those of the audit" in notes[1]
    alike = shown_alike(found)
    assert set(alike[0].shown_index.tolist()) <= set(shared_index(audits[:2]).tolist())


def test_other_images_are_noticed(audits, data, models):
    found, notes = share_images(audits[:2], lambda place: Asked(
        model=models[place], data=data.limit(8), placement=PLACE), QUIET)
    assert len(notes) == 2 and "are not those that were audited" in notes[0] and found[0] is audits[0]
