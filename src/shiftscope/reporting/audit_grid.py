"""The placements of an audit as rows and columns of a picture, and the words that all figures of an audit share."""

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
from shiftscope.reporting.style import INK, MUTED, PAPER
from shiftscope.reporting.wording import image_credit, percent, series_title, shorten
from shiftscope.results import Audit

MAPS: Colormap = colormaps["cividis"].with_extremes(bad="#e3e6ea")
"""Of all maps: the same to color-blind eyes, and rising in gray."""

DOWN, RIGHT_OF = "offset dy (down)", "offset dx (right)"

_SPARSE = 0.5  # below this share of computed cells dots are drawn: a picture would be mostly holes
_TICKS = 5


def check_audits(audits: Sequence[Audit]) -> None:
    """Raise a `UsageError` where there is no audit to draw."""
    if not audits:
        raise UsageError("audits must hold at least one audit, got none: audit a model first")


def audit_title(audit: Audit) -> str:
    """Return the model's name in the figures of an audit."""
    return series_title(audit.model, audit.trained)


def audit_credit(audit: Audit) -> str:
    """Return the line that says where the images come from."""
    return image_credit(audit.dataset, synthetic=audit.synthetic)


def how_audited(audit: Audit) -> str:
    """Return which images were audited where: the words exact or sampled, the mode and the set of placements."""
    place = audit.geometry
    every = f"all {audit.placements:,} placements (exact)" if audit.placements > 1 else "the only placement"
    which = f"{audit.placements:,} of {place.count:,} placements (sampled)" if audit.sampled else every
    narrowed = [] if place.max_shift is None else [f"at most {place.max_shift} pixels from the middle"]
    narrowed += [f"every {place.step} pixels"] if place.step > 1 else []
    narrowed += ["a list of offsets"] if place.offset_list is not None else []
    begun = "The first " if audit.partial else ""
    broken = " The audit was interrupted." if audit.partial else ""
    return (f"{begun}{audit.images:,} {audit.split} images at {which}, mode {audit.mode}, "
            f"{', '.join([sizes_in_words(place), *narrowed])}.{broken}")


def sizes_in_words(geometry: Geometry) -> str:
    """Return the sizes of image and canvas; a line does not break inside of one.

    >>> sizes_in_words(Geometry(image=(28, 28), canvas=(56, 60))).replace("\N{NO-BREAK SPACE}", " ")
    '28 x 28 on 56 x 60'
    """
    between = "\N{NO-BREAK SPACE}x\N{NO-BREAK SPACE}"
    return " on ".join(between.join(map(str, size)) for size in (geometry.image, geometry.canvas))


def how_all_audited(audits: Sequence[Audit]) -> str:
    """Return how audits were made: once where they were made alike, else each under its model's name."""
    ways = [how_audited(audit) for audit in audits]
    if len(set(ways)) == 1:
        return ways[0]
    return " ".join(f"{audit_title(audit)}: {way}" for audit, way in zip(audits, ways, strict=True))


@dataclass(frozen=True)
class Grid:
    """Where each placement lies in a picture. In circular mode rows and columns are rolled: 0 is in the middle."""

    audit: Audit

    @cached_property
    def axes(self) -> tuple[np.ndarray, np.ndarray]:
        """dy of the rows and dx of the columns of the picture, rising; in circular mode the nearer way around."""
        return np.sort(self._signed(self.audit.rows, 0)), np.sort(self._signed(self.audit.columns, 1))

    def _signed(self, values: np.ndarray, axis: int) -> np.ndarray:
        return self.audit.geometry.signed(values, axis)

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.axes[0]), len(self.axes[1])

    @cached_property
    def places(self) -> tuple[np.ndarray, np.ndarray]:
        """(row, column) of each of the P placements."""
        offsets = self.audit.offsets
        rows, columns = (np.searchsorted(self.axes[axis], self._signed(offsets[:, axis], axis)) for axis in (0, 1))
        return rows, columns

    @property
    def middle(self) -> tuple[int, int] | None:
        """(row, column) of the centered image, None where it is not among the placements."""
        offset = [self._signed(np.array(value), axis) for axis, value in enumerate(self.audit.geometry.middle)]
        found = [np.flatnonzero(values == at) for values, at in zip(self.axes, offset, strict=True)]
        return (int(found[0][0]), int(found[1][0])) if all(len(part) for part in found) else None

    def lay(self, maps: np.ndarray) -> np.ndarray:
        """Return a map (R, Q) of the audit as the picture shows it."""
        rows, columns = (np.argsort(self._signed(values, axis))
                         for axis, values in enumerate((self.audit.rows, self.audit.columns)))
        return maps[np.ix_(rows, columns)]

    def spread(self, values: np.ndarray) -> np.ndarray:
        """Return one value a placement (P,) as a picture (R, Q), NaN where nothing was computed."""
        picture = np.full(self.shape, np.nan)
        picture[self.places] = values
        return picture


def common_scale(maps: Sequence[np.ndarray]) -> Normalize:
    """Return a scale for shares that holds all of them: from and to a multiple of 5 %, at least 10 % wide."""
    values = np.concatenate([part[np.isfinite(part)].ravel() for part in maps])
    if not len(values):
        return Normalize(0.0, 1.0)
    low = math.floor(round(20 * float(values.min()), 6)) / 20
    high = math.ceil(round(20 * float(values.max()), 6)) / 20
    low = min(low, 0.9)
    return Normalize(low, max(high, low + 0.1))


