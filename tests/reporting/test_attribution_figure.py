import numpy as np
import pytest

from shiftscope.errors import UsageError
from shiftscope.reporting import alt_text, render_figure
from shiftscope.reporting.attribution import attribution_figure, sign_fields
from shiftscope.results import Attribution


def make_attribution(method="integrated-gradients", count=3, channels=1, labels=(0, 1, 1), **changed):
    random = np.random.default_rng(0)
    options = {"integrated-gradients": {"steps": 64, "baseline": 0}, "grad-cam": {"after_relu": True}, "saliency": {},
               "occlusion": {"window": [7, 5], "stride": [3, 2], "baseline": "picture"}}[method]
    values = {
        "model": "two-conv", "method": method, "layer": "conv2" if method == "grad-cam" else "", "target": "class",
        "options": options, "class_names": ["Bag", "Coat"], "seconds": 0.1, "device": "cpu", "notes": [],
        "images": np.random.default_rng(1).random((count, channels, 16, 20), dtype=np.float32),
        "maps": random.normal(size=(count, 16, 20)).astype(np.float32), "targets": np.array([0, 1, 0])[:count],
        "labels": np.array(labels), "predictions": np.array([0, 1, 0])[:count],
        "confidence": np.full(count, 0.75, np.float32), "scores": np.full(count, 4.0, np.float32),
        "scores_baseline": np.zeros(count, np.float32), "residuals": np.full(count, 0.04, np.float32),
    }
    return Attribution(**(values | changed))


def texts(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts] + [text.get_text() for text in figure.texts]


def test_rows_are_images_and_columns_are_methods():
    methods = ("integrated-gradients", "grad-cam", "occlusion")
    figure = attribution_figure([make_attribution(method) for method in methods])
    page = figure.axes[0]
    assert len(page.images) == 3 * 4
    down = [image.get_extent()[3] for image in page.images]
    assert len({round(y, 6) for y in down}) == 3 and len({round(y, 6) for y in down[:4]}) == 1
    shown = texts(figure)
    assert {"Image", "Integrated gradients", "Grad-CAM", "Occlusion", "layer conv2", "64 steps",
            "window 7 x 5 pixels"} <= set(shown)
    assert shown.count("for Bag") == 2 * 3 and shown.count("for Coat") == 3
    assert "true: Coat" in shown and "✗ incorrect, 75 %" in shown and shown.count("✓ correct, 75 %") == 2
    assert "3 images, predicted as Bag, Coat and Bag, beside maps of Integrated gradients, Grad-CAM and Occlusion" in (
        alt_text(figure))
    assert "completeness error: 1.0 % of the score difference" in " ".join(" ".join(shown).split())


def test_positive_and_negative_differ_by_color_and_by_sign():
    maps = np.zeros((1, 16, 20), np.float32)
    maps[0, :4, :5], maps[0, 12:, 15:] = 1.0, -1.0
    figure = attribution_figure([make_attribution(count=1, labels=[0], maps=maps)])
    page = figure.axes[0]
    synthetic = page.images[1]
    low, high = synthetic.get_clim()
    assert low == -high == -1
    left, right, bottom, top = synthetic.get_extent()
    for text in page.texts:
        x, y = text.get_position()
        if text.get_text() == "+":
            assert x < (left + right) / 2 and y < (top + bottom) / 2
        if text.get_text() == "−":
            assert x > (left + right) / 2 and y > (top + bottom) / 2
    assert {"+", "−"} <= set(texts(figure))
    assert [label.get_text() for label in figure.axes[1].get_yticklabels()] == ["− lowers", "0", "+ raises"]


def test_only_clear_fields_have_signs():
    values = np.zeros((16, 24))
    values[0:2, 3:6] = 2.0
    values[14:, :3] = -1.0
    values[6:8, 6:9] = 0.5
    assert sign_fields(values) == [(1 / 16, 4.5 / 24, True), (15 / 16, 1.5 / 24, False)]
    assert sign_fields(np.zeros((4, 4))) == []


def test_unknown_labels_units_and_notes():
    record = make_attribution(labels=[-1] * 3, target="fc1", notes=["the maps of 1 of 3 images miss the score"],
                              channels=3)
    shown = texts(attribution_figure([record], limit=2))
    assert "pred: Bag" in shown and "75 %" in shown and not any(text.startswith("true:") for text in shown)
    assert "for fc1:0" in shown and any("Integrated gradients: the maps of 1 of 3" in text for text in shown)


@pytest.mark.parametrize("image", [np.zeros((1, 1, 16, 20)), np.ones((1, 1, 1, 1))])
def test_constant_images_and_maps_are_drawn(image):
    figure = attribution_figure([make_attribution(count=1, labels=[0], images=image.astype(np.float32),
                                      maps=np.zeros((1, *image.shape[2:]), np.float32))])
    assert render_figure(figure, "png")


def test_different_images_raise():
    for found in ([], [make_attribution(), make_attribution(images=np.zeros((3, 1, 16, 20), np.float32))]):
        with pytest.raises(UsageError, match="one record per method, all of the same images"):
            attribution_figure(found)
