"""Results as frozen records: JSON values and NumPy arrays, which can be read without torch."""

from shiftscope.migration import SCHEMA_VERSION
from shiftscope.results.attribution import Attribution
from shiftscope.results.audit import NONFINITE, Audit
from shiftscope.results.base import Record, load_record
from shiftscope.results.equivariance import Equivariance
from shiftscope.results.evaluation import Evaluation
from shiftscope.results.neighbors import Neighbors
from shiftscope.results.parameters import ParameterRow
from shiftscope.results.quality import Quality
from shiftscope.results.synthesis import Synthesis
from shiftscope.results.training import EpochRecord, TrainResult
from shiftscope.results.units import UnitRow, UnitTable
from shiftscope.results.worst_case import WorstCase

__all__ = ["NONFINITE", "SCHEMA_VERSION", "Attribution", "Audit", "EpochRecord", "Equivariance", "Evaluation",
           "Neighbors", "ParameterRow", "Quality", "Record", "Synthesis", "TrainResult", "UnitRow", "UnitTable",
           "WorstCase", "load_record"]
