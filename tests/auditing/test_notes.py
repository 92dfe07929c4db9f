"""What an audit says about a model: each note where it is true, and only there."""

import random

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from shiftscope.auditing import audit
from shiftscope.auditing.model_checks import mode_dependent_layers
from shiftscope.errors import UsageError, reason_of
from shiftscope.evaluation import evaluate
from shiftscope.evaluation.notes import few_images_notes, low_accuracy_notes, one_class_notes, tie_notes
from shiftscope.metrics import wilson_interval
from shiftscope.placement import Placement

pytestmark = pytest.mark.slow


class Calls(nn.Module):
    """Calls a function of (pixels, *modules)."""

    def __init__(self, function, *modules):
        super().__init__()
        self.function, self.inner = function, nn.ModuleList(modules)

    def forward(self, pixels):
        return self.function(pixels, *self.inner)


def body(classes=3):
    return nn.Sequential(nn.Flatten(), nn.Linear(9 * 14, classes))


HONEST = {
    "softmax over channels": lambda: Calls(lambda x, conv, fc: fc(F.softmax(conv(x), 1).flatten(1)), nn.Conv2d(1, 4, 3),
                                           nn.Linear(4 * 7 * 12, 3)),
    "softmax over rows": lambda: Calls(lambda x, fc: fc(F.softmax(x, 2)), body()),
    "attention": lambda: Calls(lambda x, mha, fc: fc(mha(x[:, 0], x[:, 0], x[:, 0])[0].flatten(1)),
                               nn.MultiheadAttention(14, 2, batch_first=True), nn.Linear(9 * 14, 3)),
    "rnn": lambda: Calls(lambda x, rnn, fc: fc(rnn(x[:, 0])[0][:, -1]), nn.RNN(14, 8, batch_first=True),
                         nn.Linear(8, 3)),
    "lstm": lambda: Calls(lambda x, rnn, fc: fc(rnn(x[:, 0])[0][:, -1]), nn.LSTM(14, 8, batch_first=True),
                          nn.Linear(8, 3)),
    "group norm": lambda: nn.Sequential(nn.Conv2d(1, 8, 3), nn.GroupNorm(2, 8), nn.ReLU(), nn.Flatten(),
                                        nn.Linear(8 * 7 * 12, 3)),
    "instance norm": lambda: nn.Sequential(nn.Conv2d(1, 4, 3), nn.InstanceNorm2d(4, eps=1e-12), nn.ReLU(), nn.Flatten(),
                                           nn.Linear(4 * 7 * 12, 3)),
    "tiny": lambda: Calls(lambda x, fc: 1e-9 * fc(x), body()),
    "huge": lambda: Calls(lambda x, fc: 1e9 * fc(x), body()),
    "far from zero": lambda: Calls(lambda x, fc: fc(x) + 1000, body())}


@pytest.mark.parametrize("name", HONEST)
@pytest.mark.parametrize("engine", ["auto", "brute"])
def test_a_deterministic_model_has_no_doubts(name, engine, made, place):
    torch.manual_seed(0)
    found = audit(HONEST[name](), made.noise(count=10), placement=place, engine=engine)
    said = " ".join([*found.notes, found.reason])
    for words in ("draws random", "different outputs", "always", "train mode", "keeps state", "influence"):
        assert words not in said, said


def test_amplified_rounding_is_noted(made, place):
    """A difference of two large numbers loses its digits: in float64 it does not."""
    def loses_digits(x, fc):
        return (3e4 + fc(x)) - 3e4 + 0.5 * (x.mean((1, 2, 3), keepdim=False)[:, None] - len(x) * 1e-4)

    def rounds_by_batch(x, fc):  # what another summation order does, in float32 only
        return fc(x) * (1 + 100 * torch.finfo(x.dtype).eps * len(x))

    torch.manual_seed(0)
    found = audit(Calls(rounds_by_batch, body()), made.noise(count=10), placement=place, engine="brute")
    assert not any("influence" in note or "always" in note for note in found.notes)
    assert any("amplifies rounding" in note for note in found.notes)
    other = audit(Calls(loses_digits, body()), made.noise(count=10), placement=place, engine="brute")
    assert any("influence each other" in note for note in other.notes)  # the batch's size is in the result


