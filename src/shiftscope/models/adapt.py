"""Models of others that want their input prepared: normalised, or changed by a function of the caller's."""

from collections.abc import Callable, Sequence

import torch
from torch import nn

from shiftscope.errors import require
from shiftscope.layers import Normalise

Normalization = tuple[float | Sequence[float], float | Sequence[float]]
"""(mean, deviation) of pixels in [0, 1]: a number each, or one a channel."""


class Adapted(nn.Module):
    """A model that takes pixels in [0, 1] and hands them on prepared.

    Args:
        model: what is asked in the end.
        normalize: (mean, deviation).
        preprocess: pixels (B, C, H, W) -> whatever the model takes, applied instead of `normalize`.

    Example:
        >>> pixels = torch.full((1, 1, 2, 2), 0.75)
        >>> Adapted(nn.Flatten(), normalize=(0.5, 0.25))(pixels)
        tensor([[1., 1., 1., 1.]])
    """

    def __init__(self, model: nn.Module, *, normalize: Normalization | None = None,
                 preprocess: Callable[[torch.Tensor], torch.Tensor] | None = None):
        super().__init__()
        require(normalize is None or preprocess is None, "normalize and preprocess", "both", "given one at a time")
        self.model, self.normalize, self.preprocess = model, normalize, preprocess
        self.prepare = Normalise(*normalize) if normalize is not None else preprocess or nn.Identity()

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.model(self.prepare(pixels))


def adapt(model: nn.Module, *, normalize: Normalization | None = None,
          preprocess: Callable[[torch.Tensor], torch.Tensor] | None = None) -> nn.Module:
    """Return `model` as it is where nothing is to be prepared, else an `Adapted` one on the same device."""
    if normalize is None and preprocess is None:
        return model
    adapted = Adapted(model, normalize=normalize, preprocess=preprocess).train(model.training)
    tensor = next(iter((*model.parameters(), *model.buffers())), None)
    return adapted if tensor is None else adapted.to(tensor.device)
