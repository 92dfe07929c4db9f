import subprocess
import sys
from copy import deepcopy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from shiftscope.errors import ShiftscopeError, UsageError
from shiftscope.results import Attribution
from shiftscope.visualization.attribution import attribute
from shiftscope.visualization.attribution_methods import METHODS

EVERY = sorted(METHODS)


def seeded(build, dtype=torch.float64):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build().to(dtype).eval()


def random_images(*shape, dtype=torch.float64):
    return torch.rand(shape, generator=torch.Generator().manual_seed(1), dtype=dtype)


def linear(channels=1, height=6, width=9, classes=3):
    return seeded(lambda: nn.Sequential(nn.Flatten(), nn.Linear(channels * height * width, classes)))


def small_convnet(channels=3, end=None, inplace=False):
    return nn.Sequential(nn.Conv2d(channels, 4, 3), nn.ReLU(inplace=inplace), nn.Conv2d(4, 5, 3),
                         nn.ReLU(inplace=inplace), nn.Flatten(), nn.Linear(5 * 6 * 9, 4), end or nn.Identity())


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("count", [1, 4])
def test_attributions_of_a_linear_model_are_its_weights(channels, count):
    model, x = linear(channels), random_images(count, channels, 6, 9)
    w = model[1].weight.detach().view(3, channels, 6, 9)
    targets = [2, 0, 1, 2][:count]
    asked = w[targets]
    saliency = attribute(model, x, targets, method="saliency")
    np.testing.assert_allclose(saliency.maps, asked.sum(1), atol=1e-6)
    for baseline in (0, 51):
        result = attribute(model, x, targets, baseline=baseline, steps=3)
        np.testing.assert_allclose(result.maps, (asked * (x - baseline / 255)).sum(1), atol=1e-6)
        np.testing.assert_allclose(result.residuals, 0, atol=1e-7)  # captum's nodes and weights are float32
    covered = attribute(model, x, targets, method="occlusion", window=(1, 1))
    np.testing.assert_allclose(covered.maps, (asked * x).sum(1), atol=1e-6)
    assert covered.options == {"window": [1, 1], "stride": [1, 1], "baseline": 0}


def test_occlusion_is_the_mean_decrease_over_windows_covering_a_pixel():
    model, x = linear(2), random_images(1, 2, 6, 9)
    result = attribute(model, x, 1, method="occlusion", window=(2, 3), baseline=102)
    lost, times = torch.zeros(6, 9, dtype=torch.float64), torch.zeros(6, 9)
    for top in range(5):
        for left in range(7):
            covered = x.clone()
            covered[..., top:top + 2, left:left + 3] = 0.4
            lost[top:top + 2, left:left + 3] += (model(x) - model(covered))[0, 1].item()
            times[top:top + 2, left:left + 3] += 1
    np.testing.assert_allclose(result.maps[0], lost / times, atol=1e-6)
    assert result.options["stride"] == [1, 1]


def test_grad_cam_is_the_map_weighted_by_its_mean_gradients():
    model, x = seeded(small_convnet), random_images(2, 3, 10, 13)
    result = attribute(model, x, 3, method="grad-cam")
    assert result.layer == "2" and result.options == {"after_relu": True}
    kept = model[:4](x).detach().requires_grad_()
    (slope,) = torch.autograd.grad(model[4:](kept)[:, 3].sum(), kept)
    cam = (slope.mean((2, 3), keepdim=True) * kept).sum(1, keepdim=True)
    wanted = F.interpolate(cam, size=(10, 13), mode="bilinear")[:, 0].detach()
    np.testing.assert_allclose(result.maps, wanted, atol=1e-6)
    first = attribute(model, x, 3, method="grad-cam", layer="0")
    assert first.layer == "0" and not np.allclose(first.maps, result.maps)


def test_inplace_relu_gives_the_same_maps():
    x = random_images(2, 3, 10, 13)
    for method in EVERY:
        maps = [attribute(seeded(lambda inplace=inplace: small_convnet(inplace=inplace)), x, 1, method=method).maps
                for inplace in (False, True)]
        np.testing.assert_array_equal(*maps)


def test_integrated_gradients_sum_to_the_difference_of_scores():
    model, x = seeded(small_convnet), random_images(3, 3, 10, 13)
    result = attribute(model, x, 2, steps=400)
    rise = (model(x) - model(torch.zeros_like(x)))[:, 2].detach().numpy()
    np.testing.assert_allclose(result.scores - result.scores_baseline, rise, atol=1e-6)
    np.testing.assert_allclose(result.maps.sum((1, 2)), rise, atol=5e-3 * abs(rise).max())
    np.testing.assert_allclose(result.residuals, result.maps.sum((1, 2)) - rise, atol=1e-5)
    assert np.isnan(attribute(model, x, method="saliency").residuals).all()


