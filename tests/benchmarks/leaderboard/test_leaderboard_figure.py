"""Figure and tables of the leaderboard, from rows alone."""

import pytest

from leaderboard.figures import Board, Estimate, Row, format_percentage, leaderboard_figure
from leaderboard.tables import METRICS, detail_tables, main_result, main_table
from page_markers import markers, replace_between_markers
from shiftscope.errors import UsageError
from shiftscope.reporting import alt_text, render_figure


def row(entry, mean, worst, **changed):
    estimates = dict.fromkeys(METRICS.values(), Estimate(mean=0.5, interval=(0.4, 0.6)))
    estimates |= {"mean_accuracy": Estimate(mean=mean, std=0.0012, interval=(0.25, 0.75)),
                  "worst_case_accuracy": Estimate(mean=worst, std=0.0034)}
    values = {"entry": entry, "title": f"{entry} $x$", "estimates": estimates, "seeds": 2, "parameters": 1234567,
              "epochs": 9, "train_seconds": (754.0, 6.0), "machine": "chip", "claim": "exact", "flips": 7,
              "predictions": 1000, "seed_values": [(mean - 0.01, worst), (mean + 0.01, worst)],
              "p_values": {"worst_case_accuracy": 1e-9, "mean_accuracy": 0.25}, "bold": ("worst_case_accuracy",)}
    return Row(**(values | changed))


def board(*rows):
    return Board(rows=rows, dataset="fashion-mnist", synthetic=False, images=10, placements=100, mode="canvas",
                 placement={"image": [28, 28], "canvas": [56, 56], "mode": "canvas"}, measured="2026-01-02")


CHANCE = Row(entry="chance", title="chance", estimates=dict.fromkeys(METRICS.values(), Estimate(mean=0.1)))
ROWS = (row("first", 0.9, 0.9, machine="gpu"), row("second", 0.8, 0.6, bold=()), CHANCE)


def cells(text, title):
    lines = (line.replace("\N{NO-BREAK SPACE}", " ") for line in text.splitlines())
    return [line.strip("| ").split(" | ") for line in lines if line.startswith(f"| {title} ")]


def test_the_main_table_has_one_number_per_cell():
    text = main_table(board(*ROWS))
    assert cells(text, "first") == [["first $x$", "90.0", "**90.0**", "50.0", "50.0", "50.0", "exact"]]
    assert cells(text, "chance") == [["chance", "10.0", "10.0", "10.0", "10.0", "10.0", "–"]]
    assert text.count("**") == 2
    assert "10 test images of fashion-mnist at all 100 placements, mode canvas, 28 x 28 on 56 x 56." in text
    values = [cell for row in ROWS for cell in cells(text, row.title)[0][1:]]
    assert len(values) == 3 * 6 and not any(" " in value for value in values)


def test_the_details_hold_everything_else_that_was_measured():
    text = detail_tables(board(*ROWS))
    uncertainty, training, invariance = cells(text, "first")
    assert uncertainty == ["first $x$", "0.1", "25.0", "75.0", "0.25", "0.3", "–", "–", "< 0.001"]
    assert training == ["first $x$", "2", "1,234,567", "9", "12.6", "0.1", "a"]
    assert invariance == ["first $x$", "exact", "1,000", "7", "0"]
    assert cells(text, "second")[1][-1] == "b" and "- Machine a: gpu." in text and "- Machine b: chip." in text
    assert cells(text, "chance") == []


def test_the_main_result_names_the_best_row_and_the_largest_gap():
    text = main_result(board(*ROWS))
    assert "*first $x$* classifies 90.0 % of the test images correctly at every one of the 100 placements" in text
    assert text.endswith("is that of *second $x$*: 80.0 and 60.0 %.")
    assert "largest gap" not in main_result(board(ROWS[0], CHANCE))  # mean = worst case
    assert main_result(board(CHANCE, *ROWS[:2])) == text  # chance is not measured


def test_a_percentage_is_0_or_100_only_if_the_fraction_is_0_or_1():
    assert [format_percentage(fraction) for fraction in (0.9999, 0.99996, 1 - 1e-7, 1.0, 0.0, 0.0004)] == [
        "99.99", "99.996", "99.99999", "100", "0", "0.04"]


def test_the_figure_shows_mean_worst_case_and_seeds():
    figure = leaderboard_figure(board(*ROWS))
    axes, = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == [r"first \$x\$", r"second \$x\$", "chance"]
    lines = [(line.get_marker(), [round(float(x), 6) for x in line.get_xdata()], line.get_ydata()[0])
             for line in axes.lines if len(line.get_xdata())]
    assert ("s", [80.0], 1) in lines and ("o", [60.0], 1) in lines and ("|", [79.0, 81.0], 1) in lines
    assert [text.get_text() for text in axes.texts] == ["90.0", "80.0", "60.0", "10.0"]
    assert "second $x$: mean 80.0 %, worst case 60.0 %." in alt_text(figure) and "Fashion-MNIST" in alt_text(figure)
    assert render_figure(figure, "png") == render_figure(leaderboard_figure(board(*ROWS)), "png")


@pytest.mark.parametrize("function", [main_result, main_table, detail_tables, leaderboard_figure])
def test_no_rows_are_refused(function):
    with pytest.raises(UsageError, match="there are no records to show"):
        function(board())


@pytest.mark.parametrize("page", ["none", "{begin} {begin} {end}", "{end} {begin}", "{begin}", "{begin}{end}{end}"])
def test_markers_must_occur_once_and_in_order(page):
    begin, end = markers("part")
    with pytest.raises(UsageError, match="my page must contain the markers .*part: generated from records"):
        replace_between_markers(page.format(begin=begin, end=end), "part", "text", "my page")


def test_a_part_can_be_replaced_repeatedly():
    begin, end = markers("part")
    once = replace_between_markers(f"a\n{begin}\n{end}\nb\n", "part", r"new \1")
    assert once == f"a\n{begin}\nnew \\1\n{end}\nb\n" == replace_between_markers(once, "part", r"new \1")
