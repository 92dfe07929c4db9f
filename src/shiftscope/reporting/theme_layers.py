"""Two layers of a figure, so that a page can show it in a dark theme: what is drawn, and the images in it.

Text, axes and lines can be inverted, images and color maps cannot. Each pixel is in one of the layers, so both together
take about as many bytes as the figure.
"""

import io
import json
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox
from PIL import Image

BOXES_KEY = "Images"
"""PNG text with the boxes of `image_boxes` as JSON."""

SWATCH = "_swatch"
"""Label of a patch whose color explains a color map: it counts as an image."""

_MARGIN = 2  # pixels around a box, and one inside of it: matplotlib aligns images to whole pixels
_PAPER = 250  # pixels of the margin that are at least this bright are not of the image

Box = tuple[float, float, float, float]
"""Left, top, right, bottom, as fractions of the width and height of a figure."""

_EVERYTHING: tuple[Box, ...] = ((0.0, 0.0, 1.0, 1.0),)


def image_boxes(figure: Figure) -> list[Box]:
    """Return the boxes of all images, color maps, color bars and patches labeled `SWATCH` in a figure."""
    width, height = figure.bbox.width, figure.bbox.height
    boxes = []
    for axes in figure.axes:
        axes.apply_aspect()
        for box in _axes_boxes(axes):
            box = Bbox.intersection(box, figure.bbox)
            if box is not None and box.width > 0 and box.height > 0:
                boxes.append((box.x0 / width, 1 - box.y1 / height, box.x1 / width, 1 - box.y0 / height))
    return [(round(a, 5), round(b, 5), round(c, 5), round(d, 5)) for a, b, c, d in boxes]


def _axes_boxes(axes: Axes) -> list[Bbox]:
    frame = axes.get_window_extent()
    boxes = [Bbox.intersection(image.get_window_extent(), frame) for image in axes.images]
    boxes += [frame for mesh in axes.collections if isinstance(mesh, QuadMesh)]
    boxes += [patch.get_window_extent() for patch in axes.patches if patch.get_label() == SWATCH]
    return [box for box in boxes if box is not None]


def read_boxes(png: Image.Image) -> Sequence[Box]:
    """Return the boxes that a PNG file holds; without valid ones everything counts as an image."""
    try:
        values = np.array(json.loads(str(png.info[BOXES_KEY])), float).reshape(-1, 4)
    except (KeyError, ValueError, TypeError):
        return _EVERYTHING
    return [tuple(box) for box in values.tolist()] if np.isfinite(values).all() else _EVERYTHING


def split_layers(png: bytes) -> tuple[bytes, bytes]:
    """Split a PNG figure into what is drawn (opaque) and the images (transparent around them; empty without images).

    Both have at most 256 colors.
    """
    with Image.open(io.BytesIO(png)) as figure:
        boxes, pixels = read_boxes(figure), np.array(figure.convert("RGBA"))
    inside = _mask(boxes, pixels.shape, -1)
    inside |= _mask(boxes, pixels.shape, _MARGIN) & (pixels[..., :3].min(axis=-1) < _PAPER)
    drawn, images = pixels.copy(), pixels
    drawn[inside], images[~inside] = 255, 0
    return _encode(drawn[..., :3]), _encode(images) if inside.any() else b""


def _mask(boxes: Sequence[Box], shape: tuple[int, ...], margin: int) -> np.ndarray:
    """Return bool (H, W): the pixels in a box that is `margin` pixels larger on each side."""
    inside = np.zeros(shape[:2], bool)
    for left, top, right, bottom in boxes:
        rows, columns = (slice(max(round(low * size) - margin, 0), max(round(high * size) + margin, 0))
                         for low, high, size in ((top, bottom, shape[0]), (left, right, shape[1])))
        inside[rows, columns] = True
    return inside


def _encode(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    reduced = Image.fromarray(pixels).quantize(256, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    reduced.save(buffer, format="png", optimize=True)
    return buffer.getvalue()
