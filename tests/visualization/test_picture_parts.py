"""Parametrisation, transforms and ascent, each on its own."""

import numpy as np
import pytest
import torch

from shiftscope.errors import UsageError
from shiftscope.settings import PLAIN_ASCENT, SynthesisSettings
from shiftscope.visualization.ascent import ascend
from shiftscope.visualization.parametrisation import start_logits, to_logits, to_pixels
from shiftscope.visualization.transforms import blur, jitter, shift_of, variation_gradient


def test_starts():
    shape = (2, 3, 5)
    assert to_pixels(start_logits("zero", shape, 4, seed=0)).unique().tolist() == [0.5]
    black = to_pixels(start_logits("black", shape, 4, seed=0)).unique()
    assert black.numel() == 1 and 0 < float(black) < 0.1
    noise = start_logits("random", shape, 4, seed=0)
    assert noise.shape == (4, *shape) and not torch.equal(noise[0], noise[1])
    assert torch.equal(noise, start_logits("random", shape, 4, seed=0))
    assert not torch.equal(noise, start_logits("random", shape, 4, seed=1))


def test_a_start_picture_is_kept_in_either_type():
    picture = np.arange(15, dtype=np.uint8).reshape(3, 5) + 100
    as_bytes = to_pixels(start_logits(picture, (1, 3, 5), 2, seed=0))
    np.testing.assert_allclose(as_bytes[1, 0], picture / 255, rtol=1e-5)
    torch.testing.assert_close(as_bytes, to_pixels(start_logits(picture / 255, (1, 3, 5), 2, seed=0)))


@pytest.mark.parametrize("start, message", [
    ("blank", "unknown start 'blank': did you mean 'black'?"),
    (np.zeros((5, 3)), r"start picture has shape \(5, 3\), the model takes \(1, 3, 5\)"),
    (np.zeros((3, 3, 5)), r"start picture has shape \(3, 3, 5\)"),
    (np.full((3, 5), 7.0), "the start picture must be pixels from 0 to 1, or uint8, got '7 to 7'"),
    (np.full((3, 5), np.nan), "the start picture must be"),
])
def test_starts_that_cannot_be(start, message):
    with pytest.raises(UsageError, match=message):
        start_logits(start, (1, 3, 5), 2, seed=0)


def test_jitter_moves_down_and_to_the_right_within_its_bound():
    picture = torch.zeros(1, 1, 4, 6)
    picture[..., 1, 2] = 1
    assert jitter(picture, (2, 3)).nonzero().tolist() == [[0, 0, 3, 5]]
    shifts = {shift_of(step, 2, seed=3) for step in range(300)}
    assert shifts == {(dy, dx) for dy in range(-2, 3) for dx in range(-2, 3)}


def test_blur_is_a_gaussian_of_the_given_width():
    point = torch.zeros(1, 1, 31, 41, dtype=torch.float64)
    point[..., 15, 20] = 1
    smooth = blur(point, 2.0)[0, 0]
    assert float(smooth.sum()) == pytest.approx(1)
    rows, columns = torch.arange(31) - 15, torch.arange(41) - 20
    assert float((smooth.sum(1) * rows**2).sum()) == pytest.approx(4, rel=0.01)
    assert float((smooth.sum(0) * columns**2).sum()) == pytest.approx(4, rel=0.01)
    assert blur(point, 0.0) is point


def test_the_gradient_of_the_variation_is_the_gradient():
    pictures = torch.rand(2, 3, 5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    pictures.requires_grad_()
    total = sum((pictures.diff(dim=axis).square() + 0.05**2).sqrt().sum() for axis in (2, 3))
    (expected,) = torch.autograd.grad(total, pictures)
    torch.testing.assert_close(variation_gradient(pictures.detach()), expected)


def linear_score(weights):
    return lambda pixels, leak: (pixels * weights).sum((1, 2, 3))


def test_plain_ascent_on_a_linear_score_finds_its_weights():
    weights = torch.randn(3, 1, 9, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    start = torch.zeros_like(weights)
    settings = SynthesisSettings(**(PLAIN_ASCENT.to_dict() | {"steps": 1, "step_size": 1e-3}))
    moved = to_pixels(ascend(linear_score(weights), start, settings)) - 0.5
    cosines = torch.cosine_similarity(moved.flatten(1), weights.flatten(1))
    assert float(cosines.min()) > 0.999999  # a small step from mid-grey goes along the gradient
    sizes = moved.square().mean((1, 2, 3)).sqrt()
    torch.testing.assert_close(sizes, torch.full((3,), 0.25e-3, dtype=torch.float64), rtol=1e-3, atol=0)


def test_every_picture_goes_its_own_way():
    weights = torch.randn(5, 1, 9, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    settings = SynthesisSettings(steps=20)
    together = ascend(linear_score(weights), torch.zeros_like(weights), settings)
    alone = torch.cat([ascend(linear_score(w[None]), torch.zeros_like(w[None]), settings) for w in weights])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-9)


def test_a_score_without_slope_leaves_the_picture_where_it_was():
    start = to_logits(torch.rand(2, 1, 4, 5, generator=torch.Generator().manual_seed(0)))
    moved = ascend(lambda pixels, leak: 0 * pixels.sum((1, 2, 3)), start, PLAIN_ASCENT)
    assert torch.equal(moved, start)


def test_relus_leak_in_the_first_quarter_only():
    leaks = []

    def score(pixels, leak):
        leaks.append(leak)
        return pixels.sum((1, 2, 3))

    ascend(score, torch.zeros(1, 1, 2, 2), SynthesisSettings(steps=8, leak=0.2))
    assert leaks == [0.2, 0.2, 0, 0, 0, 0, 0, 0]


@pytest.mark.parametrize("name, value", [("steps", 0), ("step_size", 0.0), ("momentum", 1.0), ("blur", -1.0),
                                         ("jitter", -1), ("decay", 1.0), ("leak", -0.1), ("total_variation", -1.0)])
def test_settings_that_cannot_be(name, value):
    with pytest.raises(UsageError, match=f"{name} must be"):
        SynthesisSettings(**{name: value})
