"""Random networks with padding: the engine's outputs equal those of the plain model at every placement, in float64.

`python tests/dense/test_padded_nets.py 300` checks 300 of them.
"""

import sys
from collections import Counter
from dataclasses import dataclass, field

import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from torch import nn

from shiftscope.dense import NotDense, build_dense
from shiftscope.graph import shared_traces, trace
from shiftscope.layers import Normalize
from shiftscope.placement import Placement

EXAMPLES = 40


class Function(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


FUNCTIONS = {
    "flip rows": lambda x: x.flip(2) + x, "flip columns": lambda x: x.flip(-1),
    "roll": lambda x: x.roll((1, -2), (3, 2)), "softmax": lambda x: x.softmax(1),
    "row means": lambda x: x * x.mean(3, keepdim=True),
    "means of both axes": lambda x: x.amax(2, keepdim=True) + x.mean(3, keepdim=True),
    "masked": lambda x: x.masked_fill(x < 0.1, 0.3), "where": lambda x: torch.where(x > 0, x, 0.2 - x),
    "sum of neighbors": lambda x: F.lp_pool2d(x.abs() + 0.1, 2.0, (1, 2), 1),
    "reversed channels": lambda x: torch.cat((x[:, ::2], x[:, 1::2]), 1),
}
"""Functions that placements share."""

class Ends(nn.Sequential):
    """A layer that ends the shared part."""


ENDS = {"group norm": lambda channels: nn.GroupNorm(1, channels), "instance norm": nn.InstanceNorm2d,
        "upsampling": lambda channels: nn.Upsample(scale_factor=1.5, mode="bilinear"),
        "transposed": lambda channels: nn.ConvTranspose2d(channels, 3, 2, 2, 1),
        "sums": lambda channels: Function(lambda x: x.cumsum(3)),
        "local norm": lambda channels: nn.LocalResponseNorm(2)}

class Excite(nn.Module):
    """Squeeze-and-excitation: a global pool that multiplies back."""

    def __init__(self, channels, reduce):
        super().__init__()
        self.one, self.two, self.reduce = nn.Conv2d(channels, 2, 1), nn.Conv2d(2, channels, 1), reduce

    def forward(self, x):
        pooled = x.mean((2, 3), keepdim=True) if self.reduce == "mean" else F.adaptive_avg_pool2d(x, 1)
        return x * torch.sigmoid(self.two(F.relu(self.one(pooled))))


class Branches(nn.Module):
    """Two branches, whose borders may differ, that are added, multiplied or concatenated."""

    def __init__(self, first, second, how):
        super().__init__()
        self.first, self.second, self.how = first, second, how

    def forward(self, x):
        a, b = self.first(x), self.second(x)
        return {"add": torch.add, "mul": torch.mul}[self.how](a, b) if self.how != "cat" else torch.cat((a, b), 1)


class Padded(nn.Module):
    """F.pad with other values on each side."""

    def __init__(self, sides, mode, value):
        super().__init__()
        self.sides, self.mode, self.value = sides, mode, value

    def forward(self, x):
        return F.pad(x, self.sides, mode=self.mode, value=self.value if self.mode == "constant" else None)

    def extra_repr(self):
        return f"{self.sides}, {self.mode}, {self.value}"


class Strided(nn.Module):
    def __init__(self, rows, columns):
        super().__init__()
        self.rows, self.columns = rows, columns

    def forward(self, x):
        return x[:, :, self.rows, self.columns]

    def extra_repr(self):
        return f"{self.rows}, {self.columns}"


@dataclass
class Net:
    """A drawn network: its layers, and the size of the map after them."""

    canvas: tuple[int, int]
    channels: int
    layers: list = field(default_factory=list)

    def __post_init__(self):
        self.now = torch.zeros(1, self.channels, *self.canvas)

    @property
    def size(self):
        return tuple(self.now.shape[2:])

    def add(self, layer):
        """Add a layer if the map stays between 1 and 16 rows and columns and few channels."""
        try:
            with torch.no_grad():
                after = layer.eval()(self.now)
        except RuntimeError:  # a kernel or a padding larger than the map
            return
        if min(after.shape[2:]) >= 1 and max(after.shape[2:]) <= 16 and after.shape[1] <= 12:
            self.layers.append(layer)
            self.now = after


def pair(draw, low, high):
    return draw(st.integers(low, high)), draw(st.integers(low, high))


def conv(draw, channels, *, out=None, stride=None):
    kernel = draw(st.sampled_from([(1, 1), (3, 3), (3, 3), (2, 3), (5, 2), (4, 4)]))
    groups = draw(st.sampled_from([g for g in (1, 1, 2, 3) if channels % g == 0]))
    groups = channels if draw(st.integers(0, 5)) == 0 else groups
    stride = stride or draw(st.sampled_from([(1, 1), (1, 1), (2, 2), (1, 3), (3, 2)]))
    padding = draw(st.sampled_from(["half", "half", "some", "same" if stride == (1, 1) else "half"]))
    dilation = draw(st.sampled_from([(1, 1), (1, 1), (2, 1), (2, 2)]))
    if padding == "half":
        padding = tuple(d * (k - 1) // 2 for k, d in zip(kernel, dilation, strict=True))
    elif padding == "some":
        padding = pair(draw, 0, 3)
    mode = draw(st.sampled_from(["zeros", "zeros", "zeros", "reflect", "replicate", "circular"]))
    return nn.Conv2d(channels, out or groups * draw(st.integers(1, max(1, 8 // groups))), kernel, stride, padding,
                     dilation, groups if out is None else 1, draw(st.booleans()), mode)


def pool(draw, kind):
    kernel = pair(draw, 1, 3)
    stride = draw(st.sampled_from([kernel, (1, 1), (2, 2), (3, 2)]))
    padding = tuple(draw(st.integers(0, k // 2)) for k in kernel)
    if kind == "max":
        return nn.MaxPool2d(kernel, stride, padding, ceil_mode=draw(st.booleans()),
                            dilation=draw(st.sampled_from([1, 1, 2])))
    return nn.AvgPool2d(kernel, stride, padding, draw(st.booleans()), draw(st.booleans()),
                        draw(st.sampled_from([None, None, 3])))


def branches(draw, channels):
    how = draw(st.sampled_from(["add", "add", "mul", "cat"]))
    out, stride = draw(st.sampled_from([channels, channels, 3])), draw(st.sampled_from([(1, 1), (1, 1), (2, 2)]))
    half = [nn.Conv2d(channels, out, k, stride, k // 2, groups=1) for k in (draw(st.sampled_from([1, 3, 5])),
                                                                           draw(st.sampled_from([1, 3])))]
    second = nn.Identity() if out == channels and stride == (1, 1) and draw(st.booleans()) else half[1]
    pooled = nn.MaxPool2d(3, 1, 1) if draw(st.integers(0, 3)) == 0 else nn.ReLU()
    return Branches(nn.Sequential(half[0], pooled), second, how)


def layer(draw, net):
    channels = net.now.shape[1]
    kind = draw(st.sampled_from(["conv", "conv", "conv", "max", "avg", "adaptive", "norm", "activation", "dropout",
                                 "branches", "branches", "excite", "pad", "slice", "function", "end"]))
    if kind == "function":
        return Function(FUNCTIONS[draw(st.sampled_from(sorted(FUNCTIONS)))])
    if kind == "end":
        return Ends(ENDS[draw(st.sampled_from(sorted(ENDS)))](channels))
    if kind == "conv":
        return conv(draw, channels)
    if kind in ("max", "avg"):
        return pool(draw, kind)
    if kind == "adaptive":
        size = tuple(draw(st.integers(1, n)) for n in net.size)
        return draw(st.sampled_from([nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d]))(size)
    if kind == "norm":
        return nn.BatchNorm2d(channels)
    if kind == "activation":
        return draw(st.sampled_from([nn.ReLU(), nn.ReLU6(), nn.SiLU(), nn.Hardswish(), nn.Tanh(), nn.GELU()]))
    if kind == "dropout":
        return nn.Dropout2d(0.3)
    if kind == "branches":
        return branches(draw, channels)
    if kind == "excite":
        return Excite(channels, draw(st.sampled_from(["mean", "adaptive"])))
    if kind == "pad":
        sides = tuple(draw(st.integers(-1, 2)) for _ in range(4))
        mode = draw(st.sampled_from(["constant", "constant", "reflect", "replicate", "circular"]))
        return Padded(sides if mode == "constant" else tuple(map(abs, sides)), mode, draw(st.sampled_from([0, 0.7])))
    rows, columns = (slice(draw(st.integers(0, 1)), None, draw(st.integers(1, 2))) for _ in range(2))
    return Strided(rows, columns)


@st.composite
def nets(draw):
    """A network of depth 1 to 8 with its canvas."""
    net = Net((draw(st.integers(4, 13)), draw(st.integers(4, 13))), draw(st.integers(1, 3)))
    if draw(st.booleans()):
        net.layers.append(Normalize([0.3] * net.channels, 0.5))
    for _ in range(draw(st.integers(1, 8))):
        net.add(layer(draw, net))
    end = draw(st.sampled_from(["flatten", "flatten", "flatten", "mean", "adaptive"]))
    channels, height, width = net.now.shape[1:]
    if end == "flatten":
        head = [nn.Flatten(), nn.Linear(channels * height * width, 4)]
    elif end == "mean":
        head = [nn.AvgPool2d((height, width)), nn.Flatten(), nn.Linear(channels, 4)]
    else:
        head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 4)]
    if draw(st.booleans()):
        head += [nn.ReLU(), nn.Linear(4, 3), nn.LogSoftmax(1)]
    return net.canvas, net.channels, nn.Sequential(*net.layers, *head)


@st.composite
def placements(draw, canvas):
    """Placements from one to all, in every mode."""
    mode = draw(st.sampled_from(["canvas", "canvas", "canvas", "crop", "circular", "fill"]))
    change = [draw(st.integers(0, 5)) for _ in canvas]
    if mode == "fill":
        fill = draw(st.sampled_from(["constant", "edge", "reflect"]))
        return Placement(image=canvas, canvas=canvas, mode="fill", fill=fill, max_shift=draw(st.integers(0, 3)),
                         background=90 if fill == "constant" else 0)
    image = tuple(n + k if mode == "crop" else max(1, n - k) for n, k in zip(canvas, change, strict=True))
    return Placement(image=image, canvas=canvas, mode=mode, background=draw(st.sampled_from([0, 0, 90])),
                     max_shift=draw(st.sampled_from([None, None, None, 1, 0])), step=draw(st.sampled_from([1, 1, 2])))


def with_values(model, seed):
    """Return the model in float64 with random statistics and biases."""
    generator = torch.Generator().manual_seed(seed)
    for norm in (part for part in model.modules() if isinstance(part, nn.BatchNorm2d)):
        norm.running_mean.normal_(generator=generator)
        norm.running_var.uniform_(0.5, 2, generator=generator)
    for weights in model.parameters():
        weights.data.add_(torch.randn(weights.shape, generator=generator) * 0.1)
    return model.double().eval()


def relative_difference(model, placement, channels, seed, **options):
    """Return the largest difference from the plain model, as a fraction of the largest output."""
    images = torch.randint(0, 256, (2, channels, *placement.image), dtype=torch.uint8,
                           generator=torch.Generator().manual_seed(seed))
    offsets = placement.offsets()
    canvases = placement.place(images.repeat_interleave(len(offsets), 0), offsets.repeat(len(images), 1))
    with torch.no_grad():
        expected = model(canvases.double() / 255).view(len(images), len(offsets), -1)
    found = build_dense(model, placement, (channels, *placement.image), **options).logits(images)
    assert found.shape == expected.shape and torch.equal(found.isfinite(), expected.isfinite())
    finite = expected.isfinite()  # a dilated pooling window may lie in the padding: -inf in the plain model too
    if not finite.any():
        return 0.0
    return ((found - expected)[finite].abs().max() / expected[finite].abs().max()).item()


def check(examples):
    """Compare random networks with the engine; return the largest difference and the number of each operation."""
    differences, counts = [0.0], Counter()

    @settings(max_examples=examples, deadline=None, derandomize=True, database=None, phases=[Phase.generate],
              suppress_health_check=list(HealthCheck))  # to shrink a network takes minutes
    @given(st.data(), nets(), st.integers(0, 2**16))
    def one(data, net, seed):
        canvas, channels, model = net
        placement = data.draw(placements(canvas))
        model = with_values(model, seed)
        ends = any(isinstance(part, Ends) for part in model)
        with shared_traces():
            every = len(trace(model, (channels, *canvas)).nodes) - 1
            shared = None if ends else data.draw(st.sampled_from([every, every, every, None, max(1, every // 2)]))
            try:
                difference = relative_difference(model, placement, channels, seed, shared=shared)
            except NotDense as refusal:  # the first operations only move values, or are not shared
                empty = "selects nothing" in str(refusal)  # half of the channels, if there is one
                assert ends or empty or (shared != every and "share no operation" in str(refusal)), refusal
                return
        counts.update(type(part).__name__ for part in model.modules())
        assert difference <= 1e-9
        differences.append(difference)

    one()
    return max(differences), counts


@pytest.mark.parametrize("examples", [EXAMPLES, pytest.param(300, marks=pytest.mark.slow)])
def test_random_padded_networks_are_exact(examples):
    _, counts = check(examples)
    assert counts["Sequential"] >= EXAMPLES
    assert {"Conv2d", "MaxPool2d", "AvgPool2d", "Branches", "Excite", "Padded", "Strided", "BatchNorm2d",
            "Function", "Ends"} <= set(counts)


if __name__ == "__main__":
    largest, found = check(int(sys.argv[1]))
    print(f"largest difference {largest:.2g} of the largest output", dict(found))
