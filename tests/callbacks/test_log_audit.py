import random
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import shiftscope
from shiftscope import TrainSettings
from shiftscope.callbacks import epoch_audit, log_audit
from shiftscope.distributed.group import Group, use_group
from shiftscope.errors import ShiftscopeError, UsageError

from .conftest import PLACE

NAMES = {f"audit/{name}" for name in ("mean_accuracy", "worst_case_accuracy", "consistency", "seconds")}


def reference(model, images, offsets):
    """Return mean accuracy, worst case and consistency, one canvas at a time and with a loop over classes."""
    correct, pairs = [], []
    for image, label in zip(images.images, images.labels.tolist(), strict=True):
        found = []
        for dy, dx in offsets.tolist():
            canvas = torch.zeros(1, 1, 9, 9)
            canvas[0, 0, dy:dy + 6, dx:dx + 5] = image[0].float() / 255
            found.append(int(model(canvas).argmax()))
        correct.append([one == label for one in found])
        pairs.append(np.mean([a == b for a in found for b in found]))
    return np.mean(correct), np.mean(np.all(correct, axis=1)), np.mean(pairs)


@pytest.mark.parametrize("kind", ["net", "branching"])
def test_metrics_match_a_reference(kind, request, data):
    model, logged = request.getfixturevalue(kind), []
    found = log_audit(model, data, split="test", images=90, placement=PLACE, epoch=4, prefix="shift",
                      to=lambda metrics, epoch: logged.append((metrics, epoch)))
    (metrics, epoch), = logged
    expected = reference(model.eval(), data.test, PLACE.offsets())
    assert epoch == 4 and set(metrics) == {name.replace("audit", "shift") for name in NAMES}
    assert [metrics[f"shift/{name}"] for name in epoch_audit.METRICS] == pytest.approx(expected, abs=1e-9)
    assert 0 < expected[1] < expected[0] < 1 and (found.images, found.placements, found.sampled) == (90, 20, False)


def test_images_are_a_fixed_random_subset_of_the_split(net, data):
    audits = [log_audit(net, data, split="test", images=30, placement=PLACE, epoch=epoch) for epoch in (0, 1)]
    assert np.array_equal(audits[0].predictions, audits[1].predictions)
    counts = np.bincount(audits[0].labels, minlength=3)
    assert counts.sum() == 30 and counts.min() >= 4  # the first 30 images are of one class
    other = log_audit(net, data, split="test", images=30, placement=PLACE, seed=1)
    assert not np.array_equal(other.labels, audits[0].labels)


def test_splits_are_those_of_train(net, data):
    audits = {split: log_audit(net, data, split=split, images=150, placement=PLACE, validation=25)
              for split in ("train", "validation", "test")}
    assert {split: (found.split, found.images) for split, found in audits.items()} == {
        "train": ("train", 125), "validation": ("validation", 25), "test": ("test", 90)}
    assert np.array_equal(audits["validation"].labels, data.split(25)[1].labels.numpy())


def test_placements_are_sampled_if_the_model_would_be_evaluated_too_often(branching, data):
    shots = [log_audit(branching, data, split="test", images=40, evaluations=200, placement=PLACE) for _ in (0, 1)]
    assert [(one.images, one.placements, one.sampled, one.engine) for one in shots] == [(40, 5, True, "brute")] * 2
    assert np.array_equal(shots[0].offsets, shots[1].offsets) and np.array_equal(shots[0].predictions,
                                                                                 shots[1].predictions)
    assert PLACE.middle in [tuple(offset) for offset in shots[0].offsets.tolist()]
    exact = log_audit(branching, data, split="test", images=40, evaluations=800, placement=PLACE)
    assert not exact.sampled and exact.placements == 20


def test_the_cost_is_bounded(branching, data):
    """The canvases of the audit, and at most 1,500 for the checks and trials that every audit makes."""
    log_audit(branching, data, split="test", images=90, evaluations=90, placement=PLACE)  # the dense engine is tried
    counts = []
    for evaluations in (90, 450, 900):
        branching.__class__.canvases = 0
        log_audit(branching, data, split="test", images=90, evaluations=evaluations, placement=PLACE)
        counts.append(branching.canvases - evaluations)
    assert max(counts) <= 1500, counts


def test_the_dense_engine_computes_all_placements_whatever_the_limit(net, data):
    found = log_audit(net, data, split="test", images=90, evaluations=90, placement=PLACE)
    assert (found.engine, found.placements, found.sampled) == ("dense", 20, False)


def test_the_dense_engine_is_tried_once_per_model(branching, data, monkeypatch):
    asked, audit = [], epoch_audit._audit_alone
    monkeypatch.setattr(epoch_audit, "_audit_alone",
                        lambda *args, **options: (asked.append(options["engine"]), audit(*args, **options))[1])
    for epoch in range(3):
        log_audit(branching, data, split="test", images=20, evaluations=40, placement=PLACE, epoch=epoch)
    assert asked == ["dense", "brute", "brute", "brute"]
    with pytest.raises(ShiftscopeError, match="engine 'dense' is not possible"):
        log_audit(branching, data, split="test", images=20, evaluations=40, placement=PLACE, engine="dense")


def state(model):
    values = [value.clone() for value in model.state_dict().values()]
    grads = [parameter.grad.clone() for parameter in model.parameters()]
    modes = [module.training for module in model.modules()]
    return values + grads + [torch.tensor(modes), torch.get_rng_state(), torch.tensor(np.random.get_state()[1].copy())]


