"""The command line: it parses, calls a workflow and shows what came out."""

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Args:
        arguments: what follows the word `shiftscope`; `sys.argv[1:]` unless given.

    Returns:
        0 done, 1 failed, 2 usage, 3 data or checkpoint, 4 threshold not met, 130 interrupted, 143 terminated.
    """
    from shiftscope.cli.app import build_app, call
    from shiftscope.cli.failures import explain

    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        call(build_app(), given)
        sys.stdout.flush()  # a reader that left early shows here, not at the interpreter's exit
    except (Exception, KeyboardInterrupt) as error:
        return explain(error)
    return 0
