"""The operations of a model after those that placements share, computed for a batch of canvases like any model's."""

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch.utils import _pytree as pytree

from shiftscope.dense.program import Compute, Program
from shiftscope.dense.unsupported import NotDense
from shiftscope.graph import Graph, Node
from shiftscope.graph.export import BATCH
from shiftscope.metrics import rounding_tolerance

MARGIN = 10
"""Outputs of an image in two batches may differ by this many times the tolerance of the self-check."""


class PlainPart:
    """The operations of a graph that depend on `shared` ones, as a function of the results of these.

    Args:
        graph: graph of the model.
        shared: operations whose results are given.

    Attributes:
        inputs: those of the shared operations whose results are read.
        nodes: the other operations, in order.

    Raises:
        NotDense: if an operation depends on the size of the batch.
    """

    def __init__(self, graph: Graph, shared: set[Node], dtype: torch.dtype, device: torch.device):
        self.nodes = [node for node in graph.nodes if node not in shared]
        self.users = graph.users()
        self.inputs = [node for node in graph.nodes if node in shared
                       and (node is graph.output or any(user not in shared for user in self.users[node]))]
        self.program = Program(dtype, device, len(self.inputs))
        slots = {node: k for k, node in enumerate(self.inputs)}
        for node in self.nodes:
            slots[node] = self._add(node, slots)
        self.slots, self.run = slots, self.program.compiled([slots[graph.output]])

    def __call__(self, values: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return the outputs (n, K) for the values of the inputs, each (n, ...); they are overwritten."""
        return self.run(*values)[0]

    def bytes_per_placement(self) -> int:
        """Return the bytes that the largest operation reads and writes for one canvas."""
        sizes = [sum(math.prod(one.shape[1:]) for one in (node, *node.inputs)) for node in self.nodes]
        return max(sizes, default=1) * self.program.dtype.itemsize

    def check_batch(self, graph: Graph) -> None:
        """Raise `NotDense` if the outputs for one canvas of noise depend on the others of a batch."""
        if not self.nodes:
            return
        dtype, device = self.program.dtype, self.program.device
        generator = torch.Generator(device).manual_seed(0)
        before = PlainPart(graph, {graph.input}, dtype, device)
        noise = torch.rand(3, *graph.input.shape[1:], dtype=dtype, device=device, generator=generator)
        values = before.program.compiled([before.slots[node] for node in self.inputs])(noise)
        single = self([value[:1].clone() for value in values])
        together = self(values)[:1]
        far = (single - together).abs() > MARGIN * rounding_tolerance(single, self.program.dtype)
        if bool((far & single.isfinite() & together.isfinite()).any()):
            raise NotDense(self.nodes[0].layer or self.nodes[0].op, "an operation after it mixes the images of a batch")

    def _add(self, node: Node, slots: dict[Node, int]) -> int:
        sources = [slots[source] for source in node.inputs]
        in_place = torch.relu_ if node.op == "relu" else None
        return self.program.append(sources, plain(node), in_place=in_place, fresh=node.op not in _VIEWS)


_VIEWS = ("reshape", "permute", "slice", "select", "expand", "split", "chunk", "unbind")


def plain(node: Node) -> Compute:
    """Return the function of the values of a node's inputs (`Node.inputs`).

    Raises:
        NotDense: if it depends on the size of the batch.
    """
    if node.shape[:1] != (BATCH,) or node.op == "getitem" or not callable(node.target):
        raise NotDense(node.layer or node.op, f"it mixes the images of a batch, or has several results ({node.op})")
    if node.op == "conv2d" and isinstance(node.args["weight"], torch.Tensor):
        return _convolution(node.args)
    if node.op == "max_pool2d":
        return _max_pool(node)
    leaves, tree = pytree.tree_flatten(node.args)
    size = {"reshape": "shape", "expand": "size"}.get(node.op)

    def compute(*values: torch.Tensor) -> torch.Tensor:
        remaining = iter(values)
        args = pytree.tree_unflatten([next(remaining) if isinstance(leaf, Node) else leaf for leaf in leaves], tree)
        if size is not None:
            args[size] = [len(values[0]), *node.shape[1:]]
        result = node.target(**args)
        return result[0] if isinstance(result, tuple | list) else result

    return compute


def _convolution(args: dict[str, Any]) -> Compute:
    weight, bias = args["weight"], args["bias"]
    if weight.device.type == "cpu" and weight.shape[1] > 1:
        weight = weight.contiguous(memory_format=torch.channels_last)
    (top, bottom), (left, right) = args["padding"]
    stride, dilation, groups = args["stride"], args["dilation"], args["groups"]
    if top == bottom and left == right:
        return lambda data: F.conv2d(data, weight, bias, stride, (top, left), dilation, groups)
    return lambda data: F.conv2d(F.pad(data, (left, right, top, bottom)), weight, bias, stride, 0, dilation, groups)


def _max_pool(node: Node) -> Compute:
    """Return max pooling; by slices, which is faster on a CPU, if its windows tile the map."""
    args = {name: value for name, value in node.args.items() if name != "self"}
    kernel = (args["kernel_size"] * 2)[:2]
    tiles = (not args["stride"] or (args["stride"] * 2)[:2] == kernel) and not any(args["padding"]) and not args[
        "ceil_mode"] and set(args["dilation"]) == {1} and max(kernel) <= 4
    if not tiles:
        return lambda data: F.max_pool2d(data, **args)

    def compute(data: torch.Tensor) -> torch.Tensor:
        for dim, side, count in ((2, kernel[0], node.shape[2]), (3, kernel[1], node.shape[3])):
            parts = data.narrow(dim, 0, count * side).unflatten(dim, (count, side)).unbind(dim + 1)
            data = parts[0]
            for part in parts[1:]:
                data = torch.maximum(data, part)
        return data

    return compute


