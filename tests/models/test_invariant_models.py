"""Invariance of the recentered and the invariant net before training."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from shiftscope.errors import UsageError
from shiftscope.layers import Recenter
from shiftscope.models import InvariantNet, RecenteredNet, build_model, load, save
from shiftscope.models.forward import single_view
from shiftscope.models.invariant import jittered
from shiftscope.placement import Placement

DIFFERS = 1e-2
"""Smallest difference between the logits of two images, so that a constant fails."""


@pytest.fixture(autouse=True)
def same_weights_each_time():
    """Seed the weights, because narrow networks have nearly equal outputs for some images."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def images(count: int, size: tuple[int, int], channels: int = 1, seed: int = 0) -> torch.Tensor:
    """Blobs on black: parts of the images are empty, as in real ones."""
    noise = torch.rand(count, channels, *size, generator=torch.Generator().manual_seed(seed))
    smooth = torch.nn.functional.avg_pool2d(noise, 3, 1, 1)
    return ((smooth - 0.5).clamp_min(0) * 1500).clamp_max(255).to(torch.uint8)


def logits_everywhere(model: torch.nn.Module, some: torch.Tensor, place: Placement) -> torch.Tensor:
    """Return the logits (B, P, K) of the plain model, one placement of all images at a time, in float64."""
    model = model.double().eval()
    with torch.no_grad():
        return torch.stack([model(place.place(some, offset.expand(len(some), 2)).double() / 255)
                            for offset in place.offsets()], 1)


def spread(logits: torch.Tensor) -> float:
    """Return the largest difference of an image's logits from those at its first placement."""
    return (logits - logits[:, :1]).abs().max().item()


def separation(logits: torch.Tensor) -> float:
    """Return the smallest difference between two images' logits."""
    first = logits[:, 0]
    apart = (first[:, None] - first[None]).abs().amax(2)
    return apart[~torch.eye(len(first), dtype=torch.bool)].min().item()


def randomized(model: torch.nn.Module) -> torch.nn.Module:
    """Return the model with batch statistics other than 0 and 1, as after training."""
    generator = torch.Generator().manual_seed(5)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.copy_(torch.randn(module.num_features, generator=generator) * 0.1)
            module.running_var.copy_(torch.rand(module.num_features, generator=generator) + 0.3)
            module.bias.data.copy_(torch.randn(module.num_features, generator=generator) * 0.3)
    model.trunk.head.weight.data.mul_(4)  # logits as far apart as those of trained nets
    return model


@pytest.mark.parametrize("mode", ["canvas", "circular"])
@pytest.mark.parametrize("cls, tolerance", [(RecenteredNet, 1e-12), (InvariantNet, 1e-9)])
def test_both_tracks_are_exact_before_training(cls, tolerance, mode):
    place = Placement(image=(11, 9), canvas=(20, 16), mode=mode)
    model = randomized(cls(canvas=(20, 16), widths=(6, 8, 8)))
    logits = logits_everywhere(model, images(4, (11, 9)), place)
    assert spread(logits) <= tolerance
    assert separation(logits) > DIFFERS


@pytest.mark.parametrize("place", [Placement(image=(20, 20), canvas=(12, 12), mode="crop", step=4),
                                   Placement(image=(12, 12), canvas=(12, 12), mode="fill", max_shift=3)])
@pytest.mark.parametrize("cls", [RecenteredNet, InvariantNet])
def test_neither_is_exact_if_parts_of_the_image_leave_the_canvas(cls, place):
    model, some = randomized(cls(canvas=(12, 12), widths=(6, 8, 8))), images(3, place.image)
    assert spread(logits_everywhere(model, some, place)) > DIFFERS
    assert model.train()(place.place(some, place.centered(3)).double() / 255).shape == (3, 10)
    if cls is RecenteredNet:
        assert model.forward_placed(some, place.centered(3), place) is None  # no shortcut in training


