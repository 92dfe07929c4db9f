"""Repair by polyphase sampling: circular padding, and strides that begin at the strongest phase."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import fx

from shiftscope.graph.editable import Editable, sizes
from shiftscope.graph.strided import dominators, spine
from shiftscope.layers import CircularPad2d, PhaseToOrigin
from shiftscope.models.repair.circular_rules import CircularAnalysis, Equivariant, analyze
from shiftscope.models.repair.strides import check_canvas


def repair_polyphase(net: Editable, *, keep_head: bool = False) -> list[str]:
    """Rewrite a network so that circular shifts of its input do not change its output; return notes.

    Convolutions and poolings get circular padding. Before strided operations, maps are rolled so that their strongest
    polyphase component is at the origin: the maps of shifted images then differ by multiples of the stride. Branches
    that join again must begin with the same roll. Rolls are therefore only inserted where all paths through the network
    pass, and each uses the phases of the total stride up to the next one.

    Args:
        net: rewritten in place; height and width of its input must be multiples of the total stride.
        keep_head: do not change layers that read positions; the result then depends on position.

    Raises:
        UsageError: if there are no strided layers, the total stride does not divide the canvas, or an operation mixes
            positions.

    References:
        Chaman & Dokmanic, "Truly shift-invariant convolutional neural networks", CVPR 2021, arXiv:2011.14214.
    """
    analysis = analyze(net, keep_head=keep_head)
    check_canvas(net.owner, net.shape, analysis.total_stride())
    for node, stride in _rolls(analysis).items():
        readers = list(node.users)
        roll = net.add_module(PhaseToOrigin(stride), node)
        for reader in readers:
            reader.replace_input_with(node, roll)
    _apply(analysis)
    return analysis.notes


def _rolls(analysis: CircularAnalysis) -> dict[fx.Node, int]:
    """Return the maps that are rolled, and the stride whose phases are used."""
    above = dominators(analysis.kinds)
    chain = {node for node in spine(analysis.net.output, above) if _can_roll(analysis, node)}
    rolls: dict[fx.Node, int] = {}
    for node, kind in analysis.kinds.items():
        owner = above[node]
        while owner is not None and owner not in chain:
            owner = above[owner]
        start = analysis.kinds.get(owner) if owner is not None else None
        if owner is not None and isinstance(kind, Equivariant) and isinstance(start, Equivariant):
            steps = (far // near for far, near in zip(kind.stride, start.stride, strict=True))
            rolls[owner] = math.lcm(rolls.get(owner, 1), *steps)
    return {node: stride for node, stride in rolls.items() if stride > 1}


def _can_roll(analysis: CircularAnalysis, node: fx.Node) -> bool:
    """Return True for maps (batch, channel, row, column) that are not the result of a padding operation."""
    kind = analysis.kinds[node]
    single = isinstance(node.meta.get("val"), torch.Tensor) and len(sizes(node)) == 4 and node not in analysis.pad_nodes
    return single and isinstance(kind, Equivariant) and kind.axes == (2, 3)


def _apply(analysis: CircularAnalysis) -> None:
    """Insert the circular padding, and means before operations that read positions."""
    net, added = analysis.net, {}
    for node in analysis.pad_nodes:
        node.replace_all_uses_with(node.args[0])  # pyright: ignore[reportArgumentType]
    for node, sides in analysis.padding.items():
        source: Any = node.args[0]
        if any(sides) and (source, sides) not in added:
            added[source, sides] = net.add_module(CircularPad2d(sides), source)
        node.update_arg(0, added.get((source, sides), source))
    for node, kind in analysis.averaged.items():
        source = node.all_input_nodes[0]
        shape: Sequence[Any] = [int(size) if axis in kind.axes else -1 for axis, size in enumerate(sizes(source))]
        with net.graph.inserting_before(node):
            mean = net.graph.call_function(torch.ops.aten.mean.dim, (source, list(kind.axes), True))
            expanded = net.graph.call_function(torch.ops.aten.expand.default, (mean, shape))
        node.replace_input_with(source, expanded)
