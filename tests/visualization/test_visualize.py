import contextlib

import numpy as np
import pytest
import torch
from torch import nn

import shiftscope
from shiftscope.errors import ShiftscopeError, UsageError
from shiftscope.results import Synthesis
from shiftscope.settings import PLAIN_ASCENT, SynthesisSettings
from shiftscope.visualization import class_weights, default_objectives, objective, parameter_rows, visualize

FEW = SynthesisSettings(steps=6)


def state_of(model):
    return ([module.training for module in model.modules()],
            [(p.requires_grad, p.grad, p.data_ptr(), p.stride()) for p in model.parameters()],
            [len(module._forward_hooks) for module in model.modules()], torch.random.get_rng_state().tolist())


@pytest.mark.parametrize("goal", ["class:all", "fc1:0-6"])
def test_every_unit_is_excited_by_its_own_picture(perceptron, convnet, goal):
    for model in (perceptron, convnet):
        found = visualize(model, goal)
        assert found.images.shape == (len(found.units), *model.picture) and found.images.dtype == np.float32
        assert found.images.min() >= 0 and found.images.max() <= 1
        assert (found.activations > found.activations_start).all()


def test_reached_activations_are_those_of_the_pictures(convnet):
    found = visualize(convnet, "conv2:0-4", settings=FEW)
    convnet.eval()
    with torch.no_grad():
        pixels = torch.from_numpy(found.images)
        pooled = nn.functional.relu(nn.functional.max_pool2d(convnet.conv1(convnet.normalise(pixels)), 2))
        expected = convnet.conv2(pooled).mean((2, 3)).diagonal()
        outputs = convnet(pixels).softmax(1)
    np.testing.assert_allclose(found.activations, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.confidence, outputs.max(1).values, rtol=1e-4)
    assert found.predictions.tolist() == outputs.argmax(1).tolist()


def test_plain_neuron_pictures_resemble_the_weights(perceptron):
    found = visualize(perceptron, "fc1:all", start="zero", settings=PLAIN_ASCENT)
    moved = torch.from_numpy(found.images).flatten(1) - 0.5
    cosines = torch.cosine_similarity(moved, perceptron.fc1.weight.detach())
    assert float(cosines.median()) > 0.8


@pytest.fixture
def trained(request):
    """The trained models of the examples, by name."""
    folder = request.config.rootpath / "examples" / "checkpoints"
    if not folder.is_dir():
        pytest.skip(f"needs the trained models in {folder}, which an installed package lacks")
    return lambda name: shiftscope.load(folder / name)


@pytest.mark.parametrize("name", ["two-full", "two-conv"])
def test_class_pictures_of_trained_models_are_taken_for_their_class(trained, name):
    assert visualize(trained(name), "class:all").predictions.tolist() == list(range(10))


def test_plain_neuron_pictures_resemble_trained_weights(trained):
    model = trained("two-full")
    found = visualize(model, "fc1:all", settings=PLAIN_ASCENT)
    moved = torch.from_numpy(found.images).flatten(1) - 0.5
    assert found.start == "zero"
    assert float(torch.cosine_similarity(moved, model.fc1.weight.detach()).median()) > 0.9


def test_chunks_and_batches_change_nothing(convnet, monkeypatch):
    model = convnet.double()
    whole = visualize(model, "fc1:0-4", settings=FEW, start="random")
    monkeypatch.setattr("shiftscope.visualization.synthesize.CHUNK_PIXELS", {"cpu": 2 * 3 * 20 * 24, "gpu": 1})
    parts = visualize(model, "fc1:0-4", settings=FEW, start="random")
    np.testing.assert_allclose(whole.images, parts.images, rtol=0, atol=1e-7)


def test_the_channels_last_layout_changes_nothing_that_matters(convnet, monkeypatch):
    model = convnet.double()
    fast = visualize(model, "class:all", settings=FEW, start="random")  # where maxima are not tied
    monkeypatch.setattr("shiftscope.visualization.synthesize._Climber.takes_channels_last", lambda self, z0: False)
    usual = visualize(model, "class:all", settings=FEW, start="random")
    np.testing.assert_allclose(fast.images, usual.images, rtol=0, atol=1e-6)


class Viewer(nn.Module):
    """Flattens with `view`, which another memory layout makes impossible."""

    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(1, 2, 3), nn.Linear(2 * 4 * 5, 3)

    def forward(self, x):
        x = self.conv(x)
        return self.head(x.view(len(x), -1))


def test_a_model_with_views_of_its_own():
    found = visualize(Viewer(), "conv:all", shape=(1, 6, 7), settings=FEW)
    assert (found.activations > found.activations_start).all()


@pytest.mark.parametrize("call", [
    lambda model: visualize(model, "class:all", settings=FEW),
    lambda model: visualize(model, "fc1:999", settings=FEW),
    lambda model: visualize(model, "class:0", start=np.zeros((3, 3)), settings=FEW),
])
def test_the_model_is_left_as_it_was(convnet, call):
    convnet.train()
    convnet.conv2_drop.eval()
    convnet.fc2.weight.requires_grad_(False)
    before = state_of(convnet)
    with contextlib.suppress(UsageError):
        call(convnet)
    assert state_of(convnet) == before


class Raising(nn.Module):
    """Raises at the n-th forward pass."""

    def __init__(self, error, at):
        super().__init__()
        self.head, self.error, self.left = nn.Linear(12, 3), error, at

    def forward(self, x):
        self.left -= 1
        if self.left == 0:
            raise self.error
        return self.head(x.flatten(1))


