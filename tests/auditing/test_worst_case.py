"""The worst case alone against the full audit."""

import sys

import numpy as np
import pytest
import torch

from shiftscope.auditing import audit, worst_case
from shiftscope.errors import DataError, Interrupted
from shiftscope.evaluation.brute import BruteForceEngine
from shiftscope.placement import Placement
from shiftscope.results import WorstCase

PLACES = {
    "canvas": Placement(image=(4, 6), canvas=(9, 14)),
    "crop": Placement(image=(12, 17), canvas=(9, 14), mode="crop"),
    "fill": Placement(image=(9, 14), canvas=(9, 14), mode="fill", max_shift=2, fill="reflect"),
    "listed": Placement(image=(4, 6), canvas=(9, 14), offset_list=[(5, 8), (0, 0), (2, 4)]),
}


def labeled(made, model, place, count=40):
    """Images whose label is the most frequent prediction, so that some are correct at every placement."""
    noise = made.noise(count=count, shape=(1, *place.image)).test.images
    data = made.dataset((noise // (torch.arange(count) % 20 + 1).view(-1, 1, 1, 1)).to(torch.uint8), [0] * count)
    found = audit(model, data, placement=place, engine="brute")
    labels = torch.tensor([np.bincount(row).argmax() for row in found.predictions])
    return made.dataset(data.test.images, labels)


@pytest.mark.parametrize("mode", PLACES)
@pytest.mark.parametrize("engine", ["brute", "auto"])
def test_the_figures_equal_those_of_the_full_audit(mode, engine, made):
    place = PLACES[mode]
    model = made.SmallNet(place.canvas)
    data = labeled(made, model, place)
    whole, found = audit(model, data, placement=place), worst_case(model, data, placement=place, engine=engine)
    correct = whole.predictions == whole.labels[:, None]
    assert found.worst_case_accuracy == whole.worst_case_accuracy and found.middle_accuracy == whole.middle_accuracy
    assert (found.failed == ~correct.all(1)).all() and 0 < found.failed.sum() < 40
    for name in ("worst_case_accuracy", "middle_accuracy"):
        assert found.intervals[name] == whole.intervals[name]
    for image in range(40):
        column = whole.offsets.tolist().index(found.error_offset[image].tolist())
        assert found.error_prediction[image] == whole.predictions[image, column]
        assert found.failed[image] == (found.error_prediction[image] != found.labels[image])
    assert found.mean_accuracy is found.consistency is found.unanimity is None
    assert found.self_check["placements"] == 32 and found.self_check["max_abs_logit_difference"] < 1e-9
    assert any("unknown" in note for note in found.notes)


def test_an_image_is_left_at_its_first_error(made, monkeypatch):
    place, seen, of_pairs = PLACES["canvas"], [], BruteForceEngine.of_pairs
    model = made.SmallNet()
    data = labeled(made, model, place)
    wrong = made.dataset(data.test.images, (data.test.labels + 1) % 3)
    monkeypatch.setattr(BruteForceEngine, "tune", lambda *_: None)
    monkeypatch.setattr(BruteForceEngine, "of_pairs", lambda self, images, pairs, **more: (
        seen.append(len(pairs)), of_pairs(self, images, pairs, **more))[1])
    found = worst_case(model, wrong, placement=place, engine="brute")
    assert found.worst_case_accuracy < 0.1 and found.computed < 0.5 * 40 * 54
    assert sum(seen) < found.computed + 20 and f"{found.computed:,} of 2,160 predictions" in found.notes[-1]


def test_nonfinite_outputs_are_errors(made):
    class Broken(made.SmallNet):
        def forward(self, pixels):
            bright = pixels[:, :, 0, 0].amax(1) > 0.5
            return super().forward(pixels).masked_fill(bright[:, None], float("nan"))

    place, model = PLACES["canvas"], Broken()
    data = labeled(made, model, place)
    whole, found = (run(model, data, placement=place, engine="brute") for run in (audit, worst_case))
    assert whole.nonfinite and found.worst_case_accuracy == whole.worst_case_accuracy


def test_more_placements_than_are_sampled(made, monkeypatch):
    monkeypatch.setattr("shiftscope.auditing.engines.MOST_PLACEMENTS", 20)
    monkeypatch.setattr("shiftscope.auditing.engines.SAMPLED", 5)
    place, model = PLACES["canvas"], made.SmallNet()
    data = labeled(made, model, place)
    found = worst_case(model, data, placement=place, engine="brute")
    assert found.placements == 54
    assert found.worst_case_accuracy == audit(model, data, placement=place, engine="dense").worst_case_accuracy


def test_interrupted(made, monkeypatch):
    monkeypatch.setattr(sys.modules["shiftscope.auditing.worst_case"], "BLOCK", 10)
    place, model, asked = PLACES["canvas"], made.SmallNet(), []
    data = labeled(made, model, place)
    whole = worst_case(model, data, placement=place, engine="brute")
    found = worst_case(model, data, placement=place, engine="brute",
                       stop=lambda: (asked.append(1), len(asked) > 2)[1])
    assert found.partial and found.images == 20 and (found.failed == whole.failed[:20]).all()
    with pytest.raises(Interrupted):
        worst_case(model, data, placement=place, engine="brute", stop=lambda: True)


def test_saved_and_loaded(made, tmp_path, place):
    found = worst_case(made.SmallNet(), made.noise(), placement=place)
    found.save(tmp_path)
    again = WorstCase.load(tmp_path)
    assert again.to_dict() == found.to_dict() and again.to_dict()["mean_accuracy"] is None
    for name in WorstCase.arrays:
        assert np.array_equal(getattr(again, name), getattr(found, name))
    assert "worst" in str(found)


def test_images_without_labels_are_refused(made, place):
    with pytest.raises(DataError, match="the worst-case accuracy needs labels, and the images of"):
        worst_case(made.SmallNet(), made.noise().test.images[:, 0].numpy(), placement=place)


def test_a_dataset_with_fewer_classes_than_outputs(made, place):
    model = made.SmallNet()
    data = labeled(made, model, place)
    few = made.dataset(data.test.images, data.test.labels.clamp(max=1), classes=2)
    named = {"class_map": {"a": 0, "b": 2}}
    whole, found = (run(model, few, placement=place, **named) for run in (audit, worst_case))
    assert found.worst_case_accuracy == whole.worst_case_accuracy and found.class_names == whole.class_names
