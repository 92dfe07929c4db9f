"""Where a network steps over places, and through which operations all of it passes."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import fx

from shiftscope.graph.editable import Editable, arguments, op_of, sizes

STEPPING = ("conv2d", "max_pool2d", "avg_pool2d", "max_pool2d_with_indices", "lp_pool2d")
"""Operations with a stride."""

Pair = tuple[int, int]


def pair(value: int | Sequence[int]) -> Pair:
    """Return one number, or one or two in a sequence, as (down, right).

    >>> pair(2), pair([3]), pair((1, 2))
    ((2, 2), (3, 3), (1, 2))
    """
    values = (value,) if isinstance(value, int) else tuple(value)
    return values[0], values[-1]


def stride_of(node: fx.Node) -> Pair:
    """Return by how many places of its input an operation steps, down and right; (1, 1) where it does not."""
    if op_of(node) in STEPPING:
        given = arguments(node)
        return pair(given["stride"] or given["kernel_size"])
    if op_of(node) == "adaptive_avg_pool2d":
        before, after = sizes(node.all_input_nodes[0])[-2:], sizes(node)[-2:]
        steps = [a // b if b > 1 and a % b == 0 else 1 for a, b in zip(before, after, strict=True)]
        return steps[0], steps[1]
    return 1, 1


def strided_nodes(net: Editable) -> list[fx.Node]:
    """Return the operations that step by more than one place, in order."""
    return [node for node in net.pixel_nodes() if stride_of(node) != (1, 1)]


def total_stride(net: Editable) -> int:
    """Return the shift that moves every map of a network by whole places: the least one, the same down and right.

    Example:
        >>> from torch import nn
        >>> from shiftscope.graph.editable import editable
        >>> total_stride(editable(nn.Sequential(nn.Conv2d(1, 1, 3, stride=3), nn.MaxPool2d(2)), (1, 24, 24)))
        6
    """
    reached: dict[fx.Node, Pair] = {}
    for node in net.pixel_nodes():
        before = [reached[source] for source in node.all_input_nodes if source in reached]
        down, right = (math.lcm(*(step[axis] for step in before)) for axis in (0, 1))
        own = stride_of(node)
        reached[node] = down * own[0], right * own[1]
    return math.lcm(*(size for step in reached.values() for size in step))


def dominators(nodes: Iterable[fx.Node]) -> dict[fx.Node, fx.Node | None]:
    """Return each node's immediate dominator: the last one that all its paths from the first node pass through.

    Args:
        nodes: each after its inputs; inputs that are not among them are left out of account.

    References:
        Cooper, Harvey & Kennedy, "A simple, fast dominance algorithm", Rice University, 2001.
    """
    found: dict[fx.Node, fx.Node | None] = {}
    depth: dict[fx.Node, int] = {}
    for node in nodes:
        common: Any = None
        for number, source in enumerate(source for source in node.all_input_nodes if source in found):
            common = source if number == 0 else _meet(common, source, found, depth)
        found[node], depth[node] = common, depth[common] + 1 if common is not None else 0
    return found


def _meet(a: fx.Node, b: fx.Node, above: Mapping[fx.Node, Any], depth: Mapping[fx.Node, int]) -> fx.Node:
    """Return the nearest node that dominates both."""
    while a is not b:
        if depth[a] < depth[b]:
            a, b = b, a
        a = above[a]
    return a


def spine(end: fx.Node, above: Mapping[fx.Node, fx.Node | None]) -> list[fx.Node]:
    """Return the nodes that every path to `end` passes through, from the input on.

    Args:
        above: what `dominators` returned.
    """
    chain, node = [end], above[end]
    while node is not None:
        chain.append(node)
        node = above[node]
    return chain[::-1]
