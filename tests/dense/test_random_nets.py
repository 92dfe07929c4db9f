"""Nets that hypothesis draws from the listed layers: the engine takes them and gives what they give.

`python tests/dense/test_random_nets.py 200` draws that many.
"""

import sys
from collections import Counter
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from shiftscope.dense import NotDense, build_dense
from shiftscope.layers import Normalize
from shiftscope.placement import Placement

pytestmark = pytest.mark.slow

EXAMPLES = 40
ACTIVATIONS = {"relu": nn.ReLU, "leaky_relu": nn.LeakyReLU, "gelu": nn.GELU, "elu": nn.ELU, "silu": nn.SiLU,
               "sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "hardswish": nn.Hardswish, "softplus": nn.Softplus}


def sides(draw, size, most=3):
    return tuple(draw(st.integers(1, min(most, n))) for n in size)


def after(size, kernel, stride=(1, 1), dilation=(1, 1)):
    return tuple((n - d * (k - 1) - 1) // s + 1 for n, k, s, d in zip(size, kernel, stride, dilation, strict=True))


def draw_conv(draw, channels, size):
    kernel = sides(draw, size)
    dilation = tuple(draw(st.integers(1, 2)) if 2 * (k - 1) < n else 1 for k, n in zip(kernel, size, strict=True))
    stride = (draw(st.integers(1, 2)), draw(st.integers(1, 2)))
    groups = draw(st.sampled_from([g for g in (1, 2, 3, 4) if channels % g == 0]))
    out = groups * draw(st.integers(1, 3))
    spec = {"out": out, "kernel": kernel, "stride": stride, "dilation": dilation, "groups": groups,
            "bias": draw(st.booleans())}
    return ("conv", channels, spec), out, after(size, kernel, stride, dilation)


def draw_pool(draw, kind, channels, size):
    kernel = sides(draw, size)
    stride = draw(st.sampled_from([kernel, (1, 1), (2, 1)]))
    return (kind, kernel, stride), channels, after(size, kernel, stride)


def draw_block(draw, channels, size):
    kernel = sides(draw, size)
    kind = draw(st.sampled_from(["residual", "cat"]))
    return (kind, channels, kernel), channels * (2 if kind == "cat" else 1), after(size, kernel)


@st.composite
def nets(draw):
    """(layers, end, channels, canvas): plain tuples, so that what fails can be read."""
    canvas = (draw(st.integers(5, 12)), draw(st.integers(5, 12)))
    start = channels = draw(st.integers(1, 3))
    layers, size = [], canvas
    for _ in range(draw(st.integers(0, 6))):
        kind = draw(st.sampled_from(["conv", "conv", "max", "avg", "activation", "norm", "dropout", "block", "crop",
                                     "softmax", "scale"]))
        if kind == "conv":
            layer, channels, size = draw_conv(draw, channels, size)
        elif kind in ("max", "avg"):
            layer, channels, size = draw_pool(draw, kind, channels, size)
        elif kind == "block":
            layer, channels, size = draw_block(draw, channels, size)
        elif kind == "crop":
            top, left = (draw(st.integers(0, min(1, n - 1))) for n in size)
            layer, size = ("crop", top, left), (size[0] - top, size[1] - left)
        elif kind == "activation":
            layer = ("activation", draw(st.sampled_from(sorted(ACTIVATIONS))))
        else:
            layer = (kind, channels)
        layers.append(layer)
    end = draw(st.sampled_from(["flatten", "view", "reshape", "mean", "amax", "adaptive"]))
    width = channels * (size[0] * size[1] if end in ("flatten", "view", "reshape") else 1)
    hidden, soft = draw(st.sampled_from([(), (4,)])), draw(st.sampled_from(["", "softmax", "log_softmax"]))
    return layers, (end, width, hidden, soft), start, canvas


class Drawn(nn.Module):
    """A drawn net, written with modules or with functions."""

    def __init__(self, net, functional):
        super().__init__()
        self.specs, (self.end, width, hidden, self.soft), channels, _ = net
        self.functional = functional
        self.normalize = Normalize([0.3] * channels, 0.5)
        self.parts = nn.ModuleList(self.part(spec) for spec in self.specs)
        self.linears = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise((width, *hidden, 3)))

    def part(self, spec):
        kind = spec[0]
        if kind == "conv":
            _, channels, a = spec
            return nn.Conv2d(channels, a["out"], a["kernel"], a["stride"], dilation=a["dilation"], groups=a["groups"],
                             bias=a["bias"])
        if kind in ("residual", "cat"):
            return nn.Conv2d(spec[1], spec[1], spec[2])
        if kind == "scale":
            return nn.Conv2d(spec[1], spec[1], 1, groups=spec[1])  # its weights stand for the factors
        modules = {"max": lambda: nn.MaxPool2d(*spec[1:]), "avg": lambda: nn.AvgPool2d(*spec[1:]),
                   "activation": lambda: ACTIVATIONS[spec[1]](), "norm": lambda: nn.BatchNorm2d(spec[1]),
                   "dropout": nn.Dropout, "softmax": lambda: nn.Softmax(1), "crop": nn.Identity}
        return modules[kind]()

    def forward(self, x):
        x = self.normalize(x)
        for spec, part in zip(self.specs, self.parts, strict=True):
            x = self.step(spec, part, x)
        return self.finish(x)

    def step(self, spec, part, x):
        kind = spec[0]
        if kind == "crop":
            return x[:, :, spec[1]:, spec[2]:]
        if kind == "scale":
            return x * part.weight.flatten()[:, None, None] + part.bias.view(1, -1, 1, 1) - 0.5
        if kind in ("residual", "cat"):
            y = part(x)
            top, left = ((k - 1) // 2 for k in spec[2])
            x = x[:, :, top:top + y.shape[2], left:left + y.shape[3]]
            return x + y if kind == "residual" else torch.cat((y, x), dim=1)
        if not self.functional:
            return part(x)
        if kind == "conv":
            return F.conv2d(x, part.weight, part.bias, part.stride, dilation=part.dilation, groups=part.groups)
        if kind in ("max", "avg"):
            return (F.max_pool2d if kind == "max" else F.avg_pool2d)(x, *spec[1:])
        if kind == "activation":
            return getattr(F, spec[1])(x)
        return F.softmax(x, dim=-3) if kind == "softmax" else part(x)

    def finish(self, x):
        ends = {"flatten": lambda: x.flatten(1), "view": lambda: x.reshape(-1, x.shape[1:].numel()),
                "reshape": lambda: x.reshape(x.size(0), -1), "mean": lambda: x.mean((2, 3)),
                "amax": lambda: x.amax(dim=[-2, -1]), "adaptive": lambda: F.adaptive_avg_pool2d(x, 1)[..., 0, 0]}
        x = ends[self.end]()
        for k, linear in enumerate(self.linears):
            x = F.linear(F.relu(x) if k else x, linear.weight, linear.bias)
        return {"": lambda x: x, "softmax": nn.Softmax(dim=1), "log_softmax": lambda x: F.log_softmax(x, dim=-1)}[
            self.soft](x)


@st.composite
def placements(draw, canvas):
    mode = draw(st.sampled_from(["canvas", "canvas", "circular", "crop"]))
    image = tuple(n + draw(st.integers(0, 3)) if mode == "crop" else draw(st.integers(max(1, n - 4), n))
                  for n in canvas)
    return Placement(image=image, canvas=canvas, mode=mode, background=draw(st.sampled_from([0, 0, 90, 255])),
                     max_shift=draw(st.sampled_from([None, None, 1])), step=draw(st.sampled_from([1, 1, 2])))


def plain_logits(model, placement, images):
    offsets = placement.offsets()
    canvases = placement.place(images.repeat_interleave(len(offsets), 0), offsets.repeat(len(images), 1))
    with torch.no_grad():
        return model(canvases.double() / 255).view(len(images), len(offsets), -1)


def made(net, functional, seed):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = Drawn(net, functional).double().eval()
        for norm in (part for part in model.parts if isinstance(part, nn.BatchNorm2d)):
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.5, 2)
    return model


def compare(net, functional, placement, seed):
    """Return whether the net went dense; fail where it did and differs, or did not and names no layer."""
    model = made(net, functional, seed)
    shape = (net[2], *placement.image)
    images = torch.randint(0, 256, (2, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))
    try:
        engine = build_dense(model, placement, shape)
    except NotDense as refusal:
        assert refusal.layer and refusal.reason
        return False
    expected = plain_logits(model, placement, images)
    torch.testing.assert_close(engine.logits(images), expected, rtol=1e-9, atol=1e-9 * expected.abs().max().item())
    return True


def check(examples):
    """Draw so many nets and compare them; return how many went dense and how many did not."""
    counts = Counter()

    @settings(max_examples=examples, deadline=None, derandomize=True, database=None,
              suppress_health_check=list(HealthCheck))
    @given(st.data(), nets(), st.booleans(), st.integers(0, 2**16))
    def one(data, net, functional, seed):
        counts[compare(net, functional, data.draw(placements(net[3])), seed)] += 1

    one()
    return counts[True], counts[False]


def test_dense_outputs_of_random_nets_equal_the_plain_outputs():
    dense, refused = check(EXAMPLES)
    assert dense >= 0.95 * (dense + refused) and dense + refused >= EXAMPLES


if __name__ == "__main__":
    dense, refused = check(int(sys.argv[1]))
    print(f"{dense} went dense and agree, {refused} were refused")
