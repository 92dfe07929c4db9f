"""The weights of a first layer as pictures: templates of a perceptron's neurons, filters of a convnet."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from shiftscope.errors import UsageError
from shiftscope.reporting.sheet import Layout, Sheet, side_axes
from shiftscope.reporting.style import INK, MUTED, PAPER, SIGNED, describe, styled

_SIGNS_UP_TO = 9  # pixels: filters this small have room for a sign in every pixel


@styled
def weight_grid(weights: np.ndarray, *, title: str, columns: int | None = None, limit: int = 100,
                credit: str = "") -> Figure:
    """Draw weights as pictures on one color scale that is symmetric about zero, which is white.

    The scale ends at the 99.7th percentile of the sizes, so that one stray weight does not bleach all others; the
    color bar's pointed ends say so. Small filters carry a minus sign in every negative pixel.

    Args:
        weights: float (N, C, h, w) or (N, h, w), one picture each of N neurons or filters; C colors are averaged.
        title: line at the top.
        columns: pictures in a row; chosen by their number unless given.
        limit: pictures drawn at most, the first ones.
        credit: line at the foot, see `image_credit`.

    Raises:
        UsageError: another number of axes, or no weights.
    """
    if weights.ndim not in (3, 4) or weights.size == 0:
        raise UsageError(f"weights must be of shape (N, C, h, w) or (N, h, w), N at least 1, got {weights.shape}")
    channels = weights.shape[1] if weights.ndim == 4 else 1
    pictures = (weights.mean(axis=1) if weights.ndim == 4 else weights)[:limit].astype(float)
    end = scale_end(pictures)
    height, width = pictures.shape[1:]
    columns = columns or min(len(pictures), 10)
    small = max(height, width) <= _SIGNS_UP_TO
    layout = Layout(count=len(pictures), columns=columns, size=(height, width), side=1.0, above=0.15, gap=0.05,
                    right=0.95)
    beyond = bool(np.nanmax(np.abs(pictures), initial=0.0) > end)
    sheet = Sheet(layout, title=title, subtitle=_subtitle(len(pictures), len(weights), (height, width), channels),
                  footer=(_how_to_read(small, beyond), credit))
    images = [draw_weights(sheet, cell, picture, end, signs=small, number=True)
              for cell, picture in enumerate(pictures)]
    sheet.figure.colorbar(images[0], cax=side_axes(sheet), label="weight", extend="both" if beyond else "neither")
    return describe(sheet.figure, f"{title}. {len(pictures)} pictures of {height} x {width} weights; orange is "
                                  f"positive, blue negative, white zero. {credit}".strip())


def _subtitle(shown: int, total: int, size: tuple[int, int], channels: int) -> str:
    which = f"The first {shown} of {total}" if shown < total else f"All {total}"
    colors = f", mean over {channels} channels" if channels > 1 else ""
    return f"{which}, each {size[0]} x {size[1]} weights{colors}, numbered from 0, all on one scale."


def _how_to_read(signs: bool, beyond: bool) -> str:
    parts = ["Bright pixels on orange excite the neuron, on blue they silence it; on white they do nothing."]
    if signs:
        parts.append("A minus sign marks every negative weight.")
    if beyond:
        parts.append("A few weights lie beyond the ends of the scale.")
    return " ".join(parts)


def scale_end(pictures: np.ndarray) -> float:
    """The weight at the ends of the color scale; 1 where all weights are zero or not finite."""
    sizes = np.abs(pictures[np.isfinite(pictures)])
    end = float(np.percentile(sizes, 99.7)) if sizes.size else 0.0
    return end or float(sizes.max(initial=0.0)) or 1.0


def draw_weights(sheet: Sheet, cell: int, picture: np.ndarray, end: float, *, signs: bool,
                 number: bool = False) -> AxesImage:
    """Draw weights (h, w) into a cell on the scale from -end to end, negative ones with a sign if asked for."""
    image = sheet.show(cell, picture, cmap=SIGNED.with_extremes(bad="#8b949e"), vmin=-end, vmax=end)
    sheet.frame(cell, MUTED, 0.5)
    down, right = sheet.layout.corner(cell)
    if number:
        sheet.axes.text(right, down - 0.02, str(cell), fontsize=6.5, color=MUTED, va="bottom")
    if signs:
        rows, columns = np.nonzero(picture < 0)
        tall, wide = (length / pixels for length, pixels in zip(sheet.layout.picture, picture.shape, strict=True))
        inks = np.where(picture[rows, columns] < -0.45 * end, PAPER, INK)
        sheet.axes.scatter(right + (columns + 0.5) * wide, down + (rows + 0.5) * tall, marker="_", color=inks,
                           s=min(16.0, (50 * wide) ** 2), linewidths=1.0)  # no wider than 0.7 of a pixel
    return image
