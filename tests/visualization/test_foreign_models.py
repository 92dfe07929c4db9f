"""Models that were not written for Shiftscope are climbed, attributed and recorded as they are."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from shiftscope.settings import SynthesisSettings
from shiftscope.visualization import visualize
from shiftscope.visualization.attribution import attribute
from shiftscope.visualization.layer_outputs import activations

FEW = SynthesisSettings(steps=8)
COLOR, GRAY = (3, 18, 22), (1, 28, 28)


class Block(nn.Module):
    def __init__(self, channels, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.down = nn.AvgPool2d(stride) if stride > 1 else nn.Identity()

    def forward(self, x):
        out = F.relu(self.bn1(self.conv1(x)), inplace=True)
        out = self.bn2(self.conv2(out))
        out += self.down(x)
        return F.relu(out, inplace=True)


class Residual(nn.Module):
    """A user's own residual net: additions and ReLUs in place, batch normalization, logits."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.blocks = nn.Sequential(Block(6, 1), Block(6, 2))
        self.head = nn.Linear(6, 5)

    def forward(self, x):
        return self.head(self.blocks(F.relu(self.stem(x))).mean(dim=(-2, -1)))


class CourseNet(nn.Module):
    """A typical course model: functions in forward, `view` with a fixed size, final log-softmax."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 5, kernel_size=5), nn.Conv2d(5, 8, kernel_size=5)
        self.conv2_drop = nn.Dropout2d()
        self.fc1, self.fc2 = nn.Linear(128, 20), nn.Linear(20, 10)

    def forward(self, x):
        x = F.relu(F.max_pool2d(self.conv1(x), 2))
        x = F.relu(F.max_pool2d(self.conv2_drop(self.conv2(x)), 2))
        x = x.view(-1, 128)
        x = F.dropout(F.relu(self.fc1(x)), training=self.training)
        return F.log_softmax(self.fc2(x), dim=1)


MODELS = [(Residual, COLOR, "blocks.0.conv1", "blocks.1.conv2", 5), (CourseNet, GRAY, "conv2", "conv2", 10)]


def made(build):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build().train()


def snapshot(model):
    return ([module.training for module in model.modules()], [p.requires_grad for p in model.parameters()],
            {name: value.clone() for name, value in model.state_dict().items()})


def unchanged(model, before):
    modes, learns, state = snapshot(model)
    hooks = any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    same = all(value.equal(before[2][name]) for name, value in state.items())  # batch statistics too
    return (modes, learns) == before[:2] and same and not hooks


@pytest.mark.parametrize(("build", "shape", "channel", "last", "classes"), MODELS)
def test_classes_and_channels_are_maximized(build, shape, channel, last, classes):
    model = made(build)
    before = snapshot(model)
    for goal in ("class:3", f"{channel}:2"):
        result = visualize(model, goal, shape=shape, settings=FEW, start="random")
        assert result.images.shape == (1, *shape) and result.activations[0] > result.activations_start[0]
    assert unchanged(model, before)


@pytest.mark.parametrize(("build", "shape", "channel", "last", "classes"), MODELS)
def test_all_attribution_methods_apply(build, shape, channel, last, classes):
    model = made(build)
    before = snapshot(model)
    images = torch.rand(3, *shape, generator=torch.Generator().manual_seed(2))
    result = {method: attribute(model, images, method=method)
             for method in ("integrated-gradients", "grad-cam", "occlusion", "saliency")}
    assert unchanged(model, before)
    assert result["grad-cam"].layer == last
    model.eval()
    with torch.no_grad():
        outputs = model(images)
    for attribution in result.values():
        assert attribution.maps.shape == (3, *shape[1:]) and attribution.maps.any(axis=(1, 2)).all()
        assert attribution.predictions.tolist() == outputs.argmax(1).tolist()
    exact = attribute(model, images, method="integrated-gradients", steps=300)
    rise = abs(exact.scores - exact.scores_baseline)
    assert (abs(exact.residuals) <= 0.02 * np.maximum(rise, rise.mean())).all()


def test_outputs_are_recorded_before_inplace_changes():
    model = made(Residual).eval()
    images = torch.rand(2, *COLOR, generator=torch.Generator().manual_seed(3))
    result = activations(model, images, ["blocks.0.conv2", "blocks.0.bn2", "blocks.0"])
    with torch.no_grad():
        torch.testing.assert_close(result["blocks.0.bn2"], model.blocks[0].bn2(result["blocks.0.conv2"]))
    assert (result["blocks.0.bn2"] < 0).any() and not (result["blocks.0"] < 0).any()
