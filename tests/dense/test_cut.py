"""Networks of which placements share only the first operations."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from shiftscope.auditing.engines import AuditInputs
from shiftscope.auditing.self_check import check_engine, passed
from shiftscope.data.base import TensorImages
from shiftscope.dense import NotDense, axis, build_dense, pointwise
from shiftscope.graph import trace
from shiftscope.layers import Normalize
from shiftscope.placement import Placement

from ..helpers import Lambda

PLACE = Placement(image=(5, 4), canvas=(9, 8), background=40)


def conv(*args, **kwargs):
    return nn.Conv2d(*args, **kwargs)


def pictures(count=3, place=PLACE):
    return torch.randint(0, 256, (count, 2, *place.image), dtype=torch.uint8)


def difference(built, model, brute, place=PLACE):
    images = pictures(place=place)
    found, expected = built.logits(images), brute(model, place, images)
    return ((found - expected).abs().max() / expected.abs().max()).item()


class Block(nn.Module):
    def __init__(self, channels, stride):
        super().__init__()
        self.a = nn.Sequential(conv(channels, 6, 3, stride, 1, bias=False), nn.BatchNorm2d(6), nn.ReLU(inplace=True),
                               conv(6, 6, 3, 1, 1), nn.BatchNorm2d(6))
        self.b = nn.Sequential(conv(channels, 6, 1, stride), nn.BatchNorm2d(6))

    def forward(self, x):
        return F.relu(self.a(x) + self.b(x), inplace=True)


def residual():
    torch.manual_seed(0)
    model = nn.Sequential(Normalize([0.3, 0.4], 0.5), Block(2, 1), nn.MaxPool2d(2), Block(6, 2),
                          nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4), nn.LogSoftmax(1)).double().eval()
    for norm in (part for part in model.modules() if isinstance(part, nn.BatchNorm2d)):
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
    return model


def test_every_cut_gives_the_same_outputs(brute):
    model = residual()
    count = len(trace(model, (2, 9, 8)).nodes) - 1
    images = pictures()
    expected = brute(model, PLACE, images)
    for shared in range(1, count + 1):
        built = build_dense(model, PLACE, (2, 5, 4), shared=shared)
        torch.testing.assert_close(built.logits(images), expected, rtol=1e-9, atol=1e-12)
        assert (built.cut is None) >= (shared == count) and (shared > 3 or built.cut is not None)


def test_the_outputs_of_listed_offsets_are_in_their_order(brute):
    place = Placement(image=(5, 4), canvas=(9, 8), offset_list=[(2, 2), (4, 0), (0, 3), (4, 4), (0, 0)])
    for shared in (4, 8):
        assert difference(build_dense(residual(), place, (2, 5, 4), shared=shared), residual(), brute, place) < 1e-12


AFTER = {
    "group norm": lambda: [nn.GroupNorm(2, 4), nn.Flatten(), nn.Linear(288, 3)],
    "transposed": lambda: [nn.ConvTranspose2d(4, 2, 2), nn.Flatten(), nn.Linear(180, 3)],
    "upsampling": lambda: [nn.Upsample(scale_factor=2, mode="bilinear"), nn.MaxPool2d(2), nn.Flatten(),
                           nn.Linear(288, 3)],
    "position map": lambda: [Lambda(lambda self, x: x * self.map, map=nn.Parameter(torch.rand(9, 8))), nn.Flatten(),
                             nn.Linear(288, 3)],
    "shuffle": lambda: [nn.ChannelShuffle(2), nn.Flatten(), nn.Linear(288, 3)],
    "codes": lambda: [Lambda(lambda self, x: self.codes((x.sum(1) > 0).long()), codes=nn.Embedding(2, 1)), nn.Flatten(),
                      nn.Linear(72, 3)],
    "attention": lambda: [nn.Flatten(2), Lambda(lambda self, x: F.scaled_dot_product_attention(x, x, x)),
                          nn.Flatten(), nn.Linear(288, 3)],
    "same": lambda: [nn.GroupNorm(1, 4), conv(4, 4, (2, 4), padding="same"), nn.Flatten(), nn.Linear(288, 3)],
}


@pytest.mark.parametrize("name", AFTER)
def test_operations_without_a_rule_run_for_each_canvas(name, brute):
    torch.manual_seed(0)
    model = nn.Sequential(conv(2, 4, 3, padding=1), nn.Tanh(), *AFTER[name]()).double().eval()
    built = build_dense(model, PLACE, (2, 5, 4))
    assert difference(built, model, brute) < 1e-12
    assert built.cut is not None and "GFLOP an image" in built.cut.sentence
    assert built.cut.shared <= 6 and built.cut.layer in (
        "0 (conv2d)", "1 (tanh)", "2 (reshape)", "2 (sum)", "2 (gt)", "2 (_to_copy)")


def test_the_cut_counts_the_operations_that_sharing_saves():
    model = nn.Sequential(conv(2, 4, 3, padding=1), nn.GroupNorm(2, 4), nn.Flatten(), nn.Linear(288, 3)).eval()
    cut = build_dense(model, PLACE, (2, 5, 4)).cut
    convolution, linear = 2 * 72 * 4 * 18, 2 * 288 * 3
    assert cut.flops == 25 * (convolution + linear)
    assert 0 < cut.saved < 25 * convolution and PLACE.count == 25


def mixed(self, x):
    x = F.relu(self.a(x))
    x = F.group_norm(x, 2)
    return self.out((x - x.mean(0, keepdim=True)).flatten(1))


def merged(self, x):
    return self.out(F.group_norm(self.a(x), 2).reshape(-1, 144)).reshape(-1, 2)


def drops(self, x):
    return self.out(F.dropout(F.group_norm(self.a(x), 2), 0.5, training=True).flatten(1))


def baked(self, x):
    x = F.group_norm(self.a(x), 2)
    return self.out((x + torch.arange(float(len(x))).view(-1, 1, 1, 1)).flatten(1))


def rolls(self, x):
    return self.out(self.a(x).roll(3).flatten(1))


def largest(self, x):
    return self.out(self.a(x).flatten(1).topk(288).values)


@pytest.mark.parametrize(("function", "size", "reason"), [
    (rolls, (288, 2), "mixes the images of a batch"), (largest, (288, 2), "has several results"),
    (baked, (288, 2), "do not run in other batches"),
    (mixed, (288, 2), "mixes the images of a batch"), (merged, (144, 1), "mixes the images of a batch"),
    (drops, (288, 2), "draws random numbers")])
def test_models_whose_outputs_depend_on_more_than_the_image_are_refused(function, size, reason):
    model = Lambda(function, a=conv(2, 4, 3, padding=1), out=nn.Linear(*size)).double()
    with pytest.raises(NotDense, match=reason):
        build_dense(model, PLACE, (2, 5, 4))


def test_building_leaves_the_generators():
    model = residual()
    before = torch.get_rng_state()
    build_dense(model, PLACE, (2, 5, 4))
    assert torch.get_rng_state().equal(before)


def test_chunks_are_halved_when_memory_runs_out(brute, monkeypatch):
    model = residual()
    built = build_dense(model, PLACE, (2, 5, 4), shared=6)
    rest, sizes = built._rest, []

    def limited(values):
        sizes.append(len(values[0]))
        if sizes[-1] > 5:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return rest(values)

    limited.nodes = rest.nodes
    built._rest = limited
    assert difference(built, model, brute) < 1e-12
    assert max(sizes) > 5 and built._chunk <= 5

    def fails(values):
        raise RuntimeError("another error")

    fails.nodes = rest.nodes
    built._rest = fails
    with pytest.raises(RuntimeError, match="another error"):
        built.logits(pictures())


def test_weights_are_copied_only_in_the_engine():
    model = residual()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    build_dense(model, PLACE, (2, 5, 4), shared=5).logits(pictures())
    assert all(value.equal(before[name]) for name, value in model.state_dict().items())
    assert not model.training


# ---------------------------------------------------------------- negative controls: an error at a border is large

def shifted(original):
    """Rows that touch padding are those of the neighboring offset, on the lower half of the map."""
    def distinct(*arguments):
        taps = original(*arguments)
        table, inner = taps.axis.table.copy(), taps.axis.inner
        half = slice(table.shape[1] // 2, None)
        touches = table[:, half] >= inner
        table[:, half] = (table[:, half] - touches).clip(inner if touches.all() else -1)
        return axis.Taps(axis.Axis(table, taps.axis.size, inner, taps.axis.void), taps.index)
    return distinct


def dropped(original):
    """The last row that touches padding is missing; the one before it is used instead."""
    def distinct(*arguments):
        taps = original(*arguments)
        table, size = taps.axis.table.copy(), taps.axis.size
        if taps.axis.inner < size - 1:
            table[table == size - 1] = size - 2
        return axis.Taps(axis.Axis(table, size, taps.axis.inner, taps.axis.void), taps.index)
    return distinct


def narrow(original):
    """At a join, the rows of the second branch follow the first branch's border."""
    def join(axes):
        if len(axes) < 2 or axes[0].table.shape != axes[1].table.shape:
            return original(axes)
        return original([axes[1], axes[1]])
    return join


