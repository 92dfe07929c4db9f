import numpy as np
import pytest

from shiftscope.errors import UsageError
from shiftscope.reporting import alt_text, render_figure, weight_grid


def test_the_scale_is_symmetric_with_zero_white():
    weights = np.linspace(-0.1, 0.4, 3 * 12 * 10).reshape(3, 1, 12, 10)
    figure = weight_grid(weights, title="neurons")
    image = figure.axes[0].images[0]
    low, high = image.get_clim()
    assert low == -high and 0.39 < high <= 0.4
    assert image.to_rgba(np.zeros((1, 1)))[0, 0, :3] == pytest.approx((1, 1, 1), abs=0.02)
    assert {drawn.get_clim() for drawn in figure.axes[0].images} == {(low, high)}
    assert figure.axes[1].get_ylabel() == "weight"


def test_every_neuron_has_an_image_and_a_number():
    weights = np.random.default_rng(0).normal(size=(7, 12, 10))
    figure = weight_grid(weights, title="neurons", columns=3, limit=5, credit="Images: synthetic garments")
    axes = figure.axes[0]
    assert [text.get_text() for text in axes.texts] == ["0", "1", "2", "3", "4"]
    for drawn, array in zip(axes.images, weights, strict=False):
        np.testing.assert_array_equal(drawn.get_array(), array)
    assert any("The first 5 of 7, each 12 x 10 weights" in text.get_text() for text in figure.texts)
    assert "Images: synthetic garments" in alt_text(figure)


def test_small_filters_carry_a_sign_in_every_negative_pixel():
    weights = np.array([[[1.0, -1.0], [-0.1, 0.0]]])
    (signs,) = weight_grid(weights, title="filters").axes[0].collections
    left, right, bottom, top = weight_grid(weights, title="filters").axes[0].images[0].get_extent()
    positions = (np.asarray(signs.get_offsets()) - (left, top)) / (right - left, bottom - top)
    np.testing.assert_allclose(positions, [[0.75, 0.25], [0.25, 0.75]])
    assert not weight_grid(-np.ones((1, 20, 20)), title="large").axes[0].collections


def test_one_outlier_does_not_hide_the_other_weights():
    weights = np.full((10, 20, 20), 0.1)
    weights[0, 0, 0] = 100.0
    assert weight_grid(weights, title="neurons").axes[0].images[0].get_clim() == (-0.1, 0.1)


def test_channels_are_averaged():
    weights = np.stack([np.full((12, 12), value) for value in (1.0, 2.0, 6.0)])[None]
    figure = weight_grid(weights, title="filters")
    assert float(np.asarray(figure.axes[0].images[0].get_array())[0, 0]) == pytest.approx(3.0)


@pytest.mark.parametrize("weights", [np.zeros((2, 12, 12)), np.full((1, 1, 3, 3), np.nan), np.ones((1, 1, 1, 1))])
def test_zero_and_nonfinite_weights_are_drawn(weights):
    figure = weight_grid(weights, title="$x")
    low, high = figure.axes[0].images[0].get_clim()
    assert (low, high) == (-1.0, 1.0)
    note = " ".join(text.get_text() for text in figure.texts)
    assert ("Gray: not defined (9 weights are not finite)." in note) == bool(np.isnan(weights).any())
    assert render_figure(figure, "png")


@pytest.mark.parametrize("shape", [(3, 4), (0, 1, 3, 3)])
def test_other_shapes_raise(shape):
    with pytest.raises(UsageError, match=r"weights must be of shape \(N, C, h, w\)"):
        weight_grid(np.zeros(shape), title="x")
