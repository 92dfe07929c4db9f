"""From the pixels to the output: how each operation's result moves when the placement changes."""

import operator
from collections.abc import Mapping
from typing import Any

import torch
from torch.utils import _pytree as pytree

from shiftscope.dense.invariance_proof import places, shapes, windows
from shiftscope.dense.invariance_proof.moving import Axes, Rule, Value
from shiftscope.dense.invariance_proof.refusal import NotInvariant
from shiftscope.dense.refusal import Refused
from shiftscope.errors import reason_of
from shiftscope.graph import BATCH, Graph, Node, draws_random

RULES: dict[str, Rule] = {**windows.RULES, **places.RULES, **shapes.RULES}
"""For operations of torch, by the names of `graph.Node.op`. What has no rule is refused while its input moves; once
nothing moves any more, everything that is not random may follow."""

Parts = tuple[Axes, ...]
"""A batch may hold several pictures made of each image, first one kind for all images, then the next: the axes of each
kind. Most have one."""


class Walk:
    """Follows the operations of a graph one by one.

    Args:
        graph: of a model.
        pixels: what goes in.
        own: rules of operations that are not torch's, by their full names.
    """

    def __init__(self, graph: Graph, pixels: Value, own: Mapping[str, Rule]):
        self.graph, self.pixels, self.own = graph, pixels, own
        self.parts: dict[Node, Parts] = {graph.input: (pixels.axes,)}
        self.followed: set[Node] = set()  # operations that something moving went into

    def to(self, end: Node) -> Value:
        """Return how the result of `end` moves.

        Raises:
            NotInvariant: an operation has no rule, or does not commute with the movement of its input.
        """
        for node in self.graph.nodes[1:]:
            if end in self.parts:
                break
            try:
                self.parts[node] = self._step(node)
            except Refused as refusal:
                raise NotInvariant(node.layer or node.op, f"{refusal} ({node.op})") from None
            except (RuntimeError, TypeError, KeyError, IndexError, ValueError) as error:  # no rule has foreseen it
                raise NotInvariant(node.layer or node.op, f"its arguments are not understood: {reason_of(error)} "
                                                          f"({node.op})") from error
        if len(self.parts[end]) > 1:
            raise NotInvariant(end.layer or end.op, f"it returns more pictures than the batch has images ({end.op})")
        name = self.pixels.name if end is self.graph.input else (end.name, 0)
        return Value(name, end.shape, self.parts[end][0])

    def _step(self, node: Node) -> Parts:
        _require_function(node)
        moved = [source for source in node.inputs if any(map(any, self.parts[source]))]
        if node.target is operator.getitem and node.inputs[0] in self.followed:
            raise Refused(f"it reads a further result of {node.inputs[0].op}, such as the places of the largest values")
        if not moved:
            return ((None,) * len(node.shape),)
        self.followed.add(node)
        if node.op in _ALONG_BATCH and node.args["dim"] % len(node.shape) == 0:
            return _ALONG_BATCH[node.op](self, node)
        counts = {len(self.parts[source]) for source in moved}
        if len(counts) > 1 or not node.shape or node.shape[0] != BATCH * max(counts):
            raise Refused("it mixes the images of a batch")
        return tuple(self._part(node, number, max(counts)) for number in range(max(counts)))

    def _part(self, node: Node, number: int, count: int) -> Axes:
        """Apply a rule to one kind of pictures."""
        rule = self._rule(node)
        args = {name: self._valued(value, number, count) for name, value in node.args.items()}
        axes = rule(args, (BATCH, *node.shape[1:]))
        if len(axes) != len(node.shape) or axes[0] is not None:
            raise Refused("its result is laid out in a way that is not followed")
        return axes

    def _valued(self, value: Any, number: int, count: int) -> Any:
        """Return an argument with all tensors in it as values."""
        return pytree.tree_map_only((Node, torch.Tensor), lambda leaf: self._value(leaf, number, count), value)

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
            rule = self.own.get(node.target._schema.name)
        elif node.op in ("max", "min") and "other" in node.args:  # the larger of two
            rule = places.elementwise
        else:
            rule = RULES.get(node.op)
        if rule is None:
            raise Refused("there is no rule for this operation on a map that moves")
        return rule

    def _joined(self, node: Node) -> Parts:
        """Images of several maps in one batch."""
        parts: list[Axes] = []
        for source in node.args["tensors"]:
            if not isinstance(source, Node) or source.shape[0] % BATCH:
                raise Refused("it mixes the images of a batch")
            found = self.parts[source]
            parts += found if any(map(any, found)) else [found[0]] * (source.shape[0] // BATCH)
        return tuple(parts)

    def _separated(self, node: Node) -> Parts:
        """One or some of the kinds of pictures in a batch."""
        parts = self.parts[node.args["self"]]
        start, stop, step = slice(node.args["start"], node.args["end"], node.args["step"]).indices(BATCH * len(parts))
        if start % BATCH or stop % BATCH or step != 1 or stop <= start:
            raise Refused("it picks some images of the batch")
        return parts[start // BATCH:stop // BATCH]


_ALONG_BATCH = {"cat": Walk._joined, "slice": Walk._separated}


def _require_function(node: Node) -> None:
    """Refuse what does not give the same result for the same arguments, or is not a function of torch's."""
    if node.target is operator.getitem:
        return
    if not isinstance(node.target, torch._ops.OpOverload):
        raise Refused("it is no single operation")
    if draws_random(node.target, (), node.args):
        raise Refused("it draws random numbers, also in eval mode")
    if node.op.removeprefix("new_").startswith("empty"):
        raise Refused("it reads memory that nobody has written")
