"""Repairing: a user's model with the same weights, made indifferent to place or nearly so."""

from shiftscope.models.repair.repaired import METHODS, Recipe, Repaired, repair, repair_again
from shiftscope.models.repair.whole import WholeAverage

__all__ = ["METHODS", "Recipe", "Repaired", "WholeAverage", "repair", "repair_again"]
