import numpy as np
import pytest

from shiftscope.errors import UsageError
from shiftscope.reporting import alt_text, prediction_map_figure, prediction_map_text, render_figure


def prediction(classes, own, *, offset=(0, 0), step=1, file="some/where/boot.png"):
    rows, columns = (list(range(0, step * count, step)) for count in np.array(classes, dtype=object).shape)
    flat = [name for row in classes for name in row]
    return {"file": file, "offset": list(offset), "class": own, "map": {
        "rows": rows, "columns": columns, "step": step, "classes": classes, "same_class": flat.count(own) / len(flat)}}


def test_the_text_has_a_dot_for_the_class_and_letters_for_others_by_frequency():
    lines = prediction_map_text(prediction([["x", "y", "y"], [None, "y", "x"]], "x"))
    assert lines == [". x: 2 (33.3 %)", "a y: 3 (50.0 %)", "b non-finite: 1 (16.7 %)", "dy  dx 0   2", "0     . a a",
                     "1     b a ."]


def test_many_classes_share_a_sign():
    names = [f"class {k:02}" for k in range(30)]
    lines = prediction_map_text(prediction([names], "class 00"))
    assert lines[-1].split()[1:] == [".", *"abcdefghijklmnopqrstuvwxyz", "*", "*", "*"]


def test_a_class_has_one_color_in_all_maps_and_cells_are_where_they_belong():
    figure = prediction_map_figure([prediction([["x", "y"], ["y", "y"], ["y", "y"]], "x", offset=(0, 0)),
                                    prediction([["y", "x"]], "y", step=4, file="$b$.png")])
    first, second = (np.asarray(axes.images[0].get_array()) for axes in figure.axes)
    assert first.shape == (3, 2, 3) and second.shape == (1, 2, 3)
    np.testing.assert_array_equal(first[0, 0], second[0, 1])
    np.testing.assert_array_equal(first[1, 0], second[0, 0])
    assert not np.array_equal(first[0, 0], first[0, 1])
    assert "boot.png: x at 16.7 % of the placements; $b$.png: y at 50.0 %" in alt_text(figure)
    assert render_figure(figure, "svg")


def test_no_images_raise():
    with pytest.raises(UsageError, match="predictions must be at least one, got 0"):
        prediction_map_figure([])
