"""The 2 x 2 table of each model as a picture: what moving the object costs."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from shiftscope.errors import UsageError
from shiftscope.reporting.cells import PLACES, ControlCell, find_cell, models_of, moving_cost
from shiftscope.reporting.style import (
    INK,
    MUTED,
    PAPER,
    SHARES,
    WRONG,
    describe,
    foot,
    foot_height,
    head,
    head_height,
    ink_on,
    styled,
    verbatim,
)
from shiftscope.reporting.wording import change, is_number, model_title, percent, percent_spread

_TITLE = "What does moving cost?"
_SUBTITLE = "Test images classified right, by where the images lay in training and where they lie in the test."


@styled
def controls_table(cells: Sequence[ControlCell], *, credit: str = "") -> Figure:
    """Draw trained centered or moved against tested centered or moved, one panel a model.

    Args:
        cells: of one or several models; a missing one is shown as not measured.
        credit: line at the foot, see `image_credit`.

    Raises:
        UsageError: no cells.
    """
    if not cells:
        raise UsageError("cells must hold at least one control, got none: evaluate a model centered and moved first")
    models = models_of(cells)
    columns = min(2, len(models))
    rows = -(-len(models) // columns)
    width, panel = max(4.9 * columns, 6.2), 3.15
    footer = (_spread_note(cells), credit)
    top, bottom = head_height(width, _TITLE, _SUBTITLE), foot_height(width, *footer)
    height = top + rows * panel + bottom
    figure = Figure(figsize=(width, height))
    head(figure, _TITLE, _SUBTITLE)
    foot(figure, *footer)
    for index, model in enumerate(models):
        row, column = divmod(index, columns)
        left, low = (0.12 + 4.9 * column) / width, (height - top - (row + 1) * panel) / height
        _panel(figure.add_axes((left, low, 4.7 / width, panel / height)), cells, model)
    return describe(figure, " ".join([_TITLE, *(_in_words(cells, model) for model in models), credit]).strip())


def _spread_note(cells: Sequence[ControlCell]) -> str:
    seeds = max(cell.seeds for cell in cells)
    spread = f"± is the standard deviation over {seeds} seeds." if seeds > 1 else "One seed, so no spread is known."
    return f"{spread} Points are percentage points."


def _panel(axes: Axes, cells: Sequence[ControlCell], model: str) -> None:
    """One model; coordinates are inches from the top left of the panel."""
    axes.set_xlim(0, 4.7)
    axes.set_ylim(3.15, 0)
    axes.set_axis_off()
    axes.text(0, 0.22, verbatim(model_title(model)), fontsize=11, weight="bold", va="center")
    for column, tested in enumerate(PLACES):
        axes.text(1.65 + 1.3 * column, 0.5, f"tested {tested}", ha="center", va="center", fontsize=9)
    axes.text(4.14, 0.5, "moving in the\ntest costs", ha="center", va="center", fontsize=9)
    for row, trained in enumerate(PLACES):
        y = 0.7 + 0.95 * row
        axes.text(0.92, y + 0.45, f"trained\n{trained}", ha="right", va="center", fontsize=9)
        for column, tested in enumerate(PLACES):
            _cell(axes, 1.02 + 1.3 * column, y, find_cell(cells, model, trained, tested))
        _row_cost(axes, y + 0.45, cells, model, trained)
    axes.text(0, 2.82, _closing(cells, model), fontsize=9, weight="bold", va="center", color=INK)


def _cell(axes: Axes, x: float, y: float, cell: ControlCell | None) -> None:
    if cell is None or not is_number(cell.mean):
        axes.add_patch(Rectangle((x, y), 1.25, 0.9, facecolor=PAPER, edgecolor=MUTED, hatch="//", linewidth=0.6))
        axes.text(x + 0.625, y + 0.45, "not measured" if cell is None else "not a number", ha="center", va="center",
                  fontsize=8, color=MUTED, bbox={"facecolor": PAPER, "edgecolor": "none", "pad": 1})
        return
    axes.add_patch(Rectangle((x, y), 1.25, 0.9, facecolor=SHARES(cell.mean), edgecolor=MUTED, linewidth=0.6))
    ink = ink_on(cell.mean)
    spread = cell.spread if is_number(cell.spread) else None
    axes.text(x + 0.625, y + (0.45 if spread is None else 0.38), percent(cell.mean), ha="center", va="center",
              fontsize=17, weight="bold", color=ink)
    if spread is not None:
        axes.text(x + 0.625, y + 0.7, f"± {100 * spread:.1f}", ha="center", va="center", fontsize=9, color=ink)


def _row_cost(axes: Axes, y: float, cells: Sequence[ControlCell], model: str, trained: str) -> None:
    """Write what the move costs a model that was trained one way."""
    still, moved = (find_cell(cells, model, trained, tested) for tested in PLACES)
    cost = still.mean - moved.mean if still and moved else float("nan")
    if not is_number(cost):
        return
    axes.text(4.14, y, change(cost).replace(" ", "\n"), ha="center", va="center", fontsize=11, weight="bold",
              color=WRONG if cost > 0 else INK)


def _closing(cells: Sequence[ControlCell], model: str) -> str:
    cost = moving_cost(cells, model)
    if cost is None:
        return ""
    still, moved = (find_cell(cells, model, place, place) for place in PLACES)
    ends = f"({percent(still.mean)} → {percent(moved.mean)})" if still and moved else ""
    return f"Trained and tested on random placements, not centered: {change(cost)} {ends}"


def _in_words(cells: Sequence[ControlCell], model: str) -> str:
    parts = [f"trained {cell.trained}, tested {cell.tested} {percent_spread(cell.mean, cell.spread)}"
             for cell in cells if cell.model == model]
    return f"{model_title(model)}: {'; '.join(parts)}."
