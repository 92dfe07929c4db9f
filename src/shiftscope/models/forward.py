"""How a model is asked about placed images: the one place where uint8 becomes pixels in [0, 1]."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import nn

from shiftscope.errors import UsageError
from shiftscope.layers.placed_pixels import laid_in_rows, prepared_canvases
from shiftscope.placement import Placement


def home(model: nn.Module) -> tuple[torch.device, torch.dtype]:
    """Return device and floating dtype of a model: those of its first floating parameter or buffer."""
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.is_floating_point():
            return tensor.device, tensor.dtype
    return torch.device("cpu"), torch.float32


def to_pixels(images: torch.Tensor, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Return uint8 images as pixels in [0, 1].

    >>> to_pixels(torch.tensor([255], dtype=torch.uint8))
    tensor([1.])
    """
    return images.to(dtype).div_(255)


def placed_pixels(images: torch.Tensor, offsets: torch.Tensor, placement: Placement,
                  dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Return uint8 images (B, C, h, w) laid at offsets (B, 2) as pixels in [0, 1], (B, C, H, W)."""
    if laid_in_rows(placement, images.device):
        return prepared_canvases(images, offsets, placement, dtype)
    return to_pixels(placement.place(images, offsets), dtype)


def placed_outputs(model: nn.Module, images: torch.Tensor, offsets: torch.Tensor, placement: Placement, *,
                   channels_last: bool = False) -> torch.Tensor:
    """Return the model's outputs (B, K) for images laid at offsets.

    A model that has a method `forward_placed(images, offsets, placement)` is asked through it first; it may answer
    None and is then shown the whole canvas.

    Args:
        images: uint8 (B, C, h, w) on the model's device.
        offsets: int64 (B, 2).
        channels_last: memory layout of the canvases.
    """
    short_cut = getattr(model, "forward_placed", None)
    if short_cut is not None:
        outputs = short_cut(images, offsets, placement)
        if outputs is not None:
            return outputs
    pixels = placed_pixels(images, offsets, placement, home(model)[1])
    if channels_last:
        pixels = pixels.contiguous(memory_format=torch.channels_last)
    return model(pixels)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put a model into eval mode without gradients; every submodule's own mode is restored, also after an error."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, mode in modes:
            module.training = mode


def check_model(model: nn.Module, images: torch.Tensor, placement: Placement, classes: int) -> None:
    """Try the model on a few images, so that a wrong size or class count is said before the work begins.

    Args:
        images: uint8 (B, C, h, w).

    Raises:
        UsageError: the model raises on such pictures, or its output is not (B, classes).
    """
    name = type(model).__name__
    shape = (images.shape[1], *placement.canvas)
    offsets = placement.centred(len(images), images.device)
    try:
        with evaluating(model):
            outputs = placed_outputs(model, images, offsets, placement)
    except UsageError:
        raise
    except Exception as error:
        raise UsageError(f"{name} cannot take pictures of {' x '.join(map(str, shape))} (channels, height, width): "
                         f"{type(error).__name__}: {error}; choose the canvas and the channels that it was built "
                         "for") from error
    if not isinstance(outputs, torch.Tensor) or outputs.ndim != 2 or len(outputs) != len(images):
        got = tuple(outputs.shape) if isinstance(outputs, torch.Tensor) else type(outputs).__name__
        raise UsageError(f"{name} must return a tensor (batch, classes), got {got} for a batch of {len(images)}")
    if outputs.shape[1] != classes:
        raise UsageError(f"{name} tells {outputs.shape[1]} classes apart, the dataset has {classes}: build the model "
                         f"with classes={classes}, or choose the dataset that it was made for")


def at_a_glance(model: nn.Module) -> AbstractContextManager[None]:
    """Return a context in which a model may answer with less care: training is watched in it, nothing is judged.

    A model that averages over views of a picture has a method `at_a_glance` that returns it.
    """
    own = getattr(model, "at_a_glance", None)
    return nullcontext() if own is None else own()
