"""Draw the figure of docs/identity.md: two windows through a strided network, and the field through its dense version.

Run `python docs/images/make_identity.py` from the root of the repository.
"""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from shiftscope.reporting.figure_style import INK, MUTED, PAPER, describe, foot, head, render_figure, styled

FIELD, WINDOW, KERNEL, POOL = 12, 9, 2, 2
"""Pixels of the field and of a window; taps of each convolution; the pool, whose stride is its size."""

SHOWN = (0, 1)
"""Windows that are drawn: an even and an odd one use different phases of the pool."""

COLORS = ("#00204d", "#bcad6c")
"""Ends of the colormap cividis; each window also has its own hatch."""

HATCHES = ("", "////")
ROWS = {"pixels": 0.0, "conv": 1.3, "pool": 2.6, "conv 2": 3.9}
NOTE = ("Each row shows one axis of an image. Left: two windows, each processed separately; the pool keeps every "
        "second position. Right: the whole field, processed once; the pool keeps every position, and the taps of the "
        "next layer are two positions apart. Cells with a thick frame have the same values on both sides; white cells "
        "belong to windows 2 and 3.")


def lengths(size: int) -> dict[str, int]:
    """Number of cells per row when the model processes `size` pixels."""
    conv = size - KERNEL + 1
    pooled = conv // POOL
    return {"pixels": size, "conv": conv, "pool": pooled, "conv 2": pooled - KERNEL + 1}


def dense_lengths(size: int) -> dict[str, int]:
    """The same for the dense version: no stride, taps of the second convolution POOL apart."""
    conv = size - KERNEL + 1
    pooled = conv - POOL + 1
    return {"pixels": size, "conv": conv, "pool": pooled, "conv 2": pooled - POOL * (KERNEL - 1)}


def cell(axes: Axes, x: float, y: float, window: int | None, *, thick: bool = False) -> None:
    """Draw a cell, filled if it belongs to a window."""
    color = PAPER if window is None else COLORS[window]
    axes.bar(x, 0.62, width=0.86, bottom=y - 0.31, color=color, edgecolor=INK if thick else MUTED,
             linewidth=1.8 if thick else 0.6, hatch=None if window is None else HATCHES[window], zorder=3)


def links(axes: Axes, above: list[float], below: float, y: float) -> None:
    """Draw lines from the input cells to the output cell."""
    for x in above:
        axes.plot([x, below], [y + 0.31, y + 1.3 - 0.31], color=MUTED, linewidth=0.8, zorder=1)


def strided(axes: Axes, left: float, window: int) -> None:
    """Draw one window; the pool keeps every second position."""
    rows = lengths(WINDOW)
    at = {"pixels": [left + i for i in range(rows["pixels"])],
          "conv": [left + 0.5 + i for i in range(rows["conv"])]}
    at["pool"] = [at["conv"][POOL * i] + 0.5 for i in range(rows["pool"])]
    at["conv 2"] = [(at["pool"][i] + at["pool"][i + 1]) / 2 for i in range(rows["conv 2"])]
    for name, positions in at.items():
        for x in positions:
            cell(axes, x, ROWS[name], window, thick=name == "conv 2")
    for i, x in enumerate(at["conv"]):
        links(axes, at["pixels"][i:i + KERNEL], x, ROWS["pixels"])
    for i, x in enumerate(at["pool"]):
        links(axes, at["conv"][POOL * i:POOL * i + POOL], x, ROWS["conv"])
    for i, x in enumerate(at["conv 2"]):
        links(axes, at["pool"][i:i + KERNEL], x, ROWS["pool"])


def dense_field(axes: Axes, left: float) -> None:
    """Draw the field; the pool keeps every position, and later taps are spaced."""
    rows = dense_lengths(FIELD)
    at = {name: [left + shift + i for i in range(rows[name])]
          for name, shift in (("pixels", 0.0), ("conv", 0.5), ("pool", 1.0), ("conv 2", 2.0))}
    for name, positions in at.items():
        for i, x in enumerate(positions):
            phase = i % POOL if name in ("pool", "conv 2") else None
            inside = name == "pool" or (name == "conv 2" and i < POOL * lengths(WINDOW)["conv 2"])
            cell(axes, x, ROWS[name], phase if inside else None, thick=name == "conv 2" and inside)
    for i, x in enumerate(at["conv"]):
        links(axes, at["pixels"][i:i + KERNEL], x, ROWS["pixels"])
    for i, x in enumerate(at["pool"]):
        links(axes, at["conv"][i:i + POOL], x, ROWS["conv"])
    for i, x in enumerate(at["conv 2"]):
        links(axes, at["pool"][i:i + POOL * KERNEL:POOL], x, ROWS["pool"])


@styled
def identity_figure() -> Figure:
    """Return the figure."""
    figure = Figure(figsize=(12.2, 5.0))
    head(figure, "Separate windows or one field: the same values",
         f"Convolution of {KERNEL} taps, pool of {POOL} with stride {POOL}, convolution of {KERNEL} taps; windows of "
         f"{WINDOW} pixels on a field of {FIELD}.")
    foot(figure, NOTE)
    axes = figure.add_axes((0.0, 0.13, 1.0, 0.71))
    axes.set_xlim(-4.4, 37.6)
    axes.set_ylim(5.0, -1.2)
    axes.set_axis_off()
    for window in SHOWN:
        strided(axes, 11.2 * window, window)
        axes.text(11.2 * window, -0.75, f"window {window}, separately", weight="bold", fontsize=10)
    dense_field(axes, 24.6)
    axes.text(24.6, -0.75, "the field, once (à trous)", weight="bold", fontsize=10)
    labels = {"pixels": "pixels", "conv": "convolution", "pool": "pool", "conv 2": "convolution"}
    for name, y in ROWS.items():
        axes.text(-0.9, y, labels[name], ha="right", va="center", fontsize=9)
    axes.text(4, 4.75, "pool with stride 2", ha="center", fontsize=8.5)
    axes.text(11.2 + 4, 4.75, "pool with stride 2", ha="center", fontsize=8.5)
    axes.text(24.6 + 5.5, 4.75, "pool with stride 1: dark and hatched cells alternate", ha="center", fontsize=8.5)
    return describe(figure, "Left, two windows of nine pixels, each run through a convolution, a pool with stride 2 "
                            "and a second convolution. Right, the field of twelve pixels with stride 1 and taps two "
                            "apart: its last row contains the outputs of both windows, alternating.")


if __name__ == "__main__":
    (Path(__file__).parent / "identity.png").write_bytes(render_figure(identity_figure(), "png"))
