"""How a step is computed: memory layout and micro-batches. Fixed at the start, kept in the training state."""

import copy
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
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
"""Images a forward pass of a convnet on a CPU. Measured with 2 MiB of second-level cache a core: 32 to 125 lie within
5 %, 16 take a tenth longer, 8 four tenths; on machines with less cache smaller ones may win, see `trial.py`."""


@dataclass(frozen=True)
class Plan:
    """Given the same plan and threads, a seed repeats bit for bit."""

    micro_batch: int
    """Images a forward pass; 0: the whole batch."""
    channels_last: bool
    threads: int
    precision: Precision = "float32"
    compiled: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON."""
        return asdict(self)


def pieces(batch: int, micro_batch: int) -> list[slice]:
    """Return the slices of a batch that are shown to the model one after the other.

    >>> pieces(5, 2), pieces(5, 0)
    ([slice(0, 2, None), slice(2, 4, None), slice(4, 6, None)], [slice(0, 5, None)])
    """
    size = micro_batch or batch
    return [slice(first, first + size) for first in range(0, batch, size)]


def planned_outputs(model: nn.Module, images: torch.Tensor, offsets: torch.Tensor, placement: Placement,
                    plan: Plan) -> torch.Tensor:
    """Return the model's outputs (B, K) for images at their offsets, computed as the plan says.

    Args:
        images: uint8 (B, C, h, w) on the model's device.
        offsets: int64 (B, 2).
    """
    if plan.precision != "bfloat16":
        outputs = placed_outputs(model, images, offsets, placement, channels_last=plan.channels_last)
        return main_output(model, outputs, len(images))
    with torch.autocast(images.device.type, dtype=torch.bfloat16):
        outputs = placed_outputs(model, images, offsets, placement, channels_last=plan.channels_last)
    return main_output(model, outputs, len(images)).float()  # a loss in half precision loses its small differences


def main_output(model: nn.Module, outputs: Any, count: int) -> torch.Tensor:
    """Return the output that is trained, of a model that returns several in train mode: "logits", or the first (B, K).

    Args:
        outputs: a tensor, or a tuple, list, dictionary or object of several.
        count: B.

    Raises:
        UsageError: there is no (B, K) among them.

    >>> main_output(nn.Identity(), (torch.ones(2, 3), torch.zeros(2, 3)), 2).sum()
    tensor(6.)
    """
    if isinstance(outputs, torch.Tensor):
        return outputs
    named = outputs if isinstance(outputs, Mapping) else getattr(outputs, "__dict__", {})
    several = [*outputs] if isinstance(outputs, list | tuple) else [*named.values()]
    logits = named.get("logits", getattr(outputs, "logits", None))
    for found in ([logits] if logits is not None else []) + several:
        if isinstance(found, torch.Tensor) and found.ndim == 2 and len(found) == count:
            return found
    raise UsageError(f"in train mode {model_name(model)} returns a {type(outputs).__name__} without a tensor (batch, "
                     "classes): let it return the outputs of the classes first")


def choose_plan(model: nn.Module, settings: ResolvedSettings, images: torch.Tensor,
                placement: Placement) -> tuple[Plan, list[str]]:
    """Choose what the settings leave open.

    Convolutions run channels-last, on the CPU in micro-batches; a model with batch statistics sees whole batches; one
    that raises in channels-last (`x.view(-1, N)` does) keeps the plain layout. Where bfloat16 raises, or the processor
    does not know it, float32 stays.

    Args:
        images: a few uint8 images (B, C, h, w) to try the layout on, on the model's device.

    Returns:
        The plan, and notes on what had to be given up.
    """
    convolves = any(isinstance(module, nn.Conv2d) for module in model.modules())
    statistics = any(isinstance(module, _NormBase) for module in model.modules())
    notes = []
    layout = convolves if settings.channels_last is None else settings.channels_last
    if layout and not _takes_channels_last(model, images, placement):
        layout = False
        notes.append("the model raises with images in channels-last layout (reshape(...) instead of view(...) would "
                     "repair it); it is trained in the plain layout, more slowly")
    micro = settings.micro_batch
    if micro is None:
        micro = MICRO_BATCH if convolves and not statistics and images.device.type == "cpu" else 0
    if micro and statistics:
        notes.append("the model uses batch statistics, so batches are not split into micro-batches")
        micro = 0
    plan = Plan(micro_batch=micro, channels_last=layout, threads=torch.get_num_threads(), precision=settings.precision,
                compiled=settings.compile)
    if plan.compiled and (why := _no_compilation(model, images, placement)):
        plan = replace(plan, compiled=False)
        notes.append(f"the model could not be compiled ({why}); it is trained as it is")
    if plan.precision == "tf32" and images.device.type != "cuda":
        plan = replace(plan, precision="float32")
        notes.append(f"tf32 is a mode of NVIDIA GPUs, the model is on {images.device.type}: it is trained in float32")
    if plan.precision == "bfloat16":
        why = _no_bfloat16(model, images, placement, plan)
        plan = replace(plan, precision="float32" if why else "bfloat16")
        notes += [f"{why}; it is trained in float32"] if why else []
    return plan, notes


def _no_bfloat16(model: nn.Module, images: torch.Tensor, placement: Placement, plan: Plan) -> str:
    """Return why a model is not trained in bfloat16, "" where it can be."""
    if images.device.type == "cpu" and not multiplies_bfloat16():
        return "this processor has no instructions for bfloat16, which would make the model slower"
    return "" if _takes_bfloat16(model, images, placement, plan) else "the model raises in bfloat16"


def multiplies_bfloat16() -> bool:
    """Return whether the processor has instructions for products in bfloat16; others imitate them, slowly."""
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def _takes_bfloat16(model: nn.Module, images: torch.Tensor, placement: Placement, plan: Plan) -> bool:
    """Try a forward and a backward pass in training mode on a copy: gradients and batch statistics stay as they are."""
    try:
        twin = copy.deepcopy(model).train()
        offsets = placement.centered(len(images), images.device)
        planned_outputs(twin, images, offsets, placement, replace(plan, channels_last=False)).sum().backward()
    except Exception:  # whatever a foreign module raises
        return False
    return True


def compiled(model: nn.Module) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return the model's forward compiled by `torch.compile`, on a GPU into CUDA graphs."""
    return torch.compile(model, mode="reduce-overhead" if device_and_dtype(model)[0].type == "cuda" else None)


