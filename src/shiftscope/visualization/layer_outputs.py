"""Outputs of a model's layers: batch by batch, for all images, or after the ReLU that follows a layer."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from shiftscope import hooks
from shiftscope.errors import UsageError, require
from shiftscope.models.adapt import Normalization, adapt
from shiftscope.models.forward import device_and_dtype
from shiftscope.modules import Classifier, model_errors, model_name
from shiftscope.visualization.model_info import CLASSES

RELUS = {"relu", "relu_", "relu6"}
FOLLOWED = {"max_pool2d", "_max_pool2d", "max_pool2d_with_indices", "dropout", "dropout1d", "dropout2d",
            "feature_dropout", "batch_norm", "instance_norm"}
"""Functions allowed between a layer and its ReLU: each unit of their output depends on one unit of their input."""


def as_pixels(images: Any, name: str = "images") -> torch.Tensor:
    """Return images (B, C, H, W), uint8 or floats in [0, 1], as float pixels; `name` is for error messages."""
    pixels = images.detach() if isinstance(images, torch.Tensor) else torch.as_tensor(np.asarray(images))
    require(pixels.ndim == 4 and pixels.numel() > 0, name, tuple(pixels.shape),
            "at least one image, as (batch, channels, height, width)")
    if pixels.dtype == torch.uint8:
        return pixels.float() / 255
    require(pixels.is_floating_point(), name, pixels.dtype, "uint8, or floats from 0 to 1")
    finite = bool(pixels.isfinite().all())
    valid = finite and bool(((pixels >= 0) & (pixels <= 1)).all())
    require(valid, name, f"{pixels.min():g} to {pixels.max():g}" if finite else "NaN or infinity",
            "pixels from 0 to 1, or uint8 (use normalize= for a model that expects normalized pixels)")
    return pixels


@contextmanager
def capture(model: Classifier, images: Any, layers: Iterable[str], *, batch_size: int = 256,
            normalize: Normalization | None = None,
            preprocess: Callable[[torch.Tensor], torch.Tensor] | None = None
            ) -> Iterator[Iterator[dict[str, torch.Tensor]]]:
    """Run a model on images and yield the outputs of layers, batch by batch.

    The model is in eval mode without gradients until the `with` block ends; then its state is restored.

    Args:
        model: takes pixels (B, C, H, W) in [0, 1]; on any device.
        images: (N, C, H, W), uint8 or floats in [0, 1].
        layers: names of submodules; "class" is the model's output before its softmax.
        batch_size: images per forward pass.
        normalize: (mean, std) for a model that expects normalized pixels.
        preprocess: replaces `normalize`: any function of pixels.

    Yields:
        An iterator over batches: name -> (B, ...), on the model's device.

    Raises:
        UsageError: if a layer is unknown, was not called or does not return a tensor, or the images are invalid.

    Example:
        >>> from shiftscope.models import TwoFullNet
        >>> with capture(TwoFullNet(canvas=(6, 5)), torch.zeros(3, 1, 6, 5), ["fc1"], batch_size=2) as batches:
        ...     [tuple(batch["fc1"].shape) for batch in batches]
        [(2, 100), (1, 100)]
    """
    require(batch_size >= 1, "batch_size", batch_size, "at least 1")
    pixels, names = as_pixels(images), list(layers)
    with model_errors(model):
        prepared = adapt(model, normalize=normalize, preprocess=preprocess, shape=pixels.shape[1:])
    inner = [name for name in names if name != CLASSES]
    with hooks.frozen(prepared), torch.no_grad(), hooks.capture(prepared, inner) as outputs:
        yield _batches(prepared, pixels, names, outputs, batch_size)


def _batches(model: nn.Module, pixels: torch.Tensor, names: list[str], outputs: dict[str, Any],
             batch_size: int) -> Iterator[dict[str, torch.Tensor]]:
    device, dtype = device_and_dtype(model)
    for batch in pixels.split(batch_size):
        outputs.clear()
        with torch.no_grad(), model_errors(model), hooks.SoftmaxInput() as watch:
            outputs[CLASSES] = watch.logits(model(batch.to(device, dtype, copy=True)))
        for name in names:
            if not isinstance(outputs.get(name), torch.Tensor):
                reason = f"returns a {type(outputs[name]).__name__}" if name in outputs else "was not called"
                raise UsageError(f"the layer {name!r} of {model_name(model)} {reason}, expected a tensor: choose a "
                                 "layer inside or after it")
        yield {name: outputs[name] for name in names}


def activations(model: Classifier, images: Any, layers: Iterable[str], **options: Any) -> dict[str, torch.Tensor]:
    """Return the outputs (N, ...) of layers for all images, on the CPU; arguments and errors as for `capture`."""
    names = list(layers)
    with capture(model, images, names, **options) as batches:
        parts = [{name: values.cpu() for name, values in batch.items()} for batch in batches]
    return {name: torch.cat([part[name] for part in parts]) for name in names}


Tap = Callable[[str, torch.Tensor], torch.Tensor]
"""(name of the layer, output of its ReLU) -> the tensor that replaces this output."""


class _Follower(TorchFunctionMode):
    """Follows the outputs of layers to the first ReLU."""

    def __init__(self, tap: Tap):
        super().__init__()
        self.tap = tap
        self.followed: dict[int, tuple[str, torch.Tensor]] = {}  # holds the tensors, so that ids stay unique

    def follow(self, name: str, output: Any) -> None:
        if isinstance(output, torch.Tensor):
            self.followed[id(output)] = (name, output)

    def __torch_function__(self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (),
                           kwargs: dict[str, Any] | None = None) -> Any:
        kwargs = kwargs or {}
        layer, _ = self.followed.get(id(args[0] if args else kwargs.get("input")), (None, None))
        result = func(*args, **kwargs)
        function = getattr(func, "__name__", "")
        if layer is not None and function in RELUS:
            return self.tap(layer, result)
        if layer is not None and function in FOLLOWED:
            self.follow(layer, result)
        return result


@contextmanager
def after_relu(model: nn.Module, layers: Iterable[str], tap: Tap) -> Iterator[None]:
    """Pass the output of the ReLU after each layer to `tap` in one forward pass inside the `with` block.

    Max pooling, dropout and batch normalization may be between a layer and its ReLU. Layers without their own ReLU are
    skipped, for instance if their output is first added to another one. The block holds the tensors that it follows:
    use a new one for each forward pass.
    """
    follower = _Follower(tap)

    def hook_for(name: str) -> Callable[..., None]:
        return lambda module, inputs, output: follower.follow(name, output)

    with ExitStack() as stack:
        for name in layers:
            stack.callback(hooks.find_layer(model, name).register_forward_hook(hook_for(name)).remove)
        stack.enter_context(follower)
        yield
