"""Before a model is trained: how it takes images, what it returns in train mode, whether it takes a single image."""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from shiftscope.errors import UsageError, reason_of
from shiftscope.models.adapt import adapt, initialize
from shiftscope.models.forward import placed_outputs
from shiftscope.models.registry import registry_name
from shiftscope.modules import has_inference_tensors, model_name, set_mode
from shiftscope.placement import Placement
from shiftscope.training.plan import main_output


def prepare(model: nn.Module, shape: Sequence[int], seed: int) -> nn.Module:
    """Return a model as it takes pictures (C, H, W); lazy layers get weights that are a function of `seed`.

    Raises:
        UsageError: it does not take them, or its weights cannot learn.
    """
    initialize(model, shape, seed)
    if has_inference_tensors(model):
        raise UsageError(f"the weights of {model_name(model)} were made in torch.inference_mode and cannot learn: "
                         "build the model outside of it, or train copy.deepcopy(model)")
    return adapt(model, shape=shape)


def rehearse(model: nn.Module, images: torch.Tensor, placement: Placement, count: int, batch_size: int) -> list[str]:
    """Return notes on what a model does in train mode; nothing is tried with the models of this package.

    Args:
        images: a few, uint8 (B, C, h, w), on the model's device.
        count: images of an epoch.
        batch_size: images of a step.

    Raises:
        UsageError: it returns no (B, K) in train mode, or the last batch has one image, on which it raises.
    """
    if registry_name(model) is not None:
        return []
    try:
        twin = copy.deepcopy(model)
    except Exception:  # whatever a foreign module raises: the first step will show
        return []
    set_mode(twin, train=True)
    if min(count, batch_size) == 1 or count % batch_size == 1:
        _check_single(model, twin, images[:1], placement, batch_size)
    if len(images) < 2:
        return []
    outputs = _outputs(twin, images, placement)
    _check_learns(twin, main_output(model, outputs, len(images)))
    if isinstance(outputs, torch.Tensor):
        return []
    return [f"in train mode the model returns several outputs (a {type(outputs).__name__}): the first tensor (batch, "
            "classes), or the one called logits, is trained, the others are left out"]


def _outputs(model: nn.Module, images: torch.Tensor, placement: Placement) -> Any:
    return placed_outputs(model, images, placement.centered(len(images), images.device), placement)


def _check_learns(twin: nn.Module, outputs: torch.Tensor) -> None:
    weights = [parameter for parameter in twin.parameters() if parameter.requires_grad]
    if not outputs.requires_grad or not any(gradient is not None for gradient in torch.autograd.grad(
            outputs.sum(), weights, allow_unused=True)):  # copies of TorchScript keep no gradient in `grad`
        raise UsageError(f"the outputs of {model_name(twin)} have no gradient by its weights (whole numbers, quantized "
                         "layers, detach or no_grad): train a model that computes in floating point")


def _check_single(model: nn.Module, twin: nn.Module, image: torch.Tensor, placement: Placement,
                  batch_size: int) -> None:
    try:
        _outputs(twin, image, placement)
    except (ValueError, RuntimeError) as error:
        raise UsageError(f"the last batch of an epoch has one image, on which {model_name(model)} raises in train mode "
                         f"({reason_of(error)}): choose another batch_size than {batch_size}, or another "
                         "number of images") from error