def test_recentered_images_are_equal_at_every_placement():
    place = Placement(image=(12, 10), canvas=(24, 21))
    some = images(5, (12, 10))
    windows = torch.stack([Recenter((12, 11))(place.place(some, offset.expand(5, 2)).double() / 255)
                           for offset in place.offsets()])
    assert all(torch.equal(window, windows[0]) for window in windows)
    assert (windows[0].flatten(1).std(1) > 0).all()


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_random_nets_canvases_and_image_sizes(data):
    cls = data.draw(st.sampled_from([RecenteredNet, InvariantNet]))
    stages, channels = data.draw(st.integers(1, 2)), data.draw(st.sampled_from([1, 3]))
    step = 2 ** stages if cls is InvariantNet else 1
    canvas = tuple(step * data.draw(st.integers(-(-12 // step), 20 // step)) for _ in range(2))
    size = tuple(data.draw(st.integers(5, n)) for n in canvas)
    widths = [data.draw(st.integers(4, 9)) for _ in range(stages + 1)]
    seed = data.draw(st.integers(0, 2**20))
    place = Placement(image=size, canvas=canvas, mode=data.draw(st.sampled_from(["canvas", "circular"])),
                      background=data.draw(st.sampled_from([0, 100])), step=3)
    torch.manual_seed(seed)
    given = {} if cls is InvariantNet else {"background": place.background / 255, "window": size}
    model = randomized(cls(canvas=canvas, channels=channels, widths=widths, **given))
    some = torch.randint(0, 256, (2, channels, *size), dtype=torch.uint8,
                         generator=torch.Generator().manual_seed(seed))
    logits = logits_everywhere(model, some, place)
    assert spread(logits) <= 1e-9
    assert separation(logits) > 1e-4  # a narrow random network has similar outputs for noise images


def test_consecutive_equal_images_are_computed_once():
    model, seen = RecenteredNet(canvas=(16, 16), widths=(4, 4)).eval(), []
    model.trunk.register_forward_pre_hook(lambda module, given: seen.append(len(given[0])))
    place = Placement(image=(8, 8), canvas=(16, 16))
    two = images(2, (8, 8))
    pixels = torch.cat([place.place(one[None].expand(81, -1, -1, -1), place.offsets()) for one in two]).float() / 255
    found = model(pixels)
    assert seen == [4]  # each image once, and once mirrored
    assert found[:81].unique(dim=0).shape == found[81:].unique(dim=0).shape == (1, 10)
    assert not torch.equal(found[0], found[81])


def test_in_training_forward_placed_equals_forward():
    place = Placement(image=(9, 9), canvas=(18, 18))
    some, offsets = images(6, (9, 9)), torch.tensor([[0, 0], [9, 9], [3, 1], [0, 9], [4, 4], [7, 2]])
    model = RecenteredNet(canvas=(18, 18), widths=(4, 6)).double().train()
    short = model.forward_placed(some, offsets, place)
    whole = model(place.place(some, offsets).double() / 255)
    assert torch.equal(short, whole)
    assert model.eval().forward_placed(some, offsets, place) is None  # evaluated at its own offset
    other = Placement(image=(9, 9), canvas=(18, 18), background=7)
    assert model.train().forward_placed(some, offsets, other) is None


def test_jitter_shifts_each_window_and_fills_with_background():
    windows = torch.zeros(600, 2, 7, 8)
    windows[:, 0, 3, 4], windows[:, 1] = 1.0, 0.5
    moved = jittered(windows, 2, 0.25)
    found = (moved[:, 0] == 1).flatten(1)
    assert (found.sum(1) == 1).all()
    places = found.int().argmax(1)
    down, right = places // 8 - 3, places % 8 - 4
    seen = {(int(dy), int(dx)) for dy, dx in zip(down, right, strict=True)}
    assert seen == {(dy, dx) for dy in range(-2, 3) for dx in range(-2, 3)}
    kept = ((7 - down.abs()) * (8 - right.abs())).float()  # the part still in the window
    assert torch.equal((moved[:, 1] == 0.5).flatten(1).sum(1).float(), kept)
    assert torch.equal((moved[:, 1] == 0.25).flatten(1).sum(1).float(), 56 - kept)


def test_jitter_changes_training_but_not_eval_mode():
    model = randomized(RecenteredNet(canvas=(18, 18), widths=(4, 6), jitter=2)).double()
    still = RecenteredNet(canvas=(18, 18), widths=(4, 6)).double()
    still.load_state_dict(model.state_dict())
    place, some = Placement(image=(9, 9), canvas=(18, 18)), images(4, (9, 9))
    offsets = torch.tensor([[0, 0], [9, 9], [3, 1], [0, 9]])
    pixels = place.place(some, offsets).double() / 255
    assert torch.equal(model.eval()(pixels), still.eval()(pixels))
    seen = [model.train().forward_placed(some, offsets, place) for _ in range(2)]
    assert not torch.equal(*seen)
    assert spread(logits_everywhere(model, some, place)) == 0


def test_shifts_average_over_neighboring_windows():
    model = randomized(RecenteredNet(canvas=(18, 18), widths=(4, 6), mirror=False, shifts=1)).double().eval()
    one = RecenteredNet(canvas=(18, 18), widths=(4, 6), mirror=False).double().eval()
    one.load_state_dict(model.state_dict())
    place, some = Placement(image=(7, 6), canvas=(18, 18)), images(4, (7, 6))  # smaller than the window of 9 x 9
    logits = logits_everywhere(model, some, place)
    assert spread(logits) == 0 and separation(logits) > DIFFERS
    window = one.recenter(place.place(some, torch.tensor([[5, 2]]).expand(4, 2)).double() / 255)
    views = [window.roll((dy, dx), (2, 3)) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]  # nothing crosses the border
    expected = torch.stack([one.trunk(one.normalize(view)) for view in views]).mean(0)
    torch.testing.assert_close(logits[:, 0], expected, rtol=0, atol=1e-12)
    with single_view(model):
        assert torch.equal(logits_everywhere(model, some, place), logits_everywhere(one, some, place))
    assert torch.equal(logits_everywhere(model, some, place), logits)
    assert not torch.equal(logits, logits_everywhere(one, some, place))


@pytest.mark.parametrize("name", ["jitter", "shifts"])
@pytest.mark.parametrize("pixels", [-1, 1.5])
def test_invalid_numbers_of_pixels_are_refused(name, pixels):
    with pytest.raises(UsageError, match=f"{name} must be a non-negative integer, got {pixels}"):
        RecenteredNet(**{name: pixels})


@pytest.mark.parametrize("name", ["recentered", "invariant"])
def test_mirror_images_have_equal_outputs_with_mirror_averaging(name):
    model = randomized(build_model(name, canvas=(16, 16), widths=(4, 6))).double().eval()
    x = torch.zeros(3, 1, 16, 16, dtype=torch.float64)
    x[..., 2:8, 7:13] = torch.rand(3, 1, 6, 6, dtype=torch.float64)  # even sides: it can be exactly in the middle
    torch.testing.assert_close(model(x), model(x.flip(3)), rtol=0, atol=1e-12)
    plain = randomized(build_model(name, canvas=(16, 16), widths=(4, 6), mirror=False)).double().eval()
    assert (plain(x) - plain(x.flip(3))).abs().max() > 1e-6


@pytest.mark.parametrize("name", ["recentered", "invariant"])
def test_checkpoints_load_by_themselves(name, tmp_path):
    model = randomized(build_model(name, canvas=(16, 24), channels=3, classes=4, widths=(4, 6), mirror=False)).eval()
    found = load(save(model, tmp_path / name))
    x = torch.rand(2, 3, 16, 24)
    assert torch.equal(found(x), model(x))


def test_bad_sizes_are_named():
    with pytest.raises(UsageError, match=r"canvas must be multiples of the model's total stride, 4, got \(54, 56\)"):
        InvariantNet(canvas=(54, 56))
    with pytest.raises(UsageError, match=r"multiples of its total stride, 4, got \(1, 1, 30, 32\)"):
        InvariantNet()(torch.zeros(1, 1, 30, 32))
    with pytest.raises(UsageError, match="takes images of 1 channels"):
        InvariantNet()(torch.zeros(1, 3, 32, 32))
    with pytest.raises(UsageError, match="built for images of 1 x 56 x 56"):
        RecenteredNet()(torch.zeros(1, 1, 28, 28))
    with pytest.raises(UsageError, match="widths must be two or more"):
        RecenteredNet(widths=(4,))


def test_an_empty_canvas_has_finite_outputs():
    for model in (RecenteredNet(widths=(4, 4)), InvariantNet(widths=(4, 4))):
        assert model.eval()(torch.zeros(2, 1, 56, 56)).isfinite().all()
