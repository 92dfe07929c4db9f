"""Nets that hypothesis draws from allowed and forbidden layers: what the proof takes answers alike everywhere.

`python tests/dense/test_invariance_proof_random.py 500` draws that many.
"""

import sys
from collections import Counter

import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from shiftscope.dense import NotInvariant, prove_invariance
from shiftscope.layers import PhaseAverage, PhaseToOrigin, PolyphaseDownsample2d, Recenter
from shiftscope.placement import Placement

pytestmark = pytest.mark.slow

EXAMPLES = 30
CHANNELS = 2

GOOD = ("conv", "dilated", "pool", "relu", "norm", "residual", "roll", "polyphase", "origin", "strided", "window",
        "mirrored",
        "excite", "flatten_back", "recenter")
BAD = ("zeros", "crop", "odd_padding", "ramp", "mirror_sum", "two_polyphases", "uneven_stride", "transposed_sum")
ENDS = ("mean", "amax", "flat_mean", "pool", "sum_of_rows", "flatten", "argmax", "polyphase_mean")


@st.composite
def nets(draw):
    layers = draw(st.lists(st.sampled_from(GOOD * 2 + BAD), max_size=5))
    return layers, draw(st.sampled_from(ENDS[:5] * 2 + ENDS)), draw(st.sampled_from([1, 1, 1, 2, 4]))


def around(x, sides):
    return F.pad(x, sides, mode="circular")


class Drawn(nn.Module):
    """A drawn net; each layer keeps two channels."""

    def __init__(self, layers, end):
        super().__init__()
        self.names, self.last = layers, end
        self.convs = nn.ModuleList(nn.Conv2d(CHANNELS, CHANNELS, 3) for _ in layers)
        self.norms = nn.ModuleList(nn.BatchNorm2d(CHANNELS) for _ in layers)
        self.tilt = nn.Parameter(torch.tensor(0.3))

    def forward(self, x):
        for name, conv, norm in zip(self.names, self.convs, self.norms, strict=True):
            x = getattr(self, name)(x, conv, norm)
        return getattr(self, f"to_{self.last}")(x)

    def conv(self, x, conv, norm):
        return conv(around(x, (1, 1, 1, 1)))

    def dilated(self, x, conv, norm):
        return F.conv2d(around(x, (3, 1, 0, 2)), conv.weight, conv.bias, dilation=(1, 2))

    def pool(self, x, conv, norm):
        return F.max_pool2d(around(x, (0, 1, 0, 2)), (3, 2), 1)

    def relu(self, x, conv, norm):
        return F.leaky_relu(x + 0.1, 0.2)

    def norm(self, x, conv, norm):
        return norm(x)

    def residual(self, x, conv, norm):
        return x + torch.tanh(self.conv(x, conv, norm))

    def roll(self, x, conv, norm):
        return x - 0.5 * x.roll((1, -2), (2, 3))

    def polyphase(self, x, conv, norm):
        return PolyphaseDownsample2d(2)(x)

    def origin(self, x, conv, norm):
        return PhaseToOrigin(2)(x)

    def strided(self, x, conv, norm):
        return F.conv2d(around(x, (1, 0, 0, 1)), conv.weight[:, :, :2, :2], conv.bias, stride=2)

    def window(self, x, conv, norm):
        return conv(around(x, (2, 2, 2, 2)))[:, :, 1:-1, 2:]

    def mirrored(self, x, conv, norm):
        plain, mirror = self.conv(torch.cat((x, x.flip(3))), conv, norm).chunk(2)
        return plain * mirror.mean((2, 3), keepdim=True)

    def excite(self, x, conv, norm):
        return x * torch.sigmoid(x.amax((2, 3), keepdim=True) - 1)

    def flatten_back(self, x, conv, norm):
        return x.flatten(2).softmax(2).unflatten(2, x.shape[2:]) * 5 + x

    def recenter(self, x, conv, norm):
        return Recenter((4, 4))(x)

    def zeros(self, x, conv, norm):
        return F.conv2d(x, conv.weight, conv.bias, padding=1)

    def crop(self, x, conv, norm):
        return x[:, :, 1:]

    def odd_padding(self, x, conv, norm):
        return conv(around(x, (1, 1, 1, 2)))

    def ramp(self, x, conv, norm):
        return x + self.tilt * torch.arange(x.shape[3], dtype=x.dtype)

    def mirror_sum(self, x, conv, norm):
        return torch.relu(x + x.flip(2))

    def two_polyphases(self, x, conv, norm):
        down = PolyphaseDownsample2d(2)
        return down(x) * down(self.conv(x, conv, norm))

    def uneven_stride(self, x, conv, norm):
        return F.conv2d(around(x, (1, 1, 1, 1)), conv.weight, conv.bias, stride=(1, 3))

    def transposed_sum(self, x, conv, norm):
        return torch.relu(x - x.transpose(2, 3)) if x.shape[2] == x.shape[3] else self.ramp(x, conv, norm)

    def to_mean(self, x):
        return x.exp().mean((2, 3))

    def to_amax(self, x):
        return x.amax((2, 3))

    def to_flat_mean(self, x):
        return x.square().flatten(2).mean(2)

    def to_pool(self, x):
        return F.adaptive_max_pool2d(x, 1).flatten(1)

    def to_sum_of_rows(self, x):
        return x.amax(2).square().sum(2)

    def to_flatten(self, x):
        return x.flatten(1)[:, ::7].cumsum(1)

    def to_argmax(self, x):
        return x.flatten(2).argmax(2).to(x)

    def to_polyphase_mean(self, x):
        return PolyphaseDownsample2d(2)(x).abs().mean((2, 3))


