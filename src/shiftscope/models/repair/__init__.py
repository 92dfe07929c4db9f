"""Repair: a model with the same weights that is less sensitive to position, or translation-invariant."""

from shiftscope.layers.averaging import WholeAverage
from shiftscope.models.repair.repaired import METHODS, Recipe, Repaired, apply_recipe, repair

__all__ = ["METHODS", "Recipe", "Repaired", "WholeAverage", "apply_recipe", "repair"]
