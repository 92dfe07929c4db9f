"""Models and arguments that an audit must not be fooled by."""

import dataclasses
import re

import numpy as np
import pytest
import torch
from torch import nn

from shiftscope.auditing import audit
from shiftscope.errors import Interrupted, ShiftscopeError, UsageError
from shiftscope.placement import Placement


class Wrapped(nn.Module):
    """Calls a function of (module, pixels)."""

    def __init__(self, function):
        super().__init__()
        self.function, self.calls = function, 0
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(9 * 14, 3))

    def forward(self, pixels):
        self.calls += 1
        return self.function(self, pixels)


def counts_calls(module, pixels):
    return module.net(pixels) + module.calls


def draws(module, pixels):
    return nn.functional.dropout(module.net(pixels), 0.5, training=True)


def mixes(module, pixels):
    return module.net(pixels) - module.net(pixels).mean(0)


@pytest.mark.parametrize("engine", ["auto", "brute"])
@pytest.mark.parametrize(("function", "words"), [
    (counts_calls, "called twice .* keeps state between calls"), (draws, "called twice .* random numbers"),
    (mixes, "in another batch .* influence each other")])
def test_a_model_that_contradicts_itself_is_noted(engine, function, words, made, place):
    torch.manual_seed(0)
    model, before = Wrapped(function), torch.get_rng_state()
    found = audit(model, made.noise(), placement=place, engine=engine)
    assert torch.get_rng_state().equal(before)
    assert found.engine == "brute" and any(re.search(words, note) for note in found.notes)
    with pytest.raises(ShiftscopeError, match=f"engine 'dense' is not possible: .*{words}"):
        audit(model, made.noise(), placement=place, engine="dense")


def test_a_random_model_repeats_with_its_seed(made, place):
    torch.manual_seed(0)
    model = Wrapped(draws)
    first, again, other = (audit(model, made.noise(), placement=place, seed=seed) for seed in (1, 1, 2))
    assert (first.predictions == again.predictions).all() and (first.predictions != other.predictions).any()


def test_a_deterministic_model_has_no_note(made, place):
    data = made.noise()
    found = audit(made.SmallNet(), dataclasses.replace(data, test=right_answers(made, data, place)), placement=place)
    assert found.notes == ["fewer than 100 images (7): the confidence intervals are wide"]
    assert found.middle_accuracy == 1


def right_answers(made, data, place):
    pixels = place.place(data.test.images, place.centered(len(data.test))).double() / 255
    return type(data.test)(data.test.images, made.SmallNet()(pixels).argmax(1))


def test_the_audit_runs_in_eval_mode_and_restores_the_mode(made, place):
    model = nn.Sequential(nn.Flatten(), nn.Dropout(0.9), nn.Linear(9 * 14, 3)).train()
    model[1].eval()
    found = audit(model, made.noise(), placement=place)
    assert any("was in train mode and was audited in eval mode" in note for note in found.notes)
    assert model.training and not model[1].training and model[2].weight.requires_grad
    assert (found.predictions == audit(model.eval(), made.noise(), placement=place, engine="brute").predictions).all()


def test_nonfinite_outputs_count_as_incorrect(made, place):
    def broken(module, pixels):
        outputs = torch.tensor([[0.0, 1.0, 0.0]]).repeat(len(pixels), 1)
        outputs[pixels[:, 0, 0].amax(1) > 0, 2] = torch.nan  # the image touches the upper edge
        return outputs

    images = torch.full((2, 1, 4, 6), 9, dtype=torch.uint8)
    found = audit(Wrapped(broken), made.dataset(images, [1, 0]), placement=place)
    assert found.nonfinite == 2 * 9
    assert (found.predictions[:, :9] == 255).all() and (found.predictions[:, 9:] == 1).all()
    assert found.mean_accuracy == pytest.approx(45 / 54 / 2) and found.worst_case_accuracy == 0
    assert found.consistency == pytest.approx((45 / 54)**2 + (9 / 54)**2) and found.unanimity == 0
    assert found.worst_offset.tolist() == [[0, 0], [0, 0]] and found.margins.tolist() == [[1, 1], [-1, -1]]
    assert found.self_check["max_abs_logit_difference"] == 0
    assert any("18 of 108 predictions have non-finite outputs" in note for note in found.notes)


def test_ties_are_counted(made, place):
    def close(module, pixels):
        return torch.tensor([[0.0, 1.0, 1.0 + 4e-6]]).repeat(len(pixels), 1)

    found = audit(Wrapped(close), made.noise(), placement=place)
    assert found.ties == 7 * 54 and found.exact_ties == 0 and 4e-6 < found.tie_tolerance < 1e-5
    assert any("378 of 378 predictions are near ties" in note for note in found.notes)


def test_exact_ties_predict_the_first_class_and_are_counted(made, place):
    def equal(module, pixels):
        return torch.tensor([[0.0, 2.0, 2.0]]).repeat(len(pixels), 1)

    found = audit(Wrapped(equal), made.noise(), placement=place)
    assert (found.predictions == 1).all() and found.exact_ties == 7 * 54 and found.ties == 0
    assert any("378 of 378 predictions are exact ties" in note for note in found.notes)


