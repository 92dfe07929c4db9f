"""What units of a model like to see: objective, parametrization, transforms and ascent, each on its own."""

from shiftscope.visualization.attribution import attribute
from shiftscope.visualization.language import objective
from shiftscope.visualization.neighbors import coarser, find_neighbors
from shiftscope.visualization.objectives import Objective, direction, diversity, match
from shiftscope.visualization.parameters import class_weights, parameter_rows
from shiftscope.visualization.quality import measure_quality
from shiftscope.visualization.receptive import receptive_fields
from shiftscope.visualization.recordings import activations, capture
from shiftscope.visualization.synthesize import default_objectives, visualize
from shiftscope.visualization.units import unit_table

__all__ = ["Objective", "activations", "attribute", "capture", "class_weights", "coarser", "default_objectives",
           "direction", "diversity", "find_neighbors", "match", "measure_quality", "objective", "parameter_rows",
           "receptive_fields", "unit_table", "visualize"]
