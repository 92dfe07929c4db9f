"""Options that are not on the command line: environment variables, then the TOML file.

A folder of another author may contain a `shiftscope.toml`. Therefore the file can change how something is computed, but
it can neither name code nor choose what is written or replaced. Variables cannot name code either.
"""

import os
import re
import tomllib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from cyclopts import App, Argument, ArgumentCollection, CycloptsError, Token
from cyclopts.config import Dict, Env, Toml

from shiftscope.errors import UsageError, did_you_mean, nearest
from shiftscope.files import read_regular, reason
from shiftscope.resolve import is_object_name

PREFIX = "SHIFTSCOPE_"
DEBUG_VARIABLE = "SHIFTSCOPE_DEBUG"

CODE = ("--allow-code", "--judge-code")
"""Options whose value always names code."""

TRUST = ("--trust-model-file",)
"""Options that let a file run code."""

MAY_BE_CODE = ("CHECKPOINT", "MODEL", "NAME", "--against", "--data", "--models")
"""Options whose value names code if it has the form package.module:object."""

WRITING = ("--copy", "--csv", "--junit", "--onnx", "--out", "--overwrite", "--pack", "--resume")
"""Options that choose what is written, changed or replaced."""

RENAMED = {"--how": "--method"}
"""Old names of options, for the error message."""

MAX_BYTES = 2**20
"""Size limit of the TOML file."""


def variable(option: str) -> str:
    """Return the variable of an option.

    >>> variable("--data-dir")
    'SHIFTSCOPE_DATA_DIR'
    """
    return PREFIX + option.removeprefix("--").replace("-", "_").upper()


