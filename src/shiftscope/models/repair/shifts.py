"""What circular shifts do to a network, measured on images: to its maps, and to its outputs."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn

from shiftscope.errors import UsageError, require
from shiftscope.graph import BATCH
from shiftscope.graph.editable import Editable, arguments, op_of, sizes
from shiftscope.graph.sampling import Sampling
from shiftscope.graph.strided import Pair, pair
from shiftscope.layers.averaging import one_tensor
from shiftscope.layers.padding import CircularPad2d, Sides
from shiftscope.models.adapt import adapt
from shiftscope.models.forward import device_and_dtype, evaluating
from shiftscope.modules import model_name

SAME = 1e-6
"""A change below this fraction of the spread between images counts as rounding (float64, and sums in float32)."""

_WINDOWS = {"conv2d", "max_pool2d", "avg_pool2d"}


def synthetic_images(shape: tuple[int, int, int], count: int = 4) -> torch.Tensor:
    """Return float64 images (count, C, H, W) in [0, 1]: noise, and smooth blobs with edges, in turn.

    Noise has all frequencies. Blobs resemble photographs: dark and bright areas, most changes small.
    """
    generator = torch.Generator().manual_seed(0)
    noise = torch.rand(count, *shape, dtype=torch.float64, generator=generator)
    coarse = torch.rand(count, shape[0], 5, 5, dtype=torch.float64, generator=generator)
    blobs = F.interpolate(coarse, size=shape[1:], mode="bilinear", align_corners=False)
    blobs = torch.where(blobs > 0.6, blobs, blobs * torch.linspace(0.2, 0.8, count).view(-1, 1, 1, 1))
    return torch.where((torch.arange(count) % 2 == 0).view(-1, 1, 1, 1), noise, blobs)


def wrap_sides(before: Pair, reach: Pair, stride: Pair) -> Sides:
    """Return the circular padding (left, right, top, bottom) that gives a window one output every `stride` positions.

    Args:
        before: rows above and columns left that the operation pads.
        reach: rows and columns that a window extends beyond its first one.

    >>> wrap_sides((1, 0), (2, 2), (1, 2))
    (0, 1, 1, 1)
    """
    below, beside = (max(0, far - (step - 1) - near) for far, step, near in zip(reach, stride, before, strict=True))
    return before[1], beside, before[0], below


def measured_strides(net: Editable, images: torch.Tensor) -> Pair:
    """Return the smallest shifts, down and right, that leave what the maps of a network hold as it is.

    Padding is made circular. A map that is shifted by whole positions holds the same values at other positions: means
    and mean squares over its rows or columns stay. A node whose figures no shift below the canvas leaves the same,
    such as a layer that reads positions, says nothing about strides and is left out.

    Args:
        net: rewritten in place, and of no use afterwards.
        images: (N, C, H, W) in [0, 1], an even number of them.
    """
    axes = Sampling(net)
    places = {node: [axes.moves(node, line) for line in (0, 1)] for node in axes.axes}
    _close(net)
    maps = _Maps(net, places, images)
    return maps.stride(0), maps.stride(1)


def _close(net: Editable) -> None:
    """Give convolutions and poolings the circular padding that turns shifts of their input into shifts of theirs."""
    for node in [node for node in net.pixel_nodes() if op_of(node) in _WINDOWS]:
        given = arguments(node)
        first = "input" if "input" in given else "self"
        kernel = sizes(given["weight"])[2:] if "weight" in given else pair(given["kernel_size"])
        reach = tuple(d * (int(k) - 1) for d, k in zip(pair(given.get("dilation", 1)), kernel, strict=True))
        source, before = _unpadded(given[first], _own_padding(given["padding"], (reach[0], reach[1])))
        sides = wrap_sides(before, (reach[0], reach[1]), pair(given["stride"] or given["kernel_size"]))
        given |= {first: net.add_module(CircularPad2d(sides), source), "padding": [0, 0]}
        if "ceil_mode" in given:
            given["ceil_mode"] = False
        node.target = node.target.overloadpacket.default  # type: ignore[union-attr]
        node.args, node.kwargs = (), given


def _own_padding(given: Any, reach: Pair) -> Pair:
    if isinstance(given, str):
        return (reach[0] // 2, reach[1] // 2) if given == "same" else (0, 0)
    return pair(given)


def _unpadded(source: fx.Node, before: Pair) -> tuple[fx.Node, Pair]:
    """Return the map before an operation that pads for windows alone, and the padding taken together."""
    alone = all(op_of(user) in _WINDOWS for user in source.users)
    sides = arguments(source)["pad"] if op_of(source) in ("pad", "constant_pad_nd") and alone else []
    if len(sides) != 4 or min(sides) < 0:
        return source, before
    return source.all_input_nodes[0], (before[0] + sides[2], before[1] + sides[0])


class _Maps:
    """The figures of all maps of a network, and which shifts leave them the same."""

    def __init__(self, net: Editable, places: dict[fx.Node, list[list[int]]], images: torch.Tensor):
        self.canvas, self.places, self.images = net.shape[1:], places, images.double().cpu()
        self.module = net.module().cpu().double().eval()

    def stride(self, line: int) -> int:
        """Return the stride along the rows (0) or columns (1)."""
        size = self.canvas[line]
        still = self._figures(0, line)
        same = dict.fromkeys(still, size)  # the smallest shift known to leave a node's figures the same
        for prime in _primes(size):
            part = size
            while part % prime == 0:
                part //= prime
                left = self._unchanged(still, self._figures(part, line))
                for node in left:
                    same[node] = math.gcd(same[node], part)
                if not left:
                    break
        return math.lcm(*(period for period in same.values() if period < size))

    def _figures(self, shift: int, line: int) -> dict[fx.Node, torch.Tensor]:
        """Return the figures (N, ..) of each node for images that are shifted along a line."""
        wanted, parts = {node.name: (node, places[line]) for node, places in self.places.items()}, []
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            for images in self.images.roll(shift, 2 + line).split(BATCH):  # the graph may hold for so many alone
                reader = _Reader(self.module, wanted)
                reader.run(images)
                parts.append(reader.found)
        return {node: torch.cat([part[node] for part in parts]) for node in parts[0]
                if all(node in part for part in parts)}

    @staticmethod
    def _unchanged(still: dict[fx.Node, torch.Tensor], moved: dict[fx.Node, torch.Tensor]) -> list[fx.Node]:
        same = []
        for node in still.keys() & moved.keys():
            spread = float((still[node] - still[node].mean(0)).abs().max())
            if float((moved[node] - still[node]).abs().max()) <= SAME * spread:
                same.append(node)
        return same


class _Reader(fx.Interpreter):
    """Runs a graph and keeps figures of each result; what cannot be computed on a torus is left out."""

    def __init__(self, module: fx.GraphModule, wanted: dict[str, tuple[fx.Node, list[int]]]):
        super().__init__(module)
        self.wanted, self.found, self.lost = wanted, {}, set()

    def run_node(self, n: fx.Node) -> Any:
        if n.op == "output" or any(source in self.lost for source in n.all_input_nodes):
            self.lost.add(n)
            return None
        try:
            value = super().run_node(n)
        except Exception:  # a size that circular padding changed, or a dtype that the model fixes
            self.lost.add(n)
            return None
        node, places = self.wanted.get(n.name, (None, []))
        if node is not None and isinstance(value, torch.Tensor) and value.is_floating_point() and value.ndim > 1:
            self._keep(node, places, value)
        return value

    def _keep(self, node: fx.Node, places: list[int], value: torch.Tensor) -> None:
        figures = [value.mean(places), value.square().mean(places)] if places else [value]
        found = torch.cat([part.flatten(1) for part in figures], 1) if 0 not in places else value[:0]
        spread = (found - found.mean(0)).abs().max() if found.numel() else 0.0
        if found.numel() and found.isfinite().all() and spread > SAME * found.abs().max():
            self.found[node] = found


def _primes(number: int) -> Iterator[int]:
    """Yield the prime factors of a number, each once.

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


