"""Run folders: their layout, who may write into them, and the log that grows while a run goes on."""

from shiftscope.runs.folder import RunFolder, find_checkpoint, slug
from shiftscope.runs.log import MetricsLog

__all__ = ["MetricsLog", "RunFolder", "find_checkpoint", "slug"]
