"""The receptive field of units: which pixels of the canvas can reach them at all."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import TorchFunctionMode

from shiftscope.errors import UsageError
from shiftscope.hooks import capture, frozen
from shiftscope.models.adapt import adapt, differentiable
from shiftscope.models.forward import device_and_dtype
from shiftscope.modules import Classifier, reports_model_errors
from shiftscope.visualization.activations import by_unit, read
from shiftscope.visualization.anatomy import CLASSES, examine
from shiftscope.visualization.binding import Target
from shiftscope.visualization.objectives import Objective
from shiftscope.visualization.terms import Term, UnitTerm

_CHUNK_PIXELS = 2**18  # pixels of all pictures at once: some dozens of 56 x 56

_POINTWISE = {"relu", "relu_", "relu6", "leaky_relu", "leaky_relu_", "elu", "elu_", "celu", "selu", "gelu", "silu",
              "mish", "hardtanh", "hardswish", "hardsigmoid", "sigmoid", "tanh", "softplus", "prelu", "rrelu",
              "threshold", "clamp", "clamp_min", "clamp_max", "clip", "batch_norm", "softmax", "log_softmax"}
_WEIGHING = {"linear", "conv1d", "conv2d", "conv3d"}
_POOLS = {"max_pool1d": F.avg_pool1d, "max_pool2d": F.avg_pool2d, "max_pool3d": F.avg_pool3d,
          "adaptive_max_pool1d": F.adaptive_avg_pool1d, "adaptive_max_pool2d": F.adaptive_avg_pool2d,
          "amax": torch.mean}
_NORMS = {"layer_norm": lambda x, shape, *_: tuple(range(x.ndim - len(shape), x.ndim)),
          "group_norm": lambda x, *_: tuple(range(1, x.ndim)), "instance_norm": lambda x, *_: tuple(range(2, x.ndim))}
"""Axes over which a normalization takes its mean."""


class Paths(TorchFunctionMode):
    """Lets gradients count paths: pointwise functions pass, maxima become means, weights are all the same.

    A weight is 1 over its fan-in, so that no path is lost to a weight of zero or cancels with another, and numbers
    stay in range however deep the model is. A softmax passes and a normalization adds its mean for the same reason.
    """

    def __torch_function__(self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (),
                           kwargs: dict[str, Any] | None = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name in _POINTWISE:
            return args[0] if args else kwargs["input"]
        if name in _WEIGHING and len(args) > 1:
            weight = args[1]
            args = (args[0], torch.full_like(weight, 1 / weight[0].numel()), *args[2:])
        if name in _POOLS:
            return _mean_pool(name, *args, **kwargs)
        if name in _NORMS and args:
            return args[0] + args[0].mean(_NORMS[name](*args), keepdim=True)
        return func(*args, **kwargs)


def _mean_pool(name: str, source: torch.Tensor, *args: Any, dilation: Any = 1, return_indices: bool = False,
               **kwargs: Any) -> Any:
    """Do what max pooling does, with the mean in the place of the maximum."""
    if name.startswith("max_pool"):
        size, *rest = args or (kwargs.pop("kernel_size"),)
        names = dict(zip(("stride", "padding", "dilation", "ceil_mode"), rest, strict=False)) | kwargs
        if {names.pop("dilation", 1), dilation} - {1, (1,), (1, 1), (1, 1, 1)}:
            raise UsageError("the receptive field of a dilated max pooling cannot be worked out: leave it out")
        return _POOLS[name](source, size, **names)
    return _POOLS[name](source, *args, **kwargs)


@reports_model_errors
def receptive_fields(model: Classifier, goal: str | Objective, shape: tuple[int, int, int],
                     class_names: Sequence[str] = ()) -> torch.Tensor:
    """Return the smallest box of pixels that holds all that can reach each unit of an objective.

    It is what the model's structure allows: a weight that happens to be zero counts. Exact for models of convolutions,
    pooling, fully connected layers, and pointwise functions; what else there is counts as far as a gradient flows
    through it for a gray picture. Of a unit with places, a channel, it is the field of the one in the middle,
    unless the objective names a place.

    Args:
        model: any module that takes (B, C, H, W).
        goal: whose units.
        shape: (C, H, W).
        class_names: for objectives like "class:Bag".

    Returns:
        int64 (U, 4), rows and columns [top, left, bottom, right) of the canvas; all zero for a unit that no pixel
        reaches.

    Raises:
        UsageError: an unknown layer or unit; a max pooling with gaps.

    Example:
        >>> layers = nn.Sequential(nn.Conv2d(1, 2, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(2, 3, (3, 1)))
        >>> receptive_fields(layers, "3:1", (1, 28, 24)).tolist()
        [[10, 10, 20, 16]]

    References:
        Luo, Li, Urtasun & Zemel, "Understanding the effective receptive field in deep convolutional neural networks",
        2016: the gradient as what defines it.
    """
    prepared = differentiable(adapt(model, shape=shape))
    return fields_of(prepared, read(goal, prepared, examine(prepared, shape, class_names)), shape)


def fields_of(model: nn.Module, target: Target, shape: tuple[int, int, int]) -> torch.Tensor:
    """Return what `receptive_fields` does for units that are known."""
    chunk = max(1, _CHUNK_PIXELS // (shape[0] * shape[1] * shape[2]))
    with frozen(model):
        reach = [_reach(model, target, rows, shape) for rows in torch.arange(len(target.names)).split(chunk)]
    return _boxes(torch.cat(reach))


def _reach(model: nn.Module, target: Target, rows: torch.Tensor, shape: tuple[int, int, int]) -> torch.Tensor:
    """Whether each pixel reaches the units in `rows`, bool (B, H, W)."""
    device, dtype = device_and_dtype(model)
    pixels = torch.full((len(rows), *shape), 0.5, device=device, dtype=dtype, requires_grad=True)
    with capture(model, target.layers) as outputs, Paths():
        outputs[CLASSES] = model(pixels.clone())  # it may work in place
    total = torch.stack([_read_out(term, outputs[term.layer], rows) for _, term in target.terms]).sum()
    if not total.requires_grad:
        return torch.zeros(len(rows), *shape[1:], dtype=torch.bool)
    (gradient,) = torch.autograd.grad(total, pixels, allow_unused=True)
    return torch.zeros(len(rows), *shape[1:], dtype=torch.bool) if gradient is None else (gradient != 0).any(1).cpu()


def _read_out(term: Term, output: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """The sum of what a term reads for its units in `rows`: of a channel the place in the middle, unless one is named.

    What is not about single units reads its whole layer.
    """
    if not isinstance(term, UnitTerm):
        return output.sum()
    maps = by_unit(output, term.last)
    numbers = term.numbers.expand(len(rows) + int(rows[0])) if len(term.names) == 1 else term.numbers
    own = maps[torch.arange(len(rows), device=maps.device), numbers[rows].to(maps.device)]  # (B, ...)
    place = term.place or tuple(size // 2 for size in maps.shape[2:])
    return own[:, *place].sum()


def _boxes(reach: torch.Tensor) -> torch.Tensor:
    """Return the box of what is true in each of (B, H, W), int64 (B, 4)."""
    boxes = torch.zeros(len(reach), 4, dtype=torch.int64)
    for row, field in enumerate(reach):
        places = field.nonzero()
        if len(places):
            boxes[row] = torch.cat((places.amin(0), places.amax(0) + 1))
    return boxes