@pytest.mark.parametrize("error", [RuntimeError("mine"), KeyError("mine"), KeyboardInterrupt()])
@pytest.mark.parametrize("at", [1, 3, 6])
def test_errors_of_the_model_come_through_and_leave_no_trace(error, at):
    model = Raising(error, at).train()
    before = state_of(model)
    with pytest.raises(type(error)) as caught:
        visualize(model, "head:all", shape=(1, 3, 4), settings=FEW)
    assert caught.value is error or str(caught.value) == str(error)
    assert state_of(model) == before


def test_a_dead_relu_unit_wakes_up_and_is_not_grey():
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 2), nn.ReLU(), nn.Linear(2, 2))
    with torch.no_grad():
        model[1].weight[0] = torch.linspace(-1, 1, 12)
        model[1].bias[0] = -0.5  # silent on grey
    settings = SynthesisSettings(jitter=0, blur=0.0)
    found = visualize(model, "2:0", shape=(1, 3, 4), start="zero", settings=settings)
    assert found.activations_start[0] == 0 and found.activations[0] > 1 and not found.notes


def test_units_that_nothing_excites_are_counted():
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 2), nn.Linear(2, 2))
    with torch.no_grad():
        model[1].weight[0], model[1].bias[0] = 0, -1
    found = visualize(model, "1:all", shape=(1, 3, 4), settings=FEW)
    assert found.notes[0].startswith("1 of 2 units stay at or below zero") or found.activations[1] <= 0


class Cut(nn.Module):
    def forward(self, x):
        return x.detach().flatten(1)


def test_a_score_that_does_not_depend_on_the_picture():
    with pytest.raises(UsageError, match="class:0 does not depend on the picture: the model cuts the gradient"):
        visualize(Cut(), "class:0", shape=(1, 3, 4))


def test_weights_that_are_not_finite_are_said():
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 2))
    with torch.no_grad():
        model[1].weight[0, 0] = torch.nan
    with pytest.raises(ShiftscopeError, match="the pictures of class:0 are not finite"):
        visualize(model, "class:0", shape=(1, 3, 4), settings=FEW)


def test_models_that_want_normalised_pixels(perceptron):
    bare = nn.Sequential(nn.Flatten(), perceptron.fc1, nn.ReLU(), perceptron.fc2)
    found = visualize(bare, "1:all", shape=perceptron.picture, normalize=(0.1307, 0.3081), settings=FEW, start="zero")
    expected = visualize(perceptron, "fc1:all", settings=FEW, start="zero")
    np.testing.assert_allclose(found.images, expected.images, atol=1e-5)


def test_differences_of_units(perceptron):
    goal = objective("fc1:3") - objective("fc1:4")
    found = visualize(perceptron, goal, settings=PLAIN_ASCENT)
    weights = (perceptron.fc1.weight[3] - perceptron.fc1.weight[4]).detach()
    assert found.units == ["fc1:3 - fc1:4"]
    moved = torch.from_numpy(found.images).flatten(1)[0] - 0.5
    assert float(torch.cosine_similarity(moved, weights, dim=0)) > 0.8


def test_starts_chosen_for_the_caller(convnet):
    assert visualize(convnet, "conv1:0", settings=FEW).start == "zero"
    assert visualize(convnet, "fc1:0", settings=FEW).start == "black"
    assert visualize(convnet, "class:0", settings=FEW).start == "black"
    assert visualize(convnet, "class:0", settings=FEW, start=np.zeros((3, 20, 24))).start == "image"


def test_half_precision(perceptron):
    found = visualize(perceptron.bfloat16(), "fc1:all", settings=FEW)
    assert found.images.dtype == np.float32 and (found.activations > found.activations_start).all()


def test_the_record_saves_and_loads(perceptron, tmp_path):
    found = visualize(perceptron, "class:Bag", class_names=["Bag", "b", "c", "d"], settings=FEW, name="mine")
    found.save(tmp_path)
    again = Synthesis.load(tmp_path)
    assert again.to_dict() == found.to_dict() and again.model == "mine" and again.units == ["class:Bag"]
    np.testing.assert_array_equal(again.images, found.images)


def test_what_to_see_first(perceptron, foreign):
    assert default_objectives(perceptron) == ["class:all", "fc1:all"]
    assert default_objectives(foreign, (1, 6, 7)) == ["class:all"]
    wide = nn.Sequential(nn.Flatten(), nn.Linear(4, 200), nn.Linear(200, 2))
    assert default_objectives(wide, (1, 2, 2)) == ["class:all", "1:0-99"]


def test_the_public_name():
    assert shiftscope.visualize is visualize


def test_parameter_table_is_what_numpy_says(convnet):
    rows = {row.name: row for row in parameter_rows(convnet)}
    values = convnet.conv2.weight.detach().double().numpy()
    row = rows["conv2.weight"]
    assert (row.shape, row.count) == ((30, 5, 5, 5), 3750)
    np.testing.assert_allclose((row.mean, row.deviation, row.norm),
                               (values.mean(), values.std(), np.linalg.norm(values)), rtol=1e-9)
    assert sum(row.count for row in rows.values()) == sum(p.numel() for p in convnet.parameters())


def test_class_weights_are_the_last_layer_that_fits(perceptron):
    weights, bias = class_weights(perceptron, neurons=12, classes=4) or (None, None)
    assert torch.equal(weights, perceptron.fc2.weight) and torch.equal(bias, perceptron.fc2.bias)
    assert class_weights(perceptron, neurons=11, classes=4) is None
