"""Strides equal those of brute force in float64, for networks with strides of many kinds."""

import re

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from shiftscope.errors import UsageError
from shiftscope.graph import TraceError
from shiftscope.graph.editable import editable
from shiftscope.graph.sampling import Sampling
from shiftscope.layers import PhaseAverage
from shiftscope.models import load, save
from shiftscope.models.repair import Recipe, repair
from shiftscope.models.repair.strides import measured_strides, synthetic_images

from .strided_nets import ONLY_MEASURED, SHAPE, Net, Saturated, conv, zoo

pytestmark = pytest.mark.slow

ROUNDING = 1e-9
ZOO = zoo()


def images(shape=SHAPE, count=2):
    return torch.rand(count, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(7))


@torch.no_grad()
def at_all_shifts(model, x):
    """Return outputs (N, H, W, K) of a model at all circular shifts, one after the other."""
    height, width = x.shape[2:]
    rolled = [x.roll((dy, dx), (2, 3)) for dy in range(height) for dx in range(width)]
    found = torch.cat([model(part) for part in torch.cat(rolled).split(96)])
    return found.view(height, width, len(x), -1).permute(2, 0, 1, 3)


def period(outputs, axis):
    """Return the period of the outputs along an axis (1 or 2)."""
    size = outputs.shape[axis]
    for shift in range(1, size):
        if size % shift == 0 and float((outputs.roll(shift, axis) - outputs).abs().max()) <= ROUNDING:
            return shift
    return size


@pytest.mark.parametrize("name", ZOO)
def test_the_stride_is_the_period_of_the_outputs_and_the_average_is_invariant(name):
    build, expected = ZOO[name]
    net, x = build().double().eval(), images()
    before = at_all_shifts(net, x)
    assert (period(before, 1), period(before, 2)) == expected  # brute force
    known = Sampling(editable(net, SHAPE, any_batch=False)).strides
    assert known == ((1, 1) if name in ONLY_MEASURED else expected)
    repaired = repair(net, SHAPE, method="phase-average")
    assert repaired.net.stride == repaired.recipe.stride == expected
    passes = []
    repaired.net.model.register_forward_hook(lambda *_: passes.append(1))
    repaired(x)
    assert len(passes) == expected[0] * expected[1]
    after = at_all_shifts(repaired, x)
    assert float((after - after[:, :1, :1]).abs().max()) <= ROUNDING
    assert float((after[0] - after[1]).abs().max()) > 1e-6
    assert any("measured on images they are" in note for note in repaired.notes) == (name in ONLY_MEASURED)
    assert not any("exact" in note for note in repaired.notes)


@pytest.mark.parametrize("name", ZOO)
def test_measured_strides_are_those_of_the_zoo(name):
    build, expected = ZOO[name]
    assert measured_strides(editable(build(), SHAPE, any_batch=False), synthetic_images(SHAPE)) == expected


@pytest.mark.parametrize("pool", [lambda x: F.avg_pool2d(x, x.size(3)), nn.AvgPool2d(14), nn.MaxPool2d(14),
                                  lambda x: F.lp_pool2d(x, 2, 14), lambda x: F.conv2d(x, torch.ones(4, 1, 14, 14),
                                                                                      stride=14, groups=4)])
def test_an_operation_with_one_output_position_has_no_stride(pool):
    net = Net(lambda self, x: self.fc(pool(self.b(self.a(x))).flatten(1)), a=conv(1, 4, stride=2),
              b=conv(4, 4, stride=2), fc=nn.Linear(4, 3))
    assert Sampling(editable(net, (1, 56, 56))).strides == (4, 4)
    assert repair(net, (1, 56, 56), method="phase-average").net.stride == (4, 4)  # 16 passes, not 3,136


