"""The command line: parse the arguments, call a workflow, and print its result."""

import sys
from collections.abc import Sequence
from pathlib import Path


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Args:
        arguments: without the name of the program; None: `sys.argv[1:]`.

    Returns:
        0 done, 1 failed, 2 usage, 3 data or checkpoint, 4 threshold not met, 5 another process of a group died, 130
        interrupted, 143 terminated.
    """
    from shiftscope.cli.streams import usable_streams

    with usable_streams():
        return _run(list(sys.argv[1:] if arguments is None else arguments))


def _run(arguments: list[str]) -> int:
    from shiftscope.cli.app import build_app, call
    from shiftscope.cli.failures import explain
    from shiftscope.cli.processes import is_one_of_several, run_together

    try:
        _check_current_folder()
        if is_one_of_several():
            return run_together(arguments, lambda: call(build_app(), arguments))
        code = call(build_app(), arguments)
        sys.stdout.flush()  # a closed pipe raises its error here, not at the exit of the interpreter
    except (Exception, KeyboardInterrupt) as error:
        return explain(error)
    return code


def _check_current_folder() -> None:
    from shiftscope.errors import UsageError

    try:
        Path.cwd()
    except OSError as error:
        raise UsageError("the current folder was deleted or cannot be read: change to another one with cd, and "
                         "repeat the command") from error