def test_inexact_integral_is_noted():
    class Step(nn.Module):
        def forward(self, x):
            total = x.sum((1, 2, 3))
            return torch.stack((torch.sigmoid(40 * (total - 3)), total), 1)

    result = attribute(Step(), torch.full((1, 1, 3, 4), 1.0), 0, steps=2)
    assert result.notes == [
        "the maps of 1 of 1 images differ from the score difference by more than 5 %: increase steps"]
    assert attribute(Step(), torch.full((1, 1, 3, 4), 1.0), 0, steps=200).notes == []


def test_zero_maps_are_noted():
    model = linear()
    with torch.no_grad():
        model[1].weight[0] = 0.0
    result = attribute(model, random_images(2, 1, 6, 9), [0, 1], method="saliency")
    assert result.notes == ["the maps of 1 of 2 images are zero everywhere: no pixel affects the score"]


@pytest.mark.parametrize("method", EVERY)
def test_pattern_detector_is_attributed_to_its_pattern(method):
    pattern = torch.tensor([[1., 0, 1], [0, 1, 0], [1, 0, 1]])
    model = nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), nn.ReLU(), nn.AdaptiveMaxPool2d(1), nn.Flatten(),
                          nn.Linear(1, 2))
    with torch.no_grad():
        model[0].weight.copy_((2 * pattern - 1)[None, None])
        model[0].bias.fill_(-3.0)
        model[4].weight.copy_(torch.tensor([[1.0], [-1.0]]))
    image = torch.zeros(1, 1, 16, 24)
    image[0, 0, 3:6, 17:20] = pattern
    result = attribute(model, image, 0, method=method).maps[0]
    inside = np.zeros((16, 24), bool)
    inside[3:6, 17:20] = True
    y, x = divmod(int(result.argmax()), 24)
    assert inside[y, x] and result[y, x] > 0
    np.testing.assert_allclose(attribute(model, image, 1, method=method).maps[0], -result, atol=1e-6)


@pytest.mark.parametrize("method", EVERY)
@pytest.mark.parametrize("end", [lambda: nn.LogSoftmax(1), lambda: nn.Softmax(1)])
def test_final_softmax_does_not_change_maps(method, end):
    x = random_images(2, 3, 10, 13)
    plain, ended = (attribute(seeded(lambda e=e: small_convnet(end=e and e())), x, method=method) for e in (None, end))
    np.testing.assert_allclose(ended.maps, plain.maps, atol=1e-9)
    np.testing.assert_allclose(ended.scores, plain.scores, atol=1e-9)


@pytest.mark.parametrize("method", EVERY)
def test_maps_do_not_depend_on_the_batch(method, monkeypatch):
    model, x = seeded(small_convnet), random_images(5, 3, 10, 13)
    together = attribute(model, x, method=method)
    alone = [attribute(model, x[row:row + 1], method=method).maps[0] for row in range(5)]
    np.testing.assert_allclose(together.maps, alone, atol=1e-7)
    monkeypatch.setattr("shiftscope.visualization.attribution_methods.MAX_PIXELS", 2 * 390)
    np.testing.assert_allclose(attribute(model, x, method=method).maps, together.maps, atol=1e-7)
    assert together.targets.tolist() == together.predictions.tolist() == model(x).argmax(1).tolist()


def test_targets_by_name_and_by_index(convnet):
    x, names = random_images(2, 3, 20, 24, dtype=torch.float32), ["Bag", "Coat", "Shirt", "Boot"]
    by_name = attribute(convnet, x, "class:Coat", class_names=names, method="saliency")
    by_number = attribute(convnet, x, 1, method="saliency")
    np.testing.assert_array_equal(by_name.maps, by_number.maps)
    assert by_name.target == "class" and by_name.targets.tolist() == [1, 1]


