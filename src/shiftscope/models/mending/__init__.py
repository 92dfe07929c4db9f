"""Mending: a user's model with the same weights, made indifferent to place or nearly so."""

from shiftscope.models.mending.mended import METHODS, Mended, Recipe, mend, mend_again
from shiftscope.models.mending.whole import WholeAverage

__all__ = ["METHODS", "Mended", "Recipe", "WholeAverage", "mend", "mend_again"]
