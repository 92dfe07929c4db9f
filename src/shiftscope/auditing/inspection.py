"""What has to be known of a model before it is audited: what its outputs are, and whether it contradicts itself."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import nn

from shiftscope.auditing.double import in_double
from shiftscope.auditing.selfcheck import EACH, SampleCheck, difference
from shiftscope.evaluation.rounding import tolerance
from shiftscope.models.forward import device_and_dtype
from shiftscope.modules import model_name
from shiftscope.outputs import NONE, OutputType, predicted_classes, resolve_output_type, top_two
from shiftscope.results.agreement import agreement

UNSURE = 100
"""Where float64 is not to be had, differences of so many times the tolerance are still put down to rounding: some
layers (a group norm of an even map) amplify it."""

AGAIN, WORST = 4, 16
"""Images of the sample, and images of lowest consistency, that are computed again in float64."""

Measured = TypeVar("Measured")


@dataclass(frozen=True)
class Inspection:
    """What a few images show about a model."""

    output_type: OutputType
    tolerance: float
    """Largest difference of two outputs that is put down to rounding."""
    doubts: list[str]
    """A sentence for each way in which the model contradicts itself."""


def inspect_model(check: SampleCheck, output_type: str | None = None) -> Inspection:
    """Run the plain model on the images of a sample, twice on the first batch of them, and once on a smaller one.

    Args:
        check: gives the images.
        output_type: what the caller says the outputs are.

    Raises:
        UsageError: the outputs contradict `output_type`.
    """
    first = check.batch(EACH)
    images, columns = check.sample.images[EACH:].split(EACH), check.sample.columns[EACH:, 0].split(EACH)
    every = torch.cat([first, *(check.at(*some) for some in zip(images, columns, strict=True) if len(some[0]))])
    return Inspection(resolve_output_type(output_type, every), tolerance(every, device_and_dtype(check.model)[1]),
                      _doubts(check, first))


def _doubts(check: SampleCheck, first: torch.Tensor) -> list[str]:
    again, alone = check.batch(EACH), _first_twice(check)
    allowed = tolerance(first, device_and_dtype(check.model)[1])
    name = model_name(check.model)
    if (apart := difference(again, first)) > allowed:
        return [f"{name} answers the same pictures otherwise when asked twice (outputs {apart:.3g} apart): it draws "
                "random numbers in eval mode or keeps state between calls, so the figures hold for this run alone"]
    apart = difference(alone, first[:1].expand_as(alone))
    if apart > allowed and not rounding_alone(check, apart, allowed):
        return [f"{name} answers a picture otherwise in another batch (outputs {apart:.3g} apart): the pictures of a "
                "batch influence one another, also in eval mode, so the figures depend on how they are batched"]
    return []


def _first_twice(check: SampleCheck, model: nn.Module | None = None) -> torch.Tensor:
    """Return the outputs (2, K) for a batch that holds the first image of `SampleCheck.batch` twice: a batch of another
    size, with other companions."""
    sample = check.sample
    return check.at(sample.images[:1].expand(2), sample.columns[0, :1].expand(2), model)


def rounding_alone(check: SampleCheck, apart: float, allowed: float) -> bool:
    """Return whether only rounding makes outputs depend on the size of the batch: in float64 they then do not.

    Args:
        check: images of its sample are used.
        apart: how much they differ. This decides, against `UNSURE`, where the model cannot be run in float64.
        allowed: difference that counts as the same.
    """
    found = in_float64(check, lambda model: difference(_first_twice(check, model),
                                                       check.batch(EACH, model)[:1].expand(2, -1)))
    return apart <= UNSURE * allowed if found is None else found <= allowed


def contradiction(check: SampleCheck, apart: float, allowed: float) -> str:
    """Say why outputs differ when they are computed again by the plain model, in batches of other images.

    Args:
        apart: how much they differ.
        allowed: what rounding usually explains.
    """
    said = (f"computed again, the outputs of a random sample lie {apart:.3g} apart, more than rounding usually "
            f"explains ({allowed:.3g})")
    if rounding_alone(check, apart, allowed):
        return f"{said}: the model amplifies rounding, which may decide where the two largest outputs are closer"
    return f"{said}: the model does not always answer a picture alike"


def in_float64(check: SampleCheck, measure: Callable[[nn.Module], Measured]) -> Measured | None:
    """Return what `measure` gives for a copy of the model that computes in float64; None where there is none."""
    model = in_double(check.model)
    if model is None:
        return None
    try:
        return measure(model) if check.batch(1, model).dtype == torch.float64 else None
    except Exception:  # a model of others may raise anything in a type that it was not written for
        return None


def unsettled(check: SampleCheck, classes: np.ndarray, allowed: float) -> list[str]:
    """Say how many predictions change in float64 although their two largest outputs are not close; nothing if none do.

    The model then makes a choice within (of the strongest component, of a largest value) that rounding decides.
    Looked at are some pairs of the sample, and of the images of lowest consistency two placements with different
    labels each.

    Args:
        classes: (n, P), the predictions for the first n images, as in `Answers.classes`.
        allowed: difference of two outputs that rounding explains.
    """
    images, columns = _pairs(check, classes)
    found = in_float64(check, lambda model: [_clear_classes(check.at(*some, model), allowed) for some in zip(
        images.split(EACH), columns.split(EACH), strict=True)])
    if not found:
        return []
    clear, known = torch.cat(found).numpy(), classes[images.numpy(), columns.numpy()].astype(np.int64)
    changed = int(((clear >= 0) & (clear != known)).sum())
    if not changed:
        return []
    return [f"{changed} of {len(known)} predictions that were computed again in float64 change, although their two "
            "largest outputs are not close: a choice within the model (such as the strongest component) is within "
            "rounding there"]


def _pairs(check: SampleCheck, classes: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Return images and placements, int64 (n,) each."""
    rows = (check.sample.images < len(classes)).nonzero()[:AGAIN, 0]
    images = check.sample.images[rows].repeat_interleave(EACH)
    columns = check.sample.columns[rows].flatten()
    consistency, _ = agreement(classes, int(classes.max(initial=0)))
    worst = np.argsort(consistency, kind="stable")[:WORST]
    worst = worst[consistency[worst] < 1]
    usual = np.array([np.bincount(classes[row]).argmax() for row in worst], np.int64)[:, None]
    both = np.stack(((classes[worst] == usual).argmax(1), (classes[worst] != usual).argmax(1)), 1)
    return (torch.cat((images, torch.from_numpy(worst).repeat_interleave(2))),
            torch.cat((columns, torch.from_numpy(both).flatten())))


def _clear_classes(outputs: torch.Tensor, allowed: float) -> torch.Tensor:
    """Return the predicted classes of outputs (n, K), `NONE` where they are non-finite or the two largest are close."""
    _, best, second = top_two(outputs)
    return predicted_classes(outputs).masked_fill(best - second <= allowed, NONE).cpu()
