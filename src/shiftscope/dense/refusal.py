"""Saying no: why a model cannot go dense, and at which layer."""

from shiftscope.errors import ShiftscopeError


class NotDense(ShiftscopeError):
    """A model has no exact à-trous twin for these placements; `layer` and `reason` say where and why.

    >>> str(NotDense("conv2", "it pads with zeros"))
    'conv2 cannot go dense: it pads with zeros'
    """

    def __init__(self, layer: str, reason: str):
        super().__init__(f"{layer} cannot go dense: {reason}")
        self.layer, self.reason = layer, reason


class Refused(Exception):
    """A rule's word that an operation cannot go dense; the walk over the graph knows its layer."""


class NeedsTorus(Refused):
    """The operation would go dense, were the placements computed as rolls of one canvas."""

    layer = ""
