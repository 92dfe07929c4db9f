import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from shiftscope.errors import UsageError
from shiftscope.layers import Scattering2d
from shiftscope.layers.scattering import littlewood_paley, morlet_bank
from shiftscope.placement import Placement

ROUNDING = 1e-12


@pytest.fixture(autouse=True)
def filters_in_float64():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def morlet_in_space(shape, j, angle, angles, copies=4):
    """A Morlet wavelet by its formula at each pixel, wrapped onto the torus, up to a constant factor."""
    height, width = shape
    y = torch.arange(-copies * height, copies * height)[:, None].double()
    x = torch.arange(-copies * width, copies * width)[None].double()
    turn, sigma, slant = math.pi * angle / angles, 0.8 * 2**j, min(1, 4 / angles)
    along, across = math.sin(turn) * y + math.cos(turn) * x, math.cos(turn) * y - math.sin(turn) * x
    window = (-(along.square() + (slant * across).square()) / (2 * sigma**2)).exp()
    wave = torch.polar(window, 0.75 * math.pi / 2**j * along)
    folded = [part.unflatten(1, (-1, width)).unflatten(0, (-1, height)).sum((0, 2)) for part in (wave, window)]
    return folded[0] - folded[0].sum() / folded[1].sum() * folded[1]


def convolved_in_space(u, kernel):
    """Circular convolution by summing over all pixels."""
    total = torch.zeros_like(kernel)
    for dy in range(u.shape[0]):
        for dx in range(u.shape[1]):
            total += u[dy, dx] * kernel.roll((dy, dx), (0, 1))
    return total


@pytest.mark.parametrize("shape, scales, angles", [((16, 12), 2, 4), ((15, 21), 3, 6), ((24, 16), 3, 8)])
def test_wavelets_equal_the_formula(shape, scales, angles):
    _, psi = morlet_bank(shape, scales, angles)
    for j in range(scales):
        for angle in range(angles):
            expected = torch.fft.fft2(morlet_in_space(shape, j, angle, angles))
            assert expected.imag.abs().max() < 1e-9 * expected.real.abs().max()
            ratio = float((expected.real * psi[j, angle]).sum() / expected.real.square().sum())
            torch.testing.assert_close(psi[j, angle], expected.real * ratio, rtol=0, atol=1e-9)


def test_all_wavelets_have_one_norm_factor_and_no_mean():
    phi, psi = morlet_bank((32, 24), 3, 8)
    assert psi[:, :, 0, 0].abs().max() == 0 and phi[0, 0] == 1
    factors = [float(psi[j, a].square().sum()
                     / torch.fft.fft2(morlet_in_space((32, 24), j, a, 8)).abs().square().sum()) ** 0.5 * 4**j
               for j in range(3) for a in range(8)]
    assert max(factors) == pytest.approx(min(factors), rel=1e-6)  # 2^-2j g(2^-j x), times a constant


@pytest.mark.parametrize("shape, scales, angles", [((56, 56), 3, 8), ((56, 56), 5, 6), ((16, 24), 2, 4), ((9, 7), 1, 1),
                                                   ((8, 8), 3, 8)])
def test_filters_never_add_energy_and_the_bound_is_reached(shape, scales, angles):
    phi, psi = morlet_bank(shape, scales, angles)
    kept = littlewood_paley(phi, psi)
    assert kept.max() <= 1 + 1e-12
    assert kept.flatten()[1:].max() == pytest.approx(1, abs=1e-12)


