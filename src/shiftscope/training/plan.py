"""How a training step is computed: memory layout, micro-batches, precision, reuse of freed memory."""

import copy
import ctypes
import functools
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from shiftscope.errors import UsageError
from shiftscope.hooks import memory_format
from shiftscope.models.forward import device_and_dtype, evaluating, placed_outputs, placed_pixels
from shiftscope.modules import model_name
from shiftscope.placement import Placement
from shiftscope.settings import Precision, ResolvedSettings

MICRO_BATCH = 125
"""Images per forward pass of a convnet on a CPU. With 2 MiB of second-level cache per core, 32 to 125 differ by less
than 5 %; on machines with less cache smaller ones may be faster, see `trial.py`."""

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3
_LARGEST_THRESHOLD = 32 * 2**20  # glibc refuses more on 64-bit systems


@dataclass(frozen=True)
class Plan:
    """Saved in the training state: with the same plan and number of threads, a seed gives bit-identical results."""

    micro_batch: int
    """Images per forward pass; 0: the whole batch."""
    channels_last: bool
    threads: int
    precision: Precision = "float32"
    compiled: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain JSON."""
        return asdict(self)


def micro_batches(batch: int, size: int) -> list[slice]:
    """Return the slices of a batch that go through the model one after the other; `size` 0: the whole batch.

    >>> micro_batches(5, 2), micro_batches(5, 0)
    ([slice(0, 2, None), slice(2, 4, None), slice(4, 6, None)], [slice(0, 5, None)])
    """
    return [slice(first, first + (size or batch)) for first in range(0, batch, size or batch)]


def planned_outputs(model: nn.Module, images: torch.Tensor, offsets: torch.Tensor, placement: Placement,
                    plan: Plan) -> torch.Tensor:
    """Return the model's outputs (B, K) for placed images, in the plan's layout and precision.

    Args:
        images: uint8 (B, C, h, w) on the model's device.
        offsets: int64 (B, 2).
    """
    half = plan.precision == "bfloat16"
    with torch.autocast(images.device.type, dtype=torch.bfloat16) if half else nullcontext():
        outputs = placed_outputs(model, images, offsets, placement, channels_last=plan.channels_last)
    chosen = main_output(model, outputs, len(images))
    return chosen.float() if half else chosen  # a loss in half precision loses small differences


def main_output(model: nn.Module, outputs: Any, count: int) -> torch.Tensor:
    """Return the output to train: the tensor itself, or of several "logits" or the first tensor (B, K).

    Args:
        outputs: a tensor, or a tuple, list, dictionary or object with tensors.
        count: B.

    Raises:
        UsageError: if there is no tensor (B, K).

    >>> main_output(nn.Identity(), (torch.ones(2, 3), torch.zeros(2, 3)), 2).sum()
    tensor(6.)
    """
    if isinstance(outputs, torch.Tensor):
        return outputs
    named = outputs if isinstance(outputs, Mapping) else getattr(outputs, "__dict__", {})
    several = [*outputs] if isinstance(outputs, list | tuple) else [*named.values()]
    logits = named.get("logits", getattr(outputs, "logits", None))
    for output in ([logits] if logits is not None else []) + several:
        if isinstance(output, torch.Tensor) and output.ndim == 2 and len(output) == count:
            return output
    raise UsageError(f"in train mode {model_name(model)} returns a {type(outputs).__name__} without a tensor (batch, "
                     "classes); return the class outputs first")


def choose_plan(model: nn.Module, settings: ResolvedSettings, images: torch.Tensor,
                placement: Placement) -> tuple[Plan, list[str]]:
    """Choose the settings that are left open.

    Convolutions run channels-last, on the CPU in micro-batches. Models with batch statistics get whole batches. A model
    that raises in channels-last (as `x.view(-1, N)` does) keeps the contiguous layout. If the model raises in bfloat16,
    or the processor does not support it, it is trained in float32.

    Args:
        images: a few uint8 images (B, C, h, w) for trial passes, on the model's device.

    Returns:
        The plan, and notes on settings that could not be used.
    """
    convolves = any(isinstance(module, nn.Conv2d) for module in model.modules())
    statistics = any(isinstance(module, _NormBase) for module in model.modules())
    notes = []
    layout = convolves if settings.channels_last is None else settings.channels_last
    if layout and not _takes_channels_last(model, images, placement):
        layout = False
        notes.append("the model raises with images in channels-last layout (reshape(...) instead of view(...) would "
                     "fix it); it is trained in the contiguous layout, more slowly")
    micro = settings.micro_batch
    if micro is None:
        micro = MICRO_BATCH if convolves and not statistics and images.device.type == "cpu" else 0
    if micro and statistics:
        notes.append("the model uses batch statistics, so batches are not split into micro-batches")
        micro = 0
    plan = Plan(micro_batch=micro, channels_last=layout, threads=torch.get_num_threads(), precision=settings.precision,
                compiled=settings.compile)
    if plan.compiled and (why := _compile_error(model, images, placement)):
        plan = replace(plan, compiled=False)
        notes.append(f"the model could not be compiled ({why}); it is trained without compilation")
    if plan.precision == "tf32" and images.device.type != "cuda":
        plan = replace(plan, precision="float32")
        notes.append(f"tf32 is a mode of NVIDIA GPUs, the model is on {images.device.type}: it is trained in float32")
    if plan.precision == "bfloat16" and (why := _bfloat16_error(model, images, placement, plan)):
        plan = replace(plan, precision="float32")
        notes.append(f"{why}; it is trained in float32")
    return plan, notes


def _bfloat16_error(model: nn.Module, images: torch.Tensor, placement: Placement, plan: Plan) -> str:
    """Return why a model is not trained in bfloat16, "" if it can be."""
    if images.device.type == "cpu" and not has_bfloat16_instructions():
        return "this processor has no instructions for bfloat16, which would make the model slower"
    result = _try_step(model, images, placement, replace(plan, channels_last=False, compiled=False))
    return "the model raises in bfloat16" if isinstance(result, Exception) else ""


def has_bfloat16_instructions() -> bool:
    """Return True if the processor multiplies in bfloat16; others emulate it slowly."""
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def uses_all_parameters(model: nn.Module, images: torch.Tensor, placement: Placement, plan: Plan) -> bool:
    """Return True if every trainable parameter contributes to the outputs; False if a trial pass fails.

    Args:
        images: a few uint8 images (B, C, h, w) on the model's device.
    """
    result = _try_step(model, images, placement, replace(plan, compiled=False))
    return isinstance(result, nn.Module) and all(parameter.grad is not None for parameter in result.parameters()
                                                 if parameter.requires_grad)


def _try_step(model: nn.Module, images: torch.Tensor, placement: Placement, plan: Plan) -> nn.Module | Exception:
    """Run a forward and a backward pass on a copy in train mode; return the copy, or the error that it raised."""
    offsets = placement.centered(len(images), images.device)
    try:
        twin = copy.deepcopy(model).train()
        if plan.compiled:
            with compiling():
                pixels = placed_pixels(images, offsets, placement, device_and_dtype(model)[1])
                compiled(twin)(pixels).sum().backward()
        else:
            planned_outputs(twin, images, offsets, placement, plan).sum().backward()
    except Exception as error:  # a user's model, or the compiler, may raise anything
        return error
    return twin


def compiled(model: nn.Module) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return the model's forward compiled by `torch.compile`, on a GPU into CUDA graphs."""
    return torch.compile(model, mode="reduce-overhead" if device_and_dtype(model)[0].type == "cuda" else None)


