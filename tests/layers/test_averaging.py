"""Averages of networks that return logits, probabilities or log-probabilities."""

import pytest
import torch
from torch import nn

from shiftscope.dense.shifts import placement_average
from shiftscope.errors import UsageError
from shiftscope.layers import PhaseAverage, PlacementAverage
from shiftscope.layers.averaging import MeanOfViews
from shiftscope.models.repair import WholeAverage, repair

SHAPE = (1, 5, 6)
ENDS = {"logits": lambda z: z, "probabilities": lambda z: z.softmax(1), "log-probabilities": lambda z: z.log_softmax(1)}


class Ended(nn.Module):
    """A strided convolution and a linear layer, with one of three output types."""

    def __init__(self, end):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.fc, self.end = nn.Conv2d(1, 4, 2, stride=2), nn.Linear(24, 3), ENDS[end]
        self.double().eval()

    def forward(self, x):
        return self.end(4 * self.fc(self.conv(x).relu().flatten(1)))


def views(x, shifts):
    """Probabilities by hand, (views, B, K)."""
    with torch.no_grad():
        return torch.stack([Ended("probabilities")(x.roll(shift, (2, 3))) for shift in shifts])


@pytest.fixture
def pixels():
    return torch.rand(3, *SHAPE, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


EVERY = [(dy, dx) for dy in range(5) for dx in range(6)]
CASES = {
    "phase": (lambda net, **more: PhaseAverage(net, 2, **more), [(dy, dx) for dy in (0, 1) for dx in (0, 1)]),
    "placement": (lambda net, **more: PlacementAverage(net, **more), EVERY),
    "placement, dense": (lambda net, **more: placement_average(net, SHAPE, **more).eval(), EVERY)}


@pytest.mark.parametrize("given", [True, False])
@pytest.mark.parametrize("kind", ENDS)
@pytest.mark.parametrize("case", CASES)
def test_the_mean_is_that_of_the_probabilities(case, kind, given, pixels):
    build, shifts = CASES[case]
    net = build(Ended(kind), **({"output_type": kind} if given else {}))
    expected = views(pixels, shifts).mean(0)
    with torch.no_grad():
        found = net(pixels)
    assert net.output_type == kind
    torch.testing.assert_close(found if kind == "probabilities" else found.exp(), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", ENDS)
def test_the_mean_over_whole_placements(kind):
    canvas = torch.zeros(2, *SHAPE, dtype=torch.float64)
    canvas[..., 2:4, 1:4] = 0.1 + torch.rand(2, 1, 2, 3, generator=torch.Generator().manual_seed(1)).double()
    net = WholeAverage(Ended(kind), (2, 3), SHAPE[1:], background=0.0)
    with torch.no_grad():
        found, centered = net(canvas), net.recenter(canvas)
    expected = views(centered, net.shifts).mean(0)
    torch.testing.assert_close(found if kind == "probabilities" else found.exp(), expected, rtol=0, atol=1e-12)


def test_the_label_of_an_average_is_that_of_the_mean_probability():
    """Applying softmax to probabilities again would give another class."""
    parts = torch.tensor([[[0.98, 0.02, 0.0]], [[0.0, 0.45, 0.55]], [[0.0, 0.55, 0.45]]])
    mean = MeanOfViews("probabilities")
    mean.add(parts)
    assert mean.result().argmax(1).tolist() == [1] and mean.output_type == "probabilities"
    assert mean.result().sum() == pytest.approx(1) and mean.result()[0, 1] == pytest.approx(1.02 / 3)


def test_integers_are_averaged_as_floats():
    mean = MeanOfViews("logits")
    mean.add(torch.tensor([[[1, 2]], [[2, 2]]]))
    assert mean.result().tolist() == [[1.5, 2.0]]


@pytest.mark.parametrize("method", ["phase-average", "placement-average"])
@pytest.mark.parametrize("kind", ENDS)
def test_repaired_models_store_the_output_type(method, kind, pixels):
    repaired = repair(Six(kind), (1, 6, 6), method=method)
    assert repaired.recipe.output_type == kind == repaired.net.output_type
    assert repair(Six(kind), (1, 6, 6), method=method, output_type="logits").recipe.output_type == "logits"


class Six(Ended):
    """The same for 6 x 6 pixels."""

    def __init__(self, end):
        super().__init__(end)
        self.fc = nn.Linear(36, 3).double()


def test_an_unknown_type_is_refused():
    for build in (lambda: PhaseAverage(nn.Flatten(), 2, output_type="votes"),
                  lambda: PlacementAverage(nn.Flatten(), output_type="votes")):
        with pytest.raises(UsageError, match="unknown output type 'votes'"):
            build()