@pytest.mark.parametrize(("layer", "changes"), [
    (nn.Dropout(0.3), ["Dropout"]), (nn.Dropout(0.0), []), (nn.BatchNorm1d(9 * 14), ["BatchNorm1d"]),
    (nn.BatchNorm1d(9 * 14, track_running_stats=False), []), (nn.LayerNorm(9 * 14), []), (nn.Identity(), []),
    (nn.ReLU(), []), (nn.RReLU(), ["RReLU"])])
def test_train_mode_is_noted_if_it_has_an_effect(layer, changes, made, place):
    model = nn.Sequential(nn.Flatten(), layer, nn.Linear(9 * 14, 3)).train()
    assert mode_dependent_layers(model) == changes
    found = audit(model, made.noise(), placement=place)
    noted = [note for note in found.notes if "was in train mode" in note]
    assert bool(noted) == bool(changes) and all(changes[0] in note for note in noted)
    assert model.training
    assert not any("train mode" in note for note in audit(model.eval(), made.noise(), placement=place).notes)


def test_mode_dependent_custom_layers_and_torchscript():
    class Own(nn.Module):
        def forward(self, x):
            return F.dropout(x, 0.5, self.training)

    class Plain(nn.Module):
        def forward(self, x):
            return x

    assert mode_dependent_layers(nn.Sequential(Own(), Plain(), nn.LSTM(3, 4), nn.TransformerEncoderLayer(4, 2))) == [
        "Dropout", "MultiheadAttention", "Own", "TransformerEncoderLayer"]
    scripted = torch.jit.script(nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5)))
    assert mode_dependent_layers(scripted) == ["Dropout"]


class OwnPolyphase(nn.Module):
    """Keeps the strongest of four components by argmax of float32 norms, as published code does."""

    def forward(self, x):
        parts = torch.stack([x[:, :, i::2, j::2] for i in (0, 1) for j in (0, 1)], 1)
        best = (1.00000012 * parts).pow(2).flatten(2).sum(2).argmax(1)
        return parts[torch.arange(len(x)), best]


def close_pictures(count=12):
    """Two components with the same sum of squares, but for the order in which they are summed."""
    draw, images = np.random.default_rng(0), np.zeros((count, 1, 8, 8), np.uint8)
    for image in images[:, 0]:
        values = draw.integers(1, 256, 16)
        image[0::2, 0::2], image[1::2, 1::2] = values.reshape(4, 4), draw.permutation(values).reshape(4, 4)
    return torch.from_numpy(images)


def test_a_selection_that_rounding_decides_is_noted(made):
    torch.manual_seed(0)
    net = nn.Sequential(OwnPolyphase(), nn.Conv2d(1, 8, 3, padding=1, padding_mode="circular"), nn.ReLU(),
                        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3))
    place, images = Placement(image=(8, 8), canvas=(16, 16)), close_pictures()
    with torch.no_grad():
        net[5].weight *= 1000
        net[5].bias -= net(place.place(images, place.centered(len(images))) / 255).mean(0)  # no class wins always
    found = audit(net, made.dataset(images, [0, 1, 2] * 4), placement=place)
    assert found.consistency < 1  # the very fault: a shift changes the prediction
    assert any("computed again in float64 change" in note and "a selection within the model" in note
               for note in found.notes)
    distinct = made.noise(count=12, shape=(1, 8, 8))
    assert not any("float64" in note for note in audit(net, distinct, placement=place).notes)


