"""What units of a model like to see: objective, parametrisation, transforms and ascent, each on its own."""

from shiftscope.visualization.objectives import Objective, objective
from shiftscope.visualization.parameters import class_weights, parameter_rows
from shiftscope.visualization.synthesize import default_objectives, visualize

__all__ = ["Objective", "class_weights", "default_objectives", "objective", "parameter_rows", "visualize"]