@pytest.mark.parametrize("scale", [1e-12, 1e12])
def test_near_ties_scale_with_the_outputs(scale, made, place):
    def apart(module, pixels):
        return scale * torch.tensor([[0.0, 1.0, 1.01]]).repeat(len(pixels), 1)

    found = audit(Wrapped(apart), made.noise(), placement=place)
    assert found.ties == found.exact_ties == 0 and found.tie_tolerance == pytest.approx(6.7e-6 * scale, rel=0.01)


def test_near_chance_and_far_below_what_is_expected(made, place):
    data = made.dataset(made.dot(0, 0, count=300), [0] * 200 + [1] * 100)
    weights = torch.zeros(3, 9, 14)
    right = audit(made.linear(weights, [1.0, 0.0, 0.0]), data, placement=place, limit=300, expected=0.7)
    assert right.middle_accuracy == pytest.approx(2 / 3) and right.notes == [
        "one class, 'a', is predicted for all images: consistency and unanimity are then meaningless"]
    below = audit(made.linear(weights, [1.0, 0.0, 0.0]), data, placement=place, expected=0.8)
    assert any("66.7 %, far below the 80.0 % expected" in note and "normalize=" in note for note in below.notes)
    chance = audit(made.linear(weights, [0.0, 1.0, 0.0]), data, placement=place)
    assert any("33.3 %, near chance (33.3 %)" in note for note in chance.notes)


def test_normalization_is_applied(made, place):
    model, data = made.SmallNet(), made.noise()
    normalized = nn.Sequential(nn.BatchNorm2d(1, affine=False, eps=0).double(), model).eval()
    normalized[0].running_mean.fill_(0.25)
    normalized[0].running_var.fill_(0.5**2)
    found = audit(model, data, placement=place, normalize=(0.25, 0.5))
    assert (found.predictions == audit(normalized, data, placement=place).predictions).all()


@pytest.mark.parametrize(("arguments", "message"), [
    ({"engine": "denes"}, "unknown engine 'denes': did you mean 'dense'"),
    ({"split": "tset"}, "unknown split 'tset'"),
    ({"sample": 0}, "sample must be a whole number of at least 1, got 0"),
    ({"limit": 0}, "limit must be a whole number of at least 1, got 0"),
    ({"expected": 76.0}, "expected must be a number from 0 to 1, got 76.0"),
    ({"placement": Placement(image=(5, 5), canvas=(9, 14))}, "images must be .batch, channel, 5, 5.")])
def test_invalid_arguments_raise(arguments, message, made, place):
    with pytest.raises(UsageError, match=message):
        audit(made.SmallNet(), made.noise(), **({"placement": place} | arguments))


def test_models_that_do_not_fit(made, place):
    with pytest.raises(UsageError, match="has 3 outputs, the dataset has 5 classes"):
        audit(made.SmallNet(), made.noise(classes=5), placement=place)
    with pytest.raises(UsageError, match=r"must return a tensor \(batch, classes\), got \(2, 1, 9, 14\)"):
        audit(nn.Identity(), made.noise(), placement=place)
    with pytest.raises(UsageError, match="cannot take images of 1 x 10 x 14"):
        audit(made.SmallNet(), made.noise(), placement=Placement(image=(4, 6), canvas=(10, 14), background=3))
    with pytest.raises(UsageError, match="the image does not fit"):
        Placement(image=(4, 6), canvas=(3, 14))


def test_stopped_by_a_flag(made, place, monkeypatch):
    monkeypatch.setattr("shiftscope.evaluation.brute.IMAGES", 2)
    asked = iter([False, False, True])
    found = audit(made.SmallNet(), made.noise(), placement=place, engine="brute", stop=lambda: next(asked))
    whole = audit(made.SmallNet(), made.noise(), placement=place, engine="brute", limit=4)
    assert found.partial and found.images == 4 and (found.predictions == whole.predictions).all()
    assert found.mean_accuracy == whole.mean_accuracy and found.shown_index.tolist() == [0, 1, 2, 3]
    assert any("the first 4 of 7 images" in note for note in found.notes)
    with pytest.raises(Interrupted, match="stopped before its first images were done"):
        audit(made.SmallNet(), made.noise(), placement=place, stop=lambda: True)


def test_interrupted_by_ctrl_c(made, place, monkeypatch):
    monkeypatch.setattr("shiftscope.evaluation.brute.IMAGES", 2)

    class Keys:
        def task(self, *arguments, **options):
            return self

        def note(self, message):
            pass

        def advance(self, count, **values):
            raise KeyboardInterrupt

        def close(self):
            self.closed = True

    keys = Keys()
    found = audit(made.SmallNet(), made.noise(), placement=place, engine="brute", progress=keys)
    assert found.partial and found.images == 2 and keys.closed


def test_one_image_and_one_placement(made):
    found = audit(made.SmallNet((4, 6)), made.noise(count=1), placement=Placement(image=(4, 6), canvas=(4, 6)))
    assert (found.placements, found.consistency, found.unanimity) == (1, 1, 1)
    assert found.mean_accuracy == found.worst_case_accuracy == found.middle_accuracy
    assert np.array_equal(found.offsets, [[0, 0]]) and found.by_phase["2"][1] == [None, None]
