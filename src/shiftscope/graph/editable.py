"""A model's graph that can be rewritten and trained, with copies of the weights under their old names."""

import operator
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn
from torch.export.graph_signature import InputKind
from torch.utils import _pytree as pytree

from shiftscope.graph.export import TraceError, export, only_output
from shiftscope.graph.trace import by_name, layer_of
from shiftscope.modules import model_name

aten = torch.ops.aten

_VIEWS = (aten.view.default, aten._unsafe_view.default)


@dataclass(frozen=True, eq=False)
class Editable:
    """A model's operations, which can be rewritten in place, and the tensors and modules that they use.

    Args:
        owner: name of the model's class, for messages.
        shape: (C, H, W) of its input.
        graph: one aten call per node; `meta["val"]` has the shapes of the original results.
        parts: copies of the model's parameters and buffers, and added modules, by name.
    """

    owner: str
    shape: tuple[int, int, int]
    graph: fx.Graph
    parts: dict[str, torch.Tensor | nn.Module]

    @property
    def input(self) -> fx.Node:
        """The node of the pixels."""
        return next(node for node in self.graph.nodes if node.op == "placeholder")

    @property
    def output(self) -> fx.Node:
        """The node whose result the model returns."""
        return self.graph.output_node().args[0]  # pyright: ignore[reportReturnType]

    def pixel_nodes(self) -> Iterator[fx.Node]:
        """Yield the nodes whose values depend on the pixels, each after its inputs; sizes do not count."""
        reached: set[fx.Node] = set()
        for node in self.graph.nodes:
            from_pixels = node.op == "placeholder" or any(source in reached for source in node.all_input_nodes)
            if from_pixels and node.op != "output" and op_of(node) != "sym_size":
                reached.add(node)
                yield node

    def add_module(self, module: nn.Module, source: fx.Node) -> fx.Node:
        """Insert a call of a module after `source` and return the new node, which no node reads yet.

        Its recorded shape is that of `source`.
        """
        name = f"repaired_{sum(isinstance(part, nn.Module) for part in self.parts.values())}"
        self.parts[name] = module
        with self.graph.inserting_after(source):
            node = self.graph.call_module(name, (source,))
        node.meta = dict(source.meta)
        return node

    def module(self) -> fx.GraphModule:
        """Return the present operations as a module that can be trained."""
        _drop_dead(self.graph)
        self.graph.lint()
        return fx.GraphModule(self.parts, self.graph, self.owner)


def editable(model: nn.Module, shape: tuple[int, int, int], *, any_batch: bool = True) -> Editable:
    """Return a model in eval mode as a graph that can be rewritten; the model itself does not change.

    Dropout is omitted, and batch norm keeps its statistics.

    Args:
        model: any module that takes (B, C, H, W), for any B, and returns one tensor.
        shape: (C, H, W).
        any_batch: True: the graph is valid for any batch size; False: for `BATCH`.

    Raises:
        TraceError: if the operations cannot be read, the model changes a buffer in eval mode, or its output does not
            depend on the pixels.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Dropout())
        >>> module = editable(net, (1, 5, 6)).module()
        >>> [name for name, _ in module.named_parameters()], module(torch.zeros(7, 1, 5, 6)).shape
        (['0.weight', '0.bias'], torch.Size([7, 2, 3, 4]))
    """
    program = export(model, shape, any_batch=any_batch)
    owner = model_name(model)
    changed = list(program.graph_signature.buffers_to_mutate.values())
    if changed:
        raise TraceError(f"{owner} cannot be rewritten because it changes its {', '.join(changed)} in each call")
    parts: dict[str, torch.Tensor | nn.Module] = {}
    graph = _copied(program, only_output(program, owner), parts)
    _normalize(graph)
    net = Editable(owner, shape, graph, parts)
    if net.output not in net.pixel_nodes():
        raise TraceError(f"{owner} must return a tensor that depends on its input, it returns a fixed value")
    return net


def _copied(program: torch.export.ExportedProgram, output: str, parts: dict[str, Any]) -> fx.Graph:
    """Copy a program's graph; its parameters become attributes, which are copied into `parts`."""
    inputs = {spec.arg.name: spec for spec in program.graph_signature.input_specs}
    tensors = {**program.state_dict, **program.constants}
    graph, copies, by_id = fx.Graph(), {}, {}
    for node in program.graph.nodes:
        if node.op == "placeholder" and inputs[node.name].kind is InputKind.USER_INPUT:
            copies[node] = graph.placeholder("pixels")
        elif node.op == "placeholder":
            target = str(inputs[node.name].target)
            parts[target] = by_id.setdefault(id(tensors[target]), _copy(tensors[target]))
            copies[node] = graph.get_attr(target)
        elif node.op == "call_function" and not op_of(node).startswith("_assert"):  # they fix a dtype
            copies[node] = graph.node_copy(node, copies.__getitem__)
        if node in copies:
            copies[node].meta = dict(node.meta)
    graph.output(next((copy for node, copy in copies.items() if node.name == output), None))
    return graph


def _copy(value: Any) -> Any:
    if isinstance(value, nn.Parameter):
        return nn.Parameter(value.detach().clone(), requires_grad=value.requires_grad)
    return value.detach().clone() if isinstance(value, torch.Tensor) else value


def _normalize(graph: fx.Graph) -> None:
    """Replace views by reshapes, which allow any memory layout, and batch norm by the form that has a gradient."""
    for node in graph.nodes:
        if node.target in _VIEWS:
            node.target = aten.reshape.default
        elif node.target is operator.getitem and op_of(node.args[0]) == "_native_batch_norm_legit_no_training":
            x, weight, bias, mean, variance, momentum, eps = node.args[0].args
            node.target = aten.batch_norm.default
            node.args = (x, weight, bias, mean, variance, False, momentum, eps, False)
    _drop_dead(graph)


def _drop_dead(graph: fx.Graph) -> None:
    """Remove nodes that no other node reads."""
    graph.eliminate_dead_code(lambda node: node.op in ("placeholder", "output"))


def op_of(node: fx.Node) -> str:
    """Return the plain name of a node's operation, such as "conv2d", or "" if it is not a function call."""
    packet = getattr(node.target, "overloadpacket", node.target)
    return getattr(packet, "__name__", str(packet)) if node.op == "call_function" else ""


def arguments(node: fx.Node) -> dict[str, Any]:
    """Return the arguments of a call by the names of its schema, defaults included."""
    return by_name(node.target, node.args, node.kwargs)


def sizes(node: fx.Node) -> tuple[Any, ...]:
    """Return the original shape of a node's result, or of the first of several; () if it has none."""
    leaves = [leaf for leaf in pytree.tree_leaves(node.meta.get("val")) if isinstance(leaf, torch.Tensor)]
    return tuple(leaves[0].shape) if leaves else ()


def title(node: fx.Node) -> str:
    """Return the name of an operation in messages, with its submodule if there is one.

    Example:
        >>> [title(node) for node in editable(nn.Sequential(nn.ReLU()), (1, 2, 2)).pixel_nodes()]
        ['the input', '0 (relu)']
    """
    if node.op == "placeholder":
        return "the input"
    layer = layer_of(node)
    return f"{layer} ({op_of(node)})" if layer else op_of(node)
