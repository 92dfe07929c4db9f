"""The stride that an average over phases needs, and which ways to repair are possible where one is not."""

import math
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from shiftscope.errors import ShiftscopeError
from shiftscope.graph import TraceError
from shiftscope.graph.editable import Editable, editable, title
from shiftscope.graph.sampling import Sampling
from shiftscope.graph.strided import Pair
from shiftscope.models.repair.shifts import check_outputs, measured_strides, synthetic_images
from shiftscope.models.repair.torus import CannotRepair, check_canvas
from shiftscope.modules import model_name

if TYPE_CHECKING:
    from shiftscope.models.repair.repaired import Recipe


def on_meta(model: nn.Module) -> bool:
    """Return whether a model has no weights yet, so that nothing can be computed with it."""
    return any(value.is_meta for value in (*model.parameters(), *model.buffers()))


def find_stride(model: nn.Module, recipe: "Recipe", samples: torch.Tensor | None = None) -> tuple[Pair, list[str]]:
    """Return the strides of a model, down and right, and what there is to say about them.

    They are read from the graph and measured on images. Where the two differ, the smallest common multiple is taken:
    with a stride that is too large the average costs more, with one that is too small it misses phases.

    Args:
        model: (B, C, H, W) -> (B, K).
        recipe: its `stride` is taken as it is, where it has one.
        samples: images (N, C, H, W) in [0, 1] to measure on; default: synthetic ones.

    Raises:
        CannotRepair: no strides, or such that do not divide the canvas.
        TraceError: the graph cannot be read, and no stride is given.
    """
    owner = model_name(model)
    if recipe.stride is not None:
        check_canvas(owner, recipe.shape, recipe.stride)
        return recipe.stride, []
    net = _readable(model, recipe)
    sampling = Sampling(net)
    known = sampling.strides
    measured = (1, 1) if on_meta(model) else _measured(net, samples)
    both = math.lcm(known[0], measured[0]), math.lcm(known[1], measured[1])
    if both == (1, 1) and sampling.uneven:
        raise CannotRepair(f"{title(sampling.uneven[0])} of {owner} resizes its maps such that no shift below the canvas "
                         "moves them by whole positions")
    check_canvas(owner, recipe.shape, both)
    if both == known:
        return both, []
    return both, [f"its operations have strides of {known[0]} x {known[1]}, measured on images they are {measured[0]} "
                  f"x {measured[1]}: the average takes {both[0]} x {both[1]}"]


def _readable(model: nn.Module, recipe: "Recipe") -> Editable:
    try:
        return editable(model, recipe.shape, any_batch=False)
    except TraceError as error:
        if on_meta(model):
            raise
        try:
            check_outputs(model, recipe.shape)
        except ShiftscopeError:
            raise error from None
        raise TraceError(f"{error}; if you know its total stride, give it: stride=N, --stride N") from error


def _measured(net: Editable, samples: torch.Tensor | None) -> Pair:
    images: Any = synthetic_images(net.shape)
    if samples is not None:
        images = torch.cat([samples[:min(4, len(samples) // 2 * 2)].double().cpu(), images[:2]])
    try:
        return measured_strides(net, images)
    except Exception:  # a foreign operation may raise anything on a torus: the graph's strides stay
        return (1, 1)


def alternatives(model: nn.Module, recipe: "Recipe", *, plain: bool) -> str:
    """Return which ways that leave a network as it is are possible, as the end of a message; "" for none.

    Args:
        recipe: of the way that is not possible.
        plain: whether the background is one color, which "recenter" needs.
    """
    found = ["recenter"] * plain
    with suppress(ShiftscopeError):
        check_outputs(model, recipe.shape)
        found.append("placement-average")
        if recipe.method != "phase-average":
            find_stride(model, recipe)
            found = ["phase-average", *found[::-1]]
    return f"; choose --method {' or '.join(part for part in (', '.join(found[:-1]), found[-1]) if part)}" if found else ""