@dataclass(frozen=True)
class Change:
    """How much shifts change a model's outputs.

    Args:
        largest: change of an output.
        spread: largest difference of an output between two images, at the same placement.
        images: how many were tried.
    """

    largest: float
    spread: float
    images: int

    @property
    def relative(self) -> float:
        """The change as a fraction of the spread; infinity where all images have the same outputs.

        >>> Change(0.5, 2.0, 4).relative, Change(0.0, 0.0, 4).relative
        (0.25, inf)
        """
        return self.largest / self.spread if self.spread > 0 else math.inf


def change_under(model: nn.Module, images: torch.Tensor, shifts: list[Pair]) -> Change:
    """Measure how much circular shifts of images change a model's outputs.

    Args:
        model: (B, C, H, W) -> (B, K); in eval mode meanwhile.
        images: (N, C, H, W) in [0, 1].
        shifts: (down, right).

    Example:
        >>> change_under(nn.Flatten(), torch.tensor([[[[0.0, 0.5]]], [[[0.0, 0.75]]]]), [(0, 1)])
        Change(largest=0.75, spread=0.25, images=2)
    """
    device, dtype = device_and_dtype(model)
    pixels = images.to(device, dtype)
    with trying(model):
        still = model(pixels)
        largest = max(float((model(pixels.roll(shift, (2, 3))) - still).abs().max()) for shift in shifts)
    return Change(largest, float((still.max(0).values - still.min(0).values).max()), len(images))


@contextmanager
def trying(model: nn.Module) -> Iterator[None]:
    """Run a model in eval mode without gradients; its modes and the random generators are left as they were."""
    device, _ = device_and_dtype(model)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), evaluating(model):
        yield


def check_outputs(model: nn.Module, shape: tuple[int, int, int]) -> None:
    """Raise a `UsageError` unless a model takes images and returns one tensor (batch, classes), which averages need.

    Args:
        shape: (C, H, W).
    """
    adapted = adapt(model, shape=shape)
    device, dtype = device_and_dtype(adapted)
    try:
        with trying(adapted):
            found = adapted(torch.zeros(2, *shape, device=device, dtype=dtype))
    except UsageError:
        raise
    except Exception as error:  # a model of the registry, which `adapt` does not try
        words = " ".join(str(error).split())[:150]
        raise UsageError(f"{model_name(model)} cannot take images of {' x '.join(map(str, shape))} (channels, height, "
                         f"width): {type(error).__name__}: {words}; choose the canvas and the channels it was built "
                         "for") from error
    one_tensor(found, model)
    require(len(found) == 2, "model", f"{tuple(found.shape)} for a batch of 2", "one that returns a row an image")
