"""Layers that move along with the content: they choose a phase, a window or an origin by what they see.

Each choice makes a movement of its own: after it, a map moves by an amount that depends on the picture. Two maps go
together only if one and the same choice moved them.
"""

from typing import Any

import torch

from shiftscope.dense.invariance_proof.moving import Axes, Axis, Rule, Shape, Value, moving, require_whole
from shiftscope.dense.invariance_proof.places import scattering
from shiftscope.dense.refusal import Refused
from shiftscope.models.forward import to_pixels
from shiftscope.placement import Placement

PIXELS = "pixels"
"""Name of the value that is the placed picture itself."""

EXACT_CHANNELS = 6
"""`Recenter` tells pictures of so many channels apart by numbers that float64 holds exactly."""


def polyphase(args: dict[str, Any], shape: Shape) -> Axes:
    """One of stride x stride components, chosen by its content: a smaller circle, turned by some number of places."""
    value, stride = args["x"], args["stride"]
    return (None, None, *_chosen(value, stride, ("component", args["order"]), period=1, step=1))


def phase_to_origin(args: dict[str, Any], shape: Shape) -> Axes:
    """A roll chosen by the content, after which the circle turns by multiples of the stride alone."""
    value, stride = args["x"], args["stride"]
    return (None, None, *_chosen(value, stride, ("origin", args["order"]), period=stride, step=stride))


def _chosen(value: Value, stride: int, how: tuple[Any, ...], *, period: int, step: int) -> list[Axis | None]:
    """Return rows and columns after a choice among `stride` phases; `period`: of the new circle, times H / stride."""
    if len(value.shape) != 4 or value.axes[1] is not None:
        raise Refused("its input is not laid out as (batch, channel, row, column)")
    axes = []
    for place in (2, 3):
        require_whole(value, place)
        if value.shape[place] % stride:
            raise Refused(f"a stride of {stride} does not divide {value.shape[place]} places")
        axes.append(moving((*how, value.name, stride, place), value.shape[place] // stride * period, step))
    return axes


def recenter(placement: Placement, dtype: torch.dtype) -> Rule:
    """Return the rule of `Recenter`: it shows the same window wherever the object is, if it knows the background."""

    def rule(args: dict[str, Any], shape: Shape) -> Axes:
        value, given = args["pixels"], args["background"]
        if value.name != PIXELS:
            raise Refused("it looks for the object in something else than the pixels, whose background is not known")
        if shape[1] > EXACT_CHANNELS:
            raise Refused(f"ties between windows are settled exactly for {EXACT_CHANNELS} channels at most")
        if not isinstance(placement.background, int):
            raise Refused("the background is a texture")
        empty = to_pixels(torch.tensor(placement.background, dtype=torch.uint8), dtype)
        if not bool(empty == empty.new_tensor(given)):
            raise Refused(f"it takes {given:g} for the background, which is {placement.background} / 255")
        return (None,) * len(shape)

    return rule


def rules(placement: Placement, dtype: torch.dtype) -> dict[str, Rule]:
    """Return the rules of our own operations, by the names they are registered under."""
    return {"shiftscope::polyphase_downsample": polyphase, "shiftscope::phase_to_origin": phase_to_origin,
            "shiftscope::recenter": recenter(placement, dtype), "shiftscope::scattering": scattering}
