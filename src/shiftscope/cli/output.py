"""What goes to standard output: tables for people, or exactly one JSON document."""

import contextlib
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shiftscope.files import plain
from shiftscope.text import printable

if TYPE_CHECKING:
    from rich.console import Console

LEAST_WIDTH = 40
"""Columns of a table, also where the terminal says that it has fewer: in less, the cells would be empty."""


@contextlib.contextmanager
def clean_stdout(active: bool) -> Iterator[None]:
    """Keep standard output free for the JSON document: what foreign code prints meanwhile goes to standard error."""
    with contextlib.redirect_stdout(sys.stderr) if active else contextlib.nullcontext():
        yield


def write_document(values: dict[str, Any]) -> None:
    """Print `values` as the one JSON document; ASCII, so that any terminal can carry it."""
    sys.stdout.write(json.dumps(plain(values), indent=1, allow_nan=False) + "\n")


def write_line(text: str) -> None:
    """Print a line that other programs may read: never wrapped or colored."""
    sys.stdout.write(printable(text) + "\n")


def write_path(path: Path | str) -> None:
    """Print where something was written: exactly for other programs, with escapes on a terminal, see `printable`."""
    sys.stdout.write((printable(str(path)) if sys.stdout.isatty() else str(path)) + "\n")


def console() -> "Console":
    """Return the console for tables; it honors NO_COLOR."""
    from rich.console import Console

    found = Console(highlight=False, emoji=False)
    found.width = max(found.width, LEAST_WIDTH)
    return found


def write_table(columns: Iterable[str], rows: Iterable[Iterable[str]], *, title: str | None = None,
                numbers: Iterable[str] = ()) -> None:
    """Print a table; the columns named in `numbers` are flushed right."""
    from rich import box
    from rich.table import Table

    right = set(numbers)
    table = Table(box=box.SIMPLE_HEAD)
    for column in columns:
        table.add_column(_escaped(column), justify="right" if column in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(_escaped(cell) for cell in row))
    if title:
        write_line(title)  # a table's own title is wrapped to the table's width
    console().print(table)


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(printable(text))


def percent(share: float | None) -> str:
    """Return a share as text.

    >>> percent(0.7666), percent(None)
    ('76.7 %', '-')
    """
    return "-" if share is None else f"{100 * share:.1f} %"
