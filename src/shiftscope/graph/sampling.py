"""Strides of every value in a graph: how its axes sample the rows and columns of the canvas.

Shifting the canvas by s pixels moves a map by an integer number of positions if s is a multiple of its stride.
Operations that skip positions (strided layers, slices, resizing, reshapes that split an axis, regular indices) increase
strides. An axis with one position has no stride.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import torch
from torch import fx

from shiftscope.graph.editable import Editable, arguments, op_of, sizes

Pair = tuple[int, int]


def pair(value: int | Sequence[int]) -> Pair:
    """Return one number, or a sequence of one or two, as (down, right).

    >>> pair(2), pair([3]), pair((1, 2))
    ((2, 2), (3, 3), (1, 2))
    """
    values = (value,) if isinstance(value, int) else tuple(value)
    return values[0], values[-1]


@dataclass(frozen=True)
class Part:
    """An axis of a tensor, or a factor of one: a reshape merges several axes into one, the slowest first.

    Args:
        length: number of positions.
        line: 0 if the axis samples the rows of the canvas, 1 for its columns, None for neither.
        stride: pixels from one position to the next; below 1 after upsampling.
    """

    length: int
    line: int | None = None
    stride: Fraction = Fraction(1)


Axis = tuple[Part, ...]
Axes = tuple[Axis, ...]
Rule = Callable[["Sampling", fx.Node, list[int]], Axes]
"""Returns the axes of an operation's result, given the lengths of these axes."""


def unrelated(length: int) -> Axis:
    """Return an axis that samples neither rows nor columns."""
    return (Part(length),)


def _size(axis: Axis) -> int:
    return math.prod(part.length for part in axis)


def _samples(axis: Axis) -> bool:
    return any(part.line is not None for part in axis)


def _cropped(axis: Axis, length: int) -> Axis:
    """Return an axis with more or fewer positions at the same stride."""
    if _size(axis) == length:
        return axis
    sampling = [part for part in axis if part.line is not None]
    return (replace(sampling[-1], length=length),) if sampling and length > 1 else unrelated(length)


