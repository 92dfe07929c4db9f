"""The numbers that training found: a table of them, and the weights of layers as arrays."""

import torch
from torch import nn

from shiftscope.results import ParameterRow


def parameter_rows(model: nn.Module) -> list[ParameterRow]:
    """Return one row a parameter tensor, in the order of the model.

    Example:
        >>> layer = nn.Linear(2, 1)
        >>> with torch.no_grad():
        ...     _ = layer.weight.copy_(torch.tensor([[3.0, 4.0]])), layer.bias.fill_(2.0)
        >>> parameter_rows(layer)[0]
        ParameterRow(name='weight', shape=(1, 2), count=2, mean=3.5, deviation=0.5, norm=5.0)
    """
    return [_row(name, parameter.detach()) for name, parameter in model.named_parameters()]


def _row(name: str, values: torch.Tensor) -> ParameterRow:
    exact = values.double()
    return ParameterRow(name=name, shape=tuple(values.shape), count=values.numel(), mean=float(exact.mean()),
                        deviation=float(exact.std(correction=0)), norm=float(exact.norm()))


def class_weights(model: nn.Module, *, neurons: int, classes: int) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Return weights (K, N) and bias (K,) of the last fully connected layer from N neurons to K classes.

    A layer without bias has zeros; None where there is no such layer.

    Example:
        >>> found = class_weights(nn.Sequential(nn.Linear(9, 4), nn.Linear(4, 3)), neurons=4, classes=3)
        >>> [tuple(part.shape) for part in found or ()]
        [(3, 4), (3,)]
    """
    layers = [module for module in model.modules() if isinstance(module, nn.Linear)
              and (module.out_features, module.in_features) == (classes, neurons)]
    if not layers:
        return None
    weight, bias = layers[-1].weight.detach(), layers[-1].bias
    return weight, bias.detach() if bias is not None else weight.new_zeros(classes)
