"""Which engine is chosen, what is said about it, and what happens to one that is wrong."""

import json
import sys

import numpy as np
import pytest
import torch
from torch import nn

from shiftscope.auditing import audit, engines
from shiftscope.auditing.engines import AuditInputs
from shiftscope.dense import NotDense
from shiftscope.dense import engine as engine_module
from shiftscope.errors import ShiftscopeError
from shiftscope.evaluation.brute import BruteForceEngine
from shiftscope.graph import Graph
from shiftscope.layers import PhaseAverage


class Fake:
    """The plain model under the dense engine's name, spoilt by a function of (logits, images seen before)."""

    name, images_per_call = "dense", 3

    def __init__(self, model, placement, shape, spoil):
        self.brute, self.spoil, self.seen = BruteForceEngine(model, placement, shape), spoil, 0

    def logits(self, images):
        self.seen += len(images)
        return self.spoil(self.brute.logits(images), self.seen)


@pytest.fixture
def dense(monkeypatch):
    """Puts an engine of the test's own in the place of the dense one."""
    def put(spoil):
        monkeypatch.setattr(engines, "build_engine", lambda *arguments: Fake(*arguments, spoil))
        monkeypatch.setattr(engines, "_brute_force_seconds", lambda subject: 1e9)
    return put


def refuses(*arguments):
    raise NotDense("conv2", "it pads with zeros")


def breaks(*arguments):
    raise KeyError("stride")


def test_a_correct_engine_is_used(dense, made, place):
    dense(lambda logits, seen: logits + 1e-9)
    found = audit(made.SmallNet(), made.noise(), placement=place)
    assert found.engine == "dense" and "one pass computes all 54 placements" in found.reason
    assert not any("brute force" in note for note in found.notes)
    assert found.self_check["placements"] == 56
    assert found.self_check["max_abs_logit_difference"] == pytest.approx(1e-9, rel=1e-3)


@pytest.mark.parametrize("spoil", [
    lambda logits, seen: logits + 0.01, lambda logits, seen: logits.flip(1),
    lambda logits, seen: logits + (0.01 if seen > 8 else 0), lambda logits, seen: logits * torch.nan])
def test_an_incorrect_engine_is_replaced(spoil, dense, made, place):
    """From the beginning, by a flipped map, or only after the trial, which has 2 x 3 images."""
    dense(spoil)
    model, data = made.SmallNet(), made.noise(count=9)
    found = audit(model, data, placement=place)
    assert found.engine == "brute" and "more than rounding explains" in found.reason
    truth = audit(model, data, placement=place, engine="brute")
    assert (found.predictions == truth.predictions).all() and found.self_check["max_abs_logit_difference"] < 1e-9
    dense(spoil)
    with pytest.raises(ShiftscopeError, match="more than rounding explains"):
        audit(model, data, placement=place, engine="dense")


def test_the_proof_of_invariance_and_the_dense_engine_share_one_export(made, place, monkeypatch):
    exported = []
    module = sys.modules[Graph.__module__]
    export = module.export
    monkeypatch.setattr(module, "export", lambda *arguments: exported.append(1) or export(*arguments))
    assert audit(made.SmallNet(), made.noise(), placement=place).self_check["placements"] == 56
    assert len(exported) == 1


def test_an_engine_that_fails_the_trial_is_not_used(dense, made, place):
    dense(lambda logits, seen: logits + 0.01)
    found = audit(made.SmallNet(), made.noise(count=9), placement=place)
    assert found.engine == "brute" and not any("computed again" in note for note in found.notes)


def test_a_repeated_audit_is_noted(dense, made, place):
    dense(lambda logits, seen: logits + (0.01 if seen > 8 else 0))
    found = audit(made.SmallNet(), made.noise(count=9), placement=place)
    assert any("computed again by brute force" in note for note in found.notes)


@pytest.mark.parametrize(("build", "words"), [(refuses, "the dense engine does not support conv2: it pads with zeros"),
                                              (breaks, "the dense engine raised KeyError: 'stride'")])
def test_the_reason_names_what_the_dense_engine_does_not_support(build, words, monkeypatch, made, place):
    monkeypatch.setattr(engines, "build_engine", build)
    found = audit(made.SmallNet(), made.noise(), placement=place)
    assert found.engine == "brute" and words in found.reason
    with pytest.raises(ShiftscopeError, match=f"engine 'dense' is not possible: {words}; use engine 'auto'"):
        audit(made.SmallNet(), made.noise(), placement=place, engine="dense")


def test_a_slow_engine_is_used_only_on_request(dense, monkeypatch, made, place):
    monkeypatch.setattr(engines, "FAR", float("inf"))
    dense(lambda logits, seen: logits)
    monkeypatch.setattr(engines, "_brute_force_seconds", lambda subject: 0.0001)
    monkeypatch.setattr(engines, "check_engine", lambda engine, check: (check_passed(), 0.001))
    found = audit(made.SmallNet(), made.noise(), placement=place)
    assert found.engine == "brute"
    assert found.reason == (f"brute force, because one pass for all {found.placements} placements of an image is "
                            "slower for this model")
    assert audit(made.SmallNet(), made.noise(), placement=place, engine="dense").engine == "dense"


