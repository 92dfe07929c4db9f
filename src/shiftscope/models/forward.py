"""How a model is asked about placed images: the one place where uint8 becomes pixels in [0, 1]."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn

from shiftscope.errors import UsageError
from shiftscope.layers.placed_pixels import laid_in_rows, prepared_canvases
from shiftscope.modules import described, device_and_dtype, evaluating, model_name
from shiftscope.placement import Placement

__all__ = ["at_a_glance", "check_model", "device_and_dtype", "evaluating", "placed_outputs", "placed_pixels", "to_pixels"]


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
    pixels = placed_pixels(images, offsets, placement, device_and_dtype(model)[1])
    if channels_last:
        pixels = pixels.contiguous(memory_format=torch.channels_last)
    return model(pixels)


def check_model(model: nn.Module, images: torch.Tensor, placement: Placement, classes: int) -> None:
    """Try the model on a few images, so that a wrong size or class count is said before the work begins.

    Args:
        images: uint8 (B, C, h, w).

    Raises:
        UsageError: the model raises on such pictures, or its output is not (B, classes).
    """
    name = model_name(model)
    shape = (images.shape[1], *placement.canvas)
    offsets = placement.centered(len(images), images.device)
    try:
        with evaluating(model):
            outputs = placed_outputs(model, images, offsets, placement)
    except UsageError:
        raise
    except Exception as error:
        raise UsageError(f"{name} cannot take pictures of {' x '.join(map(str, shape))} (channels, height, width): "
                         f"{described(error)}; choose the canvas and the channels that it was built for") from error
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
