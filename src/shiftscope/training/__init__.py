"""Training: one loop, fast on CPUs, that can be stopped or killed at any time and resumes exactly."""

from shiftscope.training.fit import train
from shiftscope.training.stopping import StopFlag

__all__ = ["StopFlag", "train"]
