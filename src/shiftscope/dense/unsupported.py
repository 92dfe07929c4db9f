"""Errors for models that the dense engine or the proof of invariance does not support."""

from shiftscope.errors import ShiftscopeError


class NotDense(ShiftscopeError):
    """The dense engine does not support a model for these placements.

    >>> str(NotDense("conv2", "it pads with zeros"))
    'the dense engine does not support conv2: it pads with zeros'
    """

    def __init__(self, layer: str, reason: str):
        super().__init__(f"the dense engine does not support {layer}: {reason}")
        self.layer, self.reason = layer, reason


class NotInvariant(ShiftscopeError):
    """A model is not proven to be translation-invariant.

    >>> str(NotInvariant("conv1", "it pads with zeros"))
    'conv1 is not proven to be translation-invariant: it pads with zeros'
    """

    def __init__(self, layer: str, reason: str):
        super().__init__(f"{layer} is not proven to be translation-invariant: {reason}")
        self.layer, self.reason = layer, reason


class Unsupported(Exception):
    """Raised by the rule of an operation, which does not know its layer."""

