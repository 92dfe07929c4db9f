import contextlib

import numpy as np
import pytest
import torch
from torch import nn

import shiftscope
from shiftscope.data import TensorImages
from shiftscope.errors import ShiftscopeError, UsageError
from shiftscope.hooks import frozen
from shiftscope.placement import Placement
from shiftscope.progress import SilentProgress
from shiftscope.results import Synthesis
from shiftscope.settings import PLAIN_ASCENT, SynthesisSettings
from shiftscope.visualization import (
    class_weights,
    default_objectives,
    diversity,
    match,
    objective,
    parameter_rows,
    visualize,
)
from shiftscope.visualization.feature_extractor import FeatureExtractor, batch_size_for
from shiftscope.visualization.model_info import inspect_model
from shiftscope.visualization.objective_terms import gram_diversity
from shiftscope.visualization.presets import resolve_settings
from shiftscope.visualization.synthesis import make_plan, maximize
from shiftscope.visualization.targets import resolve_objective

FEW = SynthesisSettings(steps=6)


def state_of(model):
    return ([module.training for module in model.modules()],
            [(p.requires_grad, p.grad, p.data_ptr(), p.stride()) for p in model.parameters()],
            [len(module._forward_hooks) for module in model.modules()], torch.random.get_rng_state().tolist())


@pytest.mark.parametrize("goal", ["class:all", "fc1:0-6"])
def test_each_image_increases_the_activation_of_its_unit(perceptron, convnet, goal):
    for model in (perceptron, convnet):
        result = visualize(model, goal)
        assert result.images.shape == (len(result.units), *model.input_shape) and result.images.dtype == np.float32
        assert result.images.min() >= 0 and result.images.max() <= 1
        assert (result.activations > result.activations_start).all()


