"""The proof of invariance: the motion of the pixels is propagated through the operations of a model to its output."""

import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import nn
from torch.utils import _pytree as pytree

from shiftscope.dense.invariance_proof import neighborhoods, pointwise, reshaping
from shiftscope.dense.invariance_proof.motion import Axes, Rule, Value, moving_axis
from shiftscope.dense.unsupported import NotInvariant, Unsupported
from shiftscope.errors import reason_of
from shiftscope.graph import BATCH, Graph, Node, TraceError, draws_random, trace
from shiftscope.layers import PhaseAverage, PlacementAverage
from shiftscope.models.adapt import Adapted
from shiftscope.models.forward import device_and_dtype
from shiftscope.models.repair import Repaired, WholeAverage
from shiftscope.modules import Classifier, as_module
from shiftscope.placement import Placement

RULES: dict[str, Rule] = {**neighborhoods.RULES, **pointwise.RULES, **reshaping.RULES}
"""Rules for operations of torch by `graph.Node.op`. An operation without a rule is supported only if no input moves."""

Parts = tuple[Axes, ...]
"""A batch may hold several maps per image, one kind after the other: the motion of each kind."""


@dataclass(frozen=True)
class Proof:
    """Summary of a proof.

    Args:
        operations: number of operations from the pixels to the output.
        moving: number of operations whose result moves.
        averages: the average over shifts at the end of the model, if any.
    """

    operations: int
    moving: int
    averages: str = ""

    @property
    def sentence(self) -> str:
        """The summary as text.

        >>> Proof(6, 3).sentence
        'its 6 operations are equivariant to shifts of the canvas, and the last 3 results do not move'
        """
        if self.averages:
            return f"{self.averages} averages over shifts of the canvas, and no shift changes this average"
        return (f"its {self.operations} operations are equivariant to shifts of the canvas, and the last "
                f"{self.operations - self.moving} results do not move")


def prove_invariance(model: Classifier, placement: Placement, shape: tuple[int, int, int]) -> Proof:
    """Prove that a model's outputs are the same at all placements, for all images and all weights.

    All placements must be rolls of one canvas: mode circular, or canvas with a constant background. Each operation must
    be equivariant to rolls, until a result does not move: a mean over a whole map, a `Recenter`. Strided operations are
    equivariant if the map moves by multiples of their stride, for which `PhaseToOrigin` exists; after a polyphase layer
    a map moves by an amount that depends on the image. `PlacementAverage` and `PhaseAverage` are supported as outermost
    modules.

    The proof holds for real numbers. In floating point the outputs at two placements may differ by rounding, and by
    more if a selection (the largest component, an argmax) is within rounding of a tie.

    Args:
        model: a module or function that takes pixels (B, C, H, W) in [0, 1]; it runs in eval mode.
        placement: its canvas is the model's input.
        shape: (C, h, w) of the images.

    Raises:
        NotInvariant: if there is no proof; the message names layer and reason.
        UsageError: if `model` is not a model.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1, padding_mode="circular"), nn.ReLU(),
        ...                     nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(4, 3))
        >>> prove_invariance(net, Placement(image=(5, 5), canvas=(9, 9)), (1, 5, 5))
        Proof(operations=6, moving=3, averages='')

    References:
        Cohen & Welling, "Group equivariant convolutional networks", ICML 2016, arXiv:1602.07576: equivariant layers,
        followed by an invariant one. Chaman & Dokmanic, CVPR 2021, arXiv:2011.14214, for polyphase layers.
    """
    model = as_module(model)
    if not placement.geometry.keeps_pixels:
        raise NotInvariant("placement", f"in mode {placement.mode} parts of the image leave the canvas, so its "
                                        "placements are not rolls of one canvas")
    if placement.mode == "canvas" and not isinstance(placement.background, int):
        raise NotInvariant("background", "a texture does not move with the image, so its placements are not rolls of "
                                         "one canvas")
    if placement.count == 1:
        raise NotInvariant("placement", "there is only one")
    axes = []
    for name, values, size in zip(("rows", "columns"), placement.axes, placement.canvas, strict=True):
        axes.append(moving_axis(name, size, math.gcd(*(values - values[0]).tolist(), size)))
    pixels = Value(pointwise.PIXELS, (BATCH, shape[0], *placement.canvas), (None, None, *axes))
    prover = _Prover(pointwise.custom_rules(placement, device_and_dtype(model)[1]))
    if prover.output(model, pixels).moves:
        raise NotInvariant(type(model).__name__, "its output moves with the image")
    return Proof(prover.operations, prover.moving, prover.averages)


