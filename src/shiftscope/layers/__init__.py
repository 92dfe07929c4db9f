"""Building blocks of networks, one concept a file."""

from shiftscope.layers.blur_pool import BlurPool2d
from shiftscope.layers.circular_conv import CircularConv2d
from shiftscope.layers.learned_polyphase import LearnedPolyphase2d
from shiftscope.layers.normalise import Normalise
from shiftscope.layers.padding import BackgroundPad2d, CircularPad2d
from shiftscope.layers.phase_average import PhaseAverage
from shiftscope.layers.phase_to_origin import PhaseToOrigin
from shiftscope.layers.placement_average import PlacementAverage
from shiftscope.layers.polyphase import PolyphaseDownsample2d
from shiftscope.layers.pooling import GeM, GlobalMaxPool
from shiftscope.layers.recentre import Recentre
from shiftscope.layers.scattering import Scattering2d
from shiftscope.layers.standardise import Standardise

__all__ = ["BackgroundPad2d", "BlurPool2d", "CircularConv2d", "CircularPad2d", "GeM", "GlobalMaxPool",
           "LearnedPolyphase2d", "Normalise", "PhaseAverage", "PhaseToOrigin", "PlacementAverage",
           "PolyphaseDownsample2d", "Recentre", "Scattering2d", "Standardise"]
