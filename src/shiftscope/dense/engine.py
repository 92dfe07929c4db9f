"""The engine: built once for a model and its placements, then asked for the logits of batches of images."""

from collections.abc import Callable

import torch

from shiftscope.dense.field import Field
from shiftscope.dense.program import Program
from shiftscope.dense.refusal import NeedsTorus, NotDense
from shiftscope.dense.source import Source, sources
from shiftscope.dense.walk import walk
from shiftscope.errors import UsageError
from shiftscope.graph import Graph, TraceError, trace
from shiftscope.models.forward import device_and_dtype, to_pixels
from shiftscope.modules import Classifier, as_module, model_name
from shiftscope.outputs import as_floats
from shiftscope.placement import Placement

MEMORY = 2**28
"""Bytes (256 MiB) that the largest tensor of `images_at_once` images may take."""

CACHE = 2**23
"""Bytes (8 MiB) that the largest tensor of one inner pass may take on a CPU: beyond the caches each step waits for
memory."""


class DenseEngine:
    """The outputs of a model at all placements, one pass a batch. Made by `build_dense`; it holds the weights as they
    were.

    Args:
        placement: whose offsets are answered.
        source: how they lie on one field.
        program, result: the steps and the field they end in.
        channels: of the images.
    """

    name = "dense"

    def __init__(self, placement: Placement, source: Source, program: Program, result: Field, channels: int):
        self.placement, self.shape = placement, (channels, *placement.image)
        self._source, self._program = source, program
        self._run = program.compiled(result)
        self._order = source.order.to(program.device)
        bytes_an_image = max(program.floats, 1) * torch.empty(0, dtype=program.dtype).element_size()
        self.images_at_once = max(1, MEMORY // bytes_an_image)
        cached = max(1, CACHE // bytes_an_image)
        self._pass = min(self.images_at_once, cached) if program.device.type == "cpu" else self.images_at_once

    @torch.no_grad()
    def logits(self, images: torch.Tensor) -> torch.Tensor:
        """Return what the model returns for each image at each placement.

        Args:
            images: uint8 (B, C, h, w) on the model's device.

        Returns:
            (B, P, K), placements in the order of `placement.offsets()`.

        Raises:
            UsageError: the images are not of the size that the engine was built for.
        """
        return self._logits(images, lambda stored: to_pixels(stored, self._program.dtype))

    @torch.no_grad()
    def of_pixels(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return the outputs (B, P, K) of images of any values, not of 256 levels alone.

        Args:
            pixels: floating point (B, C, h, w), in [0, 1] as the model takes them, on the model's device.

        Raises:
            UsageError: as for `logits`.
        """
        return self._logits(pixels, lambda stored: stored.to(self._program.dtype, copy=True))  # steps may work in place

    def _logits(self, images: torch.Tensor, prepare: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
        if tuple(images.shape[1:]) != self.shape or images.ndim != 4:
            raise UsageError(f"images must be (batch, {', '.join(map(str, self.shape))}) for this engine, got "
                             f"{tuple(images.shape)}")
        parts = []
        for part in images.split(self._pass):
            windows = self._run(prepare(self._source.fill(part)))  # (B, K, ny, nx)
            parts.append(windows.flatten(2).transpose(1, 2).index_select(1, self._order))
        return as_floats(parts[0] if len(parts) == 1 else torch.cat(parts))


def build_dense(model: Classifier, placement: Placement, shape: tuple[int, int, int]) -> DenseEngine:
    """Return the engine that computes a model's outputs at all placements in one pass over a field.

    Exact up to rounding for feed-forward nets of convolutions, pools, functions of single values, linear layers and
    what else `walk.RULES` lists, in the model's own dtype and on its device. It works on the graph, so it does not
    matter whether the model is written with modules or functions.

    Args:
        model: a module or function that takes pixels (B, C, H, W) in [0, 1], returns (B, K); used in eval mode.
        placement: its canvas is the model's input.
        shape: (C, h, w) of the images.

    Raises:
        NotDense: the model or the placements have no exact twin; layer and reason are named.
        UsageError: the images are not of the placement's size; no model, but a class, a name or the like.

    Example:
        >>> from torch import nn
        >>> net = nn.Sequential(nn.Conv2d(1, 4, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))
        >>> engine = build_dense(net, Placement(image=(5, 5), canvas=(9, 9)), (1, 5, 5))
        >>> engine.logits(torch.zeros(7, 1, 5, 5, dtype=torch.uint8)).shape
        torch.Size([7, 25, 3])

    References:
        Giusti et al., Fast image scanning with deep max-pooling convolutional neural networks, 2013, arXiv:1302.1700.
    """
    if tuple(shape[1:]) != placement.image:
        raise UsageError(f"shape must end in {placement.image}, the placement's image, got {tuple(shape)}")
    model = as_module(model)
    try:
        graph = trace(model, (shape[0], *placement.canvas))
    except TraceError as error:
        raise NotDense(model_name(model), str(error)) from error
    if graph.changes:
        raise NotDense(model_name(model), f"it changes its own {graph.changes[0]} each time it is called")
    device, dtype = device_and_dtype(model)
    if device.type == "meta":
        raise NotDense(model_name(model), "its weights are on the meta device and hold no numbers")
    refused = None
    for source in sources(placement):
        program = Program(source.windows, dtype, device)
        try:
            return _built(graph, placement, source, program, shape[0])
        except NeedsTorus as refusal:
            refused = NotDense(refusal.layer, str(refusal))
    raise refused or NotDense(model_name(model), "there is no field for these placements")


@torch.no_grad()
def _built(graph: Graph, placement: Placement, source: Source, program: Program, channels: int) -> DenseEngine:
    field = source.field(channels, placement.canvas, program.dtype, program.device)
    program.floats = channels * field.size[0] * field.size[1]
    return DenseEngine(placement, source, program, walk(graph, program, field), channels)
