"""The dense engine: built once from a model's graph, it computes the outputs at all placements in one pass."""

from typing import Any

import torch
from torch.utils import _pytree as pytree

from shiftscope.dense import convolution, pointwise, pooling, reshaping
from shiftscope.dense.field import Field, reader
from shiftscope.dense.input_field import InputField, input_fields
from shiftscope.dense.padding import pad
from shiftscope.dense.program import Program, Rule
from shiftscope.dense.unsupported import NeedsTorus, NotDense, Unsupported
from shiftscope.errors import UsageError, reason_of
from shiftscope.graph import Graph, Node, TraceError, draws_random, trace
from shiftscope.models.forward import device_and_dtype, to_pixels
from shiftscope.modules import Classifier, as_module, model_name
from shiftscope.outputs import as_floats
from shiftscope.placement import Placement

MEMORY = 2**28
"""Bytes (256 MiB) of the largest tensor for `images_per_call` images."""

CACHE = 2**23
"""Bytes (8 MiB) of the largest tensor of one inner pass on a CPU: larger tensors exceed the caches."""

RULES: dict[str, Rule] = {
    "conv2d": convolution.conv2d, "linear": convolution.linear,
    "max_pool2d": pooling.max_pool2d, "avg_pool2d": pooling.avg_pool2d,
    "adaptive_avg_pool2d": pooling.adaptive(torch.add), "adaptive_max_pool2d": pooling.adaptive(torch.maximum),
    **{name: pooling.reduction(name) for name in ("mean", "sum", "amax", "amin", "max", "min")},
    "batch_norm": pointwise.batch_norm, "layer_norm": pointwise.layer_norm, "pad": pad,
    "reshape": reshaping.reshape, "permute": reshaping.permute, "slice": reshaping.slice_axis,
    "select": reshaping.select, "cat": reshaping.cat, "expand": reshaping.expand, "index": reshaping.index,
    "roll": reshaping.roll,
}
"""Rules by `graph.Node.op`; operations without a rule are not supported."""

ALONG_CHANNELS = ("softmax", "log_softmax", "logsumexp", "linalg_vector_norm")


