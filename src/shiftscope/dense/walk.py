"""From a model's graph to the program of its à-trous twin: one rule for each operation."""

from typing import Any

import torch
from torch.utils import _pytree as pytree

from shiftscope.dense import axes, convolution, pointwise, pooling
from shiftscope.dense.field import Field, reader
from shiftscope.dense.padding import pad
from shiftscope.dense.program import Program, Rule
from shiftscope.dense.refusal import NeedsTorus, NotDense, Refused
from shiftscope.errors import reason_of
from shiftscope.graph import Graph, Node, draws_random

RULES: dict[str, Rule] = {
    "conv2d": convolution.conv2d, "linear": convolution.linear,
    "max_pool2d": pooling.max_pool2d, "avg_pool2d": pooling.avg_pool2d,
    "adaptive_avg_pool2d": pooling.adaptive(torch.add), "adaptive_max_pool2d": pooling.adaptive(torch.maximum),
    **{name: pooling.reduction(name) for name in ("mean", "sum", "amax", "amin", "max", "min")},
    "batch_norm": pointwise.batch_norm, "layer_norm": pointwise.layer_norm, "pad": pad,
    "reshape": axes.reshape, "permute": axes.permute, "slice": axes.cut, "select": axes.select,
    "cat": axes.cat, "expand": axes.expand, "index": axes.index, "roll": axes.roll,
}
"""What to do for each operation, by the names of `graph.Node.op`. Whatever has no rule is refused."""

ALONG_CHANNELS = ("softmax", "log_softmax", "logsumexp", "linalg_vector_norm")


def walk(graph: Graph, program: Program, field: Field) -> Field:
    """Add the steps of all layers to a program, and return the field of the model's output.

    Args:
        graph: of the model at the canvas's size.
        program: without steps as yet.
        field: the input's.

    Raises:
        NotDense: an operation has no rule, or its rule cannot keep the windows exact.
        NeedsTorus: the same, but on a torus it might.
    """
    values: dict[Node, Field] = {graph.input: field}
    end = graph.output
    for node in graph.nodes[1:]:
        values[node] = _applied(node, values, program)
    result = values[end]
    if len(result.layout) != 1:
        raise NotDense(end.layer or end.op, f"the output must be (batch, classes), it is {tuple(end.shape)}")
    if result.local != (1, 1):
        raise NotDense(end.layer or end.op, "its result is read as classes but holds several places of the window")
    read = reader(result, program.windows, (0, 0), program.windows.count)
    return program.add(result, [result], read, lead=(0, 0), size=program.windows.count, const=None)


def _applied(node: Node, values: dict[Node, Field], program: Program) -> Field:
    args = pytree.tree_map_only(Node, lambda source: values[source], node.args)
    try:
        rule = _rule(node, args)
        field = rule(program, args, node.shape)
    except NeedsTorus as refusal:
        refusal.layer = node.layer or node.op
        raise
    except Refused as refusal:
        raise NotDense(node.layer or node.op, f"{refusal} ({node.op})") from None
    except (RuntimeError, TypeError) as error:  # arguments that no rule has foreseen
        why = f"its arguments are not understood: {reason_of(error)} ({node.op})"
        raise NotDense(node.layer or node.op, why) from error
    sizes = tuple(field.length_of(group) for group in field.layout)
    if sizes != node.shape[1:]:
        raise NotDense(node.layer or node.op, f"its result is laid out in a way that is not followed ({node.op})")
    return field


def _rule(node: Node, args: dict[str, Any]) -> Rule:
    if node.op in RULES and "other" not in args:  # torch.max(a, b) is a maximum, not a reduction
        return RULES[node.op]
    if node.op in ALONG_CHANNELS:
        return pointwise.along_channels(node.op, node.target)
    if node.op in pointwise.ELEMENTWISE:
        return pointwise.elementwise(node.target, node.op)
    if draws_random(node.target, (), node.args):
        raise Refused("it draws random numbers, also in eval mode")
    raise Refused("there is no rule for this operation")

