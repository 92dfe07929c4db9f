"""Optimizers and learning-rate schedules by name."""

import math

import torch
from torch import nn

from shiftscope.errors import UsageError
from shiftscope.modules import model_name
from shiftscope.settings import ResolvedSettings, Schedule

WARM_UP, START, END = 0.25, 0.04, 1e-4
"""One-cycle: fraction of steps with a rising rate, first and last rate relative to the peak (Smith & Topin 2018)."""


def build_optimizer(model: nn.Module, settings: ResolvedSettings) -> torch.optim.Optimizer:
    """Build the optimizer; biases and gains have no weight decay.

    Raises:
        UsageError: if the model has no trainable parameters.
    """
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not parameters:
        raise UsageError(f"{model_name(model)} has no trainable parameters; set requires_grad on its weights")
    groups = [{"params": [p for p in parameters if p.ndim >= 2], "weight_decay": settings.weight_decay},
              {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0}]
    groups = [group for group in groups if group["params"]]
    rate, fused = settings.learning_rate, all(parameter.is_floating_point() for parameter in parameters)
    if settings.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=rate, momentum=settings.momentum, nesterov=settings.momentum > 0, fused=fused)
    return torch.optim.AdamW(groups, lr=rate, betas=(settings.momentum, 0.999), fused=fused)


def learning_rate(step: int, total: int, peak: float, schedule: Schedule) -> float:
    """Return the learning rate of step `step` (0 .. total-1): a pure function, so that resuming needs no state.

    >>> [round(learning_rate(step, 101, 1.0, "one-cycle"), 3) for step in (0, 25, 100)]
    [0.04, 1.0, 0.0]
    >>> learning_rate(5, 10, 0.1, "constant")
    0.1
    """
    if schedule == "constant":
        return peak
    done = step / max(total - 1, 1)
    if schedule == "cosine":
        return peak * 0.5 * (1 + math.cos(math.pi * done))
    if done < WARM_UP:
        return peak * _cosine(START, 1.0, done / WARM_UP)
    return peak * _cosine(1.0, END, (done - WARM_UP) / (1 - WARM_UP))


def _cosine(first: float, last: float, done: float) -> float:
    return last + (first - last) * 0.5 * (1 + math.cos(math.pi * done))
