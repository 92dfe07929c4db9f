"""Command lines of the scripts in this folder, with the error messages and exit codes of the `shiftscope` command."""

import sys
from collections.abc import Callable, Sequence

from cyclopts import App, Parameter

from shiftscope.cli.failures import explain
from shiftscope.cli.flags import show_default


def command_app(name: str, text: str) -> App:
    """Return an application without commands.

    Args:
        name: the script's name in its help.
        text: what the script does.
    """
    return App(name=name, help=text, help_format="plaintext", suppress_keyboard_interrupt=False, version_flags=(),
               default_parameter=Parameter(negative_iterable=(), show_default=show_default))


def run_app(app: App, arguments: Sequence[str] | None, script: str) -> int:
    """Run a command of an application and return its exit code.

    A function with the parameter `command` receives the whole command line, which it writes into its records.

    Args:
        arguments: what follows the script's name; `sys.argv[1:]` unless given.
        script: the script's path from the root of the repository.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        function, bound, ignored = app.parse_args(given, print_error=False, exit_on_error=False)
        record: dict[str, list[str]] = {"command": ["python", script, *given]} if "command" in ignored else {}
        call: Callable[..., object] = function
        call(*bound.args, **bound.kwargs, **record)
        sys.stdout.flush()
    except (Exception, KeyboardInterrupt) as error:
        return explain(error)
    return 0