def test_activations_match_a_forward_pass(convnet):
    result = visualize(convnet, "conv2:0-4", settings=FEW)
    convnet.eval()
    with torch.no_grad():
        pixels = torch.from_numpy(result.images)
        pooled = nn.functional.relu(nn.functional.max_pool2d(convnet.conv1(convnet.normalize(pixels)), 2))
        expected = convnet.conv2(pooled).mean((2, 3)).diagonal()
        outputs = convnet(pixels).softmax(1)
    np.testing.assert_allclose(result.activations, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(result.confidence, outputs.max(1).values, rtol=1e-4)
    assert result.predictions.tolist() == outputs.argmax(1).tolist()


def test_plain_ascent_of_neurons_resembles_their_weights(perceptron):
    result = visualize(perceptron, "fc1:all", start="zero", settings=PLAIN_ASCENT)
    moved = torch.from_numpy(result.images).flatten(1) - 0.5
    cosines = torch.cosine_similarity(moved, perceptron.fc1.weight.detach())
    assert float(cosines.median()) > 0.8


@pytest.fixture
def trained(request):
    """The trained models of the examples, by name."""
    folder = request.config.rootpath / "examples" / "checkpoints"
    if not folder.is_dir():
        pytest.skip(f"needs the trained models in {folder}, which an installed package lacks")
    return lambda name: shiftscope.load(folder / name)


def test_class_images_of_the_convnet_exceed_real_images(trained, fashion_mnist_dir):
    data = shiftscope.load_dataset("fashion-mnist", data_dir=fashion_mnist_dir)
    placement, model = Placement(image=(28, 28), canvas=(56, 56)), trained("two-conv")
    result, indices = visualize(model, "class:all", placement=placement), torch.arange(600)
    canvases = placement.place(data.test.gather(indices), placement.sample(indices, seed=1)).float() / 255
    with torch.no_grad(), frozen(model):
        real = FeatureExtractor(model, torch.float32)(canvases, [])["class"].amax(0).numpy()
    assert (result.activations > real).sum() >= 9
    assert result.images[:, :, :10].max() < 0.1  # one garment on a dark canvas


@pytest.mark.parametrize("name", ["two-full", "two-conv"])
def test_class_images_of_trained_models_are_classified_correctly(trained, name):
    assert visualize(trained(name), "class:all").predictions.tolist() == list(range(10))


def test_plain_ascent_of_neurons_resembles_trained_weights(trained):
    model = trained("two-full")
    result = visualize(model, "fc1:all", settings=PLAIN_ASCENT)
    moved = torch.from_numpy(result.images).flatten(1) - 0.5
    assert result.start == "zero"
    assert float(torch.cosine_similarity(moved, model.fc1.weight.detach()).median()) > 0.9


PER_UNIT = [("convnet", "fc1:0-4", {}), ("convnet", "class:all", {}), ("perceptron", "fc1:all", {}),
            ("perceptron", "class:all", {}), ("convnet", "conv2:3-6", {"start": "black"})]


@pytest.mark.parametrize("name, goal, given", PER_UNIT)
def test_batch_matches_single_units(name, goal, given, request):
    model = request.getfixturevalue(name).double()
    together = visualize(model, goal, settings=SynthesisSettings(steps=12, patience=3), **given)
    for row, unit in enumerate(together.units):
        alone = visualize(model, unit, settings=SynthesisSettings(steps=12, patience=3), **given)
        np.testing.assert_allclose(together.images[row], alone.images[0], rtol=0, atol=1e-7)  # stored in float32
        assert together.steps[row] == alone.steps[0]


def test_float64_batches_differ_by_rounding_only(convnet):
    probes = []
    model = convnet.double()
    info = inspect_model(model, convnet.input_shape)
    target = resolve_objective(objective("fc1:0-4"), info)
    chosen = resolve_settings(SynthesisSettings(), info.shape)
    todo = make_plan(target, chosen, info, start="black", device=torch.device("cpu"),
                                dtype=torch.float64)
    with frozen(model):
        for rows in (torch.arange(5), *torch.arange(5).split(1)):
            made = maximize(FeatureExtractor(model, torch.float64), todo, rows, SilentProgress().task("", 0))
            probes.append(made["images"])
    torch.testing.assert_close(probes[0], torch.cat(probes[1:]), rtol=0, atol=1e-9)


@pytest.mark.parametrize("name, goal", [("convnet", "fc1:0-4"), ("perceptron", "fc1:all")])
def test_float32_batch_is_close_to_single_units(name, goal, request):
    model = request.getfixturevalue(name)
    for steps, of_pixels in ((1, 1e-5), (20, None)):
        together = visualize(model, goal, settings=SynthesisSettings(steps=steps))
        for row, unit in enumerate(together.units):
            alone = visualize(model, unit, settings=SynthesisSettings(steps=steps))
            if of_pixels:
                np.testing.assert_allclose(together.images[row], alone.images[0], rtol=0, atol=of_pixels)
            np.testing.assert_allclose(together.activations[row], alone.activations[0], rtol=0.01)


def test_results_do_not_depend_on_the_batch_size(convnet, monkeypatch):
    model = convnet.double()
    whole = visualize(model, "fc1:0-4", settings=FEW)
    monkeypatch.setattr("shiftscope.visualization.synthesis.batch_size_for", lambda *arguments: 2)
    parts = visualize(model, "fc1:0-4", settings=FEW)
    np.testing.assert_allclose(whole.images, parts.images, rtol=0, atol=1e-7)


def test_batch_size_fits_into_the_given_memory(convnet):
    info = inspect_model(convnet, convnet.input_shape)
    lengths = [batch_size_for(info, 1, torch.float32, torch.device("cpu"), memory) for memory in (1, 2, 64)]
    assert 1 <= lengths[0] < lengths[1] < lengths[2]
    assert batch_size_for(info, 3, torch.float32, torch.device("cpu"), 64) % 3 == 0
    a_picture = 30 * (16 * 20 + 4 * 6) * 4 * 2  # outputs of the convolutions and their gradients, bytes
    assert lengths[2] * a_picture < 64 * 2**20


class Hungry(nn.Module):
    """Runs out of memory for more than `room` images."""

    def __init__(self, room, error):
        super().__init__()
        self.head, self.room, self.error, self.seen = nn.Linear(12, 7), room, error, []

    def forward(self, x):
        self.seen.append(len(x))
        if len(x) > self.room:
            raise self.error
        return self.head(x.flatten(1))


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), MemoryError(),
                                   RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate")])