@given(seed=st.integers(0, 99), noise=st.floats(1e-3, 10))
@settings(max_examples=20, deadline=None)
def test_energy_and_distances_do_not_increase(seed, noise):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(1, 1, 16, 24, generator=generator)
    y = x + noise * torch.randn(1, 1, 16, 24, generator=generator)
    phi, psi = morlet_bank((16, 24), 2, 4)

    def layers(x):
        first = torch.fft.ifft2(torch.fft.fft2(x) * psi.flatten(0, 1)).abs()
        spectra = torch.fft.fft2(first[:, :4])[:, :, None]
        return [x], [first], [torch.fft.ifft2(spectra * psi[1]).abs()]

    def energy(maps):
        return sum(float(m.square().sum()) for m in maps)

    def averaged(maps):
        return sum(float(torch.fft.ifft2(torch.fft.fft2(m) * phi).abs().square().sum()) for m in maps)

    zero, one, two = layers(x)
    assert averaged(zero) + energy(one) <= energy(zero) * (1 + ROUNDING)
    assert averaged(one) + energy(two) <= energy(one) * (1 + ROUNDING)
    scatter = Scattering2d((16, 24), 2, 4, pool="mean")
    apart = (scatter(x) - scatter(y)).square().sum() * 16 * 24  # a mean over N places has 1/N of their energy at most
    assert apart <= (x - y).square().sum() * (1 + ROUNDING)
    assert scatter(x).square().sum() * 16 * 24 <= x.square().sum() * (1 + ROUNDING)


@pytest.mark.parametrize("pool", ["local", "mean", "rms"])
def test_coefficients_equal_the_definition_in_space(pool):
    shape, scales, angles = (8, 12), 2, 3
    x = torch.randn(8, 12, generator=torch.Generator().manual_seed(1))
    scatter = Scattering2d(shape, scales, angles, pool=pool)
    phi = torch.fft.ifft2(scatter.phi).to(torch.complex128)
    psi = {(j, a): torch.fft.ifft2(scatter.psi[j, a]) for j in range(scales) for a in range(angles)}

    def average(u, order):
        if pool == "local":
            return convolved_in_space(u, phi).real[::4, ::4]
        return u.square().mean().sqrt() if (pool, order) == ("rms", 2) else u.mean()

    expected = []
    for path in scatter.paths:
        u = x
        for wavelet in path:
            u = convolved_in_space(u, psi[wavelet]).abs()
        expected.append(average(u, len(path)))
    found = scatter(x[None, None])[0, 0]
    assert len(scatter.paths) == 1 + 6 + 9 and scatter.paths[7] == ((0, 0), (1, 0))
    torch.testing.assert_close(found, torch.stack(expected), rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("pool", ["mean", "rms"])
def test_no_circular_shift_of_the_canvas_changes_a_mean(pool):
    """All 3136 shifts, for two images whose means differ."""
    place = Placement(image=(28, 28), canvas=(56, 56), mode="circular")
    images = torch.randint(0, 256, (2, 1, 28, 28), generator=torch.Generator().manual_seed(2)).to(torch.uint8)
    images[1, :, 5:20, 3:] //= 4
    scatter = Scattering2d((56, 56), 2, 2, pool=pool)
    still = scatter(place.place(images, place.centered(2)) / 255)
    assert (still[0] - still[1]).abs().max() > 1e-2
    for image, expected in zip(images, still, strict=True):
        for offsets in place.offsets().split(196):
            moved = scatter(place.place(image[None].expand(len(offsets), -1, -1, -1), offsets) / 255)
            assert (moved - expected).abs().max() < 1e-12


def test_local_averages_commute_with_whole_steps_and_change_little_for_smaller_shifts():
    y, x = (torch.arange(n) for n in (32, 48))
    blob = (-((y[:, None] - 15).square() + (x - 20).square()) / 20).exp()[None, None]
    scatter = Scattering2d((32, 48), 3, 4)
    still, one, step = (scatter(blob.roll(shift, 3)) for shift in (0, 1, 8))
    torch.testing.assert_close(step, still.roll(1, -1), rtol=0, atol=ROUNDING)
    assert 1e-3 < (one - still).norm() / still.norm() < 0.2


def test_subsampling_the_moduli_first_would_depend_on_position():
    """Negative control: means over every second pixel."""
    x = torch.rand(1, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    psi = Scattering2d((32, 32), 2, 4, pool="mean").psi[1]
    means = [torch.fft.ifft2(torch.fft.fft2(y) * psi).abs()[..., ::2, ::2].mean((-2, -1)) for y in (x, x.roll(1, 3))]
    assert (means[0] - means[1]).abs().max() > 1e-4


@pytest.mark.parametrize("pool", ["local", "mean", "rms"])
def test_gradients(pool):
    scatter = Scattering2d((8, 8), 2, 2, pool=pool)
    x = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0)).requires_grad_()
    assert torch.autograd.gradcheck(scatter, x)
    empty = torch.zeros(1, 1, 8, 8, requires_grad=True)
    scatter(empty).sum().backward()
    assert empty.grad.isfinite().all()
    assert not list(scatter.parameters())


