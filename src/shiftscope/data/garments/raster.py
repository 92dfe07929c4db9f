"""Shapes on 28 x 28 pixels, anti-aliased, a whole batch at a time.

Coordinates are pixels: x to the right, y down, both from 0 to 28. A mask is the share of each pixel that a shape
covers, float32 (B, 28, 28), from 0 to 1. Scalars of a shape are arrays (B,), one number an image.
"""

import numpy as np

SIZE = 28
"""Height and width of every drawn image, pixels."""

SUBROWS = 4
"""Scan lines a pixel row: coverage is exact along x and has this many steps along y."""

Array = np.ndarray

_CENTERS = (np.arange(SIZE, dtype=np.float32) + 0.5)
X, Y = _CENTERS[None, None, :], _CENTERS[None, :, None]
"""Pixel centers, shapes (1, 1, 28) and (1, 28, 1)."""


def per_image(values: Array) -> Array:
    """Return (B,) as (B, 1, 1), ready to meet a mask."""
    return np.asarray(values, dtype=np.float32)[:, None, None]


def points(*corners: tuple[Array | float, Array | float]) -> Array:
    """Return corners, each a pair of (B,) arrays or numbers, as (B, V, 2)."""
    flat = np.broadcast_arrays(*(value for corner in corners for value in corner))
    return np.stack(flat, axis=1).astype(np.float32).reshape(len(flat[0]), -1, 2)


def rounded(outline: Array) -> Array:
    """Return a closed outline (B, V, 2) with its corners cut once (Chaikin 1974): (B, 2V, 2)."""
    following = np.roll(outline, -1, axis=1)
    near, far = 0.75 * outline + 0.25 * following, 0.25 * outline + 0.75 * following
    return np.stack((near, far), axis=2).reshape(len(outline), -1, 2)


def polygon(outline: Array) -> Array:
    """Return the mask of a closed outline (B, V, 2), convex or not, that does not cross itself.

    Each edge adds a signed step where it crosses a scan line; the running sum along x is then the coverage.
    """
    count, rows = len(outline), SIZE * SUBROWS
    x0, y0 = outline[..., 0], outline[..., 1]
    x1, y1 = np.roll(x0, -1, axis=1), np.roll(y0, -1, axis=1)
    lines = (np.arange(rows, dtype=np.float32) + 0.5) / SUBROWS
    above0, above1 = lines < y0[..., None], lines < y1[..., None]  # (B, V, rows)
    image, edge, row = np.nonzero(above0 != above1)
    along = (lines[row] - y0[image, edge]) / (y1 - y0)[image, edge]
    x = np.clip(x0[image, edge] + along * (x1 - x0)[image, edge], 0, SIZE)
    sign = np.where(above0[image, edge, row], 1.0, -1.0)
    column = x.astype(np.int64)
    part = x - column
    cell = (image * SIZE + row // SUBROWS) * (SIZE + 2) + column
    total = count * SIZE * (SIZE + 2)
    steps = np.bincount(cell, sign * (1 - part), total) + np.bincount(cell + 1, sign * part, total)
    inside = np.cumsum(steps.reshape(count, SIZE, SIZE + 2)[..., :SIZE], axis=2, dtype=np.float32)
    return np.minimum(np.abs(inside) / SUBROWS, 1)


def stroke(path: Array, width: Array) -> Array:
    """Return the mask of an open path (B, V, 2) drawn with a round pen of `width` pixels."""
    nearest = np.full((len(path), SIZE, SIZE), np.inf, dtype=np.float32)
    for k in range(path.shape[1] - 1):
        (ax, ay), (bx, by) = (path[:, i, :, None, None].swapaxes(0, 1) for i in (k, k + 1))
        dx, dy = bx - ax, by - ay
        along = ((X - ax) * dx + (Y - ay) * dy) / np.maximum(dx * dx + dy * dy, 1e-6)
        along = np.clip(along, 0, 1)
        np.minimum(nearest, (X - ax - along * dx) ** 2 + (Y - ay - along * dy) ** 2, out=nearest)
    half = per_image(width) / 2
    return np.clip(half + 0.5 - np.sqrt(nearest), 0, 1) * np.minimum(per_image(width), 1)


def ellipse(x: Array, y: Array, across: Array, down: Array) -> Array:
    """Return the mask of ellipses around (x, y) with half-axes `across` and `down`."""
    across, down = np.maximum(per_image(across), 0.1), np.maximum(per_image(down), 0.1)
    radius = np.sqrt(((X - per_image(x)) / across) ** 2 + ((Y - per_image(y)) / down) ** 2)
    return np.clip(0.5 - (radius - 1) * np.minimum(across, down), 0, 1)


def box(left: Array, right: Array, top: Array, bottom: Array) -> Array:
    """Return the mask of upright boxes: exact coverage."""
    def cover(low: Array, high: Array, centers: Array) -> Array:
        low, high = per_image(low), per_image(high)
        return np.clip(np.minimum(centers + 0.5, high) - np.maximum(centers - 0.5, low), 0, 1)
    return cover(left, right, X) * cover(top, bottom, Y)
