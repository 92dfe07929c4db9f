import numpy as np
import pytest

from shiftscope.errors import UsageError
from shiftscope.reporting import alt_text, prediction_figure, render_figure


def test_the_three_most_probable_classes_are_below_the_image():
    scores = {"a": 0.1, "b": 0.6, "c": 0.05, "$d$": 0.25}
    predictions = [{"file": "some/where/boot.png", "offset": (3, 4), "scores": scores},
                   {"file": "x" * 99, "offset": (0, 0), "scores": {"a": 0.5, "b": 0.5}}]
    canvases = np.arange(2 * 3 * 12 * 20).reshape(2, 3, 12, 20).astype(np.uint8)
    figure = prediction_figure(predictions, canvases)
    axes = figure.axes[0]
    words = [text.get_text() for text in axes.texts]
    assert words[:4] == ["boot.png, at (3, 4)", "b 60.0 %", r"\$d\$ 25.0 %", "a 10.0 %"]
    assert len(words) == 4 + 3 and len(words[4]) < 32
    np.testing.assert_array_equal(np.asarray(axes.images[1].get_array()), canvases[1].transpose(1, 2, 0))
    assert "boot.png: b (60.0 %)" in alt_text(figure)
    assert render_figure(figure, "png")


def test_no_images_raise():
    with pytest.raises(UsageError, match="number of images must be at least 1, got 0"):
        prediction_figure([], np.zeros((0, 1, 4, 4), np.uint8))


def test_the_predicted_class_comes_first_among_equal_scores():
    predictions = [{"file": "a.png", "offset": (0, 0), "class": "b", "scores": {"a": 0.5, "b": 0.5}},
                   {"file": "b.png", "offset": (0, 0), "class": None, "scores": None}]
    words = [text.get_text() for text in prediction_figure(predictions, np.zeros((2, 1, 4, 4), np.uint8)).axes[0].texts]
    assert words[1:3] == ["b 50.0 %", "a 50.0 %"] and words[4].startswith("non-finite")