def test_batch_is_halved_when_out_of_memory(error):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Hungry(2, error).double()
    result = visualize(model, "head:all", shape=(1, 3, 4), settings=FEW)
    assert 7 in model.seen and 4 in model.seen and len(result.units) == 7
    model.room = 100
    np.testing.assert_allclose(visualize(model, "head:all", shape=(1, 3, 4), settings=FEW).images, result.images,
                               rtol=0, atol=1e-7)


def test_out_of_memory_for_one_image_is_an_error():
    for room, copies in ((2, 3), (0, 1)):  # later, and in the first pass
        model = Hungry(room, MemoryError("mine"))
        with pytest.raises(ShiftscopeError, match="out of memory while Hungry computed: free memory") as caught:
            visualize(model, "head:3", shape=(1, 3, 4), settings=FEW, copies=copies)
        assert caught.value.__cause__ is model.error
    model.room = 2
    assert visualize(model, "head:3", shape=(1, 3, 4), settings=FEW).units == ["head:3"]


def test_model_that_takes_single_images_gives_the_same_result():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Hungry(1, RuntimeError("one at a time")).double()
    result = visualize(model, "head:2,5", shape=(1, 3, 4), settings=FEW, copies=2)
    assert set(model.seen) == {1, 2} and len(result.units) == 4
    model.room = 100
    np.testing.assert_allclose(visualize(model, "head:2,5", shape=(1, 3, 4), settings=FEW, copies=2).images,
                               result.images, rtol=0, atol=1e-7)


def test_channels_last_gives_the_same_images(convnet, monkeypatch):
    model = convnet.double()
    fast = visualize(model, "class:all", settings=FEW)
    monkeypatch.setattr("shiftscope.visualization.synthesis._supports_channels_last",
                        lambda *arguments: False)
    usual = visualize(model, "class:all", settings=FEW)
    np.testing.assert_allclose(fast.images, usual.images, rtol=0, atol=1e-6)


class Viewer(nn.Module):
    """Flattens with `view`, which fails for channels-last tensors."""

    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(1, 2, 3), nn.Linear(2 * 4 * 5, 3)

    def forward(self, x):
        x = self.conv(x)
        return self.head(x.view(len(x), -1))


def test_model_that_calls_view():
    result = visualize(Viewer(), "conv:all", shape=(1, 6, 7), settings=FEW)
    assert (result.activations > result.activations_start).all()


@pytest.mark.parametrize("call", [
    lambda model: visualize(model, "class:all", settings=FEW),
    lambda model: visualize(model, "fc1:999", settings=FEW),
    lambda model: visualize(model, "class:0", start=np.zeros((3, 3)), settings=FEW),
    lambda model: visualize(model, match("conv2", np.zeros((3, 20, 24))), settings=FEW),
    lambda model: visualize(model, match("conv2", np.zeros((3, 24, 20))), settings=FEW),
    lambda model: visualize(model, "conv2:0@99,0", settings=FEW),
])
def test_model_state_is_restored(convnet, call):
    convnet.train()
    convnet.conv2_drop.eval()
    convnet.fc2.weight.requires_grad_(False)
    before = state_of(convnet)
    with contextlib.suppress(UsageError):
        call(convnet)
    assert state_of(convnet) == before


class Raising(nn.Module):
    """Raises an error in the n-th forward pass."""

    def __init__(self, error, at):
        super().__init__()
        self.head, self.error, self.left = nn.Linear(12, 3), error, at

    def forward(self, x):
        self.left -= 1
        if self.left == 0:
            raise self.error
        return self.head(x.flatten(1))


@pytest.mark.parametrize("kind", [RuntimeError, KeyError, KeyboardInterrupt])
@pytest.mark.parametrize("at", [1, 3, 6])
def test_model_errors_are_reported_and_state_is_restored(kind, at):
    error = kind("mine")
    model = Raising(error, at).train()
    before = state_of(model)
    if at == 1 and kind is not KeyboardInterrupt:  # batches of two images are tried first, then one
        visualize(model, "head:all", shape=(1, 3, 4), settings=FEW)
    else:
        with pytest.raises(KeyboardInterrupt if kind is KeyboardInterrupt else UsageError, match="mine") as caught:
            visualize(model, "head:all", shape=(1, 3, 4), settings=FEW)
        message = f"Raising raised {kind.__name__} in forward ("
        assert caught.value is error or (caught.value.__cause__ is error and message in str(caught.value))
    assert state_of(model) == before


