"""Building blocks of networks, one concept a file."""

from shiftscope.layers.normalise import Normalise

__all__ = ["Normalise"]
