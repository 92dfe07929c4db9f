"""Theoretical receptive fields: the pixels of the input that can affect a unit."""

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
from shiftscope.visualization.model_info import CLASSES, inspect_model
from shiftscope.visualization.objective_terms import Term, UnitTerm, unit_maps
from shiftscope.visualization.objectives import Objective
from shiftscope.visualization.targets import Target, find_units

_BATCH_PIXELS = 2**18

_POINTWISE = {"relu", "relu_", "relu6", "leaky_relu", "leaky_relu_", "elu", "elu_", "celu", "selu", "gelu", "silu",
              "mish", "hardtanh", "hardswish", "hardsigmoid", "sigmoid", "tanh", "softplus", "prelu", "rrelu",
              "threshold", "clamp", "clamp_min", "clamp_max", "clip", "batch_norm", "softmax", "log_softmax"}
_WEIGHTED = {"linear", "conv1d", "conv2d", "conv3d"}
_POOLS = {"max_pool1d": F.avg_pool1d, "max_pool2d": F.avg_pool2d, "max_pool3d": F.avg_pool3d,
          "adaptive_max_pool1d": F.adaptive_avg_pool1d, "adaptive_max_pool2d": F.adaptive_avg_pool2d,
          "amax": torch.mean}
_NORMS = {"layer_norm": lambda x, shape, *_: tuple(range(x.ndim - len(shape), x.ndim)),
          "group_norm": lambda x, *_: tuple(range(1, x.ndim)), "instance_norm": lambda x, *_: tuple(range(2, x.ndim))}
"""Axes over which a normalization averages."""


class _CountPaths(TorchFunctionMode):
    """Makes gradients positive wherever a path exists: no nonlinearities, mean pooling, and uniform weights.

    Weights are 1 / fan-in, so that no path vanishes because of zero weights or cancellation. Softmax becomes the
    identity, and a normalization adds its mean.
    """

    def __torch_function__(self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (),
                           kwargs: dict[str, Any] | None = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name in _POINTWISE:
            return args[0] if args else kwargs["input"]
        if name in _WEIGHTED and len(args) > 1:
            weight = args[1]
            args = (args[0], torch.full_like(weight, 1 / weight[0].numel()), *args[2:])
        if name in _POOLS:
            return _mean_pool(name, *args, **kwargs)
        if name in _NORMS and args:
            return args[0] + args[0].mean(_NORMS[name](*args), keepdim=True)
        return func(*args, **kwargs)


def _mean_pool(name: str, source: torch.Tensor, *args: Any, dilation: Any = 1, return_indices: bool = False,
               **kwargs: Any) -> Any:
    """Replace a max pooling by a mean pooling."""
    if name.startswith("max_pool"):
        size, *rest = args or (kwargs.pop("kernel_size"),)
        options = dict(zip(("stride", "padding", "dilation", "ceil_mode"), rest, strict=False)) | kwargs
        if {options.pop("dilation", 1), dilation} - {1, (1,), (1, 1), (1, 1, 1)}:
            raise UsageError("receptive fields of models with dilated max pooling are not supported")
        return _POOLS[name](source, size, **options)
    return _POOLS[name](source, *args, **kwargs)


@reports_model_errors
def receptive_fields(model: Classifier, goal: str | Objective, shape: tuple[int, int, int],
                     class_names: Sequence[str] = ()) -> torch.Tensor:
    """Return the bounding box of all pixels that can affect each unit of an objective.

    The result depends on the model's architecture only, not on its weights. It is exact for models of convolutions,
    pooling, fully connected layers and pointwise functions; for other functions it follows the gradient for a gray
    image. For a channel it is the field of the unit at the middle position, unless the objective names a position.

    Args:
        model: takes (B, C, H, W).
        goal: an objective.
        shape: (C, H, W).
        class_names: for objectives like "class:Bag".

    Returns:
        int64 (U, 4), rows and columns [top, left, bottom, right) of the input; zeros for a unit that no pixel affects.

    Raises:
        UsageError: if a layer or unit is unknown, or a max pooling is dilated.

    Example:
        >>> layers = nn.Sequential(nn.Conv2d(1, 2, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(2, 3, (3, 1)))
        >>> receptive_fields(layers, "3:1", (1, 28, 24)).tolist()
        [[10, 10, 20, 16]]

    Reference: Luo et al., "Understanding the effective receptive field in deep convolutional neural networks", 2016.
    """
    prepared = differentiable(adapt(model, shape=shape))
    return target_fields(prepared, find_units(goal, prepared, inspect_model(prepared, shape, class_names)), shape)


def target_fields(model: nn.Module, target: Target, shape: tuple[int, int, int]) -> torch.Tensor:
    """Return `receptive_fields` of a resolved objective."""
    batch = max(1, _BATCH_PIXELS // (shape[0] * shape[1] * shape[2]))
    boxes = torch.zeros(len(target.names), 4, dtype=torch.int64)
    with frozen(model):
        for rows in torch.arange(len(boxes)).split(batch):
            for row, mask in zip(rows, _affecting_pixels(model, target, rows, shape), strict=True):
                pixels = mask.nonzero()
                if len(pixels):
                    boxes[row] = torch.cat((pixels.amin(0), pixels.amax(0) + 1))
    return boxes


def _affecting_pixels(model: nn.Module, target: Target, rows: torch.Tensor,
                      shape: tuple[int, int, int]) -> torch.Tensor:
    """Return which pixels affect the units in `rows`, bool (B, H, W)."""
    device, dtype = device_and_dtype(model)
    pixels = torch.full((len(rows), *shape), 0.5, device=device, dtype=dtype, requires_grad=True)
    with capture(model, target.layers) as outputs, _CountPaths():
        outputs[CLASSES] = model(pixels.clone())  # a model may change its input in place
    total = torch.stack([_term_total(term, outputs[term.layer], rows) for _, term in target.terms]).sum()
    gradient = torch.autograd.grad(total, pixels, allow_unused=True)[0] if total.requires_grad else None
    return torch.zeros(len(rows), *shape[1:], dtype=torch.bool) if gradient is None else (gradient != 0).any(1).cpu()


def _term_total(term: Term, output: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Return the sum of the values that a term uses for the units in `rows`."""
    if not isinstance(term, UnitTerm):
        return output.sum()
    maps = unit_maps(output, term.units_last)
    indices = term.indices.expand(len(rows) + int(rows[0])) if len(term.names) == 1 else term.indices
    own = maps[torch.arange(len(rows), device=maps.device), indices[rows].to(maps.device)]  # (B, ...)
    position = term.position or tuple(size // 2 for size in maps.shape[2:])
    return own[:, *position].sum()
