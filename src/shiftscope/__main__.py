"""`python -m shiftscope` is the same as the command `shiftscope`."""

import contextlib
import os
import sys

with contextlib.suppress(OSError):  # the current folder was deleted
    if not sys.flags.safe_path and sys.path[0] == os.getcwd():
        del sys.path[0]  # `-m` puts it first: a torch.py in it would be imported instead of PyTorch

from shiftscope.cli import main

if __name__ == "__main__":
    sys.exit(main())
