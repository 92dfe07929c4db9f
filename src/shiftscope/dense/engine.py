"""The dense engine: built once from a model's graph, it computes the outputs at all placements together."""

from typing import Any

import torch
from torch import nn
from torch.utils import _pytree as pytree

from shiftscope.dense import convolution, pointwise, pooling, reshaping
from shiftscope.dense.cut import NO_GAIN, best_cut, cut_at, fraction
from shiftscope.dense.field import Field
from shiftscope.dense.input_field import InputField, input_field
from shiftscope.dense.materialize import first_positions, materialized
from shiftscope.dense.merge import without_batch_norm
from shiftscope.dense.padding import pad, stored_field
from shiftscope.dense.plain import PlainPart
from shiftscope.dense.program import Program, Rule
from shiftscope.dense.unsupported import NotDense, Unsupported
from shiftscope.errors import UsageError, reason_of
from shiftscope.graph import Graph, Node, TraceError, draws_random, trace
from shiftscope.models.forward import device_and_dtype, to_pixels
from shiftscope.modules import Classifier, as_module, model_name, out_of_memory
from shiftscope.outputs import as_floats
from shiftscope.placement import Placement

MEMORY = 2**28
"""Bytes (256 MiB) of the largest tensor for `images_per_call` images."""

CACHE = 2**23
"""Bytes (8 MiB) of the largest tensor of one inner pass on a CPU: larger tensors exceed the caches."""

LARGEST = 2**30
"""Bytes (1 GiB) of the largest shared map of one image."""

CANVASES, LEAST, MOST = 24 * 2**20, 8, 512
"""Bytes of the largest operation on a chunk of canvases, and the smallest and largest number of canvases."""

RULES: dict[str, Rule] = {
    "conv2d": convolution.conv2d, "linear": convolution.linear,
    "max_pool2d": pooling.max_pool2d, "avg_pool2d": pooling.avg_pool2d,
    "adaptive_avg_pool2d": pooling.adaptive(torch.add), "adaptive_max_pool2d": pooling.adaptive(torch.maximum),
    **{name: pooling.reduction(name) for name in ("mean", "sum", "amax", "amin", "max", "min")},
    "batch_norm": pointwise.batch_norm, "layer_norm": pointwise.layer_norm, "pad": pad,
    "reshape": reshaping.reshape, "permute": reshaping.permute, "slice": reshaping.slice_axis,
    "select": reshaping.select, "cat": reshaping.cat, "expand": reshaping.expand, "index": reshaping.index,
    "roll": reshaping.roll, "flip": reshaping.flip,
}
"""Rules by `graph.Node.op`; operations without a rule are not supported."""

ALONG_CHANNELS = ("softmax", "log_softmax", "logsumexp", "linalg_vector_norm")


