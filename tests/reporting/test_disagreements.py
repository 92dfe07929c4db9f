from dataclasses import replace

import numpy as np
import pytest

from shiftscope.errors import UsageError
from shiftscope.reporting import alt_text, render_figure
from shiftscope.reporting.gallery import COLUMNS, ROWS, Disagreements, disagreements_figure


def make_disagreements(only_a=3, only_b=2, channels=1):
    """The first `only_a` images are correct for A, the others for B; all pixels of image n are n."""
    count = only_a + only_b
    labels = np.arange(count) % 3
    other = (labels + 1) % 3
    first = np.arange(count) < only_a
    predictions = np.stack((np.where(first, labels, other), np.where(first, other, labels)), 1)
    canvases = np.broadcast_to(np.arange(count)[:, None, None, None], (count, channels, 12, 16)).astype(np.uint8)
    return Disagreements(models=("perceptron", "convnet"), class_names=["Bag", "Coat", "T$x$"], totals=(30, 20),
                         population="100 test images", labels=labels, predictions=predictions, canvases=canvases,
                         credit="Images: mine")


def texts(figure):
    axes = figure.axes[0]
    return [text.get_text() for text in axes.texts]


def test_each_side_shows_images_that_only_one_model_classifies_correctly():
    figure = disagreements_figure(make_disagreements())
    shown = texts(figure)
    assert shown.count("✓ A: Bag") == 1 and shown.count("✗ B: Coat") == 1  # image 0: A is correct
    assert "✓ B: Bag" in shown and "✗ A: Coat" in shown  # image 3: B is correct
    assert r"true: T\$x\$" in shown
    left = [image for image in figure.axes[0].images if image.get_extent()[0] < COLUMNS]
    assert sorted(int(image.get_array().max()) for image in left) == [0, 1, 2] and len(figure.axes[0].images) == 5


def test_the_alternative_text_has_counts_and_names():
    text = alt_text(disagreements_figure(make_disagreements()))
    assert "Of 100 test images, 30 are correct for A only and 20 for B only." in text
    assert "Shown: 3 images for A only and 2 for B only." in text and "Images: mine" in text


def test_the_number_of_images_is_limited_and_one_side_may_be_empty():
    figure = disagreements_figure(make_disagreements(only_a=COLUMNS * ROWS + 5, only_b=0, channels=3))
    assert len(figure.axes[0].images) == COLUMNS * ROWS and "no images" in texts(figure)
    assert render_figure(figure, "png").startswith(b"\x89PNG")


def test_nonfinite_predictions_are_marked():
    found = make_disagreements()
    assert "✗ B: non-finite" in texts(disagreements_figure(
        replace(found, predictions=np.where(found.predictions == found.labels[:, None], found.predictions, -1))))


def test_no_images_raise():
    with pytest.raises(UsageError, match="no images of disagreements"):
        disagreements_figure(make_disagreements(0, 0))
