"""Accuracy at every placement, class by class."""

import math

import numpy as np
from matplotlib.figure import Figure

from shiftscope.reporting.audit_grid import (
    DOWN,
    RIGHT_OF,
    Grid,
    audit_credit,
    audit_title,
    common_scale,
    draw_map,
    how_audited,
    inches,
    offset_ticks,
    picture_size,
    scale_bar,
)
from shiftscope.reporting.style import describe, foot, foot_height, head, head_height, styled, verbatim
from shiftscope.reporting.wording import listing, percent, shorten
from shiftscope.results import Audit

_COLUMNS, _SIDE, _ACROSS, _DOWN = 5, 1.3, 0.34, 0.62
_MOST = 25  # classes; more no longer fit on a page
_NOTE = (f"Rows: {DOWN}; columns: {RIGHT_OF}. The framed cell is the centered image. Over each map: its mean, and in "
         "brackets its lowest and highest placement. All maps have one scale.")


@styled
def class_maps(audit: Audit, *, limit: int = _MOST) -> Figure:
    """Draw the accuracy map of each class, all on one scale; classes without images are left out.

    Args:
        audit: of one model.
        limit: classes at most, those with the lowest mean accuracy first where there are more.
    """
    grid = Grid(audit)
    shown = _chosen(audit, limit)
    columns, rows = min(_COLUMNS, max(len(shown), 1)), max(-(-len(shown) // _COLUMNS), 1)
    high, wide = picture_size(grid.shape, _SIDE)
    width = max(0.5 + columns * (wide + _ACROSS) + 0.75, 5.6)
    title = f"Where the {audit_title(audit)} recognizes each class"
    cut = f" Of {len(audit.class_names)} classes the {limit} hardest are shown." if len(shown) < _present(audit) else ""
    subtitle = how_audited(audit) + cut
    footer = (_NOTE, audit_credit(audit))
    top, bottom = head_height(width, title, subtitle), foot_height(width, *footer) + 0.1
    figure = Figure(figsize=(width, top + rows * (high + _DOWN) + bottom))
    head(figure, title, subtitle)
    foot(figure, *footer)
    scale = common_scale([audit.class_maps[cls] for cls in shown] or [np.zeros((1, 1))])
    for place, cls in enumerate(shown):
        row, column = divmod(place, columns)
        low = bottom + (rows - row - 1) * (high + _DOWN) + 0.2
        axes = inches(figure, 0.4 + column * (wide + _ACROSS), low, wide, high)
        draw_map(axes, grid, grid.lay(audit.class_maps[cls]), scale)
        offset_ticks(axes, grid, size=6.5, labels=False)
        axes.set_title(verbatim(shorten(audit.class_names[cls], 16)) + "\n" + _numbers(audit, cls), fontsize=7.5,
                       loc="left", pad=3)
    scale_bar(figure, 0.4 + columns * (wide + _ACROSS) - 0.12, bottom + 0.2, high, scale, "classified right (%)")
    told = listing([f"{audit.class_names[cls]} {_numbers(audit, cls)}" for cls in shown])
    return describe(figure, f"{title}. {subtitle} Mean (lowest and highest placement): {told}. {audit_credit(audit)}")


def _present(audit: Audit) -> int:
    return sum(share is not None and math.isfinite(share) for share in audit.per_class)


def _chosen(audit: Audit, limit: int) -> list[int]:
    """The classes that have images, in their order; the hardest ones where they are too many."""
    means = {cls: share for cls, share in enumerate(audit.per_class) if share is not None and math.isfinite(share)}
    return sorted(sorted(means, key=lambda cls: means[cls])[:limit])


def _numbers(audit: Audit, cls: int) -> str:
    found = audit.class_maps[cls]
    low, high = (100 * float(find(found)) for find in (np.nanmin, np.nanmax))
    return f"{percent(audit.per_class[cls], 0)} ({low:.0f}–{high:.0f})"
