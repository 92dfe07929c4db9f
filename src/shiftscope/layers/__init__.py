"""Building blocks of networks, one concept a file."""

from shiftscope.layers.normalise import Normalise
from shiftscope.layers.polyphase import PolyphaseDownsample2d
from shiftscope.layers.recentre import Recentre

__all__ = ["Normalise", "PolyphaseDownsample2d", "Recentre"]