@st.composite
def placements(draw):
    canvas = draw(st.sampled_from([(8, 8), (8, 12), (12, 8), (6, 10)]))
    image = (draw(st.integers(3, canvas[0] - 1)), draw(st.integers(3, canvas[1] - 1)))
    return Placement(image=image, canvas=canvas, mode=draw(st.sampled_from(["canvas", "circular"])),
                     background=draw(st.sampled_from([0, 0, 90])), step=draw(st.sampled_from([1, 1, 1, 2])))


def made(net, seed):
    layers, end, phases = net
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = Drawn(layers, end).double()
        for norm in model.norms:
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.5, 2)
    return (model if phases == 1 else PhaseAverage(model, phases)).eval()


def pictures(place, seed):
    noise = torch.randint(1, 256, (2, CHANNELS, *place.image), generator=torch.Generator().manual_seed(seed))
    return (noise // torch.tensor([1, 3]).view(2, 1, 1, 1)).to(torch.uint8)


def plain_logits(model, place, images):
    offsets = place.offsets()
    canvases = place.place(images.repeat_interleave(len(offsets), 0), offsets.repeat(len(images), 1))
    with torch.no_grad():
        return model(canvases.double() / 255).view(len(images), len(offsets), -1)


def judged(net, place, seed):
    """Return what became of a net: refused; proved, and so it is; and whether its answers depend on the picture."""
    model, images = made(net, seed), pictures(place, seed)
    try:
        proof = prove_invariance(model, place, (CHANNELS, *place.image))
    except NotInvariant as refusal:
        assert refusal.layer and refusal.reason
        return "refused"
    found = plain_logits(model, place, images)
    assert proof.operations > 0 and found.isfinite().all()
    assert (found - found[:, :1]).abs().max() <= 1e-9 * max(1, found.abs().max())
    return "differs" if (found[0, 0] - found[1, 0]).abs().max() > 1e-2 else "flat"


def check(examples):
    """Draw so many nets; return how many were refused, how many proved, how many of these tell two pictures apart."""
    counts = Counter()

    @settings(max_examples=examples, deadline=None, derandomize=True, database=None,
              suppress_health_check=list(HealthCheck))
    @given(nets(), placements(), st.integers(0, 2**16))
    def one(net, place, seed):
        if place.count > 1:
            counts[judged(net, place, seed)] += 1

    one()
    return counts["refused"], counts["differs"] + counts["flat"], counts["differs"]


def test_random_nets_with_a_proof_are_invariant():
    refused, proved, differ = check(EXAMPLES)
    assert proved >= 0.15 * EXAMPLES and refused >= 0.15 * EXAMPLES and differ >= 0.7 * proved


if __name__ == "__main__":
    print("{} refused, {} proved and alike, {} of them tell pictures apart".format(*check(int(sys.argv[1]))))