@pytest.mark.parametrize("dtype, within", [(torch.float32, 1e-5), (torch.float16, 1e-2), (torch.bfloat16, 5e-2)])
def test_dtype_is_kept(dtype, within):
    x = torch.rand(2, 3, 16, 8, generator=torch.Generator().manual_seed(0))
    for pool in ("local", "mean", "rms"):
        scatter = Scattering2d((16, 8), 2, 4, pool=pool)
        found = scatter(x.to(dtype))
        assert found.dtype == dtype
        torch.testing.assert_close(found.double(), scatter(x), rtol=within, atol=within)


def test_images_and_channels_do_not_mix():
    scatter = Scattering2d((64, 64), 3, 8, pool="rms")  # processed in several chunks
    x = torch.rand(14, 2, 64, 64, generator=torch.Generator().manual_seed(0))
    whole = scatter(x)
    torch.testing.assert_close(whole[9, 1], scatter(x[9:10, 1:])[0, 0], rtol=0, atol=ROUNDING)
    assert scatter(x[:0]).shape == (0, 2, 217)
    assert Scattering2d((8, 16), 2, 4)(torch.zeros(0, 2, 8, 16)).shape == (0, 2, 25, 2, 4)


@pytest.mark.parametrize("order, paths", [(0, 1), (1, 13), (2, 61)])
def test_lower_orders_are_a_prefix(order, paths):
    x = torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    found = Scattering2d((8, 8), 3, 4, order=order, pool="mean")(x)
    assert found.shape[2] == paths
    torch.testing.assert_close(found, Scattering2d((8, 8), 3, 4, pool="mean")(x)[:, :, :paths], rtol=0, atol=0)


@pytest.mark.parametrize("pool", ["local", "mean", "rms"])
def test_exported_as_one_operation_with_the_same_result(pool):
    scatter, x = Scattering2d((16, 8), 2, 4, pool=pool), torch.rand(3, 2, 16, 8)
    program = torch.export.export(scatter, (x,))
    assert [node.name for node in program.graph.nodes if node.op == "call_function"] == ["scattering"]
    assert program.module()(x).equal(scatter(x))


@pytest.mark.parametrize("arguments, message", [
    ({"shape": (30, 32)}, r"shape must be multiples of 2\^scales = 8 for local averages .*pool='mean'"),
    ({"shape": (4, 32)}, r"shape must be at least 8 x 8 for 3 scales, got \(4, 32\)"),
    ({"shape": (32, 32), "scales": 0}, "scales must be an integer from 1 to 24, got 0"),
    ({"shape": (32, 32), "angles": 65}, "angles must be an integer from 1 to 64, got 65"),
    ({"shape": (32, 32), "order": 3}, "order must be 0, 1 or 2, got 3"),
    ({"shape": (32, 32), "pool": "max"}, "pool must be local, mean or rms, got 'max'"),
])
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(UsageError, match=message):
        Scattering2d(**arguments)


def test_images_of_another_size_are_refused():
    with pytest.raises(UsageError, match=r"images \(batch, channels, 16, 24\), got \(1, 1, 24, 16\): build it"):
        Scattering2d((16, 24))(torch.zeros(1, 1, 24, 16))