@pytest.mark.parametrize("kind", ["net", "branching"])
def test_the_model_and_the_generators_are_left_as_they_were(kind, request, data):
    model = request.getfixturevalue(kind).train()
    model[1].eval()  # frozen batch norm
    model(torch.rand(4, 1, 9, 9)).sum().backward()
    before, python = state(model), random.getstate()
    log_audit(model, data, split="test", images=20, evaluations=40, placement=PLACE)
    assert all(torch.equal(a, b) for a, b in zip(before, state(model), strict=True)) and random.getstate() == python
    assert torch.is_grad_enabled() and not model[1].training and model[3].training
    with pytest.raises(UsageError):
        log_audit(model, data, split="test", images=20, placement=PLACE, output_type="scores")
    assert all(torch.equal(a, b) for a, b in zip(before, state(model), strict=True))


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_it_works_without_gradients(mode, net, data):
    expected = log_audit(net, data, split="test", images=20, placement=PLACE)
    with mode():
        found = log_audit(net, data, split="test", images=20, placement=PLACE)
    assert np.array_equal(found.predictions, expected.predictions)


def test_training_is_the_same_with_and_without(data):
    seen = []
    with_audit = _trained(data, lambda model: lambda record: seen.append(
        (record["epoch"], log_audit(model, data, split="validation", placement=PLACE, epoch=record["epoch"]))))
    history, weights = _trained(data, lambda model: None)
    assert with_audit[0] == history and torch.equal(with_audit[1], weights)
    assert [epoch for epoch, _ in seen] == [1, 2, 3] and {found.images for _, found in seen} == {30}
    assert len({found.mean_accuracy for _, found in seen}) > 1


def _trained(data, callback):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(81, 16), nn.ReLU(), nn.Dropout(0.1), nn.Linear(16, 3))
    settings = TrainSettings(epochs=3, batch_size=20, learning_rate=0.01)
    result = shiftscope.train(model, data, placement=PLACE, settings=settings, on_epoch=callback(model))
    return result.history, torch.cat([value.flatten() for value in model.state_dict().values()])


def test_only_the_first_process_audits_and_alone(net, data):
    with use_group(Group(rank=1, size=2)):
        assert log_audit(net, data, split="test", placement=PLACE, to=print) is None
    with use_group(Group(rank=0, size=2)):  # without torch.distributed any exchange would fail
        assert log_audit(net, data, split="test", placement=PLACE, images=10).images == 10


@pytest.mark.parametrize("dense", [True, False])
def test_ctrl_c_ends_the_training_loop(net, branching, data, dense, monkeypatch):
    model = net if dense else branching
    log_audit(model, data, split="test", placement=PLACE, evaluations=200)
    original = nn.Linear.forward
    calls = []

    def interrupted(self, x):
        calls.append(1)
        if len(calls) > 30:
            raise KeyboardInterrupt
        return original(self, x)

    monkeypatch.setattr(nn.Linear, "forward", interrupted)
    with pytest.raises(KeyboardInterrupt):
        for _ in range(40):
            log_audit(model, data, split="test", placement=PLACE, images=90, evaluations=90 * 20, memory=20_000)


@pytest.mark.parametrize("options, message", [
    ({"to": 3}, r"to must be a SummaryWriter, a run of Weights & Biases, a function \(metrics, epoch\), or a list of "
                "these, got 3"),
    ({"to": [print, None]}, "got None"), ({"to": "tb"}, "got 'tb'"),
    ({"to": sys}, "the module 'sys' without an active run"),
    ({"epoch": -1}, "epoch must be an integer of at least 0, got -1"), ({"epoch": 1.0}, "epoch must be an integer"),
    ({"images": 0}, "images must be an integer of at least 1, got 0"), ({"images": True}, "images must be an integer"),
    ({"evaluations": 0}, "evaluations must be an integer of at least 1"),
    ({"images": 50, "evaluations": 49}, "evaluations must be at least the number of images, 50, got 49"),
    ({"split": "val"}, "split"), ({"engine": "fast"}, "engine"),
    ({"placement": shiftscope.Placement(image=(6, 5), canvas=(8, 8))}, "canvas|8 x 8|shape")])
def test_bad_inputs_are_refused(net, data, options, message):
    with pytest.raises(ShiftscopeError, match=message) as caught:
        log_audit(net, data, **{"split": "test", "placement": PLACE} | options)
    assert len(str(caught.value)) < 400 and "\n" not in str(caught.value)


def test_undefined_metrics_are_not_logged(net, data):
    found = log_audit(net, data, split="test", images=10, placement=PLACE)
    assert set(epoch_audit.metrics_of(replace(found, mean_accuracy=float("nan"), worst_case_accuracy=None), "audit")
               ) == {"audit/consistency", "audit/seconds"}


def test_lightning_is_imported_only_for_its_callback():
    script = ("import sys, shiftscope.callbacks as c; print([n for n in ('lightning', 'pytorch_lightning', 'wandb', "
              "'tensorboard') if n in sys.modules], callable(c.log_audit))")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[] True\n"
    with pytest.raises(AttributeError, match="has no attribute 'AuditCalback'"):
        shiftscope.callbacks.AuditCalback  # noqa: B018


def test_missing_lightning_is_reported(data):
    script = ("import sys\nsys.modules['lightning'] = sys.modules['pytorch_lightning'] = None\n"
              "from shiftscope.callbacks import AuditCallback\nfrom shiftscope.errors import UsageError\n"
              "try:\n    AuditCallback(None, split='test')\nexcept UsageError as error:\n    print(error)")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.stderr == "" and "needs Lightning" in done.stdout and "pip install lightning" in done.stdout
