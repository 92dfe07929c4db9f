"""Where options come from when the command line leaves them open: variables, then the TOML file."""

import os
import tomllib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from cyclopts import App, ArgumentCollection, CycloptsError
from cyclopts.config import Env, Toml

from shiftscope.errors import UsageError, nearest, unknown
from shiftscope.files import read_regular, reason

MOST_BYTES = 2**20
"""Size limit of a settings file."""

PREFIX = "SHIFTSCOPE_"
DEBUG_VARIABLE = "SHIFTSCOPE_DEBUG"


def variable(option: str) -> str:
    """Return the variable that feeds `option`.

    >>> variable("--data-dir")
    'SHIFTSCOPE_DATA_DIR'
    """
    return PREFIX + option.removeprefix("--").replace("-", "_").upper()


class Variables:
    """The variables `SHIFTSCOPE_*`; one that no command knows is an error.

    Args:
        options: returns the options of all commands; called only where a variable does not belong to the command.
    """

    def __init__(self, options: Callable[[], Iterable[str]]):
        self.options = options
        self.env = Env(PREFIX, command=False, show=False)

    def __call__(self, app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
        """Fill what is open in `arguments`; this is how cyclopts calls a source."""
        here = {variable(name) for argument in arguments for name in argument.names} | {DEBUG_VARIABLE}
        strange = sorted(name for name in os.environ if name.startswith(PREFIX) and name not in here)
        if strange:
            known = {variable(option) for option in self.options()}
            for name in strange:
                if name not in known:
                    raise unknown("variable", name, known | {DEBUG_VARIABLE})
        self.env(app, commands, arguments)


class TomlFile:
    """A TOML file with one table a command; an unknown table or key is an error.

    Args:
        path: the file, relative to the current folder; it need not exist.
        commands: the words of every command, as `("data", "info")`.
    """

    def __init__(self, path: str, commands: Iterable[tuple[str, ...]]):
        self.toml = _ReadableToml(path)
        self.commands = list(commands)

    def __call__(self, app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
        """Fill what is open in `arguments`; this is how cyclopts calls a source."""
        self._check(self.toml.config, ())
        self.toml(app, commands, arguments)

    def _check(self, table: dict[str, Any], above: tuple[str, ...]) -> None:
        words = {command[len(above)] for command in self.commands if command[:len(above)] == above}
        for key, value in table.items():
            place = (*above, key)
            if key not in words:
                name = ".".join(place)
                raise UsageError(f"{self.toml.path} has the unknown table or key {name!r}: {nearest(key, words)}; "
                                 "every key belongs into the table of its command, as in [run]")
            if not isinstance(value, dict):
                raise UsageError(f"{'.'.join(place)} in {self.toml.path} must be a table [{'.'.join(place)}], "
                                 f"got {value!r}")
            if place not in self.commands:
                self._check(value, place)


class _ReadableToml(Toml):
    """A TOML source that names the file when it cannot be read."""

    def _load_config(self, path: Path) -> dict[str, Any]:
        try:
            return tomllib.loads(read_regular(path, MOST_BYTES).decode())
        except (OSError, ValueError, RecursionError) as error:
            why = reason(error) if isinstance(error, OSError) else error
            raise CycloptsError(msg=f"cannot read {path}: {why}; mend the file or move it away") from error
