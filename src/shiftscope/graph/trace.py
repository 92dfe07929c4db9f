"""A model as a list of operations, each spelled in one way however the model spells it."""

import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import fx, nn
from torch.export.graph_signature import InputKind
from torch.utils import _pytree as pytree

from shiftscope.graph.export import TraceError, export, only_output
from shiftscope.graph.spelling import Call, respell
from shiftscope.modules import model_name

__all__ = ["Graph", "Node", "TraceError", "trace"]


@dataclass(frozen=True, eq=False)
class Node:
    """One operation of one forward pass.

    Args:
        name: unique in its graph.
        op: the operation's plain name, such as "conv2d", "linear", "max_pool2d", "add"; "input" for the pixels.
        args: its arguments by the names of its schema, defaults included: other nodes, tensors (parameters, buffers
            and what the model computes from them alone) and plain values.
        shape: of its result, for a batch of 2.
        layer: name of the submodule that called it, "" for the model's own forward.
        target: the function of torch that computes it, or it and further results, from `args`; None for the input.
    """

    name: str
    op: str
    args: dict[str, Any] = field(repr=False)
    shape: tuple[int, ...]
    layer: str
    target: Any = field(repr=False, default=None)

    @property
    def inputs(self) -> "list[Node]":
        """The nodes among its arguments, in the order of the arguments."""
        return [value for value in pytree.tree_leaves(self.args) if isinstance(value, Node)]

    @property
    def title(self) -> str:
        """What messages call it: the operation, and the submodule where there is one.

        >>> Node("relu", "relu", {}, (2, 3), "act").title
        'act (relu)'
        """
        return f"{self.layer} ({self.op})" if self.layer else self.op


@dataclass(frozen=True, eq=False)
class Graph:
    """The nodes on the way from the pixels to the output, each after its inputs.

    Args:
        nodes: the first one is the input.
        output: the node whose result the model returns.
        changes: names of the buffers that the model changes each time it is called, also in eval mode.
    """

    nodes: tuple[Node, ...]
    output: Node
    changes: tuple[str, ...] = ()

    @property
    def input(self) -> Node:
        """The node that stands for the pixels."""
        return self.nodes[0]

    def users(self) -> dict[Node, list[Node]]:
        """Return which nodes read each node, the output counted as no reader."""
        readers: dict[Node, list[Node]] = {node: [] for node in self.nodes}
        for node in self.nodes:
            for source in node.inputs:
                readers[source].append(node)
        return readers


def trace(model: nn.Module, shape: tuple[int, int, int]) -> Graph:
    """Return the operations of a model in eval mode, read with torch.export from a batch of 2.

    A module and the function it calls give the same nodes; what changes nothing in eval mode (dropout, copies) is left
    out; all reshapes are "reshape", all permutations "permute", products with a matrix of the model "linear", parts
    of a split "slice". Parameters are the model's own tensors, not copies; its modes are restored.

    Args:
        model: any module that takes (B, C, H, W) and returns one tensor.
        shape: (C, H, W).

    Raises:
        TraceError: the model raises, branches on its input, or does not return one tensor.

    Example:
        >>> graph = trace(nn.Sequential(nn.Conv2d(1, 2, 3, stride=2), nn.ReLU(), nn.Flatten()), (1, 7, 9))
        >>> [node.op for node in graph.nodes], graph.output.shape, graph.nodes[1].args["stride"]
        (['input', 'conv2d', 'relu', 'reshape'], (2, 24), [2, 2])
    """
    program = export(model, shape)
    reader = _Reader(program)
    output = reader.output(model_name(model))
    kept = set(_ancestors(output)) | {reader.input}
    changes = tuple(program.graph_signature.buffers_to_mutate.values())
    return Graph(tuple(node for node in reader.nodes if node in kept), output, changes)


def _ancestors(output: Node) -> Iterator[Node]:
    todo, seen = [output], set()
    while todo:
        node = todo.pop()
        if node not in seen:
            seen.add(node)
            todo.extend(node.inputs)
            yield node


