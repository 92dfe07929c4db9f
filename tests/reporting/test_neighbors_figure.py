from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from shiftscope.errors import UsageError
from shiftscope.reporting import (
    alt_text,
    neighbors_figure,
    quality_figure,
    quality_summary,
    reduce_colors,
    render_figure,
)
from shiftscope.results import Neighbors, Quality, Synthesis


def synthesis(units: list[str], **changed: Any) -> Synthesis:
    count = len(units)
    values: dict[str, Any] = {
        "model": "two-conv", "objective": "x", "units": units, "class_names": ["Bag", "Coat"], "start": "black",
        "settings": {"steps": 32}, "seconds": 1.0, "device": "cpu", "notes": [],
        "images": np.linspace(0, 1, count * 48, dtype=np.float32).reshape(count, 1, 6, 8),
        "activations": np.full(count, 9.0, np.float32), "activations_start": np.zeros(count, np.float32),
        "predictions": np.zeros(count, int), "confidence": np.ones(count, np.float32)}
    return Synthesis(**(values | changed))


def near(units: list[str], **changed: Any) -> Neighbors:
    count = len(units)
    values: dict[str, Any] = {
        "model": "two-conv", "objective": "x", "units": units, "dataset": "fashion-mnist", "synthetic": False,
        "split": "test", "class_names": ["Bag", "$Coat"], "images": 50, "placements": 4, "possible": 9, "placement": {},
        "seconds": 1.0, "device": "cpu", "top_index": np.zeros((count, 3), int),
        "top_offset": np.zeros((count, 3, 2), int), "top_activation": np.ones((count, 3), np.float32),
        "top_labels": np.tile([0, 1, 1], (count, 1)), "top_canvases": np.zeros((count, 3, 1, 6, 8), np.uint8),
        "counts": np.tile([0, 5, 3, 0, 1, 0], (count, 1)), "edges": np.tile(np.arange(-3.0, 4.0), (count, 1)),
        "mean": np.zeros(count, np.float32), "maximum": np.full(count, 1.5, np.float32),
        "fields": np.tile([1, 2, 4, 7], (count, 1)), "peaks": np.ones(count, np.float32)}
    return Neighbors(**(values | changed))


def words(figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts] + [t.get_text() for t in figure.texts]


def test_rows_are_units():
    units = ["conv2:4", "conv2:5", "conv2:6"]
    figure = neighbors_figure(synthesis(units), near(units), limit=2, images=2)
    text = words(figure)
    assert text.count("Bag") == text.count(r"\$Coat") == 2 and "conv2:4" in text and "conv2:6" not in text
    assert text.count("▼ 9, real: max 1.5") == 2 and text.count("3 x 5") == 2
    axes = figure.axes[0]
    assert len(axes.images) == 2 * (1 + 2)
    field = axes.patches[-1]  # the frame of the last unit
    canvas = axes.patches[-2]
    assert (field.get_width() / canvas.get_width(),
            field.get_height() / canvas.get_height()) == pytest.approx((5/8, 3/6))
    assert ((field.get_x() - canvas.get_x()) / canvas.get_width(),
            (field.get_y() - canvas.get_y()) / canvas.get_height()) == pytest.approx((2/8, 1/6))
    line = " ".join(" ".join(text).split())
    assert "The first 50 test images at 4 of 9 placements. 3 of 3 synthesized images" in line and "Zalando" in line
    assert "the first 2 of 3 units of conv2, convnet" in alt_text(figure)


def test_full_receptive_fields_have_no_frame():
    units = ["class:Bag", "class:Coat"]
    figure = neighbors_figure(synthesis(units), near(units, fields=np.tile([0, 0, 6, 8], (2, 1)), placements=9))
    line = " ".join(" ".join(words(figure)).split())
    assert "The receptive field of each class is the whole canvas." in line and "at all 9 placements" in line
    assert len(figure.axes[0].patches) == 2 * 3  # filled bins of the histograms


