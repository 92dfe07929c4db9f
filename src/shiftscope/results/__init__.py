"""Frozen records of what was found out: plain JSON with arrays beside it, readable without torch."""

from shiftscope.results.audit import NOT_FINITE, Audit
from shiftscope.results.base import SCHEMA_VERSION, Record, load_record
from shiftscope.results.evaluation import Evaluation
from shiftscope.results.parameters import ParameterRow
from shiftscope.results.synthesis import Synthesis
from shiftscope.results.training import EpochRecord, TrainResult

__all__ = ["NOT_FINITE", "SCHEMA_VERSION", "Audit", "EpochRecord", "Evaluation", "ParameterRow", "Record", "Synthesis",
           "TrainResult", "load_record"]