def test_pooling_over_the_whole_map_stays_global_in_a_polyphase_net():
    """Without padding the last map is 4 x 10; with circular padding it is 6 x 12, all of which must be pooled."""
    net = Net(lambda self, x: self.fc(F.avg_pool2d(F.relu(self.b(F.max_pool2d(F.relu(self.a(x)), 2))),
                                                   (3, 9)).flatten(1)),
              a=nn.Conv2d(1, 4, 3), b=nn.Conv2d(4, 4, 3), fc=nn.Linear(4, 3)).double().eval()
    repaired, x = repair(net, SHAPE, method="polyphase"), images()
    after = at_all_shifts(repaired, x)
    assert float((after - after[:, :1, :1]).abs().max()) <= ROUNDING < float((after[0] - after[1]).abs().max())
    assert repaired.notes == []
    small = Net(lambda self, x: self.fc(self.b(self.a(x)).flatten(1)), a=conv(1, 4, stride=2),
                b=nn.Conv2d(4, 4, (5, 11), stride=(5, 11)), fc=nn.Linear(4, 3)).double().eval()
    after = at_all_shifts(repair(small, (1, 10, 22), method="polyphase"), images((1, 10, 22)))
    assert float((after - after[:, :1, :1]).abs().max()) <= ROUNDING < float((after[0] - after[1]).abs().max())


def test_a_stride_may_be_given():
    net = ZOO["twice"][0]().double().eval()
    assert repair(net, SHAPE, method="phase-average", stride=(2, 4)).net.stride == (2, 4)
    assert repair(net, SHAPE, method="phase-average", stride=3).net.stride == (3, 3)

    class Branching(nn.Module):
        def forward(self, x):
            return x.mean((2, 3)).repeat(1, 3) if x.sum() > 0 else x.amax((2, 3)).repeat(1, 3)

    with pytest.raises(TraceError, match="cannot be read for an input of .*give it: stride=N, --stride N"):
        repair(Branching(), SHAPE, method="phase-average")
    assert repair(Branching(), SHAPE, method="phase-average", stride=2)(images().float()).shape == (2, 3)


@pytest.mark.parametrize("stride, method, message", [
    (0, "phase-average", "stride must be an integer from 1 to the size of the canvas"),
    ((2, 25), "phase-average", "stride must be an integer from 1 to the size of the canvas"),
    ((2, 2, 2), "phase-average", "stride must be a positive integer, or one for down"),
    (2.0, "phase-average", "stride must be a positive integer"),
    (True, "phase-average", "stride must be a positive integer"),
    (5, "phase-average", r"canvas must be multiples of 5, the total stride of Net, got \(12, 24\); choose --method"),
    ((2, 5), "phase-average", r"multiples of \(2, 5\), the total strides down and right of Net, got \(12, 24\)"),
    (1, "phase-average", "no strided layer, so there is nothing to repair in it; choose --method recenter or"),
    (2, "blur", "stride must be left out with blur"),
])
def test_impossible_strides_are_refused(stride, method, message):
    with pytest.raises(UsageError, match=message) as caught:
        repair(ZOO["twice"][0](), SHAPE, method=method, stride=stride)
    assert len(str(caught.value)) < 400


def test_the_stride_is_saved_and_not_measured_again(tmp_path, monkeypatch):
    net = ZOO["checkered"][0]().eval()
    save(repair(net, SHAPE, method="phase-average"), tmp_path)
    monkeypatch.setattr("shiftscope.models.repair.strides.measured_strides", None)
    loaded = load(tmp_path, model=ZOO["checkered"][0]())
    assert isinstance(loaded.net, PhaseAverage) and loaded.net.stride == (2, 2)
    assert Recipe(method="phase-average", shape=SHAPE).stride is None  # as in checkpoints of version 0.1


# ------------------------------------------------------------------ recommendations and refusals


WAYS = ("phase-average", "placement-average", "recenter")


TRACEABLE = [name for name in ZOO if name != "view_max"]  # len(x) fixes its batch, which polyphase and blur refuse


@pytest.mark.parametrize("name, method", [*((name, "polyphase") for name in TRACEABLE), ("slices", "blur"),
                                       ("by_axis", "blur"), ("view_mean", "blur"), ("spectrum", "blur")])
def test_every_recommended_method_is_possible(name, method):
    net = ZOO[name][0]()
    try:
        repair(net, SHAPE, method=method)
    except UsageError as error:
        recommended = re.findall("|".join(WAYS), str(error).split("; choose --method")[1])
        assert recommended and len(str(error)) < 400
        for way in recommended:
            assert repair(net, SHAPE, method=way)(images().float()).shape == (2, 3)