class Sampling:
    """The axes of every value of a network.

    Attributes:
        axes: axes of each node's result.
        strides: the smallest shift down and right that moves every map by an integer number of positions.
        uneven: nodes that resize a map so that no shift below the canvas moves the result by whole positions.

    Example:
        >>> from torch import nn
        >>> from shiftscope.graph.editable import editable
        >>> net = nn.Sequential(nn.Conv2d(1, 1, 3, stride=(3, 1)), nn.PixelUnshuffle(2))
        >>> Sampling(editable(net, (1, 24, 24))).strides
        (6, 2)
    """

    def __init__(self, net: Editable):
        self.net, self.canvas = net, net.shape[1:]
        self.axes: dict[fx.Node, Axes] = {}
        self.uneven: list[fx.Node] = []
        self.strides: Pair = (1, 1)
        for node in net.pixel_nodes():
            self.axes[node] = self._follow(node)
            for part in (part for axis in self.axes[node] for part in axis):
                self.require(part.line, part.stride.numerator)

    def _follow(self, node: fx.Node) -> Axes:
        lengths = _lengths(node)
        if node.op == "placeholder":
            return (*(unrelated(n) for n in lengths[:2]), (Part(lengths[2], 0),), (Part(lengths[3], 1),))
        try:
            axes = RULES.get(op_of(node), _by_shape)(self, node, lengths)
        except (IndexError, KeyError, TypeError, ValueError):  # a call that the rule does not cover
            axes = _by_shape(self, node, lengths)
        if [_size(axis) for axis in axes] != lengths:
            return tuple(unrelated(n) for n in lengths)
        return tuple(tuple(Part(1) if part.length == 1 else part for part in axis) for axis in axes)

    def require(self, line: int | None, period: int) -> None:
        """Require shifts along a line to be multiples of `period`."""
        if line is not None:
            down, right = self.strides
            self.strides = (math.lcm(down, period), right) if line == 0 else (down, math.lcm(right, period))

    def of(self, source: Any) -> Axes:
        """Return the axes of an argument, which may be independent of the pixels."""
        return self.axes.get(source) or tuple(unrelated(n) for n in _lengths(source))

    def moves(self, node: fx.Node, line: int) -> list[int]:
        """Return the axes of a node's result that sample the rows (0) or the columns (1)."""
        return [number for number, axis in enumerate(self.axes[node]) if any(part.line == line for part in axis)]

    def first(self, node: fx.Node) -> Axes:
        """Return the axes of the first argument that depends on the pixels."""
        return next(self.axes[source] for source in node.all_input_nodes if source in self.axes)

    def stepped(self, axis: Axis, step: Fraction | int, length: int) -> Axis:
        """Return an axis that keeps every `step`-th position; below 1: positions are inserted."""
        if length == 1 or not _samples(axis):
            return unrelated(length)
        if len(axis) == 1:
            return (replace(axis[0], length=length, stride=axis[0].stride * step),)
        last = axis[-1]
        if isinstance(step, int) and last.length % step == 0:
            return (*axis[:-1], *self.stepped((last,), step, last.length // step))
        for part in axis:
            self.require(part.line, (part.stride * step).numerator)
        return unrelated(length)

    def resized(self, node: fx.Node, axis: Axis, length: int) -> Axis:
        """Return an axis that was resampled evenly to a length."""
        before, sampling = _size(axis), [part for part in axis if part.line is not None]
        if before == length:
            return axis
        if length == 1 or len(axis) > 1 or not sampling:
            return unrelated(length)
        stride, size = sampling[0].stride * Fraction(before, length), self.canvas[sampling[0].line or 0]
        if before % length and length % before and (size % stride.numerator or stride.numerator == size):
            self.uneven.append(node)
            return unrelated(length)
        return (replace(sampling[0], length=length, stride=stride),)

    def picked(self, axis: Axis, numbers: list[int]) -> Axis:
        """Return an axis that keeps the listed positions: equally spaced ones, or a pattern that repeats."""
        length, count = _size(axis), len(numbers)
        for period in range(1, count):
            steps = {(numbers[k + period] - numbers[k]) % length for k in range(count - period)}
            if len(steps) == 1 and steps != {0} and (period == 1 or count % period == 0):
                step = min(step := steps.pop(), length - step)
                for part in axis:
                    self.require(part.line, (part.stride * step).numerator)
                return self.stepped(axis, Fraction(step, period), count)
        return unrelated(count)

    def constant(self, node: Any) -> Any:
        """Return a value computed from the model's tensors; raise a ValueError if it depends on the pixels."""
        if not isinstance(node, fx.Node):
            return [self.constant(one) for one in node] if isinstance(node, list | tuple) else node
        if node.op == "get_attr":
            return self.net.parts[str(node.target)]
        if node.op != "call_function" or node in self.axes or not callable(node.target):
            raise ValueError(f"{node} is not a constant")
        values = [self.constant(value) for value in node.args]
        return node.target(*values, **{key: self.constant(value) for key, value in node.kwargs.items()})


def _lengths(node: fx.Node) -> list[int]:
    """Return the lengths of a result's axes, -1 for one that depends on the pixels."""
    lengths = []
    for size in sizes(node):
        try:
            lengths.append(int(size))
        except Exception:  # torch's own: a size that is known only when the model runs
            lengths.append(-1)
    return lengths


# ---------------------------------------------------------------------- rules

def _numbers(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def _by_shape(sampling: Sampling, node: fx.Node, lengths: list[int]) -> Axes:
    """Elementwise where shapes are equal; a step where an axis becomes shorter by an integer factor."""
    axes: list[Axis] = [unrelated(n) for n in lengths]
    for source in (source for source in node.all_input_nodes if source in sampling.axes):
        source_axes = sampling.axes[source]
        for back in range(1, min(len(source_axes), len(lengths)) + 1):
            if not _samples(axes[-back]) and _size(source_axes[-back]) == lengths[-back]:
                axes[-back] = source_axes[-back]
    first = sampling.first(node)
    if len(first) == len(lengths):
        for number, (axis, length) in enumerate(zip(first, lengths, strict=True)):
            before = _size(axis)
            if before != length and length > 0 and not _samples(axes[number]):
                step = before // length if before % length == 0 else 1
                axes[number] = sampling.stepped(axis, step, length) if step > 1 else _cropped(axis, length)
    return tuple(axes)


def _kept(sampling: Sampling, node: fx.Node, lengths: list[int]) -> Axes:
    """Padding, crops and repetitions: strides do not change."""
    first = sampling.first(node)
    first = (*(unrelated(1) for _ in range(len(lengths) - len(first))), *first)
    return tuple(_cropped(axis, length) for axis, length in zip(first, lengths, strict=True))


def _window(sampling: Sampling, node: fx.Node, lengths: list[int]) -> Axes:
    """Convolutions and pooling: the last axes step by the stride."""
    args, op = arguments(node), op_of(node)
    steps = _numbers(args["stride"]) or _numbers(args["kernel_size"])
    source = sampling.of(args["input"] if "input" in args else args["self"])
    rank = next((rank for rank in (1, 2, 3) if f"{rank}d" in op), 2)
    steps = steps * rank if len(steps) == 1 else steps
    up = bool(args.get("transposed")) or "transpose" in op
    return (*source[:-rank - 1], unrelated(lengths[-rank - 1]),
            *(sampling.stepped(axis, Fraction(1, step) if up else step, length)
              for axis, step, length in zip(source[-rank:], steps, lengths[-rank:], strict=True)))


def _resize(sampling: Sampling, node: fx.Node, lengths: list[int]) -> Axes:
    """Interpolation, and pooling to a args size."""
    return tuple(sampling.resized(node, axis, length)
                 for axis, length in zip(sampling.first(node), lengths, strict=True))


def _shuffle(sampling: Sampling, node: fx.Node, lengths: list[int]) -> Axes:
    """Space to depth, and the reverse."""
    args, source = arguments(node), sampling.first(node)
    step = args["downscale_factor"] if "downscale_factor" in args else Fraction(1, args["upscale_factor"])
    axes = [sampling.stepped(axis, step, length) for axis, length in zip(source[-2:], lengths[-2:], strict=True)]
    return (*source[:-3], unrelated(lengths[-3]), *axes)


def _reshape(sampling: Sampling, node: fx.Node, lengths: list[int]) -> Axes:
    """Axes are merged and split: the outer part of a split axis steps over the inner one."""
    parts = [part for axis in sampling.first(node) for part in axis if part.length > 1]
    axes: list[Axis] = []
    for length in lengths:
        taken: list[Part] = []
        while (missing := length // _size(tuple(taken))) > 1:
            part = parts.pop(0)
            inner, rest = divmod(part.length, missing)
            if part.length > missing:
                if rest:
                    raise ValueError("an axis is split unevenly")
                parts.insert(0, Part(inner))
                part = replace(part, length=missing, stride=part.stride * inner)
            taken.append(part)
        axes.append(tuple(taken) or unrelated(length))
    return tuple(axes)


def _permute(sampling: Sampling, node: fx.Node, lengths: list[int]) -> Axes:
    args, source = arguments(node), list(sampling.first(node))
    if "dims" in args:
        return tuple(source[dim] for dim in args["dims"])
    a, b = args.get("dim0", -2), args.get("dim1", -1)
    source[a], source[b] = source[b], source[a]
    return tuple(source)


def _reduction(sampling: Sampling, node: fx.Node, lengths: list[int]) -> Axes:
    """One number along some axes."""
    args, source = arguments(node), sampling.first(node)
    dims = args.get("dim")
    reduced = {dim % len(source) for dim in (range(len(source)) if dims is None or dims == [] else _numbers(dims))}
    keep = args.get("keepdim", False)
    return tuple(unrelated(1) if number in reduced else axis for number, axis in enumerate(source)
                 if keep or number not in reduced)


def _slice(sampling: Sampling, node: fx.Node, lengths: list[int]) -> Axes:
    args, source = arguments(node), list(sampling.first(node))
    dim, step = args["dim"] % len(source), args.get("step", 1)
    source[dim] = sampling.stepped(source[dim], step, lengths[dim]) if step > 1 else _cropped(source[dim], lengths[dim])
    return tuple(source)


def _select(sampling: Sampling, node: fx.Node, lengths: list[int]) -> Axes:
    """One position along an axis, which is removed."""
    source = sampling.first(node)
    dim = arguments(node)["dim"] % len(source)
    return source[:dim] + source[dim + 1:]


def _item(sampling: Sampling, node: fx.Node, lengths: list[int]) -> Axes:
    """One of several results."""
    source: Any = node.args[0]
    if op_of(source) == "unbind":
        dim = arguments(source)["dim"] % (len(lengths) + 1)
        return sampling.axes[source][:dim] + sampling.axes[source][dim + 1:]
    return _kept(sampling, node, lengths)


def _parts(sampling: Sampling, node: fx.Node, lengths: list[int]) -> Axes:
    """Several results; `_item` takes one of them."""
    return sampling.first(node) if op_of(node) == "unbind" else _kept(sampling, node, lengths)


def _stack(sampling: Sampling, node: fx.Node, lengths: list[int]) -> Axes:
    source, dim = sampling.first(node), arguments(node)["dim"] % len(lengths)
    return (*source[:dim], unrelated(lengths[dim]), *source[dim:])


def _index(sampling: Sampling, node: fx.Node, lengths: list[int]) -> Axes:
    """`x[:, :, rows]` and `x[:, :, rows[:, None], columns]`."""
    source, lists = sampling.first(node), list(arguments(node)["indices"])
    dims = [dim for dim, one in enumerate(lists) if one is not None]
    if dims != list(range(dims[0], dims[-1] + 1)):
        raise ValueError("indices of axes that are not adjacent")
    values = [sampling.constant(lists[dim]) for dim in dims]
    chosen = torch.broadcast_tensors(*(value.nonzero()[:, 0] if value.dtype == torch.bool and value.ndim == 1
                                       else value.long() for value in values))
    new: list[Axis] = [unrelated(n) for n in chosen[0].shape]
    for dim, numbers in zip(dims, chosen, strict=True):
        along = [k for k, n in enumerate(numbers.shape) if n > 1 and bool((numbers.diff(dim=k) != 0).any())]
        if len(along) > 1:
            raise ValueError("an index that varies along several axes")
        if along:
            positions = numbers.movedim(along[0], 0).reshape(numbers.shape[along[0]], -1)[:, 0]
            new[along[0]] = sampling.picked(source[dim], positions.tolist())
    return (*source[:dims[0]], *new, *source[dims[-1] + 1:])


def _index_select(sampling: Sampling, node: fx.Node, lengths: list[int]) -> Axes:
    source, args = list(sampling.first(node)), arguments(node)
    dim = args["dim"] % len(source)
    source[dim] = sampling.picked(source[dim], sampling.constant(args["index"]).flatten().tolist())
    return tuple(source)


def _im2col(sampling: Sampling, node: fx.Node, lengths: list[int]) -> Axes:
    """`F.unfold`: all windows along one axis."""
    args, source = arguments(node), sampling.first(node)
    extents = [d * (k - 1) for d, k in zip(args["dilation"], args["kernel_size"], strict=True)]
    rows, columns = (sampling.stepped(axis, step, (_size(axis) + 2 * pad - extent - 1) // step + 1)
                     for axis, pad, extent, step in
                     zip(source[-2:], args["padding"], extents, args["stride"], strict=True))
    return (*source[:-3], unrelated(lengths[-2]), (*rows, *columns))


def _unfold(sampling: Sampling, node: fx.Node, lengths: list[int]) -> Axes:
    """`x.unfold(dim, size, step)`: windows along an axis, their content along a new one."""
    args, source = arguments(node), list(sampling.first(node))
    dim = args["dimension"] % len(source)
    source[dim] = sampling.stepped(source[dim], args["step"], lengths[dim])
    return (*source, unrelated(lengths[-1]))


def _linear(sampling: Sampling, node: fx.Node, lengths: list[int]) -> Axes:
    return (*sampling.first(node)[:-1], unrelated(lengths[-1]))


def _matmul(sampling: Sampling, node: fx.Node, lengths: list[int]) -> Axes:
    left, right = (sampling.of(source) for source in node.all_input_nodes[-2:])
    return (*max(left[:-2], right[:-2], key=len), left[-2], right[-1])


def _cat(sampling: Sampling, node: fx.Node, lengths: list[int]) -> Axes:
    dim, axes = arguments(node)["dim"] % len(lengths), list(_by_shape(sampling, node, lengths))
    axes[dim] = _cropped(sampling.first(node)[dim], lengths[dim])
    return tuple(axes)


_NAMES: dict[Rule, str] = {
    _window: "conv1d conv2d conv3d convolution conv_transpose1d conv_transpose2d conv_transpose3d max_pool1d "
             "max_pool2d max_pool3d max_pool1d_with_indices max_pool2d_with_indices max_pool3d_with_indices avg_pool1d "
             "avg_pool2d avg_pool3d",
    _resize: "adaptive_avg_pool1d adaptive_avg_pool2d _adaptive_avg_pool2d adaptive_max_pool1d adaptive_max_pool2d "
             "upsample_nearest1d upsample_nearest2d _upsample_nearest_exact1d _upsample_nearest_exact2d "
             "upsample_linear1d upsample_bilinear2d upsample_bicubic2d _upsample_bilinear2d_aa _upsample_bicubic2d_aa "
             "repeat_interleave",
    _kept: "pad constant_pad_nd reflection_pad1d reflection_pad2d replication_pad1d replication_pad2d repeat tile "
           "narrow",
    _reduction: "mean sum amax amin max min var std norm linalg_vector_norm logsumexp prod any all argmax argmin "
                "median nanmedian mode var_mean std_mean",
    _reshape: "reshape view _unsafe_view view_copy squeeze unsqueeze flatten unflatten _reshape_copy",
    _permute: "permute transpose t mT", _parts: "split split_with_sizes chunk unbind",
    _shuffle: "pixel_shuffle pixel_unshuffle", _slice: "slice", _select: "select", _item: "getitem", _stack: "stack",
    _index: "index", _index_select: "index_select", _im2col: "im2col", _unfold: "unfold", _linear: "linear",
    _matmul: "matmul bmm mm", _cat: "cat"}

RULES = {name: rule for rule, names in _NAMES.items() for name in names.split()}
"""Plain name of an operation -> its rule; `_by_shape` for all others."""
