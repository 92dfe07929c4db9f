"""Canonical operations: models can write the same computation with several torch functions."""

import operator
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch

aten = torch.ops.aten

_IDENTITY = {"clone", "alias", "detach", "contiguous", "lift_fresh_copy", "_assert_tensor_metadata", "dropout",
             "feature_dropout", "alpha_dropout", "feature_alpha_dropout"}  # in eval mode

_RESHAPES = {"view", "reshape", "_unsafe_view", "squeeze", "unsqueeze", "flatten", "unflatten", "view_copy"}

_NAMES = {"_native_batch_norm_legit_no_training": "batch_norm", "max_pool2d_with_indices": "max_pool2d",
          "native_layer_norm": "layer_norm"}

_FIRST_RESULT = {"batch_norm", "max", "min", "adaptive_max_pool2d", "max_pool2d", "layer_norm", "native_group_norm",
                 "native_dropout"}
"""Operations with several results; the node represents the first one."""


@dataclass(frozen=True)
class Call:
    """A call of a torch function: the function, its arguments by name, the shape of its result."""

    target: Any
    args: dict[str, Any]
    shape: tuple[int, ...]

    @property
    def source(self) -> str:
        """Plain name of the function."""
        return getattr(getattr(self.target, "overloadpacket", self.target), "__name__", str(self.target))

    @property
    def op(self) -> str:
        """Canonical name."""
        return _NAMES.get(self.source, self.source)

    def becomes(self, target: Any, args: dict[str, Any]) -> "Call":
        """Return a call of another function with a result of the same shape."""
        return replace(self, target=target, args=args)


def canonical(call: Call) -> Any:
    """Return the canonical form of a call, or its input if the call changes nothing."""
    if call.target is operator.getitem:
        return _item(call)
    if call.source in _RESHAPES:
        return call.becomes(aten.reshape.default, {"self": call.args["self"], "shape": list(call.shape)})
    if call.source in _IDENTITY and not call.args.get("train", False):
        return call.args.get("self", call.args.get("input", call.args.get("a")))
    rule = _RULES.get(call.source)
    return rule(call) if rule else call


def _item(call: Call) -> Any:
    """Parts of a split become slices, those of unbind selections."""
    source, index = call.args["self"], call.args["index"]
    if source.op in _FIRST_RESULT and index == 0:
        return source
    if source.op in ("split", "split_with_sizes"):
        split = source.args.get("split_sizes")
        start = sum(split[:index]) if split else source.args["split_size"] * index
        dim = source.args["dim"] % len(call.shape)
        return call.becomes(aten.slice.Tensor, {"self": source.args["self"], "dim": dim, "start": start,
                                                "end": start + call.shape[dim], "step": 1})
    if source.op == "unbind":
        return call.becomes(aten.select.int, {"self": source.args["self"], "dim": source.args["dim"], "index": index})
    return call


def _transpose(call: Call) -> Call:
    rank = len(call.shape)
    dims = list(range(rank))
    a, b = call.args.get("dim0", -2) % rank, call.args.get("dim1", -1) % rank
    dims[a], dims[b] = b, a
    return call.becomes(aten.permute.default, {"self": call.args["self"], "dims": dims})


def _permute(call: Call) -> Call:
    rank = len(call.shape)
    return call.becomes(call.target, {"self": call.args["self"], "dims": [dim % rank for dim in call.args["dims"]]})


def _linear(data: Any, matrix: Any, bias: Any, call: Call) -> Call:
    """Return data @ matrix + bias as a linear layer if the matrix is a tensor of the model."""
    fits = isinstance(matrix, torch.Tensor) and matrix.ndim == 2 and not isinstance(data, torch.Tensor)
    if not fits or not (bias is None or (isinstance(bias, torch.Tensor) and bias.ndim == 1)):
        return call
    return call.becomes(aten.linear.default, {"input": data, "weight": matrix.t(), "bias": bias})


def _addmm(call: Call) -> Call:
    plain = call.args["beta"] == 1 and call.args["alpha"] == 1
    return _linear(call.args["mat1"], call.args["mat2"], call.args["self"], call) if plain else call


def _matmul(call: Call) -> Call:
    return _linear(call.args["self"], call.args.get("mat2", call.args.get("other")), None, call)


def _conv2d(call: Call) -> Call:
    """Write the padding as [[top, bottom], [left, right]]."""
    padding, dilation = call.args["padding"], call.args["dilation"]
    if padding == "same":
        total = [d * (k - 1) for d, k in zip(dilation, call.args["weight"].shape[2:], strict=True)]
        sides = [[n // 2, n - n // 2] for n in total]
    else:
        sides = [[n, n] for n in ([0, 0] if padding == "valid" else padding)]
    return call.becomes(call.target, call.args | {"padding": sides})


_RULES: dict[str, Callable[[Call], Call]] = {
    "transpose": _transpose, "t": _transpose, "mT": _transpose, "permute": _permute, "addmm": _addmm, "mm": _matmul,
    "matmul": _matmul, "conv2d": _conv2d}