def readable_on(color: tuple[float, ...]) -> str:
    """Return the text color that is readable on an RGB color from 0 to 1 (relative luminance of WCAG 2).

    >>> readable_on((0, 0, 0)) == PAPER, readable_on((1, 1, 0.8)) == INK
    (True, True)
    """
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in color[:3]]
    bright = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return INK if bright > 0.19 else PAPER  # where both have the same contrast


def inches(figure: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    """Return new axes, measured in inches from the lower left corner of the page."""
    wide, tall = figure.get_size_inches()
    return figure.add_axes((left / wide, bottom / tall, width / wide, height / tall))


def picture_size(shape: tuple[int, int], longest: float) -> tuple[float, float]:
    """Return (height, width) in inches of a picture with square cells.

    A side never falls below a fifth of the longest one, so that a single row can still be seen.

    >>> picture_size((10, 20), 3.0)
    (1.5, 3.0)
    """
    rows, columns = shape
    most = max(shape)
    return longest * max(rows / most, 0.2), longest * max(columns / most, 0.2)


def is_sparse(picture: np.ndarray) -> bool:
    """Return whether most of a map was not computed."""
    return bool(np.isfinite(picture).mean() < _SPARSE)


def draw_map(axes: Axes, grid: Grid, picture: np.ndarray, scale: Normalize) -> None:
    """Draw a map (R, Q) as colored cells, or as dots where most of it was not computed; mark the middle."""
    rows, columns = grid.shape
    if is_sparse(picture):
        at = np.argwhere(np.isfinite(picture))
        axes.scatter(at[:, 1], at[:, 0], c=picture[tuple(at.T)], cmap=MAPS, norm=scale, marker="s", s=9, linewidths=0)
        axes.set_facecolor("#f4f5f7")
    else:
        axes.imshow(picture, cmap=MAPS, norm=scale, interpolation="none", aspect="auto")
    axes.set_xlim(-0.5, columns - 0.5)
    axes.set_ylim(rows - 0.5, -0.5)
    axes.grid(False)
    mark_middle(axes, grid)


def mark_middle(axes: Axes, grid: Grid) -> None:
    """Frame the placement of the centered image, black on white."""
    if grid.middle is None:
        return
    row, column = grid.middle
    for color, width in ((PAPER, 3.2), (INK, 1.4)):
        axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor=color, linewidth=width,
                                 zorder=4))


def offset_ticks(axes: Axes, grid: Grid, *, size: float = 8.0, labels: bool = True) -> None:
    """Write offsets at some rows and columns, the first, the middle and the last among them."""
    for axis, set_ticks in ((0, axes.set_yticks), (1, axes.set_xticks)):
        values = grid.axes[axis]
        at = ticks(len(values), grid.middle[axis] if grid.middle else None)
        set_ticks(at, [str(values[place]) for place in at], fontsize=size)
    axes.tick_params(length=2)
    if labels:
        axes.set_xlabel(RIGHT_OF)
        axes.set_ylabel(DOWN)


def ticks(count: int, middle: int | None) -> list[int]:
    """Return places for at most five ticks on an axis of `count` cells.

    >>> ticks(29, 14), ticks(3, 1), ticks(8, None)
    ([0, 7, 14, 21, 28], [0, 1, 2], [0, 2, 4, 5, 7])
    """
    if count <= _TICKS:
        return list(range(count))
    if middle is None or middle in (0, count - 1):
        return sorted({round(place) for place in np.linspace(0, count - 1, _TICKS)})
    return sorted({0, middle // 2, middle, (middle + count - 1) // 2, count - 1})


def extremes(audit: Audit) -> str:
    """Return where accuracy is lowest and highest, in words; the offsets are those of the picture."""
    grid = Grid(audit)
    picture, parts = grid.lay(audit.accuracy_map), []
    if not np.isfinite(picture).any():
        return ""
    for word, find in (("lowest", np.nanargmin), ("highest", np.nanargmax)):
        row, column = np.unravel_index(int(find(picture)), picture.shape)
        parts.append(f"{word} {percent(float(picture[row, column]))} at dy {int(grid.axes[0][row])}, "
                     f"dx {int(grid.axes[1][column])}")
    return "; ".join(parts)


def scale_bar(figure: Figure, left: float, bottom: float, height: float, scale: Normalize, label: str) -> None:
    """Draw the color scale of shares as a thin bar that counts in percent."""
    axes = inches(figure, left, bottom, 0.14, height)
    low, high = 100 * float(scale.vmin or 0.0), 100 * float(scale.vmax or 1.0)
    axes.imshow(np.linspace(1, 0, 256)[:, None], cmap=MAPS, aspect="auto", extent=(0, 1, low, high))
    axes.set_xticks([])
    axes.grid(False)
    axes.yaxis.tick_right()
    axes.yaxis.set_label_position("right")
    axes.set_ylabel(label, fontsize=8)
    axes.tick_params(labelsize=8, length=2, colors=MUTED)


def short_classes(audit: Audit, width: int = 18) -> list[str]:
    """Return the names of the classes, cut where they are long."""
    return [shorten(name, width) for name in audit.class_names]