def test_phase_average_is_not_recommended_if_impossible():
    odd = Net(lambda self, x: self.fc(F.interpolate(self.a(x), size=(5, 7)).mean((2, 3))), a=conv(1, 4),
              fc=nn.Linear(4, 3))
    with pytest.raises(UsageError, match="upsample_nearest2d: .*; choose --method recenter or placement-average$"):
        repair(odd, SHAPE, method="polyphase")
    with pytest.raises(UsageError, match="upsample_nearest2d of Net resizes its maps such that no shift smaller"):
        repair(odd, SHAPE, method="phase-average")
    odd_canvas = Net(lambda self, x: self.fc(self.a(x)[:, :, ::2].mean((2, 3))), a=conv(1, 4), fc=nn.Linear(4, 3))
    with pytest.raises(UsageError, match="slice: .*; choose --method recenter or placement-average$"):
        repair(odd_canvas, (1, 13, 24), method="polyphase")


OUTPUTS = {
    "a tuple of 2": lambda self, x: (self.a(x).mean((2, 3)), self.a(x).amax((2, 3))),
    r"\(2, 4, 6, 12\)": lambda self, x: self.a(x),
    r"\(2,\)": lambda self, x: self.a(x).mean((1, 2, 3)),
}


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("method", ["placement-average", "phase-average"])
@pytest.mark.parametrize("stride", [None, 2])
def test_averages_check_the_output_of_the_model(output, method, stride):
    net = Net(OUTPUTS[output], a=conv(1, 4, stride=2))
    more = {"stride": stride} if method == "phase-average" else {"image": (5, 5) if stride else None}
    with pytest.raises((UsageError, TraceError), match=f"must return one tensor|returns {output}|select_output="):
        repair(net, SHAPE, method=method, **more)


@pytest.mark.parametrize("wrapped", [lambda scores, x: (scores, x), lambda scores, x: {"logits": scores, "input": x}])
def test_averages_use_the_only_scores_among_several_outputs(wrapped):
    net = Net(lambda self, x: wrapped(self.a(x).mean((2, 3)), x), a=conv(1, 4, stride=2)).eval()
    plain = Net(lambda self, x: self.a(x).mean((2, 3)), a=net.a).eval()
    canvases = torch.rand(3, *SHAPE, generator=torch.Generator().manual_seed(0))
    views = [canvases.roll((dy, dx), (2, 3)) for dy in range(SHAPE[1]) for dx in range(SHAPE[2])]
    with torch.no_grad():
        expected = torch.stack([plain(view).softmax(1) for view in views]).mean(0).log()
        found = repair(net, SHAPE, method="placement-average").eval()(canvases)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_a_model_for_another_canvas_is_refused():
    with pytest.raises(UsageError, match="Sequential cannot take images of 1 x 12 x 24"):
        repair(nn.Sequential(nn.Flatten(), nn.Linear(5, 3)), SHAPE, method="placement-average")


def test_trying_a_model_does_not_change_it():
    net = ZOO["twice"][0]().train()
    state, random = {key: value.clone() for key, value in net.state_dict().items()}, torch.get_rng_state()
    repair(net, SHAPE, method="phase-average")
    repair(net, SHAPE, method="placement-average")
    assert net.training and torch.get_rng_state().equal(random)
    assert all(value.equal(state[key]) for key, value in net.state_dict().items())


# ------------------------------------------------------------------ measurements


@pytest.mark.parametrize("ending", ["softmax", "sigmoid", "tanh", "logits"])
def test_saturated_outputs_are_not_called_exact(ending):
    """On noise the outputs of such a model do not change at all."""
    net = Saturated(ending).double()
    dark = 0.2 * images()
    notes = repair(net, SHAPE, method="phase-average").notes
    notes += repair(net, SHAPE, method="phase-average", samples=dark).notes
    assert not any("exact" in note or "indifferent" in note for note in notes)
    found = repair(net, SHAPE, method="phase-average", samples=dark).notes[-1]
    with torch.no_grad():
        still = net(dark)
        moved = max(float((net(dark.roll(shift, (2, 3))) - still).abs().max()) for shift in ((2, 0), (0, 2)))
    apart = float((still[0] - still[1]).abs().max())
    assert ("nothing" in found) if apart == 0 else f"by up to {100 * moved / apart:.2g} %" in found
