from dataclasses import replace

import numpy as np
import pytest

from shiftscope.errors import UsageError
from shiftscope.reporting import alt_text, render_figure
from shiftscope.reporting.disagreements import ABREAST, DOWN, Disagreements, disagreements_figure


def made(only_a=3, only_b=2, channels=1):
    """The first `only_a` pictures are right for A, the others for B; picture n is n everywhere."""
    count = only_a + only_b
    labels = np.arange(count) % 3
    other = (labels + 1) % 3
    first = np.arange(count) < only_a
    said = np.stack((np.where(first, labels, other), np.where(first, other, labels)), 1)
    canvases = np.broadcast_to(np.arange(count)[:, None, None, None], (count, channels, 12, 16)).astype(np.uint8)
    return Disagreements(models=("perceptron", "convnet"), class_names=["Bag", "Coat", "T$x$"], totals=(30, 20),
                         of="100 test images", each="image", labels=labels, said=said, canvases=canvases,
                         credit="Images: mine")


def words(figure):
    axes = figure.axes[0]
    return [text.get_text() for text in axes.texts]


def test_each_side_shows_what_that_model_alone_gets_right():
    figure = disagreements_figure(made())
    shown = words(figure)
    assert shown.count("✓ A: Bag") == 1 and shown.count("✗ B: Coat") == 1  # picture 0: A is right
    assert "✓ B: Bag" in shown and "✗ A: Coat" in shown  # picture 3: B is right
    assert r"is T\$x\$" in shown
    left = [image for image in figure.axes[0].images if image.get_extent()[0] < ABREAST]
    assert sorted(int(image.get_array().max()) for image in left) == [0, 1, 2] and len(figure.axes[0].images) == 5


def test_numbers_and_names_stand_in_words():
    told = alt_text(disagreements_figure(made()))
    assert "Of 100 test images, A alone is right about 30 and B alone about 20." in told
    assert "3 images that A alone gets right and 2 images that B alone gets right" in told and "Images: mine" in told


def test_a_page_holds_so_many_at_most_and_one_side_may_be_empty():
    figure = disagreements_figure(made(only_a=ABREAST * DOWN + 5, only_b=0, channels=3))
    assert len(figure.axes[0].images) == ABREAST * DOWN and "no picture" in words(figure)
    assert render_figure(figure, "png").startswith(b"\x89PNG")


def test_an_answer_that_is_not_finite():
    found = made()
    assert "✗ B: nothing (NaN)" in words(disagreements_figure(
        replace(found, said=np.where(found.said == found.labels[:, None], found.said, -1))))


def test_nothing_to_draw():
    with pytest.raises(UsageError, match="no pictures of disagreements"):
        disagreements_figure(made(0, 0))