def compiling() -> AbstractContextManager[Any]:
    """Return a context in which `torch.compile` is active despite the surrounding `reports_model_errors`."""
    return torch.compiler.set_stance("default")


def _compile_error(model: nn.Module, images: torch.Tensor, placement: Placement) -> str:
    """Return why a model cannot be compiled, "" if it can be."""
    error = _try_step(model, images, placement, Plan(micro_batch=0, channels_last=False, threads=1, compiled=True))
    if not isinstance(error, Exception):
        return ""
    reason = " ".join(str(error).split()).partition(" Set TORCHDYNAMO_VERBOSE")[0]
    return f"{type(error).__name__}: {reason[:200]}"


def _takes_channels_last(model: nn.Module, images: torch.Tensor, placement: Placement) -> bool:
    offsets = placement.centered(len(images), images.device)
    try:
        with evaluating(model), memory_format(model, channels_last=True):
            placed_outputs(model, images, offsets, placement, channels_last=True)
    except RuntimeError:
        return False
    return True


@functools.cache
def keep_memory() -> bool:
    """Make the C library keep freed memory for reuse; once per process.

    By default, glibc returns large freed blocks to the system, and the next step pays a page fault for every 4 KiB:
    that doubles the time of a convolutional training step.

    Returns:
        True if it was possible (glibc on Linux).
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # musl has no mallopt
        return False
    options = ((_M_MMAP_THRESHOLD, _LARGEST_THRESHOLD), (_M_TRIM_THRESHOLD, 2**30), (_M_TOP_PAD, 64 * 2**20))
    return [mallopt(key, value) for key, value in options] == [1, 1, 1]