class _Function(nn.Module):
    """A function as a module, for tracing."""

    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor]):
        super().__init__()
        self.function = function

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.function(pixels)


class _Prover:
    """Propagates motion through a model, and through the models inside of outer averages over shifts."""

    def __init__(self, custom: dict[str, Rule]):
        self.custom, self.operations, self.moving, self.averages = custom, 0, 0, ""

    def output(self, model: nn.Module, value: Value) -> Value:
        """Return the motion of a model's output."""
        name, still = type(model).__name__, Value(type(model).__name__, (BATCH,), (None,))
        if isinstance(model, Repaired):
            return self.output(model.net, value)
        if isinstance(model, Adapted) and isinstance(_innermost(model), PlacementAverage | PhaseAverage):
            return self.output(model.model, self.output(_Function(model.prepare), value))
        if isinstance(model, WholeAverage):
            centered = self.output(model.recenter, value)
            _require_deterministic(model.model, value)
            return centered if centered.moves else still
        if isinstance(model, PlacementAverage):
            _require_torus(model, value)
            _require_deterministic(model.model, value)
            self.operations, self.averages = self.operations + 1, name
            return still
        if isinstance(model, PhaseAverage):
            return self._phase_average(model, value)
        graph = _traced(model, value.shape[1:])
        propagation = _Propagation(graph, value, self.custom)
        result = propagation.output()
        self.operations += len(propagation.parts) - 1
        self.moving += sum(any(map(any, parts)) for parts in propagation.parts.values()) - int(value.moves)
        return result

    def _phase_average(self, model: PhaseAverage, value: Value) -> Value:
        """The average over the shifts below the stride does not move if the network is invariant to shifts by it."""
        _require_torus(model, value)
        axes = [moving_axis(("phases", dim), value.shape[dim], stride)
                for dim, stride in zip((2, 3), model.stride, strict=True)]
        result = self.output(model.model, replace(value, name="phases", axes=(None, None, *axes)))
        if result.moves:
            raise NotInvariant(type(model).__name__, "the output of its network moves when the input is shifted by its "
                                                     f"stride, {model.stride}")
        self.operations, self.averages = self.operations + 1, type(model).__name__
        return result


def _innermost(model: nn.Module) -> nn.Module:
    return _innermost(model.model) if isinstance(model, Adapted) else model


def _require_torus(model: nn.Module, value: Value) -> None:
    if len(value.shape) != 4 or any(value.axes[:2]) or not (value.is_complete(2) and value.is_complete(3)):
        raise NotInvariant(type(model).__name__, "its input is not the whole canvas")
    if any(axis is not None and axis.bag for axis in value.axes):
        raise NotInvariant(type(model).__name__, "its input has no order of rows and columns")


def _require_deterministic(model: nn.Module, value: Value) -> None:
    """Raise `NotInvariant` if a model draws random numbers or changes between calls; models without a graph pass."""
    try:
        graph = trace(model, (value.shape[1], value.shape[2], value.shape[3]))
    except (TraceError, RuntimeError):
        return
    random = [node.op for node in graph.nodes
              if torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ())]
    if random:
        raise NotInvariant(type(model).__name__, f"it draws random numbers ({random[0]})")
    _require_stateless(model, graph)


def _require_stateless(model: nn.Module, graph: Graph) -> None:
    if graph.changes:
        raise NotInvariant(type(model).__name__, f"it changes its own {graph.changes[0]} each time it is called")


def _traced(model: nn.Module, shape: tuple[int, ...]) -> Graph:
    channels, height, width = shape
    try:
        graph = trace(model, (channels, height, width))
    except (TraceError, RuntimeError) as error:  # torch's own if sizes depend on the pixels
        raise NotInvariant(type(model).__name__, reason_of(error, 300)) from error
    _require_stateless(model, graph)
    return graph


