"""Optimizers by name."""

import torch
from torch import nn

from shiftscope.errors import UsageError
from shiftscope.modules import model_name
from shiftscope.settings import ResolvedSettings


def build_optimizer(model: nn.Module, settings: ResolvedSettings) -> torch.optim.Optimizer:
    """Return the optimizer that resolved settings ask for; biases and gains do not decay.

    Raises:
        UsageError: the model has nothing to train.
    """
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not parameters:
        raise UsageError(f"{model_name(model)} has no parameters that may change: give a model with requires_grad "
                         "weights")
    groups = [{"params": [p for p in parameters if p.ndim >= 2], "weight_decay": settings.weight_decay},
              {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0}]
    groups = [group for group in groups if group["params"]]
    rate, fused = settings.learning_rate, all(parameter.is_floating_point() for parameter in parameters)
    if settings.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=rate, momentum=settings.momentum, nesterov=settings.momentum > 0, fused=fused)
    return torch.optim.AdamW(groups, lr=rate, betas=(settings.momentum, 0.999), fused=fused)
