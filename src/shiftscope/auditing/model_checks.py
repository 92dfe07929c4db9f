"""Checks of a model for an audit: type of its outputs, determinism, dependence on the batch, effects of rounding."""

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from torch import nn

from shiftscope.auditing.self_check import EACH, SampleCheck, difference
from shiftscope.metrics import rounding_tolerance
from shiftscope.models.forward import device_and_dtype
from shiftscope.modules import Wrapper, model_name
from shiftscope.outputs import NONFINITE_CLASS, OutputType, predicted_classes, resolve_output_type, top_two
from shiftscope.results.agreement import agreement

UNSURE = 100
"""If float64 is not available, differences up to this multiple of the tolerance are attributed to rounding: some layers
(a group norm of a constant map) amplify it."""

CHECKED = 200
"""One of this many placements of an audit, at most, is computed for `check_sample` besides its first batches."""

AGAIN, WORST = 4, 16
"""Images of the sample, and images of lowest consistency, that are computed again in float64."""

MANY = 6_400
"""Placements of an audit from which on these numbers are computed; of shorter audits, fewer."""

RATES = ("p", "dropout", "drop_prob")
"""Attributes with the rate of dropout layers; at 0 the mode has no effect."""

T = TypeVar("T")


@dataclass(frozen=True)
class ModelChecks:
    """Results of `check_sample`."""

    output_type: OutputType
    tolerance: float
    """Largest difference of two outputs that rounding explains."""
    doubts: list[str]
    """A sentence for each way in which the model contradicts itself."""
    seconds: float
    """Of the model per placement, in the larger batches of the check."""


