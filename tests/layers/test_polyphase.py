import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from shiftscope.errors import UsageError
from shiftscope.layers import LearnedPolyphase2d, PolyphaseDownsample2d
from shiftscope.layers.polyphase import components, strongest_phase, take_phase

SIZES = {1: (3, 5), 2: (6, 8), 3: (6, 9)}


def canonical(x):
    """The largest circular shift of an image (C, H, W): equal for all its shifts, and only for them."""
    shifts = [x.roll((dy, dx), (1, 2)).flatten().tolist() for dy in range(x.shape[1]) for dx in range(x.shape[2])]
    return max(shifts)


def assert_commutes(down, x):
    """A shift of each image of x only shifts the output."""
    expected = [canonical(y) for y in down(x)]
    for dy in range(x.shape[2]):
        for dx in range(x.shape[3]):
            found = down(x.roll((dy, dx), (2, 3)))
            for picture, wanted in zip(found, expected, strict=True):
                assert canonical(picture) == wanted, (dy, dx)


def layers(channels, stride):
    torch.manual_seed(stride)
    return [PolyphaseDownsample2d(stride), PolyphaseDownsample2d(stride, order=1),
            LearnedPolyphase2d(channels, stride).double().eval()]


@pytest.mark.parametrize("stride", SIZES)
@pytest.mark.parametrize("which", [0, 1, 2])
def test_commutes_with_all_shifts_of_a_torus_that_is_not_square(stride, which):
    torch.manual_seed(0)
    x = torch.randn(2, 3, *SIZES[stride], dtype=torch.float64)
    assert_commutes(layers(3, stride)[which], x)


def special(name, channels=2):
    x = torch.zeros(1, channels, 6, 12, dtype=torch.float64)
    torch.manual_seed(1)
    if name == "constant":
        x += 3
    elif name == "impulse":
        x[0, 0, 2, 5] = 1
    elif name == "mirror":
        x = torch.rand(1, channels, 6, 12, dtype=torch.float64)
        x = x + x.flip(3)
    elif name == "half turn":
        x = torch.rand(1, channels, 6, 12, dtype=torch.float64)
        x = x + x.flip(2, 3)
    elif name == "mirrored channels":  # one energy map, two images
        x[0, 0, :, ::2] = x[0, 1, :, 1::2] = torch.rand(6, 6, dtype=torch.float64)
        x[0, 1, :, ::2] = x[0, 0, :, 1::2] = torch.rand(6, 6, dtype=torch.float64)
    elif name == "checkers":
        x[:, :, ::2, ::2] = x[:, :, 1::2, 1::2] = 1
    elif name == "far impulses":  # 4 apart in one component, 6 apart in another: no neighbors in either
        x[0, 0, 0, [0, 4]] = x[0, 0, 1, [1, 7]] = 1
    return x


SPECIAL = ["zero", "constant", "impulse", "mirror", "half turn", "mirrored channels", "checkers", "far impulses"]


@pytest.mark.parametrize("name", SPECIAL)
@pytest.mark.parametrize("stride", [2, 3])
@pytest.mark.parametrize("which", [0, 1, 2])
def test_ties_commute_with_shifts(name, stride, which):
    assert_commutes(layers(2, stride)[which], special(name))


@settings(max_examples=80, deadline=None)
@given(st.integers(2, 3), st.integers(1, 2), st.integers(1, 3), st.integers(1, 2), st.integers(0, 2**31), st.booleans())
def test_images_with_few_values_and_many_ties(stride, down, across, channels, seed, learned):
    generator = torch.Generator().manual_seed(seed)
    size = (stride * down, stride * across)
    x = torch.randint(0, 2, (1, channels, *size), generator=generator).double()
    torch.manual_seed(seed)
    layer = LearnedPolyphase2d(channels, stride).double().eval() if learned else PolyphaseDownsample2d(stride)
    assert_commutes(layer, x)


def test_mirror_images_of_binary_maps_are_distinguished():
    x = torch.zeros(1, 1, 6, 9, dtype=torch.float64)
    x[0, 0, ::3, ::3] = torch.tensor([[1, 0, 1], [0, 0, 1]])
    x[0, 0, 1::3, 1::3] = torch.tensor([[0, 1, 1], [0, 0, 1]])
    assert_commutes(PolyphaseDownsample2d(3), x)
    line = torch.zeros(1, 1, 2, 14, dtype=torch.float64)
    line[0, 0, 0, [0, 2, 6]] = line[0, 0, 1, [1, 5, 7]] = 1  # 0, 1, 3 of 7, and 0, 2, 3
    assert_commutes(PolyphaseDownsample2d(2), line)


def test_the_strongest_component_is_kept_and_ties_keep_the_first():
    x = torch.zeros(1, 1, 4, 6)
    x[..., 1::2, ::2] = 2
    x[..., ::2, 1::2] = torch.tensor([5.0, 0.0, 0.0])
    assert strongest_phase(x, 2).tolist() == [[0, 1]]  # 50 against 24 by squares
    assert strongest_phase(x, 2, order=1).tolist() == [[1, 0]]  # 10 against 12 by sizes
    assert PolyphaseDownsample2d(2)(x).equal(x[:, :, ::2, 1::2])
    assert strongest_phase(torch.zeros(3, 1, 4, 6), 2).tolist() == [[0, 0]] * 3


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_components_and_phases_are_slices(stride):
    x = torch.randn(3, 2, 6, 12)
    phase = torch.tensor([[0, 0], [stride - 1, 0], [0, stride - 1]])
    found = take_phase(x, phase, stride)
    for k, (py, px) in enumerate(phase.tolist()):
        expected = x[k, :, py::stride, px::stride]
        assert found[k].equal(expected) and components(x, stride)[k, :, py, px].equal(expected)


