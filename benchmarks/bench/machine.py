"""Description and arithmetic speed of the machine."""

import math
import os
import statistics
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from bench.worker import timed
from shiftscope.models.forward import device_and_dtype
from shiftscope.workflows.doctor import system

PRODUCT = {"cpu": 2048, "cuda": 8192}
"""Rows of the multiplied square matrices, large enough to use all cores or the GPU."""


def describe_machine(device: torch.device) -> dict[str, Any]:
    """Return processor, cores, threads and versions, as plain JSON."""
    here = system()
    gpu = {"gpu": torch.cuda.get_device_name(device)} if device.type == "cuda" else {}
    return {"processor": here["processor"], "cores": here["cores"], "cores_of_machine": os.cpu_count(),
            "threads": torch.get_num_threads(), "memory": here["memory"], "platform": here["platform"],
            "capability": torch.backends.cpu.get_cpu_capability(), "torch": torch.__version__,
            "device": str(device)} | gpu


def product_speed(device: torch.device, size: int | None = None, repeats: int = 5) -> float:
    """Return the operations per second of a float32 matrix product, median of `repeats`."""
    size = size or PRODUCT.get(device.type, PRODUCT["cpu"])
    a, b = torch.rand(2, size, size, device=device)
    product = torch.empty_like(a)
    torch.mm(a, b, out=product)  # warms up
    return 2 * size ** 3 / statistics.median(timed(lambda: torch.mm(a, b, out=product), device)
                                             for _ in range(repeats))


def count_operations(model: nn.Module, pixels: torch.Tensor, labels: torch.Tensor) -> int:
    """Return the operations of forward and backward on the whole canvas: 2 for each multiplication and addition.

    Pointwise steps and pooling are not counted. The gradients of the model do not change.

    Example:
        >>> model = nn.Linear(3, 2)  # forward and the weights' gradient: 2 * 5 * 6 each
        >>> count_operations(model, torch.ones(5, 3), torch.zeros(5, dtype=torch.int64))
        120
    """
    kept = [parameter.grad for parameter in model.parameters()]
    corrected = {torch.ops.aten.convolution_backward: _convolution_backward}
    counter = FlopCounterMode(display=False, custom_mapping=corrected)
    with torch.random.fork_rng(), counter:
        F.cross_entropy(model(pixels.to(device_and_dtype(model)[0])), labels.to(device_and_dtype(model)[0])).backward()
    for parameter, grad in zip(model.parameters(), kept, strict=True):
        parameter.grad = grad
    return counter.get_total_flops()


def _convolution_backward(grad: Sequence[int], x: Sequence[int], weight: Sequence[int], bias: Any, stride: Any,
                          padding: Any, dilation: Any, transposed: bool, output_padding: Any, groups: int,
                          wanted: Sequence[bool], **_: Any) -> int:
    """Return the operations of the gradients of a convolution; each costs as much as the forward pass.

    PyTorch counts the weight gradient of a grouped convolution as if it had one group.
    """
    field = x if transposed else grad
    return 2 * math.prod(field) * math.prod(weight[1:]) * sum(wanted[:2])
