"""Standard output: tables for people, or exactly one JSON document."""

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

MIN_WIDTH = 40
"""Minimum width of a table in characters; in a narrower one the cells would be empty."""


@contextlib.contextmanager
def clean_stdout(active: bool) -> Iterator[None]:
    """Redirect standard output to standard error, so that code of others cannot mix with the JSON document."""
    with contextlib.redirect_stdout(sys.stderr) if active else contextlib.nullcontext():
        yield


def write_document(values: dict[str, Any]) -> None:
    """Print `values` as the one JSON document, in ASCII for terminals of any encoding."""
    sys.stdout.write(json.dumps(plain(values), indent=1, allow_nan=False) + "\n")


def write_result(values: dict[str, Any]) -> None:
    """Print `values` with the schema version as the one JSON document."""
    from shiftscope.results import SCHEMA_VERSION

    write_document({"schema_version": SCHEMA_VERSION} | values)


def write_line(text: str) -> None:
    """Print a line without wrapping or color, so that other programs can read it."""
    sys.stdout.write(printable(text) + "\n")


def write_path(path: Path | str) -> None:
    """Print the path of a result: unchanged for other programs, with escapes on a terminal, see `printable`."""
    sys.stdout.write((printable(str(path)) if sys.stdout.isatty() else str(path)) + "\n")


def console() -> "Console":
    """Return the console for tables; it respects NO_COLOR."""
    from rich.console import Console

    made = Console(highlight=False, emoji=False)
    made.width = max(made.width, MIN_WIDTH)
    return made


def write_table(columns: Iterable[str], rows: Iterable[Iterable[str]], *, title: str | None = None,
                numbers: Iterable[str] = ()) -> None:
    """Print a table; the columns in `numbers` are right-aligned."""
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


def percent(fraction: float | None) -> str:
    """Return a fraction as text in percent.

    >>> percent(0.7666), percent(None)
    ('76.7 %', '-')
    """
    return "-" if fraction is None else f"{100 * fraction:.1f} %"