def test_slicing_loses_an_impulse_that_polyphase_keeps():
    impulse = torch.zeros(1, 1, 4, 6, dtype=torch.float64)
    impulse[..., 2, 2] = 1
    moved = impulse.roll(1, 3)
    assert (impulse[..., ::2, ::2].amax() - moved[..., ::2, ::2].amax()).item() == 1
    down = PolyphaseDownsample2d(2)
    assert down(impulse).amax().item() == down(moved).amax().item() == 1


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_neither_overflows_nor_reorders(dtype):
    torch.manual_seed(0)
    x = (torch.randn(2, 3, 6, 8) * 300).to(dtype)  # squares beyond what float16 holds
    assert_commutes(PolyphaseDownsample2d(2), x)
    assert_commutes(LearnedPolyphase2d(3).to(dtype).eval(), x / 300)
    assert PolyphaseDownsample2d(2)(x).dtype == dtype


def test_gradients_flow_to_the_values_that_are_kept():
    x = torch.randn(2, 2, 4, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(PolyphaseDownsample2d(2), (x,))
    assert torch.autograd.gradcheck(LearnedPolyphase2d(2).double().eval(), (x,))
    torch.manual_seed(0)
    training = LearnedPolyphase2d(2, hidden=3).double().train()
    assert torch.autograd.gradcheck(training, (x,))
    training(x).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in training.parameters())


def test_training_mixes_and_a_low_temperature_approaches_the_selection():
    torch.manual_seed(0)
    x, layer = torch.randn(2, 3, 6, 8, dtype=torch.float64), LearnedPolyphase2d(3).double().train()
    parts = components(x, 2).flatten(2, 3)
    mix = (layer.scores(x)[0]).softmax(1)
    expected = sum(parts[:, :, k] * mix[:, k].view(-1, 1, 1, 1) for k in range(4))
    torch.testing.assert_close(layer(x), expected, rtol=0, atol=1e-12)
    kept = layer.eval()(x)
    assert (layer.train()(x) - kept).abs().max() > 0.1
    layer.temperature = 1e-9
    torch.testing.assert_close(layer(x), kept, rtol=0, atol=1e-12)


def test_scores_select_the_component_not_the_norm():
    x, layer = torch.zeros(1, 1, 4, 4, dtype=torch.float64), LearnedPolyphase2d(1, hidden=1).double().eval()
    x[..., ::2, ::2], x[..., 1::2, 1::2] = -5, 1
    with torch.no_grad():
        layer.conv.weight.fill_(1)
        layer.conv.bias.fill_(0)
        layer.weigh.weight.fill_(1)  # prefers positive values: ReLU removes the strong component
    assert layer(x).eq(1).all() and PolyphaseDownsample2d(2)(x).eq(-5).all()


@pytest.mark.parametrize("layer", [PolyphaseDownsample2d(2), LearnedPolyphase2d(3).eval()])
def test_one_node_when_exported_with_the_same_result(layer):
    example, x = torch.zeros(2, 3, 6, 8), torch.randn(2, 3, 6, 8)
    program = torch.export.export(layer, (example,), strict=False)
    ours = [str(node.target) for node in program.graph.nodes if "shiftscope" in str(node.target)]
    assert len(ours) == 1 and program.module()(x).equal(layer(x))


def test_empty_batch():
    assert PolyphaseDownsample2d(2)(torch.zeros(0, 3, 4, 6)).shape == (0, 3, 2, 3)
    assert LearnedPolyphase2d(3).eval()(torch.zeros(0, 3, 4, 6)).shape == (0, 3, 2, 3)


@pytest.mark.parametrize("call, message", [
    (lambda: PolyphaseDownsample2d(0), "stride must be a positive integer, got 0"),
    (lambda: PolyphaseDownsample2d(2, order=0), "order must be a positive integer, got 0"),
    (lambda: PolyphaseDownsample2d(2)(torch.zeros(1, 1, 5, 4)), "a map of 5 x 4 cannot be downsampled by 2"),
    (lambda: LearnedPolyphase2d(1, 3)(torch.zeros(1, 1, 6, 4)), "a map of 6 x 4 cannot be downsampled by 3"),
    (lambda: LearnedPolyphase2d(2)(torch.zeros(1, 1, 6, 4)), r"LearnedPolyphase2d takes maps \(batch, 2, height, wid"),
    (lambda: LearnedPolyphase2d(2, hidden=0), "hidden must be a positive integer, got 0"),
    (lambda: LearnedPolyphase2d(2, temperature=0.0), "temperature must be above 0, got 0.0"),
])
def test_bad_input(call, message):
    with pytest.raises(UsageError, match=message):
        call()
