"""Where sharing ends: operations up to the cut are computed for all placements together, the others for each canvas.

After strides and padding, nearly every row of a deep network touches a border, so placements share less and less. All
candidates for the cut are timed on one image: the shared operations on their distinct rows and columns, the others on a
few canvases.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from shiftscope.dense.field import Field
from shiftscope.dense.plain import PlainPart
from shiftscope.dense.program import Program
from shiftscope.graph import Graph, Node

NO_GAIN = 0.8
"""Operations are not shared if their distinct positions are more than this fraction of all positions."""

TRIED = 16
"""Canvases on which operations are timed."""

RUNS, LIMIT = 8, 0.5
"""Most runs whose steps are timed, and the seconds after which no other run starts."""

COPIED = 2**21
"""Values that are copied to measure the time of materializing a map."""


@dataclass(frozen=True)
class Cut:
    """The operations that placements share, and the operations that this saves, per image.

    Args:
        shared: number of nodes of the graph, the input included.
        flops: floating-point operations of brute force; saved: those that sharing saves.
        layer: name of the last shared layer.
    """

    shared: int
    flops: float
    saved: float
    layer: str

    @property
    def sentence(self) -> str:
        """The statement for the reason of an audit."""
        return (f"all placements of an image share the operations up to {self.layer}, which saves "
                f"{self.saved / 1e9:.3g} of {self.flops / 1e9:.3g} GFLOP an image")


def flops(node: Node) -> float:
    """Return the floating-point operations of a node for one canvas: those of convolutions and linear layers."""
    weight = node.args.get("weight") if node.op in ("conv2d", "linear") else None
    if not isinstance(weight, torch.Tensor):
        return 0.0
    return 2.0 * math.prod(node.shape[1:]) * math.prod(weight.shape[1:])


def fraction(field: Field) -> float:
    """Return the distinct positions of a field as a fraction of the positions of all placements."""
    stored, every = 1, 1
    for axis in (field.rows, field.columns):
        stored, every = stored * axis.size, every * axis.table.size
    return stored / every


def cut_at(graph: Graph, fields: Sequence[Field], shared: int, placements: int) -> Cut:
    """Return the cut after the first `shared` nodes.

    Args:
        fields: of these nodes.
    """
    total = placements * sum(map(flops, graph.nodes))
    saved = placements * sum(flops(node) * (1 - min(1.0, fraction(field)))
                             for node, field in zip(graph.nodes[:shared], fields, strict=False))
    last = graph.nodes[shared - 1]
    return Cut(shared, total, saved, last.title)


def best_cut(graph: Graph, program: Program, fields: Sequence[Field], placements: int) -> int:
    """Return the number of shared nodes that takes least time per image, at least 2: the input and one operation.

    Args:
        program: of the first nodes, as many as there are fields.
    """
    source = fields[0]
    pixels = torch.full((1, source.channels, *source.size), 0.5, dtype=program.dtype, device=program.device)
    everything = PlainPart(graph, {graph.input}, program.dtype, program.device)
    alone = _plain_seconds(everything, placements, program)
    together = _timed(program, [pixels])
    per_value = _copy_seconds(program)
    users = graph.users()
    best, least = 2, math.inf
    for shared in range(2, len(fields) + 1):
        done = set(graph.nodes[:shared])
        live = [node for node in graph.nodes[:shared] if any(user not in done for user in users[node])]
        copied = 0.0 if graph.output in done else sum(math.prod(node.shape[1:]) for node in live)
        seconds = (sum(time for slot, time in together.items() if slot <= fields[shared - 1].slot)
                   + placements * (copied * per_value + sum(alone.get(node, 0.0) for node in graph.nodes[shared:])))
        if seconds < least:
            best, least = shared, seconds
    return best


def _seconds(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def _timed(program: Program, inputs: Sequence[torch.Tensor]) -> dict[int, float]:
    """Return the seconds of each step by slot, the smallest of several runs; of one run if it is long."""
    found: dict[int, float] = {}
    start, runs = _seconds(program.device), 0
    while runs < 1 or (runs < RUNS and _seconds(program.device) - start < LIMIT):
        runs += 1
        slots = {k: value.clone() for k, value in enumerate(inputs)}
        last = {slot: step.slot for step in program.steps for slot in step.sources}
        for step in program.steps:
            begun = _seconds(program.device)
            slots[step.slot] = step.compute(*(slots[source] for source in step.sources))
            found[step.slot] = min(found.get(step.slot, math.inf), _seconds(program.device) - begun)
            for slot in step.sources:
                if last[slot] == step.slot:
                    slots.pop(slot, None)
    return found


def _plain_seconds(part: PlainPart, placements: int, program: Program) -> dict[Node, float]:
    """Return the seconds of each operation for one canvas."""
    count = min(TRIED, placements)
    shape = (count, *part.inputs[0].shape[1:])
    canvases = torch.full(shape, 0.5, dtype=program.dtype, device=program.device)
    if len(shape) == 4:
        canvases = canvases.contiguous(memory_format=torch.channels_last)
    times = _timed(part.program, [canvases])
    return {node: times[part.slots[node]] / count for node in part.nodes}


def _copy_seconds(program: Program) -> float:
    """Return the seconds for one value of a map that is materialized."""
    source = torch.zeros(COPIED // 32, 32, dtype=program.dtype, device=program.device)
    index = torch.randperm(len(source), device=program.device, generator=torch.Generator(program.device).manual_seed(0))
    seconds = []
    for _ in range(2):
        begun = _seconds(program.device)
        source.index_select(0, index)
        seconds.append(_seconds(program.device) - begun)
    return min(seconds) / source.numel()
