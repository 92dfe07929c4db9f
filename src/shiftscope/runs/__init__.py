"""Run folders: their layout, who may write into them, and the log that grows while a run goes on."""

from shiftscope.runs.folder import RunFolder, find_checkpoint
from shiftscope.runs.jobs import Job, jobs_of, slug
from shiftscope.runs.log import EpochLog, MetricsLog

__all__ = ["EpochLog", "Job", "MetricsLog", "RunFolder", "find_checkpoint", "jobs_of", "slug"]
