"""What becomes of the axes of a value in each operation; see `sampling.py`."""

import math
from dataclasses import replace
from fractions import Fraction
from typing import Any

import torch
from torch import fx

from shiftscope.graph.editable import Editable, arguments, op_of
from shiftscope.graph.sampling import Axes, Axis, Part, Rule, Sampling, cropped, whole


def sample(net: Editable) -> Sampling:
    """Return how the axes of every value of a network sample the canvas.

    Args:
        net: read, not changed.
    """
    return Sampling(net, RULES, by_shape)


def _numbers(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]



def by_shape(sampling: Sampling, node: fx.Node, lengths: list[int]) -> Axes:
    """Position by position where the shapes say so; else a step wherever an axis becomes shorter by a whole factor."""
    axes: list[Axis] = [whole(n) for n in lengths]
    for source in (source for source in node.all_input_nodes if source in sampling.axes):
        given = sampling.axes[source]
        for back in range(1, min(len(given), len(lengths)) + 1):
            before, after = math.prod(part.length for part in given[-back]), lengths[-back]
            if all(part.line is None for part in axes[-back]) and before == after:
                axes[-back] = given[-back]
    first = sampling.first(node)
    if len(first) == len(lengths):
        for place, (axis, length) in enumerate(zip(first, lengths, strict=True)):
            before = math.prod(part.length for part in axis)
            if before != length and length > 0 and all(part.line is None for part in axes[place]):
                step = before // length if before % length == 0 else 1
                axes[place] = sampling.stepped(axis, step, length) if step > 1 else cropped(axis, length)
    return tuple(axes)


def kept(sampling: Sampling, node: fx.Node, lengths: list[int]) -> Axes:
    """Positions stay as far apart as they were: padding, crops, repetitions."""
    first = sampling.first(node)
    first = (*(whole(1) for _ in range(len(lengths) - len(first))), *first)
    return tuple(cropped(axis, length) for axis, length in zip(first, lengths, strict=True))


def window(sampling: Sampling, node: fx.Node, lengths: list[int]) -> Axes:
    """Convolutions and pooling: the last axes step by the stride."""
    given = arguments(node)
    steps = _numbers(given["stride"]) or _numbers(given["kernel_size"])
    source = sampling.of(given["input"] if "input" in given else given["self"])
    rank = _rank(op_of(node))
    steps = steps * rank if len(steps) == 1 else steps
    axes = [*source[:-rank]]
    axes[-1] = whole(lengths[-rank - 1])
    up = bool(given.get("transposed")) or "transpose" in op_of(node)
    for axis, step, length in zip(source[-rank:], steps, lengths[-rank:], strict=True):
        axes.append(sampling.stepped(axis, Fraction(1, step) if up else step, length))
    return tuple(axes)


def _rank(op: str) -> int:
    return next((rank for rank in (1, 2, 3) if f"{rank}d" in op), 2)


def resize(sampling: Sampling, node: fx.Node, lengths: list[int]) -> Axes:
    """Interpolation, and pooling to a given size."""
    source = sampling.first(node)
    return tuple(sampling.resized(node, axis, length) for axis, length in zip(source, lengths, strict=True))


def shuffle(sampling: Sampling, node: fx.Node, lengths: list[int]) -> Axes:
    """Space to depth and back."""
    given, source = arguments(node), sampling.first(node)
    step = given["downscale_factor"] if "downscale_factor" in given else Fraction(1, given["upscale_factor"])
    axes = [sampling.stepped(axis, step, length) for axis, length in zip(source[-2:], lengths[-2:], strict=True)]
    return (*source[:-3], whole(lengths[-3]), *axes)


