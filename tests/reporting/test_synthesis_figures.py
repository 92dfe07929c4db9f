from typing import Any

import numpy as np
import pytest

from shiftscope.errors import UsageError
from shiftscope.reporting import (
    ReportData,
    alt_text,
    class_gallery,
    class_neurons,
    neuron_gallery,
    render_figure,
    render_report,
)
from shiftscope.reporting.synthesis import full_contrast
from shiftscope.results import ParameterRow, Synthesis


def synthesis(units: list[str], **changed: Any) -> Synthesis:
    count = len(units)
    images = np.linspace(0, 1, count * 12, dtype=np.float32).reshape(count, 1, 3, 4)
    values: dict[str, Any] = {
        "model": "two-full", "objective": "x", "units": units, "class_names": ["Bag", "Coat", "$hirt"],
        "start": "black", "settings": {"steps": 32}, "seconds": 1.0, "device": "cpu", "notes": [], "images": images,
        "activations": np.ones(count, np.float32), "activations_start": np.zeros(count, np.float32),
        "predictions": np.arange(count), "confidence": np.full(count, 0.97, np.float32)}
    return Synthesis(**(values | changed))


def words(figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts] + [t.get_text() for t in figure.texts]


def test_class_gallery_shows_the_prediction_for_each_image():
    found = synthesis(["class:Bag", "class:Coat", "class:$hirt"], predictions=np.array([0, 2, 2]))
    figure = class_gallery(found, credit="Images: synthetic garments")
    text = words(figure)
    assert {"Bag", "Coat", r"\$hirt", "✓ predicted, 97 %", r"✗ \$hirt, 97 %"} <= set(text)
    assert sum(line.startswith("✓") for line in text) == 2
    assert "2 of 3 images are predicted as their class" in alt_text(figure)
    assert any("from a black canvas" in line for line in text)
    assert any("Images: synthetic garments" in line for line in text)


def test_classes_without_names_and_outputs_without_classes():
    numbered = synthesis(["class:0", "class:1"], class_names=[])
    assert words(class_gallery(numbered)).count("✓ predicted, 97 %") == 2
    nothing = synthesis(["class:0"], class_names=[], predictions=np.array([-1]))
    assert not any(line.startswith("✓") for line in words(class_gallery(nothing)))
    assert "✗ non-finite, 97 %" in words(class_gallery(nothing))


def test_neuron_gallery_numbers_images_in_rows_of_ten():
    found = synthesis([f"fc1:{k}" for k in range(25)], start="zero", notes=["2 of 25 units stay at or below zero"])
    figure = neuron_gallery(found, limit=23)
    axes = figure.axes[0]
    assert [text.get_text() for text in axes.texts] == [str(k) for k in range(23)]
    left = [image.get_extent()[0] for image in axes.images]
    assert len(left) == 23 and left[0] == left[10] == left[20] and len(set(left)) == 10
    assert any("2 of 25 units stay" in line for line in words(figure))
    assert "units of fc1: perceptron" in alt_text(figure) and "The first 23 of 25" in alt_text(figure)


def test_full_contrast_keeps_the_neutral_value():
    images = np.full((2, 1, 10, 10), 0.5)
    images[0, 0, 0] = 0.55  # 10 % of the pixels
    images[1, 0, 0] = 0.2
    shown = full_contrast(images, 0.5)
    assert shown[0].max() == 255 and shown[1].min() == 0 and set(np.unique(shown[:, 0, 1:])) == {128}
    assert full_contrast(np.full((1, 1, 4, 4), 0.5), 0.5).min() == 128  # nothing to stretch


def test_class_neurons_names_the_largest_weights_on_a_symmetric_scale():
    weights = np.zeros((2, 12))
    weights[0, [3, 7]] = 0.5, 0.2
    weights[0, 11] = -0.4
    bias = np.array([-2.0, 1.0])
    figure = class_neurons(weights, bias, ["Bag", "Coat"], title="weights", credit="Images: synthetic garments")
    matrix, beside, scale = figure.axes
    assert matrix.images[0].get_clim() == beside.images[0].get_clim() == (-2.0, 2.0)
    np.testing.assert_array_equal(matrix.images[0].get_array(), weights)
    np.testing.assert_array_equal(beside.images[0].get_array(), bias[:, None])
    assert {"3  7", "11", "none"} <= {text.get_text() for text in beside.texts}
    assert [label.get_text() for label in matrix.get_yticklabels()] == ["Bag", "Coat"]
    assert scale.get_ylabel() == "weight" and "Bag: 3 and 7;" in alt_text(figure)


def test_class_neurons_mark_weights_that_are_not_defined():
    weights = np.array([[0.5, np.nan, -1.0], [np.inf, 0.0, 0.25]])
    figure = class_neurons(weights, np.zeros(2), ["Bag", "Coat"], title="weights")
    assert figure.axes[0].images[0].get_clim() == (-1.0, 1.0)
    assert "Gray: not defined (2 weights are not finite)." in " ".join(words(figure)) and render_figure(figure, "png")


@pytest.mark.parametrize("bias, names", [(np.zeros(3), ["a", "b"]), (np.zeros(2), ["a"])])
def test_class_neurons_with_mismatched_shapes_raise(bias, names):
    with pytest.raises(UsageError, match=r"weights must be \(K, N\), bias \(K,\) and class_names K names"):
        class_neurons(np.zeros((2, 5)), bias, names, title="x")


def test_the_report_shows_the_table_of_parameters():
    row = ParameterRow("<fc2>.weight", (10, 100), 1000, 0.5, 0.25, 3.0)
    html = render_report(ReportData(title="x", dataset={}, parameters={"perceptron": [row]}))
    assert "All parameters of the perceptron" in html and "<code>&lt;fc2&gt;.weight</code>" in html
    assert "<td>10 x 100</td><td>1,000</td><td>0.5</td><td>0.25</td><td>3</td>" in html
    assert "<h2>Parameters" not in render_report(ReportData(title="x", dataset={}))
