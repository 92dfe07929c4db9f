"""Forward passes on placed images: the only place where uint8 images become pixels in [0, 1]."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from math import prod

import torch
from torch import nn

from shiftscope.errors import UsageError
from shiftscope.geometry import MOST_PIXELS
from shiftscope.layers.placed_images import can_prepare_first, prepare_and_place
from shiftscope.models.select_output import is_binary
from shiftscope.modules import device_and_dtype, evaluating, input_error, model_name
from shiftscope.placement import Placement

__all__ = ["MAX_VALUES", "check_model", "check_pixels", "device_and_dtype", "evaluating", "placed_outputs",
           "placed_pixels", "single_view", "to_pixels", "within_limits"]

MAX_VALUES = 2**26
"""Size limit of one image, or of a batch of fixed size, if the size comes from a file."""


def within_limits(shape: Sequence[int]) -> bool:
    """Return True if images, or a batch of them, of a shape (..., height, width) from a file may be allocated.

    >>> within_limits((3, 224, 224)), within_limits((0, 8, 8)), within_limits((10**6, 28, 28))
    (True, False, False)
    """
    return min(shape) >= 1 and prod(shape) <= MAX_VALUES and prod(shape[-2:]) <= MOST_PIXELS


def to_pixels(images: torch.Tensor, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Return uint8 images as pixels in [0, 1].

    >>> to_pixels(torch.tensor([255], dtype=torch.uint8))
    tensor([1.])
    """
    return images.to(dtype).div_(255)


def placed_pixels(images: torch.Tensor, offsets: torch.Tensor, placement: Placement,
                  dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Return uint8 images (B, C, h, w) placed at offsets (B, 2) as pixels in [0, 1], (B, C, H, W)."""
    if can_prepare_first(placement, images.device):
        return prepare_and_place(images, offsets, placement, dtype)
    return to_pixels(placement.place(images, offsets), dtype)


def placed_outputs(model: nn.Module, images: torch.Tensor, offsets: torch.Tensor, placement: Placement, *,
                   channels_last: bool = False) -> torch.Tensor:
    """Return the model's outputs (B, K) for images placed at offsets.

    If the model has a method `forward_placed(images, offsets, placement)`, it is tried first. It returns the outputs
    (B, K) of `forward` for the placed images, or None; the model then gets the whole canvas.

    Args:
        images: uint8 (B, C, h, w) on the model's device.
        offsets: int64 (B, 2).
        channels_last: memory format of the canvases.
    """
    forward_placed = getattr(model, "forward_placed", None)
    if forward_placed is not None:
        outputs = forward_placed(images, offsets, placement)
        if outputs is not None:
            return outputs
    pixels = placed_pixels(images, offsets, placement, device_and_dtype(model)[1])
    if channels_last:
        pixels = pixels.contiguous(memory_format=torch.channels_last)
    return model(pixels)


def check_pixels(model: nn.Module, pixels: torch.Tensor, expected: tuple[int, int, int]) -> None:
    """Raise a `UsageError` if `pixels` is not (batch, *expected)."""
    if pixels.ndim != 4 or tuple(pixels.shape[1:]) != expected:
        channels, height, width = expected
        raise UsageError(f"{type(model).__name__} was built for images of {channels} x {height} x {width} (channels, "
                         f"height, width), got {tuple(pixels.shape)}: choose that canvas, or build the model with "
                         "canvas=(H, W) and channels=C of your images")


def check_model(model: nn.Module, images: torch.Tensor, placement: Placement, classes: int | None) -> int:
    """Try the model on a few images, so that a wrong size or number of classes is reported before work begins.

    Args:
        images: uint8 (B, C, h, w).
        classes: expected number of outputs; None: any.

    Returns:
        The number of outputs.

    Raises:
        UsageError: if the model raises on such images, or its output is not (B, classes).
    """
    name = model_name(model)
    offsets = placement.centered(len(images), images.device)
    try:
        with evaluating(model):
            outputs = placed_outputs(model, images, offsets, placement)
    except UsageError:
        raise
    except Exception as error:
        raise input_error(model, (images.shape[1], *placement.canvas), error) from error
    if not isinstance(outputs, torch.Tensor) or outputs.ndim != 2 or len(outputs) != len(images):
        got = tuple(outputs.shape) if isinstance(outputs, torch.Tensor) else type(outputs).__name__
        _check_not_binary(outputs, name, len(images))
        raise UsageError(f"{name} must return a tensor (batch, classes), got {got} for a batch of {len(images)}")
    if classes in (None, 2):
        _check_not_binary(outputs, name, len(images))
    if classes is not None and outputs.shape[1] != classes:
        raise UsageError(f"{name} has {outputs.shape[1]} outputs, the dataset has {classes} classes: build the model "
                         f"with classes={classes}, or choose the dataset that it was made for")
    return outputs.shape[1]


def _check_not_binary(outputs: object, name: str, batch: int) -> None:
    if isinstance(outputs, torch.Tensor) and is_binary(outputs, batch):
        raise UsageError(f"{name} returns one number per image, of shape {tuple(outputs.shape)}: give its type with "
                         "output_type= (--output-type), one of logits, probabilities and log-probabilities")


def single_view(model: nn.Module) -> AbstractContextManager[None]:
    """Return a context in which a model that averages over views of an image uses only one, to save time in training.

    Such models have a method `single_view()` that returns it.
    """
    own = getattr(model, "single_view", None)
    return nullcontext() if own is None else own()