class _Propagation:
    """Propagates motion through a graph, one operation at a time.

    Args:
        graph: of a model.
        pixels: its input.
        custom: rules of operations that are not torch's, by their full names.
    """

    def __init__(self, graph: Graph, pixels: Value, custom: Mapping[str, Rule]):
        self.graph, self.pixels, self.custom = graph, pixels, custom
        self.parts: dict[Node, Parts] = {graph.input: (pixels.axes,)}
        self.had_motion: set[Node] = set()  # operations with a moving input

    def output(self) -> Value:
        """Return the motion of the output.

        Raises:
            NotInvariant: if an operation has no rule, or is not equivariant to the motion of its input.
        """
        end = self.graph.output
        for node in self.graph.nodes[1:]:
            if end in self.parts:
                break
            layer = node.layer or node.op
            try:
                self.parts[node] = self._propagated(node)
            except Unsupported as refusal:
                raise NotInvariant(layer, f"{refusal} ({node.op})") from None
            except (RuntimeError, TypeError, KeyError, IndexError, ValueError) as error:  # not handled by the rule
                raise NotInvariant(layer, f"its arguments are not supported: {reason_of(error)} ({node.op})") from error
        if len(self.parts[end]) > 1:
            raise NotInvariant(end.layer or end.op, f"it returns more maps than the batch has images ({end.op})")
        return self._value(end, 0, 1)

    def _propagated(self, node: Node) -> Parts:
        _require_pure(node)
        moving = [source for source in node.inputs if any(map(any, self.parts[source]))]
        if node.target is operator.getitem and node.inputs[0] in self.had_motion:
            raise Unsupported(f"it reads a further result of {node.inputs[0].op}, such as the positions of the maxima")
        if not moving:
            return ((None,) * len(node.shape),)
        self.had_motion.add(node)
        if node.op in ("cat", "slice") and node.args["dim"] % len(node.shape) == 0:
            return self._joined(node) if node.op == "cat" else self._separated(node)
        counts = {len(self.parts[source]) for source in moving}
        if len(counts) > 1 or not node.shape or node.shape[0] != BATCH * max(counts):
            raise Unsupported("it mixes the images of a batch")
        rule, count = self._rule(node), max(counts)
        parts = []
        for number in range(count):
            args = pytree.tree_map_only((Node, torch.Tensor), lambda leaf, k=number: self._value(leaf, k, count),
                                        node.args)
            parts.append(rule(args, (BATCH, *node.shape[1:])))
            if len(parts[-1]) != len(node.shape) or parts[-1][0] is not None:
                raise Unsupported("the layout of its result is not supported")
        return tuple(parts)

    def _value(self, leaf: Node | torch.Tensor, number: int, count: int) -> Value:
        shape = tuple(leaf.shape)
        if isinstance(leaf, torch.Tensor):
            return Value(id(leaf), shape, (None,) * len(shape))
        parts = self.parts[leaf]
        if shape and shape[0] == BATCH * count:
            shape = (BATCH, *shape[1:])
        name = self.pixels.name if leaf is self.graph.input else (leaf.name, number)
        return Value(name, shape, parts[number] if len(parts) == count else parts[0])

    def _rule(self, node: Node) -> Rule:
        if node.target.namespace != "aten":
            rule = self.custom.get(node.target._schema.name)
        elif node.op in ("max", "min") and "other" in node.args:  # the maximum of two tensors
            rule = pointwise.elementwise
        else:
            rule = RULES.get(node.op)
        if rule is None:
            raise Unsupported("there is no rule for this operation on a map that moves")
        return rule

    def _joined(self, node: Node) -> Parts:
        """Several maps concatenated along the batch."""
        parts: list[Axes] = []
        for source in node.args["tensors"]:
            if not isinstance(source, Node) or source.shape[0] % BATCH:
                raise Unsupported("it mixes the images of a batch")
            axes = self.parts[source]
            parts += axes if any(map(any, axes)) else [axes[0]] * (source.shape[0] // BATCH)
        return tuple(parts)

    def _separated(self, node: Node) -> Parts:
        """Some of the maps in a batch."""
        parts = self.parts[node.args["self"]]
        start, stop, step = slice(node.args["start"], node.args["end"], node.args["step"]).indices(BATCH * len(parts))
        if start % BATCH or stop % BATCH or step != 1 or stop <= start:
            raise Unsupported("it selects images of the batch")
        return parts[start // BATCH:stop // BATCH]


def _require_pure(node: Node) -> None:
    """Raise `Unsupported` for operations that are not deterministic functions of torch."""
    if node.target is operator.getitem:
        return
    if not isinstance(node.target, torch._ops.OpOverload):
        raise Unsupported("it is not a single operation")
    if draws_random(node.target, (), node.args):
        raise Unsupported("it draws random numbers, also in eval mode")
    if node.op.removeprefix("new_").startswith("empty"):
        raise Unsupported("it reads uninitialized memory")