class _Reader:
    """Turns the nodes of an exported program into ours, in order."""

    def __init__(self, program: torch.export.ExportedProgram):
        self.program = program
        self.nodes: list[Node] = []
        self.values: dict[fx.Node, Any] = {}  # ours for theirs: a Node, or a tensor that no pixel reaches
        constants = {**program.state_dict, **program.constants}
        inputs = {spec.arg.name: spec for spec in program.graph_signature.input_specs}
        with torch.no_grad():
            for theirs in program.graph.nodes:
                if theirs.op == "placeholder":
                    spec = inputs[theirs.name]
                    self.values[theirs] = (self._add(theirs, "input", {}) if spec.kind is InputKind.USER_INPUT
                                           else _detached(constants[str(spec.target)]))
                elif theirs.op == "call_function":
                    self.values[theirs] = self._read(theirs)

    @property
    def input(self) -> Node:
        return next(node for node in self.nodes if node.op == "input")

    def output(self, owner: str) -> Node:
        """Return the one node that the model returns."""
        name = only_output(self.program, owner)
        value = next((ours for theirs, ours in self.values.items() if theirs.name == name), None)
        if not isinstance(value, Node):
            raise TraceError(f"{owner} must return a tensor that depends on its input, it returns a fixed value")
        return value

    def _read(self, theirs: fx.Node) -> Any:
        """Return what stands for one call: a new node, an older one, or a value where no pixel goes in."""
        given: Any = pytree.tree_map_only(fx.Node, lambda node: self.values.get(node), (theirs.args, theirs.kwargs))
        args, kwargs = given
        if theirs.target is operator.getitem and not isinstance(args[0], Node):
            return operator.getitem(*args)
        if _is_fixed(theirs, args, kwargs):
            return _function(theirs)(*args, **kwargs)
        call = respell(Call(theirs.target, by_name(theirs.target, args, kwargs), _shape(theirs)))
        if isinstance(call, Node):  # it changes nothing
            return call
        return self._add(theirs, call.op, call.args, call.target)

    def _add(self, theirs: fx.Node, op: str, args: dict[str, Any], target: Any = None) -> Node:
        node = Node(theirs.name, op, args, _shape(theirs), layer_of(theirs), target)
        self.nodes.append(node)
        return node


def _detached(value: Any) -> Any:
    return value.detach() if isinstance(value, torch.Tensor) else value


def _function(theirs: fx.Node) -> Callable[..., Any]:
    if not callable(theirs.target):
        raise TraceError(f"the call of {theirs.target} cannot be read")
    return theirs.target


def _is_fixed(theirs: fx.Node, args: Any, kwargs: Any) -> bool:
    """Return whether a call gives the same value whatever the pixels are."""
    random = draws_random(theirs.target, args, kwargs)
    return not random and not any(isinstance(leaf, Node) for leaf in pytree.tree_leaves((args, kwargs)))


def draws_random(target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Return whether a call draws random numbers: recurrent layers and attention do only where they drop values."""
    if torch.Tag.nondeterministic_seeded not in getattr(target, "tags", ()):
        return False
    named = by_name(target, args, kwargs)
    return all(named.get(switch, True) for switch in ("train", "training", "dropout", "dropout_p"))


def by_name(target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return all arguments of a call by the names of its schema, defaults filled in."""
    if target is operator.getitem:
        return {"self": args[0], "index": args[1]}
    schema = target._schema.arguments
    named = {argument.name: argument.default_value for argument in schema if argument.has_default_value()}
    named |= {argument.name: value for argument, value in zip(schema, args, strict=False)}
    return named | kwargs


def _shape(theirs: fx.Node) -> tuple[int, ...]:
    """Return the shape of a result, of the first one where there are several."""
    value = theirs.meta.get("val")
    first = value[0] if isinstance(value, list | tuple) and value else value
    sizes = first.shape if isinstance(first, torch.Tensor) else ()
    if any(isinstance(size, torch.SymInt) for size in sizes):
        raise TraceError(f"the sizes of its tensors depend on the pixels ({theirs.name})")
    return tuple(map(int, sizes))


def layer_of(theirs: fx.Node) -> str:
    """Return the name of the submodule that made a call, "" for the model's own forward."""
    stack = theirs.meta.get("nn_module_stack") or {}
    return next(reversed([path for path, _ in stack.values()]), "")
