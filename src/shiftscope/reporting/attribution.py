"""Attributions: each picture beside the maps that say which of its pixels speak for an answer."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patheffects import withStroke

from shiftscope.errors import UsageError
from shiftscope.reporting.sheet import Layout, Sheet, side_axes, to_pictures
from shiftscope.reporting.style import INK, MUTED, PAPER, SIGNED, describe, styled, verbatim
from shiftscope.reporting.verdict import NO_ANSWER, mark_answer, write_lines
from shiftscope.reporting.wording import listing, model_title, percent, shorten
from shiftscope.results import Attribution

METHOD_TITLES = {"integrated-gradients": "Integrated gradients", "grad-cam": "Grad-CAM", "occlusion": "Occlusion",
                 "saliency": "Saliency"}

_FIELDS = 8  # a sign may stand in each of 8 x 8 fields of a map: few enough to be read
_CLEAR = 0.4  # of the strongest field: from there on a field gets its sign


@styled
def attribution_figure(attributions: Sequence[Attribution], *, credit: str = "", limit: int = 12) -> Figure:
    """Draw a row for each picture: the picture with its true and predicted class, then a map from each method.

    Color and sign both tell for from against. A thin line is the outline of the picture.

    Args:
        attributions: of the same pictures and model, one a method.
        credit: line at the foot, see `image_credit`.
        limit: pictures drawn at most, the first ones.

    Raises:
        UsageError: no attribution, or not all of the same pictures.
    """
    if not attributions or any(not np.array_equal(found.images, attributions[0].images) for found in attributions):
        raise UsageError("an attribution figure needs one attribution a method, all of the same pictures: make them "
                         "from one batch of images")
    first = attributions[0]
    shown = min(limit, len(first.images))
    columns = 1 + len(attributions)
    layout = Layout(count=shown * columns, columns=columns, size=first.images.shape[2:], side=1.35, below=0.42,
                    gap=0.14, right=0.95, least_width=6.4, top=0.36)
    title = f"Which pixels decide what the {model_title(first.model)} says"
    sheet = Sheet(layout, title=title, subtitle=_subtitle(first), footer=(*_how(attributions), credit))
    pictures = to_pictures(np.round(255 * first.images[:shown]).astype(np.uint8))
    for row, picture in enumerate(pictures):
        sheet.show(row * columns, picture)
        _answer(sheet, row * columns, first, row)
        synthetic = [_map(sheet, row * columns + 1 + step, found, row) for step, found in enumerate(attributions)]
        if row == 0:
            _heads(sheet, attributions)
            _scale(sheet, synthetic[0])
    return describe(sheet.figure, _told(title, attributions, shown, credit))


def _subtitle(found: Attribution) -> str:
    what = "for the class that is named under it" if found.target == "class" else f"for a unit of {found.target}"
    return (f"Orange and + : these pixels speak {what}. Blue and − : they speak against it. Scores are taken before "
            "the softmax.")


def _how(attributions: Sequence[Attribution]) -> list[str]:
    """Say in a line a method what its map is, and for all how to read them."""
    return [*(_explained(found) for found in attributions),
            "Each map has its own scale: colors compare places, not pictures. The thin line is the picture's outline.",
            *(f"{METHOD_TITLES[found.method]}: {note}." for found in attributions for note in found.notes)]


def _explained(found: Attribution) -> str:
    options, title = found.options, METHOD_TITLES[found.method]
    if found.method == "integrated-gradients":
        miss = _miss(found)
        return (f"{title}: what each pixel adds to the score on the way from {_ground(options)} to the picture "
                f"({options['steps']} steps; the sum of a map misses the score's rise by {miss} of it, median).")
    if found.method == "occlusion":
        tall, wide = options["window"]
        return (f"{title}: what the score loses when {tall} x {wide} pixels around a place are replaced by "
                f"{_ground(options)}.")
    if found.method == "grad-cam":
        after = ", after its ReLU" if options["after_relu"] else ""
        return (f"{title}: the map of layer {found.layer}{after}: its channels weighted by their mean gradient, and "
                "stretched to the picture.")
    return f"{title}: how the score would change if a pixel became brighter (the gradient)."


def _ground(options: dict) -> str:
    ground = options["baseline"]
    if ground == "picture":
        return "an empty canvas with its texture"
    return "an empty canvas" if ground == 0 else f"an empty canvas of gray {ground}"


def _miss(found: Attribution) -> str:
    """Return how far the maps' sums are from the rise of the score, as a share of it."""
    rise = np.abs(found.scores - found.scores_baseline)
    return percent(float(np.median(np.abs(found.residuals) / np.maximum(rise, np.finfo(np.float32).tiny))))


