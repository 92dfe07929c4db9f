"""Strided operations of a network, and the operations that every path from the pixels passes through."""

from collections.abc import Iterable, Mapping
from typing import Any

from torch import fx

from shiftscope.graph.editable import Editable, arguments, op_of, sizes
from shiftscope.graph.sampling import Pair, pair

_STRIDED = ("conv2d", "max_pool2d", "avg_pool2d", "max_pool2d_with_indices", "lp_pool2d")


def stride_of(node: fx.Node) -> Pair:
    """Return the stride of an operation, down and right; 1 along an axis with one output position."""
    before, after = sizes(node.all_input_nodes[0])[-2:] if node.all_input_nodes else (), sizes(node)[-2:]
    if op_of(node) in _STRIDED:
        args = arguments(node)
        steps = pair(args["stride"] or args["kernel_size"])
    elif op_of(node) == "adaptive_avg_pool2d":
        down, right = (a // b if a % b == 0 else 1 for a, b in zip(before, after, strict=True))
        steps = down, right
    else:
        return 1, 1
    down, right = (step if size > 1 else 1 for step, size in zip(steps, after, strict=True))
    return down, right


def strided_nodes(net: Editable) -> list[fx.Node]:
    """Return the operations with a stride above 1, in order."""
    return [node for node in net.pixel_nodes() if stride_of(node) != (1, 1)]


def dominators(nodes: Iterable[fx.Node]) -> dict[fx.Node, fx.Node | None]:
    """Return each node's immediate dominator: the last node that all paths from the first node to it contain.

    Args:
        nodes: each after its inputs; inputs that are not among them are ignored.

    References:
        Cooper, Harvey & Kennedy, "A simple, fast dominance algorithm", Rice University, 2001.
    """
    above: dict[fx.Node, fx.Node | None] = {}
    depth: dict[fx.Node, int] = {}
    for node in nodes:
        common: Any = None
        for number, source in enumerate(source for source in node.all_input_nodes if source in above):
            common = source if number == 0 else _common(common, source, above, depth)
        above[node], depth[node] = common, depth[common] + 1 if common is not None else 0
    return above


def _common(a: fx.Node, b: fx.Node, above: Mapping[fx.Node, Any], depth: Mapping[fx.Node, int]) -> fx.Node:
    """Return the nearest node that dominates both."""
    while a is not b:
        if depth[a] < depth[b]:
            a, b = b, a
        a = above[a]
    return a


def spine(end: fx.Node, above: Mapping[fx.Node, fx.Node | None]) -> list[fx.Node]:
    """Return the nodes that every path to `end` contains, from the input on; `above` is from `dominators`."""
    chain, node = [end], above[end]
    while node is not None:
        chain.append(node)
        node = above[node]
    return chain[::-1]