def test_the_marker_is_at_the_activation():
    figure = neighbors_figure(synthesis(["fc1:0"], activations=np.array([2.0], np.float32)), near(["fc1:0"]))
    dashed, solid, marker = figure.axes[0].lines[1:4]
    bins = sorted((patch.get_x(), patch.get_width()) for patch in figure.axes[0].patches[:3])
    per_unit = bins[0][1]
    zero = bins[0][0] + 2 * per_unit  # the first filled bin begins at -2
    assert solid.get_xdata()[0] == pytest.approx(zero + 2.0 * per_unit) == marker.get_xdata()[0]
    assert dashed.get_xdata()[0] == pytest.approx(zero + 1.5 * per_unit)


def test_records_of_different_units_raise():
    with pytest.raises(UsageError, match="pass records of the same units"):
        neighbors_figure(synthesis(["fc1:0"]), near(["fc1:1"]))


def merits(count: int, **changed: Any) -> Quality:
    values: dict[str, Any] = {
        "model": "two-full", "objective": "class:all", "units": [f"class:{k}" for k in range(count)],
        "seconds_per_unit": 0.25, "exceeds_real": 0.9, "dead": None, "dead_units": [], "judge": "two-conv",
        "transfer": 0.5, "seeds": 0, "shift": 2,
        "pictures": "The first 50 test images.", "over_best": np.linspace(0.5, 2, count),
        "selectivity": np.full(count, 0.5), "placement_stability": np.full(count, np.nan),
        "seed_stability": np.full(count, np.nan), "judged": np.zeros(count, int),
        "judged_correct": np.arange(count) == 0}
    return Quality(**(values | changed))


def test_quality_has_one_panel_per_measure():
    figure = quality_figure(merits(2), credit="Images: synthetic garments")
    assert len(figure.axes) == 2
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["0 ✓", "1 ✗"]
    assert "A second model (convnet) classifies 50 % of the images correctly." in alt_text(figure)
    many = quality_figure(merits(60, over_best=np.linspace(2, 0.5, 60)))
    assert not many.axes[0].get_yticklabels()
    dots = many.axes[0].collections[0].get_offsets()
    assert (np.diff(dots[:, 0]) >= 0).all() and len(dots) == 60


def test_values_that_are_not_defined_are_written():
    values = np.linspace(0.5, 2, 12)
    values[[2, 5, 6, 9]] = np.nan
    figure = quality_figure(merits(12, over_best=values))
    panel = figure.axes[0]
    dots = np.asarray(panel.collections[0].get_offsets())
    assert dots[:, 1].tolist() == [0, 1, 3, 4, 7, 8, 10, 11] and np.allclose(dots[:, 0], values[np.isfinite(values)])
    assert [(text.get_text(), text.get_position()[1]) for text in panel.texts] == [
        ("not defined", row) for row in (2, 5, 6, 9)]
    assert "4 values are not defined." in alt_text(figure)
    assert "Not measured, or not defined for all units: activation left after a shift by 2 pixels" in alt_text(figure)
    many = np.linspace(2, 0.5, 60)
    many[10:14] = np.inf
    panel = quality_figure(merits(60, over_best=many)).axes[0]
    assert [text.get_text() for text in panel.texts] == ["4 not defined"]
    assert len(panel.collections[0].get_offsets()) == 56


def test_an_activation_that_is_not_finite_is_named():
    made = synthesis(["fc1:0", "fc1:1"])
    activations = made.activations.copy()
    activations[1] = np.nan
    figure = neighbors_figure(replace(made, activations=activations), near(["fc1:0", "fc1:1"]))
    assert any(text.get_text().startswith("▼ not defined, real: max") for text in figure.axes[0].texts)


def test_quality_summary():
    text = quality_summary(merits(2, dead=0.25, transfer=None))
    assert text == ("90 % of the units are activated more by their synthesized image than by any real image. 25 % of "
                    "the layer's units are inactive for every real image. 0.25 seconds per unit.")


def test_reduce_colors_keeps_the_size_and_nearly_the_colors():
    import io

    from PIL import Image

    png = render_figure(quality_figure(merits(4)), "png")
    small = reduce_colors(png)
    before, after = (np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), int) for data in (png, small))
    assert before.shape == after.shape and np.abs(before - after).mean() < 2 and len(small) < len(png)
