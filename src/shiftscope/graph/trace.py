"""A model as a list of canonical operations."""

import operator
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import fx, nn
from torch.export.graph_signature import InputKind
from torch.utils import _pytree as pytree

from shiftscope.graph.export import TraceError, export, only_output
from shiftscope.graph.operator_names import Call, canonical
from shiftscope.modules import model_name


@dataclass(frozen=True, eq=False)
class Node:
    """One operation of a forward pass.

    Args:
        name: unique in its graph.
        op: plain name of the operation, such as "conv2d", "linear", "max_pool2d", "add"; "input" for the pixels.
        args: its arguments by the names of its schema, defaults included: other nodes, tensors (parameters, buffers
            and values that the model computes from them) and plain values.
        shape: shape of its result for a batch of 2.
        layer: name of the submodule that called it, "" for the model's own forward.
        target: the torch function that computes the result from `args`; None for the input.
    """

    name: str
    op: str
    args: dict[str, Any] = field(repr=False)
    shape: tuple[int, ...]
    layer: str
    target: Any = field(repr=False, default=None)

    @property
    def inputs(self) -> "list[Node]":
        """The nodes among its arguments, in order."""
        return [value for value in pytree.tree_leaves(self.args) if isinstance(value, Node)]

    @property
    def title(self) -> str:
        """Name of the operation in messages, with its submodule if there is one.

        >>> Node("relu", "relu", {}, (2, 3), "act").title
        'act (relu)'
        """
        return f"{self.layer} ({self.op})" if self.layer else self.op


@dataclass(frozen=True, eq=False)
class Graph:
    """The nodes from the pixels to the output, each after its inputs.

    Args:
        nodes: the first one is the input.
        output: the node whose result the model returns.
        changes: names of buffers that the model changes in each call, also in eval mode.
    """

    nodes: tuple[Node, ...]
    output: Node
    changes: tuple[str, ...] = ()

    @property
    def input(self) -> Node:
        """The node of the pixels."""
        return self.nodes[0]

    def users(self) -> dict[Node, list[Node]]:
        """Return the nodes that read each node."""
        readers: dict[Node, list[Node]] = {node: [] for node in self.nodes}
        for node in self.nodes:
            for source in node.inputs:
                readers[source].append(node)
        return readers


_SHARED: ContextVar[dict[Any, tuple[nn.Module, "Graph"]] | None] = ContextVar("shared traces", default=None)
"""Graphs by model and shape in a block of `shared_traces`; the models are stored so that their ids stay unique."""


@contextmanager
def shared_traces() -> Iterator[None]:
    """Trace each model once per shape within the block, in which models must not change.

    An export takes about a second, and the proof of invariance and the dense engine read the same graph.
    """
    token = _SHARED.set({})
    try:
        yield
    finally:
        _SHARED.reset(token)


def trace(model: nn.Module, shape: tuple[int, int, int]) -> Graph:
    """Return the operations of a model in eval mode, exported by torch.export with a batch of 2.

    A module and the function it calls give the same nodes. Operations that change nothing in eval mode (dropout,
    copies) are omitted; all reshapes are "reshape", all permutations "permute", products with a matrix of the model
    "linear", parts of a split "slice". Parameters are the model's own tensors, not copies; its modes are restored.

    Args:
        model: any module that takes (B, C, H, W) and returns one tensor.
        shape: (C, H, W).

    Raises:
        TraceError: if the model raises, branches on its input, or does not return one tensor.

    Example:
        >>> graph = trace(nn.Sequential(nn.Conv2d(1, 2, 3, stride=2), nn.ReLU(), nn.Flatten()), (1, 7, 9))
        >>> [node.op for node in graph.nodes], graph.output.shape, graph.nodes[1].args["stride"]
        (['input', 'conv2d', 'relu', 'reshape'], (2, 24), [2, 2])
    """
    shared = _SHARED.get()
    if shared is None:
        return _trace(model, shape)
    key = (id(model), tuple(shape))
    if key not in shared:
        shared[key] = model, _trace(model, shape)
    return shared[key][1]


