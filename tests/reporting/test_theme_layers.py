"""The layers of a figure: together they are the figure, and the images are those that matplotlib drew."""

import io
import json

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image, PngImagePlugin

from shiftscope.reporting import inconsistent_images, render_figure, report_figure, sample_gallery
from shiftscope.reporting.theme_layers import BOXES_KEY, SWATCH, image_boxes, split_layers


def read(png: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(png)) as image:
        return np.asarray(image.convert("RGBA")).astype(int)


@pytest.fixture
def figure() -> Figure:
    """An inch of ink at the left, a red image of one by two inches at the right, a color map and a green swatch."""
    made = Figure(figsize=(6, 3))
    made.text(0.05, 0.5, "text", fontsize=30)
    image = made.add_axes((0.5, 1 / 3, 1 / 6, 2 / 3))
    image.imshow(np.full((4, 2, 3), (255, 0, 0), np.uint8))
    image.set_axis_off()
    mesh = made.add_axes((0.75, 0.1, 0.1, 0.5))
    mesh.pcolormesh(np.eye(2))
    swatch = made.add_axes((0.9, 0.1, 0.1, 0.5))
    swatch.add_patch(Rectangle((0, 0), 0.5, 1, facecolor=(0, 1, 0), label=SWATCH))
    swatch.set_axis_off()
    return made


def test_boxes_hold_images_color_maps_and_swatches(figure):
    boxes = sorted(image_boxes(figure))
    assert boxes == [pytest.approx(box, abs=1e-4) for box in
                     ((0.5, 0.0, 2 / 3, 2 / 3), (0.75, 0.4, 0.85, 0.9), (0.9, 0.4, 0.95, 0.9))]


def test_layers_are_the_figure(figure):
    png = render_figure(figure, "png")
    drawn, images = (read(layer) for layer in split_layers(png))
    whole, shown = read(png), images[..., 3:] == 255
    assert np.abs(np.where(shown, images, drawn) - whole)[..., :3].max() <= 24  # colors are reduced
    assert (drawn[..., :3] >= 250).all(axis=-1)[shown[..., 0]].all()
    colorful = np.ptp(whole[..., :3], axis=-1) > 60
    assert shown[colorful].mean() > 0.99 and not shown[:, :200].any() and drawn[:, :200, :3].min() < 60


@pytest.mark.parametrize("text", [None, "no JSON", "[1, 2]", "[[1, 2, 3, NaN]]", '{"a": 1}', "[[0,0,9e9,9e9]]"])
def test_a_file_without_valid_boxes_is_one_image(text):
    buffer, info = io.BytesIO(), PngImagePlugin.PngInfo()
    if text is not None:
        info.add_text(BOXES_KEY, text)
    Image.new("RGB", (20, 10), "red").save(buffer, "png", pnginfo=info)
    drawn, images = split_layers(buffer.getvalue())
    assert (read(images) == (255, 0, 0, 255)).all() and (read(drawn)[..., :3] >= 250).all()


def test_a_figure_without_images_is_only_drawn():
    png = render_figure(Figure(figsize=(1, 1)), "png")
    assert split_layers(png)[1] == b""


def test_layers_take_about_as_many_bytes_as_the_figure(make_audit):
    for figure in (inconsistent_images(make_audit()), sample_gallery(
            np.random.default_rng(0).integers(0, 256, (8, 1, 40, 40), np.uint8), np.arange(8) % 2, ["a", "b"],
            caption="noise")):
        png = render_figure(figure, "png")
        assert sum(map(len, split_layers(png))) < len(png)
        with Image.open(io.BytesIO(png)) as image:
            assert len(json.loads(image.info[BOXES_KEY])) >= 8
        assert report_figure("samples", figure, "").images
