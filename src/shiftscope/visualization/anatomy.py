"""What a model is made of, as one forward pass shows it: layers, their units, the number of classes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from shiftscope.errors import UsageError, require
from shiftscope.hooks import capture, find_layer, frozen
from shiftscope.models.forward import device_and_dtype
from shiftscope.modules import model_name

CLASSES = "class"
"""Stands for the scores of the classes where a layer is named: the model's output, before a final softmax."""

OUTPUT = "(output)"
"""Stands for what the model returns, which predictions and confidences come from."""


@dataclass(frozen=True)
class Layer:
    """What a submodule gave."""

    shape: tuple[int, ...] | None
    """Of its output, without the batch; None where that is no tensor (batch, units, ...)."""
    gave: str
    """What it gave, in words."""
    linear: bool
    """Whether its units lie on the last axis, as a fully connected layer's do; others have them on the first."""
    weighs: bool
    """Whether it is fully connected or a convolution: its units answer linearly to its input."""


@dataclass(frozen=True, kw_only=True)
class Anatomy:
    """The layers that a model visited, in the order of their names, and its classes."""

    model: str
    shape: tuple[int, int, int]
    """(C, H, W) of its pictures."""
    layers: dict[str, Layer]
    class_names: tuple[str, ...]
    numbers: int
    """How many numbers its innermost layers give for one picture."""

    def units(self, layer: str) -> int:
        """Return the number of units of a layer; of "class", the number of classes.

        Raises:
            UsageError: the layer was not visited, or gave no tensor.
        """
        found = self.layers[layer]
        if found.shape is None:
            raise UsageError(f"the layer {layer!r} of {self.model} gave {found.gave}, expected a tensor (batch, units, "
                             "...): choose a layer inside or after it")
        return found.shape[-1 if found.linear else 0]

    def reads_pixels(self, layer: str) -> bool:
        """Return whether a layer is the first that weighs its input, so that its units answer linearly to pixels."""
        return layer == self._first_that_weighs

    @property
    def knows_places(self) -> bool:
        """Return whether the first layer that weighs pixels has a weight for each place, as a perceptron's does."""
        return self._first_that_weighs is not None and self.layers[self._first_that_weighs].linear

    @property
    def _first_that_weighs(self) -> str | None:
        return next((name for name, found in self.layers.items() if found.weighs and found.shape), None)

    @property
    def first_linear(self) -> str | None:
        """Name of the first fully connected layer, None where there is no other one after it to give the classes."""
        linear = [name for name, layer in self.layers.items() if layer.linear and layer.shape]
        return linear[0] if len(linear) > 1 else None


def picture_shape(model: nn.Module, shape: Sequence[int] | None) -> tuple[int, int, int]:
    """Return (C, H, W) of the pictures that a model takes: as given, else as the model itself says.

    Raises:
        UsageError: the model does not say, or the shape is not three whole numbers of at least 1.
    """
    if shape is None:
        shape = next((vars(module)["input_shape"] for module in model.modules() if "input_shape" in vars(module)), None)
    if shape is None:
        raise UsageError(f"{model_name(model)} does not say which pictures it takes: pass shape=(channels, height, "
                         "width)")
    sizes = tuple(int(size) for size in shape)
    require(len(sizes) == 3 and min(sizes) >= 1, "shape", sizes, "(channels, height, width), each at least 1")
    return sizes[0], sizes[1], sizes[2]


def examine(model: nn.Module, shape: tuple[int, int, int], class_names: Sequence[str] = ()) -> Anatomy:
    """Show the model one gray picture and note what its layers give.

    Args:
        model: any module that takes (batch, C, H, W); what it raises is not caught.
        shape: (C, H, W).
        class_names: of the model's classes, where they are known.

    Raises:
        UsageError: another number of names than classes.
    """
    names = [name for name, module in model.named_modules(remove_duplicate=False)
             if name and not isinstance(module, torch.jit.ScriptModule)]
    device, dtype = device_and_dtype(model)
    gray = torch.full((1, *shape), 0.5, device=device, dtype=dtype)
    with frozen(model), torch.no_grad(), capture(model, names) as outputs:
        outputs[CLASSES] = model(gray)
    layers = {name: _layer(outputs.get(name), name, model) for name in (*names, CLASSES)}
    known = layers[CLASSES].shape
    if class_names and known and known[0] != len(class_names):
        raise UsageError(f"{model_name(model)} tells {known[0]} classes apart, and {len(class_names)} class names "
                         "were given: give one name a class")
    inner = {name for name, module in model.named_modules(remove_duplicate=False) if not any(module.children())}
    numbers = sum(math.prod(layer.shape) for name, layer in layers.items() if layer.shape and name in inner | {CLASSES})
    return Anatomy(model=model_name(model), shape=shape, layers=layers, class_names=tuple(class_names),
                   numbers=numbers)


def _layer(output: object, name: str, model: nn.Module) -> Layer:
    module = model if name == CLASSES else find_layer(model, name)
    kinds = isinstance(module, nn.Linear), isinstance(module, (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d))
    if isinstance(output, torch.Tensor) and output.ndim >= 2 and output.is_floating_point():
        return Layer(tuple(output.shape[1:]), "a tensor", *kinds)
    if isinstance(output, torch.Tensor):
        return Layer(None, f"a tensor of shape {tuple(output.shape)} and type {output.dtype}", *kinds)
    gave = "nothing in a forward pass" if output is None else f"a {type(output).__name__}"
    return Layer(None, gave, *kinds)
