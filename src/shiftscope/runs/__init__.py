"""Run folders: layout, exclusive access, and the log of a run."""

from shiftscope.runs.folder import RunFolder, find_checkpoint
from shiftscope.runs.jobs import Job, jobs_of, slug
from shiftscope.runs.log import EpochLog, MetricsLog

__all__ = ["EpochLog", "Job", "MetricsLog", "RunFolder", "find_checkpoint", "jobs_of", "slug"]
