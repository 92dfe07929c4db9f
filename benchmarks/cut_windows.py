"""The plain script that the audit is measured against and checked with; it lives in the package, for `bench audit`."""

from shiftscope.workflows.bench.plain_script import cut_windows

__all__ = ["cut_windows"]
