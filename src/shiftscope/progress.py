"""Progress of long work: a bar on a terminal, a line in a notebook cell, lines elsewhere, or nothing.

Library code does not print. It reports to a `Progress`, which the caller chooses. Figures in a cell are sent as PNG
through IPython's display protocol, so they update the same way with the inline, nbagg and ipympl backends of
matplotlib. Under Agg a notebook shows nothing.
"""

import contextlib
import functools
import sys
import time
from importlib import import_module
from typing import IO, Any, Protocol

from shiftscope.errors import require
from shiftscope.text import printable

FIRST_LINE = 5.0
"""Seconds until the first line of a log, and least seconds between two lines."""

CELL_EVERY = 0.25
"""Least seconds between two updates of the line in a notebook cell."""

RATE_FROM, BAR_FROM = 100, 126
"""Least width in characters of a terminal that shows the rate, and the bar; a narrower one shows the values only."""

LIVE_CURVES = "shiftscope.reporting.live_curves"
"""Module that draws curves in a cell. It is in a higher layer, so it is imported by name when used."""

_WITHOUT_SCREEN = ("agg", "cairo", "pdf", "pgf", "ps", "svg", "template")
"""Backends of matplotlib that show nothing."""


class Task(Protocol):
    """Work of known length."""

    def advance(self, count: int, **values: float) -> None:
        """Add `count` completed units and show `values` (name -> number)."""
        ...

    def close(self) -> None:
        """End the task, finished or not."""
        ...


class Progress(Protocol):
    """Receives progress and notes."""

    def task(self, title: str, total: int, unit: str = "images", done: int = 0) -> Task:
        """Begin a task of `total` units; `done` of them were completed by an earlier run."""
        ...

    def note(self, message: str) -> None:
        """Show a sentence to the user."""
        ...


class _SilentTask:
    def advance(self, count: int, **values: float) -> None:
        pass

    def close(self) -> None:
        pass


class SilentProgress:
    """Shows nothing."""

    def task(self, title: str, total: int, unit: str = "images", done: int = 0) -> Task:
        return _SilentTask()

    def note(self, message: str) -> None:
        pass


def is_silent(progress: Progress) -> bool:
    """Return True if a progress, or the one that it passes everything on to (`shown`), shows nothing.

    >>> is_silent(SilentProgress()), is_silent(LineProgress())
    (True, False)
    """
    return isinstance(getattr(progress, "shown", progress), SilentProgress)


def duration(seconds: float) -> str:
    """Format seconds as [h:]mm:ss.

    >>> duration(75), duration(4000)
    ('1:15', '1:06:40')
    """
    minutes, secs = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{secs:02}" if hours else f"{minutes}:{secs:02}"


def about(seconds: float) -> str:
    """Format an estimated time in words, rounded to what an estimate can promise.

    >>> about(1), about(12.3), about(155), about(1500), about(8000)
    ('a few seconds', 'about 12 s', 'about 2 min 40 s', 'about 25 min', 'about 2 h 13 min')
    """
    if seconds < 5:
        return "a few seconds"
    if seconds < 60:
        return f"about {seconds:.0f} s"
    minutes, rest = divmod(10 * round(seconds / 10), 60)
    if minutes < 10:
        return f"about {minutes} min" + (f" {rest} s" if rest else "")
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"about {hours} h {minutes} min" if hours else f"about {minutes} min"


def describe(values: dict[str, float]) -> str:
    """Format values for a progress line.

    >>> describe({"loss": 0.51234, "accuracy": 0.8})
    'loss 0.512  accuracy 80.0 %'
    """
    parts = []
    for name, value in values.items():
        number = f"{value:.3f}" if isinstance(value, float) else str(value)
        text = f"{100 * value:.1f} %" if name.endswith("accuracy") else number
        parts.append(f"{name.replace('_', ' ')} {text}")
    return "  ".join(parts)


