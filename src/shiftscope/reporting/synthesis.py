"""Galleries of synthesized images that maximize class scores or unit activations."""

import numpy as np
from matplotlib.figure import Figure

from shiftscope.outputs import NONFINITE_CLASS
from shiftscope.reporting.figure_style import CORRECT, INCORRECT, MUTED, describe, styled, verbatim
from shiftscope.reporting.formatting import model_title, percent, shorten
from shiftscope.reporting.image_grid import NONFINITE_NAME, GridLayout, ImageGrid, to_rgb
from shiftscope.results import Synthesis

_STARTS = {"zero": "mid-gray (pixels that stayed gray have no effect)", "black": "a black canvas",
           "random": "random noise", "mean": "the mean of the images", "image": "a given image"}
_NEUTRAL = {"zero": 0.5, "black": 0.0}  # pixel value that contrast stretching keeps


@styled
def class_gallery(synthesis: Synthesis, *, credit: str = "", limit: int = 40) -> Figure:
    """Draw the image that maximizes each class score, with the model's prediction for it; at most `limit` images."""
    shown = min(limit, len(synthesis.units))
    names = dict(enumerate(synthesis.class_names)) | {NONFINITE_CLASS: NONFINITE_NAME}
    targets = [unit.rpartition(":")[2] for unit in synthesis.units]
    predicted = [names.get(int(label), str(int(label))) for label in synthesis.predictions[:shown]]
    correct = sum(map(str.__eq__, predicted, targets))
    layout = GridLayout(count=shown, columns=min(5, shown), size=synthesis.images.shape[2:], side=1.7, above=0.22,
                        below=0.2, gap=0.14)
    title = f"Images that maximize each class score: {model_title(synthesis.model)}"
    grid = ImageGrid(layout, title=title, subtitle="Made by gradient ascent on the pixels, without training images: "
                     f"{correct} of {shown} are predicted as their class.", footer=(_settings(synthesis), credit))
    for cell, image in enumerate(shown_images(synthesis, shown)):
        grid.draw(cell, image)
        grid.frame(cell, MUTED, 0.5)
        grid.text_above(cell, _short(synthesis.units[cell], 20), size=9.5, weight="bold")
        confidence = percent(float(synthesis.confidence[cell]), 0)
        is_correct = predicted[cell] == targets[cell]
        text = f"✓ predicted, {confidence}" if is_correct else f"✗ {predicted[cell]}, {confidence}"
        down, right = layout.corner(cell)
        grid.axes.text(right, down + layout.image[0] + 0.05, verbatim(shorten(text, 28)), fontsize=8, va="top",
                       color=CORRECT if is_correct else INCORRECT)
    return describe(grid.figure, f"{title}; {correct} of {shown} images are predicted as their class. {credit}".strip())


@styled
def neuron_gallery(synthesis: Synthesis, *, credit: str = "", columns: int = 10, limit: int = 100) -> Figure:
    """Draw the image that maximizes the activation of each unit of a layer, numbered; at most `limit` images."""
    total = len(synthesis.units)
    shown = min(limit, total)
    layout = GridLayout(count=shown, columns=min(columns, shown), size=synthesis.images.shape[2:], above=0.16, gap=0.05)
    layer = synthesis.units[0].rpartition(":")[0]
    title = f"Images that maximize the units of {layer}: {model_title(synthesis.model)}"
    which = f"The first {shown} of {total} units" if shown < total else f"{total} units"
    grid = ImageGrid(layout, title=title, subtitle=f"{which}, numbered. Made by gradient ascent on the pixels.",
                     footer=(_settings(synthesis), *synthesis.notes, credit))
    for cell, image in enumerate(shown_images(synthesis, shown)):
        grid.draw(cell, image)
        grid.text_above(cell, _short(synthesis.units[cell], 18), size=6.5, color=MUTED)
    return describe(grid.figure, f"{title}. {which}, one image each. {credit}".strip())


def full_contrast(images: np.ndarray, neutral: float) -> np.ndarray:
    """Stretch the contrast of each image (float (U, C, H, W) in [0, 1]) and convert it to uint8.

    The pixel value `neutral` does not change; 1 % of the pixels reach black or white.

    >>> full_contrast(np.array([[[[0.5, 0.6], [0.4, 0.5]]]]), 0.5)[0, 0].tolist()
    [[128, 255], [0, 128]]
    """
    difference = images - neutral
    reach = np.quantile(np.abs(difference), 0.99, axis=(1, 2, 3), keepdims=True).clip(1e-3)
    return np.round(255 * np.clip(neutral + max(neutral, 1 - neutral) * difference / reach, 0, 1)).astype(np.uint8)


def shown_images(synthesis: Synthesis, shown: int) -> np.ndarray:
    """Return the first images as RGB with full contrast, uint8 (shown, H, W, 3)."""
    images, neutral = synthesis.images[:shown], _NEUTRAL.get(synthesis.start)
    return to_rgb(np.round(255 * images).astype(np.uint8) if neutral is None else full_contrast(images, neutral))


def _short(unit: str, width: int) -> str:
    """The name of a unit without its layer."""
    return shorten(unit.rpartition(":")[2] if unit.count(":") == 1 else unit, width)


def _settings(synthesis: Synthesis) -> str:
    start = _STARTS.get(synthesis.start, synthesis.start)
    return f"{synthesis.settings['steps']} steps from {start}. Each image is shown with full contrast."
