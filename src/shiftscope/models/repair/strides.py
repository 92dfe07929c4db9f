"""Strides of a network, read from its graph and measured on images, and how circular shifts change its outputs."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn

from shiftscope.errors import ShiftscopeError, UsageError, require
from shiftscope.generators import seeded
from shiftscope.graph import BATCH, TraceError
from shiftscope.graph.editable import Editable, arguments, editable, op_of, sizes, title
from shiftscope.graph.sampling import Pair, Sampling, pair
from shiftscope.layers.averaging import check_output
from shiftscope.layers.padding import CircularPad2d, Sides
from shiftscope.models.adapt import adapt
from shiftscope.models.forward import device_and_dtype, evaluating
from shiftscope.modules import input_error, is_on_meta, model_name

ROUNDING = 1e-6
"""Changes below this fraction of the spread between images count as rounding (float64, and sums in float32)."""

WINDOWED = ("conv2d", "max_pool2d", "avg_pool2d")


class CannotRepair(UsageError):
    """A repair method is not possible for a network. The message gives the reason, and no alternatives."""


def check_canvas(owner: str, shape: tuple[int, int, int], stride: int | Pair) -> None:
    """Raise an error if the stride is 1 or does not divide the canvas.

    Args:
        owner: the network's name.
        shape: (C, H, W).
        stride: of the network, one number or (down, right).

    >>> check_canvas("Net", (1, 30, 32), 4)
    Traceback (most recent call last):
    shiftscope.models.repair.strides.CannotRepair: canvas must be multiples of 4, the total stride of Net, got (30, 32)
    """
    down, right = pair(stride)
    if (down, right) == (1, 1):
        raise CannotRepair(f"{owner} has no strided layer, so there is nothing to repair in it")
    if shape[1] % down or shape[2] % right:
        known = f"{down}, the total stride" if down == right else f"({down}, {right}), the total strides down and right"
        raise CannotRepair(f"canvas must be multiples of {known} of {owner}, got {shape[1:]}")


# ---------------------------------------------------------------------- windows of convolutions and poolings

@dataclass(frozen=True)
class Window:
    """The window of a convolution or pooling; pairs are (down, right).

    Args:
        source: the input.
        reach: rows and columns that the window extends beyond its first one, (kernel - 1) * dilation.
        padding: rows above and columns on the left that the operation adds.
        stride: also along axes with one output position.
    """

    source: fx.Node
    reach: Pair
    padding: Pair
    stride: Pair


def window_of(node: fx.Node) -> Window:
    """Return the window of one of the `WINDOWED` operations."""
    given = arguments(node)
    kernel = pair(given["kernel_size"]) if "kernel_size" in given else tuple(map(int, sizes(given["weight"])[2:]))
    dilation = pair(given.get("dilation", 1))
    reach = dilation[0] * (kernel[0] - 1), dilation[1] * (kernel[1] - 1)
    padding = given["padding"]
    if isinstance(padding, str):
        padding = (reach[0] // 2, reach[1] // 2) if padding == "same" else (0, 0)
    return Window(given["input"] if "input" in given else given["self"], reach, pair(padding),
                  pair(given["stride"] or given.get("kernel_size", 1)))


def rewrite(node: fx.Node, **changes: Any) -> None:
    """Change arguments of a convolution or pooling; `ceil_mode` becomes False, and padding must be numbers."""
    changes = {key: list(value) if isinstance(value, tuple) else value for key, value in changes.items()}
    given = arguments(node) | changes
    first = "input" if "input" in given else "self"
    if "ceil_mode" in given:
        given["ceil_mode"] = False
    if not isinstance(given["padding"], str):
        node.target = node.target.overloadpacket.default  # type: ignore[union-attr]
    node.args, node.kwargs = (given.pop(first),), given


def circular_sides(padding: Pair, reach: Pair, stride: Pair) -> Sides:
    """Return the circular padding (left, right, top, bottom) that gives a window one output per `stride` positions.

    >>> circular_sides((1, 0), (2, 2), (1, 2))
    (0, 1, 1, 1)
    """
    below, right = (max(0, far - (step - 1) - near) for far, step, near in zip(reach, stride, padding, strict=True))
    return padding[1], right, padding[0], below


# ---------------------------------------------------------------------- total stride

def find_stride(model: nn.Module, shape: tuple[int, int, int], *, stride: Pair | None = None,
                samples: torch.Tensor | None = None) -> tuple[Pair, list[str]]:
    """Return the total stride of a model, down and right, and notes about it.

    The stride is read from the graph and measured on images. If the two differ, their least common multiple is used: an
    average over too large a stride costs more, over too small a stride it misses phases.

    Args:
        model: (B, C, H, W) -> (B, K).
        shape: (C, H, W).
        stride: known stride, which is only checked.
        samples: images (N, C, H, W) in [0, 1] to measure on; None: synthetic ones.

    Raises:
        CannotRepair: if there are no strides, or the stride does not divide the canvas.
        TraceError: if the graph cannot be read and no stride is given.
    """
    owner = model_name(model)
    if stride is not None:
        check_canvas(owner, shape, stride)
        return stride, []
    net = _readable(model, shape)
    sampling = Sampling(net)
    read = sampling.strides
    measured = (1, 1) if is_on_meta(model) else _try_measuring(net, samples)
    both = math.lcm(read[0], measured[0]), math.lcm(read[1], measured[1])
    if both == (1, 1) and sampling.uneven:
        raise CannotRepair(f"{title(sampling.uneven[0])} of {owner} resizes its maps such that no shift smaller than "
                           "the canvas moves them by whole positions")
    check_canvas(owner, shape, both)
    if both == read:
        return both, []
    return both, [f"the strides of its operations are {read[0]} x {read[1]}, measured on images they are {measured[0]} "
                  f"x {measured[1]}: the average uses {both[0]} x {both[1]}"]


def _readable(model: nn.Module, shape: tuple[int, int, int]) -> Editable:
    try:
        return editable(model, shape, any_batch=False)
    except TraceError as error:
        if is_on_meta(model):
            raise
        try:
            check_outputs(model, shape)
        except ShiftscopeError:
            raise error from None
        raise TraceError(f"{error}; if you know its total stride, give it: stride=N, --stride N") from error


def _try_measuring(net: Editable, samples: torch.Tensor | None) -> Pair:
    images = synthetic_images(net.shape)
    if samples is not None:
        images = torch.cat([samples[:min(4, len(samples) // 2 * 2)].double().cpu(), images[:2]])
    try:
        return measured_strides(net, images)
    except Exception:  # operations may raise anything on maps with circular padding
        return (1, 1)


def synthetic_images(shape: tuple[int, int, int], count: int = 4) -> torch.Tensor:
    """Return float64 images (count, C, H, W) in [0, 1], alternating between noise and smooth blobs with edges.

    Noise has all frequencies. Blobs resemble photographs: dark and bright areas, mostly small differences.
    """
    generator = torch.Generator().manual_seed(0)
    noise = torch.rand(count, *shape, dtype=torch.float64, generator=generator)
    coarse = torch.rand(count, shape[0], 5, 5, dtype=torch.float64, generator=generator)
    blobs = F.interpolate(coarse, size=shape[1:], mode="bilinear", align_corners=False)
    blobs = torch.where(blobs > 0.6, blobs, blobs * torch.linspace(0.2, 0.8, count).view(-1, 1, 1, 1))
    return torch.where((torch.arange(count) % 2 == 0).view(-1, 1, 1, 1), noise, blobs)


def measured_strides(net: Editable, images: torch.Tensor) -> Pair:
    """Return the smallest shifts, down and right, that move the maps of a network by whole positions.

    Padding is made circular. A map that is shifted by whole positions holds the same values at other positions, so its
    means and mean squares over rows or columns do not change. Nodes whose statistics change with every shift smaller
    than the canvas, such as layers that read positions, are ignored.

    Args:
        net: rewritten in place, and of no further use.
        images: (N, C, H, W) in [0, 1], an even number of them.
    """
    sampling = Sampling(net)
    moving = {node.name: [sampling.moves(node, line) for line in (0, 1)] for node in sampling.axes}
    for node in [node for node in net.pixel_nodes() if op_of(node) in WINDOWED]:
        _make_circular(net, node)
    module, images = net.module().cpu().double().eval(), images.double().cpu()

    def statistics(shift: int, line: int) -> dict[str, torch.Tensor]:
        axes, parts = {name: lines[line] for name, lines in moving.items()}, []
        with torch.no_grad(), seeded([], 0):
            for batch in images.roll(shift, 2 + line).split(BATCH):  # the graph may hold for this batch size only
                recorder = _Statistics(module, axes)
                recorder.run(batch)
                parts.append(recorder.values)
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]
                if all(name in part for part in parts)}

    return (_stride(net.shape[1], lambda shift: statistics(shift, 0)),
            _stride(net.shape[2], lambda shift: statistics(shift, 1)))


def _make_circular(net: Editable, node: fx.Node) -> None:
    """Replace the padding of a convolution or pooling by circular padding, so that it commutes with shifts."""
    window = window_of(node)
    source, padding = window.source, window.padding
    if op_of(source) in ("pad", "constant_pad_nd") and all(op_of(user) in WINDOWED for user in source.users):
        sides = arguments(source)["pad"]
        if len(sides) == 4 and min(sides) >= 0:
            source, padding = source.all_input_nodes[0], (padding[0] + sides[2], padding[1] + sides[0])
    pad = net.add_module(CircularPad2d(circular_sides(padding, window.reach, window.stride)), source)
    rewrite(node, **{"input" if "input" in arguments(node) else "self": pad, "padding": (0, 0)})


def _stride(size: int, statistics: Callable[[int], dict[str, torch.Tensor]]) -> int:
    """Return the stride along an axis of `size` pixels, given the statistics of all maps after a shift."""
    still = statistics(0)
    period = dict.fromkeys(still, size)  # smallest shift known to preserve the statistics of each node
    for prime in _primes(size):
        shift = size
        while shift % prime == 0:
            shift //= prime
            moved = statistics(shift)
            same = [name for name in still.keys() & moved.keys() if float((moved[name] - still[name]).abs().max())
                    <= ROUNDING * float((still[name] - still[name].mean(0)).abs().max())]
            for name in same:
                period[name] = math.gcd(period[name], shift)
            if not same:
                break
    return math.lcm(*(shift for shift in period.values() if shift < size))


class _Statistics(fx.Interpreter):
    """Runs a graph and records statistics of each result; results that cannot be computed are skipped."""

    def __init__(self, module: fx.GraphModule, axes: dict[str, list[int]]):
        super().__init__(module)
        self.axes, self.values, self.skipped = axes, {}, set()

    def run_node(self, n: fx.Node) -> Any:
        if n.op == "output" or any(source in self.skipped for source in n.all_input_nodes):
            self.skipped.add(n)
            return None
        try:
            value = super().run_node(n)
        except Exception:  # a size that circular padding changed, or a dtype that the model requires
            self.skipped.add(n)
            return None
        axes = self.axes.get(n.name)
        usable = isinstance(value, torch.Tensor) and value.is_floating_point() and value.ndim > 1
        if axes is not None and usable and 0 not in axes:
            parts = [value.mean(axes), value.square().mean(axes)] if axes else [value]
            found = torch.cat([part.flatten(1) for part in parts], 1)
            spread = (found - found.mean(0)).abs().max() if found.numel() else 0.0
            if found.numel() and found.isfinite().all() and spread > ROUNDING * found.abs().max():
                self.values[n.name] = found
        return value


def _primes(number: int) -> Iterator[int]:
    """Yield the distinct prime factors of a number.

    >>> list(_primes(56)), list(_primes(1))
    ([2, 7], [])
    """
    factor = 2
    while number > 1:
        if number % factor == 0:
            yield factor
            while number % factor == 0:
                number //= factor
        factor += 1


# ---------------------------------------------------------------------- outputs

def relative_change(model: nn.Module, images: torch.Tensor, shifts: list[Pair]) -> float | None:
    """Return the largest change of an output under circular shifts, as a fraction of its spread between images.

    Args:
        model: (B, C, H, W) -> (B, K), put into eval mode meanwhile.
        images: (N, C, H, W) in [0, 1].
        shifts: (down, right).

    Returns:
        The fraction; None if the outputs for all images are equal.

    Example:
        >>> relative_change(nn.Flatten(), torch.tensor([[[[0.0, 0.5]]], [[[0.0, 0.75]]]]), [(0, 1)])
        3.0
    """
    device, dtype = device_and_dtype(model)
    pixels = images.to(device, dtype)
    with seeded([device], 0), evaluating(model):
        still = model(pixels)
        largest = max(float((model(pixels.roll(shift, (2, 3))) - still).abs().max()) for shift in shifts)
    spread = float((still.max(0).values - still.min(0).values).max())
    return largest / spread if spread else None


def check_outputs(model: nn.Module, shape: tuple[int, int, int]) -> None:
    """Raise a `UsageError` if a model does not return one tensor (batch, classes) for images (C, H, W)."""
    adapted = adapt(model, shape=shape)
    device, dtype = device_and_dtype(adapted)
    try:
        with seeded([device], 0), evaluating(adapted):
            outputs = adapted(torch.zeros(2, *shape, device=device, dtype=dtype))
    except UsageError:
        raise
    except Exception as error:  # a registry model, which `adapt` does not try
        raise input_error(model, shape, error) from error
    check_output(outputs, model)
    require(len(outputs) == 2, "model", f"{tuple(outputs.shape)} for a batch of 2", "a model with one row per image")
