"""Saying no: at which operation of a model the proof ends, and why."""

from shiftscope.errors import ShiftscopeError


class NotInvariant(ShiftscopeError):
    """A model is not shown to answer alike at all placements; `layer` and `reason` say where and why.

    >>> str(NotInvariant("conv1", "it pads with zeros"))
    'conv1 is not shown to be indifferent to place: it pads with zeros'
    """

    def __init__(self, layer: str, reason: str):
        super().__init__(f"{layer} is not shown to be indifferent to place: {reason}")
        self.layer, self.reason = layer, reason
