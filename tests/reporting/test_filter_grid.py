import numpy as np
import pytest

from shiftscope.errors import UsageError
from shiftscope.reporting import alt_text, render_figure
from shiftscope.reporting.tables import UNIT_COLUMNS, unit_cells
from shiftscope.reporting.weights import filter_grid
from shiftscope.results import UnitRow


def test_rows_are_filters_and_columns_are_input_channels():
    weights = np.random.default_rng(0).normal(size=(4, 3, 5, 7))
    figure = filter_grid(weights, title="conv2", limit=3, channels=2)
    page = figure.axes[0]
    assert len(page.images) == 6
    for cell, image in enumerate(page.images):
        np.testing.assert_array_equal(image.get_array(), weights[cell // 2, cell % 2])
    assert [text.get_text() for text in page.texts] == ["filter 0", "ch. 0", "ch. 1", "filter 1", "filter 2"]
    assert "Each strip is a filter (the first 3 of 4)" in figure.texts[1].get_text()
    assert "3 strips of 2 images of 5 x 7 weights" in alt_text(figure)
    assert render_figure(figure, "png")


def test_filters_of_a_grouped_convolution_name_their_input_channels():
    figure = filter_grid(np.ones((4, 2, 3, 3)), title="conv2", groups=2)
    named = [text.get_text() for text in figure.axes[0].texts]
    assert named[-3:] == ["filter 3", "ch. 2", "ch. 3"] and named[:3] == ["filter 0", "ch. 0", "ch. 1"]


def corners(figure) -> np.ndarray:
    """(left, top) of each image."""
    return np.array([(left, top) for left, _, _, top in (found.get_extent() for found in figure.axes[0].images)])


def test_many_narrow_strips_are_side_by_side():
    figure = filter_grid(np.ones((31, 2, 3, 3)), title="conv2", limit=31)
    places = corners(figure).reshape(31, 2, 2)
    assert len(figure.axes[0].images) == 62 and len(np.unique(places[:, 0, 1])) == 11  # three per line
    assert (places[[0, 1, 2], 0, 1] == places[0, 0, 1]).all() and (np.diff(places[:3, 0, 0]) > 0).all()
    assert places[3, 0, 0] == places[0, 0, 0] and places[3, 0, 1] > places[0, 0, 1]
    names = [text.get_text() for text in figure.axes[0].texts]
    assert names.count("ch. 0") == 3 and [name for name in names if name.startswith("filter")][-1] == "filter 30"


def test_wide_strips_are_below_each_other_and_fit_on_a_page():
    figure = filter_grid(np.ones((40, 12, 4, 6)), title="fc1")
    places = corners(figure).reshape(15, 12, 2)
    assert len(np.unique(places[:, :, 1])) == 15 and "the first 15 of 40" in figure.texts[1].get_text()
    assert figure.get_size_inches()[1] < 12


@pytest.mark.parametrize(("shape", "groups"), [((4, 5, 5), 1), ((0, 1, 3, 3), 1), ((4, 2, 3, 3), 3)])
def test_other_shapes_raise(shape, groups):
    with pytest.raises(UsageError, match=r"weights must be of shape \(N, C, h, w\), N a multiple of the"):
        filter_grid(np.zeros(shape), title="x", groups=groups)


def test_the_table_of_units_has_one_cell_per_column():
    rows = [UnitRow("conv1", True, 30, (), (), 0.25, 0.5),
            UnitRow("fc2", False, 1000, (1, 2, 3, 4, 5), ((0, 1), (0, 2), (1, 2)), -3.5, None)]
    first, second = unit_cells(rows)
    assert len(first) == len(UNIT_COLUMNS)
    assert first == ("conv1", "after ReLU", "30", "0", "0", "0.25", "50.0 %")
    assert second == ("fc2", "raw output", "1,000", "5 (1, 2, 3, 4, …)", "2 (1 = 0, 2 = 0, 2 = 1)", "-3.5", "–")
