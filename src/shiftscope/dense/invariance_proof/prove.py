"""The proof: what placements do to the pixels, followed through a model to its output."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import nn

from shiftscope.dense.invariance_proof.choices import PIXELS, rules
from shiftscope.dense.invariance_proof.moving import Axis, Rule, Value, moving
from shiftscope.dense.invariance_proof.refusal import NotInvariant
from shiftscope.dense.invariance_proof.walk import Walk
from shiftscope.errors import reason_of
from shiftscope.graph import BATCH, Graph, TraceError, trace
from shiftscope.layers import PhaseAverage, PlacementAverage
from shiftscope.models.adapt import Adapted
from shiftscope.models.forward import device_and_dtype
from shiftscope.models.repair import Repaired, WholeAverage
from shiftscope.modules import Classifier, as_module
from shiftscope.placement import Placement


@dataclass(frozen=True)
class Proof:
    """What was followed.

    Args:
        operations: from the pixels to the output.
        moving: those of them with a moving result; after them, nothing knows the placement.
        averages: the average over shifts that the model ends in, if any.
    """

    operations: int
    moving: int
    averages: str = ""

    @property
    def sentence(self) -> str:
        """In words.

        >>> Proof(6, 3).sentence
        'its 6 operations turn shifts of the canvas into shifts of their results, and the last 3 results do not move'
        """
        if self.averages:
            return f"{self.averages} takes the mean over what shifts make of a canvas, which no shift changes"
        return (f"its {self.operations} operations turn shifts of the canvas into shifts of their results, and the "
                f"last {self.operations - self.moving} results do not move")


def prove_invariance(model: Classifier, placement: Placement, shape: tuple[int, int, int]) -> Proof:
    """Prove that a model's outputs are the same at all placements of an image, whatever the image and the weights.

    All placements must be rolls of one canvas: mode circular, or canvas with a plain background. Each operation is
    shown to turn rolls into rolls, up to the one after which nothing moves: a mean over a whole map, a `Recenter`. A
    strided operation passes where the map moves by multiples of its stride, which `PhaseToOrigin` sees to; after a
    polyphase layer a map moves by an amount of its own. `PlacementAverage` and `PhaseAverage` are known as outermost
    modules.

    It is a statement about real numbers. In floating point the outputs of two placements may differ by rounding, and by
    more where a choice (the largest component, an argmax) is within rounding of a tie.

    Args:
        model: a module or function that takes pixels (B, C, H, W) in [0, 1]; used in eval mode.
        placement: its canvas is the model's input.
        shape: (C, h, w) of the images.

    Raises:
        NotInvariant: there is no such proof; layer and reason are named.
        UsageError: no model, but a class, a name or the like.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1, padding_mode="circular"), nn.ReLU(),
        ...                     nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(4, 3))
        >>> prove_invariance(net, Placement(image=(5, 5), canvas=(9, 9)), (1, 5, 5))
        Proof(operations=6, moving=3, averages='')

    References:
        Cohen & Welling, "Group equivariant convolutional networks", ICML 2016, arXiv:1602.07576: layers that commute
        with a group, then one that is invariant. Chaman & Dokmanic, CVPR 2021, arXiv:2011.14214, for polyphase layers.
    """
    model = as_module(model)
    _check_placement(placement)
    pixels = Value(PIXELS, (BATCH, shape[0], *placement.canvas), (None, None, *_turns(placement)))
    search = _Search(rules(placement, device_and_dtype(model)[1]))
    result = search.through(model, pixels)
    if result.moves:
        raise NotInvariant(type(model).__name__, "its output still moves with the image")
    return Proof(search.operations, search.moving, search.averages)


def _check_placement(placement: Placement) -> None:
    if placement.mode == "crop":
        raise NotInvariant("placement", "in mode crop parts of the image leave the canvas, so its placements are no "
                                        "rolls of one canvas")
    if placement.mode == "canvas" and not isinstance(placement.background, int):
        raise NotInvariant("background", "a texture stands still while the image moves, so its placements are no rolls "
                                         "of one canvas")
    if placement.count == 1:
        raise NotInvariant("placement", "there is only one")


def _turns(placement: Placement) -> list[Axis | None]:
    """Return how rows and columns of the pixels move: by multiples of what all offsets have in common."""
    axes = []
    for name, values, size in zip(("rows", "columns"), placement.axes, placement.canvas, strict=True):
        axes.append(moving(name, size, math.gcd(*(values - values[0]).tolist(), size)))
    return axes


class _Prepared(nn.Module):
    """A function as a module, so that it can be traced."""

    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor]):
        super().__init__()
        self.function = function

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.function(pixels)


class _Search:
    """Goes through a model, and through those inside it where the outer ones are averages over shifts."""

    def __init__(self, own: dict[str, Rule]):
        self.own, self.operations, self.moving, self.averages = own, 0, 0, ""

    def through(self, model: nn.Module, value: Value) -> Value:
        """Return how the result of a model moves."""
        if isinstance(model, Repaired):
            model = model.net
        if isinstance(model, Adapted) and isinstance(_innermost(model), PlacementAverage | PhaseAverage):
            prepared = self.through(_Prepared(model.prepare), value)
            return self.through(model.model, prepared)
        if isinstance(model, WholeAverage):
            found = self.through(model.recenter, value)
            _require_repeatable(model.model, value)
            return found if found.moves else Value(type(model).__name__, (BATCH,), (None,))
        if isinstance(model, PlacementAverage):
            _require_torus(model, value)
            _require_repeatable(model.model, value)
            self.operations += 1
            self.averages = type(model).__name__
            return Value(type(model).__name__, (BATCH,), (None,))
        if isinstance(model, PhaseAverage):
            return self._over_phases(model, value)
        graph = _traced(model, value.shape[1:])
        walk = Walk(graph, value, self.own)
        result = walk.to(graph.output)
        self.operations += len(walk.parts) - 1
        self.moving += sum(any(map(any, parts)) for parts in walk.parts.values()) - int(value.moves)
        return result

    def _over_phases(self, model: PhaseAverage, value: Value) -> Value:
        """The mean over the shifts below the stride: it moves no more if the net does not by shifts of the stride."""
        _require_torus(model, value)
        turns = [moving(("phases", place), value.shape[place], stride)
                 for place, stride in zip((2, 3), model.stride, strict=True)]
        result = self.through(model.model, replace(value, name="phases", axes=(None, None, *turns)))
        if result.moves:
            raise NotInvariant(type(model).__name__, "the output of the net that it averages still moves when the "
                                                     f"input is shifted by its stride, {model.stride}")
        self.operations += 1
        self.averages = type(model).__name__
        return result


def _innermost(model: nn.Module) -> nn.Module:
    return _innermost(model.model) if isinstance(model, Adapted) else model


def _require_torus(model: nn.Module, value: Value) -> None:
    """Refuse an average over circular shifts of something else than a map that circular shifts move."""
    if len(value.shape) != 4 or any(value.axes[:2]) or not (value.is_whole(2) and value.is_whole(3)):
        raise NotInvariant(type(model).__name__, "what it averages over is not the whole canvas")
    if any(axis is not None and axis.bag for axis in value.axes):
        raise NotInvariant(type(model).__name__, "what it averages over has no order of rows and columns")


def _require_repeatable(model: nn.Module, value: Value) -> None:
    """Refuse a net that draws random numbers or changes between calls: its mean over all shifts is another each time.

    A net whose operations cannot be read may be averaged.
    """
    try:
        graph = trace(model, (value.shape[1], value.shape[2], value.shape[3]))
    except (TraceError, RuntimeError):
        return
    synthetic = [node.op for node in graph.nodes if torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ())]
    if synthetic or graph.changes:
        raise NotInvariant(type(model).__name__, f"it draws random numbers ({synthetic[0]})" if synthetic else
                           f"it changes its own {graph.changes[0]} each time it is called")


def _traced(model: nn.Module, shape: tuple[int, ...]) -> Graph:
    channels, height, width = shape
    try:
        graph = trace(model, (channels, height, width))
    except (TraceError, RuntimeError) as error:  # torch's own where sizes depend on the pixels
        raise NotInvariant(type(model).__name__, reason_of(error, 300)) from error
    if graph.changes:
        raise NotInvariant(type(model).__name__, f"it changes its own {graph.changes[0]} each time it is called")
    return graph
