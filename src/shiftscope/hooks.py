"""Looking into a model while it computes: what its submodules give, and what goes into its final softmax.

Whatever is attached to a model here is taken off again when the `with` block ends, however it ends.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import TorchFunctionMode

from shiftscope.errors import UsageError, unknown
from shiftscope.generators import seeded
from shiftscope.modules import eval_mode, model_name


def match_layer(name: str, known: Iterable[str], owner: str) -> str:
    """Return the known name that is `name`, or the only one that ends so.

    Args:
        known: names of submodules.
        owner: what the message calls the model.

    Raises:
        UsageError: there is none, or there are several; the names are listed.

    Example:
        >>> match_layer("fc1", ["model", "model.fc1"], "Net")
        'model.fc1'
    """
    names = [key for key in known if key]
    if name in names:
        return name
    matches = [key for key in names if key.endswith(f".{name}")]
    if len(matches) > 1:
        raise UsageError(f"the layer {name!r} could be any of {', '.join(matches)}: give the whole name")
    if not matches:
        raise unknown(f"layer of {owner}", name, names)
    return matches[0]


def find_layer(model: nn.Module, name: str) -> nn.Module:
    """Return the submodule called `name`, which may be the last part of its name alone, see `match_layer`."""
    layers = dict(model.named_modules(remove_duplicate=False))
    return layers[match_layer(name, layers, model_name(model))]


@contextmanager
def capture(model: nn.Module, layers: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Keep what submodules give in each forward pass inside the `with` block.

    Args:
        model: any module.
        layers: names of submodules, see `match_layer`.

    Yields:
        A dictionary that each forward pass fills: name -> output, gradients flow through it. A tensor is a copy, so
        that a later step in place (`ReLU(inplace=True)`) leaves it alone. Of several calls of a submodule in one pass
        the last one counts; of a model that takes one picture at a time, what all pictures of the batch give; a
        submodule that is not called has no entry.

    Raises:
        UsageError: an unknown layer.

    Example:
        >>> model = nn.Sequential(nn.Linear(3, 2), nn.ReLU(inplace=True))
        >>> with capture(model, ["0"]) as outputs:
        ...     _ = model(torch.ones(5, 3))
        >>> outputs["0"].shape
        torch.Size([5, 2])
    """
    outputs: dict[str, Any] = {}
    with ExitStack() as stack:
        for name in layers:
            layer = find_layer(model, name)
            if isinstance(layer, torch.jit.ScriptModule):
                raise UsageError(f"the layer {name!r} of {model_name(model)} is TorchScript, which hides its layers: "
                                 "give the model that it was made from")
            stack.callback(layer.register_forward_hook(_keeper(outputs, name, model)).remove)
        yield outputs


def _keeper(outputs: dict[str, Any], name: str, model: nn.Module) -> Callable[..., None]:
    parts: list[Any] = []

    def keep(module: nn.Module, inputs: Any, output: Any) -> None:
        output = asked_for(model, output)
        parts[getattr(model, "asked", 0):] = [output.clone() if isinstance(output, torch.Tensor) else output]
        together = len(parts) > 1 and all(isinstance(part, torch.Tensor) for part in parts)
        outputs[name] = torch.cat(parts) if together else parts[-1]

    return keep


def asked_for(model: nn.Module, output: Any) -> Any:
    """Return what a layer gives without the second row of a single picture that was shown to the model twice."""
    return output[:1] if isinstance(output, torch.Tensor) and getattr(model, "twice", False) else output


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """Put a model into eval mode with no gradients for its parameters, while gradients flow through to its input.

    Modes, `requires_grad` and the generators of torch, NumPy and Python are restored, also after an error. A model that
    draws random numbers even in eval mode draws the same ones each time.
    """
    learning = [parameter for parameter in model.parameters()
                if parameter.requires_grad and not parameter.is_inference()]
    with seeded((parameter.device for parameter in model.parameters()), 0), eval_mode(model), torch.enable_grad():
        try:
            for parameter in learning:
                parameter.requires_grad_(False)
            yield
        finally:
            for parameter in learning:
                parameter.requires_grad_(True)


