"""The leaderboard as Markdown and as a picture, from rows alone."""

import pytest

from leaderboard.figures import (
    COLUMNS,
    Board,
    Row,
    Share,
    leaderboard_figure,
    leaderboard_table,
    share_in_words,
)
from page_markers import markers, replace_between_markers
from shiftscope.errors import UsageError
from shiftscope.reporting import alt_text, render_figure


def row(entry, mean, worst, **changed):
    shares = dict.fromkeys(COLUMNS.values(), Share(mean=0.5, interval=(0.4, 0.6)))
    shares |= {"mean_accuracy": Share(mean=mean, std=0.0012, interval=(0.25, 0.75)),
               "worst_case_accuracy": Share(mean=worst, std=0.0034)}
    values = {"entry": entry, "title": f"{entry} $x$", "shares": shares, "seeds": 2, "parameters": 1234567, "epochs": 9,
              "train_seconds": (754.0, 6.0), "machine": "chip", "level": "exact", "flips": 7, "predictions": 1000,
              "each": [(mean - 0.01, worst), (mean + 0.01, worst)],
              "below": {"worst_case_accuracy": 1e-9, "mean_accuracy": 0.25}, "bold": ("worst_case_accuracy",)}
    return Row(**(values | changed))


def board(*rows):
    return Board(rows=rows, dataset="fashion-mnist", synthetic=False, images=10, placements=100, mode="canvas",
                 placement={"image": [28, 28], "canvas": [56, 56], "mode": "canvas"}, measured="2026-01-02")


ROWS = (row("first", 0.9, 0.9, machine="gpu"), row("second", 0.8, 0.6, bold=()),
        Row(entry="chance", title="chance", shares=dict.fromkeys(COLUMNS.values(), Share(mean=0.1))))


def cells(text, title):
    return [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith(f"| {title} ")]


def test_a_row_says_all_that_was_measured():
    text = leaderboard_table(board(*ROWS))
    figures, details = cells(text, "first")
    assert figures == ["first $x$", "90.0 % ± 0.1 (25.0 to 75.0)", "**90.0 % ± 0.3**", "50.0 %", "50.0 %", "50.0 %",
                       "exact"]
    assert details == ["first $x$", "1,234,567", "12.6 ± 0.1 min", "9", "2", "a", "< 0.001", "0.25", "7 of 1,000", "0"]
    assert cells(text, "second")[1][5] == "b" and "- Machine a: gpu." in text and "- Machine b: chip." in text
    assert text.count("**") == 2
    assert cells(text, "chance")[1][1:] == ["–"] * 9
    assert text.startswith("10 test images of fashion-mnist at all 100 placements, mode canvas, 28 x 28 on 56 x 56.")


def test_nearly_all_is_not_called_all():
    assert [share_in_words(share) for share in (0.9999, 0.99996, 1 - 1e-7, 1.0, 0.0, 0.0004)] == [
        "99.99 %", "99.996 %", "99.99999 %", "100 %", "0 %", "0.04 %"]


def test_the_picture_shows_mean_worst_case_and_seeds():
    figure = leaderboard_figure(board(*ROWS))
    axes, = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == [r"first \$x\$", r"second \$x\$", "chance"]
    lines = [(line.get_marker(), [round(float(x), 6) for x in line.get_xdata()], line.get_ydata()[0])
             for line in axes.lines if len(line.get_xdata())]
    assert ("s", [80.0], 1) in lines and ("o", [60.0], 1) in lines and ("|", [79.0, 81.0], 1) in lines
    assert [text.get_text() for text in axes.texts] == ["90.0", "80.0", "60.0", "10.0"]
    assert "second $x$: mean 80.0 %, worst case 60.0 %." in alt_text(figure) and "Fashion-MNIST" in alt_text(figure)
    assert render_figure(figure, "png") == render_figure(leaderboard_figure(board(*ROWS)), "png")


def test_no_rows_are_refused():
    for draw in (leaderboard_table, leaderboard_figure):
        with pytest.raises(UsageError, match="there are no records to show"):
            draw(board())


@pytest.mark.parametrize("page", ["none", "{begin} {begin} {end}", "{end} {begin}", "{begin}", "{begin}{end}{end}"])
def test_marks_must_be_there_once_and_in_order(page):
    begin, end = markers("part")
    with pytest.raises(UsageError, match="my page must contain the markers .*part: generated from records"):
        replace_between_markers(page.format(begin=begin, end=end), "part", "text", "my page")


def test_a_part_is_replaced_as_often_as_wanted():
    begin, end = markers("part")
    once = replace_between_markers(f"a\n{begin}\n{end}\nb\n", "part", r"new \1")
    assert once == f"a\n{begin}\nnew \\1\n{end}\nb\n" == replace_between_markers(once, "part", r"new \1")