class DenseEngine:
    """Computes a model's outputs at all placements. Created by `build_dense`; it holds a copy of the weights.

    Args:
        placement: its offsets are computed.
        source: the field of the pixels.
        shared: the operations that all placements share.
        rest: the operations that run for each canvas.
        channels: channels of the images.

    Attributes:
        images_per_call: number of images per call of `logits` that fits into memory.
        cut: where sharing ends; None if all operations are shared.
        shared: number of operations that placements share.
        seconds: per image, if a trial has measured them.
        known: images and their outputs from a trial; the first call of `logits` with these images returns them.
    """

    name = "dense"

    def __init__(self, placement: Placement, source: InputField, shared: "SharedPart", rest: PlainPart, channels: int):
        self.placement, self.shape = placement, (channels, *placement.image)
        self._program, self._rest, self.cut = shared.program, rest, None
        self.shared = len(shared.fields) - 1
        self.seconds: float | None = None
        self.known: tuple[torch.Tensor, torch.Tensor] | None = None
        self._order, self._fill = source.order.to(shared.program.device), source.reader()
        results = [stored_field(shared.program, shared.fields[node]) for node in rest.inputs]
        self._run = shared.program.compiled([field.slot for field in results])
        self._values = [materialized(field, node.shape[1:], self._order)
                        for field, node in zip(results, rest.inputs, strict=True)]
        self._positions = first_positions(results[0], self._order)
        if rest.nodes:
            self.cut = cut_at(shared.graph, list(shared.fields.values()), len(shared.fields), len(self._order))
        self._chunk = max(LEAST, min(MOST, CANVASES // rest.bytes_per_placement()))
        bytes_per_image = max(shared.program.floats, 1) * shared.program.dtype.itemsize
        self.images_per_call = max(1, MEMORY // bytes_per_image)
        cached = max(1, CACHE // bytes_per_image)
        on_cpu = shared.program.device.type == "cpu"
        self._pass = min(self.images_per_call, cached) if on_cpu else self.images_per_call
        if rest.nodes:  # progress is shown, and Ctrl-C acts, after a few images
            self.images_per_call = self._pass

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
        outputs, dtype, known = [], self._program.dtype, self.known
        if known is not None and torch.equal(images[:len(known[0])], known[0]):
            self.known, images = None, images[len(known[0]):]
            outputs.append(known[1])
        for part in images.split(self._pass) if len(images) or not outputs else ():
            stored = self._fill(part)
            pixels = to_pixels(stored, dtype) if images.dtype == torch.uint8 else stored.to(dtype, copy=True)
            maps = self._run(pixels)
            if self._rest.nodes:
                outputs += [self._outputs([one[k] for one in maps])[None] for k in range(len(part))]
            else:
                outputs.append(maps[0].flatten(2).transpose(1, 2).index_select(1, self._positions))
        return as_floats(outputs[0] if len(outputs) == 1 else torch.cat(outputs))

    def _outputs(self, maps: list[torch.Tensor]) -> torch.Tensor:
        """Return the outputs (P, K) of one image from its shared maps; chunks are halved if memory runs out."""
        placements, outputs = torch.arange(len(self._order), device=self._order.device), []
        while len(placements):
            chunk = placements[:self._chunk]
            try:
                outputs.append(self._rest([values(one, chunk) for values, one in zip(self._values, maps, strict=True)]))
            except (MemoryError, RuntimeError) as error:
                if self._chunk == 1 or not out_of_memory(error):
                    raise
                self._chunk = (self._chunk + 1) // 2
            else:
                placements = placements[self._chunk:]
        return torch.cat(outputs)


def build_dense(model: Classifier, placement: Placement, shape: tuple[int, int, int], *,
                shared: int | None = None) -> DenseEngine:
    """Return the engine that computes a model's outputs at all placements, each distinct value once.

    It is exact up to rounding for feed-forward networks, in the model's own dtype and on its device. It uses the graph
    of the model, which may be written with modules or functions. Operations without a rule (`engine.RULES`), and those
    after which sharing does not save time, run for each canvas.

    Args:
        model: a module or function that takes pixels (B, C, H, W) in [0, 1], returns (B, K); it runs in eval mode.
        placement: its canvas is the model's input.
        shape: (C, h, w) of the images.
        shared: number of operations that placements share (default: the fastest one on a trial; all of them if no
            operation meets padding).

    Raises:
        NotDense: if placements share no operation, or the model is not supported; the message names layer and reason.
        UsageError: if the images do not have the size of the placement, or `model` is not a model.

    Example:
        >>> from torch import nn
        >>> net = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 81, 3))
        >>> engine = build_dense(net, Placement(image=(5, 5), canvas=(9, 9)), (1, 5, 5))
        >>> engine.logits(torch.zeros(7, 1, 5, 5, dtype=torch.uint8)).shape
        torch.Size([7, 25, 3])

    References:
        Giusti et al., Fast image scanning with deep max-pooling convolutional neural networks, 2013, arXiv:1302.1700.
    """
    if tuple(shape[1:]) != placement.image:
        raise UsageError(f"shape must end in {placement.image}, the placement's image, got {tuple(shape)}")
    model = as_module(model)
    graph = _traced(model, (shape[0], *placement.canvas))
    device, dtype = device_and_dtype(model)
    source = input_field(placement)
    with torch.no_grad():
        part = SharedPart(graph, source.field(shape[0], dtype, device), Program(dtype, device), shared)
        if not part.program.steps:
            raise part.refusal or NotDense(model_name(model), "placements share no operation")
        try:
            if not part.is_plain_field:
                fields = list(part.fields.values())
                part.keep(best_cut(graph, part.program, fields, placement.count) if shared is None else len(fields))
            rest = PlainPart(graph, set(part.fields), dtype, device)
            rest.check_batch(graph)
        except (RuntimeError, TypeError, LookupError, ValueError) as error:  # such as a tensor for one batch size
            if out_of_memory(error):
                raise
            reason = f"its operations do not run in other batches: {reason_of(error)}"
            raise NotDense(model_name(model), reason) from error
        return DenseEngine(placement, source, part, rest, shape[0])


def _traced(model: nn.Module, shape: tuple[int, int, int]) -> Graph:
    """Return the graph of a model whose outputs follow from one image at a time.

    Raises:
        NotDense: if the model cannot be read, has another output, changes its state or draws random numbers.
    """
    name = model_name(model)
    try:
        graph = trace(model, shape)
    except TraceError as error:
        raise NotDense(name, str(error)) from error
    if graph.changes:
        raise NotDense(name, f"it changes its own {graph.changes[0]} each time it is called")
    if device_and_dtype(model)[0].type == "meta":
        raise NotDense(name, "its weights are on the meta device and have no values")
    for node in graph.nodes[1:]:
        if draws_random(node.target, (), node.args):
            raise NotDense(node.layer or node.op, f"it draws random numbers, also in eval mode ({node.op})")
    end = graph.output
    if len(end.shape) != 2:
        raise NotDense(end.layer or end.op, f"the output must be (batch, classes), got {tuple(end.shape)}")
    with torch.no_grad():
        return without_batch_norm(graph)


class SharedPart:
    """The first operations of a graph, computed for all placements together.

    Args:
        graph: graph of the model at the size of the canvas.
        field: field of the input.
        program: without steps; the steps are added to it.
        count: number of operations (default: as many as have rules and placements share).

    Attributes:
        fields: by node, the input included.
        refusal: why the next operation is not shared; None if there is none.

    Raises:
        NotDense: if `count` operations cannot be shared.
    """

    def __init__(self, graph: Graph, field: Field, program: Program, count: int | None = None):
        self.graph, self.program, self.fields = graph, program, {graph.input: field}
        self.refusal: NotDense | None = None
        program.floats = field.values
        nodes = graph.nodes[1:] if count is None else graph.nodes[1:count + 1]
        for node in nodes:
            try:
                added = self._add(node)
            except NotDense as refusal:
                if count is not None:
                    raise
                self.refusal = refusal
                break
            if count is None and len(self.fields) > 1 and self._gains_nothing(added):
                break
            self.fields[node] = added

    @property
    def is_plain_field(self) -> bool:
        """True if all operations are shared and none meets padding."""
        return len(self.fields) == len(self.graph.nodes) and not any(one.has_border for one in self.fields.values())

    def keep(self, count: int) -> None:
        """Keep the first `count` nodes."""
        self.fields = dict(list(self.fields.items())[:count])
        self.program.floats = max(field.values for field in self.fields.values())

    def _gains_nothing(self, field: Field) -> bool:
        """Return True if the operation is not worth sharing; a result of one position has no others to share with."""
        large = field.values * self.program.dtype.itemsize > LARGEST
        return field.local != (1, 1) and (fraction(field) > NO_GAIN or large)

    def _add(self, node: Node) -> Field:
        layer = node.layer or node.op
        args = pytree.tree_map_only(Node, lambda source: self.fields[source], node.args)
        try:
            result = _rule(node, args)(self.program, args, node.shape)
        except Unsupported as refusal:
            raise NotDense(layer, f"{refusal} ({node.op})") from None
        except (RuntimeError, TypeError) as error:  # arguments that the rule does not handle
            raise NotDense(layer, f"its arguments are not supported: {reason_of(error)} ({node.op})") from error
        if tuple(map(result.length, result.layout)) != node.shape[1:]:
            raise NotDense(layer, f"the layout of its result is not supported ({node.op})")
        if node is self.graph.output and result.local != (1, 1):
            raise NotDense(layer, "its result has several positions of the window instead of classes")
        return result


def _rule(node: Node, args: dict[str, Any]) -> Rule:
    if node.op in RULES and "other" not in args:  # torch.max(a, b) is a maximum, not a reduction
        return RULES[node.op]
    if node.op in ALONG_CHANNELS:
        return pointwise.along_channels(node.op, node.target)
    if node.op in pointwise.ELEMENTWISE:
        return pointwise.elementwise(node.target, node.op)
    raise Unsupported("there is no rule for this operation")
