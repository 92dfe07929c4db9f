"""Effect of circular shifts on every value of a network, if all its padding is made circular.

Each value is equivariant (a map that shifts with the canvas) or invariant (the same at all placements). Operations for
which this is not known are refused by name. Changes of the network that it requires are only recorded here; `polyphase`
makes them.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import fx

from shiftscope.errors import UsageError
from shiftscope.graph.editable import Editable, arguments, op_of, sizes, title
from shiftscope.graph.sampling import Pair, pair
from shiftscope.graph.strided import stride_of
from shiftscope.layers.padding import Sides
from shiftscope.models.repair.strides import WINDOWED, CannotRepair, circular_sides, rewrite, window_of

aten = torch.ops.aten


@dataclass(frozen=True)
class Equivariant:
    """A value that shifts with the canvas.

    Args:
        axes: the axes that are its rows and columns.
        stride: rows and columns of the canvas from one position to the next.
    """

    axes: Pair
    stride: Pair


@dataclass(frozen=True)
class Invariant:
    """A value that is the same at all placements."""


Kind = Equivariant | Invariant
INVARIANT = Invariant()


@dataclass(eq=False)
class CircularAnalysis:
    """What is known of each value of a network, and what has to be changed.

    Args:
        net: the network.
        keep_head: do not change layers that read positions.
    """

    net: Editable
    keep_head: bool = False
    kinds: dict[fx.Node, Kind] = field(default_factory=dict)
    padding: dict[fx.Node, Sides] = field(default_factory=dict)
    """Circular padding that replaces the padding of an operation: left, right, top, bottom."""
    pad_nodes: dict[fx.Node, Sides] = field(default_factory=dict)
    """Padding operations, which are removed, and whose padding is added to that of the operation that follows."""
    averaged: dict[fx.Node, Equivariant] = field(default_factory=dict)
    """Operations that read positions: their input is replaced by its mean over all positions."""
    notes: list[str] = field(default_factory=list)

    def map_of(self, source: Any, reader: fx.Node) -> Equivariant:
        """Return the kind of an input (batch, channel, row, column)."""
        kind = self.kinds.get(source)
        if not isinstance(kind, Equivariant) or kind.axes != (2, 3) or len(sizes(source)) != 4:
            raise self.refuse(reader, "its rows and columns are not the last two of four axes")
        return kind

    def refuse(self, node: fx.Node, why: str) -> UsageError:
        """Return the error that names an operation of the network."""
        return CannotRepair(f"{self.net.owner} cannot be repaired with polyphase sampling, because of {title(node)}: "
                            f"{why}")

    def size(self, kind: Equivariant) -> Pair:
        """Return rows and columns of a map in the repaired network."""
        _, height, width = self.net.shape
        return height // kind.stride[0], width // kind.stride[1]

    def pad_circularly(self, node: fx.Node) -> Equivariant:
        """Record the circular padding that gives a convolution or pooling one output per stride."""
        window, stride = window_of(node), stride_of(node)  # no stride along an axis with one output position
        kind = self.map_of(window.source, node)
        left, _, top, _ = self.pad_nodes.get(window.source, (0, 0, 0, 0))
        padding = window.padding[0] + top, window.padding[1] + left
        if padding[0] > window.reach[0] or padding[1] > window.reach[1]:
            raise self.refuse(node, f"its padding of {max(padding)} is larger than its window reaches")
        self.padding[node] = circular_sides(padding, window.reach, stride)
        rewrite(node, stride=stride, padding=(0, 0))
        return Equivariant((2, 3), (kind.stride[0] * stride[0], kind.stride[1] * stride[1]))

    def average(self, node: fx.Node, kind: Equivariant) -> Kind:
        """Record that an operation reads positions, and has to read the mean over all positions instead."""
        if not self.keep_head:
            self.averaged[node] = kind
            self.notes.append(f"{title(node)} reads positions: its input is replaced by the mean over all positions, "
                              "as if the layers after it were applied to all shifts of the map and averaged; fine-tune "
                              "to recover accuracy")
            return INVARIANT
        before, after = tuple(sizes(node.all_input_nodes[0])[axis] for axis in kind.axes), self.size(kind)
        if before != after:
            raise self.refuse(node, f"it takes {before[0]} x {before[1]} positions, circular padding gives {after[0]} "
                                    f"x {after[1]}, so head='keep' is not possible")
        self.notes.append(f"{title(node)} reads positions and was kept: predictions still depend on position")
        return INVARIANT

    def total_stride(self) -> int:
        """Return the shift of the canvas that moves every map by whole positions."""
        maps = [kind for kind in self.kinds.values() if isinstance(kind, Equivariant)]
        return math.lcm(*(step for kind in maps for step in kind.stride))


def analyze(net: Editable, *, keep_head: bool = False) -> CircularAnalysis:
    """Return the effect of shifts on each value of a network.

    Raises:
        CannotRepair: if an operation mixes positions in a way that does not commute with shifts; it is named.
    """
    analysis = CircularAnalysis(net, keep_head)
    for node in net.pixel_nodes():
        inputs = [analysis.kinds[source] for source in node.all_input_nodes if source in analysis.kinds]
        if node.op == "placeholder":
            analysis.kinds[node] = Equivariant((2, 3), (1, 1))
        elif all(isinstance(kind, Invariant) for kind in inputs):
            analysis.kinds[node] = INVARIANT
        else:
            rule = RULES.get(op_of(node))
            if rule is None:
                raise analysis.refuse(node, "it is not known to commute with shifts")
            analysis.kinds[node] = rule(analysis, node)
    if isinstance(analysis.kinds.get(net.output), Equivariant):
        raise analysis.refuse(net.output, "it returns a map, not one output per image")
    return analysis


# ---------------------------------------------------------------------- rules

Rule = Callable[[CircularAnalysis, fx.Node], Kind]


def _rank(node: fx.Node) -> int:
    return len(sizes(node.all_input_nodes[0]))


def _same(analysis: CircularAnalysis, node: fx.Node) -> Kind:
    """Pointwise, or with statistics over all positions."""
    return analysis.kinds[node.all_input_nodes[0]]


def _join(analysis: CircularAnalysis, node: fx.Node) -> Kind:
    """Joins maps of one stride, and values that are equal at all positions."""
    rank, maps = len(sizes(node)), set()
    fixed = []
    for source in node.all_input_nodes:
        kind, axes_added = analysis.kinds.get(source), rank - len(sizes(source))
        if isinstance(kind, Equivariant):
            maps.add(Equivariant((kind.axes[0] + axes_added, kind.axes[1] + axes_added), kind.stride))
        else:
            fixed.append(source)
    if len(maps) > 1:
        raise analysis.refuse(node, "it joins maps of different strides")
    kind = maps.pop()
    for source in fixed:
        shape = sizes(source)
        axes = [axis - (rank - len(shape)) for axis in kind.axes]
        if any(int(shape[axis]) != 1 for axis in axes if axis >= 0):
            raise analysis.refuse(node, "it joins a map with values at fixed positions")
    return kind


def _cat(analysis: CircularAnalysis, node: fx.Node) -> Kind:
    given = arguments(node)
    if not all(isinstance(analysis.kinds.get(source), Equivariant) for source in given["tensors"]):
        raise analysis.refuse(node, "it joins a map with values at fixed positions")
    return _not_along(analysis, node, _join(analysis, node), [given["dim"]])


def _not_along(analysis: CircularAnalysis, node: fx.Node, kind: Kind, dims: Sequence[int]) -> Kind:
    """Return the kind if the operation does not work along rows or columns."""
    if isinstance(kind, Equivariant) and any(dim % _rank(node) in kind.axes for dim in dims):
        raise analysis.refuse(node, "it works along rows or columns")
    return kind


def _along(name: str) -> Rule:
    """Works along the axes in an argument, which stay."""
    def rule(analysis: CircularAnalysis, node: fx.Node) -> Kind:
        dims = arguments(node)[name]
        return _not_along(analysis, node, _same(analysis, node), [dims] if isinstance(dims, int) else dims)
    return rule


def _select(analysis: CircularAnalysis, node: fx.Node) -> Kind:
    """Removes one axis."""
    dim = arguments(node)["dim"] % _rank(node)
    return _without(_not_along(analysis, node, _same(analysis, node), [dim]), [dim])


def _without(kind: Kind, dims: Sequence[int]) -> Kind:
    if not isinstance(kind, Equivariant):
        return kind
    down, right = (axis - sum(dim < axis for dim in dims) for axis in kind.axes)
    return Equivariant((down, right), kind.stride)


def _reduce(analysis: CircularAnalysis, node: fx.Node) -> Kind:
    """Reduces some axes; the result is invariant if these include rows and columns."""
    kind, given = _same(analysis, node), arguments(node)
    dims = given.get("dim")
    if not isinstance(kind, Equivariant) or dims is None or dims == []:
        raise analysis.refuse(node, "it mixes the images of a batch")
    axes = [dim % _rank(node) for dim in ([dims] if isinstance(dims, int) else dims)]
    if set(kind.axes) <= set(axes):
        return INVARIANT
    _not_along(analysis, node, kind, axes)
    return kind if given.get("keepdim") else _without(kind, axes)


def _permute(analysis: CircularAnalysis, node: fx.Node) -> Kind:
    kind, given, rank = _same(analysis, node), arguments(node), len(sizes(node))
    if "dims" in given:
        dims = [dim % rank for dim in given["dims"]]
    else:
        dims, a, b = list(range(rank)), given.get("dim0", 0) % rank, given.get("dim1", 1) % rank
        dims[a], dims[b] = b, a
    if not isinstance(kind, Equivariant):
        return kind
    return Equivariant((dims.index(kind.axes[0]), dims.index(kind.axes[1])), kind.stride)


def _last_axes(analysis: CircularAnalysis, node: fx.Node) -> Kind:
    """Linear layers and layer normalization."""
    count = len(arguments(node).get("normalized_shape", (1,)))
    return _not_along(analysis, node, _same(analysis, node), [-1 - k for k in range(count)])


def _reshape(analysis: CircularAnalysis, node: fx.Node) -> Kind:
    """Keeps rows and columns as two axes, or flattens all, which reads positions."""
    source = node.all_input_nodes[0]
    kind, before, after = analysis.kinds[source], sizes(source), sizes(node)
    if not isinstance(kind, Equivariant):
        return kind
    down, right = (_axis_after(before, after, axis) for axis in kind.axes)
    if down is not None and right is not None:
        if op_of(node) == "reshape":
            shape = list(arguments(node)["shape"])
            shape[down], shape[right] = analysis.size(kind)  # circular padding may have changed it
            node.args, node.kwargs = (source, shape), {}
        return Equivariant((down, right), kind.stride)
    if len(after) == 2 or all(before[axis] == 1 for axis in kind.axes):
        return analysis.average(node, kind)
    raise analysis.refuse(node, "it mixes positions with channels, or makes a sequence of them")


def _axis_after(before: tuple[Any, ...], after: tuple[Any, ...], axis: int) -> int | None:
    """Return the axis that a reshape turns an axis into, None if it is split or merged; the first is the batch."""
    if before[:1] != after[:1]:
        return None
    skipped = math.prod(map(int, before[1:axis]))
    return next((other for other in range(1, len(after)) if math.prod(map(int, after[1:other])) == skipped
                 and after[other] == before[axis]), None)


def _window(analysis: CircularAnalysis, node: fx.Node) -> Kind:
    """Convolution or pooling; a pooling over the whole map stays one if circular padding enlarges the map."""
    given = arguments(node)
    if op_of(node) == "conv2d" or not _pools_all(analysis, node, given):
        return analysis.pad_circularly(node)
    analysis.map_of(given["self"], node)
    node.target = aten.amax.default if op_of(node) == "max_pool2d" else aten.mean.dim
    node.args, node.kwargs = (given["self"], [2, 3], True), {}
    return INVARIANT


def _pools_all(analysis: CircularAnalysis, node: fx.Node, given: dict[str, Any]) -> bool:
    """Return True if the window of a pooling is the whole map."""
    plain = pair(given["padding"]) == (0, 0) and pair(given.get("dilation", 1)) == (1, 1)
    plain = plain and given.get("divisor_override") is None and given["self"] not in analysis.pad_nodes
    return plain and tuple(sizes(node)[2:]) == (1, 1) and tuple(sizes(given["self"])[2:]) == pair(given["kernel_size"])


def _adaptive_pool(analysis: CircularAnalysis, node: fx.Node) -> Kind:
    """Global pooling; pooling to several positions reads positions."""
    kind = analysis.map_of(node.all_input_nodes[0], node)
    if op_of(node) == "adaptive_max_pool2d" and any(user.args[1] != 0 and user.users for user in node.users):
        raise analysis.refuse(node, "it returns positions")
    return INVARIANT if tuple(sizes(node)[2:]) == (1, 1) else analysis.average(node, kind)


def _pad(analysis: CircularAnalysis, node: fx.Node) -> Kind:
    """Padding before convolutions or poolings."""
    sides = tuple(arguments(node)["pad"])
    sides = (*sides, 0, 0) if len(sides) == 2 else sides
    if len(sides) != 4 or min(sides) < 0 or not all(op_of(user) in WINDOWED for user in node.users):
        raise analysis.refuse(node, "its result is not read by convolutions or poolings only")
    analysis.pad_nodes[node] = (sides[0], sides[1], sides[2], sides[3])
    return analysis.map_of(node.all_input_nodes[0], node)


_SAME = """relu relu6 leaky_relu rrelu elu selu celu gelu silu mish sigmoid log_sigmoid tanh hardtanh hardswish
hardsigmoid hardshrink softshrink softplus softsign threshold prelu neg abs exp expm1 log log1p sqrt rsqrt square
reciprocal sign erf sin cos clone alias detach contiguous to _to_copy lift_fresh_copy dropout feature_dropout
alpha_dropout batch_norm group_norm instance_norm getitem"""
_JOINS = "add sub rsub mul div maximum minimum where pow clamp clamp_min clamp_max lerp addcmul addcdiv"
_REDUCTIONS = "mean sum amax amin var std norm linalg_vector_norm logsumexp prod"

RULES: dict[str, Rule] = {
    **dict.fromkeys(_SAME.split(), _same), **dict.fromkeys(_JOINS.split(), _join),
    **dict.fromkeys(_REDUCTIONS.split(), _reduce), **dict.fromkeys(WINDOWED, _window),
    **dict.fromkeys(["softmax", "log_softmax", "slice", "split", "split_with_sizes", "chunk", "narrow"], _along("dim")),
    **dict.fromkeys(["permute", "transpose", "t"], _permute), **dict.fromkeys(("linear", "layer_norm"), _last_axes),
    **dict.fromkeys(["reshape", "squeeze", "unsqueeze", "flatten", "unflatten"], _reshape),
    **dict.fromkeys(("adaptive_avg_pool2d", "adaptive_max_pool2d"), _adaptive_pool),
    **dict.fromkeys(("pad", "constant_pad_nd"), _pad), "cat": _cat, "flip": _along("dims"), "select": _select,
}
"""By operation name; operations on invariant values only need no rule."""