def reshape(sampling: Sampling, node: fx.Node, lengths: list[int]) -> Axes:
    """The same values in the same order, the axes cut anew: the outer part of an axis steps over the inner one."""
    parts = [part for axis in sampling.first(node) for part in axis if part.length > 1]
    axes: list[Axis] = []
    for length in lengths:
        taken: list[Part] = []
        while (missing := length // math.prod(part.length for part in taken)) > 1:
            part = parts.pop(0)
            inner, rest = divmod(part.length, missing)
            if part.length > missing:
                if rest:
                    raise ValueError("an axis is cut unevenly")
                parts.insert(0, Part(inner))
                part = replace(part, length=missing, stride=part.stride * inner)
            taken.append(part)
        axes.append(tuple(taken) or whole(length))
    return tuple(axes)


def permute(sampling: Sampling, node: fx.Node, lengths: list[int]) -> Axes:
    """Another order of axes."""
    given, source = arguments(node), sampling.first(node)
    dims = list(given["dims"]) if "dims" in given else list(range(len(source)))
    if "dims" not in given:
        a, b = given.get("dim0", -2), given.get("dim1", -1)
        dims[a], dims[b] = dims[b], dims[a]
    return tuple(source[dim] for dim in dims)


def reduction(sampling: Sampling, node: fx.Node, lengths: list[int]) -> Axes:
    """One figure along some axes."""
    given, source = arguments(node), sampling.first(node)
    dims = given.get("dim")
    gone = {dim % len(source) for dim in (range(len(source)) if dims is None or dims == [] else _numbers(dims))}
    keep = given.get("keepdim", False)
    return tuple(whole(1) if place in gone else axis for place, axis in enumerate(source)
                 if keep or place not in gone)


def take(sampling: Sampling, node: fx.Node, lengths: list[int]) -> Axes:
    """A slice, with a step or without."""
    given, source = arguments(node), sampling.first(node)
    dim, step = given["dim"] % len(source), given.get("step", 1)
    return tuple(axis if place != dim else cropped(axis, lengths[dim]) if step == 1
                 else sampling.stepped(axis, step, lengths[dim]) for place, axis in enumerate(source))


def drop(sampling: Sampling, node: fx.Node, lengths: list[int]) -> Axes:
    """One position along an axis, which goes."""
    source = sampling.first(node)
    dim = arguments(node)["dim"] % len(source)
    return source[:dim] + source[dim + 1:]


def item(sampling: Sampling, node: fx.Node, lengths: list[int]) -> Axes:
    """One of several results."""
    source: Any = node.args[0]
    if op_of(source) == "unbind":
        dim = arguments(source)["dim"] % (len(lengths) + 1)
        return sampling.axes[source][:dim] + sampling.axes[source][dim + 1:]
    return kept(sampling, node, lengths)


def several(sampling: Sampling, node: fx.Node, lengths: list[int]) -> Axes:
    """Parts of a map: `item` takes one of them."""
    source = sampling.first(node)
    return source if op_of(node) == "unbind" else kept(sampling, node, lengths)


def stack(sampling: Sampling, node: fx.Node, lengths: list[int]) -> Axes:
    """A new axis."""
    source, dim = sampling.first(node), arguments(node)["dim"] % len(lengths)
    return (*source[:dim], whole(lengths[dim]), *source[dim:])


def index(sampling: Sampling, node: fx.Node, lengths: list[int]) -> Axes:
    """Positions picked by lists: `x[:, :, rows]`, `x[:, :, rows[:, None], columns]`."""
    source, lists = sampling.first(node), list(arguments(node)["indices"])
    places = [place for place, one in enumerate(lists) if one is not None]
    if places != list(range(places[0], places[-1] + 1)):
        raise ValueError("indices that are not neighbors")
    chosen = torch.broadcast_tensors(*(_positions(sampling.constant(lists[place])) for place in places))
    new: list[Axis] = [whole(n) for n in chosen[0].shape]
    for place, numbers in zip(places, chosen, strict=True):
        along = [k for k, n in enumerate(numbers.shape) if n > 1 and bool((numbers.diff(dim=k) != 0).any())]
        if len(along) > 1:
            raise ValueError("an index that varies along several axes")
        if along:
            positions = numbers.movedim(along[0], 0).reshape(numbers.shape[along[0]], -1)[:, 0]
            new[along[0]] = picked(sampling, source[place], positions.tolist())
    return (*source[:places[0]], *new, *source[places[-1] + 1:])


def _positions(chosen: torch.Tensor) -> torch.Tensor:
    return chosen.nonzero()[:, 0] if chosen.dtype == torch.bool and chosen.ndim == 1 else chosen.long()


def index_select(sampling: Sampling, node: fx.Node, lengths: list[int]) -> Axes:
    """Positions along one axis picked by a list."""
    source, given = sampling.first(node), arguments(node)
    dim = given["dim"] % len(source)
    axis = picked(sampling, source[dim], sampling.constant(given["index"]).flatten().tolist())
    return (*source[:dim], axis, *source[dim + 1:])


def picked(sampling: Sampling, axis: Axis, numbers: list[int]) -> Axis:
    """Return an axis of which a list of positions is kept: equally spaced ones, or a pattern that repeats itself."""
    length, count = math.prod(part.length for part in axis), len(numbers)
    for many in range(1, count):
        steps = {(numbers[k + many] - numbers[k]) % length for k in range(count - many)}
        if len(steps) == 1 and steps != {0} and (many == 1 or count % many == 0):
            step = min(step := steps.pop(), length - step)
            for part in axis:
                sampling.require(part.line, (part.stride * step).numerator)
            return sampling.stepped(axis, Fraction(step, many), count)
    return whole(count)


def patches(sampling: Sampling, node: fx.Node, lengths: list[int]) -> Axes:
    """`F.unfold`: all windows in one row."""
    given, source = arguments(node), sampling.first(node)
    reach = [d * (k - 1) for d, k in zip(given["dilation"], given["kernel_size"], strict=True)]
    counts = [(math.prod(part.length for part in axis) + 2 * pad - far - 1) // step + 1 for axis, pad, far, step in
              zip(source[-2:], given["padding"], reach, given["stride"], strict=True)]
    rows, columns = (sampling.stepped(axis, step, count) for axis, step, count in
                     zip(source[-2:], given["stride"], counts, strict=True))
    return (*source[:-3], whole(lengths[-2]), (*rows, *columns))


def windows(sampling: Sampling, node: fx.Node, lengths: list[int]) -> Axes:
    """`x.unfold(dim, size, step)`: windows along an axis, their inside as a new one."""
    given, source = arguments(node), list(sampling.first(node))
    dim = given["dimension"] % len(source)
    source[dim] = sampling.stepped(source[dim], given["step"], lengths[dim])
    return (*source, whole(lengths[-1]))


def linear(sampling: Sampling, node: fx.Node, lengths: list[int]) -> Axes:
    """A matrix along the last axis."""
    return (*sampling.first(node)[:-1], whole(lengths[-1]))


def product(sampling: Sampling, node: fx.Node, lengths: list[int]) -> Axes:
    """A product of two matrices, either of which may be the model's own."""
    left, right = (sampling.of(source) for source in node.all_input_nodes[-2:])
    batch = max(left[:-2], right[:-2], key=len)
    return (*batch, left[-2], right[-1])


def cat(sampling: Sampling, node: fx.Node, lengths: list[int]) -> Axes:
    """Side by side."""
    dim, axes = arguments(node)["dim"] % len(lengths), list(by_shape(sampling, node, lengths))
    axes[dim] = cropped(sampling.first(node)[dim], lengths[dim])
    return tuple(axes)


_WINDOWS = """conv1d conv2d conv3d convolution conv_transpose1d conv_transpose2d conv_transpose3d max_pool1d max_pool2d
max_pool3d max_pool1d_with_indices max_pool2d_with_indices max_pool3d_with_indices avg_pool1d avg_pool2d avg_pool3d"""
_RESIZED = """adaptive_avg_pool1d adaptive_avg_pool2d _adaptive_avg_pool2d adaptive_max_pool1d adaptive_max_pool2d
upsample_nearest1d upsample_nearest2d _upsample_nearest_exact1d _upsample_nearest_exact2d upsample_linear1d
upsample_bilinear2d upsample_bicubic2d _upsample_bilinear2d_aa _upsample_bicubic2d_aa repeat_interleave"""
_KEPT = """pad constant_pad_nd reflection_pad1d reflection_pad2d replication_pad1d replication_pad2d repeat tile
narrow"""
_REDUCTIONS = """mean sum amax amin max min var std norm linalg_vector_norm logsumexp prod any all argmax argmin median
nanmedian mode var_mean std_mean"""
_RESHAPES = "reshape view _unsafe_view view_copy squeeze unsqueeze flatten unflatten _reshape_copy"

RULES: dict[str, Rule] = {
    **dict.fromkeys(_WINDOWS.split(), window), **dict.fromkeys(_RESIZED.split(), resize),
    **dict.fromkeys(_KEPT.split(), kept), **dict.fromkeys(_REDUCTIONS.split(), reduction),
    **dict.fromkeys(_RESHAPES.split(), reshape), **dict.fromkeys(("permute", "transpose", "t", "mT"), permute),
    **dict.fromkeys(("split", "split_with_sizes", "chunk", "unbind"), several),
    "pixel_shuffle": shuffle, "pixel_unshuffle": shuffle, "slice": take, "select": drop, "getitem": item,
    "stack": stack, "index": index, "index_select": index_select, "im2col": patches, "unfold": windows,
    "linear": linear, "matmul": product, "bmm": product, "mm": product, "cat": cat}
"""By the operation's plain name; all others go by their shapes."""
