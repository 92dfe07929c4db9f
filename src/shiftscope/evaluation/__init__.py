"""Predictions and accuracy of a model on images at given placements."""

from shiftscope.evaluation.accuracy import evaluate
from shiftscope.evaluation.brute import BruteForceEngine
from shiftscope.evaluation.predictions import Predictions, predict

__all__ = ["BruteForceEngine", "Predictions", "evaluate", "predict"]
