import math

import pytest

from shiftscope.errors import UsageError
from shiftscope.reporting import ControlCell, alt_text, control_cells, controls_table, placement_cost, render_figure
from shiftscope.reporting.controls import headline
from shiftscope.reporting.tables import ControlRow, control_rows, unmeasured_controls

CELLS = [ControlCell("two-full", "centered", "centered", 0.88), ControlCell("two-full", "centered", "random", 0.26),
         ControlCell("two-full", "random", "centered", 0.79), ControlCell("two-full", "random", "random", 0.767),
         ControlCell("two-conv", "random", "random", 0.827)]


def words(figure) -> str:
    return " | ".join(text.get_text() for axes in figure.axes for text in axes.texts)


def test_the_table_shows_accuracies_and_changes():
    figure = controls_table(CELLS, credit="Images: synthetic garments")
    perceptron, convnet = (" | ".join(text.get_text() for text in axes.texts) for axes in figure.axes)
    assert "88.0 % | 26.0 % | −62.0\npoints" in perceptron
    assert "79.0 % | 76.7 % | −2.3\npoints" in perceptron
    assert "−11.3 points (88.0 % → 76.7 %)" in perceptron
    assert "not measured: add --controls" in convnet and convnet.count("not measured") == 2 and "points" not in convnet
    assert any("synthetic garments" in text.get_text() for text in figure.texts)
    assert "trained centered, tested on random placements 26.0 %" in alt_text(figure)


def test_cells_are_in_their_row_and_column():
    axes = controls_table(CELLS[:4]).axes[0]
    at = {text.get_text(): text.get_position() for text in axes.texts}
    for column, row, number in (("tested centered", "trained\ncentered", "88.0 %"),
                                ("tested on random\nplacements", "trained\ncentered", "26.0 %"),
                                ("tested centered", "trained on\nrandom\nplacements", "79.0 %"),
                                ("tested on random\nplacements", "trained on\nrandom\nplacements", "76.7 %")):
        assert at[number][0] == pytest.approx(at[column][0], abs=0.02)
        assert at[number][1] == pytest.approx(at[row][1], abs=0.02)


def test_seeds_show_their_spread_and_nan_is_not_a_number():
    cells = [ControlCell("net", "random", "random", 0.5, 0.012, 3), ControlCell("net", "random", "centered", math.nan)]
    figure = controls_table(cells)
    assert "± 1.2" in words(figure) and "not a number" in words(figure) and "nan" not in words(figure)
    assert words(figure).count("not\ndefined") == 1  # the change to a number that is not finite
    assert any("over 3 seeds" in text.get_text() for text in figure.texts)
    assert render_figure(figure, "png")


def test_cells_come_from_evaluations_of_the_test_set(make_evaluation):
    accuracies = [{"random": 0.6, "centered": 0.8}, {"random": 0.7, "centered": 0.8}]
    evaluations = [make_evaluation(accuracy=accuracy, seed=seed) for seed, accuracy in enumerate(accuracies)]
    evaluations += [make_evaluation(split="train"), make_evaluation(trained="unknown")]
    random, centered = sorted(control_cells(evaluations), key=lambda cell: cell.mean)
    assert (random.trained, random.tested, random.seeds) == ("random", "random", 2)
    assert (random.mean, random.spread) == (pytest.approx(0.65), pytest.approx(math.sqrt(0.005)))
    assert (centered.tested, centered.spread) == ("centered", pytest.approx(0.0))
    assert control_cells([make_evaluation()])[0].spread is None


def test_placement_cost_compares_the_diagonal():
    assert placement_cost(CELLS, "two-full") == pytest.approx(0.113)
    assert placement_cost(CELLS, "two-conv") is None
    assert placement_cost([*CELLS[:3], ControlCell("two-full", "random", "random", math.nan)], "two-full") is None


def test_the_headline_is_computed():
    assert headline(CELLS) == [
        "The perceptron loses 11.3 points of accuracy on random placements: 88.0 % trained and tested centered, 76.7 % "
        "trained and tested on random placements.",
        "Trained on centered images only, the perceptron drops from 88.0 % on centered test images to 26.0 % on random "
        "placements.",
        "On random placements the convnet has an accuracy of 82.7 %, 6.0 points more than the perceptron.",
    ]
    assert headline([]) == []
    equal = [ControlCell("net", "centered", "centered", 0.8), ControlCell("net", "random", "random", 0.8)]
    assert headline(equal)[0].startswith("The net loses no accuracy on random placements")


def test_control_rows_have_the_same_numbers_and_only_measured_placements():
    assert control_rows(CELLS) == [ControlRow("perceptron", "centered", "88.0 %", "26.0 %", "−62.0 points"),
                                   ControlRow("perceptron", "random", "79.0 %", "76.7 %", "−2.3 points"),
                                   ControlRow("convnet", "random", "–", "82.7 %", "–")]
    assert unmeasured_controls(CELLS) == ["convnet"] and unmeasured_controls(CELLS[2:]) == []


@pytest.mark.parametrize("count", range(1, 7))
def test_the_grid_of_models_has_no_empty_cell(count):
    cells = [ControlCell(f"net{number}", "random", "random", 0.5) for number in range(count)]
    figure = controls_table(cells)
    corners = {(round(axes.get_position().x0, 3), round(axes.get_position().y0, 3)) for axes in figure.axes}
    across, down = (len({corner[axis] for corner in corners}) for axis in (0, 1))
    assert len(corners) == across * down == count


@pytest.mark.parametrize(("accuracy", "change"), [(0.7, "−10.0\npoints"), (0.9, "+10.0\npoints"), (0.8, "0.0\npoints")])
def test_changes_have_a_sign(accuracy, change):
    cells = [ControlCell("net", "random", "centered", 0.8), ControlCell("net", "random", "random", accuracy)]
    assert change in [text.get_text() for text in controls_table(cells).axes[0].texts]


def test_invalid_cells_raise():
    with pytest.raises(UsageError, match="tested must be centered or random, got 'moved'"):
        ControlCell("net", "random", "moved", 0.5)
    with pytest.raises(UsageError, match="cells must hold at least one control, got none"):
        controls_table([])