def test_inactive_relu_unit_becomes_active():
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 2), nn.ReLU(), nn.Linear(2, 2))
    with torch.no_grad():
        model[1].weight[0] = torch.linspace(-1, 1, 12)
        model[1].bias[0] = -0.5  # inactive for gray
    settings = SynthesisSettings(jitter=0, blur=0.0)
    result = visualize(model, "2:0", shape=(1, 3, 4), start="zero", settings=settings)
    assert result.activations_start[0] == 0 and result.activations[0] > 1 and not result.notes


def planted(bias):
    """A network with weights of zero in unit 0 of layer 1."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 3), nn.ReLU(), nn.Linear(3, 2))
    with torch.no_grad():
        model[1].weight[:], model[1].bias[:] = torch.linspace(-1, 1, 36).sin().view(12, 3).T, 0.5
        model[1].weight[0], model[1].bias[0] = 0, bias
    return model


@pytest.mark.parametrize("bias", [-1.0, 1.0])
def test_dead_units_are_reported(bias):
    result = visualize(planted(bias), "1:all", shape=(1, 3, 4), settings=FEW)
    assert result.dead.tolist() == [True, False, False]
    assert result.notes == ["1 of 3 units are dead: their synthesized image does not bring them above zero (for "
                           "channels, at any position), or no pixel affects them (1:0)"]


def test_unit_that_is_never_active_is_dead():
    model = planted(0.0)
    with torch.no_grad():
        model[1].bias[1] = -50
    assert visualize(model, "1:all", shape=(1, 3, 4), settings=FEW).dead.tolist() == [True, True, False]


def test_pattern_of_a_detector_is_recovered():
    """A channel that detects a fixed 5 x 5 pattern yields it at the given position and nowhere else."""
    model = nn.Sequential(nn.Conv2d(1, 3, 5), nn.ReLU())
    with torch.no_grad():
        draw = torch.Generator().manual_seed(3)
        pattern = torch.randn(5, 5, generator=draw)
        model[0].weight[1, 0], model[0].bias[1] = pattern - pattern.mean(), 0
    settings = SynthesisSettings(blur=0.0, jitter=0, total_variation=0.0)
    for layer in ("0", "0+relu", "1"):
        result = visualize(model, f"{layer}:1@4,6", shape=(1, 15, 18), settings=settings, start="zero")
        image = torch.from_numpy(result.images[0, 0])
        seen = torch.corrcoef(torch.stack((image[4:9, 6:11].flatten(), pattern.flatten())))[0, 1]
        assert float(seen) > 0.9 and not result.dead.any()
        image[4:9, 6:11] = 0.5
        assert float((image - 0.5).abs().max()) < 0.01


def test_bounded_ascent_of_a_linear_model_shows_its_weights(perceptron):
    settings = SynthesisSettings(**(PLAIN_ASCENT.to_dict() | {"steps": 60, "step_size": 0.1, "radius": 0.5}))
    result = visualize(perceptron, "fc1:all", settings=settings, start="zero")
    moved = torch.from_numpy(result.images).flatten(1) - 0.5
    assert float(torch.cosine_similarity(moved, perceptron.fc1.weight.detach()).min()) > 0.999
    np.testing.assert_allclose(moved.norm(dim=1), 0.5, rtol=1e-2)


class Cut(nn.Module):
    def forward(self, x):
        return x.detach().flatten(1)


def test_score_independent_of_the_image_is_rejected():
    with pytest.raises(UsageError, match="class:0 does not depend on the image: the model stops the gradient"):
        visualize(Cut(), "class:0", shape=(1, 3, 4))


def test_nonfinite_weights_are_an_error():
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 2))
    with torch.no_grad():
        model[1].weight[0, 0] = torch.nan
    with pytest.raises(ShiftscopeError, match="the images of class:0 are not finite"):
        visualize(model, "class:0", shape=(1, 3, 4), settings=FEW)


def test_models_that_expect_normalized_pixels(perceptron):
    bare = nn.Sequential(nn.Flatten(), perceptron.fc1, nn.ReLU(), perceptron.fc2)
    result = visualize(bare, "1:all", shape=perceptron.input_shape, normalize=(0.1307, 0.3081), settings=FEW,
                       start="zero")
    expected = visualize(perceptron, "fc1:all", settings=FEW, start="zero")
    np.testing.assert_allclose(result.images, expected.images, atol=1e-5)


def test_differences_of_units(perceptron):
    goal = objective("fc1:3") - objective("fc1:4")
    result = visualize(perceptron, goal, settings=PLAIN_ASCENT)
    weights = (perceptron.fc1.weight[3] - perceptron.fc1.weight[4]).detach()
    assert result.units == ["fc1:3 - fc1:4"]
    moved = torch.from_numpy(result.images).flatten(1)[0] - 0.5
    assert float(torch.cosine_similarity(moved, weights, dim=0)) > 0.8


def test_default_starts(convnet):
    placement = Placement(image=(10, 12), canvas=(20, 24))
    assert visualize(convnet, "conv1:0", settings=FEW, placement=placement).start == "zero"
    assert visualize(convnet, "fc1:0", settings=FEW, placement=placement).start == "black"
    assert visualize(convnet, "class:0", settings=FEW, placement=placement).start == "black"
    assert visualize(convnet, "class:0", settings=FEW).start == "zero"  # color images fill the canvas
    assert visualize(convnet, "class:0", settings=FEW, start=np.zeros((3, 20, 24))).start == "image"


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", ["perceptron", "convnet"])
def test_half_precision(name, dtype, request):
    model = request.getfixturevalue(name)
    full = visualize(model, "fc1:0-9", settings=FEW)
    result = visualize(model.to(dtype), "fc1:0-9", settings=FEW)
    assert result.images.dtype == np.float32 and (result.activations > result.activations_start).all()
    assert np.corrcoef(result.activations, full.activations)[0, 1] > 0.98
    assert np.isfinite(result.images).all()


def test_synthesis_can_be_saved_and_loaded(perceptron, tmp_path):
    result = visualize(perceptron, "class:Bag", class_names=["Bag", "b", "c", "d"], settings=FEW, name="mine")
    result.save(tmp_path)
    again = Synthesis.load(tmp_path)
    assert again.to_dict() == result.to_dict() and again.model == "mine" and again.units == ["class:Bag"]
    np.testing.assert_array_equal(again.images, result.images)


def test_resolved_settings_are_recorded(convnet):
    settings = visualize(convnet, "class:0", settings=FEW).settings
    assert (settings["preset"], settings["steps"], settings["start"]) == ("small color", 6, "zero")
    assert None not in [settings[name] for name in ("views", "jitter", "window", "patience", "parametrization")]


def test_feature_inversion_recovers_the_image(convnet):
    image = torch.rand(3, 20, 24, generator=torch.Generator().manual_seed(0))
    settings = SynthesisSettings(steps=80, jitter=0, blur=0.0, total_variation=0.0, decay=0.0, patience=0)
    result = visualize(convnet, match("conv1", image), settings=settings, start="zero")
    assert result.units == ["match(conv1)"] and result.activations[0] > -0.02 > result.activations_start[0]
    seen = np.corrcoef(result.images[0].ravel(), image.numpy().ravel())[0, 1]
    assert seen > 0.9  # 30 filters cover nearly every pixel


def test_diversity_makes_images_of_one_unit_differ(convnet):
    settings, unlike = SynthesisSettings(steps=20, patience=0), []
    for weight in (0.0, 1.0):
        goal = objective("conv2:3,4") + weight * diversity("conv2")
        result = visualize(convnet, goal, settings=settings, copies=3)
        assert result.images.shape == (6, 3, 20, 24) and result.units[0].endswith("#1")
        with torch.no_grad(), frozen(convnet):
            predictions = FeatureExtractor(convnet, torch.float32)(torch.from_numpy(result.images), ["conv2"])
        unlike.append(float(gram_diversity(predictions["conv2"], 3).mean()))
    assert unlike[1] > unlike[0] + 0.02


@pytest.mark.parametrize("parametrization", ["fourier", "maco"])
def test_spectral_parametrizations_increase_activations(convnet, perceptron, parametrization):
    draw = torch.Generator().manual_seed(0)
    for model in (convnet, perceptron):
        channels, height, width = model.input_shape
        images = TensorImages(torch.randint(0, 256, (9, channels, height - 4, width - 5), generator=draw,
                                            dtype=torch.uint8), torch.zeros(9, dtype=torch.int64))
        result = visualize(model, "fc1:0-5", settings=SynthesisSettings(parametrization=parametrization, steps=20),
                          images=images, start="random")
        assert (result.activations > result.activations_start).all()
        assert result.images.min() >= 0 and result.images.max() <= 1
        assert result.settings["parametrization"] == parametrization


def test_channel_active_at_one_position_is_not_dead():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(2 * 7 * 8, 2))
    with torch.no_grad():
        model[0].bias[:], model[0].weight[:] = -3, torch.tensor([1.0, 0.1])[:, None, None, None]
    result = visualize(model, "0:all", shape=(1, 9, 10), settings=SynthesisSettings(steps=40, total_variation=0.8))
    assert result.dead.tolist() == [False, True]  # at most 9 - 3 and 0.9 - 3


def test_maco_needs_images(convnet):
    with pytest.raises(UsageError, match="pass images="):
        visualize(convnet, "fc1:0", settings=SynthesisSettings(parametrization="maco"))


def test_custom_transforms_are_applied(convnet):
    shapes = []

    def note(pixels, key):
        shapes.append(tuple(pixels.shape))
        return pixels

    visualize(convnet, "fc1:0-2", settings=FEW, transforms=[note])
    assert shapes == [(3, 3, 20, 24)] * 6


def test_class_image_stays_within_the_area_of_images(convnet):
    placement = Placement(image=(8, 6), canvas=(20, 24))
    result = visualize(convnet, "class:all", settings=FEW, placement=placement)
    rim = result.images.copy()
    rim[:, :, 3:17, 6:18] = 0
    assert rim.max() < 0.06 < result.images.max() and result.start == "black"


def test_default_objectives(perceptron, foreign):
    assert default_objectives(perceptron) == ["class:all", "fc1:all"]
    assert default_objectives(foreign, (1, 6, 7)) == ["class:all"]
    wide = nn.Sequential(nn.Flatten(), nn.Linear(4, 200), nn.Linear(200, 2))
    assert default_objectives(wide, (1, 2, 2)) == ["class:all", "1:0-99"]


def test_visualize_is_public():
    assert shiftscope.visualize is visualize


def test_parameter_rows_match_numpy(convnet):
    rows = {row.name: row for row in parameter_rows(convnet)}
    values = convnet.conv2.weight.detach().double().numpy()
    row = rows["conv2.weight"]
    assert (row.shape, row.count) == ((30, 5, 5, 5), 3750)
    np.testing.assert_allclose((row.mean, row.std, row.norm),
                               (values.mean(), values.std(), np.linalg.norm(values)), rtol=1e-9)
    assert sum(row.count for row in rows.values()) == sum(p.numel() for p in convnet.parameters())


def test_class_weights_of_the_last_matching_layer(perceptron):
    weights, bias = class_weights(perceptron, neurons=12, classes=4) or (None, None)
    assert torch.equal(weights, perceptron.fc2.weight) and torch.equal(bias, perceptron.fc2.bias)
    assert class_weights(perceptron, neurons=11, classes=4) is None


def test_predictions_of_the_judge_are_recorded(perceptron):
    other = nn.Sequential(nn.Flatten(), nn.Dropout(0.9), nn.Linear(11 * 14, 4)).train()
    result = visualize(perceptron, "class:all", settings=SynthesisSettings(steps=2), judge=other)
    assert other.training
    assert result.judged.tolist() == other.eval()(torch.from_numpy(result.images)).argmax(1).tolist()
    assert visualize(perceptron, "class:all", settings=SynthesisSettings(steps=2)).judged.shape == (0,)
