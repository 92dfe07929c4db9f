"""`progress.json`: the task that a run is working on, for the live page."""

import contextlib
import time
from pathlib import Path

from shiftscope import files
from shiftscope.errors import OutputError
from shiftscope.migration import SCHEMA_VERSION
from shiftscope.progress import Pace, Progress, Task

PROGRESS = "progress.json"

PERIOD = 2.0
"""Least seconds between two writes."""


class RecordedProgress:
    """Passes everything on to another progress, and writes the current task into a run folder.

    A file that cannot be written is left out: the work goes on.

    Args:
        shown: the other progress.
        folder: the run folder.
    """

    def __init__(self, shown: Progress, folder: Path):
        self.shown, self.path = shown, folder / PROGRESS

    def task(self, title: str, total: int, unit: str = "images", done: int = 0) -> Task:
        """Begin a task, see `Progress`."""
        return _RecordedTask(self.shown.task(title, total, unit, done), self.path, title, total, unit, done)

    def note(self, message: str) -> None:
        """Show a sentence to the user."""
        self.shown.note(message)


class _RecordedTask:
    def __init__(self, shown: Task, path: Path, title: str, total: int, unit: str, done: int):
        self.shown, self.path, self.title, self.unit = shown, path, title, unit
        self.pace = Pace(total, done)
        self.next_write = self.pace.begun
        self._write(self.pace.begun, ended=False)

    def advance(self, count: int, **values: float) -> None:
        self.shown.advance(count, **values)
        self.pace.done += count
        now = time.monotonic()
        if now >= self.next_write:
            self._write(now, ended=False)

    def close(self) -> None:
        self.shown.close()
        self._write(time.monotonic(), ended=True)

    def _write(self, now: float, *, ended: bool) -> None:
        pace = self.pace
        with contextlib.suppress(OutputError):
            files.write_json(self.path, {
                "schema_version": SCHEMA_VERSION, "task": self.title, "unit": self.unit, "done": pace.done,
                "total": pace.total, "rate": pace.rate(now), "seconds_left": pace.left(now), "ended": ended})
        self.next_write = time.monotonic() + PERIOD
