"""Recording and changing what a model computes: outputs of submodules, the input of its softmax, memory layout.

Everything that is attached to a model is removed at the end of the `with` block, also after an error.
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
from shiftscope.modules import eval_mode, model_name, tensors_of


def match_layer(name: str, known: Iterable[str], owner: str) -> str:
    """Return the submodule name that equals `name`, or the only one that ends with it.

    Args:
        known: names of submodules.
        owner: name of the model in messages.

    Raises:
        UsageError: if no name or several match; the names are listed.

    Example:
        >>> match_layer("fc1", ["model", "model.fc1"], "Net")
        'model.fc1'
    """
    names = [key for key in known if key]
    if name in names:
        return name
    matches = [key for key in names if key.endswith(f".{name}")]
    if len(matches) > 1:
        raise UsageError(f"the layer name {name!r} is ambiguous: {', '.join(matches)}; give the full name")
    if not matches:
        raise unknown(f"layer of {owner}", name, names)
    return matches[0]


def find_layer(model: nn.Module, name: str) -> nn.Module:
    """Return the submodule called `name`, see `match_layer`."""
    layers = dict(model.named_modules(remove_duplicate=False))
    return layers[match_layer(name, layers, model_name(model))]


@contextmanager
def capture(model: nn.Module, layers: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Record the outputs of submodules in each forward pass inside the `with` block.

    Args:
        model: any module.
        layers: names of submodules, see `match_layer`.

    Yields:
        A dictionary that each forward pass fills: name -> output, with gradients. Tensors are copies, so that a later
        in-place operation (`ReLU(inplace=True)`) does not change them. If a submodule is called several times in one
        pass, the last call counts; for a model that takes one image at a time, the outputs for the batch are
        concatenated. Submodules that are not called have no entry.

    Raises:
        UsageError: if a layer is unknown or is TorchScript.

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
            stack.callback(layer.register_forward_hook(_recorder(outputs, name, model)).remove)
        yield outputs


def _recorder(outputs: dict[str, Any], name: str, model: nn.Module) -> Callable[..., None]:
    parts: list[Any] = []

    def record(module: nn.Module, inputs: Any, output: Any) -> None:
        output = without_repeated(model, output)
        parts[getattr(model, "images_done", 0):] = [output.clone() if isinstance(output, torch.Tensor) else output]
        joined = len(parts) > 1 and all(isinstance(part, torch.Tensor) for part in parts)
        outputs[name] = torch.cat(parts) if joined else parts[-1]

    return record


def without_repeated(model: nn.Module, output: Any) -> Any:
    """Return a layer's output without the second row, if a single image is duplicated for the model."""
    return output[:1] if isinstance(output, torch.Tensor) and getattr(model, "repeating", False) else output


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """Put a model into eval mode without gradients of its parameters; gradients of the input are computed.

    Modes, `requires_grad` and the generators of torch, NumPy and Python are restored, also after an error. A model that
    uses random numbers in eval mode gets the same ones each time.
    """
    trained = [parameter for parameter in model.parameters()
               if parameter.requires_grad and not parameter.is_inference()]
    with seeded((parameter.device for parameter in model.parameters()), 0), eval_mode(model), torch.enable_grad():
        try:
            for parameter in trained:
                parameter.requires_grad_(False)
            yield
        finally:
            for parameter in trained:
                parameter.requires_grad_(True)


@contextmanager
def channels_last(model: nn.Module) -> Iterator[None]:
    """Convert convolution weights to channels-last, which makes convolutions on CPUs twice as fast.

    At exit each parameter has its original storage again.
    """
    filters = [(parameter, parameter.data) for parameter in model.parameters() if parameter.ndim == 4]
    try:
        for parameter, data in filters:
            parameter.data = _as_channels_last(data)
        yield
    finally:
        for parameter, data in filters:
            parameter.data = data


def _as_channels_last(data: torch.Tensor) -> torch.Tensor:
    """Return filters (O, C, h, w) with channels-last strides.

    For one channel `contiguous` leaves the strides unchanged, and PyTorch then selects the slower layout.
    """
    _, channels, height, width = data.shape
    if data.stride() == (channels * height * width, 1, width * channels, channels):
        return data
    return data.clone(memory_format=torch.channels_last)


@contextmanager
def memory_format(model: nn.Module, *, channels_last: bool) -> Iterator[None]:
    """Convert all 4D tensors of a model, weights and buffers, to channels-last, and to contiguous at exit.

    They may be trained inside, unlike in `channels_last`. `nn.Module.to` rejects models that also have 5D tensors.
    """
    def convert(memory_format: torch.memory_format) -> None:
        for tensor in tensors_of(model):
            if tensor.ndim == 4 and tensor.layout == torch.strided:
                tensor.data = tensor.data.to(memory_format=memory_format)

    if not channels_last:
        yield
        return
    try:
        convert(torch.channels_last)
        yield
    finally:
        convert(torch.contiguous_format)


class SoftmaxInput(TorchFunctionMode):
    """Record the input of a model's last softmax or log-softmax inside a `with` block, however the model calls it.

    It serves objectives and displayed activations. Labels and metrics always come from the output of the model.

    Args:
        leak: negative slope that ReLUs get meanwhile; 0: no change.

    Example:
        >>> model = nn.Sequential(nn.Linear(3, 2), nn.LogSoftmax(dim=1))
        >>> with SoftmaxInput() as recorded:
        ...     output = model(torch.ones(1, 3))
        >>> torch.equal(recorded.logits(output), model[0](torch.ones(1, 3)))
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
        """Return the input of the softmax that computed `output`.

        `output` itself is returned if no softmax computed it, or if it was changed in place since.
        """
        if self.softmax is None:
            return output
        source, result, version = self.softmax
        return source if result is output and _version(result) == version else output


def _version(tensor: torch.Tensor) -> int:
    """Return the number of in-place changes of a tensor; inference tensors do not count them."""
    return 0 if tensor.is_inference() else tensor._version


def _over_classes(result: torch.Tensor, dim: int | None = None, **others: Any) -> bool:
    """Return True for a softmax over the classes (K) of an output (B, K)."""
    return result.ndim == 2 and dim in (1, -1, None)
