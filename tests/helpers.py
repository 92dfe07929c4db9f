"""Helpers that several test folders share."""

from torch import nn


class Lambda(nn.Module):
    """A function with its own layers, called as function(module, pixels).

    Layers and parameters are attributes and items of the module; with `width`, a linear layer follows the function.
    """

    def __init__(self, function, width=None, **layers):
        super().__init__()
        self.function = function
        for name, layer in layers.items():
            setattr(self, name, layer)
        self.end = None if width is None else nn.Linear(width, 3)

    def __getitem__(self, name):
        return getattr(self, name)

    def forward(self, pixels):
        output = self.function(self, pixels)
        return output if self.end is None else self.end(output)
