"""Output of notebook cells during work: one line and one figure, updated in place.

Figures are drawn without pyplot and sent as PNG through IPython's display protocol, so they update the same way with
the inline, nbagg and ipympl backends. Under Agg, and outside a notebook, nothing is displayed and no window opens.
"""

import sys
import time
from collections.abc import Callable
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from shiftscope.progress import Pace, Progress, SilentProgress, Task, default_progress, describe, duration
from shiftscope.reporting import alt_text, render_figure

_WITHOUT_SCREEN = ("agg", "cairo", "pdf", "pgf", "ps", "svg", "template")
_EVERY = 0.25  # seconds between two updates of the line


def in_kernel() -> bool:
    """Return True in a Jupyter kernel (not in IPython on a terminal)."""
    if "IPython" not in sys.modules:
        return False
    from IPython.core.getipython import get_ipython

    return getattr(get_ipython(), "kernel", None) is not None


def displays() -> bool:
    """Return True in a notebook whose matplotlib backend shows figures."""
    return in_kernel() and matplotlib.get_backend().lower() not in _WITHOUT_SCREEN


def notebook_progress() -> Progress:
    """Return a progress: a line in the cell, nothing under Agg, a bar or lines in a script."""
    if displays():
        return NotebookProgress()
    return SilentProgress() if in_kernel() else default_progress()


class Slot:
    """A part of the current cell's output whose content can be replaced."""

    def __init__(self) -> None:
        self._handle: Any = None

    def show(self, content: dict[str, Any]) -> None:
        """Show `content`, by MIME type, instead of the previous content."""
        from IPython.display import display

        if self._handle is None:
            self._handle = display(content, raw=True, display_id=True)
        else:
            self._handle.update(content, raw=True)

    def draw(self, make: Callable[[], Figure]) -> None:
        """Show the figure that `make` returns, with its alt text; `make` is not called if nothing is displayed."""
        if displays():
            figure = make()
            self.show({"image/png": render_figure(figure, "png"), "text/plain": alt_text(figure)})


class _NotebookTask:
    """One line: title, percentage, values, time used and left."""

    def __init__(self, title: str, total: int, done: int):
        self.title, self.pace, self.slot = title, Pace(total, done), Slot()
        self.values: dict[str, float] = {}
        self._show(self.pace.begun)

    def advance(self, count: int, **values: float) -> None:
        self.pace.done += count
        self.values.update(values)
        now = time.monotonic()
        if now - self.shown >= _EVERY:
            self._show(now)

    def close(self) -> None:
        self._show(time.monotonic())

    def _show(self, now: float) -> None:
        pace, left = self.pace, self.pace.left(now)
        times = f"{duration(now - pace.begun)} used" + (f", about {duration(left)} left" if left else "")
        percent = 100 * pace.done / max(pace.total, 1)
        self.slot.show({"text/plain": f"{self.title}: {percent:.0f} %  {describe(self.values)}  {times}"})
        self.shown = now


class NotebookProgress:
    """A line in the output of the cell."""

    def task(self, title: str, total: int, unit: str = "images", done: int = 0) -> Task:
        return _NotebookTask(title, total, done)

    def note(self, message: str) -> None:
        Slot().show({"text/plain": message})
