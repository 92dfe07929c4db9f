"""What a torchvision and a timm model respond to, in their own size: three channels of 224 x 224, random weights."""

from dataclasses import replace

import pytest
import torch

import shiftscope
from shiftscope.settings import PLAIN_ASCENT
from shiftscope.visualization.attribution import attribute
from shiftscope.visualization.layer_outputs import activations, capture

PLAIN = replace(PLAIN_ASCENT, steps=3)
"""Every step follows the gradient alone, so that few of them are enough."""

SHAPE = (3, 224, 224)
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def resnet18():
    from torchvision.models import resnet18 as build

    return build(weights=None)


def regnet():
    import timm

    return timm.create_model("regnetx_002", pretrained=False, zero_init_last=False)


MODELS = [(resnet18, "layer2.0.conv1", "layer4", 512), (regnet, "s2.b1.conv2.conv", "s4", 368)]


@pytest.fixture(params=MODELS, ids=["torchvision", "timm"])
def case(request):
    build, *names = request.param
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return (build().train(), *names)


def images(count):
    return torch.randint(0, 256, (count, *SHAPE), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def test_a_class_and_a_channel_are_climbed(case):
    model, channel, *_ = case
    state = {name: value.clone() for name, value in model.state_dict().items()}
    for goal in ("class:7", f"{channel}:3"):
        found = shiftscope.visualize(model, goal, shape=SHAPE, normalize=IMAGENET, start="random",
                                     settings=PLAIN)
        assert found.images.shape == (1, *SHAPE) and found.activations[0] > found.activations_start[0]
    assert model.training and all(value.equal(state[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize(("method", "options"), [
    ("integrated-gradients", {"steps": 4}), ("saliency", {}), ("occlusion", {"window": 112}), ("grad-cam", {})])
def test_each_method_explains(case, method, options):
    model, _, stage, _ = case
    found = attribute(model, images(1), 5, method=method, normalize=IMAGENET, **options)
    assert found.maps.shape == (1, 224, 224) and found.maps.any() and found.targets.tolist() == [5]
    assert model.training and not any(module._forward_hooks for module in model.modules())
    if method == "grad-cam":
        assert found.layer.removeprefix("model.").startswith(stage)
        whole = attribute(model, images(1), 5, method=method, normalize=IMAGENET, layer=stage)
        assert whole.layer.removeprefix("model.") == stage and whole.maps.any()


def test_layers_are_recorded(case):
    model, channel, stage, width = case
    found = activations(model, images(2), [stage, channel, "class"], normalize=IMAGENET, batch_size=1)
    assert found[stage].shape == (2, width, 7, 7) and found["class"].shape == (2, 1000)
    with capture(model, images(2), [channel], normalize=IMAGENET) as batches:
        torch.testing.assert_close(next(batches)[channel], found[channel], rtol=1e-3, atol=1e-4)
    with torch.no_grad():
        mean, std = (torch.tensor(part).view(1, 3, 1, 1) for part in IMAGENET)
        torch.testing.assert_close(model.eval()((images(2) / 255 - mean) / std), found["class"], rtol=1e-3,
                                   atol=1e-3)
