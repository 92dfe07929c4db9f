"""What a model answers for placed images, and how often it is right."""

from shiftscope.evaluation.accuracy import evaluate
from shiftscope.evaluation.predictions import Predictions, predict

__all__ = ["Predictions", "evaluate", "predict"]
