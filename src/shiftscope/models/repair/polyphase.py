"""Strided layers that follow the content: circular padding, and sampling that begins at the strongest phase."""

import math

import torch
from torch import fx

from shiftscope.graph.editable import Editable, sizes
from shiftscope.graph.strided import dominators, spine
from shiftscope.layers.phase_to_origin import PhaseToOrigin
from shiftscope.models.repair.rules import follow
from shiftscope.models.repair.torus import Map, Torus, apply, check_canvas


def repair_polyphase(net: Editable, *, keep_head: bool = False) -> list[str]:
    """Rewrite a network so that circular shifts of its input do not change its answer; return notes.

    Every map becomes a torus: convolutions and poolings get circular padding. Where operations step over places, maps
    are rolled before, so that the strongest polyphase component comes to the origin: maps of shifted pictures then
    differ by whole steps. Branches that join again must begin with the same roll, so rolls stand only where all paths
    through the network pass, and bring the strongest of all phases up to the next such point to the origin.

    Args:
        net: rewritten in place; its shape must be multiples of the total stride.
        keep_head: leave a layer that reads positions as it is: the result depends on position.

    Raises:
        UsageError: no strided layers; a canvas that the total stride does not divide; an operation that mixes places.

    References:
        Chaman & Dokmanic, "Truly shift-invariant convolutional neural networks", CVPR 2021, arXiv:2011.14214.
    """
    torus = follow(net, keep_head=keep_head)
    check_canvas(net.owner, net.shape, torus.total_stride())
    rolls = rolls_of(torus)
    for node, stride in rolls.items():
        readers = list(node.users)
        roll = net.add_module(PhaseToOrigin(stride), node)
        for reader in readers:
            reader.replace_input_with(node, roll)
    apply(torus)
    return torus.notes


def rolls_of(torus: Torus) -> dict[fx.Node, int]:
    """Return the maps that have to be rolled, and the stride whose phases they are rolled by."""
    above = dominators(torus.kinds)
    chain = {node for node in spine(torus.net.output, above) if _can_roll(torus, node)}
    rolls: dict[fx.Node, int] = {}
    for node, kind in torus.kinds.items():
        owner = above[node]
        while owner is not None and owner not in chain:
            owner = above[owner]
        start = torus.kinds.get(owner) if owner is not None else None
        if owner is not None and isinstance(kind, Map) and isinstance(start, Map):
            steps = (far // near for far, near in zip(kind.stride, start.stride, strict=True))
            rolls[owner] = math.lcm(rolls.get(owner, 1), *steps)
    return {node: stride for node, stride in rolls.items() if stride > 1}


def _can_roll(torus: Torus, node: fx.Node) -> bool:
    """Return whether a value is one map (batch, channel, row, column), and not padded for what follows."""
    whole = isinstance(node.meta.get("val"), torch.Tensor) and len(sizes(node)) == 4 and node not in torus.pads
    kind = torus.kinds[node]
    return whole and isinstance(kind, Map) and kind.axes == (2, 3)
