"""One figure to files: PNG for screens, SVG for print, the same bytes every time."""

import io
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from PIL import Image

from shiftscope import files
from shiftscope.reporting.style import alt_text, context


def render_figure(figure: Figure, kind: str) -> bytes:
    """Return the figure as the bytes of a "png" or an "svg" file.

    They hold no date and no random names, so the same figure gives the same bytes; what it shows in words is kept
    inside as its description.
    """
    described: dict[str, Any] = {"Description": alt_text(figure)} if alt_text(figure) else {}
    undated: dict[str, Any] = {"Date": None, "Creator": None} if kind == "svg" else {"Software": None}
    buffer = io.BytesIO()
    with context():
        figure.savefig(buffer, format=kind, metadata=undated | described)
    return buffer.getvalue()


def few_colors(png: bytes) -> bytes:
    """Return a PNG file with 256 colors at most: a third of the size, and the eye hardly sees it on gray pictures.

    The description inside is lost.
    """
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(png)) as picture:
        flat = picture.convert("RGB").quantize(256, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    flat.save(buffer, format="png", optimize=True)
    return buffer.getvalue()


def save_figure(figure: Figure, folder: Path | str, name: str) -> list[Path]:
    """Write `name`.png and `name`.svg into `folder`, each whole or not at all.

    Returns:
        The two paths, PNG first.

    Raises:
        OutputError: the folder cannot be written or the disk is full.
    """
    paths = []
    for kind in ("png", "svg"):
        path = Path(folder) / f"{name}.{kind}"
        files.write_bytes(path, render_figure(figure, kind))
        paths.append(path)
    return paths