class Variables:
    """The variables `SHIFTSCOPE_*`; one without an option is an error.

    Args:
        options: returns the options of all commands; called only for a variable that is not of this command.
    """

    def __init__(self, options: Callable[[], Iterable[str]]):
        self.options = options
        self.env = Env(PREFIX, command=False, show=False)

    def __call__(self, app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
        """Set missing values in `arguments`; cyclopts calls this method."""
        here = {variable(name) for argument in arguments for name in argument.names} | {DEBUG_VARIABLE}
        unknown_names = sorted(name for name in os.environ if name.startswith(PREFIX) and name not in here)
        if unknown_names:
            known = {variable(option) for option in self.options()}
            for name in unknown_names:
                if name not in known:
                    new = {variable(old): variable(option) for old, option in RENAMED.items()}.get(name)
                    hint = did_you_mean(name, known | {DEBUG_VARIABLE}) or "unset it; "
                    hint = f"it is now called {new}; " if new else hint
                    raise UsageError(f"unknown variable {name!r}: {hint}`shiftscope {' '.join(commands)} --help` shows "
                                     "the options")
        self.env(app, commands, arguments)
        for argument, token in _tokens(arguments, self.env.source):
            if argument.name in TRUST:
                raise UsageError(f"the variable {token.keyword} would let a file run code: unset it; if you trust the "
                                 f"author of the model, use {argument.name} on the command line")
            if _names_code(argument, token):
                raise UsageError(f"the variable {token.keyword} names code, {_short(token.value)}, and code is only "
                                 f"imported by a name on the command line: {_on_the_command_line(argument)}")


SHARED = "shared"
"""Table of the settings file whose keys apply to all commands that have the option."""


class TomlFile:
    """A TOML file with one table per command, and [shared] for all of them.

    A key in the table of a command overrides [shared]. An unknown table or key, or one not allowed in a file, is an
    error.

    Args:
        path: the file, relative to the current folder; it may be missing.
        commands: the words of every command, such as `("data", "info")`.
        options: returns the options of all commands; called only for a key of [shared] that is not of this command.
    """

    def __init__(self, path: str, commands: Iterable[tuple[str, ...]], options: Callable[[], Iterable[str]]):
        self.toml = _ReadableToml(path)
        self.commands, self.options = list(commands), options

    def __call__(self, app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
        """Set missing values in `arguments`; cyclopts calls this method."""
        tables = dict(self.toml.config)
        shared = tables.pop(SHARED, {})
        self._check(tables, ())
        self.toml(app, commands, arguments)
        self._check_allowed(arguments, self.toml.source, ".".join(commands))
        table = Dict(_nested(commands, self._of_command(shared, arguments)),
                     source=f"[{SHARED}] of {self.toml.path}")
        table(app, commands, arguments)
        self._check_allowed(arguments, table.source, SHARED)

    def _of_command(self, shared: Any, arguments: ArgumentCollection) -> dict[str, Any]:
        """Return the keys of [shared] that are options of this command; a key that no command has is an error."""
        if not isinstance(shared, dict):
            raise UsageError(f"{SHARED} in {self.toml.path} must be a table [{SHARED}], got {shared!r}")
        own = {name for argument in arguments for name in argument.names}
        others = {_option(key) for key in shared} - own
        known = {name.removeprefix("--") for name in self.options()} if others else set()
        for key, value in shared.items():
            option = _option(key)
            if isinstance(value, dict):
                raise UsageError(f"{key} in [{SHARED}] of {self.toml.path} must be a value, got a table; the table of "
                                 "a command is named after it, as in [run]")
            if option not in own and option.removeprefix("--") not in known:
                hint = did_you_mean(option.removeprefix("--"), known)
                raise UsageError(f"{self.toml.path} has the unknown key {key!r} in [{SHARED}], no command has such an "
                                 f"option: {hint}`shiftscope COMMAND --help` shows them")
            if option.replace("--no-", "--") in WRITING:
                raise UsageError(self._writes(key, SHARED, option))
        return {key: value for key, value in shared.items() if _option(key) in own}

    def _check_allowed(self, arguments: ArgumentCollection, source: str, table: str) -> None:
        """Raise a `UsageError` for values from a table that name code or choose what is written."""
        for argument, token in _tokens(arguments, source):
            key = argument.name.removeprefix("--")
            if argument.name in TRUST:
                raise UsageError(f"{key} in [{table}] of {self.toml.path} would let a file run code: remove the key; "
                                 f"if you trust the author of the model, use {argument.name} on the command line")
            if _names_code(argument, token):
                raise UsageError(f"{key} in [{table}] of {self.toml.path} names code, {_short(token.value)}, and code "
                                 f"is only imported by a name on the command line: {_on_the_command_line(argument)}")
            if argument.name in WRITING:
                raise UsageError(self._writes(key, table, argument.name))

    def _writes(self, key: str, table: str, option: str) -> str:
        return (f"{key} in [{table}] of {self.toml.path} chooses what is written or replaced, and a settings file must "
                f"not: remove the key and use {option} on the command line")

    def _check(self, table: dict[str, Any], above: tuple[str, ...]) -> None:
        words = {command[len(above)] for command in self.commands if command[:len(above)] == above}
        for key, value in table.items():
            keys = (*above, key)
            if key not in words:
                name = ".".join(keys)
                known = words if above else words | {SHARED}
                raise UsageError(f"{self.toml.path} has the unknown table or key {name!r}: {nearest(key, known)}; "
                                 f"every key belongs in the table of its command, as in [run], or in [{SHARED}]")
            if not isinstance(value, dict):
                raise UsageError(f"{'.'.join(keys)} in {self.toml.path} must be a table [{'.'.join(keys)}], "
                                 f"got {value!r}")
            if keys not in self.commands:
                self._check(value, keys)


def _option(key: str) -> str:
    """Return the option of a key.

    >>> _option("data_dir")
    '--data-dir'
    """
    return "--" + key.replace("_", "-")


def _nested(commands: tuple[str, ...], values: dict[str, Any]) -> dict[str, Any]:
    """Return values below the words of a command.

    >>> _nested(("data", "info"), {"data-dir": "x"})
    {'data': {'info': {'data-dir': 'x'}}}
    """
    for word in reversed(commands):
        values = {word: values}
    return values


def _tokens(arguments: ArgumentCollection, source: str) -> list[tuple[Argument, Token]]:
    """Return the values from a source, with their options."""
    return [(argument, token) for argument in arguments for token in argument.tokens if token.source == source]


def _names_code(argument: Argument, token: Token) -> bool:
    parts = re.split(r"[,\s]+", token.value)
    return argument.name in CODE or (argument.name in MAY_BE_CODE and any(map(is_object_name, parts)))


def _on_the_command_line(argument: Argument) -> str:
    option = argument.name if argument.name.startswith("--") else f"the argument {argument.name}"
    return f"if you trust it, use {option} there"


def _short(value: str) -> str:
    return repr(value if len(value) <= 80 else f"{value[:80]}...")


class _ReadableToml(Toml):
    """A TOML source that reads regular files up to a size limit, and names the file in errors."""

    def _load_config(self, path: Path) -> dict[str, Any]:
        try:
            return tomllib.loads(read_regular(path, MAX_BYTES).decode())
        except (OSError, ValueError, RecursionError) as error:
            why = reason(error) if isinstance(error, OSError) else error
            raise CycloptsError(msg=f"cannot read {path}: {why}; correct the file or move it away") from error
