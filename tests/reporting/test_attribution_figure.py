import numpy as np
import pytest

from shiftscope.errors import UsageError
from shiftscope.reporting import alt_text, render_figure
from shiftscope.reporting.attribution import attribution_figure, sign_fields
from shiftscope.results import Attribution


def made(method="integrated-gradients", count=3, channels=1, labels=(0, 1, 1), **changed):
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


def test_a_row_a_picture_and_a_column_a_method():
    figure = attribution_figure([made(), made("grad-cam"), made("occlusion")], credit="synthetic garments (synthetic)")
    page = figure.axes[0]
    assert len(page.images) == 3 * 4
    down = [image.get_extent()[3] for image in page.images]
    assert len({round(y, 6) for y in down}) == 3 and len({round(y, 6) for y in down[:4]}) == 1
    said = texts(figure)
    assert {"Picture", "Integrated gradients", "Grad-CAM", "Occlusion", "layer conv2", "64 steps",
            "window 7 x 5 pixels"} <= set(said)
    assert said.count("for Bag") == 2 * 3 and said.count("for Coat") == 3
    assert "is Coat" in said and "✗ wrong, 75 %" in said and said.count("✓ right, 75 %") == 2
    assert "3 pictures, taken for Bag, Coat and Bag, beside maps from Integrated gradients, Grad-CAM and Occlusion" in (
        alt_text(figure))
    assert "misses the score's rise by 1.0 % of it" in " ".join(" ".join(said).split())


def test_for_and_against_differ_by_color_and_by_sign():
    maps = np.zeros((1, 16, 20), np.float32)
    maps[0, :4, :5], maps[0, 12:, 15:] = 1.0, -1.0
    figure = attribution_figure([made(count=1, labels=[0], maps=maps)])
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
    assert [label.get_text() for label in figure.axes[1].get_yticklabels()] == ["− against", "0", "+ for"]


def test_signs_stand_in_clear_fields_only():
    values = np.zeros((16, 24))
    values[0:2, 3:6] = 2.0
    values[14:, :3] = -1.0
    values[6:8, 6:9] = 0.5
    assert sign_fields(values) == [(1 / 16, 4.5 / 24, True), (15 / 16, 1.5 / 24, False)]
    assert sign_fields(np.zeros((4, 4))) == []


def test_unknown_labels_units_and_notes_are_said_plainly():
    found = made(labels=[-1] * 3, target="fc1", notes=["the maps of 1 of 3 pictures miss the score"], channels=3)
    said = texts(attribution_figure([found], limit=2))
    assert "said Bag" in said and "75 %" in said and not any(text.startswith("is ") for text in said)
    assert "for fc1:0" in said and any("Integrated gradients: the maps of 1 of 3" in text for text in said)


@pytest.mark.parametrize("image", [np.zeros((1, 1, 16, 20)), np.ones((1, 1, 1, 1))])
def test_flat_pictures_and_maps_are_drawn(image):
    figure = attribution_figure([made(count=1, labels=[0], images=image.astype(np.float32),
                                      maps=np.zeros((1, *image.shape[2:]), np.float32))])
    assert render_figure(figure, "png")


def test_other_pictures_are_an_error():
    for found in ([], [made(), made(images=np.zeros((3, 1, 16, 20), np.float32))]):
        with pytest.raises(UsageError, match="one attribution a method, all of the same pictures"):
            attribution_figure(found)
