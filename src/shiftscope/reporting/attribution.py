"""Attributions: each image beside maps of the pixels that raise or lower a class score."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patheffects import withStroke

from shiftscope.errors import UsageError
from shiftscope.reporting.figure_style import INK, MUTED, PAPER, SIGNED, describe, styled, verbatim
from shiftscope.reporting.formatting import listing, model_title, percent, shorten
from shiftscope.reporting.image_grid import NONFINITE_NAME, GridLayout, ImageGrid, to_rgb
from shiftscope.results import Attribution

METHOD_TITLES = {"integrated-gradients": "Integrated gradients", "grad-cam": "Grad-CAM", "occlusion": "Occlusion",
                 "saliency": "Saliency"}

_FIELDS = 8  # a map has room for 8 x 8 signs
_CLEAR = 0.4  # fields with at least this fraction of the strongest one get a sign


@styled
def attribution_figure(attributions: Sequence[Attribution], *, credit: str = "", limit: int = 12) -> Figure:
    """Draw a row for each image: the image with its true and predicted class, then one map per method.

    Color and sign both distinguish positive from negative attribution. A thin line is the outline of the object.

    All attributions must be of the same images and model; at most `limit` images are drawn.
    """
    if not attributions or any(not np.array_equal(one.images, attributions[0].images) for one in attributions):
        raise UsageError("attributions must hold one record per method, all of the same images: compute them from one "
                         "batch of images")
    first = attributions[0]
    shown, columns = min(limit, len(first.images)), 1 + len(attributions)
    layout = GridLayout(count=shown * columns, columns=columns, size=first.images.shape[2:], side=1.35, below=0.42,
                        gap=0.14, right=0.95, min_width=6.4, top=0.36)
    title = f"Attribution maps: {model_title(first.model)}"
    target = "the score of the class named below the map" if first.target == "class" else f"a unit of {first.target}"
    subtitle = f"Orange and +: pixels that raise {target}. Blue and −: pixels that lower it. Scores before the softmax."
    grid = ImageGrid(layout, title=title, subtitle=subtitle, footer=(*_explain(attributions), credit))
    for row, image in enumerate(to_rgb(np.round(255 * first.images[:shown]).astype(np.uint8))):
        grid.draw(row * columns, image)
        _write_prediction(grid, row * columns, first, row)
        maps = [_draw_map(grid, row * columns + step, one, row) for step, one in enumerate(attributions, 1)]
        if row == 0:
            _write_headings(grid, attributions)
            bar = grid.figure.colorbar(maps[0], cax=grid.colorbar_axes(), ticks=[-1, 0, 1], extend="both")
            bar.ax.set_yticklabels(["− lowers", "0", "+ raises"])
    methods = listing([METHOD_TITLES[one.method] for one in attributions])
    predictions = listing([_class_name(first, int(label)) for label in first.predictions[:shown]])
    return describe(grid.figure, f"{title}. {shown} images, predicted as {predictions}, beside maps of {methods}. "
                                 f"{credit}".strip())


def _explain(attributions: Sequence[Attribution]) -> list[str]:
    return [*map(_explain_method, attributions),
            "Each map has its own scale: compare positions, not images. The thin line is the outline of the object.",
            *(f"{METHOD_TITLES[one.method]}: {note}." for one in attributions for note in one.notes)]


def _explain_method(attribution: Attribution) -> str:
    options, title = attribution.options, METHOD_TITLES[attribution.method]
    if attribution.method == "integrated-gradients":
        rise = np.abs(attribution.scores - attribution.scores_baseline)
        error = np.median(np.abs(attribution.residuals) / np.maximum(rise, np.finfo(np.float32).tiny))
        return (f"{title}: contribution of each pixel to the score on the path from {_baseline(options)} to the image "
                f"({options['steps']} steps; completeness error: {percent(float(error))} of the score difference, "
                "median).")
    if attribution.method == "occlusion":
        return (f"{title}: drop of the score when {' x '.join(map(str, options['window']))} pixels are replaced by "
                f"{_baseline(options)}.")
    if attribution.method == "grad-cam":
        after = ", after its ReLU" if options["after_relu"] else ""
        return f"{title}: channels of layer {attribution.layer}{after}, weighted by mean gradient and resized."
    return f"{title}: gradient of the score with respect to the pixels."


def _baseline(options: dict) -> str:
    if isinstance(options["baseline"], str):
        return "an empty canvas with its texture"
    return "an empty canvas" + (f" of gray {options['baseline']}" if options["baseline"] else "")


def _class_name(attribution: Attribution, unit: int) -> str:
    if unit < 0:
        return NONFINITE_NAME
    return attribution.class_names[unit] if unit < len(attribution.class_names) else f"class {unit}"


def _write_prediction(grid: ImageGrid, cell: int, attribution: Attribution, row: int) -> None:
    """Write the predicted class below an image, and the true class if it is known."""
    label, predicted = int(attribution.labels[row]), int(attribution.predictions[row])
    confidence = float(attribution.confidence[row])
    if label >= 0:
        grid.mark_prediction(cell, correct=label == predicted, true=_class_name(attribution, label),
                             predicted=_class_name(attribution, predicted), confidence=confidence)
    else:
        grid.frame(cell, MUTED, 0.5)
        grid.text_below(cell, (f"pred: {_class_name(attribution, predicted)}", INK, "bold"),
                        (percent(confidence, 0), INK, "normal"))


def _draw_map(grid: ImageGrid, cell: int, attribution: Attribution, row: int) -> AxesImage:
    """Draw a map with the outline of the object, signs, and the name of its target."""
    values = attribution.maps[row]
    image = grid.draw(cell, values / map_end(values), cmap=SIGNED, vmin=-1, vmax=1)
    _outline(grid, cell, attribution.images[row].mean(axis=0))
    down, right = grid.layout.corner(cell)
    tall, wide = grid.layout.image
    for y, x, positive in sign_fields(values):
        grid.axes.text(right + x * wide, down + y * tall, "+" if positive else "−", fontsize=7, weight="bold",
                       color=INK, ha="center", va="center", path_effects=[withStroke(linewidth=1.5, foreground=PAPER)])
    grid.frame(cell, MUTED, 0.5)
    grid.text_below(cell, (f"for {target_name(attribution, row)}", INK, "normal"))
    return image


def map_end(values: np.ndarray) -> float:
    """Return the magnitude at the ends of a map's color scale; single outliers do not hide the others.

    >>> map_end(np.array([-2.0, 0.5])), map_end(np.zeros(2))
    (1.9925, 1.0)
    """
    return float(np.percentile(np.abs(values), 99.5)) or float(np.abs(values).max()) or 1.0


def target_name(attribution: Attribution, row: int) -> str:
    """Return the class or the unit that a map explains."""
    unit = int(attribution.targets[row])
    return _class_name(attribution, unit) if attribution.target == "class" else f"{attribution.target}:{unit}"


def _outline(grid: ImageGrid, cell: int, gray: np.ndarray) -> None:
    """Draw a contour midway between the darkest and the brightest tenth of the pixels."""
    low, high = np.quantile(gray, (0.1, 0.9))
    level = float(low + high) / 2 if high > low else float(gray.min() + gray.max()) / 2
    if min(gray.shape) < 2 or gray.max() <= gray.min():
        return
    down, right = grid.layout.corner(cell)
    (tall, wide), (rows, columns) = grid.layout.image, gray.shape
    x, y = right + (np.arange(columns) + 0.5) * wide / columns, down + (np.arange(rows) + 0.5) * tall / rows
    grid.axes.contour(x, y, gray, levels=[level], colors=[INK], linewidths=0.5, alpha=0.45)


def sign_fields(values: np.ndarray) -> list[tuple[float, float, bool]]:
    """Return the fields of a map that are clearly positive or negative, on a grid of at most 8 x 8 fields.

    Returns:
        (y, x, positive) of the fields whose mean has at least 0.4 of the largest magnitude; y and x are fractions of
        height and width.

    Example:
        >>> sign_fields(np.pad([[-1.0, 0.5]], ((0, 1), (0, 0))))
        [(0.25, 0.25, False), (0.25, 0.75, True)]
    """
    rows, columns = (np.array_split(np.arange(size), min(_FIELDS, size)) for size in values.shape)
    means = np.array([[values[np.ix_(row, column)].mean() for column in columns] for row in rows])
    strong = np.abs(means) >= _CLEAR * (np.abs(means).max() or np.inf)
    height, width = values.shape
    return [(float(rows[i].mean() + 0.5) / height, float(columns[j].mean() + 0.5) / width, bool(means[i, j] > 0))
            for i, j in np.argwhere(strong)]


def _write_headings(grid: ImageGrid, attributions: Sequence[Attribution]) -> None:
    """Write the names of the columns above the first row."""
    headings = [("Image", "as the model sees it")]
    for one in attributions:
        detail = {"grad-cam": f"layer {one.layer}", "saliency": "gradient",
                  "occlusion": f"window {' x '.join(map(str, one.options.get('window', ())))} pixels",
                  "integrated-gradients": f"{one.options.get('steps')} steps"}[one.method]
        headings.append((METHOD_TITLES[one.method], detail))
    for cell, (heading, detail) in enumerate(headings):
        down, right = grid.layout.corner(cell)
        grid.axes.text(right, down - 0.19, heading, fontsize=8.5, weight="bold", va="bottom")
        grid.axes.text(right, down - 0.05, verbatim(shorten(detail, 24)), fontsize=7, color=MUTED, va="bottom")
