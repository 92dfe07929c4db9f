"""What a model's layers give for many pictures: batch by batch, or all at once."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

from shiftscope import hooks
from shiftscope.errors import UsageError, require
from shiftscope.models.adapt import Normalization, adapt
from shiftscope.models.forward import device_and_dtype
from shiftscope.modules import Classifier, model_errors, model_name
from shiftscope.visualization.anatomy import CLASSES


def as_pixels(images: Any, what: str = "images") -> torch.Tensor:
    """Return pictures as pixels in [0, 1].

    Args:
        images: tensor or array (B, C, H, W), uint8, or floats in [0, 1].
        what: what messages call them.

    Returns:
        float32, or the floating dtype that they had, (B, C, H, W).

    Raises:
        UsageError: another shape, no pictures, or values that are not finite or outside [0, 1].

    Example:
        >>> as_pixels(np.full((1, 1, 1, 2), 255, np.uint8))
        tensor([[[[1., 1.]]]])
    """
    pixels = images.detach() if isinstance(images, torch.Tensor) else torch.as_tensor(np.asarray(images))
    require(pixels.ndim == 4 and pixels.numel() > 0, what, tuple(pixels.shape),
            "at least one picture, as (batch, channels, height, width)")
    if pixels.dtype == torch.uint8:
        return pixels.float() / 255
    require(pixels.is_floating_point(), what, pixels.dtype, "uint8, or floats from 0 to 1")
    finite = bool(pixels.isfinite().all())
    inside = finite and bool(((pixels >= 0) & (pixels <= 1)).all())
    found = f"{pixels.min():g} to {pixels.max():g}" if finite else "NaN or infinity"
    require(inside, what, found, "pixels from 0 to 1, or uint8: a model that wants them normalized is given normalize=")
    return pixels


@contextmanager
def capture(model: Classifier, images: Any, layers: Iterable[str], *, batch_size: int = 256,
            normalize: Normalization | None = None,
            preprocess: Callable[[torch.Tensor], torch.Tensor] | None = None
            ) -> Iterator[Iterator[dict[str, torch.Tensor]]]:
    """Show a model pictures and look at what its layers give, batch by batch.

    The model is in eval mode, without gradients, until the `with` block ends, and then as it was before.

    Args:
        model: takes pixels (B, C, H, W) in [0, 1]; on any device.
        images: (N, C, H, W), uint8 or floats in [0, 1].
        layers: names of submodules; "class" is the model's output before its softmax.
        batch_size: pictures a forward pass.
        normalize: (mean, std) for a model that wants its pixels normalized.
        preprocess: instead of `normalize`, whatever the model wants done to pixels first.

    Yields:
        An iterator over batches: name -> (B, ...), on the model's device.

    Raises:
        UsageError: an unknown layer, images that cannot be, a layer that was not visited or gives no tensor.

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
        yield {name: _tensor(outputs, name, model) for name in names}


def _tensor(outputs: dict[str, Any], name: str, model: nn.Module) -> torch.Tensor:
    found = outputs.get(name)
    if not isinstance(found, torch.Tensor):
        gave = "was not visited" if name not in outputs else f"gives a {type(found).__name__}"
        raise UsageError(f"the layer {name!r} of {model_name(model)} {gave}, expected a tensor: choose a layer "
                         "inside or after it")
    return found


def activations(model: Classifier, images: Any, layers: Iterable[str], **options: Any) -> dict[str, torch.Tensor]:
    """Return what layers give for all pictures, on the CPU; arguments and errors as those of `capture`.

    Returns:
        name -> (N, ...).

    Example:
        >>> from shiftscope.models import TwoFullNet
        >>> found = activations(TwoFullNet(canvas=(6, 5)), torch.zeros(3, 1, 6, 5), ["fc1", "class"], batch_size=2)
        >>> {name: tuple(values.shape) for name, values in found.items()}
        {'fc1': (3, 100), 'class': (3, 10)}
    """
    names = list(layers)
    parts: dict[str, list[torch.Tensor]] = {name: [] for name in names}
    with capture(model, images, names, **options) as batches:
        for batch in batches:
            for name, values in batch.items():
                parts[name].append(values.cpu())
    return {name: torch.cat(found) for name, found in parts.items()}
