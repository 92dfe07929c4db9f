"""Layers that weigh and sum: convolutions, and linear layers, which are convolutions as large as the window's map."""

import math
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F

from shiftscope.dense.convolving import convolution, side_by_side
from shiftscope.dense.correlate import Correlation
from shiftscope.dense.field import Field, Pair, is_within, layout_of, margins, reached, reader
from shiftscope.dense.padding import padded
from shiftscope.dense.program import Compute, Program, Shape
from shiftscope.dense.refusal import Refused

LARGE = 49
"""Taps from which on a kernel is left to `Correlation`, which may know a faster way than summing tap by tap."""


def conv2d(program: Program, args: dict[str, Any], shape: Shape) -> Field:
    """A convolution of any stride, dilation and number of groups."""
    field, weight = args["input"], args["weight"]
    if not isinstance(weight, torch.Tensor):
        raise Refused("its kernel depends on the image")
    require_spatial(field)
    field = padded(field, program.windows, args["padding"], 0.0)
    return convolved(program, field, weight, args["bias"], tuple(args["stride"]), tuple(args["dilation"]),
                     args["groups"])


def linear(program: Program, args: dict[str, Any], shape: Shape) -> Field:
    """A linear layer: over channels alone, or over the whole flattened map."""
    field, weight = args["input"], args["weight"]
    if not isinstance(weight, torch.Tensor) or not isinstance(field, Field):
        raise Refused("its matrix depends on the image")
    if not field.layout or weight.ndim != 2:
        raise Refused(f"a matrix {tuple(weight.shape)} over axes that are no longer apart")
    atoms = field.layout[-1]
    spatial = [atom for atom in "yx" if field.length(atom) > 1]
    if all(atom in atoms for atom in spatial) and not _elsewhere(field, "c"):
        kernel = weight.view(len(weight), *(field.length(atom) for atom in atoms))
        missing = [atom for atom in "cyx" if atom not in atoms]
        kernel = kernel.view(*kernel.shape, *(1 for _ in missing)).permute(0, *_places(atoms, missing))
    elif atoms in ("c", ""):
        kernel = weight.view(*weight.shape, 1, 1)
    else:
        raise Refused("it mixes rows or columns of the map but not all of it")
    result = convolved(program, field, kernel, args["bias"])
    return replace(result, layout=layout_of(result.channels, result.local, [*field.layout[:-1], "c"]))


def _elsewhere(field: Field, atom: str) -> bool:
    return any(atom in group for group in field.layout[:-1])


def _places(atoms: str, missing: list[str]) -> list[int]:
    """Return at which axis of the kernel c, y and x stand."""
    order = [*atoms, *missing]
    return [order.index(atom) + 1 for atom in "cyx"]


def require_spatial(field: Any) -> None:
    """Refuse what is not (batch, channel, row, column)."""
    if not isinstance(field, Field) or not field.is_spatial:
        raise Refused("its input is not laid out as (batch, channel, row, column)")


def convolved(program: Program, field: Field, weight: torch.Tensor, bias: torch.Tensor | None, stride: Pair = (1, 1),
              dilation: Pair = (1, 1), groups: int = 1) -> Field:
    """Return the field of a convolution without padding; weight (O, C/groups, kh, kw), bias (O,) or None."""
    windows, (kh, kw) = program.windows, weight.shape[2:]
    spread = (field.stride[0] * dilation[0], field.stride[1] * dilation[1])
    extent = (spread[0] * (kh - 1), spread[1] * (kw - 1))
    local = ((field.local[0] - dilation[0] * (kh - 1) - 1) // stride[0] + 1,
             (field.local[1] - dilation[1] * (kw - 1) - 1) // stride[1] + 1)
    strides = (field.stride[0] * stride[0], field.stride[1] * stride[1])
    lead, size, constant = reached(field, windows, extent, local, strides)
    const = None
    if constant and field.const is not None:
        taps = weight.sum((2, 3), keepdim=True)
        const = F.conv2d(field.const.view(1, -1, 1, 1), taps, bias, groups=groups).flatten()
    compute = _compute(program, field, weight, bias, spread, groups, lead, size)
    return program.add(field, [field], compute, channels=len(weight), local=local, stride=strides, lead=lead,
                       size=size, const=const, layout=layout_of(len(weight), local))


def _compute(program: Program, field: Field, weight: torch.Tensor, bias: torch.Tensor | None, spread: Pair,
             groups: int, lead: Pair, size: Pair) -> Compute:
    """Return the sum over what is stored, plus what the constant around it and the bias add, worked out once."""
    windows = program.windows
    source = _pair_add(size, _pair_mul(spread, (weight.shape[2] - 1, weight.shape[3] - 1)))
    around = _around(field, program, weight, bias, spread, groups, lead, source)
    flat = around.shape[2:] == (1, 1)
    around = around if flat else side_by_side(around)
    if weight.shape[2] * weight.shape[3] >= LARGE:
        correlate = _correlation(program, field, weight, spread, groups, lead, size)
        return lambda data: correlate(data).add_(around)
    padding = margins(field, windows, lead, source)
    convolve = convolution(weight, around.flatten() if flat else None, spread, groups, padding or (0, 0))
    read = reader(field, windows, lead, source, None if field.const is None else torch.zeros_like(field.const))
    if flat:
        return convolve if padding else lambda data: convolve(read(data))
    return (lambda data: convolve(data).add_(around)) if padding else lambda data: convolve(read(data)).add_(around)


def _around(field: Field, program: Program, weight: torch.Tensor, bias: torch.Tensor | None, spread: Pair,
            groups: int, lead: Pair, source: Pair) -> torch.Tensor:
    """Return the layer's output, (1, O, rows, columns) or (1, O, 1, 1), for an image of zeros in place of the patch."""
    nothing = is_within(field, program.windows, lead, source) or field.const is None or not field.const.any()
    if nothing:
        return (weight.new_zeros(len(weight)) if bias is None else bias).view(1, -1, 1, 1)
    zeros = torch.zeros(1, field.channels, *field.size, dtype=weight.dtype, device=weight.device)
    background = reader(field, program.windows, lead, source)(zeros)
    return F.conv2d(background, weight, bias, dilation=spread, groups=groups)


def _correlation(program: Program, field: Field, weight: torch.Tensor, spread: Pair, groups: int, lead: Pair,
                 size: Pair) -> Compute:
    if program.windows.period is None:
        return Correlation(weight.contiguous(), dilation=spread, groups=groups, support=field.size,
                           lead=(field.lead[0] - lead[0], field.lead[1] - lead[1]), out=size)
    source = _pair_add(size, _pair_mul(spread, (weight.shape[2] - 1, weight.shape[3] - 1)))
    fill = None if field.const is None else torch.zeros_like(field.const)
    unrolled = reader(field, program.windows, lead, source, fill)
    program.floats = max(program.floats, field.channels * math.prod(source))
    correlate = Correlation(weight.contiguous(), dilation=spread, groups=groups, support=source, lead=(0, 0), out=size)
    return lambda data: correlate(unrolled(data))


def _pair_add(a: Pair, b: Pair) -> Pair:
    return a[0] + b[0], a[1] + b[1]


def _pair_mul(a: Pair, b: Pair) -> Pair:
    return a[0] * b[0], a[1] * b[1]
