"""Parametrization, transforms and ascent, each on its own."""

import numpy as np
import pytest
import torch

from shiftscope.data import TensorImages
from shiftscope.errors import UsageError
from shiftscope.placement import Placement
from shiftscope.settings import PLAIN_ASCENT, SynthesisSettings
from shiftscope.visualization.gradient_ascent import ascend, project_to_ball, total_variation_gradient
from shiftscope.visualization.initial_images import initial_images
from shiftscope.visualization.parametrization import Fourier, Frame, Maco, maco, mean_magnitude, soft_window, to_logits
from shiftscope.visualization.presets import resolve_settings
from shiftscope.visualization.transforms import (
    Blur,
    Jitter,
    Noise,
    Scale,
    blur,
    compose,
    random_shift,
    scale,
    translate,
    view_key,
)

SHAPE = (2, 3, 5)


def random_images(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def settings_of(**changed):
    """Settings of plain ascent with changes."""
    return resolve_settings(SynthesisSettings(**(PLAIN_ASCENT.to_dict() | changed)), (1, 9, 7))


def climb(score, start, settings, **given):
    """Ascent on logits without a ground."""
    frame = Frame(torch.sigmoid(start))
    return ascend(lambda pixels, leak, rows: score(pixels, rows), start, frame, settings, **given)


def linear(weights):
    return lambda pixels, rows: (pixels * weights[rows]).sum((1, 2, 3))


# ------------------------------------------------------------------ starts


def test_initial_images():
    names = ["a", "b", "c"]
    assert initial_images("zero", SHAPE, names, seed=0).unique().tolist() == [0.5]
    assert initial_images("black", SHAPE, names, seed=0).unique().tolist() == [0.0]
    noise = initial_images("random", SHAPE, names, seed=0)
    assert noise.shape == (3, *SHAPE) and not torch.equal(noise[0], noise[1])
    assert torch.equal(noise[1:2], initial_images("random", SHAPE, ["b"], seed=0))
    assert not torch.equal(noise, initial_images("random", SHAPE, names, seed=1))


def test_initial_image_may_be_uint8_or_float():
    image = np.arange(15, dtype=np.uint8).reshape(3, 5) + 100
    as_bytes = initial_images(image, (1, 3, 5), ["a", "b"], seed=0)
    np.testing.assert_allclose(as_bytes[1, 0], image / 255, rtol=1e-6)
    torch.testing.assert_close(as_bytes, initial_images(image / 255, (1, 3, 5), ["a", "b"], seed=0))


@pytest.fixture
def images():
    pixels = torch.randint(0, 256, (6, 1, 3, 4), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    return TensorImages(pixels, torch.arange(6))


def test_initial_images_from_a_dataset(images):
    mean = initial_images("mean", (1, 7, 10), ["a"], seed=0, images=images)[0]
    expected = images.images.double().mean(0) / 255
    torch.testing.assert_close(mean[:, 2:5, 3:7], expected.float())
    assert float(mean.sum()) == pytest.approx(float(expected.sum()), rel=1e-5)
    placement = Placement(image=(3, 4), canvas=(7, 10), background=51)
    one = initial_images(4, (1, 7, 10), ["a"], seed=0, images=images, placement=placement)[0]
    torch.testing.assert_close(one[0, 2:5, 3:7] * 255, images.images[4, 0].float())
    assert float(one[0, 0, 0]) == pytest.approx(0.2)


@pytest.mark.parametrize("start, message", [
    ("blank", "unknown start 'blank': did you mean 'black'?"),
    (np.zeros((5, 3)), r"start image has shape \(5, 3\), the model takes \(1, 3, 5\)"),
    (np.zeros((3, 3, 5)), r"start image has shape \(3, 3, 5\)"),
    (np.full((3, 5), 7.0), "the start image must be pixels from 0 to 1, or uint8 .*, got '7 to 7'"),
    (np.full((3, 5), np.nan), "the start image must be"),
    ("mean", "the start 'mean' needs images: pass images="),
    (3, "the start 3 needs images: pass images="),
])
def test_invalid_starts_are_rejected(start, message):
    with pytest.raises(UsageError, match=message):
        initial_images(start, (1, 3, 5), ["a", "b"], seed=0)


def test_unsuitable_image_sets_are_rejected(images):
    with pytest.raises(UsageError, match="start must be the index of an image, from 0 to 5, got 6"):
        initial_images(6, (1, 7, 10), ["a"], seed=0, images=images)
    with pytest.raises(UsageError, match="the images have 1 channels, the model takes 3"):
        initial_images("mean", (3, 7, 10), ["a"], seed=0, images=images)


# ------------------------------------------------------------------ transforms


def test_jitter_shifts_within_its_bound():
    image = torch.zeros(1, 1, 4, 6)
    image[..., 1, 2] = 1
    assert translate(image, (2, 3), 0.0).nonzero().tolist() == [[0, 0, 3, 5]]
    shifts = {random_shift(view_key(3, step), 2) for step in range(300)}
    assert shifts == {(dy, dx) for dy in range(-2, 3) for dx in range(-2, 3)}


@pytest.mark.parametrize("shift", [(2, -3), (-1, 4), (0, 1), (9, 0)])
def test_translate_fills_with_the_ground(shift):
    image, ground = random_images(2, 1, 4, 6), random_images(1, 1, 4, 6, seed=1)
    expected = ground.expand(2, 1, 4, 6).clone()
    for y in range(4):
        for x in range(6):
            if 0 <= y - shift[0] < 4 and 0 <= x - shift[1] < 6:
                expected[..., y, x] = image[..., y - shift[0], x - shift[1]]
    assert torch.equal(translate(image, shift, ground), expected)


def test_blur_is_gaussian():
    point = torch.zeros(1, 1, 31, 41, dtype=torch.float64)
    point[..., 15, 20] = 1
    smooth = blur(point, 2.0)[0, 0]
    assert float(smooth.sum()) == pytest.approx(1)
    rows, columns = torch.arange(31) - 15, torch.arange(41) - 20
    assert float((smooth.sum(1) * rows**2).sum()) == pytest.approx(4, rel=0.01)
    assert float((smooth.sum(0) * columns**2).sum()) == pytest.approx(4, rel=0.01)
    assert blur(point, 0.0) is point


@pytest.mark.parametrize("factor", [0.7, 1.0, 1.3])
def test_scale_is_bilinear_about_the_middle(factor):
    rows, columns = torch.arange(9.0, dtype=torch.float64), torch.arange(12.0, dtype=torch.float64)
    ramp = (2 * rows[:, None] + columns)[None, None]  # bilinear reading is exact on a ramp
    result = scale(ramp, factor)[0, 0]
    source = [((n - (len(n) - 1) / 2) / factor + (len(n) - 1) / 2).clamp(0, len(n) - 1) for n in (rows, columns)]
    torch.testing.assert_close(result, 2 * source[0][:, None] + source[1])


def test_transforms_depend_on_their_key_and_compose():
    batch = random_images(2, 1, 6, 8)
    for transform in (Jitter(2), Jitter(2, 0.5), Scale(0.3), Blur(2.0), Noise(0.1)):
        first, again, other = (transform(batch, key) for key in (view_key(0, 5), view_key(0, 5), view_key(0, 9)))
        assert torch.equal(first, again) and not torch.equal(first, other)
        assert torch.allclose(transform(batch[1:], view_key(0, 5)), first[1:])  # does not depend on the batch
    both = compose([Jitter(2), Noise(0.1)])(batch, 77)
    assert float((both - Jitter(2)(batch, 77)).std()) == pytest.approx(0.1, rel=0.3)


def test_total_variation_gradient_matches_autograd():
    batch = random_images(2, 3, 5, 4).requires_grad_()
    total = sum((batch.diff(dim=axis).square() + 0.05**2).sqrt().sum() for axis in (2, 3))
    (expected,) = torch.autograd.grad(total, batch)
    torch.testing.assert_close(total_variation_gradient(batch.detach()), expected)


# ------------------------------------------------------------------ parametrizations


@pytest.mark.parametrize("size", [(6, 8), (7, 9), (5, 4)])
def test_fourier_inverts_and_weights_by_one_over_f(size):
    z = random_images(2, 3, *size)
    how = Fourier(size)
    torch.testing.assert_close(how.logits(how.start(z)), z)
    assert float(how.weights().max()) == 1
    assert float(how.weights()[0, 2] / how.weights()[0, 1]) == pytest.approx(0.5)
    slope = random_images(2, 3, *size, seed=1)
    moved_by = how.logits(how.start(z) + how.step(how.start(z), slope)) - z
    spectrum = torch.fft.rfft2(slope) * how.weights() ** 2
    torch.testing.assert_close(moved_by, torch.fft.irfft2(spectrum, s=size))


@pytest.mark.parametrize("size", [(6, 8), (7, 9)])
def test_maco_keeps_the_spectrum_and_increases_the_score(size):
    r = torch.rand(1, size[0], size[1] // 2 + 1, dtype=torch.float64) + 0.5
    how, z, weights = Maco(r, size), random_images(2, 1, *size), random_images(2, 1, *size, seed=1) - 0.5
    phases = how.start(z)
    for _ in range(20):
        phases = phases + 0.05 * how.step(phases, weights)
    inner = torch.fft.rfft2(how.logits(phases), norm="ortho").abs()[..., 1:-1]
    torch.testing.assert_close(inner, r[..., 1:-1].expand_as(inner))
    gained = (how.logits(phases) * weights).sum((1, 2, 3)) - (how.logits(how.start(z)) * weights).sum((1, 2, 3))
    assert float(gained.min()) > 0


def test_maco_of_a_single_image_leaves_the_canvas_black(images):
    how = maco(images, (1, 7, 10), single_image=True)
    z = how.logits(how.start(random_images(2, 1, 7, 10)))
    assert z.shape == (2, 1, 7, 10)
    inner = torch.fft.rfft2(z[..., 2:5, 3:7], norm="ortho").abs()[..., 1:-1]
    torch.testing.assert_close(inner, mean_magnitude(images, (1, 3, 4))[..., 1:-1].expand_as(inner))
    z[..., 2:5, 3:7] = to_logits(torch.zeros(()))
    assert float(torch.sigmoid(z).max()) < 0.09


def test_mean_magnitude_does_not_depend_on_offsets(images):
    shape, placement = (1, 7, 10), Placement(image=(3, 4), canvas=(7, 10))
    result = mean_magnitude(images, shape, placement)
    offsets = torch.tensor([[0, 0], [4, 6], [1, 2], [2, 3], [3, 3], [0, 5]])
    logits = to_logits(placement.place(images.images, offsets).double() / 255)
    torch.testing.assert_close(result, torch.fft.rfft2(logits, norm="ortho").abs().mean(0))
    with pytest.raises(UsageError, match="the parametrization maco needs the spectrum of training images: pass"):
        maco(None, shape)


def test_window_shows_the_ground_outside():
    window = soft_window(20, 30, (0.5, 0.4))
    assert window is not None and window.shape == (20, 30)
    assert float(window[10, 15]) > 0.98 and float(window[0, 15]) < 0.02 and float(window[10, 0]) < 1e-3
    assert float(window[:, 15].sum()) == pytest.approx(10, rel=0.02)
    assert float(window[10].sum()) == pytest.approx(12, rel=0.02)
    frame = Frame(torch.full((1, 1, 20, 30), 0.25, dtype=torch.float64), window)
    z = random_images(1, 1, 20, 30).requires_grad_()
    assert float(frame.pixels(z).detach()[0, 0, 0, 0]) == pytest.approx(0.25, abs=1e-3)
    weights = random_images(1, 1, 20, 30, seed=1)
    (expected,) = torch.autograd.grad((frame.pixels(z) * weights).sum(), z)
    torch.testing.assert_close(frame.gradient(z.detach(), weights), expected)


# ------------------------------------------------------------------ ascent


def test_ascent_on_a_linear_score_follows_its_weights():
    weights = random_images(3, 1, 9, 7) - 0.5
    result = climb(linear(weights), torch.zeros_like(weights), settings_of(steps=1, step_size=1e-3))
    change = torch.sigmoid(result.parameters) - 0.5
    assert float(torch.cosine_similarity(change.flatten(1), weights.flatten(1)).min()) > 0.999999
    sizes = change.square().mean((1, 2, 3)).sqrt()
    torch.testing.assert_close(sizes, torch.full((3,), 0.25e-3, dtype=torch.float64), rtol=1e-3, atol=0)


def test_bounded_ascent_on_a_linear_score_follows_its_weights():
    weights = random_images(3, 1, 9, 7) - 0.5
    result = climb(linear(weights), torch.zeros_like(weights), settings_of(steps=100, step_size=0.1, radius=0.5))
    change = (torch.sigmoid(result.parameters) - 0.5).flatten(1)
    assert float(torch.cosine_similarity(change, weights.flatten(1)).min()) > 0.999
    torch.testing.assert_close(change.norm(dim=1), torch.full((3,), 0.5, dtype=torch.float64))


def test_projection_keeps_images_within_the_bound():
    z = random_images(2, 1, 3, 4)
    assert torch.equal(project_to_ball(z, torch.zeros_like(z), 10.0), z)


@pytest.mark.parametrize("changed", [{}, {"jitter": 2, "views": 2, "jitter_mode": "crop", "noise": 0.1, "scale": 0.2,
                                          "blur": 1.0, "total_variation": 0.1, "l2": 0.1, "decay": 0.05,
                                          "momentum": 0.5, "patience": 3}])
def test_ascent_does_not_depend_on_the_batch(changed):
    weights, settings = random_images(5, 1, 9, 7) - 0.5, settings_of(**changed)
    start = torch.zeros_like(weights)
    parts = compose([Scale(settings.scale), Jitter(settings.jitter, 0.5), Noise(settings.noise)])
    view = {"view": lambda step: parts}
    together = climb(linear(weights), start, settings, **view)
    alone = [climb(linear(w[None]), start[:1], settings, **view) for w in weights]
    torch.testing.assert_close(together.parameters, torch.cat([one.parameters for one in alone]), rtol=0, atol=1e-9)
    assert together.steps.tolist() == [int(one.steps) for one in alone]


def saturating(limits):
    """Scores that stop rising at a limit, each image at its own."""
    return lambda pixels, rows: pixels.mean((1, 2, 3)).clamp_max(1.0) - (pixels.mean((1, 2, 3)) - limits[rows]).relu()


def test_units_stop_early_one_by_one():
    limits, asked = torch.tensor([0.52, 0.95, 0.6], dtype=torch.float64), []

    def score(pixels, rows):
        asked.append(rows.tolist())
        return saturating(limits)(pixels, rows)

    start = torch.zeros(3, 1, 4, 5, dtype=torch.float64)
    done = []
    result = climb(score, start, settings_of(steps=60, patience=5), advance=done.append)
    first, second, third = result.steps.tolist()
    assert 5 < first < third < second <= 60
    assert asked[0] == [0, 1, 2] and asked[first] == [1, 2] and asked[third] == [1]
    assert sum(done) == 60 and result.has_gradient.tolist() == [True] * 3
    frozen = climb(saturating(limits[:1]), start[:1], settings_of(steps=first, patience=0))
    torch.testing.assert_close(result.parameters[:1], frozen.parameters)


def test_images_of_one_unit_stop_together():
    limits = torch.tensor([0.52, 0.7, 0.9, 0.9], dtype=torch.float64)
    start = torch.zeros(4, 1, 4, 5, dtype=torch.float64)
    steps = climb(saturating(limits), start, settings_of(steps=60, patience=5), copies=2).steps.tolist()
    assert steps[0] == steps[1] < steps[2] == steps[3]


def test_score_without_gradient_keeps_the_image():
    start = to_logits(random_images(2, 1, 4, 5))
    result = climb(lambda pixels, rows: 0 * pixels.sum((1, 2, 3)) + 7, start, settings_of())
    assert torch.equal(result.parameters, start) and result.has_gradient.tolist() == [False, False]


def test_tiny_and_huge_gradients_are_normalized():
    weights = random_images(2, 1, 4, 5) - 0.5
    scale = torch.tensor([1e-200, 1e200], dtype=torch.float64)[:, None, None, None]
    start = torch.zeros_like(weights)
    result = climb(linear(weights * scale), start, settings_of())
    torch.testing.assert_close(result.parameters, climb(linear(weights), start, settings_of()).parameters)


def test_l2_penalty_reduces_the_change():
    weights, start = random_images(1, 1, 4, 5), torch.zeros(1, 1, 4, 5, dtype=torch.float64)
    free, held = (torch.sigmoid(climb(linear(weights), start, settings_of(l2=l2)).parameters) - 0.5
                  for l2 in (0.0, 3.0))
    assert float(held.norm()) < 0.8 * float(free.norm())


def test_relus_leak_in_the_first_quarter_only():
    leaks, start = [], torch.zeros(1, 1, 2, 2)

    def score(pixels, leak, rows):
        leaks.append(leak)
        return pixels.sum((1, 2, 3))

    ascend(score, start, Frame(torch.sigmoid(start)), settings_of(steps=8, leak=0.2))
    assert leaks == [0.2, 0.2, 0, 0, 0, 0, 0, 0]


# ------------------------------------------------------------------ settings


@pytest.mark.parametrize("name, value", [
    ("steps", 0), ("step_size", 0.0), ("momentum", 1.0), ("blur", -1.0), ("jitter", -1), ("decay", 1.0), ("leak", -0.1),
    ("total_variation", -1.0), ("views", 0), ("window", 0.0), ("window", 1.5), ("radius", 0.0), ("patience", -1),
    ("parametrization", "wavelets"), ("jitter_mode", "roll"), ("memory", 0), ("noise", -0.1), ("scale", 1.0)])
def test_invalid_settings_are_rejected(name, value):
    with pytest.raises(UsageError, match=f"{name} must be"):
        SynthesisSettings(**{name: value})


def test_presets_depend_on_the_input_and_can_be_overridden():
    open_ = SynthesisSettings()
    assert resolve_settings(open_, (1, 56, 56)).preset == "small units"
    assert resolve_settings(open_, (1, 56, 56), first_layer=True).start == "zero"
    assert resolve_settings(open_, (3, 32, 32), classes=True).preset == "small color"
    assert resolve_settings(open_, (3, 224, 224)).parametrization == "fourier"
    chosen = resolve_settings(SynthesisSettings(steps=7, window=0.8, jitter=1), (1, 56, 60), classes=True)
    assert (chosen.preset, chosen.steps, chosen.window, chosen.jitter) == ("small classes", 7, (0.8, 0.8), 1)
    assert resolve_settings(SynthesisSettings(parametrization="maco"), (1, 56, 56)).decay == 0


def test_window_of_classes_has_the_size_of_the_images():
    placement = Placement(image=(10, 28), canvas=(40, 60))
    chosen = resolve_settings(SynthesisSettings(), (3, 40, 60), classes=True, placement=placement)
    assert chosen.window == (12 / 40, 30 / 60) and chosen.jitter == 13 and chosen.start == "black"
    assert resolve_settings(SynthesisSettings(), (1, 28, 28), classes=True).window == (1.0, 1.0)
    crop = Placement(image=(80, 80), canvas=(40, 60), mode="crop")
    filled = Placement(image=(40, 60), canvas=(40, 60), mode="fill")
    for place in (crop, filled):
        assert resolve_settings(SynthesisSettings(), (1, 40, 60), classes=True, placement=place).window == (1.0, 1.0)
