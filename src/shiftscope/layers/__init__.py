"""Building blocks of networks, one concept a file."""

from shiftscope.layers.blur_pool import BlurPool2d
from shiftscope.layers.circular_conv import CircularConv2d
from shiftscope.layers.learned_polyphase import LearnedPolyphase2d
from shiftscope.layers.normalize import Normalize
from shiftscope.layers.padding import BackgroundPad2d, CircularPad2d
from shiftscope.layers.phase_average import PhaseAverage
from shiftscope.layers.phase_to_origin import PhaseToOrigin
from shiftscope.layers.placement_average import PlacementAverage
from shiftscope.layers.polyphase import PolyphaseDownsample2d
from shiftscope.layers.pooling import GeM, GlobalMaxPool
from shiftscope.layers.recenter import Recenter
from shiftscope.layers.scattering import Scattering2d
from shiftscope.layers.standardize import Standardize

__all__ = ["BackgroundPad2d", "BlurPool2d", "CircularConv2d", "CircularPad2d", "GeM", "GlobalMaxPool",
           "LearnedPolyphase2d", "Normalize", "PhaseAverage", "PhaseToOrigin", "PlacementAverage",
           "PolyphaseDownsample2d", "Recenter", "Scattering2d", "Standardize"]
