import itertools
import subprocess
import sys

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure

from shiftscope.reporting import figure_style as style
from shiftscope.reporting.figure_style import render_figure
from shiftscope.reporting.weights import weight_grid


def luminance(color) -> float:
    return float(np.dot(matplotlib.colors.to_rgb(color), (0.2126, 0.7152, 0.0722)))


def test_importing_reporting_needs_neither_torch_nor_pyplot():
    code = ("import sys, shiftscope.reporting\n"
            "print([name for name in ('torch', 'matplotlib.pyplot') if name in sys.modules])")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_figures_neither_change_nor_use_global_settings():
    with matplotlib.rc_context({"font.size": 31.0, "text.color": "red", "text.usetex": True}):
        before = dict(matplotlib.rcParams)
        figure = weight_grid(np.ones((1, 2, 2)), title="one")
        render_figure(figure, "png")
        assert dict(matplotlib.rcParams) == before
    assert {text.get_color() for text in figure.texts} == {style.INK, style.MUTED}
    assert not any(text.get_usetex() for text in figure.texts)


def test_color_maps_are_monotonic_in_grayscale():
    shares = [luminance(style.FRACTIONS(share)) for share in np.linspace(0, 1, 30)]
    assert all(left > right for left, right in itertools.pairwise(shares))
    assert style.SIGNED(0.5)[:3] == pytest.approx((1, 1, 1), abs=0.02)
    assert luminance(style.SIGNED(1.0)) - luminance(style.SIGNED(0.0)) > 0.1


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 0.64, 0.66, 0.8, 1.0])
def test_numbers_have_enough_contrast(share):
    def relative(color) -> float:
        channels = np.array(matplotlib.colors.to_rgb(color))
        linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
        return float(linear @ (0.2126, 0.7152, 0.0722))

    low, high = sorted((relative(style.FRACTIONS(share)), relative(style.readable_on(style.FRACTIONS(share)))))
    assert (high + 0.05) / (low + 0.05) > 4.0  # large bold figures need 3, small ones 4.5


def test_dollar_signs_are_not_formulas():
    hostile = r"$\frac{$ and $x$"
    figure = Figure()
    with style.context():
        style.head(figure, hostile)
    render_figure(figure, "png")  # an open formula would raise
    assert figure.texts[0]._preprocess_math(figure.texts[0].get_text()) == (hostile, False)


def test_head_height_matches_the_header():
    figure = Figure(figsize=(3, 4))
    style.head(figure, "a title that must be broken into several lines on so narrow a page", "and a line beneath")
    render_figure(figure, "png")
    lowest = min(text.get_window_extent().y0 for text in figure.texts) / figure.dpi
    needed = 4 - lowest
    height = style.head_height(3, "a title that must be broken into several lines on so narrow a page",
                               "and a line beneath")
    assert needed <= height <= needed + 0.25


def test_no_text_leaves_the_page():
    figure = weight_grid(np.ones((1, 3, 3)), title="A rather long title " * 6, credit="A rather long credit " * 12)
    render_figure(figure, "png")
    width, height = figure.get_size_inches() * figure.dpi
    for text in figure.texts:
        box = text.get_window_extent()
        assert box.x0 >= 0 and box.x1 <= width and box.y0 >= 0 and box.y1 <= height, text.get_text()
