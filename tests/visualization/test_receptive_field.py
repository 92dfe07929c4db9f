import pytest
import torch
from torch import nn

from shiftscope.errors import UsageError
from shiftscope.models import TwoConvTwoFullNet
from shiftscope.visualization.receptive_field import receptive_fields


def boxes(model, goal, shape):
    return receptive_fields(model, goal, shape).unique(dim=0).tolist()


def test_receptive_fields_of_the_course_convnet():
    model = TwoConvTwoFullNet(canvas=(57, 40), channels=3)
    # conv1 is 53 x 36, its middle (26, 18); conv2 is 22 x 14, its middle (11, 7), which begins at pixel (22, 14) and
    # reads (5 - 1) * 2 + 1 pooled cells of 2, each of 5 x 5: 14 x 14 pixels
    assert boxes(model, "conv1:all", (3, 57, 40)) == [[26, 18, 31, 23]]
    assert boxes(model, "conv2:all", (3, 57, 40)) == [[22, 14, 36, 28]]
    assert boxes(model, "conv2:3@0,1", (3, 57, 40)) == [[0, 2, 14, 16]]
    # 53 rows pool to 26, of which conv2 leaves 22, 11 after pooling: pixel row 56 is in the odd row 52 of conv1 alone
    assert boxes(model, "fc1:0-3", (3, 57, 40)) == boxes(model, "class:all", (3, 57, 40)) == [[0, 0, 56, 40]]


def test_receptive_field_does_not_depend_on_weights():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Conv2d(2, 1, 1, bias=False), nn.LogSoftmax(1))
    with torch.no_grad():
        model[0].weight.zero_()
        model[0].bias.fill_(-5.0)
        model[2].weight.copy_(torch.tensor([1.0, -1.0]).view(1, 2, 1, 1))
    assert boxes(model, "2:0@0,0", (1, 5, 7)) == [[0, 0, 3, 3]]


def test_normalization_over_positions_covers_the_whole_map():
    model = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.GroupNorm(2, 4), nn.ReLU6(), nn.AdaptiveMaxPool2d(1))
    assert boxes(model, "0:1", (1, 9, 12)) == [[3, 5, 6, 8]]
    assert boxes(model, "1:1", (1, 9, 12)) == boxes(model, "3:1", (1, 9, 12)) == [[0, 0, 9, 12]]


def test_receptive_field_of_a_sum_covers_its_parts():
    model = nn.Conv2d(1, 2, 2)
    wrapped = nn.Sequential(model)
    assert boxes(wrapped, "0:0@0,0 - 0:1@2,4", (1, 6, 8)) == [[0, 0, 4, 6]]


class Cut(nn.Module):
    def forward(self, x):
        return x.detach().flatten(1)


def test_unit_that_no_pixel_affects():
    assert boxes(nn.Sequential(Cut(), nn.Linear(12, 2)), "1:0", (1, 3, 4)) == [[0, 0, 0, 0]]


def test_dilated_max_pooling_is_rejected():
    model = nn.Sequential(nn.MaxPool2d(2, dilation=2), nn.Conv2d(1, 1, 1))
    with pytest.raises(UsageError, match="models with dilated max pooling are not supported"):
        receptive_fields(model, "1:0", (1, 8, 8))


def test_model_state_is_restored():
    model = TwoConvTwoFullNet(canvas=(20, 24)).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    receptive_fields(model, "fc1:0", (1, 20, 24))
    assert model.training and model.conv2_drop.training and all(p.requires_grad for p in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())
