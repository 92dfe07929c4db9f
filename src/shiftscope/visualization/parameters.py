"""Statistics of parameters, and weights of layers as arrays and images."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from shiftscope.errors import UsageError
from shiftscope.hooks import find_layer, frozen
from shiftscope.results import ParameterRow
from shiftscope.visualization.model_info import gray_image, input_shape


def parameter_rows(model: nn.Module) -> list[ParameterRow]:
    """Return one row per parameter tensor, in the order of the model."""
    values = {name: parameter.detach().double() for name, parameter in model.named_parameters()}
    return [ParameterRow(name=name, shape=tuple(x.shape), count=x.numel(), mean=float(x.mean()),
                         std=float(x.std(correction=0)), norm=float(x.norm())) for name, x in values.items()]


def class_weights(model: nn.Module, *, neurons: int, classes: int) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Return weights (K, N) and bias (K,) of the last fully connected layer from N neurons to K classes.

    The bias is zero for a layer without one. None if there is no such layer.
    """
    layers = [module for module in model.modules() if isinstance(module, nn.Linear)
              and (module.out_features, module.in_features) == (classes, neurons)]
    if not layers:
        return None
    weight, bias = layers[-1].weight.detach(), layers[-1].bias
    return weight, bias.detach() if bias is not None else weight.new_zeros(classes)


def weight_images(model: nn.Module, layer: str, *, shape: Sequence[int] | None = None) -> torch.Tensor:
    """Return a layer's weights as images: filters of a convolution, or templates of neurons that read a map.

    Args:
        model: takes (batch, C, H, W).
        layer: name of a convolution, or of a fully connected layer whose input is a flattened map or the pixels.
        shape: (C, H, W) of the model's input; by default its attribute `input_shape`.

    Returns:
        (N, C, h, w) for N units; C is the number of channels per group of a convolution, or of the map.

    Raises:
        UsageError: if the layer is unknown or of another kind, or the input of the neurons is not a map.
    """
    module = find_layer(model, layer)
    if isinstance(module, nn.Conv2d):
        return module.weight.detach()
    if not isinstance(module, nn.Linear):
        raise UsageError(f"the layer {layer!r} is a {type(module).__name__}, whose weights are not images: choose a "
                         "convolution (Conv2d) or a fully connected layer (Linear)")
    size = _input_map(model, module, input_shape(model, shape))
    if size is None:
        raise UsageError(f"the {module.in_features} inputs of the fully connected layer {layer!r} are not a map of "
                         "pixels: choose the first one after the pixels or after the convolutions")
    return module.weight.detach().unflatten(1, size)


def _input_map(model: nn.Module, layer: nn.Linear, shape: tuple[int, int, int]) -> torch.Size | None:
    """Return (C, h, w) of the map whose flattened values a fully connected layer reads, if any."""
    gray = gray_image(model, shape)
    sizes: list[torch.Size | None] = []
    with frozen(model), torch.no_grad(), _MapShapes(gray) as maps:
        hook = layer.register_forward_pre_hook(lambda module, inputs: sizes.append(maps.shapes.get(inputs[0].numel())))
        try:
            model(gray)
        finally:
            hook.remove()
    return sizes[0] if sizes and sizes[0] is not None and sizes[0][1] * sizes[0][2] > 1 else None


class _MapShapes(TorchFunctionMode):
    """Records the shape of the last map (1, C, h, w) for each number of values."""

    def __init__(self, image: torch.Tensor):
        super().__init__()
        self.shapes = {image.numel(): image.shape[1:]}

    def __torch_function__(self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (),
                           kwargs: dict[str, Any] | None = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor) and result.ndim == 4 and len(result) == 1:
            self.shapes[result.numel()] = result.shape[1:]
        return result
