import pytest

from bench.figures import bench_figure, growth_figure
from bench.record import Bench, compare, growth_line
from shiftscope.errors import UsageError
from shiftscope.reporting import alt_text, render_figure

WHAT = {"notebook": "PIL and a DataLoader", "ours": "shiftscope train", "bare": "steps alone"}


def record(**changed) -> Bench:
    def part(model, scale):
        seconds = {"notebook": [8.0 * scale, 9.0 * scale], "ours": [2.0 * scale, 2.0 * scale], "bare": [1.0, 1.2]}
        return compare(model, "seconds an epoch", WHAT, seconds, {"arithmetic_seconds": 0.4, "pipeline_share": 0.125})

    values = {"bench": "training", "measured": "2026-01-02T03:04:05+00:00", "dataset": "garments", "synthetic": True,
              "repeats": 2, "settings": {}, "comparisons": [part("two-full", 1), part("two-conv", 10)],
              "machine": {"processor": "$chip$", "cores": 2, "threads": 2, "device": "cpu", "torch": "2"},
              "others": {"before": 0.0, "during": 0.3, "source": "x"}, "busy": True, "notes": ["busy machine: x"],
              "growth": [growth_line("two-full", "images", "seconds", [1, 2, 4], [[1.0], [2.0], [4.0]]),
                         growth_line("two-conv", "images", "seconds", [1, 2, 4], [[3.0], [12.0], [48.0]]),
                         growth_line("two-conv", "filters", "seconds", [30], [[3.0]])]}
    return Bench(**(values | changed))


def test_bars_are_medians_and_lines_are_ranges():
    figure = bench_figure(record())
    first, second = figure.axes
    assert [bar.get_width() for bar in first.patches] == [8.5, 2.0, 1.1]
    assert [bar.get_width() for bar in second.patches] == [85.0, 20.0, 1.1]
    ranges = [tuple(float(x) for x in lines.get_segments()[0][:, 0]) for lines in first.collections]
    assert ranges == [(8.0, 9.0), (2.0, 2.0), (1.0, 1.2)]
    texts = [text.get_text() for text in first.texts]
    assert "8.5 s  (4.2 times ours)" in texts and "2 s" in texts
    assert any("alone: 400 ms; batches take 12.5 % of ours" in text for text in texts)
    assert [label.get_text() for label in first.get_yticklabels()] == ["notebook", "ours", "bare"]


def test_the_figure_names_load_and_machine():
    for figure in (bench_figure(record()), growth_figure(record())):
        written = " ".join(text.get_text() for text in figure.texts)
        assert "Busy machine: x." in written and "2 cores" in written and "Images: synthetic garments" in written
        assert "Busy machine: x." in alt_text(figure) and r"\$chip\$" in written
        assert render_figure(figure, "svg")


def test_growth_has_one_panel_per_size_and_one_line_per_model():
    figure = growth_figure(record())
    images, filters = figure.axes
    assert images.get_title(loc="left") == "images" and filters.get_title(loc="left") == "filters"
    named = [text.get_text() for text in images.get_legend().get_texts()]
    assert named == ["perceptron, k = 1.00", "convnet, k = 2.00"]
    points, fit = images.lines[2:4]
    assert list(points.get_ydata()) == [3.0, 12.0, 48.0] and list(fit.get_ydata()) == pytest.approx([3, 12, 48])
    assert filters.lines[0].get_color() == points.get_color() and len(filters.lines) == 1  # one point has no line
    assert filters.get_legend().get_texts()[0].get_text() == "convnet, k unknown"
    assert "perceptron against images: k = 1.00, between the largest sizes k = 1.00 (1 s at 1" in alt_text(figure)


def test_a_record_without_measurements_is_refused():
    with pytest.raises(UsageError, match="no comparison"):
        bench_figure(record(comparisons=[]))
    with pytest.raises(UsageError, match="--growth"):
        growth_figure(record(growth=[]))
