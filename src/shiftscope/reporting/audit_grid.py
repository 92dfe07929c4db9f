"""The placements of an audit as rows and columns of a map, and texts that all figures of an audit share."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from shiftscope.errors import UsageError
from shiftscope.geometry import Geometry
from shiftscope.reporting.figure_style import INK, MUTED, PAPER, inches
from shiftscope.reporting.formatting import image_credit, percent, series_title
from shiftscope.results import Audit

MAPS: Colormap = colormaps["cividis"].with_extremes(bad="#e3e6ea")
"""Color map of all maps: color-blind safe and monotonic in lightness."""

ROWS_LABEL, COLUMNS_LABEL = "offset dy (down)", "offset dx (right)"

_SPARSE = 0.5  # below this fraction of computed cells a map is drawn as dots
_TICKS = 5


def check_audits(audits: Sequence[Audit]) -> None:
    """Raise a `UsageError` if there is no audit to draw."""
    if not audits:
        raise UsageError("audits must hold at least one audit, got none: audit a model first")


def audit_title(audit: Audit) -> str:
    """Return the display name of the audited model."""
    return series_title(audit.model, audit.trained)


def audit_credit(audit: Audit) -> str:
    """Return the line that names the source of the images."""
    return image_credit(audit.dataset, synthetic=audit.synthetic, preparation=audit.preparation)


def describe_audits(*audits: Audit) -> str:
    """Return images, placements (exact or sampled), mode and sizes; once if they are the same for all audits."""
    texts = [_describe(audit) for audit in audits]
    if len(set(texts)) == 1:
        return texts[0]
    return " ".join(f"{audit_title(audit)}: {text}" for audit, text in zip(audits, texts, strict=True))


def _describe(audit: Audit) -> str:
    geometry = audit.geometry
    exact = f"all {audit.placements:,} placements (exact)" if audit.placements > 1 else "the only placement"
    which = f"{audit.placements:,} of {geometry.count:,} placements (sampled)" if audit.sampled else exact
    limits = [] if geometry.max_shift is None else [f"at most {geometry.max_shift} pixels from the middle"]
    limits += [f"every {geometry.step} pixels"] if geometry.step > 1 else []
    listed = ["a list of offsets"] if geometry.offset_list is not None else []
    limits += [f"protocol {audit.protocol}"] if audit.protocol else listed
    first, interrupted = ("The first ", " The audit was interrupted.") if audit.partial else ("", "")
    return (f"{first}{audit.images:,} {audit.split} images at {which}, mode {geometry.mode_label}, "
            f"{', '.join([format_sizes(geometry), *limits])}.{interrupted}")


def format_sizes(geometry: Geometry) -> str:
    """Return the sizes of image and canvas, with no-break spaces inside each.

    >>> format_sizes(Geometry(image=(28, 28), canvas=(56, 60))).replace("\N{NO-BREAK SPACE}", " ")
    '28 x 28 on 56 x 60'
    """
    between = "\N{NO-BREAK SPACE}x\N{NO-BREAK SPACE}"
    return " on ".join(between.join(map(str, size)) for size in (geometry.image, geometry.canvas))


@dataclass(frozen=True)
class PlacementGrid:
    """The cell of each placement in a map. In circular mode rows and columns are rolled so that offset 0 is central."""

    audit: Audit

    @cached_property
    def axes(self) -> tuple[np.ndarray, np.ndarray]:
        """dy of the rows and dx of the columns, ascending; in circular mode signed."""
        return np.sort(self._signed(self.audit.rows, 0)), np.sort(self._signed(self.audit.columns, 1))

    def _signed(self, values: np.ndarray, axis: int) -> np.ndarray:
        return self.audit.geometry.signed(values, axis)

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.axes[0]), len(self.axes[1])

    @cached_property
    def cells(self) -> tuple[np.ndarray, np.ndarray]:
        """(rows, columns) of the P placements."""
        offsets = self.audit.offsets
        rows, columns = (np.searchsorted(self.axes[axis], self._signed(offsets[:, axis], axis)) for axis in (0, 1))
        return rows, columns

    @property
    def middle(self) -> tuple[int, int] | None:
        """(row, column) of the centered image; None if it was not audited."""
        offset = [self._signed(np.array(value), axis) for axis, value in enumerate(self.audit.geometry.middle)]
        matches = [np.flatnonzero(values == value) for values, value in zip(self.axes, offset, strict=True)]
        return (int(matches[0][0]), int(matches[1][0])) if all(len(part) for part in matches) else None

    def arrange(self, values: np.ndarray) -> np.ndarray:
        """Sort the rows and columns of an audit's map (R, Q) as they are drawn."""
        rows, columns = (np.argsort(self._signed(offsets, axis))
                         for axis, offsets in enumerate((self.audit.rows, self.audit.columns)))
        return values[np.ix_(rows, columns)]

    def scatter(self, values: np.ndarray) -> np.ndarray:
        """Return a map (R, Q) of one value per placement (P,), with NaN in cells that were not computed."""
        grid = np.full(self.shape, np.nan)
        grid[self.cells] = values
        return grid