class DenseEngine:
    """Computes a model's outputs at all placements. Created by `build_dense`; it holds a copy of the weights.

    Args:
        placement: its offsets are computed.
        source: the field of the pixels.
        program, result: the steps and the field of the outputs.
        channels: channels of the images.

    Attributes:
        images_per_call: number of images per call of `logits` that fits into memory.
    """

    name = "dense"

    def __init__(self, placement: Placement, source: InputField, program: Program, result: Field, channels: int):
        self.placement, self.shape = placement, (channels, *placement.image)
        self._source, self._program = source, program
        self._run = program.compiled(result)
        self._order = source.order.to(program.device)
        bytes_per_image = max(program.floats, 1) * program.dtype.itemsize
        self.images_per_call = max(1, MEMORY // bytes_per_image)
        cached = max(1, CACHE // bytes_per_image)
        self._pass = min(self.images_per_call, cached) if program.device.type == "cpu" else self.images_per_call

    @torch.no_grad()
    def logits(self, images: torch.Tensor) -> torch.Tensor:
        """Return the model's outputs (B, P, K), placements in the order of `placement.offsets()`.

        Args:
            images: (B, C, h, w) on the model's device, uint8, or floating-point pixels in [0, 1].

        Raises:
            UsageError: if the images have another size than the engine was built for.
        """
        if tuple(images.shape[1:]) != self.shape or images.ndim != 4:
            raise UsageError(f"images must be (batch, {', '.join(map(str, self.shape))}) for this engine, got "
                             f"{tuple(images.shape)}")
        outputs, dtype = [], self._program.dtype
        for part in images.split(self._pass):
            stored = self._source.fill(part)
            pixels = to_pixels(stored, dtype) if images.dtype == torch.uint8 else stored.to(dtype, copy=True)
            windows = self._run(pixels)  # (B, K, ny, nx)
            outputs.append(windows.flatten(2).transpose(1, 2).index_select(1, self._order))
        return as_floats(outputs[0] if len(outputs) == 1 else torch.cat(outputs))


def build_dense(model: Classifier, placement: Placement, shape: tuple[int, int, int]) -> DenseEngine:
    """Return the engine that computes a model's outputs at all placements in one pass over a field.

    It is exact up to rounding for feed-forward networks of convolutions, pools, elementwise functions, linear layers
    and the other operations in `engine.RULES`, in the model's own dtype and on its device. It uses the graph of the
    model, which may be written with modules or functions.

    Args:
        model: a module or function that takes pixels (B, C, H, W) in [0, 1], returns (B, K); it runs in eval mode.
        placement: its canvas is the model's input.
        shape: (C, h, w) of the images.

    Raises:
        NotDense: if the model or the placements are not supported; the message names layer and reason.
        UsageError: if the images do not have the size of the placement, or `model` is not a model.

    Example:
        >>> from torch import nn
        >>> net = nn.Sequential(nn.Conv2d(1, 4, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))
        >>> engine = build_dense(net, Placement(image=(5, 5), canvas=(9, 9)), (1, 5, 5))
        >>> engine.logits(torch.zeros(7, 1, 5, 5, dtype=torch.uint8)).shape
        torch.Size([7, 25, 3])

    References:
        Giusti et al., Fast image scanning with deep max-pooling convolutional neural networks, 2013, arXiv:1302.1700.
    """
    if tuple(shape[1:]) != placement.image:
        raise UsageError(f"shape must end in {placement.image}, the placement's image, got {tuple(shape)}")
    if placement.mode == "fill":
        raise NotDense("mode fill", "its filled pixels do not move with the image")
    model = as_module(model)
    try:
        graph = trace(model, (shape[0], *placement.canvas))
    except TraceError as error:
        raise NotDense(model_name(model), str(error)) from error
    if graph.changes:
        raise NotDense(model_name(model), f"it changes its own {graph.changes[0]} each time it is called")
    device, dtype = device_and_dtype(model)
    if device.type == "meta":
        raise NotDense(model_name(model), "its weights are on the meta device and have no values")
    refused = None
    for source in input_fields(placement):
        program = Program(source.windows, dtype, device)
        field = source.field(shape[0], placement.canvas, dtype, device)
        program.floats = shape[0] * field.size[0] * field.size[1]
        try:
            with torch.no_grad():
                return DenseEngine(placement, source, program, add_steps(graph, program, field), shape[0])
        except NeedsTorus as refusal:
            refused = NotDense(refusal.layer, str(refusal))
    raise refused or NotDense(model_name(model), "there is no field for these placements")


def add_steps(graph: Graph, program: Program, field: Field) -> Field:
    """Add the steps of a graph to a program, and return the field of the model's output.

    Args:
        graph: graph of the model at the size of the canvas.
        program: without steps.
        field: field of the input.

    Raises:
        NotDense: if an operation has no rule, or its rule does not support it.
        NeedsTorus: if it may be supported on a torus.
    """
    fields: dict[Node, Field] = {graph.input: field}
    for node in graph.nodes[1:]:
        args = pytree.tree_map_only(Node, lambda source: fields[source], node.args)
        layer = node.layer or node.op
        try:
            fields[node] = _rule(node, args)(program, args, node.shape)
        except NeedsTorus as refusal:
            refusal.layer = layer
            raise
        except Unsupported as refusal:
            raise NotDense(layer, f"{refusal} ({node.op})") from None
        except (RuntimeError, TypeError) as error:  # arguments that the rule does not handle
            raise NotDense(layer, f"its arguments are not supported: {reason_of(error)} ({node.op})") from error
        if tuple(map(fields[node].length, fields[node].layout)) != node.shape[1:]:
            raise NotDense(layer, f"the layout of its result is not supported ({node.op})")
    result, end = fields[graph.output], graph.output
    if len(result.layout) != 1:
        raise NotDense(end.layer or end.op, f"the output must be (batch, classes), got {tuple(end.shape)}")
    if result.local != (1, 1):
        raise NotDense(end.layer or end.op, "its result has several positions of the window instead of classes")
    read = reader(result, program.windows, (0, 0), program.windows.count)
    return program.add(result, [result], read, lead=(0, 0), size=program.windows.count, const=None)


def _rule(node: Node, args: dict[str, Any]) -> Rule:
    if node.op in RULES and "other" not in args:  # torch.max(a, b) is a maximum, not a reduction
        return RULES[node.op]
    if node.op in ALONG_CHANNELS:
        return pointwise.along_channels(node.op, node.target)
    if node.op in pointwise.ELEMENTWISE:
        return pointwise.elementwise(node.target, node.op)
    if draws_random(node.target, (), node.args):
        raise Unsupported("it draws random numbers, also in eval mode")
    raise Unsupported("there is no rule for this operation")