def check_sample(check: SampleCheck, output_type: str | None = None) -> ModelChecks:
    """Run the plain model on the images of a sample, twice on the first batch, and on a smaller batch.

    Args:
        check: gives the images.
        output_type: type of the outputs stated by the user.

    Raises:
        UsageError: if the outputs contradict `output_type`.
    """
    first = check.batch(EACH)
    most = max(EACH, len(check.images) * len(check.offsets) // CHECKED)
    images, columns = (part[EACH:most].split(EACH) for part in (check.sample.images, check.sample.columns[:, 0]))
    outputs = [first]
    for some, placements in zip(images, columns, strict=True):
        if len(some):
            outputs.append(check.at(some, placements))
    every = torch.cat(outputs)
    tolerance = rounding_tolerance(every, device_and_dtype(check.model)[1])
    begun = time.perf_counter()
    again = check.batch(EACH).cpu()  # waits for the device
    seconds = (time.perf_counter() - begun) / EACH
    return ModelChecks(resolve_output_type(output_type, every), tolerance, _doubts(check, first, again), seconds)


def _doubts(check: SampleCheck, first: torch.Tensor, again: torch.Tensor) -> list[str]:
    alone = _first_twice(check)
    tolerance = rounding_tolerance(first, device_and_dtype(check.model)[1])
    name = model_name(check.model)
    if (distance := difference(again, first)) > tolerance:
        return [f"{name} returns different outputs for the same images when called twice (difference {distance:.3g}): "
                "it draws random numbers in eval mode or keeps state between calls, so the figures hold for this run "
                "only"]
    distance = difference(alone, first[:1].expand_as(alone))
    if distance > tolerance and not rounding_explains(check, distance, tolerance):
        return [f"{name} returns different outputs for an image in another batch (difference {distance:.3g}): the "
                "images of a batch influence each other, also in eval mode, so the figures depend on the batches"]
    return []


def _first_twice(check: SampleCheck, model: nn.Module | None = None) -> torch.Tensor:
    """Return the outputs (2, K) for a batch that contains the first image of `SampleCheck.batch` twice."""
    sample = check.sample
    return check.at(sample.images[:1].expand(2), sample.columns[0, :1].expand(2), model)


def rounding_explains(check: SampleCheck, distance: float, tolerance: float) -> bool:
    """Return True if outputs depend on the batch size only through rounding: in float64 they then do not.

    Args:
        check: gives the images.
        distance: difference of the outputs, compared with `UNSURE` if the model cannot run in float64.
        tolerance: largest difference that counts as equal.
    """
    in_float64 = with_float64(check, lambda model: difference(_first_twice(check, model),
                                                              check.batch(EACH, model)[:1].expand(2, -1)))
    return distance <= UNSURE * tolerance if in_float64 is None else in_float64 <= tolerance


def rounding_notes(check: SampleCheck, distance: float, tolerance: float, classes: np.ndarray) -> list[str]:
    """Return notes if rounding changes outputs by more than usual, or changes predictions.

    Args:
        check: the self-check of the audit.
        distance: its largest difference.
        tolerance: its tolerance.
        classes: (n, P), predictions of the first n images, see `PlacementPredictions.classes`.
    """
    notes = []
    if distance > tolerance:
        text = (f"computed again, the outputs of a random sample differ by {distance:.3g}, more than rounding usually "
                f"explains ({tolerance:.3g})")
        notes.append(f"{text}: the model amplifies rounding, which may decide if the two largest outputs are closer"
                     if rounding_explains(check, distance, tolerance)
                     else f"{text}: the model does not always return the same outputs for an image")
    return notes + _float64_notes(check, classes, tolerance)


def with_float64(check: SampleCheck, measure: Callable[[nn.Module], T]) -> T | None:
    """Return `measure` of a copy of the model that computes in float64; None if there is none."""
    model = double_copy(check.model)
    if model is None:
        return None
    try:
        return measure(model) if check.batch(1, model).dtype == torch.float64 else None
    except Exception:  # user code may raise anything in a type for which it was not written
        return None


def double_copy(model: nn.Module) -> nn.Module | None:
    """Return a float64 copy of a model; None if it is in float64 already, cannot be copied, has no floating-point
    tensors, or its device has no float64.

    Example:
        >>> double_copy(nn.Linear(2, 1)).weight.dtype, double_copy(nn.Linear(2, 1).double())
        (torch.float64, None)
    """
    device, dtype = device_and_dtype(model)
    floating = any(value.is_floating_point() for value in (*model.parameters(), *model.buffers()))
    if dtype == torch.float64 or device.type == "mps" or not floating:
        return None
    try:
        return copy.deepcopy(model).double()
    except Exception:  # user code may raise anything
        return None


def _float64_notes(check: SampleCheck, classes: np.ndarray, tolerance: float) -> list[str]:
    """Return a note if predictions change in float64 although their two largest outputs are not close.

    The model then contains a selection (of the strongest component, of a largest value) that rounding decides. Some
    pairs of the sample are computed, and two placements with different predictions of the least consistent images.
    """
    images, columns = _float64_pairs(check, classes)

    def clear_predictions(model: nn.Module) -> np.ndarray:
        parts = []
        for some, placements in zip(images.split(EACH), columns.split(EACH), strict=True):
            outputs = check.at(some, placements, model)
            _, best, second = top_two(outputs)
            close = best - second <= tolerance
            parts.append(predicted_classes(outputs).masked_fill(close, NONFINITE_CLASS).cpu().numpy())
        return np.concatenate(parts)

    clear = with_float64(check, clear_predictions)
    if clear is None:
        return []
    known = classes[images.numpy(), columns.numpy()].astype(np.int64)
    changed = int(((clear >= 0) & (clear != known)).sum())
    return [f"{changed} of {len(known)} predictions that were computed again in float64 change, although their two "
            "largest outputs are not close: a selection within the model (such as the strongest component) is within "
            "rounding of a tie"] if changed else []


def _float64_pairs(check: SampleCheck, classes: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Return images and placements to compute again, int64 (n,) each."""
    again, most = (math.ceil(count * min(1, classes.size / MANY)) for count in (AGAIN, WORST))
    rows = (check.sample.images < len(classes)).nonzero()[:again, 0]
    images = check.sample.images[rows].repeat_interleave(EACH)
    columns = check.sample.columns[rows].flatten()
    consistency, _ = agreement(classes, int(classes.max(initial=0)))
    worst = np.argsort(consistency, kind="stable")[:most]
    worst = worst[consistency[worst] < 1]
    usual = np.array([np.bincount(classes[row]).argmax() for row in worst], np.int64)[:, None]
    both = np.stack(((classes[worst] == usual).argmax(1), (classes[worst] != usual).argmax(1)), 1)
    return (torch.cat((images, torch.from_numpy(worst).repeat_interleave(2))),
            torch.cat((columns, torch.from_numpy(both).flatten())))


def mode_dependent_layers(model: nn.Module) -> list[str]:
    """Return the sorted class names of the layers whose code reads `training`, without dropout at rate 0.

    >>> mode_dependent_layers(nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5), nn.Dropout(0.0), nn.BatchNorm2d(1)))
    ['BatchNorm2d', 'Dropout']
    """
    return sorted({getattr(module, "original_name", type(module).__name__)  # TorchScript has `original_name`
                   for module in model.modules() if _reads_mode(module) and not _is_inactive(module)})


def _reads_mode(module: nn.Module) -> bool:
    code = getattr(module, "code", "")
    if isinstance(code, str) and "self.training" in code:  # TorchScript
        return True
    if isinstance(module, Wrapper):
        return False
    classes = type(module).__mro__[:type(module).__mro__.index(nn.Module)]
    return any("training" in _names(method) for cls in classes for method in vars(cls).values())


def _names(method: Any) -> tuple[str, ...]:
    return getattr(getattr(method, "__code__", None), "co_names", ())


def _is_inactive(module: nn.Module) -> bool:
    if hasattr(module, "track_running_stats"):  # batch and instance norm
        return not module.track_running_stats
    rates = [getattr(module, name, None) for name in RATES]
    return any(getattr(rate, "p", rate) == 0 for rate in rates)  # transformers has dropout layers as attributes