def common_scale(maps: Sequence[np.ndarray]) -> Normalize:
    """Return a scale for fractions that covers all maps: multiples of 5 %, at least 10 % wide."""
    values = np.concatenate([part[np.isfinite(part)].ravel() for part in maps])
    if not len(values):
        return Normalize(0.0, 1.0)
    low = min(math.floor(round(20 * float(values.min()), 6)) / 20, 0.9)
    high = math.ceil(round(20 * float(values.max()), 6)) / 20
    return Normalize(low, max(high, low + 0.1))


def map_size(shape: tuple[int, int], longest: float) -> tuple[float, float]:
    """Return (height, width) in inches of a map with square cells; no side is below a fifth of the longest.

    >>> map_size((10, 20), 3.0)
    (1.5, 3.0)
    """
    return longest * max(shape[0] / max(shape), 0.2), longest * max(shape[1] / max(shape), 0.2)


def is_sparse(values: np.ndarray) -> bool:
    """Return True if most cells of a map were not computed."""
    return bool(np.isfinite(values).mean() < _SPARSE)


def draw_map(axes: Axes, grid: PlacementGrid, values: np.ndarray, scale: Normalize) -> None:
    """Draw a map (R, Q) as colored cells, or as dots if it is sparse, and frame the middle."""
    if is_sparse(values):
        at = np.argwhere(np.isfinite(values))
        axes.scatter(at[:, 1], at[:, 0], c=values[tuple(at.T)], cmap=MAPS, norm=scale, marker="s", s=9, linewidths=0)
        axes.set_facecolor("#f4f5f7")
    else:
        axes.imshow(values, cmap=MAPS, norm=scale, interpolation="none", aspect="auto")
    finish_map(axes, grid)


def finish_map(axes: Axes, grid: PlacementGrid) -> None:
    """Set the limits of a map and frame the cell of the centered image."""
    rows, columns = grid.shape
    axes.set_xlim(-0.5, columns - 0.5)
    axes.set_ylim(rows - 0.5, -0.5)
    axes.grid(False)
    if grid.middle is not None:
        row, column = grid.middle
        for color, width in ((PAPER, 3.2), (INK, 1.4)):
            axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor=color, linewidth=width,
                                     zorder=4))


def offset_ticks(axes: Axes, grid: PlacementGrid, *, size: float = 8.0, labels: bool = True) -> None:
    """Write offsets at some rows and columns, including the first, the middle and the last."""
    for axis, set_ticks in ((0, axes.set_yticks), (1, axes.set_xticks)):
        at = ticks(len(grid.axes[axis]), grid.middle[axis] if grid.middle else None)
        set_ticks(at, [str(grid.axes[axis][index]) for index in at], fontsize=size)
    axes.tick_params(length=2)
    if labels:
        axes.set_xlabel(COLUMNS_LABEL)
        axes.set_ylabel(ROWS_LABEL)


def ticks(count: int, middle: int | None) -> list[int]:
    """Return the indices of at most five ticks on an axis of `count` cells.

    >>> ticks(29, 14), ticks(3, 1), ticks(8, None)
    ([0, 7, 14, 21, 28], [0, 1, 2], [0, 2, 4, 5, 7])
    """
    if count <= _TICKS:
        return list(range(count))
    if middle is None or middle in (0, count - 1):
        return sorted({round(index) for index in np.linspace(0, count - 1, _TICKS)})
    return sorted({0, middle // 2, middle, (middle + count - 1) // 2, count - 1})


def position_map(audit: Audit) -> np.ndarray:
    """Return the accuracy at each placement, (R, Q); without labels the agreement with the middle one."""
    return audit.accuracy_map if audit.labeled else audit.agreement_map


def extremes(audit: Audit, values: np.ndarray | None = None) -> str:
    """Return the lowest and the highest value of any placement, with their offsets, as text.

    Args:
        values: (R, Q) (default: `position_map`).
    """
    grid, parts = PlacementGrid(audit), []
    values = grid.arrange(position_map(audit) if values is None else values)
    if not np.isfinite(values).any():
        return ""
    for word, find in (("lowest", np.nanargmin), ("highest", np.nanargmax)):
        row, column = np.unravel_index(int(find(values)), values.shape)
        parts.append(f"{word} {percent(float(values[row, column]))} at dy {int(grid.axes[0][row])}, "
                     f"dx {int(grid.axes[1][column])}")
    return "; ".join(parts)


def scale_bar(figure: Figure, left: float, bottom: float, height: float, scale: Normalize,
              what: str = "accuracy") -> None:
    """Draw the color scale of fractions in percent; positions in inches."""
    axes = inches(figure, left, bottom, 0.14, height)
    low, high = 100 * float(scale.vmin or 0.0), 100 * float(scale.vmax or 1.0)
    axes.imshow(np.linspace(1, 0, 256)[:, None], cmap=MAPS, aspect="auto", extent=(0, 1, low, high))
    axes.set_xticks([])
    axes.grid(False)
    axes.yaxis.tick_right()
    axes.yaxis.set_label_position("right")
    axes.set_ylabel(f"{what} (%)", fontsize=8)
    axes.tick_params(labelsize=8, length=2, colors=MUTED)
