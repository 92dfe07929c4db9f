"""All circular shifts in one pass, and the average over them."""

import copy
import pickle

import pytest
import torch
from torch import nn

from shiftscope.dense import NotDense, build_dense, placement_average
from shiftscope.dense.shifts import DenseShifts, PhaseAverageEngine, build_engine
from shiftscope.errors import UsageError
from shiftscope.evaluation.brute import BruteForceEngine
from shiftscope.layers import BackgroundPad2d, PhaseAverage, PlacementAverage
from shiftscope.models import TwoConvTwoFullNet
from shiftscope.models.repair import repair
from shiftscope.placement import Placement

pytestmark = pytest.mark.slow


def net(*end, canvas=(7, 9)):
    torch.manual_seed(0)
    size = 3 * ((canvas[0] - 1) // 2) * ((canvas[1] - 1) // 2)
    return nn.Sequential(nn.Conv2d(2, 3, 3, stride=2), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(size, 4),
                         *end).double().eval()


@pytest.mark.parametrize("end", [(), (nn.LogSoftmax(1),), (nn.Softmax(-1),)])
def test_dense_shifts_returns_the_outputs_of_all_rolls_in_order(end):
    model, x = net(*end), torch.randn(3, 2, 7, 9, dtype=torch.float64)
    before = x.clone()
    with torch.no_grad():
        expected = torch.stack([model(x.roll((dy, dx), (2, 3))) for dy in range(7) for dx in range(9)], 1)
    torch.testing.assert_close(DenseShifts(model, (2, 7, 9))(x), expected, rtol=1e-10, atol=1e-12)
    assert x.equal(before)


@pytest.mark.parametrize("of", ["logits", "probabilities"])
def test_the_fast_average_equals_the_loop_and_is_shift_invariant(of):
    model, x = net(nn.LogSoftmax(1)), 5 * torch.randn(3, 2, 7, 9, dtype=torch.float64)
    fast, loop = placement_average(model, (2, 7, 9), of=of).eval(), PlacementAverage(model, of=of).eval()
    assert fast.all_shifts is not None
    with torch.no_grad():
        still = fast(x)
        torch.testing.assert_close(still, loop(x), rtol=1e-10, atol=1e-12)
        for dy in range(7):
            for dx in range(9):
                torch.testing.assert_close(fast(x.roll((dy, dx), (2, 3))), still, rtol=0, atol=1e-9)
        bare = max(float((model(x.roll(1, axis)) - model(x)).abs().max()) for axis in (2, 3))
    assert (still[0] - still[1]).abs().max() > 1e-2 and bare > 1e-2


def test_the_course_convnet_before_any_training():
    torch.manual_seed(0)
    model = TwoConvTwoFullNet(canvas=(18, 20)).double().eval()
    model.fc2.weight.data.mul_(50)  # an average over all shifts of random weights: little would differ
    repaired = placement_average(model, (1, 18, 20)).eval()
    images = torch.randint(0, 256, (2, 1, 6, 7), dtype=torch.uint8)
    place = Placement(image=(6, 7), canvas=(18, 20), step=3)
    still = repaired(place.place(images, torch.zeros(2, 2).long()).double() / 255)
    for offset in place.offsets():
        found = repaired(place.place(images, offset.expand(2, 2)).double() / 255)
        torch.testing.assert_close(found, still, rtol=0, atol=1e-9)
    assert (still[0] - still[1]).abs().max() > 1e-2


def test_float_pixels_give_the_same_logits_as_uint8_images():
    model = nn.Sequential(nn.BatchNorm2d(2), *net()).double().eval()  # a first step that works in place
    nn.init.constant_(model[0].weight, 3)
    place = Placement(image=(3, 4), canvas=(7, 9), background=30)
    engine, images = build_dense(model, place, (2, 3, 4)), torch.randint(0, 256, (5, 2, 3, 4), dtype=torch.uint8)
    engine._pass, pixels = 2, images.double() / 255
    torch.testing.assert_close(engine.logits(pixels), engine.logits(images), rtol=0, atol=1e-12)
    assert pixels.equal(images.double() / 255)
    with pytest.raises(UsageError, match=r"images must be \(batch, 2, 3, 4\) for this engine, got \(1, 2, 4, 3\)"):
        engine.logits(torch.zeros(1, 2, 4, 3))


@pytest.mark.parametrize("change", [
    lambda model: model[0].weight.data.mul_(2),
    lambda model: nn.init.normal_(model[3].bias),
    lambda model: model.load_state_dict({name: value + 1 for name, value in model.state_dict().items()}),
    lambda model: setattr(model[3], "weight", nn.Parameter(torch.randn_like(model[3].weight))),
    lambda model: model.float(),
])
def test_changed_weights_build_a_new_engine(change):
    repaired, x = placement_average(net(), (2, 7, 9), of="logits").eval(), torch.rand(2, 2, 7, 9, dtype=torch.float64)
    with torch.no_grad():
        before = repaired(x)
        engine = repaired.all_shifts.engine()
        assert repaired.all_shifts.engine() is engine
        change(repaired.model)
        x = x.to(repaired.model[0].weight.dtype)
        found = repaired(x)
        torch.testing.assert_close(found, PlacementAverage(repaired.model, of="logits")(x), rtol=1e-5, atol=1e-5)
    assert found.dtype != before.dtype or (found - before).abs().max() > 1e-2


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda module: pickle.loads(pickle.dumps(module))])
def test_a_copy_is_independent_of_the_original(copied):
    repaired, x = placement_average(net(), (2, 7, 9)).eval(), torch.rand(2, 2, 7, 9, dtype=torch.float64)
    other = copied(repaired)
    before = repaired(x)
    nn.init.zeros_(repaired.model[0].weight)
    torch.testing.assert_close(other(x), before, rtol=0, atol=1e-12)
    assert other.all_shifts.model is other.model and (repaired(x) - before).abs().max() > 1e-3