class Pace:
    """Mean rate of a task since its start, and the time left at that rate.

    Args:
        total: units of work.
        done: units that were completed by an earlier run.

    Example:
        >>> pace = Pace(100, done=40)
        >>> pace.done += 20
        >>> pace.rate(pace.begun + 10.0), pace.left(pace.begun + 10.0)
        (2.0, 20.0)
    """

    def __init__(self, total: int, done: int = 0):
        self.total, self.done, self.before = total, done, done
        self.begun = time.monotonic()

    def rate(self, now: float) -> float:
        """Return units per second until `now`, a value of `time.monotonic`."""
        return (self.done - self.before) / max(now - self.begun, 1e-9)

    def left(self, now: float) -> float:
        """Return the seconds left; 0 if nothing was done yet."""
        rate = self.rate(now)
        return (self.total - self.done) / rate if rate > 0 else 0.0


class _LineTask:
    """Writes lines at growing intervals, so that logs stay short."""

    def __init__(self, stream: IO[str], title: str, total: int, unit: str, done: int):
        self.stream, self.title, self.unit = stream, printable(title), unit
        self.pace = Pace(total, done)
        self.next_line = self.pace.begun + FIRST_LINE
        self.values: dict[str, float] = {}

    def _write(self, now: float) -> None:
        pace = self.pace
        percent = 100 * pace.done / max(pace.total, 1)
        tail = f"{duration(pace.left(now))} left" if pace.done < pace.total else f"took {duration(now - pace.begun)}"
        line = f"{self.title}: {percent:.0f} %  {describe(self.values)}  {pace.rate(now):,.0f} {self.unit}/s  {tail}"
        write_message(self.stream, line)

    def advance(self, count: int, **values: float) -> None:
        self.pace.done += count
        self.values.update(values)
        now = time.monotonic()
        if now >= self.next_line:
            self._write(now)
            self.next_line = now + max(FIRST_LINE, 0.25 * (now - self.pace.begun))

    def close(self) -> None:
        self._write(time.monotonic())


class LineProgress:
    """Plain lines on a stream that is not a terminal."""

    def __init__(self, stream: IO[str] | None = None):
        self.stream = stream if stream is not None else sys.stderr

    def task(self, title: str, total: int, unit: str = "images", done: int = 0) -> Task:
        return _LineTask(self.stream, title, total, unit, done)

    def note(self, message: str) -> None:
        write_message(self.stream, message)


def write_message(stream: IO[str], message: str) -> None:
    """Write a line; errors of a closed or full stream are ignored, so that the work continues."""
    with contextlib.suppress(OSError, ValueError):
        stream.write(printable(message) + "\n")
        stream.flush()


class _BarTask:
    def __init__(self, bar: Any, title: str, total: int, unit: str, done: int):
        self.bar, self.unit, self.pace = bar, unit, Pace(total, done)
        self.values: dict[str, float] = {}
        self.id = bar.add_task(printable(title), total=total, completed=done, values="", rate="")
        bar.start()

    def advance(self, count: int, **values: float) -> None:
        self.pace.done += count
        self.values.update(values)
        rate = f"{self.pace.rate(time.monotonic()):,.0f} {self.unit}/s"
        self.bar.update(self.id, advance=count, values=describe(self.values), rate=rate)

    def close(self) -> None:
        self.bar.stop()


class BarProgress:
    """A rich bar with values, rate and time left, on a terminal."""

    def __init__(self, stream: IO[str] | None = None):
        from rich.console import Console

        self.console = Console(file=stream if stream is not None else sys.stderr, highlight=False, emoji=False)

    def task(self, title: str, total: int, unit: str = "images", done: int = 0) -> Task:
        from rich import progress as rich_progress

        text = functools.partial(rich_progress.TextColumn, markup=False)
        columns = [text("{task.description}"), rich_progress.TaskProgressColumn(), text("{task.fields[values]}"),
                   rich_progress.TimeRemainingColumn(compact=True)]
        if self.console.width >= RATE_FROM:
            columns.insert(3, text("{task.fields[rate]}"))
        if self.console.width >= BAR_FROM:
            columns.insert(1, rich_progress.BarColumn(bar_width=24))
        bar = rich_progress.Progress(*columns, console=self.console, refresh_per_second=4)
        return _BarTask(bar, title, total, unit, done)

    def note(self, message: str) -> None:
        self.console.print(printable(message), markup=False)


