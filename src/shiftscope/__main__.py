"""`python -m shiftscope` is the same as the command `shiftscope`."""

import sys

from shiftscope.cli import main

if __name__ == "__main__":
    sys.exit(main())