def test_units_of_inner_layers_as_targets(convnet):
    x = random_images(2, 3, 20, 24, dtype=torch.float32)
    neuron = attribute(convnet, x, "fc1:17", method="saliency")
    leaf = x.clone().requires_grad_()
    rest = convnet.eval()
    hidden = F.relu(F.max_pool2d(rest.conv2(F.relu(F.max_pool2d(rest.conv1(rest.normalize(leaf)), 2))), 2)).flatten(1)
    (slope,) = torch.autograd.grad(rest.fc1(hidden)[:, 17].sum(), leaf)
    np.testing.assert_allclose(neuron.maps, slope.sum(1), rtol=1e-4, atol=1e-7)
    assert neuron.target == "fc1" and neuron.targets.tolist() == [17, 17]
    channel = attribute(convnet, x, "conv1:2")
    np.testing.assert_allclose(channel.scores, rest.conv1(rest.normalize(x)).mean((2, 3))[:, 2].detach(), rtol=1e-4)
    assert abs(channel.residuals).max() < 1e-4


def test_images_may_be_uint8(perceptron):
    x = (random_images(2, 1, 11, 14) * 255).to(torch.uint8)
    result = attribute(perceptron, x, 0)
    np.testing.assert_array_equal(result.maps, attribute(perceptron, x.float() / 255, 0).maps)
    np.testing.assert_array_equal(result.maps, attribute(perceptron, x.numpy(), 0).maps)


def test_image_as_baseline(perceptron):
    x = random_images(2, 1, 11, 14, dtype=torch.float32)
    ground = torch.full((11, 14), 51, dtype=torch.uint8)
    np.testing.assert_allclose(attribute(perceptron, x, 0, baseline=ground).maps,
                               attribute(perceptron, x, 0, baseline=51).maps, atol=1e-6)


def test_images_and_baseline_are_normalized():
    model, x = linear(), random_images(2, 1, 6, 9)
    result = attribute(model, x, 1, normalize=(0.2, 0.5), steps=2)
    w = model[1].weight.detach().view(3, 6, 9)
    np.testing.assert_allclose(result.maps, w[1] / 0.5 * x[:, 0], atol=1e-6)


def test_half_precision_maps_match_single_precision():
    model, x = seeded(small_convnet, torch.float32), random_images(2, 3, 10, 13, dtype=torch.float32)
    half = deepcopy(model).half()
    for method in EVERY:
        whole, coarse = (attribute(net, x, 1, method=method).maps for net in (model, half))
        np.testing.assert_allclose(coarse, whole, atol=0.03 * abs(whole).max())


@pytest.mark.parametrize("method", EVERY)
@pytest.mark.parametrize("error", [None, ValueError, KeyboardInterrupt])
def test_model_state_is_restored(method, error, convnet):
    convnet.train()
    convnet.fc1_drop.eval()
    convnet.fc1.bias.requires_grad_(False)
    modes = [module.training for module in convnet.modules()]
    learns = [parameter.requires_grad for parameter in convnet.parameters()]
    state, x = torch.random.get_rng_state(), random_images(2, 3, 20, 24, dtype=torch.float32)
    if error:
        calls, original = [], convnet.forward

        def failing(pixels):
            calls.append(1)
            if len(calls) == 4:  # inside captum
                raise error("stop")
            return original(pixels)

        convnet.forward = failing
        with pytest.raises(UsageError if error is ValueError else error, match="stop") as caught:
            attribute(convnet, x, method=method)
        if error is ValueError:
            assert "raised ValueError in failing (" in str(caught.value)
            assert isinstance(caught.value.__cause__, ValueError)
    else:
        attribute(convnet, x, method=method)
    assert [module.training for module in convnet.modules()] == modes
    assert [parameter.requires_grad for parameter in convnet.parameters()] == learns
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(parameter.grad is None for parameter in convnet.parameters())
    assert not any(module._forward_hooks or module._forward_pre_hooks or module._backward_hooks
                   for module in convnet.modules())
    assert not x.requires_grad


def test_records_can_be_saved_and_loaded(tmp_path, convnet):
    result = attribute(convnet, random_images(2, 3, 20, 24, dtype=torch.float32), labels=[0, 3], class_names="abcd",
                      method="occlusion", name="net")
    result.save(tmp_path)
    again = Attribution.load(tmp_path)
    assert again.to_dict() == result.to_dict() and again.labels.tolist() == [0, 3]
    np.testing.assert_array_equal(again.maps, result.maps)
    assert again.class_names == ["a", "b", "c", "d"] and again.options["window"] == [2, 3]


class Cutter(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3)

    def forward(self, x):
        return self.conv(x.round().detach()).mean((2, 3))


