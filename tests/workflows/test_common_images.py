"""Results restricted to their first images equal results that were computed for these images only."""

import numpy as np
import pytest
import torch
from torch import nn

from shiftscope import audit, evaluate
from shiftscope.auditing import compare
from shiftscope.data.base import Dataset, TensorImages
from shiftscope.placement import Placement
from shiftscope.workflows.common_images import common_images, first_images

PLACE = Placement(image=(6, 5), canvas=(9, 11))


def net():
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return nn.Sequential(nn.Flatten(), nn.Linear(99, 3))


def data(count=40):
    draw = torch.Generator().manual_seed(0)
    images = TensorImages(torch.randint(0, 256, (40, 1, 6, 5), generator=draw, dtype=torch.uint8)[:count],
                          torch.randint(0, 3, (40,), generator=draw)[:count])
    return Dataset(name="noise", class_names=("a", "b", "c"), train=images, test=images, source="-", license="-")


def test_an_audit_of_the_first_images():
    whole, part = audit(net(), data(), placement=PLACE), audit(net(), data(), placement=PLACE, limit=13)
    cut = first_images(whole, 13)
    for name in ("labels", "predictions", "correct_counts", "worst_offset", "accuracy_map", "class_maps"):
        np.testing.assert_array_equal(getattr(cut, name), getattr(part, name))
    for name in ("images", "mean_accuracy", "worst_case_accuracy", "consistency", "unanimity", "middle_accuracy",
                 "intervals", "per_class", "by_phase"):
        assert getattr(cut, name) == getattr(part, name), name
    assert cut.shown_index.max() < 13 and len(cut.shown_index) == len(cut.shown_images) == len(cut.shown_logits) == 13
    assert not cut.misfits() and whole.images == 40


def test_an_evaluation_of_the_first_images():
    whole, part = evaluate(net(), data(), placement=PLACE), evaluate(net(), data(13), placement=PLACE)
    cut = first_images(whole, 13)
    for name in ("labels", "predictions", "offsets", "predictions_centered", "gallery_index", "gallery_canvases"):
        np.testing.assert_array_equal(getattr(cut, name), getattr(part, name))
    assert cut.cell_index.max() < 13 and len(cut.cell_index) == len(cut.cell_images)
    assert cut.images == 13 and not cut.misfits()


def test_audits_of_different_lengths_can_be_compared():
    one, other = audit(net(), data(), placement=PLACE), audit(nn.Sequential(nn.Flatten(), nn.Linear(99, 3)), data(),
                                                              placement=PLACE, limit=7)
    a, b = common_images(one, other)
    assert b is other and (a.images, b.images) == (7, 7)
    found = compare(a, b)
    assert found["images"] == 7
    assert found["mean"]["a"] == pytest.approx((one.predictions[:7] == one.labels[:7, None]).mean())
    assert found["middle"]["b"] == other.middle_accuracy
