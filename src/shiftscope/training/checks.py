"""Checks before training: input layout, outputs in train mode, batches of a single image."""

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
    """Adapt a model to images (C, H, W); weights of lazy layers are a function of `seed`.

    Raises:
        UsageError: if the model does not accept such images or its weights cannot be trained.
    """
    initialize(model, shape, seed)
    if has_inference_tensors(model):
        raise UsageError(f"the weights of {model_name(model)} were made in torch.inference_mode and cannot be trained; "
                         "build the model outside of it, or train copy.deepcopy(model)")
    return adapt(model, shape=shape)


def check_train_mode(model: nn.Module, images: torch.Tensor, placement: Placement, count: int,
                     batch_size: int) -> list[str]:
    """Run a model in train mode and return notes on its outputs; models of this package are not tried.

    Args:
        images: a few, uint8 (B, C, h, w), on the model's device.
        count: images per epoch.
        batch_size: images per step.

    Raises:
        UsageError: if it returns no (B, K) or outputs without gradients, or raises for a last batch of one image.
    """
    if registry_name(model) is not None:
        return []
    try:
        twin = copy.deepcopy(model)
    except Exception:  # a user's model may raise anything; the first step will show it
        return []
    set_mode(twin, train=True)
    if min(count, batch_size) == 1 or count % batch_size == 1:
        _check_single(twin, images[:1], placement, batch_size)
    if len(images) < 2:
        return []
    outputs = _outputs(twin, images, placement)
    _check_gradient(twin, main_output(model, outputs, len(images)))
    if isinstance(outputs, torch.Tensor):
        return []
    return [f"in train mode the model returns several outputs (a {type(outputs).__name__}): the first tensor (batch, "
            "classes), or the one called logits, is trained, the others are ignored"]


def _outputs(model: nn.Module, images: torch.Tensor, placement: Placement) -> Any:
    return placed_outputs(model, images, placement.centered(len(images), images.device), placement)


def _check_gradient(twin: nn.Module, outputs: torch.Tensor) -> None:
    weights = [parameter for parameter in twin.parameters() if parameter.requires_grad]
    if not outputs.requires_grad or not any(gradient is not None for gradient in torch.autograd.grad(
            outputs.sum(), weights, allow_unused=True)):  # copies of TorchScript keep no gradient in `grad`
        raise UsageError(f"the outputs of {model_name(twin)} have no gradient with respect to its weights (integers, "
                         "quantized layers, detach or no_grad); train a model that computes in floating point")


def _check_single(twin: nn.Module, image: torch.Tensor, placement: Placement, batch_size: int) -> None:
    try:
        _outputs(twin, image, placement)
    except (ValueError, RuntimeError) as error:
        raise UsageError(f"the last batch of an epoch has one image, for which {model_name(twin)} raises in train mode "
                         f"({reason_of(error)}); choose another batch_size than {batch_size}, or another "
                         "number of images") from error
