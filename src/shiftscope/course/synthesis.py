"""`generate_image` of notebooks, based on `visualize`, with images in the loader's units."""

from typing import Any

import numpy as np
import torch
from torch import nn

from shiftscope.course.figures import to_tensor
from shiftscope.course.loaders import Units, course_units, units_of
from shiftscope.course.training_loop import outputs_of
from shiftscope.errors import UsageError, require
from shiftscope.hooks import capture
from shiftscope.models.forward import device_and_dtype, evaluating
from shiftscope.modules import model_name
from shiftscope.progress import Progress
from shiftscope.visualization import visualize


class Neuron(nn.Module):
    """A model whose output is one element, or the mean of several, of a submodule's output.

    Args:
        model: the whole model.
        layer: name of the submodule; "" is the model itself.
        index: into the submodule's output without the batch axis; remaining axes are averaged.

    Example:
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
        >>> Neuron(model, "1", (2,))(torch.zeros(5, 1, 2, 2)).shape
        torch.Size([5, 1])
    """

    def __init__(self, model: nn.Module, layer: str, index: tuple[int, ...]):
        super().__init__()
        self.model, self.layer, self.index = model, layer, index

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        chosen = layer_output(self.model, self.layer, images)[:, *self.index]
        return chosen.reshape(len(images), -1).mean(1, keepdim=True)


def layer_output(model: nn.Module, layer: str, images: torch.Tensor) -> torch.Tensor:
    """Return the submodule's output for a batch.

    Raises:
        UsageError: if it is not used or does not return a tensor.
    """
    with capture(model, [layer] if layer else []) as outputs:
        output = model(images)
    output = outputs.get(layer) if layer else output
    if not isinstance(output, torch.Tensor):
        got = "nothing in a forward pass" if output is None else f"a {type(output).__name__}"
        raise UsageError(f"target_operator {layer!r} of {model_name(model)} returns {got}, expected a tensor: choose "
                         "a submodule inside or after it")
    return output


def find_operator(model: nn.Module, operator: Any) -> str:
    """Return the name of a submodule; "" for the model itself.

    Raises:
        UsageError: if it is not a submodule of this model.
    """
    names = {id(module): name for name, module in model.named_modules()}
    if id(operator) in names:
        return names[id(operator)]
    got = f"a {type(operator).__name__} of another model" if isinstance(operator, nn.Module) else repr(operator)
    known = ", ".join(f"model.{name}" for name in names.values() if name)
    raise UsageError(f"target_operator must be a submodule of this {model_name(model)}, got {got}: give one of "
                     f"{known or 'its submodules, of which it has none'}")


def _check_index(neuron: Any, shape: tuple[int, ...], layer: str) -> tuple[int, ...]:
    index = (neuron,) if isinstance(neuron, int) else neuron
    ok = isinstance(index, tuple | list) and len(index) > 0 and all(isinstance(i, int) for i in index)
    require(ok, "target_neuron", neuron, "integers, (i,) or (channel, row, column)")
    if len(index) > len(shape) or any(not 0 <= i < size for i, size in zip(index, shape, strict=False)):
        ranges = ", ".join(f"0 to {size - 1}" for size in shape)
        raise UsageError(f"target_neuron {tuple(index)} is out of range: {layer or 'the model'} has shape {shape}; "
                         f"choose from ({ranges})")
    return tuple(index)


def image_shape(model: nn.Module, imgsize: tuple[int, int]) -> tuple[int, int, int]:
    """Return (C, H, W) from the model's first layer, for use without a loader.

    Raises:
        UsageError: if the layer's size is not a multiple of `imgsize`, or no layer determines the channels.

    Example:
        >>> image_shape(nn.Sequential(nn.Flatten(), nn.Linear(3 * 64 * 64, 9)), (64, 64))
        (3, 64, 64)
    """
    height, width = imgsize
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            return module.in_channels, height, width
        if isinstance(module, nn.Linear):
            channels, rest = divmod(module.in_features, height * width)
            if rest == 0:
                return channels, height, width
            raise UsageError(f"model_utils.imgsize is {imgsize}, but the first layer of {model_name(model)} takes "
                             f"{module.in_features} numbers, which is not a multiple of {height * width}: set "
                             "MU.imgsize to the size of its images")
    raise UsageError(f"the first layer of {model_name(model)} does not determine the number of channels of its images: "
                     "set MU.train_loader to a loader of its images")


def _goal(model: nn.Module, images: torch.Tensor, mode: str, target_class: Any, operator: Any,
          neuron: Any) -> tuple[nn.Module, str]:
    """Return the model to visualize and the objective, checked with one image."""
    require(mode in ("class", "neuron"), "mode", mode, '"class" or "neuron"')
    outputs = outputs_of(model, images, "MU.imgsize and the loaders")
    if mode == "class":
        classes = outputs.shape[-1]
        require(isinstance(target_class, int) and 0 <= target_class < classes, "target_class", target_class,
                f"a class from 0 to {classes - 1}")
        return model, f"class:{target_class}"
    layer = find_operator(model, operator)
    with evaluating(model):
        shape = tuple(layer_output(model, layer, images).shape[1:])
    index = _check_index(neuron, shape, layer)
    if layer and len(index) == 1 and (len(shape) == 1 or not isinstance(operator, nn.Linear)):
        return model, f"model.{layer}:{index[0]}"  # names in the adapted model begin with model.
    return Neuron(model, layer, index), "class:0"


def _start(seed: Any, units: Units, shape: tuple[int, int, int]) -> Any:
    """Return the start for `visualize`: None for its default, "random", or an image of pixels in [0, 1]."""
    if isinstance(seed, str):
        require(seed in ("zero", "random"), "seed", seed, '"zero", "random" or an image')
        return seed if seed == "random" else None
    image = to_tensor(seed)
    require(tuple(image.shape) == shape and bool(image.isfinite().all()), "seed", tuple(image.shape),
            f"an image of finite numbers, {shape} as (channels, height, width)")
    return units.to_pixels(image).clamp(0, 1)


def generate(model: nn.Module, sample: torch.Tensor | None, imgsize: tuple[int, int], *, mode: str, target_class: Any,
             operator: Any, neuron: Any, seed: Any, progress: Progress) -> np.ndarray:
    """Return the image that maximally activates a class or a neuron, see `model_utils.generate_image`.

    Args:
        sample: a batch of the loader (B, C, H, W), whose units the image gets; None: those of the course.
        imgsize: (H, W), used without a sample.
    """
    device, dtype = device_and_dtype(model)
    shape = image_shape(model, imgsize) if sample is None else (sample.shape[1], sample.shape[2], sample.shape[3])
    units = course_units(shape[0]) if sample is None else units_of(sample)
    gray = units.from_pixels(torch.full((1, *shape), 0.5, device=device, dtype=dtype))
    target, goal = _goal(model, gray, mode, target_class, operator, neuron)
    result = visualize(target, goal, start=_start(seed, units, shape), shape=shape, preprocess=units.from_pixels,
                       progress=progress)
    image = units.from_pixels(torch.from_numpy(result.images[0]))
    return as_array(image)


def as_array(image: torch.Tensor) -> np.ndarray:
    """Return an image (C, H, W) as float32 array: (H, W) for one channel, else (H, W, C).

    >>> as_array(torch.zeros(1, 4, 6)).shape
    (4, 6)
    """
    array = image.detach().cpu().float().numpy()
    return array[0] if len(array) == 1 else array.transpose(1, 2, 0)
