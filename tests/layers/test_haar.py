import numpy as np
import pytest
import pywt
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage import restoration

from shiftscope.errors import UsageError
from shiftscope.layers import UndecimatedHaar
from shiftscope.layers.cycle_spinning import cycle_spin, denoise_haar, denoise_undecimated, hard_threshold
from shiftscope.layers.haar import haar, inverse_haar

ROUNDING = 1e-12


def pictures(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_coefficients_are_those_of_pywavelets():
    x = pictures(16, 24)
    averages, *details = haar(x, 3)
    theirs = pywt.wavedec2(x.numpy(), "haar", mode="periodization", level=3)
    np.testing.assert_allclose(averages, theirs[0], rtol=0, atol=ROUNDING)
    for mine, level in zip(details, theirs[1:], strict=True):
        np.testing.assert_allclose(mine, np.stack(level), rtol=0, atol=ROUNDING)


def test_undecimated_bands_are_those_of_pywavelets():
    x = pictures(1, 1, 16, 24)
    averages, *levels = pywt.swt2(x[0, 0].numpy(), "haar", level=3, trim_approx=True)
    theirs = np.stack([averages, *(band for level in levels for band in level)])
    np.testing.assert_allclose(UndecimatedHaar(3)(x)[0], theirs, rtol=0, atol=ROUNDING)


def test_names_of_the_details():
    stripes = torch.tensor([[1.0, 1.0], [-1.0, -1.0]])  # they run horizontally
    assert haar(stripes)[1].flatten().tolist() == [2, 0, 0]
    assert haar(stripes.T)[1].flatten().tolist() == [0, 2, 0]
    assert haar(torch.tensor([[1.0, -1.0], [-1.0, 1.0]]))[1].flatten().tolist() == [0, 0, 2]


@given(levels=st.integers(1, 4), height=st.integers(1, 3), width=st.integers(1, 3), seed=st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_orthogonal_transform_keeps_energy_and_is_undone(levels, height, width, seed):
    x = pictures(2, 3, height * 2**levels, width * 2**levels, seed=seed)
    coefficients = haar(x, levels)
    energy = sum(float(bands.square().sum()) for bands in coefficients)
    assert energy == pytest.approx(float(x.square().sum()), rel=1e-12)
    torch.testing.assert_close(inverse_haar(coefficients), x, rtol=0, atol=ROUNDING)


@given(levels=st.integers(1, 4), height=st.integers(1, 19), width=st.integers(1, 19), dy=st.integers(-9, 9),
       dx=st.integers(-9, 9))
@settings(max_examples=30, deadline=None)
def test_undecimated_transform_is_undone_and_moves_along_on_any_torus(levels, height, width, dy, dx):
    x, transform = pictures(2, 3, height, width), UndecimatedHaar(levels)
    bands = transform(x)
    assert bands.shape == (2, 3 * (3 * levels + 1), height, width) and bands.dtype == x.dtype
    torch.testing.assert_close(transform.inverse(bands), x, rtol=0, atol=ROUNDING)
    assert transform(x.roll((dy, dx), (2, 3))).equal(bands.roll((dy, dx), (2, 3)))


def test_undecimated_transform_holds_the_orthogonal_ones_of_all_shifts():
    x = pictures(1, 2, 8, 16)
    bands = UndecimatedHaar(2)(x).unflatten(1, (2, 7))
    for dy, dx in ((0, 0), (1, 0), (2, 3), (3, 1)):
        averages, coarse, fine = haar(x.roll((-dy, -dx), (2, 3)), 2)
        torch.testing.assert_close(bands[:, :, 0, dy::4, dx::4], averages, rtol=0, atol=ROUNDING)
        torch.testing.assert_close(bands[:, :, 1:4, dy::4, dx::4], coarse, rtol=0, atol=ROUNDING)
        torch.testing.assert_close(bands[:, :, 4:, dy % 2::2, dx % 2::2].roll((-(dy // 2), -(dx // 2)), (3, 4)), fine,
                                   rtol=0, atol=ROUNDING)


def test_the_orthogonal_transform_does_not_move_along():
    impulse = torch.zeros(4, 4, dtype=torch.float64)
    impulse[0, 0] = 1
    still, moved = haar(impulse)[1], haar(impulse.roll(1, 1))[1]
    assert not any(moved.equal(still.roll((dy, dx), (1, 2))) for dy in range(2) for dx in range(2))


@pytest.mark.parametrize("levels, size", [(1, (6, 10)), (2, (8, 12)), (3, (16, 8))])
def test_undecimated_thresholding_is_cycle_spinning_over_all_shifts(levels, size):
    x = pictures(2, 1, *size)
    whole = denoise_undecimated(x, 1.2, levels)
    spun = cycle_spin(lambda part: denoise_haar(part, 1.2, levels), x, 2**levels)
    torch.testing.assert_close(whole, spun, rtol=0, atol=ROUNDING)
    fewer = cycle_spin(lambda part: denoise_haar(part, 1.2, levels), x, 2**levels // 2)
    assert (whole - fewer).abs().max() > 0.01 and (whole - x).abs().max() > 0.1


def test_cycle_spinning_over_all_shifts_commutes_with_shifts_and_over_fewer_does_not():
    x = pictures(1, 1, 8, 12)

    def drift(shifts):
        spun = [cycle_spin(lambda part: denoise_haar(part, 1.2, 2), y, shifts) for y in (x, x.roll((1, 2), (2, 3)))]
        return float((spun[1] - spun[0].roll((1, 2), (2, 3))).abs().max())

    assert drift(4) < ROUNDING
    assert drift(1) > 0.1 and drift(2) > 0.01


@pytest.mark.parametrize("shifts", [1, 2, 4])
def test_cycle_spinning_is_that_of_scikit_image(shifts):
    x = pictures(16, 24)
    theirs = restoration.cycle_spin(x.numpy(), func=lambda part: denoise_haar(torch.as_tensor(part), 1.2, 3).numpy(),
                                    max_shifts=shifts - 1, workers=1)
    np.testing.assert_allclose(cycle_spin(lambda part: denoise_haar(part, 1.2, 3), x, shifts), theirs, rtol=0,
                               atol=ROUNDING)


def test_thresholding_is_that_of_pywavelets_and_leaves_averages_alone():
    x = pictures(8, 8)
    np.testing.assert_array_equal(hard_threshold(x, 0.7), pywt.threshold(x.numpy(), 0.7, mode="hard"))
    flat = torch.full((1, 1, 8, 8), 0.1)
    torch.testing.assert_close(denoise_haar(flat, 99, 3), flat)
    torch.testing.assert_close(denoise_undecimated(flat, 99, 3), flat)


def test_gradients_pass():
    x = pictures(1, 1, 4, 6).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: UndecimatedHaar(2)(x), x)
    assert torch.autograd.gradcheck(lambda x: inverse_haar([bands * 2 for bands in haar(x)]), x)


@pytest.mark.parametrize("batch", [0, 1])
def test_batches_of_none_and_one(batch):
    transform = UndecimatedHaar(2)
    assert transform.inverse(transform(torch.zeros(batch, 3, 5, 7))).shape == (batch, 3, 5, 7)


def test_bad_input_is_named():
    with pytest.raises(UsageError, match=r"a picture of 12 x 10 has no orthogonal .* 2 levels: choose sizes that 4"):
        haar(torch.zeros(12, 10), 2)
    with pytest.raises(UsageError, match="levels must be a whole number of at least 1, got 0"):
        UndecimatedHaar(0)
    with pytest.raises(UsageError, match=r"pictures must be \(batch, channels, height, width\), got \(4, 4\)"):
        UndecimatedHaar(1)(torch.zeros(4, 4))
    with pytest.raises(UsageError, match=r"bands must be \(batch, channels \* 7, .* for 2 levels, got \(1, 8, 4, 4\)"):
        UndecimatedHaar(2).inverse(torch.zeros(1, 8, 4, 4))
    with pytest.raises(UsageError, match="shifts must be a whole number of at least 1, got 0"):
        cycle_spin(lambda x: x, torch.zeros(2, 2), 0)
