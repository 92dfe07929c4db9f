"""The small canvas on which models that are indifferent to place are trained: empty background teaches them nothing."""

from dataclasses import replace

from shiftscope.placement import Placement

_MARGIN = 4  # pixels that a small canvas is larger than the image, at least


def small_placement(placement: Placement) -> Placement:
    """Return the one placement in the middle of a canvas little larger than the image, with sides in multiples of 8.

    The given placement where its canvas is no larger, or where the image is not wholly on it.

    >>> small_placement(Placement(image=(28, 28), canvas=(56, 56))).canvas
    (32, 32)
    """
    canvas = tuple(-(-(size + _MARGIN) // 8) * 8 for size in placement.image)
    fits = all(small <= large for small, large in zip(canvas, placement.canvas, strict=True))
    if placement.mode == "crop" or not isinstance(placement.background, int) or not fits:
        return placement
    return replace(placement, mode="canvas", canvas=(canvas[0], canvas[1]), max_shift=0, step=1)
