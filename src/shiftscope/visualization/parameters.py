"""The numbers that training found: a table of them, and the weights of layers as arrays."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from shiftscope.errors import UsageError
from shiftscope.hooks import find_layer, frozen
from shiftscope.models.forward import device_and_dtype
from shiftscope.results import ParameterRow
from shiftscope.visualization.anatomy import picture_shape


def parameter_rows(model: nn.Module) -> list[ParameterRow]:
    """Return one row a parameter tensor, in the order of the model.

    Example:
        >>> layer = nn.Linear(2, 1)
        >>> with torch.no_grad():
        ...     _ = layer.weight.copy_(torch.tensor([[3.0, 4.0]])), layer.bias.fill_(2.0)
        >>> parameter_rows(layer)[0]
        ParameterRow(name='weight', shape=(1, 2), count=2, mean=3.5, std=0.5, norm=5.0)
    """
    return [_row(name, parameter.detach()) for name, parameter in model.named_parameters()]


def _row(name: str, values: torch.Tensor) -> ParameterRow:
    exact = values.double()
    return ParameterRow(name=name, shape=tuple(values.shape), count=values.numel(), mean=float(exact.mean()),
                        std=float(exact.std(correction=0)), norm=float(exact.norm()))


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


def weight_pictures(model: nn.Module, layer: str, *, shape: Sequence[int] | None = None) -> torch.Tensor:
    """Return a layer's weights as pictures: a convolution's filters, or the template of each neuron that reads a map.

    Args:
        model: any module that takes (batch, C, H, W).
        layer: name of a convolution, or of a fully connected layer that reads the pixels or a flattened map of them.
        shape: (C, H, W) of the model's pictures; its attribute `picture` unless given.

    Returns:
        (N, C, h, w) of N units: of a convolution, C channels of its own group; of a neuron, the map that it reads.

    Raises:
        UsageError: an unknown layer, one of another kind, or a neuron that reads no map.

    Example:
        >>> from shiftscope.models import TwoConvTwoFullNet
        >>> [tuple(weight_pictures(TwoConvTwoFullNet(), layer).shape) for layer in ("conv2", "fc1")]
        [(30, 5, 5, 5), (100, 30, 11, 11)]
    """
    module = find_layer(model, layer)
    if isinstance(module, nn.Conv2d):
        return module.weight.detach()
    if not isinstance(module, nn.Linear):
        raise UsageError(f"the layer {layer!r} is a {type(module).__name__}: its weights are no pictures, choose a "
                         "convolution (Conv2d) or a fully connected layer (Linear)")
    read = _map_read(model, module, picture_shape(model, shape))
    if read is None:
        raise UsageError(f"the fully connected layer {layer!r} reads {module.in_features} numbers that are no map of "
                         "pixels: choose the first one after the pixels or after the convolutions")
    return module.weight.detach().unflatten(1, read)


def _map_read(model: nn.Module, layer: nn.Linear, shape: tuple[int, int, int]) -> torch.Size | None:
    """Return (C, h, w) of the map that a fully connected layer reads, flattened; None where there is none."""
    device, dtype = device_and_dtype(model)
    gray = torch.full((1, *shape), 0.5, device=device, dtype=dtype)
    read: list[torch.Size | None] = []
    with frozen(model), torch.no_grad(), _Maps(gray) as maps:
        hook = layer.register_forward_pre_hook(lambda module, inputs: read.append(maps.shapes.get(inputs[0].numel())))
        try:
            model(gray)
        finally:
            hook.remove()
    return read[0] if read and read[0] is not None and read[0][1] * read[0][2] > 1 else None


class _Maps(TorchFunctionMode):
    """Remembers the last map (1, C, h, w) of each number of values, inside a `with` block."""

    def __init__(self, picture: torch.Tensor):
        super().__init__()
        self.shapes = {picture.numel(): picture.shape[1:]}

    def __torch_function__(self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (),
                           kwargs: dict[str, Any] | None = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor) and result.ndim == 4 and len(result) == 1:
            self.shapes[result.numel()] = result.shape[1:]
        return result
