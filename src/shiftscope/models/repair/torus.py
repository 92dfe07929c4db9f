"""Follows the maps of a network through its graph, as if every map were a torus, and says where that cannot be.

Each value is a map, which moves along with the canvas, or still: the same at all placements. What is neither is refused
by name, see `rules.py`. What has to be changed for it to hold is only noted here; `polyphase.py` changes it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import fx

from shiftscope.errors import UsageError
from shiftscope.graph.editable import Editable, sizes, title
from shiftscope.graph.strided import Pair, pair
from shiftscope.layers.padding import CircularPad2d, Sides
from shiftscope.models.repair.shifts import wrap_sides


class CannotRepair(UsageError):
    """A way to repair is not possible for a network; the message says why, and nothing yet of what to choose instead."""


@dataclass(frozen=True)
class Map:
    """A value that moves along with the canvas.

    Args:
        axes: which axes are its rows and columns.
        stride: rows and columns of the canvas from one place to the next.
    """

    axes: Pair
    stride: Pair


@dataclass(frozen=True)
class Still:
    """A value that is the same at all placements."""


Kind = Map | Still
STILL = Still()


@dataclass(eq=False)
class Torus:
    """What is known of each value of a network, and what is to be changed.

    Args:
        net: the network.
        keep_head: leave a layer that reads positions as it is.
    """

    net: Editable
    keep_head: bool = False
    kinds: dict[fx.Node, Kind] = field(default_factory=dict)
    wraps: dict[fx.Node, Sides] = field(default_factory=dict)
    """Circular padding that an operation gets instead of its own: left, right, top, bottom."""
    pads: dict[fx.Node, Sides] = field(default_factory=dict)
    """Nodes that pad a map for an operation that follows: they are dropped, and it is padded circularly."""
    means: dict[fx.Node, Map] = field(default_factory=dict)
    """Operations that read positions: their input is replaced by its mean over all places."""
    notes: list[str] = field(default_factory=list)

    def map_of(self, source: Any, reader: fx.Node) -> Map:
        """Return what is known of the map that an operation on (batch, channel, row, column) reads."""
        kind = self.kinds.get(source)
        if not isinstance(kind, Map) or kind.axes != (2, 3) or len(sizes(source)) != 4:
            raise self.refuse(reader, "its rows and columns are not the last two of four axes")
        return kind

    def refuse(self, node: fx.Node, why: str) -> UsageError:
        """Return the error that names an operation of the network."""
        return CannotRepair(f"{self.net.owner} cannot be repaired with polyphase sampling, for {title(node)}: {why}")

    def places(self, kind: Map) -> Pair:
        """Return rows and columns of a map in the repaired network."""
        _, height, width = self.net.shape
        return height // kind.stride[0], width // kind.stride[1]

    def wrap(self, node: fx.Node, source: fx.Node, before: Pair, reach: Pair, stride: Pair) -> Map:
        """Note the circular padding that gives an operation an output for every `stride`-th place, at the same places.

        Args:
            before: rows above and columns left that the operation pads by itself.
            reach: rows and columns that a window extends beyond its first one.
        """
        kind = self.map_of(source, node)
        left, _, top, _ = self.pads.get(source, (0, 0, 0, 0))
        down, right = before[0] + top, before[1] + left
        if down > reach[0] or right > reach[1]:
            raise self.refuse(node, f"it pads {max(down, right)} places, more than its window reaches")
        self.wraps[node] = wrap_sides((down, right), reach, stride)
        return Map((2, 3), (kind.stride[0] * stride[0], kind.stride[1] * stride[1]))

    def mean(self, node: fx.Node, kind: Map) -> Kind:
        """Note that an operation reads positions, and has to read the mean over all places instead."""
        if not self.keep_head:
            self.means[node] = kind
            self.notes.append(f"{title(node)} reads positions: it is shown the mean over all places at each of them, "
                              "as if the layers after it were applied to all shifts of the map and averaged; fine-tune "
                              "to win accuracy back")
            return STILL
        before = tuple(sizes(node.all_input_nodes[0])[axis] for axis in kind.axes)
        if before != self.places(kind):
            raise self.refuse(node, f"it takes {before[0]} x {before[1]} places, and circular padding gives "
                                    f"{self.places(kind)[0]} x {self.places(kind)[1]}, so head='keep' is not possible")
        self.notes.append(f"{title(node)} reads positions and was kept: predictions still depend on position")
        return STILL

    def total_stride(self) -> int:
        """Return the shift of the canvas that moves every map by whole places."""
        return math.lcm(*(step for kind in self.kinds.values() if isinstance(kind, Map) for step in kind.stride))


def apply(torus: Torus) -> None:
    """Rewrite the network as noted: circular padding, means before what reads positions."""
    net, made = torus.net, {}
    for node in torus.pads:
        node.replace_all_uses_with(node.args[0])  # pyright: ignore[reportArgumentType]
    for node, sides in torus.wraps.items():
        source: Any = node.args[0]
        if any(sides) and (source, sides) not in made:
            made[source, sides] = net.add_module(CircularPad2d(sides), source)
        node.update_arg(0, made.get((source, sides), source))
    for node, kind in torus.means.items():
        _show_mean(net, node, kind)


def _show_mean(net: Editable, node: fx.Node, kind: Map) -> None:
    """Give an operation the mean over all places, at each place, in the shape that it takes."""
    source = node.all_input_nodes[0]
    shape: Sequence[Any] = [int(size) if axis in kind.axes else -1 for axis, size in enumerate(sizes(source))]
    with net.graph.inserting_before(node):
        mean = net.graph.call_function(torch.ops.aten.mean.dim, (source, list(kind.axes), True))
        shown = net.graph.call_function(torch.ops.aten.expand.default, (mean, shape))
    node.replace_input_with(source, shown)


def check_canvas(owner: str, shape: tuple[int, int, int], stride: int | Pair) -> None:
    """Raise an error unless the stride is above 1, and divides the canvas.

    Args:
        owner: the network's name.
        shape: (C, H, W).
        stride: of the network, one number or (down, right).

    >>> check_canvas("Net", (1, 30, 32), 4)
    Traceback (most recent call last):
    shiftscope.models.repair.torus.CannotRepair: canvas must be multiples of 4, the total stride of Net, got (30, 32)
    """
    down, right = pair(stride)
    if (down, right) == (1, 1):
        raise CannotRepair(f"{owner} has no strided layer, so there is nothing to repair in it")
    if shape[1] % down or shape[2] % right:
        said = f"{down}, the total stride" if down == right else f"({down}, {right}), the total strides down and right"
        raise CannotRepair(f"canvas must be multiples of {said} of {owner}, got {shape[1:]}")