def checked(model):
    """Compare the engine with the plain model as an audit does."""
    images = TensorImages(pictures(6), torch.zeros(6, dtype=torch.int64))
    inputs = AuditInputs(model=model, images=images, placement=PLACE, offsets=PLACE.offsets(), sampled=False, seed=0,
                         memory=2**28)
    return check_engine(build_dense(model, PLACE, (2, 5, 4), shared=30), inputs.check())[0]


@pytest.mark.parametrize(("module", "name", "fault"), [
    (axis, "distinct", shifted), (axis, "distinct", dropped), (pointwise, "join", narrow)])
def test_the_self_check_finds_a_wrong_border(module, name, fault, monkeypatch):
    model = residual()
    assert passed(checked(model))
    monkeypatch.setattr(module, name, fault(getattr(module, name)))
    found = checked(model)
    assert not passed(found) and found["max_abs_logit_difference"] > 1e3 * found["tolerance"]


def test_outputs_of_a_trial_are_returned_once():
    built = build_dense(residual(), PLACE, (2, 5, 4), shared=4)
    images = pictures()
    expected = built.logits(images)
    built.known = images[:2], expected[:2] + 1
    first, second = built.logits(images), built.logits(images)
    assert torch.equal(first[:2], expected[:2] + 1) and torch.allclose(first[2:], expected[2:])
    assert torch.equal(second, expected)
    built.known = images, expected + 1
    assert torch.allclose(built.logits(images[:1]), expected[:1])
    assert torch.equal(built.logits(images), expected + 1) and built.known is None
    built.known = images[1:], expected[1:] + 1
    assert torch.equal(built.logits(images), expected)
