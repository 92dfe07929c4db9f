"""What a model computes on its way: the answers of its layers, in the order in which they run."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import TorchFunctionMode

from shiftscope.hooks import without_repeated

OUTPUT = "output"
"""Stands for what the model returns."""

_PASSIVE = ("dropout", "softmax", "identity", "flatten", "pad")
"""Steps whose names hold one of these compute nothing new in eval mode."""


class Steps(TorchFunctionMode):
    """Keeps in `found` what the steps of a forward pass give: submodules, and functions called outside of leaves.

    Calls after the first are numbered: "relu", "relu (2)". Where a model pools and cuts off by functions
    (`F.max_pool2d`), they are steps like any other.
    """

    def __init__(self, model: nn.Module, wanted: set[str] | None):
        super().__init__()
        self.model, self.wanted = model, wanted
        self.found: dict[str, torch.Tensor] = {}
        self.leaves: list[str] = []
        self.calls: dict[str, int] = {}
        self.inside = self.asked = 0

    def keep(self, name: str, output: Any, *, leaf: bool) -> None:
        """Keep the answer of a step, if it is one and wanted."""
        asked = getattr(self.model, "images_done", 0)  # pictures that were done before, where it takes one at a time
        if asked != self.asked:
            self.asked, self.calls = asked, {}
        self.calls[name] = self.calls.get(name, 0) + 1
        name = name if self.calls[name] == 1 else f"{name} ({self.calls[name]})"
        if leaf and not asked:
            self.leaves.append(name)
        output = without_repeated(self.model, output)
        is_answer = isinstance(output, torch.Tensor) and output.ndim >= 2 and output.is_floating_point()
        functorch = torch._C._functorch  # pyright: ignore[reportAttributeAccessIssue]
        is_answer = is_answer and not functorch.is_functorch_wrapped_tensor(output)  # a part, inside vmap
        if is_answer and (self.wanted is None or name in self.wanted):
            before = [self.found[name]] if asked and name in self.found else []
            self.found[name] = torch.cat([*before, output]) if before else output.clone()  # later steps may be in place

    def __torch_function__(self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (),
                           kwargs: dict[str, Any] | None = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "").rstrip("_")
        if not self.inside and hasattr(F, name) and not _is_passive(name):
            self.keep(name, result, leaf=True)
        return result

    def enter(self, module: nn.Module, inputs: Any) -> None:
        self.inside += 1

    def leave(self, name: str, *, leaf: bool) -> Callable[..., None]:
        """Return the hook that keeps what the module called `name` gives."""

        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            self.inside -= leaf
            self.keep(name, output, leaf=leaf and not _is_passive(type(module).__name__))

        return hook


def _is_passive(name: str) -> bool:
    return any(word in name.lower() for word in _PASSIVE)


@contextmanager
def stepping(model: nn.Module, wanted: set[str] | None = None) -> Iterator[Steps]:
    """Keep what the steps of one forward pass inside the `with` block give; all hooks are taken off at its end.

    Args:
        wanted: names of steps, all unless given.
    """
    steps = Steps(model, wanted)
    with ExitStack() as stack:
        for name, module in model.named_modules():
            if isinstance(module, torch.jit.ScriptModule):  # nothing can look into TorchScript
                continue
            leaf = next(module.children(), None) is None
            if name and leaf:
                stack.callback(module.register_forward_pre_hook(steps.enter).remove)
            if name:
                stack.callback(module.register_forward_hook(steps.leave(name, leaf=leaf)).remove)
        stack.enter_context(steps)
        yield steps


def run_steps(model: nn.Module, pixels: torch.Tensor, wanted: set[str] | None = None) -> Steps:
    """Return the steps of one forward pass; the model's own answer is kept as `OUTPUT`, if it is a tensor.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(8, 3))
        >>> {name: tuple(answer.shape) for name, answer in run_steps(net, torch.zeros(1, 1, 4, 4)).found.items()}
        {'0': (1, 2, 2, 2), '1': (1, 2, 2, 2), '2': (1, 8), '3': (1, 3), 'output': (1, 3)}
    """
    with stepping(model, wanted) as steps:
        output = model(pixels)
    steps.keep(OUTPUT, output, leaf=True)
    return steps