def in_kernel() -> bool:
    """Return True in a Jupyter kernel (not in IPython on a terminal)."""
    if "IPython" not in sys.modules:
        return False
    from IPython.core.getipython import get_ipython

    return getattr(get_ipython(), "kernel", None) is not None


def execution_count() -> int:
    """Return the number of the cell that runs in IPython; -1 elsewhere."""
    if "IPython" not in sys.modules:
        return -1
    from IPython.core.getipython import get_ipython

    return getattr(get_ipython(), "execution_count", -1)


def displays() -> bool:
    """Return True in a notebook whose matplotlib backend shows figures."""
    if not in_kernel():
        return False
    import matplotlib

    return matplotlib.get_backend().lower() not in _WITHOUT_SCREEN


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


class _CellTask:
    """One line: title, percentage, values, rate, time used and left."""

    def __init__(self, title: str, total: int, unit: str, done: int):
        self.title, self.unit, self.pace, self.slot = printable(title), unit, Pace(total, done), Slot()
        self.values: dict[str, float] = {}
        self._show(self.pace.begun)

    def advance(self, count: int, **values: float) -> None:
        self.pace.done += count
        self.values.update(values)
        now = time.monotonic()
        if now - self.shown >= CELL_EVERY:
            self._show(now)

    def close(self) -> None:
        self._show(time.monotonic())

    def _show(self, now: float) -> None:
        pace, rate, left = self.pace, self.pace.rate(now), self.pace.left(now)
        times = f"{duration(now - pace.begun)} used" + (f", about {duration(left)} left" if left else "")
        parts = [describe(self.values), f"{rate:,.0f} {self.unit}/s" if rate else "", times]
        text = "  ".join(part for part in parts if part)
        self.slot.show({"text/plain": f"{self.title}: {100 * pace.done / max(pace.total, 1):.0f} %  {text}"})
        self.shown = now


class NotebookProgress:
    """A line in the output of a notebook cell. `shiftscope.train` also draws curves in it."""

    def task(self, title: str, total: int, unit: str = "images", done: int = 0) -> Task:
        return _CellTask(title, total, unit, done)

    def note(self, message: str) -> None:
        Slot().show({"text/plain": printable(message)})

    def curves(self, model: str, epochs: int) -> Any:
        """Return the `LiveCurves` of a training with validation images."""
        return import_module(LIVE_CURVES).LiveCurves(model, epochs, "validation")


def default_progress(stream: IO[str] | None = None, *, quiet: bool = False) -> Progress:
    """Return the progress for `stream`.

    Args:
        stream: a bar is written to it if it is a terminal, else lines. Default: the output of the cell in a notebook,
            else standard error.
        quiet: show nothing.

    Example:
        >>> type(default_progress(quiet=True)).__name__
        'SilentProgress'
    """
    target = stream if stream is not None else sys.stderr
    if quiet or target is None or target.closed:
        return SilentProgress()
    if stream is None and in_kernel():
        return NotebookProgress() if displays() else SilentProgress()
    return BarProgress(target) if target.isatty() else LineProgress(target)


def chosen_progress(progress: Progress | bool | None) -> Progress:
    """Return the progress for an argument `progress`: True is a bar on a terminal or a line in a notebook cell, and
    nothing elsewhere, so that logs stay short; False and None are nothing.

    >>> type(chosen_progress(False)).__name__
    'SilentProgress'
    """
    if progress is True:
        shown = default_progress()
        return SilentProgress() if isinstance(shown, LineProgress) else shown
    if progress is None or progress is False:
        return SilentProgress()
    require(hasattr(progress, "task") and hasattr(progress, "note"), "progress", progress,
            "True, False, or an object with the methods task and note")
    return progress