def _name(found: Attribution, unit: int) -> str:
    if unit < 0:
        return NO_ANSWER
    return found.class_names[unit] if unit < len(found.class_names) else f"class {unit}"


def _target(found: Attribution, row: int) -> str:
    unit = int(found.targets[row])
    return _name(found, unit) if found.target == "class" else f"{found.target}:{unit}"


def _answer(sheet: Sheet, cell: int, found: Attribution, row: int) -> None:
    """Write the true and the predicted class under a picture, the predicted one alone where the true is unknown."""
    label, predicted, sure = int(found.labels[row]), int(found.predictions[row]), float(found.confidence[row])
    if label >= 0:
        mark_answer(sheet, cell, right=label == predicted, true=_name(found, label), said=_name(found, predicted),
                    confidence=sure)
        return
    sheet.frame(cell, MUTED, 0.5)
    write_lines(sheet, cell, (f"said {_name(found, predicted)}", INK, "bold"), (percent(sure, 0), INK, "normal"))


def _map(sheet: Sheet, cell: int, found: Attribution, row: int) -> AxesImage:
    values = found.maps[row]
    end = float(np.percentile(np.abs(values), 99.5)) or float(np.abs(values).max()) or 1.0
    synthetic = sheet.show(cell, values / end, cmap=SIGNED, vmin=-1, vmax=1)
    _outline(sheet, cell, found.images[row].mean(axis=0))
    _signs(sheet, cell, values)
    sheet.frame(cell, MUTED, 0.5)
    write_lines(sheet, cell, (f"for {_target(found, row)}", INK, "normal"))
    return synthetic


def _outline(sheet: Sheet, cell: int, gray: np.ndarray) -> None:
    """Draw a thin line around what is brighter than the middle between the darkest and the brightest tenth."""
    low, high = np.quantile(gray, (0.1, 0.9))
    level = float(low + high) / 2 if high > low else float(gray.min() + gray.max()) / 2
    if min(gray.shape) < 2 or gray.max() <= gray.min():
        return
    down, right = sheet.layout.corner(cell)
    (tall, wide), (rows, columns) = sheet.layout.picture, gray.shape
    x, y = right + (np.arange(columns) + 0.5) * wide / columns, down + (np.arange(rows) + 0.5) * tall / rows
    sheet.axes.contour(x, y, gray, levels=[level], colors=[INK], linewidths=0.5, alpha=0.45)


def sign_fields(values: np.ndarray) -> list[tuple[float, float, bool]]:
    """Return where a map is clearly above or below zero.

    Args:
        values: float (H, W).

    Returns:
        (y, x, positive) of the fields, an eighth of the map each way, whose mean is at least 0.4 of the strongest
        one's; y and x are shares of the height and width.

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


def _signs(sheet: Sheet, cell: int, values: np.ndarray) -> None:
    down, right = sheet.layout.corner(cell)
    tall, wide = sheet.layout.picture
    for y, x, positive in sign_fields(values):
        sheet.axes.text(right + x * wide, down + y * tall, "+" if positive else "−", fontsize=7, weight="bold",
                        color=INK, ha="center", va="center", path_effects=[withStroke(linewidth=1.5, foreground=PAPER)])


def _heads(sheet: Sheet, attributions: Sequence[Attribution]) -> None:
    """Write the names of the columns above the first row."""
    heads = ["Picture", *(METHOD_TITLES[found.method] for found in attributions)]
    details = ["as the model saw it", *(_detail(found) for found in attributions)]
    for cell, (head, detail) in enumerate(zip(heads, details, strict=True)):
        down, right = sheet.layout.corner(cell)
        sheet.axes.text(right, down - 0.19, head, fontsize=8.5, weight="bold", va="bottom")
        sheet.axes.text(right, down - 0.05, verbatim(shorten(detail, 24)), fontsize=7, color=MUTED, va="bottom")


def _detail(found: Attribution) -> str:
    tall, wide = found.options.get("window", (0, 0))
    return {"grad-cam": f"layer {found.layer}", "occlusion": f"window {tall} x {wide} pixels",
            "integrated-gradients": f"{found.options.get('steps')} steps"}.get(found.method, "gradient")


def _scale(sheet: Sheet, synthetic: AxesImage) -> None:
    bar = sheet.figure.colorbar(synthetic, cax=side_axes(sheet), ticks=[-1, 0, 1], extend="both")
    bar.ax.set_yticklabels(["− against", "0", "+ for"])


def _told(title: str, attributions: Sequence[Attribution], shown: int, credit: str) -> str:
    first = attributions[0]
    methods = listing([METHOD_TITLES[found.method] for found in attributions])
    predictions = listing([_name(first, int(first.predictions[row])) for row in range(shown)])
    return f"{title}. {shown} pictures, taken for {predictions}, beside maps from {methods}. {credit}".strip()