def test_the_reason_for_a_single_placement(made):
    place = Placement(image=(9, 14), canvas=(9, 14))
    model = body()
    found = audit(model, made.noise(count=3, shape=(1, 9, 14)), placement=place)
    assert found.engine == "brute" and found.reason == (
        "brute force, because there is a single placement")
    asked = audit(model, made.noise(count=3, shape=(1, 9, 14)), placement=place, engine="dense")
    assert asked.engine == "dense" and (asked.predictions == found.predictions).all()


def test_the_reason_reports_no_time_of_a_trial(made, place):
    found = audit(body(), made.noise(), placement=place)
    assert found.reason == "one pass computes all 54 placements of an image"


@pytest.mark.parametrize(("text", "kept"), [
    ("aten::foo is missing.\nPlease file an issue at https://github.com/pytorch/pytorch", "aten::foo is missing"),
    ("INTERNAL ASSERT FAILED at x.cpp:3, please report a bug to PyTorch. unknown type", "unknown type"),
    ("\x1b[31mcannot\x1b[0m trace\n\nSet TORCH_LOGS=+export for more.", "cannot trace"), ("", "no reason given")])
def test_advice_of_other_libraries_is_removed(text, kept):
    assert reason_of(RuntimeError(text)) == kept


def test_advice_of_torch_is_removed_from_a_reason(made, place, monkeypatch):
    def raises(*arguments):
        raise RuntimeError("no kernel for this. Please file an issue on GitHub.")

    monkeypatch.setattr("shiftscope.auditing.engines.build_engine", raises)
    found = audit(body(), made.noise(), placement=place)
    assert "no kernel for this" in found.reason and "file an issue" not in found.reason


@pytest.mark.parametrize(("hits", "count", "classes", "said"), [
    (0, 2, 10, False), (1, 2, 2, False), (100, 1000, 10, True), (20, 40, 2, True), (0, 3, 10, False), (0, 40, 4, True),
    (700, 1000, 10, False)])
def test_near_chance_requires_enough_images(hits, count, classes, said):
    assert bool(low_accuracy_notes(hits / count, wilson_interval(hits, count), classes)) == said


def test_few_images_ties_and_one_class():
    assert few_images_notes(99) and not few_images_notes(100)
    assert tie_notes(0, 1, 1000, 1e-5) == tie_notes(1, 0, 1000, 1e-5) == []
    exact, near = tie_notes(2, 3, 1000, 1e-5)
    assert "2 of 1,000 predictions are exact ties" in exact and "differ by at most 1e-05" in near
    labels, names = np.array([0, 1, 1]), ("cat", "dog")
    assert one_class_notes(np.array([[1, 1], [1, 1], [1, 1]]), labels, names)
    assert not one_class_notes(np.array([[1, 1], [1, 0], [1, 1]]), labels, names)
    assert not one_class_notes(np.array([1, 1]), np.array([1, 1]), names)  # there is one class only
    assert not one_class_notes(np.array([255, 255, 255]), labels, names)
    assert not one_class_notes(np.array([-1, -1]), labels, names)


class Draws(nn.Module):
    """Draws from all three generators, in eval mode."""

    def forward(self, pixels):
        torch.manual_seed(int(1000 * torch.rand(1)))  # a model may do this as well
        return pixels.new_tensor([[random.random(), np.random.rand(), float(torch.rand(1))]]).repeat(len(pixels), 1)


@pytest.mark.parametrize("judge", [audit, evaluate])
def test_generators_are_seeded_and_restored(judge, made, place):
    def states():
        return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()

    model = Calls(lambda x, fc: fc(x) if len(x) == 2 else 1 / 0, body())
    before = states()
    first, again, other = (judge(Draws(), made.noise(), placement=place, seed=seed) for seed in (3, 3, 4))
    assert states() == before
    labels = [found.predictions if judge is audit else found.confidence for found in (first, again, other)]
    assert (labels[0] == labels[1]).all() and (labels[0] != labels[2]).any()
    with pytest.raises(UsageError, match="Calls raised ZeroDivisionError in <lambda>.*: correct the model there"):
        judge(model, made.noise(), placement=place, seed=3)
    assert states() == before