@pytest.mark.parametrize(("options", "message"), [
    ({"method": "gradcam"}, "unknown method 'gradcam': did you mean 'grad-cam'"),
    ({"method": "grad-cam", "layer": "conv3"}, "unknown layer of TwoConvTwoFullNet 'conv3': did you mean 'conv"),
    ({"method": "grad-cam", "layer": "fc1"},
     r"Grad-CAM needs a layer with an output .*'fc1' of TwoConvTwoFullNet returns \(batch, 100\): choose one of"),
    ({"method": "grad-cam", "layer": "conv2", "target": "conv1:3"}, "does not depend on the map of the layer"),
    ({"layer": "conv2"}, "layer must be left out for integrated-gradients, which has no layer, got 'conv2'"),
    ({"target": 4}, "target must be a class from 0 to 3, got 4"),
    ({"target": [0, -1]}, r"target must be a class from 0 to 3, got \[0, -1\]"),
    ({"target": [0, 1, 2]}, r"target must be one class, or one for each of the 2 images, got \(3,\)"),
    ({"target": 1.5}, "target must be integers, got 1.5"),
    ({"target": "fc1:100"}, "fc1:100: the units of 'fc1' range from 0 to 99"),
    ({"target": "fc3:1"}, "unknown layer of TwoConvTwoFullNet 'fc3'"),
    ({"target": "class:Bga", "class_names": ["Bag", "b", "c", "d"]}, "unknown class 'Bga': did you mean 'Bag'"),
    ({"target": "Bag"}, "the objective 'Bag' must have the form layer:units"),
    ({"target": "fc1:0-3"}, "target must be one unit of a layer, as in .*, got 'fc1:0-3'"),
    ({"labels": [1]}, r"labels must be one class for each of the 2 images, got \(1,\)"),
    ({"baseline": 256}, "baseline must be a raw pixel value from 0 to 255, or an image, got 256"),
    ({"baseline": torch.zeros(3, 5)}, r"baseline must be an image of shape \(3, 20, 24\)"),
    ({"method": "occlusion", "window": (21, 3)}, "window must be at least 1 and at most the image, 20 x 24 pixels"),
    ({"steps": 0}, "steps must be at least 1, got 0"),
])
def test_invalid_arguments_are_rejected(options, message, convnet):
    with pytest.raises(UsageError, match=message):
        attribute(convnet, torch.zeros(2, 3, 20, 24), **options)


@pytest.mark.parametrize(("images", "message"), [
    (torch.zeros(2, 3, 24, 20), "24"),
    (torch.zeros(3, 20, 24), r"images must be at least one image, as \(batch, channels, height, width\), got"),
    (torch.zeros(0, 3, 20, 24), "images must be at least one image"),
    (torch.full((1, 3, 20, 24), torch.nan), "images must be pixels from 0 to 1.*got 'NaN or infinity'"),
    (torch.full((1, 3, 20, 24), -1.0), "images must be pixels from 0 to 1.*normalize= .*got '-1 to -1'"),
    (torch.zeros(1, 3, 20, 24, dtype=torch.int64), "images must be uint8, or floats from 0 to 1"),
])
def test_invalid_images_are_rejected(images, message, convnet):
    with pytest.raises(UsageError, match=message):
        attribute(convnet, images)


def test_grad_cam_needs_a_convolution(perceptron):
    with pytest.raises(UsageError, match="TwoFullNet has no convolution for Grad-CAM: name another"):
        attribute(perceptron, torch.zeros(1, 1, 11, 14), method="grad-cam")


def test_occlusion_needs_no_gradient():
    x = torch.ones(1, 1, 6, 7)
    with pytest.raises(UsageError, match="the score does not depend on the pixels: the model stops the gradient"):
        attribute(Cutter(), x, method="saliency")
    assert abs(attribute(Cutter(), x, method="occlusion").maps).max() > 0


def test_grad_cam_rejects_a_layer_that_returns_a_tuple(foreign):
    with pytest.raises(UsageError, match="'rnn' of Foreign returns a tuple: choose one of conv"):
        attribute(foreign, torch.zeros(1, 1, 4, 6), method="grad-cam", layer="rnn")


def test_nonfinite_weights_are_an_error(perceptron):
    with torch.no_grad():
        perceptron.fc1.weight[0, 0] = torch.nan
    with pytest.raises(ShiftscopeError, match="the saliency maps are not finite: the scores or gradients of two-full"):
        attribute(perceptron, torch.zeros(1, 1, 11, 14), method="saliency")


def test_captum_is_imported_on_first_use():
    script = ("import sys, shiftscope.visualization.attribution, shiftscope.workflows.explain_checkpoint; "
              "print([name for name in sys.modules if name.startswith('captum')])")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout == "[]\n"
