"""What a layer gives after the ReLU that follows it, however the model calls that ReLU."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from shiftscope.hooks import find_layer

RELUS = {"relu", "relu_", "relu6"}
PASSES = {"max_pool2d", "_max_pool2d", "max_pool2d_with_indices", "dropout", "dropout1d", "dropout2d",
          "feature_dropout", "batch_norm", "instance_norm"}
"""Functions that may stand between a layer and its ReLU: each unit of their output comes from one of their input."""

Tap = Callable[[str, torch.Tensor], torch.Tensor]
"""(name of the layer, what its ReLU gave) -> what the model goes on with."""


class _Follower(TorchFunctionMode):
    """Follows the outputs of layers to the first ReLU."""

    def __init__(self, tap: Tap):
        super().__init__()
        self.tap = tap
        self.followed: dict[int, tuple[str, torch.Tensor]] = {}  # the tensor is kept, so that its id stays its own

    def follow(self, name: str, output: Any) -> None:
        if isinstance(output, torch.Tensor):
            self.followed[id(output)] = (name, output)

    def __torch_function__(self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (),
                           kwargs: dict[str, Any] | None = None) -> Any:
        kwargs = kwargs or {}
        name, _ = self.followed.get(id(args[0] if args else kwargs.get("input")), (None, None))
        result = func(*args, **kwargs)
        if name is None:
            return result
        called = getattr(func, "__name__", "")
        if called in RELUS:
            return self.tap(name, result)
        if called in PASSES:
            self.follow(name, result)
        return result


@contextmanager
def after_relu(model: nn.Module, layers: Iterable[str], tap: Tap) -> Iterator[None]:
    """Hand what the ReLU after each layer gives to `tap`, in each forward pass inside the `with` block.

    Pooling by maxima, dropout and batch normalization may stand between a layer and its ReLU. A layer without a ReLU of
    its own, for instance one whose output is added to something first, is not handed over. Enter the block anew for
    each pass: it keeps the tensors that it follows.

    Example:
        >>> seen = {}
        >>> model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2))
        >>> with after_relu(model, ["0", "2"], lambda name, values: seen.setdefault(name, values)):
        ...     _ = model(torch.ones(3, 2))
        >>> {name: bool((values >= 0).all()) for name, values in seen.items()}
        {'0': True}
    """
    follower = _Follower(tap)
    with ExitStack() as stack:
        for name in layers:
            hook = find_layer(model, name).register_forward_hook(_starter(follower, name))
            stack.callback(hook.remove)
        stack.enter_context(follower)
        yield


def _starter(follower: _Follower, name: str) -> Callable[..., None]:
    def start(module: nn.Module, inputs: Any, output: Any) -> None:
        follower.follow(name, output)

    return start
