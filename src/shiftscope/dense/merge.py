"""Batch norm merged into the convolution before it: one operation less on every map."""

from dataclasses import replace
from typing import Any

import torch
from torch.utils import _pytree as pytree

from shiftscope.graph import Graph, Node


def without_batch_norm(graph: Graph) -> Graph:
    """Return a graph in which convolutions include the batch norm that alone reads them."""
    users, new = graph.users(), {}
    for node in graph.nodes:
        args = pytree.tree_map_only(Node, lambda source: new[source], node.args)
        before = node.args.get("input") if node.op == "batch_norm" else None
        if isinstance(before, Node) and _can_merge(before, users):
            new[node] = new[before]
            continue
        after = users[node][0] if _can_merge(node, users) else None
        if after is not None and after.op == "batch_norm":
            weight, bias = merged(args["weight"], args["bias"], after.args)
            args = args | {"weight": weight, "bias": bias}
        new[node] = replace(node, args=args)
    return Graph(tuple(dict.fromkeys(new.values())), new[graph.output], graph.changes)


def _can_merge(node: Node, users: dict[Node, list[Node]]) -> bool:
    readers = users[node]
    return (node.op == "conv2d" and isinstance(node.args["weight"], torch.Tensor) and len(readers) == 1
            and readers[0].op == "batch_norm" and readers[0].args["input"] is node)


def merged(weight: torch.Tensor, bias: torch.Tensor | None,
           args: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return weight and bias of a convolution that includes the batch norm after it.

    Args:
        weight: (O, C, kh, kw).
        bias: (O,) or None.
        args: of the batch norm.

    Example:
        >>> one, zero = torch.ones(1), torch.zeros(1)
        >>> norm = {"weight": 2 * one, "bias": one, "running_mean": one, "running_var": 3 * one, "eps": 1.0}
        >>> [value.flatten().tolist() for value in merged(torch.ones(1, 1, 1, 2), None, norm)]
        [[1.0, 1.0], [0.0]]
    """
    factor = (args["running_var"] + args["eps"]).rsqrt() * (1 if args["weight"] is None else args["weight"])
    addend = (0 if bias is None else bias) - args["running_mean"]
    return weight * factor.view(-1, 1, 1, 1), addend * factor + (0 if args["bias"] is None else args["bias"])
