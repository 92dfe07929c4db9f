"""What becomes of a map in each operation; see `torus.py`."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import fx

from shiftscope.graph.editable import Editable, arguments, op_of, sizes
from shiftscope.graph.strided import pair, stride_of
from shiftscope.models.repair.torus import STILL, Kind, Map, Still, Torus

aten = torch.ops.aten

Rule = Callable[[Torus, fx.Node], Kind]


def _same(torus: Torus, node: fx.Node) -> Kind:
    """Place by place, or with figures over all places: what goes in is what comes out."""
    return torus.kinds[node.all_input_nodes[0]]


def _join(torus: Torus, node: fx.Node) -> Kind:
    """Maps of one stride, and values that are the same at every place."""
    rank, found = len(sizes(node)), set()
    for source in node.all_input_nodes:
        kind = torus.kinds.get(source)
        if isinstance(kind, Map):
            shift = rank - len(sizes(source))
            found.add(Map((kind.axes[0] + shift, kind.axes[1] + shift), kind.stride))
    if len(found) > 1:
        raise torus.refuse(node, "it joins maps of different strides")
    kind = found.pop()
    for source in node.all_input_nodes:
        if not isinstance(torus.kinds.get(source), Map) and _places(source, kind, rank) - {1}:
            raise torus.refuse(node, "it joins a map with values that are fixed to places")
    return kind


def _places(source: fx.Node, kind: Map, rank: int) -> set[int]:
    """Return rows and columns of a value that is joined with a map of `rank` axes."""
    shape = sizes(source)
    axes = [axis - (rank - len(shape)) for axis in kind.axes]
    return {int(shape[axis]) for axis in axes if axis >= 0}


def _cat(torus: Torus, node: fx.Node) -> Kind:
    given = arguments(node)
    still = [source for source in given["tensors"] if not isinstance(torus.kinds.get(source), Map)]
    if still:
        raise torus.refuse(node, "it joins a map with values that are fixed to places")
    kind = _join(torus, node)
    return _beside(torus, node, kind, [given["dim"]])


def _beside(torus: Torus, node: fx.Node, kind: Kind, dims: Sequence[int]) -> Kind:
    """Return the map where an operation leaves rows and columns alone."""
    rank = len(sizes(node.all_input_nodes[0]))
    if isinstance(kind, Map) and any(dim % rank in kind.axes for dim in dims):
        raise torus.refuse(node, "it works along rows or columns")
    return kind


def _along(name: str) -> Rule:
    """Works along one axis, which stays."""
    def rule(torus: Torus, node: fx.Node) -> Kind:
        return _beside(torus, node, _same(torus, node), [arguments(node)[name]])
    return rule


def _one_of(torus: Torus, node: fx.Node) -> Kind:
    """Takes away one axis."""
    kind, dim = _same(torus, node), arguments(node)["dim"] % len(sizes(node.all_input_nodes[0]))
    _beside(torus, node, kind, [dim])
    return _without(kind, [dim])


def _without(kind: Kind, dims: Sequence[int]) -> Kind:
    if not isinstance(kind, Map):
        return kind
    down, right = (axis - sum(dim < axis for dim in dims) for axis in kind.axes)
    return Map((down, right), kind.stride)


def _reduce(torus: Torus, node: fx.Node) -> Kind:
    """A figure along some axes: still where it is over all places."""
    kind, given = _same(torus, node), arguments(node)
    rank, dims = len(sizes(node.all_input_nodes[0])), given.get("dim")
    if not isinstance(kind, Map) or dims is None or dims == []:
        raise torus.refuse(node, "it mixes the pictures of a batch")
    axes = [dim % rank for dim in ([dims] if isinstance(dims, int) else dims)]
    if set(kind.axes) <= set(axes):
        return STILL
    _beside(torus, node, kind, axes)
    return kind if given.get("keepdim") else _without(kind, axes)


def _permute(torus: Torus, node: fx.Node) -> Kind:
    kind, given = _same(torus, node), arguments(node)
    rank = len(sizes(node))
    dims = [dim % rank for dim in given["dims"]] if "dims" in given else _swapped(rank, given)
    return Map((dims.index(kind.axes[0]), dims.index(kind.axes[1])), kind.stride) if isinstance(kind, Map) else kind


def _swapped(rank: int, given: dict[str, Any]) -> list[int]:
    dims, a, b = list(range(rank)), given.get("dim0", 0) % rank, given.get("dim1", 1) % rank
    dims[a], dims[b] = b, a
    return dims


def _last(torus: Torus, node: fx.Node) -> Kind:
    """Works on vectors along the last axis."""
    return _beside(torus, node, _same(torus, node), [-1])


def _layer_norm(torus: Torus, node: fx.Node) -> Kind:
    return _beside(torus, node, _same(torus, node), [-1 - k for k in range(len(arguments(node)["normalized_shape"]))])


def _reshape(torus: Torus, node: fx.Node) -> Kind:
    """Rows and columns stay two axes, or all is flattened, which reads positions."""
    source = node.all_input_nodes[0]
    kind, before, after = torus.kinds[source], sizes(source), sizes(node)
    if not isinstance(kind, Map):
        return kind
    axes = [_axis_after(before, after, axis) for axis in kind.axes]
    if axes[0] is not None and axes[1] is not None:
        found = Map((axes[0], axes[1]), kind.stride)
        if op_of(node) == "reshape":
            shape = list(arguments(node)["shape"])
            for axis, size in zip(found.axes, torus.places(kind), strict=True):
                shape[axis] = size  # circular padding may have changed it
            node.args, node.kwargs = (source, shape), {}
        return found
    if len(after) == 2 or all(before[axis] == 1 for axis in kind.axes):
        return torus.mean(node, kind)
    raise torus.refuse(node, "it mixes places with channels, or makes a sequence of them")


def _axis_after(before: tuple[Any, ...], after: tuple[Any, ...], axis: int) -> int | None:
    """Return which axis a reshape turns an axis into, None where it is split or merged; the first one is the batch."""
    if before[:1] != after[:1]:
        return None
    skipped = _product(before[1:axis])
    for other in range(1, len(after)):
        if _product(after[1:other]) == skipped and after[other] == before[axis]:
            return other
    return None


def _product(factors: Sequence[Any]) -> int:
    result = 1
    for factor in factors:
        result *= int(factor)
    return result


def _conv2d(torus: Torus, node: fx.Node) -> Kind:
    """A convolution. Along an axis with one output position it takes no step, so on a torus it has all positions."""
    given = arguments(node)
    stride, dilation = stride_of(node), pair(given["dilation"])
    kernel = sizes(given["weight"])[2:]
    reach = dilation[0] * (int(kernel[0]) - 1), dilation[1] * (int(kernel[1]) - 1)
    padding = {"valid": (0, 0), "same": (reach[0] // 2, reach[1] // 2)}.get(given["padding"]) if isinstance(
        given["padding"], str) else pair(given["padding"])
    kind = torus.wrap(node, given["input"], padding or (0, 0), reach, stride)
    node.target = _plain(node.target)
    node.args = (given["input"], given["weight"], given["bias"], list(stride), [0, 0], list(dilation), given["groups"])
    node.kwargs = {}
    return kind


def _plain(target: Any) -> Any:
    """Return the form of an operation that takes its padding as numbers."""
    return target.overloadpacket.default


def _pool(torus: Torus, node: fx.Node) -> Kind:
    """The largest or the mean value of a window, or of the whole map."""
    given = arguments(node)
    if _pools_all(torus, node, given):
        torus.map_of(given["self"], node)
        node.target = aten.amax.default if op_of(node) == "max_pool2d" else aten.mean.dim
        node.args, node.kwargs = (given["self"], [2, 3], True), {}
        return STILL
    kernel, dilation = pair(given["kernel_size"]), pair(given.get("dilation", 1))
    stride = stride_of(node)
    reach = dilation[0] * (kernel[0] - 1), dilation[1] * (kernel[1] - 1)
    kind = torus.wrap(node, given["self"], pair(given["padding"]), reach, stride)
    node.args = (given["self"], list(kernel), list(stride))
    if "dilation" in given:
        node.kwargs = {"dilation": list(dilation)}
    else:
        node.kwargs = {"divisor_override": given["divisor_override"]}
    return kind


def _pools_all(torus: Torus, node: fx.Node, given: dict[str, Any]) -> bool:
    """Return whether the one window of a pooling is the whole map."""
    plain = pair(given["padding"]) == (0, 0) and pair(given.get("dilation", 1)) == (1, 1)
    plain = plain and given.get("divisor_override") is None and given["self"] not in torus.pads
    return plain and tuple(sizes(node)[2:]) == (1, 1) and tuple(sizes(given["self"])[2:]) == pair(given["kernel_size"])


def _global_pool(torus: Torus, node: fx.Node) -> Kind:
    """One value for all places; or some, which read positions."""
    kind = torus.map_of(node.all_input_nodes[0], node)
    if op_of(node) == "adaptive_max_pool2d" and any(user.args[1] != 0 and user.users for user in node.users):
        raise torus.refuse(node, "it returns positions")
    return STILL if tuple(sizes(node)[2:]) == (1, 1) else torus.mean(node, kind)


def _pad(torus: Torus, node: fx.Node) -> Kind:
    """Padding of its own is that of the operation that follows."""
    given = arguments(node)
    sides = tuple(given["pad"])
    if len(sides) == 2:
        sides = (*sides, 0, 0)
    after = {"conv2d", "max_pool2d", "avg_pool2d"}
    if len(sides) != 4 or min(sides) < 0 or not all(op_of(user) in after for user in node.users):
        raise torus.refuse(node, "what it pads is not read by a convolution or pooling alone")
    torus.pads[node] = (sides[0], sides[1], sides[2], sides[3])
    return torus.map_of(node.all_input_nodes[0], node)


_SAME = """relu relu6 leaky_relu rrelu elu selu celu gelu silu mish sigmoid log_sigmoid tanh hardtanh hardswish
hardsigmoid hardshrink softshrink softplus softsign threshold prelu neg abs exp expm1 log log1p sqrt rsqrt square
reciprocal sign erf sin cos clone alias detach contiguous to _to_copy lift_fresh_copy dropout feature_dropout
alpha_dropout batch_norm group_norm instance_norm getitem"""
_JOINS = "add sub rsub mul div maximum minimum where pow clamp clamp_min clamp_max lerp addcmul addcdiv"
_REDUCTIONS = "mean sum amax amin var std norm linalg_vector_norm logsumexp prod"

RULES: dict[str, Rule] = {
    **dict.fromkeys(_SAME.split(), _same), **dict.fromkeys(_JOINS.split(), _join),
    **dict.fromkeys(_REDUCTIONS.split(), _reduce),
    "cat": _cat, "softmax": _along("dim"), "log_softmax": _along("dim"), "slice": _along("dim"),
    "split": _along("dim"), "split_with_sizes": _along("dim"), "chunk": _along("dim"), "narrow": _along("dim"),
    "flip": lambda torus, node: _beside(torus, node, _same(torus, node), arguments(node)["dims"]),
    "select": _one_of, "permute": _permute, "transpose": _permute, "t": _permute, "linear": _last,
    "layer_norm": _layer_norm,
    "reshape": _reshape, "squeeze": _reshape, "unsqueeze": _reshape, "flatten": _reshape, "unflatten": _reshape,
    "conv2d": _conv2d, "max_pool2d": _pool, "avg_pool2d": _pool,
    "adaptive_avg_pool2d": _global_pool, "adaptive_max_pool2d": _global_pool,
    "pad": _pad, "constant_pad_nd": _pad,
}
"""By the operation's plain name; operations on still values alone need none."""


def follow(net: Editable, *, keep_head: bool = False) -> Torus:
    """Return what is known of each value of a network, were its maps tori.

    Raises:
        UsageError: an operation mixes places in a way that does not commute with shifts; it is named.
    """
    torus = Torus(net, keep_head)
    for node in net.pixel_nodes():
        known = [torus.kinds[source] for source in node.all_input_nodes if source in torus.kinds]
        if node.op == "placeholder":
            torus.kinds[node] = Map((2, 3), (1, 1))
        elif all(isinstance(kind, Still) for kind in known):
            torus.kinds[node] = STILL
        else:
            rule = RULES.get(op_of(node))
            if rule is None:
                raise torus.refuse(node, "whether it commutes with shifts is not known")
            torus.kinds[node] = rule(torus, node)
    if isinstance(torus.kinds.get(net.output), Map):
        raise torus.refuse(net.output, "it returns a map, not one answer a picture")
    return torus