def check_passed():
    return {"placements": 8, "max_abs_logit_difference": 0.0, "tolerance": 1e-5}


def test_batches_are_halved_when_memory_runs_out(dense, made, place):
    def hungry(logits, seen):
        if len(logits) > 1:
            raise RuntimeError("CUDA out of memory. Tried to allocate 20 GiB")
        return logits

    model, data = made.SmallNet(), made.noise()
    dense(hungry)  # the trial has 3 images: auto gives the engine up
    found = audit(model, data, placement=place)
    assert found.engine == "brute" and "out of memory" in found.reason

    def later(logits, seen):
        return hungry(logits, seen) if seen > 12 else logits

    dense(later)
    found = audit(model, data, placement=place)
    assert found.engine == "dense" and found.images == 7
    assert (found.predictions == audit(model, data, placement=place, engine="brute").predictions).all()


def test_one_image_that_does_not_fit_raises(dense, made, place):
    def never(logits, seen):
        if seen > 12:
            raise torch.OutOfMemoryError("out of memory")
        return logits

    dense(never)
    with pytest.raises(ShiftscopeError, match="dense engine cannot compute one image at all placements"):
        audit(made.SmallNet(), made.noise(), placement=place)


def test_an_incorrect_forward_placed_is_not_used(made, place):
    class Wrong(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = made.SmallNet()

        def forward(self, pixels):
            return self.net(pixels)

        def forward_placed(self, images, offsets, placement):
            return self(placement.place(images, offsets).double() / 255) * 2

    found = audit(Wrong(), made.noise(), placement=place, engine="brute")
    truth = audit(made.SmallNet(), made.noise(), placement=place, engine="brute")
    assert (found.predictions == truth.predictions).all() and np.allclose(found.margins, truth.margins, atol=1e-5)
    assert found.self_check["max_abs_logit_difference"] < 1e-9


def padded_net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 4, 3, padding=1),
                         nn.Tanh(), nn.Flatten(), nn.Linear(4 * 4 * 7, 3)).eval()


def padded_average():
    torch.manual_seed(0)
    return PhaseAverage(nn.Sequential(nn.Conv2d(1, 4, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1),
                                      nn.Flatten(), nn.Linear(4 * 5 * 7, 3)), 2).eval()


@pytest.mark.parametrize("build", [padded_net, padded_average])
def test_a_repeated_choice_shares_the_same_operations(build, made, place, monkeypatch):
    """Whatever the trial of the first process found; the second one measures nothing."""
    trials, inputs = [], AuditInputs(model=build(), images=made.noise(count=40).test, placement=place,
                                     offsets=place.offsets(), sampled=False, seed=0, memory=2**28)
    images = inputs.images.gather(torch.arange(40))
    for count in (2, 4, 100):
        monkeypatch.setattr(engine_module, "best_cut", lambda graph, program, fields, placements, count=count: (
            trials.append(count), min(count, len(fields)))[1])
        first = engines._dense(inputs, "dense", [])
        trials.clear()
        second = engines.repeated_choice(inputs, json.loads(json.dumps(first.settings())))
        assert not trials and second.settings() == first.settings()
        assert first.engine.images_per_call == second.engine.images_per_call
        assert torch.equal(first.engine.logits(images), second.engine.logits(images))


def test_brute_force_needs_no_analysis_of_the_model_in_a_short_audit(made, place, monkeypatch):
    """Except for layers of invariant models, for which the proof is a result."""
    exact = audit(made.SmallNet(), made.noise(), placement=place)
    monkeypatch.setattr(engines, "SHORT", 1e9)
    invariant = PhaseAverage(made.SmallNet((9, 14)), 1)
    assert audit(invariant, made.noise(), placement=place).engine == "dense"
    monkeypatch.setattr("shiftscope.dense.engine.trace", breaks)
    monkeypatch.setattr("shiftscope.dense.invariance_proof.prove.trace", breaks)
    found = audit(made.SmallNet(), made.noise(), placement=place)
    assert found.reason == "brute force, because it takes less time than an analysis of the model"
    assert exact.engine == "dense" and (found.predictions == exact.predictions).all()
    assert found.self_check["placements"] == 8 and np.allclose(found.margins, exact.margins, atol=1e-6)
    with pytest.raises(ShiftscopeError, match="KeyError: 'stride'"):
        audit(made.SmallNet(), made.noise(), placement=place, engine="dense")


def test_a_dense_engine_that_is_far_faster_needs_no_trial_of_brute_force(made, place, monkeypatch):
    monkeypatch.setattr(engines, "_brute_force_seconds", breaks)
    monkeypatch.setattr(engines, "FAR", 0.0)
    assert audit(made.SmallNet(), made.noise(), placement=place).engine == "dense"


@pytest.mark.parametrize(("images", "checked"), [(1, 1), (100, 3), (1000, 32)])
def test_brute_force_compares_half_a_percent_of_its_placements(images, checked, made, place):
    inputs = AuditInputs(model=made.SmallNet(), images=made.noise(count=images).test, placement=place,
                         offsets=place.offsets(), sampled=False, seed=0, memory=2**28)
    assert engines.brute_force(inputs, "").checked_images == checked  # of 8 placements each; 54 placements an image
