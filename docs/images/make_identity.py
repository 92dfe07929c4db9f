"""Draw the picture of docs/identity.md: two windows through a strided net, and the field through its à-trous twin.

Run from the root of the repository: `python docs/images/make_identity.py`.
"""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from shiftscope.reporting.figure_style import INK, MUTED, PAPER, describe, foot, head, render_figure, styled

FIELD, WINDOW, KERNEL, POOL = 12, 9, 2, 2
"""Pixels of the field and of a window; taps of each convolution; the pool, whose stride is its size."""

SHOWN = (0, 1)
"""Windows that are drawn: an even and an odd one meet different phases of the pool."""

COLORS = ("#00204d", "#bcad6c")
"""Ends of cividis; a window has also a hatch of its own."""

HATCHES = ("", "////")
ROWS = {"pixels": 0.0, "conv": 1.3, "pool": 2.6, "conv 2": 3.9}
NOTE = ("One row stands for one axis of an image. Left: two windows, each cut out and run by itself; the pool takes "
        "every second place. Right: the whole field once; the pool takes every place, and the taps of what follows "
        "lie two apart. Cells with a thick frame hold the same numbers on both sides; white ones belong to windows 2 "
        "and 3.")


def lengths(size: int) -> dict[str, int]:
    """Cells of each row where `size` pixels are run as the model runs them."""
    conv = size - KERNEL + 1
    pooled = conv // POOL
    return {"pixels": size, "conv": conv, "pool": pooled, "conv 2": pooled - KERNEL + 1}


def twin_lengths(size: int) -> dict[str, int]:
    """The same for the à-trous twin: no stride, taps of the second convolution POOL apart."""
    conv = size - KERNEL + 1
    pooled = conv - POOL + 1
    return {"pixels": size, "conv": conv, "pool": pooled, "conv 2": pooled - POOL * (KERNEL - 1)}


def cell(axes: Axes, x: float, y: float, window: int | None, *, thick: bool = False) -> None:
    """Draw a cell, filled for a window."""
    color = PAPER if window is None else COLORS[window]
    axes.bar(x, 0.62, width=0.86, bottom=y - 0.31, color=color, edgecolor=INK if thick else MUTED,
             linewidth=1.8 if thick else 0.6, hatch=None if window is None else HATCHES[window], zorder=3)


def links(axes: Axes, above: list[float], below: float, y: float) -> None:
    """Draw lines from the cells that are read to the one that is computed."""
    for x in above:
        axes.plot([x, below], [y + 0.31, y + 1.3 - 0.31], color=MUTED, linewidth=0.8, zorder=1)


def strided(axes: Axes, left: float, window: int) -> None:
    """One window by itself: every second place of the pool remains."""
    rows = lengths(WINDOW)
    at = {"pixels": [left + place for place in range(rows["pixels"])],
          "conv": [left + 0.5 + place for place in range(rows["conv"])]}
    at["pool"] = [at["conv"][POOL * place] + 0.5 for place in range(rows["pool"])]
    at["conv 2"] = [(at["pool"][place] + at["pool"][place + 1]) / 2 for place in range(rows["conv 2"])]
    for name, places in at.items():
        for x in places:
            cell(axes, x, ROWS[name], window, thick=name == "conv 2")
    for place, x in enumerate(at["conv"]):
        links(axes, at["pixels"][place:place + KERNEL], x, ROWS["pixels"])
    for place, x in enumerate(at["pool"]):
        links(axes, at["conv"][POOL * place:POOL * place + POOL], x, ROWS["conv"])
    for place, x in enumerate(at["conv 2"]):
        links(axes, at["pool"][place:place + KERNEL], x, ROWS["pool"])


def whole(axes: Axes, left: float) -> None:
    """The field once: every place of the pool, taps that lie apart."""
    rows = twin_lengths(FIELD)
    at = {name: [left + shift + place for place in range(rows[name])]
          for name, shift in (("pixels", 0.0), ("conv", 0.5), ("pool", 1.0), ("conv 2", 2.0))}
    for name, places in at.items():
        for place, x in enumerate(places):
            phase = place % POOL if name in ("pool", "conv 2") else None
            inside = name == "pool" or (name == "conv 2" and place < POOL * lengths(WINDOW)["conv 2"])
            cell(axes, x, ROWS[name], phase if inside else None, thick=name == "conv 2" and inside)
    for place, x in enumerate(at["conv"]):
        links(axes, at["pixels"][place:place + KERNEL], x, ROWS["pixels"])
    for place, x in enumerate(at["pool"]):
        links(axes, at["conv"][place:place + POOL], x, ROWS["conv"])
    for place, x in enumerate(at["conv 2"]):
        links(axes, at["pool"][place:place + POOL * KERNEL:POOL], x, ROWS["pool"])


@styled
def picture() -> Figure:
    """Return the picture."""
    figure = Figure(figsize=(12.2, 5.0))
    head(figure, "Many windows, or one field: the same numbers",
         f"Convolution of {KERNEL} taps, pool of {POOL} with stride {POOL}, convolution of {KERNEL} taps; windows of "
         f"{WINDOW} pixels on a field of {FIELD}.")
    foot(figure, NOTE)
    axes = figure.add_axes((0.0, 0.13, 1.0, 0.71))
    axes.set_xlim(-4.4, 37.6)
    axes.set_ylim(5.0, -1.2)
    axes.set_axis_off()
    for window in SHOWN:
        strided(axes, 11.2 * window, window)
        axes.text(11.2 * window, -0.75, f"window {window} by itself", weight="bold", fontsize=10)
    whole(axes, 24.6)
    axes.text(24.6, -0.75, "the field, once (à trous)", weight="bold", fontsize=10)
    words = {"pixels": "pixels", "conv": "convolution", "pool": "pool", "conv 2": "convolution"}
    for name, y in ROWS.items():
        axes.text(-0.9, y, words[name], ha="right", va="center", fontsize=9)
    axes.text(4, 4.75, "the pool steps by 2", ha="center", fontsize=8.5)
    axes.text(11.2 + 4, 4.75, "the pool steps by 2", ha="center", fontsize=8.5)
    axes.text(24.6 + 5.5, 4.75, "the pool steps by 1: dark and hatched cells take turns", ha="center", fontsize=8.5)
    return describe(figure, "Left, two windows of nine pixels, each run through a convolution, a pool with stride 2 "
                            "and a second convolution. Right, the field of twelve pixels run once with stride 1 and "
                            "taps two apart: its last row holds the answers of both windows in turn.")


if __name__ == "__main__":
    (Path(__file__).parent / "identity.png").write_bytes(render_figure(picture(), "png"))