def _trace(model: nn.Module, shape: tuple[int, int, int]) -> Graph:
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
    """Converts the nodes of an exported program in order."""

    def __init__(self, program: torch.export.ExportedProgram):
        self.program = program
        self.nodes: list[Node] = []
        self.values: dict[fx.Node, Any] = {}  # a Node, or a value that does not depend on the pixels
        constants = {**program.state_dict, **program.constants}
        inputs = {spec.arg.name: spec for spec in program.graph_signature.input_specs}
        with torch.no_grad():
            for source in program.graph.nodes:
                if source.op == "placeholder":
                    spec = inputs[source.name]
                    if spec.kind is InputKind.USER_INPUT:
                        self.values[source] = self.input = self._add(source, "input", {})
                    else:
                        value = constants[str(spec.target)]
                        self.values[source] = value.detach() if isinstance(value, torch.Tensor) else value
                elif source.op == "call_function":
                    self.values[source] = self._read(source)

    def output(self, owner: str) -> Node:
        """Return the one node that the model returns."""
        name = only_output(self.program, owner)
        value = next((value for source, value in self.values.items() if source.name == name), None)
        if not isinstance(value, Node):
            raise TraceError(f"{owner} must return a tensor that depends on its input, it returns a fixed value")
        return value

    def _read(self, source: fx.Node) -> Any:
        """Return a new node, an earlier one, or a value if no pixels are involved."""
        given: Any = pytree.tree_map_only(fx.Node, lambda node: self.values.get(node), (source.args, source.kwargs))
        args, kwargs = given
        if source.target is operator.getitem and not isinstance(args[0], Node):
            return operator.getitem(*args)
        if not any(isinstance(leaf, Node) for leaf in pytree.tree_leaves(given)) and \
                not draws_random(source.target, args, kwargs):
            if not callable(source.target):
                raise TraceError(f"the call of {source.target} cannot be read")
            return source.target(*args, **kwargs)
        call = canonical(Call(source.target, by_name(source.target, args, kwargs), _shape(source)))
        if isinstance(call, Node):  # the call changes nothing
            return call
        return self._add(source, call.op, call.args, call.target)

    def _add(self, source: fx.Node, op: str, args: dict[str, Any], target: Any = None) -> Node:
        node = Node(source.name, op, args, _shape(source), layer_of(source), target)
        self.nodes.append(node)
        return node


def draws_random(target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Return True if a call draws random numbers; recurrent layers and attention do so only with dropout."""
    if torch.Tag.nondeterministic_seeded not in getattr(target, "tags", ()):
        return False
    named = by_name(target, args, kwargs)
    return all(named.get(switch, True) for switch in ("train", "training", "dropout", "dropout_p"))


def by_name(target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return all arguments of a call by the names of its schema, defaults included."""
    if target is operator.getitem:
        return {"self": args[0], "index": args[1]}
    schema = target._schema.arguments
    named = {argument.name: argument.default_value for argument in schema if argument.has_default_value()}
    named |= {argument.name: value for argument, value in zip(schema, args, strict=False)}
    return named | kwargs


def _shape(source: fx.Node) -> tuple[int, ...]:
    """Return the shape of a result, or of the first of several."""
    value = source.meta.get("val")
    first = value[0] if isinstance(value, list | tuple) and value else value
    sizes = first.shape if isinstance(first, torch.Tensor) else ()
    if any(isinstance(size, torch.SymInt) for size in sizes):
        raise TraceError(f"the sizes of its tensors depend on the pixels ({source.name})")
    return tuple(map(int, sizes))


def layer_of(source: fx.Node) -> str:
    """Return the name of the submodule that made a call, "" for the model's own forward."""
    stack = source.meta.get("nn_module_stack") or {}
    return next(reversed([path for path, _ in stack.values()]), "")