@contextmanager
def channels_last(model: nn.Module) -> Iterator[None]:
    """Lay a model's filters out with the channels of a pixel side by side: convolutions on CPUs are then twice as fast.

    Afterwards each parameter holds the very memory that it held before.
    """
    filters = [(parameter, parameter.data) for parameter in model.parameters() if parameter.ndim == 4]
    try:
        for parameter, data in filters:
            parameter.data = _side_by_side(data)
        yield
    finally:
        for parameter, data in filters:
            parameter.data = data


@contextmanager
def laid_out(model: nn.Module, *, channels_last: bool) -> Iterator[None]:
    """Lay out all tensors of four axes, weights and buffers, channels-last, and contiguously again afterwards.

    They may learn in between, unlike inside `channels_last`. `nn.Module.to` refuses models that also have five axes.
    """
    def lay(memory_format: torch.memory_format) -> None:
        for tensor in (*model.parameters(), *model.buffers()):
            if tensor.ndim == 4 and tensor.layout == torch.strided:
                tensor.data = tensor.data.to(memory_format=memory_format)

    if not channels_last:
        yield
        return
    try:
        lay(torch.channels_last)
        yield
    finally:
        lay(torch.contiguous_format)


def _side_by_side(data: torch.Tensor) -> torch.Tensor:
    """Return filters (O, C, h, w) with the channels of a pixel side by side, and strides that say so.

    `contiguous` leaves those of one channel alone, for they are so already; torch then takes the slower layout.
    """
    _, channels, height, width = data.shape
    if data.stride() == (channels * height * width, 1, width * channels, channels):
        return data
    return data.clone(memory_format=torch.channels_last)


class Watch(TorchFunctionMode):
    """Watches the functions that torch calls inside a `with` block, for objectives and activations that are shown.

    It remembers the input of the last softmax or log-softmax, however the model calls it, and may let ReLUs leak.
    Labels and figures are never read off what it returns: they come from the output of the model.

    Args:
        leak: slope of every ReLU below zero; 0 leaves them as they are.

    Example:
        >>> model = nn.Sequential(nn.Linear(3, 2), nn.LogSoftmax(dim=1))
        >>> with Watch() as watch:
        ...     output = model(torch.ones(1, 3))
        >>> torch.equal(watch.logits(output), model[0](torch.ones(1, 3)))
        True
    """

    def __init__(self, leak: float = 0.0):
        super().__init__()
        self.leak = leak
        self.softmax: tuple[torch.Tensor, torch.Tensor, int] | None = None

    def __torch_function__(self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (),
                           kwargs: dict[str, Any] | None = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if self.leak and name in ("relu", "relu_"):
            source = args[0] if args else kwargs["input"]
            return F.leaky_relu(source, self.leak, inplace=name == "relu_")
        result = func(*args, **kwargs)
        if name in ("softmax", "log_softmax") and _over_classes(result, *args[1:2], **kwargs):
            self.softmax = (args[0] if args else kwargs["input"], result, _version(result))
        return result

    def logits(self, output: torch.Tensor) -> torch.Tensor:
        """Return the input of the softmax that gave `output`; `output` itself where none gave it, or where the result
        of the softmax was changed in place since."""
        if self.softmax is None:
            return output
        source, result, version = self.softmax
        return source if result is output and _version(result) == version else output


def _version(tensor: torch.Tensor) -> int:
    """Return how often a tensor was changed in place; inference tensors do not count it."""
    return 0 if tensor.is_inference() else tensor._version


def _over_classes(result: torch.Tensor, dim: int | None = None, **others: Any) -> bool:
    """Return whether a softmax gave rows of probabilities over classes: one over the batch is no final softmax."""
    return result.ndim == 2 and dim in (1, -1, None)
