"""The layers of a model, their output shapes and the number of classes, found by one forward pass."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from shiftscope.errors import UsageError, require
from shiftscope.hooks import capture, frozen
from shiftscope.models.forward import device_and_dtype
from shiftscope.modules import model_name

CLASSES = "class"  # layer name for the class logits: the model's output before a final softmax
OUTPUT = "(output)"  # layer name for the model's output, from which predictions and confidences are computed


@dataclass(frozen=True)
class LayerInfo:
    """Output of a submodule."""

    shape: tuple[int, ...] | None  # without the batch axis; None if the output is not a tensor (batch, units, ...)
    description: str  # of the output, for error messages
    linear: bool  # fully connected: the units are on the last axis, those of other layers on the first one
    weighted: bool  # fully connected or a convolution


@dataclass(frozen=True, kw_only=True)
class ModelInfo:
    """The layers of a model, in the order of `named_modules`, and its classes."""

    model: str
    shape: tuple[int, int, int]  # (C, H, W) of the input
    layers: dict[str, LayerInfo]
    class_names: tuple[str, ...]
    activation_count: int  # number of output values of all innermost layers for one image

    def unit_count(self, layer: str) -> int:
        """Return the number of units of a layer; for "class", the number of classes."""
        info = self.layers[layer]
        if info.shape is None:
            raise UsageError(f"the layer {layer!r} of {self.model} returned {info.description}, expected a tensor "
                             "(batch, units, ...): choose a layer inside or after it")
        return info.shape[-1 if info.linear else 0]

    @property
    def first_weighted(self) -> str | None:
        """Name of the first convolution or fully connected layer, whose units are linear in the pixels."""
        return next((name for name, layer in self.layers.items() if layer.weighted and layer.shape), None)

    @property
    def starts_with_linear(self) -> bool:
        """True if the first weighted layer is fully connected, so that each pixel has its own weights."""
        return self.first_weighted is not None and self.layers[self.first_weighted].linear

    @property
    def first_hidden_linear(self) -> str | None:
        """Name of the first fully connected layer that another one follows."""
        linear = [name for name, layer in self.layers.items() if layer.linear and layer.shape]
        return linear[0] if len(linear) > 1 else None


def input_shape(model: nn.Module, shape: Sequence[int] | None) -> tuple[int, int, int]:
    """Return (C, H, W) of a model's input: `shape`, or else the attribute `input_shape` of the model."""
    if shape is None:
        shape = next((vars(module)["input_shape"] for module in model.modules() if "input_shape" in vars(module)), None)
    if shape is None:
        raise UsageError(f"the input shape of {model_name(model)} is unknown: pass shape=(channels, height, width)")
    sizes = tuple(int(size) for size in shape)
    require(len(sizes) == 3 and min(sizes) >= 1, "shape", sizes, "(channels, height, width), each at least 1")
    return sizes[0], sizes[1], sizes[2]


def gray_image(model: nn.Module, shape: tuple[int, int, int]) -> torch.Tensor:
    """Return a batch with one gray image (C, H, W) of the model's device and dtype."""
    device, dtype = device_and_dtype(model)
    return torch.full((1, *shape), 0.5, device=device, dtype=dtype)


def inspect_model(model: nn.Module, shape: tuple[int, int, int], class_names: Sequence[str] = ()) -> ModelInfo:
    """Run the model on one gray image (C, H, W) and record the outputs of its layers."""
    modules = dict(model.named_modules(remove_duplicate=False))
    names = [name for name, module in modules.items() if name and not isinstance(module, torch.jit.ScriptModule)]
    with frozen(model), torch.no_grad(), capture(model, names) as outputs:
        outputs[CLASSES] = model(gray_image(model, shape))
    layers = {name: _layer_info(outputs.get(name), modules.get(name, model)) for name in (*names, CLASSES)}
    classes = layers[CLASSES].shape
    if class_names and classes and classes[0] != len(class_names):
        raise UsageError(f"{model_name(model)} has {classes[0]} outputs, got {len(class_names)} class names: pass one "
                         "name per output")
    innermost = {name for name, module in modules.items() if not any(module.children())} | {CLASSES}
    count = sum(math.prod(layer.shape) for name, layer in layers.items() if layer.shape and name in innermost)
    return ModelInfo(model=model_name(model), shape=shape, layers=layers, class_names=tuple(class_names),
                     activation_count=count)


def _layer_info(output: object, module: nn.Module) -> LayerInfo:
    kinds = isinstance(module, nn.Linear), isinstance(module, (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d))
    if not isinstance(output, torch.Tensor):
        description = "nothing (it was not called)" if output is None else f"a {type(output).__name__}"
        return LayerInfo(None, description, *kinds)
    if output.ndim >= 2 and output.is_floating_point():
        return LayerInfo(tuple(output.shape[1:]), "a tensor", *kinds)
    return LayerInfo(None, f"a tensor of shape {tuple(output.shape)} and type {output.dtype}", *kinds)