def compiling() -> AbstractContextManager[Any]:
    """Return a context in which what `torch.compile` made runs compiled, though `reports_model_errors` is around it."""
    return torch.compiler.set_stance("default")


def _no_compilation(model: nn.Module, images: torch.Tensor, placement: Placement) -> str:
    """Return why a model cannot be compiled, "" where it can be: a forward and a backward pass of a copy are tried."""
    try:
        twin = copy.deepcopy(model).train()
        pixels = placed_pixels(images, placement.centered(len(images), images.device), placement, device_and_dtype(model)[1])
        with compiling():
            compiled(twin)(pixels).sum().backward()
    except Exception as error:  # whatever the compiler, or a foreign module, raises
        words = " ".join(str(error).split()).partition(" Set TORCHDYNAMO_VERBOSE")[0]
        return f"{type(error).__name__}: {words[:200]}"
    return ""


def uses_all_parameters(model: nn.Module, images: torch.Tensor, placement: Placement, plan: Plan) -> bool:
    """Return whether each parameter that is trained has a part in the outputs; False where that cannot be tried.

    Args:
        images: a few uint8 images (B, C, h, w) on the model's device.
    """
    try:
        twin = copy.deepcopy(model).train()
        planned_outputs(twin, images, placement.centered(len(images), images.device), placement, plan).sum().backward()
    except Exception:  # whatever a foreign module raises
        return False
    return all(parameter.grad is not None for parameter in twin.parameters() if parameter.requires_grad)


def _takes_channels_last(model: nn.Module, images: torch.Tensor, placement: Placement) -> bool:
    offsets = placement.centered(len(images), images.device)
    try:
        with evaluating(model), memory_format(model, channels_last=True):
            placed_outputs(model, images, offsets, placement, channels_last=True)
    except RuntimeError:
        return False
    return True
