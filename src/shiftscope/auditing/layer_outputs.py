"""Outputs of a model's layers in one forward pass, in the order in which they run."""

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import TorchFunctionMode

from shiftscope.hooks import without_repeated

OUTPUT = "output"
"""Name of the model's own output."""

_PASSIVE = ("dropout", "softmax", "identity", "flatten", "pad")
"""Layers whose names contain one of these compute nothing new in eval mode."""


class LayerOutputs(TorchFunctionMode):
    """Records the outputs of submodules, and of functions of `torch.nn.functional` that are called outside of leaves.

    Later calls of the same layer are numbered: "relu", "relu (2)".

    Args:
        names: layers to record (default: all).

    Attributes:
        outputs: recorded tensors by name.
        leaves: names of the leaf modules and functions that are not passive.
    """

    def __init__(self, model: nn.Module, names: set[str] | None):
        super().__init__()
        self.model, self.names = model, names
        self.outputs: dict[str, torch.Tensor] = {}
        self.leaves: list[str] = []
        self.calls: dict[str, int] = {}
        self.depth = self.images_done = 0

    def record(self, name: str, output: Any, *, leaf: bool) -> None:
        """Record a floating-point output (batch, ...) if its layer is wanted."""
        done = getattr(self.model, "images_done", 0)  # images done before, for models that take one image per call
        if done != self.images_done:
            self.images_done, self.calls = done, {}
        self.calls[name] = self.calls.get(name, 0) + 1
        name = name if self.calls[name] == 1 else f"{name} ({self.calls[name]})"
        if leaf and not done:
            self.leaves.append(name)
        output = without_repeated(self.model, output)
        functorch = torch._C._functorch  # pyright: ignore[reportAttributeAccessIssue]
        if (isinstance(output, torch.Tensor) and output.ndim >= 2 and output.is_floating_point()
                and not functorch.is_functorch_wrapped_tensor(output)  # inside vmap: a part of a tensor
                and (self.names is None or name in self.names)):
            if done and name in self.outputs:
                self.outputs[name] = torch.cat([self.outputs[name], output])
            else:
                self.outputs[name] = output.clone()  # later layers may work in place

    def __torch_function__(self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (),
                           kwargs: dict[str, Any] | None = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "").rstrip("_")
        if not self.depth and hasattr(F, name) and not _is_passive(name):
            self.record(name, result, leaf=True)
        return result

    def enter_leaf(self, module: nn.Module, inputs: Any) -> None:
        self.depth += 1

    def hook(self, name: str, *, leaf: bool) -> Callable[..., None]:
        """Return the forward hook of the module `name`."""

        def record(module: nn.Module, inputs: Any, output: Any) -> None:
            self.depth -= leaf
            self.record(name, output, leaf=leaf and not _is_passive(type(module).__name__))

        return record


def _is_passive(name: str) -> bool:
    return any(part in name.lower() for part in _PASSIVE)


def layer_outputs(model: nn.Module, pixels: torch.Tensor, names: set[str] | None = None) -> LayerOutputs:
    """Run one forward pass and return the outputs of its layers; the model's own output is called `OUTPUT`.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(8, 3))
        >>> recorded = layer_outputs(net, torch.zeros(1, 1, 4, 4))
        >>> {name: tuple(output.shape) for name, output in recorded.outputs.items()}
        {'0': (1, 2, 2, 2), '1': (1, 2, 2, 2), '2': (1, 8), '3': (1, 3), 'output': (1, 3)}
    """
    recorded = LayerOutputs(model, names)
    with ExitStack() as stack:
        for name, module in model.named_modules():
            if not name or isinstance(module, torch.jit.ScriptModule):  # TorchScript has no hooks inside
                continue
            leaf = next(module.children(), None) is None
            if leaf:
                stack.callback(module.register_forward_pre_hook(recorded.enter_leaf).remove)
            stack.callback(module.register_forward_hook(recorded.hook(name, leaf=leaf)).remove)
        stack.enter_context(recorded)
        output = model(pixels)
    recorded.record(OUTPUT, output, leaf=True)
    return recorded
