"""Accuracy by offset modulo a stride: aliasing shows there."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from shiftscope.reporting.audit_grid import MAPS, audit_credit, audit_title, how_audited, inches, readable_on
from shiftscope.reporting.style import MUTED, describe, foot, foot_height, head, head_height, styled
from shiftscope.reporting.wording import listing, points
from shiftscope.results import Audit

_CELL = 0.4
_NOTE = ("A cell holds the placements whose offset leaves these remainders; its number is the percentage of images "
         "classified right there. A model that takes steps of s pixels may do well at some remainders and badly at "
         "others. Remainders do not lie equally far from the middle, so differences of some tenths of a point need not "
         "be aliasing.")


@styled
def phase_tables(audit: Audit) -> Figure:
    """Draw accuracy by (dy mod s, dx mod s), a table for each stride s, on one scale."""
    tables = {int(stride): np.array(rows, dtype=float) for stride, rows in audit.by_phase.items()}
    tables = dict(sorted(tables.items()))
    values = np.concatenate([table[np.isfinite(table)] for table in tables.values()] or [np.zeros(1)])
    scale = Normalize(float(values.min(initial=1.0)), max(float(values.max(initial=0.0)), float(values.min()) + 0.01))
    width = max(0.2 + sum(_CELL * stride + 0.75 for stride in tables), 6.0)
    title = f"Does the {audit_title(audit)} depend on the remainder of the offset?"
    spreads = listing([f"{points(_spread(table))} for stride {stride}" for stride, table in tables.items()])
    subtitle = f"Between best and worst remainder: {spreads}. {how_audited(audit)}"
    footer = (_NOTE, audit_credit(audit))
    top, bottom = head_height(width, title, subtitle) + 0.25, foot_height(width, *footer) + 0.5
    tallest = _CELL * max(tables, default=2)
    figure = Figure(figsize=(width, top + tallest + bottom))
    head(figure, title, subtitle)
    foot(figure, *footer)
    left = 0.65
    for stride, table in tables.items():
        side = _CELL * stride
        _table(inches(figure, left, bottom + tallest - side, side, side), stride, table, scale)
        left += side + 0.75
    return describe(figure, f"{title} {subtitle} {audit_credit(audit)}")


def _spread(table: np.ndarray) -> float:
    found = table[np.isfinite(table)]
    return float(found.max() - found.min()) if len(found) else float("nan")


def _table(axes: Axes, stride: int, table: np.ndarray, scale: Normalize) -> None:
    axes.imshow(table, cmap=MAPS, norm=scale, interpolation="none", aspect="auto")
    axes.grid(False)
    axes.set_xticks(range(stride))
    axes.set_yticks(range(stride))
    axes.tick_params(length=0, labelsize=7.5)
    axes.set_xlabel(f"dx mod {stride} (right)", fontsize=8)
    axes.set_ylabel(f"dy mod {stride} (down)", fontsize=8, labelpad=2)
    axes.set_title(f"stride {stride}", fontsize=9)
    for (row, column), share in np.ndenumerate(table):
        ink = readable_on(MAPS(scale(share))) if np.isfinite(share) else MUTED
        text = f"{100 * share:.1f}" if np.isfinite(share) else "–"
        axes.text(column, row, text, ha="center", va="center", fontsize=7, color=ink)
