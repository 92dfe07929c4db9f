"""Building blocks of translation-invariant networks."""

from shiftscope.layers.averaging import PhaseAverage, PlacementAverage
from shiftscope.layers.normalize import Normalize, Standardize
from shiftscope.layers.padding import BackgroundPad2d, CircularConv2d, CircularPad2d
from shiftscope.layers.polyphase import LearnedPolyphase2d, PhaseToOrigin, PolyphaseDownsample2d
from shiftscope.layers.pooling import BlurPool2d, GeM, GlobalMaxPool
from shiftscope.layers.recenter import Recenter
from shiftscope.layers.scattering import Scattering2d

__all__ = ["BackgroundPad2d", "BlurPool2d", "CircularConv2d", "CircularPad2d", "GeM", "GlobalMaxPool",
           "LearnedPolyphase2d", "Normalize", "PhaseAverage", "PhaseToOrigin", "PlacementAverage",
           "PolyphaseDownsample2d", "Recenter", "Scattering2d", "Standardize"]
