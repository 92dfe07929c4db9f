"""The command line: it parses, calls a workflow and shows what came out."""

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Args:
        arguments: what follows the word `shiftscope`; `sys.argv[1:]` unless given.

    Returns:
        0 done, 1 failed, 2 usage, 3 data or checkpoint, 4 threshold not met, 5 another process of a group was lost,
        130 interrupted, 143 terminated.
    """
    from shiftscope.cli.app import build_app, call
    from shiftscope.cli.failures import explain
    from shiftscope.cli.processes import is_one_of_several, run_together

    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if is_one_of_several():
            return run_together(given, lambda: call(build_app(), given))
        code = call(build_app(), given)
        sys.stdout.flush()  # a reader that left early shows here, not at the interpreter's exit
    except (Exception, KeyboardInterrupt) as error:
        return explain(error)
    return code
