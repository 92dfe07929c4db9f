"""Random networks of these layers: equal logits at all shifts, before training."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from shiftscope.layers import (
    BlurPool2d,
    CircularPad2d,
    GeM,
    GlobalMaxPool,
    LearnedPolyphase2d,
    PhaseAverage,
    PolyphaseDownsample2d,
    Recenter,
)
from shiftscope.placement import Placement

CLASSES = 5


class _Sliced(nn.Module):
    """Plain subsampling: always the same component."""

    def __init__(self, stride):
        super().__init__()
        self.stride = stride

    def forward(self, x):
        return x[:, :, ::self.stride, ::self.stride]


class _Extremes(nn.Module):
    """The largest and the smallest value of each channel: one of them changes with any outlier."""

    def __init__(self):
        super().__init__()
        self.pool = GlobalMaxPool()

    def forward(self, x):
        return torch.cat((self.pool(x), self.pool(-x)), 1)


def down(kind, channels, stride):
    return {"polyphase": lambda: PolyphaseDownsample2d(stride),
            "order 1": lambda: PolyphaseDownsample2d(stride, order=1),
            "learned": lambda: LearnedPolyphase2d(channels, stride, hidden=2),
            "blur": lambda: BlurPool2d(channels, stride=stride, taps=3), "sliced": lambda: _Sliced(stride)}[kind]()


def build(kind, channels, strides, kernels, pool, seed, *, pad=CircularPad2d):
    torch.manual_seed(seed)
    layers, before = [], channels
    for stride, kernel in zip(strides, kernels, strict=True):
        sides = ((kernel - 1) // 2, kernel // 2)
        layers += [pad((*sides, *sides)), nn.Conv2d(before, 4, kernel), nn.Softplus(), down(kind, 4, stride)]
        before = 4
    head = nn.Linear(8 if pool == "max" else 4, CLASSES)
    nn.init.normal_(head.weight, std=100)  # so that outputs for nearly equal images differ too
    return nn.Sequential(*layers, {"max": _Extremes, "gem": GeM}[pool](), head).double().eval()


def drift(net, x):
    """The largest change of the logits at any shift, and the smallest difference between two images."""
    with torch.no_grad():
        still = net(x)
        moved = torch.stack([net(x.roll((dy, dx), (2, 3))) for dy in range(x.shape[2]) for dx in range(x.shape[3])])
    return float((moved - still).abs().max()), float((still[0] - still[1]).abs().max())


STRIDES = st.lists(st.integers(1, 3), min_size=1, max_size=2)


@st.composite
def cases(draw):
    strides = draw(STRIDES)
    total = torch.tensor(strides).prod().item()
    canvas = tuple(total * draw(st.integers(1, max(1, 12 // total))) for _ in range(2))
    image = tuple(draw(st.integers(total, n)) for n in canvas)  # every component contains a part of it
    return {"strides": strides, "canvas": canvas, "image": image, "channels": draw(st.integers(1, 2)),
            "kernels": [draw(st.integers(1, 4)) for _ in strides], "pool": draw(st.sampled_from(["max", "gem"])),
            "seed": draw(st.integers(0, 2**20))}


def two_pictures(case):
    """Two different images, centered on their canvas, with a background that is not 0 after normalization."""
    generator = torch.Generator().manual_seed(case["seed"])
    images = torch.randint(0, 256, (2, case["channels"], *case["image"]), generator=generator, dtype=torch.uint8)
    images[0], images[1] = images[0] // 2 + 128, images[1] // 4 + 40  # no common brightness
    place = Placement(image=case["image"], canvas=case["canvas"], background=20)
    return place.place(images, place.centered(2)).double() / 255


@settings(max_examples=60, deadline=None)
@given(cases(), st.sampled_from(["polyphase", "order 1", "learned"]))
def test_random_nets_on_random_tori(case, kind):
    net = build(kind, case["channels"], case["strides"], case["kernels"], case["pool"], case["seed"])
    moved, apart = drift(net, two_pictures(case))
    assert moved < 1e-9 and apart > 1e-2


@settings(max_examples=20, deadline=None)
@given(cases(), st.sampled_from(["sliced", "blur"]))
def test_strided_nets_averaged_over_their_phases(case, kind):
    net = build(kind, case["channels"], case["strides"], case["kernels"], case["pool"], case["seed"])
    total = int(torch.tensor(case["strides"]).prod())
    moved, apart = drift(PhaseAverage(net, total, of="logits"), two_pictures(case))
    assert moved < 1e-9 and apart > 1e-2


@settings(max_examples=20, deadline=None)
@given(cases(), st.booleans())
def test_any_net_after_recentering(case, robust):
    torch.manual_seed(case["seed"])
    height, width = case["canvas"]
    net = nn.Sequential(Recenter(background=20 / 255, robust=robust), nn.Flatten(),
                        nn.Linear(case["channels"] * height * width, CLASSES)).double()
    nn.init.normal_(net[2].weight)
    moved, apart = drift(net, two_pictures(case))
    assert moved == 0 and apart > 1e-2


@pytest.mark.parametrize("kind, least", [("sliced", 1.0), ("blur", 0.1)])
def test_negative_control_strides_are_detected(kind, least):
    x = torch.randn(2, 1, 8, 12, dtype=torch.float64)
    moved, _ = drift(build(kind, 1, [2, 2], [3, 3], "max", 0), x)
    assert moved > least


def test_negative_control_zero_padding_is_detected():
    x = torch.rand(2, 1, 8, 12, dtype=torch.float64)
    zeros = build("polyphase", 1, [2, 2], [3, 3], "max", 0, pad=lambda sides: nn.ZeroPad2d(tuple(sides)))
    assert drift(zeros, x)[0] > 1 and drift(build("polyphase", 1, [2, 2], [3, 3], "max", 0), x)[0] < 1e-9


def test_slicing_loses_an_impulse_by_a_known_amount():
    """Three times the pixel at even positions, only the bias at odd ones: the maximum changes by 3."""
    conv = nn.Conv2d(1, 1, 1).double()
    nn.init.constant_(conv.weight, 3)
    nn.init.constant_(conv.bias, 0.5)
    pictures = torch.zeros(2, 1, 4, 6, dtype=torch.float64)
    pictures[0, 0, 2, 2], pictures[1, 0, 2, 2] = 1, 0.5
    assert drift(nn.Sequential(conv, _Sliced(2), GlobalMaxPool()), pictures) == (3.0, 1.5)
    assert drift(nn.Sequential(conv, PolyphaseDownsample2d(2), GlobalMaxPool()), pictures) == (0.0, 1.5)
