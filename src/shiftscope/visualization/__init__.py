"""Activation maximization, attribution, receptive fields and activation statistics of models."""

from shiftscope.visualization.activation_statistics import unit_table
from shiftscope.visualization.attribution import attribute
from shiftscope.visualization.layer_outputs import activations, capture
from shiftscope.visualization.neighbors import coarser, find_neighbors
from shiftscope.visualization.objectives import Objective, direction, diversity, match, objective
from shiftscope.visualization.parameters import class_weights, parameter_rows
from shiftscope.visualization.quality import measure_quality
from shiftscope.visualization.receptive_field import receptive_fields
from shiftscope.visualization.synthesis import default_objectives, visualize

__all__ = ["Objective", "activations", "attribute", "capture", "class_weights", "coarser", "default_objectives",
           "direction", "diversity", "find_neighbors", "match", "measure_quality", "objective", "parameter_rows",
           "receptive_fields", "unit_table", "visualize"]