def test_gradients_and_training_use_the_loop():
    repaired, x = placement_average(net(), (2, 7, 9)), torch.rand(1, 2, 7, 9, dtype=torch.float64)
    repaired.train()(x).sum().backward()
    assert all(p.grad is not None for p in repaired.parameters())
    asked = x.clone().requires_grad_()
    assert repaired.eval()(asked).requires_grad and not repaired(x).requires_grad


def test_unsupported_models_are_averaged_by_the_loop():
    other = nn.Sequential(nn.GroupNorm(1, 1), nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(12, 3)).double().eval()
    with pytest.raises(NotDense, match="support 0: there is no rule for this operation"):
        DenseShifts(other, (1, 4, 5))
    repaired, x = placement_average(other, (1, 4, 5)).eval(), torch.rand(2, 1, 4, 5, dtype=torch.float64)
    assert repaired.all_shifts is None
    for dy, dx in ((0, 0), (1, 4), (3, 2)):
        torch.testing.assert_close(repaired(x.roll((dy, dx), (2, 3))), repaired(x), rtol=0, atol=1e-12)


def test_padded_models_are_averaged_by_the_engine():
    torch.manual_seed(0)
    padded = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2, 1), nn.Flatten(),
                           nn.Linear(12, 3)).double().eval()
    repaired, x = placement_average(padded, (1, 4, 5)).eval(), torch.rand(2, 1, 4, 5, dtype=torch.float64)
    assert repaired.all_shifts is not None
    torch.testing.assert_close(repaired(x), PlacementAverage(padded)(x), rtol=0, atol=1e-12)
    still = repaired(x)
    for dy in range(4):
        for dx in range(5):
            torch.testing.assert_close(repaired(x.roll((dy, dx), (2, 3))), still, rtol=0, atol=1e-12)


def test_the_dense_engine_supports_padding_with_the_background(brute):
    torch.manual_seed(0)
    first, background = nn.Conv2d(1, 3, 3).double(), 64 / 255
    constant = first.weight.sum((1, 2, 3)) * background + first.bias  # what the empty canvas gives after it
    net = nn.Sequential(BackgroundPad2d(1, background), first, BackgroundPad2d(1, constant), nn.Conv2d(3, 2, 3),
                        nn.Flatten(), nn.Linear(2 * 14 * 16, 3)).double()
    net[0].value.fill_(background)  # to the digits of float64
    inside = Placement(image=(3, 4), canvas=(14, 16), background=64, max_shift=1)
    images = torch.randint(0, 256, (2, 1, 3, 4), dtype=torch.uint8)
    expected = brute(net, inside, images)
    torch.testing.assert_close(build_dense(net, inside, (1, 3, 4)).logits(images), expected, rtol=1e-9, atol=1e-10)
    assert (expected[0] - expected[1]).abs().max() > 1e-2


def course_net(canvas):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return TwoConvTwoFullNet(canvas=canvas, classes=4).double().eval()


@pytest.mark.parametrize("mode", ["canvas", "circular"])
@pytest.mark.parametrize("of", ["logits", "probabilities"])
def test_phase_averages_equal_the_plain_model_at_every_placement(mode, of):
    place = Placement(image=(6, 9), canvas=(16, 20), mode=mode, background=40)
    average = PhaseAverage(course_net((16, 20)), (4, 2), of=of).eval()
    images = torch.randint(0, 256, (3, 1, 6, 9), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    engine = PhaseAverageEngine(average, place, (1, 6, 9))
    found, plain = engine.logits(images), BruteForceEngine(average, place, (1, 6, 9)).logits(images)
    torch.testing.assert_close(found, plain, rtol=0, atol=1e-9)
    assert (found[0] - found[1]).abs().max() > 1e-2 and (found[:, 0] - found[:, 7]).abs().max() > 1e-6


def test_phase_averages_require_rolls():
    average = PhaseAverage(course_net((16, 20)), 4)
    for place, shape in ((Placement(image=(20, 24), canvas=(16, 20), mode="crop"), (1, 20, 24)),
                         (Placement(image=(16, 20), canvas=(16, 20), mode="fill"), (1, 16, 20)),
                         (Placement(image=(6, 9), canvas=(16, 20), background=torch.zeros(16, 20, dtype=torch.uint8)),
                          (1, 6, 9))):
        with pytest.raises(NotDense, match="the placements are not rolls of one canvas"):
            PhaseAverageEngine(average, place, shape)


def test_a_repaired_phase_average_has_its_own_engine():
    place = Placement(image=(6, 9), canvas=(16, 20))
    repaired = repair(course_net((16, 20)), (1, 16, 20), method="phase-average")
    assert isinstance(build_engine(repaired, place, (1, 6, 9)), PhaseAverageEngine)
    assert not isinstance(build_engine(course_net((16, 20)), place, (1, 6, 9)), PhaseAverageEngine)
