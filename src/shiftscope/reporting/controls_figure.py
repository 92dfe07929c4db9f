"""Figure of the 2 x 2 comparison of each model: accuracy by training and test placement."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from shiftscope.errors import UsageError
from shiftscope.reporting.controls import PLACEMENTS, ControlCell, find_cell, models_of, placement_cost
from shiftscope.reporting.figure_style import (
    FRACTIONS,
    INCORRECT,
    INK,
    MUTED,
    PAPER,
    describe,
    inches,
    page,
    readable_on,
    styled,
    verbatim,
)
from shiftscope.reporting.formatting import (
    UNDEFINED,
    accuracy_change,
    is_finite,
    model_title,
    percent,
    percent_spread,
)

_TITLE = "Accuracy by training and test placement"
_SUBTITLE = "Test accuracy of models trained and tested on centered images or on random placements."
_PANEL = 3.15


@styled
def controls_table(cells: Sequence[ControlCell], *, credit: str = "") -> Figure:
    """Draw a 2 x 2 table for each model: training placement by test placement; missing cells are marked.

    A training placement that was not measured is a line that names the flag instead of empty cells.
    """
    if not cells:
        raise UsageError("cells must hold at least one control, got none: evaluate a model first")
    models, seeds = models_of(cells), max(cell.seeds for cell in cells)
    columns = next(columns for columns in (2, 3, 1) if len(models) % columns == 0)
    spread = f"± is the standard deviation over {seeds} seeds." if seeds > 1 else "One seed."
    rows = -(-len(models) // columns)
    figure, bottom = page(max(4.9 * columns, 6.2), rows * _PANEL, _TITLE, _SUBTITLE,
                          (f"{spread} Points are percentage points.", credit))
    for index, model in enumerate(models):
        row, column = divmod(index, columns)
        _panel(inches(figure, 0.12 + 4.9 * column, bottom + (rows - row - 1) * _PANEL, 4.7, _PANEL), cells, model)
    return describe(figure, " ".join([f"{_TITLE}.", *(_summary(cells, model) for model in models), credit]).strip())


def _panel(axes: Axes, cells: Sequence[ControlCell], model: str) -> None:
    """Draw one model; coordinates are inches from the top left of the panel."""
    axes.set_xlim(0, 4.7)
    axes.set_ylim(_PANEL, 0)
    axes.set_axis_off()
    axes.text(0, 0.14, verbatim(model_title(model)), fontsize=11, weight="bold", va="center")
    for column, tested in enumerate(("centered", "on random\nplacements")):
        axes.text(1.65 + 1.3 * column, 0.48, f"tested {tested}", fontsize=9, ha="center", va="center")
    axes.text(4.14, 0.48, "change", fontsize=9, ha="center", va="center")
    for row, trained in enumerate(PLACEMENTS):
        _draw_row(axes, 0.7 + 0.95 * row, trained, *(find_cell(cells, model, trained, tested) for tested in PLACEMENTS))
    axes.text(0, 2.82, _diagonal(cells, model), fontsize=9, weight="bold", va="center", color=INK)


def _draw_row(axes: Axes, y: float, trained: str, centered: ControlCell | None, random: ControlCell | None) -> None:
    label = "trained\ncentered" if trained == "centered" else "trained on\nrandom\nplacements"
    axes.text(0.92, y + 0.45, label, ha="right", va="center", fontsize=9)
    if centered is None and random is None:
        text = "not measured: add --controls to\nshiftscope run" if trained == "centered" else "not measured"
        axes.text(1.02, y + 0.45, text, va="center", fontsize=9, color=MUTED)
        return
    for column, cell in enumerate((centered, random)):
        _draw_cell(axes, 1.02 + 1.3 * column, y, cell)
    drop = centered.mean - random.mean if centered and random else None
    known = drop is not None and is_finite(drop)
    axes.text(4.14, y + 0.45, (accuracy_change(drop) if known else UNDEFINED).replace(" ", "\n"),
              fontsize=11 if known else 8, weight="bold" if known else "normal", ha="center", va="center",
              color=MUTED if not known else INCORRECT if (drop or 0.0) > 0 else INK)


def _draw_cell(axes: Axes, x: float, y: float, cell: ControlCell | None) -> None:
    if cell is None or not is_finite(cell.mean):
        axes.add_patch(Rectangle((x, y), 1.25, 0.9, facecolor=PAPER, edgecolor=MUTED, hatch="//", linewidth=0.6))
        axes.text(x + 0.625, y + 0.45, "not measured" if cell is None else "not a number", ha="center", va="center",
                  fontsize=8, color=MUTED, bbox={"facecolor": PAPER, "edgecolor": "none", "pad": 1})
        return
    axes.add_patch(Rectangle((x, y), 1.25, 0.9, facecolor=FRACTIONS(cell.mean), edgecolor=MUTED, linewidth=0.6))
    ink = readable_on(FRACTIONS(cell.mean))
    spread = cell.spread if is_finite(cell.spread) else None
    axes.text(x + 0.625, y + (0.45 if spread is None else 0.38), percent(cell.mean), ha="center", va="center",
              fontsize=17, weight="bold", color=ink)
    if spread is not None:
        axes.text(x + 0.625, y + 0.7, f"± {100 * spread:.1f}", ha="center", va="center", fontsize=9, color=ink)


def _diagonal(cells: Sequence[ControlCell], model: str) -> str:
    """Compare centered training and testing with random placements in both."""
    cost = placement_cost(cells, model)
    centered, random = (find_cell(cells, model, placement, placement) for placement in PLACEMENTS)
    if cost is None or centered is None or random is None:
        return ""
    return ("Random instead of centered placements, training and test:\n"
            f"{accuracy_change(cost)} ({percent(centered.mean)} → {percent(random.mean)})")


def _summary(cells: Sequence[ControlCell], model: str) -> str:
    names = {"centered": "centered", "random": "on random placements"}
    parts = [f"trained {names[cell.trained]}, tested {names[cell.tested]} {percent_spread(cell.mean, cell.spread)}"
             for cell in cells if cell.model == model]
    return f"{model_title(model)}: {'; '.join(parts)}."
