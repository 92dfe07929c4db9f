import copy
import json
import re

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from shiftscope.errors import CheckpointError, UsageError
from shiftscope.graph import TraceError
from shiftscope.layers import PhaseToOrigin
from shiftscope.models import Provenance, TwoConvTwoFullNet, TwoFullNet, load, load_config, save
from shiftscope.models.adapt import adapt
from shiftscope.models.repair import METHODS, Repaired, repair
from shiftscope.placement import Placement
from shiftscope.workflows.load_inputs import use_one_pass

from ..helpers import Lambda
from .residual_nets import residual_net

pytestmark = pytest.mark.slow

ROUNDING = 1e-9  # relative; sums in another order, float64, about ten layers
SHAPE = (1, 24, 32)


def noise_images(shape, count=3, seed=0):
    """Noise on a background of increasing brightness, so that logits differ between images."""
    noise = torch.rand(count, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return 0.5 * noise + 0.5 * torch.linspace(0, 1, count, dtype=torch.float64).view(-1, 1, 1, 1)


def shifts(height, width, every=1):
    return [(dy, dx) for dy in range(height) for dx in range(width)][::every]


def drift(model, x, all_shifts):
    """Largest change of the logits under circular shifts, relative to the largest logit."""
    with torch.no_grad():
        still = model(x)
        moved = [model(x.roll(shift, (2, 3))) for shift in all_shifts]
    return max(float((found - still).abs().max()) for found in moved) / float(still.abs().max())


def spread(model, x):
    """Smallest difference between the logits of two images, to detect constant outputs."""
    with torch.no_grad():
        found = model(x)
    return min(float((found[a] - found[b]).abs().max()) for a in range(len(x)) for b in range(a))


def convnet(canvas=SHAPE[1:], **more):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return TwoConvTwoFullNet(canvas=canvas, **more).double().eval()


# ------------------------------------------------------------------ polyphase


def test_residual_blocks_of_both_kinds_become_exact_at_every_shift():
    net, x = residual_net(), noise_images((3, 32, 48))
    repaired, all_shifts = repair(net, (3, 32, 48), method="polyphase"), shifts(32, 48, every=7)
    assert drift(net, x, all_shifts) > 1e-3
    assert drift(repaired, x, all_shifts) <= ROUNDING
    assert spread(repaired, x) > 1e-2
    rolls = [module.stride for module in repaired.modules() if isinstance(module, PhaseToOrigin)]
    assert rolls == [2, 2, 2, 2]  # stem, pooling, and one for both branches of each block


def test_the_course_convnet_becomes_exact():
    net, x = convnet(), noise_images(SHAPE)
    repaired, all_shifts = repair(net, SHAPE, method="polyphase"), shifts(*SHAPE[1:], every=5)
    assert drift(net, x, all_shifts) > 1e-3
    assert drift(repaired, x, all_shifts) <= ROUNDING
    assert spread(repaired, x) > 1e-2
    assert any("reads positions" in note for note in repaired.notes)


def test_the_mean_head_equals_the_average_over_all_shifts():
    net = convnet()
    net.fc1 = nn.Linear(30 * 10 * 14, 7).double()
    linear = Lambda(lambda self, x: self.net.fc1(F.relu(F.max_pool2d(self.net.conv1(x), 2)).flatten(1)), net=net)
    even = torch.full((2, *SHAPE), 0.3, dtype=torch.float64)  # one color: all phases are equal, so the maps are known
    even[1] = 0.9
    with torch.no_grad():
        maps = F.relu(F.max_pool2d(net.conv1(even), 2))
        by_hand = torch.stack([net.fc1(maps.roll(place, (2, 3)).flatten(1)) for place in shifts(10, 14)])
        torch.testing.assert_close(repair(linear, SHAPE, method="polyphase")(even), by_hand.mean(0))


def grid_free():
    """Branches with equal total strides: one stride of 4, two strides of 2; and a gate."""
    def forward(self, x):
        a = self.twice(F.relu(self.once(x)))
        b = F.avg_pool2d(self.side(x), 4)
        joined = torch.cat((a, b), 1)
        gate = torch.sigmoid(joined.mean((2, 3), keepdim=True))
        return F.relu(joined * gate).amax((2, 3))

    torch.manual_seed(1)
    return Lambda(forward, once=nn.Conv2d(1, 3, 3, 2, 1), twice=nn.Conv2d(3, 4, 2, 2),
                  side=nn.Conv2d(1, 2, 5, padding=2)).double().eval()


def several():
    """Explicit padding, dilation, groups, permuted axes, ceil mode, a stride given by the kernel size."""
    def forward(self, x):
        x = self.conv(F.pad(x, (1, 2, 0, 1)))
        x = self.norm(F.gelu(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        a, b = x.chunk(2, 1)
        x = torch.cat((F.max_pool2d(a, 3, 2, 1, ceil_mode=True),
                       F.avg_pool2d(b, 3, 2, 1, ceil_mode=True, count_include_pad=False)), 1)
        return self.group(self.wide(x)).relu().mean((2, 3))

    torch.manual_seed(2)
    return Lambda(forward, conv=nn.Conv2d(1, 6, (2, 4)), norm=nn.LayerNorm(6), group=nn.GroupNorm(2, 6),
                  wide=nn.Conv2d(6, 6, 5, padding=4, dilation=2, groups=3)).double().eval()


@pytest.mark.parametrize("make", [grid_free, several])
def test_unusual_networks_become_exact(make):
    net, x = make(), noise_images(SHAPE)
    repaired = repair(net, SHAPE, method="polyphase")
    assert drift(net, x, shifts(*SHAPE[1:], every=11)) > 1e-4
    assert drift(repaired, x, shifts(*SHAPE[1:], every=5)) <= ROUNDING
    assert spread(repaired, x) > 1e-2


def test_the_repaired_net_equals_the_circular_one_if_the_strongest_phase_is_the_origin():
    net = nn.Sequential(nn.Conv2d(1, 3, 3, 2, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()).double()
    x = noise_images(SHAPE) * 0.1
    x[:, :, ::2, ::2] += 1
    circular = copy.deepcopy(net)
    circular[0] = nn.Conv2d(1, 3, 3, stride=2, padding=1, padding_mode="circular").double()
    circular[0].load_state_dict(net[0].state_dict())
    torch.testing.assert_close(repair(net, SHAPE, method="polyphase")(x), circular(x))


def test_a_kept_head_is_not_exact_and_noted():
    net = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(576, 4)).double()
    repaired = repair(net, SHAPE, method="polyphase", head="keep")
    assert drift(repaired, noise_images(SHAPE), [(2, 0)]) > 1e-3
    assert any("was kept: predictions still depend on position" in note for note in repaired.notes)
    with pytest.raises(UsageError, match=r"takes 3 x 5 positions, circular padding gives 6 x 8, so head='keep'"):
        repair(convnet(), SHAPE, method="polyphase", head="keep")


@pytest.mark.parametrize("function, reason", [
    (lambda self, x: F.pixel_unshuffle(self.c(x), 2).mean((2, 3)), "pixel_unshuffle: it is not known"),
    (lambda self, x: self.c(x).flatten(2).softmax(1).mean(2), "reshape: it mixes positions with channels, or"),
    (lambda self, x: (self.c(x) + torch.ones(12, 1)).mean((2, 3)), "add: it joins a map with values at fixed"),
    (lambda self, x: self.c(x).softmax(3).mean((2, 3)), "softmax: it works along rows or columns"),
    (lambda self, x: F.interpolate(self.c(x), scale_factor=2).mean((2, 3)), "upsample_nearest2d: it is not known"),
    (lambda self, x: F.avg_pool2d(F.pad(self.c(x), (3, 0, 0, 0)), 2).mean((2, 3)), "its padding of 3 is larger than"),
    (lambda self, x: F.pad(self.c(x), (1, 1)).mean((2, 3)), "pad: its result is not read by convolutions"),
    (lambda self, x: self.c(x)[:, :, 2:].mean((2, 3)), "slice: it works along rows or columns"),
    (lambda self, x: self.c(x)[:, :, ::2].mean((2, 3)), "slice: it works along rows or columns"),
])
def test_operations_that_cannot_be_repaired_are_named(function, reason):
    net = Lambda(function, c=nn.Conv2d(1, 4, 3, stride=2, padding=1))
    with pytest.raises(UsageError, match=f"Lambda cannot be repaired with polyphase sampling, because of {reason}"
                       if "padding of 3" not in reason else reason) as caught:
        repair(net, SHAPE, method="polyphase")
    assert "choose --method phase-average, placement-average or recenter" in str(caught.value)


@pytest.mark.parametrize("function, reason", [
    (lambda self, x: self.c(x), "c .conv2d.: it returns a map, not one output per image"),
    (lambda self, x: self.c(x).mean(2), "mean: it works along rows or columns"),
])
def test_averages_are_not_recommended_if_impossible(function, reason):
    net = Lambda(function, c=nn.Conv2d(1, 4, 3, stride=2, padding=1))
    with pytest.raises(UsageError, match=f"{reason}; choose --method recenter$"):
        repair(net, SHAPE, method="polyphase")
    with pytest.raises(UsageError, match=f"{reason}$"):
        repair(net, SHAPE, method="polyphase", background=None)


# ------------------------------------------------------------------ other methods


def test_blur_keeps_sizes_and_reduces_changes():
    net, x = convnet(), noise_images(SHAPE)
    repaired = repair(net, SHAPE, method="blur")
    assert repaired(x).shape == (3, 10)
    pool = F.max_pool2d(net.conv1(net.normalize(x)), 2, 1)
    row = torch.tensor([1, 2, 1], dtype=torch.float64) / 4
    kernel = (row[:, None] * row).expand(30, 1, 3, 3)
    by_hand = F.conv2d(F.pad(pool, (1, 1, 1, 1), mode="reflect"), kernel, stride=2, groups=30)
    seen = []
    repaired.net.repaired_0.register_forward_hook(lambda module, inputs, output: seen.append(output))
    repaired(x)
    torch.testing.assert_close(seen[0], by_hand)
    spot = torch.zeros(1, *SHAPE, dtype=torch.float64)
    spot[..., 8:14, 8:14] = 1
    torch.manual_seed(3)
    strided = nn.Sequential(nn.Conv2d(1, 8, 3, 4, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()).double()
    blurred = repair(strided, SHAPE, method="blur")
    assert drift(blurred, spot, shifts(4, 4)) < 0.5 * drift(strided, spot, shifts(4, 4))


def test_the_blur_follows_norm_and_nonlinearity():
    names = [str(node.target) for node in repair(residual_net(), (3, 32, 32), method="blur").net.graph.nodes]
    first = names.index("repaired_0")
    assert names[first - 3:first] == ["aten.conv2d.default", "aten.batch_norm.default", "aten.relu.default"]


def test_phase_average_finds_the_stride_and_measures_what_remains():
    torch.manual_seed(0)
    circular = nn.Sequential(nn.Conv2d(1, 3, 3, 2, 1, padding_mode="circular"), nn.ReLU(), nn.MaxPool2d(2),
                             nn.AdaptiveAvgPool2d(1), nn.Flatten()).double()
    repaired = repair(circular, SHAPE, method="phase-average")
    assert repaired.net.stride == (4, 4)
    assert drift(repaired, noise_images(SHAPE), shifts(*SHAPE[1:], every=5)) <= ROUNDING
    assert spread(repaired, noise_images(SHAPE)) > 1e-2
    assert "16 times the cost" in repaired.notes[0] and not any("exact" in note for note in repaired.notes)
    measured = [float(re.search(r"by up to (\S+) %", repair(net, SHAPE, method="phase-average").notes[-1])[1])
                for net in (circular, convnet())]
    assert measured[0] < 1e-9 and measured[1] > 1


@pytest.mark.parametrize("method", ["placement-average", "recenter"])
@pytest.mark.parametrize("make", [convnet, lambda: TwoFullNet(canvas=SHAPE[1:]).double().eval()])
def test_any_net_is_exact_with_these_methods(method, make):
    x = torch.zeros(3, *SHAPE, dtype=torch.float64)
    x[..., 5:15, 7:19] = noise_images((1, 10, 12))
    repaired = repair(make(), SHAPE, method=method)
    assert drift(repaired, x, shifts(*SHAPE[1:], every=41)) <= ROUNDING
    assert spread(repaired, x) > 1e-2 if method == "recenter" else spread(repaired, x) > 1e-4


# ------------------------------------------------------------------ all methods


@pytest.mark.parametrize("method", METHODS)
def test_repair_copies_the_weights(method):
    net = TwoConvTwoFullNet(canvas=(16, 16)).train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    repaired = repair(net, (1, 16, 16), method=method)
    assert repaired.training and net.training
    names = {name for name, _ in net.named_parameters()}
    assert {next(known for known in names if name.endswith(known)) for name, _ in repaired.named_parameters()} == names
    step = torch.optim.SGD(repaired.parameters(), lr=0.1)
    F.cross_entropy(repaired(torch.rand(2, 1, 16, 16)), torch.tensor([1, 2])).backward()
    step.step()
    assert all(value.equal(before[name]) for name, value in net.state_dict().items())
    assert all(parameter.grad is not None for parameter in repaired.parameters())
    assert next(iter(copy.deepcopy(repaired).parameters())).equal(next(iter(repaired.parameters())))


def test_batch_norm_is_trained_with_fixed_statistics():
    repaired = repair(residual_net().float(), (3, 32, 32), method="polyphase").train()
    mean = repaired.net.bn1.running_mean.clone()
    repaired(torch.rand(2, 3, 32, 32)).sum().backward()
    assert repaired.net.bn1.weight.grad.abs().sum() > 0 and repaired.net.bn1.running_mean.equal(mean)


@pytest.mark.parametrize("count", [0, 1, 5])
def test_any_batch_size_and_memory_format(count):
    repaired = repair(residual_net().float(), (3, 32, 32), method="polyphase")
    x = torch.rand(count, 3, 32, 32).to(memory_format=torch.channels_last)
    assert repaired(x).shape == (count, 5)


def test_bad_input():
    net = convnet()
    with pytest.raises(UsageError, match="unknown repair method 'blurr': did you mean 'blur'"):
        repair(net, SHAPE, method="blurr")
    for method in ("polyphase", "phase-average"):
        with pytest.raises(UsageError, match=r"TwoFullNet has no strided layer, .* choose --method recenter or placem"):
            repair(TwoFullNet(canvas=(16, 16)), (1, 16, 16), method=method)
        with pytest.raises(UsageError, match=r"canvas must be multiples of 4, the total stride of TwoConv.*\(22, 32\)"):
            repair(convnet((22, 32)), (1, 22, 32), method=method)
        with pytest.raises(TraceError, match="the operations of Lambda cannot be read"):
            repair(Lambda(lambda self, x: x if x.sum() > 0 else -x), SHAPE, method=method)
    with pytest.raises(UsageError, match="TwoFullNet has no strided convolution or pooling to blur"):
        repair(TwoFullNet(canvas=(16, 16)), (1, 16, 16), method="blur")
    with pytest.raises(UsageError, match="has the strides 2 down and 1 right, which one blur cannot"):
        repair(nn.Sequential(nn.Conv2d(1, 2, 3, (2, 1)), nn.Flatten()), SHAPE, method="blur")
    with pytest.raises(UsageError, match="head must be mean or keep, got 'drop'"):
        repair(net, SHAPE, method="polyphase", head="drop")
    with pytest.raises(UsageError, match=r"was built for images of 1 x 24 x 32"):
        repair(net, SHAPE, method="polyphase")(torch.zeros(1, 1, 32, 24, dtype=torch.float64))


def test_a_graph_with_a_fixed_batch_size_is_refused():
    with pytest.raises(TraceError, match="cannot be read for an input of"):
        repair(Lambda(lambda self, x: F.max_pool2d(x, 2).reshape(2, -1)), SHAPE, method="polyphase")


# ------------------------------------------------------------------ checkpoints


@pytest.mark.parametrize("method", METHODS)
def test_a_repaired_checkpoint_loads_by_itself(method, tmp_path):
    repaired = repair(TwoConvTwoFullNet(canvas=(16, 20)), (1, 16, 20), method=method, background=0.25, image=(14, 15))
    with torch.no_grad():  # as after fine-tuning
        for parameter in repaired.parameters():
            parameter.add_(0.01)
    save(repaired, tmp_path, provenance=Provenance(name=f"two-conv-{method}"))
    loaded, x = load(tmp_path), torch.rand(2, 1, 16, 20)
    assert isinstance(loaded, Repaired) and loaded.recipe == repaired.recipe and not loaded.training
    torch.testing.assert_close(loaded(x), repaired.eval()(x))
    assert not any(value.is_meta for value in (*loaded.parameters(), *loaded.buffers()))
    assert load_config(tmp_path).model == "two-conv"


def test_a_foreign_checkpoint_is_repaired_around_the_callers_model(tmp_path):
    def net():
        return nn.Sequential(nn.Conv2d(1, 2, 3, 2, 1), nn.BatchNorm2d(2), nn.AdaptiveAvgPool2d(1), nn.Flatten())

    polyphase = repair(adapt(net(), normalize=(0.5, 0.25)), SHAPE, method="polyphase").eval()
    repaired = repair(polyphase, SHAPE, method="recenter")
    save(repaired, tmp_path)
    x = torch.rand(2, *SHAPE)
    with pytest.raises(CheckpointError, match="not in Shiftscope's registry"):
        load(tmp_path)
    loaded = load(tmp_path, model=net())
    assert [recipe.method for recipe in loaded.recipes] == ["polyphase", "recenter"]
    torch.testing.assert_close(loaded(x), repaired(x))


@pytest.mark.parametrize("step, reason", [
    ({"method": "os.system", "shape": [1, 16, 16]}, "not a valid checkpoint .*unknown repair method 'os.system'"),
    ({"method": "blur", "shape": [1, 10**9, 10**9]}, "not a valid checkpoint .*shape must be three positive integers"),
    ({"method": "blur", "shape": "abc"}, r"not a valid checkpoint .*model.repaired\[0\].shape: expected array"),
    ({"method": "blur", "shape": [1, 16, 16], "command": "touch hacked"}, "unknown setting 'command'"),
    ({"method": "recenter", "shape": [1, 16, 16], "background": "1"}, "background: expected float"),
    ({"method": ["blur"], "shape": [1, 16, 16]}, "not a valid checkpoint"),
    ("blur", "not a valid checkpoint"),
    ({"method": "polyphase", "shape": [1, 18, 16]}, "cannot be repaired by .*cannot be read"),
    ({"method": "recenter", "shape": [1, 16, 16]}, "do not fit"),
])
def test_hostile_recipes_are_refused(step, reason, tmp_path):
    save(repair(TwoConvTwoFullNet(canvas=(16, 16)), (1, 16, 16), method="blur"), tmp_path)
    path = tmp_path / "config.json"
    values = json.loads(path.read_text())
    values["model"]["repaired"] = [step]
    path.write_text(json.dumps(values))
    with pytest.raises(CheckpointError, match=reason):
        load(tmp_path)


def test_hostile_sizes_of_the_original_model_allocate_no_memory(tmp_path):
    save(repair(TwoConvTwoFullNet(canvas=(16, 16)), (1, 16, 16), method="polyphase"), tmp_path)
    path = tmp_path / "config.json"
    values = json.loads(path.read_text())
    values["model"]["arguments"]["classes"] = 10**10
    path.write_text(json.dumps(values))
    with pytest.raises(CheckpointError, match="do not fit"):
        load(tmp_path)


# ------------------------------------------------------------------ averages over whole images


def test_the_average_over_whole_images_equals_that_over_all_placements():
    place, net = Placement(image=(10, 12), canvas=SHAPE[1:]), convnet()
    repaired = repair(net, SHAPE, method="placement-average", image=place.image)
    images = torch.zeros(2, 1, *place.image, dtype=torch.float64)
    images[:] = noise_images((1, *place.image), 2) + 0.1  # no pixel is background
    everywhere = [place.place(images, offset.expand(2, 2)) for offset in place.offsets()]
    with torch.no_grad():
        by_hand = torch.stack([net(canvas).exp() for canvas in everywhere]).mean(0).log()
        for canvas in everywhere[::17]:
            torch.testing.assert_close(repaired(canvas), by_hand, rtol=0, atol=1e-12)
        assert repaired(everywhere[0]).equal(repaired(everywhere[-1]))
        fast = use_one_pass(repaired)
        assert fast.net.all_shifts is not None
        torch.testing.assert_close(fast(everywhere[3]), by_hand, rtol=0, atol=1e-9)
    assert spread(repaired, everywhere[0]) > 1e-4


def test_an_image_that_does_not_fit_is_refused():
    with pytest.raises(UsageError, match=r"image must be two positive integers that fit on 24 x 32, got \(25, 3\)"):
        repair(convnet(), SHAPE, method="placement-average", image=(25, 3))


def test_loading_into_an_already_repaired_model(tmp_path):
    repaired = repair(convnet().float(), SHAPE, method="polyphase")
    save(repaired, tmp_path)
    other = repair(TwoConvTwoFullNet(canvas=SHAPE[1:]), SHAPE, method="polyphase")
    loaded, x = load(tmp_path, model=other), torch.rand(2, *SHAPE)
    torch.testing.assert_close(loaded(x), repaired(x))
