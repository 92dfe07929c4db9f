"""What a model answers for placed images, and how often it is right."""

from shiftscope.evaluation.accuracy import evaluate
from shiftscope.evaluation.brute import BruteEngine
from shiftscope.evaluation.predictions import Predictions, predict

__all__ = ["BruteEngine", "Predictions", "evaluate", "predict"]
