"""Figures by name on their way into a report, and into a folder where there is one."""

from pathlib import Path

from matplotlib.figure import Figure

from shiftscope.reporting import ReportFigure, alt_text, reduce_colors, render_figure, save_figure
from shiftscope.results import ParameterRow


class Shelf:
    """Keeps figures, tables of parameters and notes for the report.

    Args:
        folder: each figure is written into it as PNG and SVG as it comes; None: nowhere.
    """

    def __init__(self, folder: Path | None):
        self.folder = folder
        self.figures: dict[str, ReportFigure] = {}
        self.parameters: dict[str, list[ParameterRow]] = {}
        self.notes: list[str] = []

    def add(self, section: str, name: str, figure: Figure, caption: str) -> None:
        """Keep a figure, with fewer colors, so that the report can be sent by mail; write it into the folder."""
        png = render_figure(figure, "png") if self.folder is None else (
            save_figure(figure, self.folder, name)[0].read_bytes())
        self.put(section, name, png, alt_text(figure), caption)

    def put(self, section: str, name: str, png: bytes, alt: str, caption: str) -> None:
        """Keep a picture; a second one of a name is numbered."""
        again = sum(known == name or known.startswith(f"{name}-again") for known in self.figures)
        key = f"{name}-again-{again}" if again else name
        self.figures[key] = ReportFigure(section, reduce_colors(png), alt, caption)

    def file_only(self, name: str, figure: Figure) -> None:
        """Write a figure that the report has no room for."""
        if self.folder is not None:
            save_figure(figure, self.folder, name)
