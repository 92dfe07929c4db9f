"""The self-check: an engine's outputs are compared with those of the plain model on a random sample."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

from shiftscope import hashing
from shiftscope.data.base import ImageSet
from shiftscope.distributed import gathered
from shiftscope.evaluation.brute import fastest, plain_logits
from shiftscope.hashing import Stream
from shiftscope.metrics import rounding_tolerance
from shiftscope.models.forward import device_and_dtype
from shiftscope.outputs import determine_output_type
from shiftscope.placement import Placement
from shiftscope.results.audit import SelfCheck

if TYPE_CHECKING:
    from shiftscope.auditing.engines import PlacementEngine

IMAGES, EACH = 32, 8
"""Number of images in the sample, and of placements per image."""

LEAST_SHARE = 200
"""Brute force is the plain model with faster ways to the same values: one of this many of its placements is compared,
at most. Other engines are compared at the full sample, those that share few operations at one of this many too."""

LEAST_OF_CUT = 4
"""Fewest images on which an engine is compared that shares a part of the operations."""

BORDER = 4
"""Number of placements of each image that are drawn from the corners and edges, where an error of padding would be."""

SLOW = 0.1
"""Seconds of a trial that is not repeated to measure its time."""

FLOOR = -80.0
"""Log-probabilities below this value are equal: as float32 probabilities they are near the smallest normal number,
exp(-87), below which rounding decides if a logarithm is -inf."""


@dataclass(frozen=True)
class Sample:
    """Some images, and some placements of each."""

    images: torch.Tensor
    """int64 (n,), ascending."""
    columns: torch.Tensor
    """int64 (n, m), indices of the placements of each image."""


def draw_sample(images: int, placements: int, *, seed: int, size: int = IMAGES,
                rims: Sequence[torch.Tensor] = ()) -> Sample:
    """Draw `size` different images (all of them if there are fewer) and `EACH` placements per image.

    Args:
        rims: sets of placements (indices), from which the first `BORDER` placements of each image are drawn in turn.

    Example:
        >>> draw_sample(10_000, 841, seed=0).columns.shape, draw_sample(3, 841, seed=0).images
        (torch.Size([32, 8]), tensor([0, 1, 2]))
    """
    size = min(size, images)
    chosen = hashing.permutation(hashing.stream(Stream.SELF_CHECK, seed, size), images)[:size].sort().values
    pairs = torch.arange(size * EACH)
    columns = hashing.draw(hashing.stream(Stream.SELF_CHECK, seed, size, 1), pairs, placements).view(size, EACH)
    for k in range(BORDER if rims else 0):
        rim = rims[k % len(rims)]
        draws = hashing.draw(hashing.stream(Stream.SELF_CHECK, seed, size, 2 + k), torch.arange(size), len(rim))
        columns[:, k] = rim[draws]
    return Sample(chosen, columns)


def border_placements(offsets: torch.Tensor) -> list[torch.Tensor]:
    """Return the indices of the placements at the corners, and of those at the edges, of offsets (P, 2).

    >>> corners, edges = border_placements(torch.cartesian_prod(torch.arange(3), torch.arange(4)))
    >>> corners.tolist(), len(edges)
    ([0, 3, 8, 11], 10)
    """
    extreme = (offsets == offsets.amin(0)) | (offsets == offsets.amax(0))
    sets = [extreme.all(1).nonzero()[:, 0], extreme.any(1).nonzero()[:, 0]]
    return [found for found in sets if len(found)]


def difference(a: torch.Tensor, b: torch.Tensor) -> float:
    """Return the largest absolute difference; infinity if one value is finite and the other is not.

    Log-probabilities are clamped at `FLOOR`.

    >>> difference(torch.tensor([[1.0, float("nan")]]), torch.tensor([[1.5, float("nan")]]))
    0.5
    >>> difference(torch.tensor([[1.0, float("-inf")]]), torch.tensor([[1.0, float("nan")]]))
    inf
    >>> difference(torch.tensor([[0.0, float("-inf")]]), torch.tensor([[0.0, -103.0]]))
    0.0
    """
    a, b = a.detach().cpu().double(), b.detach().cpu().double()
    if determine_output_type(b) == "log-probabilities":
        a, b = a.clamp(min=FLOOR), b.clamp(min=FLOOR)
    distance = (a - b).abs()
    distance = distance.masked_fill((a == b) | (a.isnan() & b.isnan()), 0)  # also for equal infinities
    return float(distance.nan_to_num(nan=torch.inf, posinf=torch.inf).max()) if distance.numel() else 0.0


class SampleCheck:
    """Collects an engine's outputs for a sample during an audit, and compares them with the plain model afterwards.

    Args:
        model: the plain model.
        images: all images.
        placement: their placement.
        offsets: int64 (P, 2), offsets of the placements.
        sample: images and placements to compare.

    Attributes:
        outputs: collected outputs (m, K) by row of the sample.
    """

    def __init__(self, model: nn.Module, images: ImageSet, placement: Placement, offsets: torch.Tensor, sample: Sample):
        self.model, self.images, self.placement, self.offsets = model, images, placement, offsets
        self.sample = sample
        self.outputs: dict[int, torch.Tensor] = {}

    def add(self, begin: int, logits: torch.Tensor) -> None:
        """Collect from the outputs (B, P, K) of the images from index `begin` on."""
        inside = (self.sample.images >= begin) & (self.sample.images < begin + len(logits))
        for row in inside.nonzero()[:, 0].tolist():
            columns = self.sample.columns[row].to(logits.device)
            self.outputs[row] = logits[int(self.sample.images[row]) - begin, columns]

    def merge(self) -> None:
        """Merge the outputs that the processes of a group collected."""
        parts = gathered({row: logits.cpu() for row, logits in self.outputs.items()})
        self.outputs = {row: logits for part in parts for row, logits in part.items()}

    def result(self) -> SelfCheck:
        """Compute the collected outputs again with the plain model and return the difference."""
        engine, plain = [torch.zeros(0, 1)], [torch.zeros(0, 1)]
        for row, logits in sorted(self.outputs.items()):
            columns = self.sample.columns[row]
            engine.append(logits)
            plain.append(self.at(self.sample.images[row].expand(len(columns)), columns).to(logits.device))
        ours, theirs = (torch.cat(parts[1:] or parts) for parts in (engine, plain))
        return SelfCheck(placements=len(ours), max_abs_logit_difference=difference(ours, theirs),
                         tolerance=rounding_tolerance(theirs, device_and_dtype(self.model)[1]))

    def at(self, images: torch.Tensor, columns: torch.Tensor, model: nn.Module | None = None) -> torch.Tensor:
        """Return the plain model's outputs (n, K) for images at one placement each, in one batch.

        Args:
            images: int64 (n,), indices of the images.
            columns: int64 (n,), indices of the placements.
            model: used instead of the plain model.
        """
        device, _ = device_and_dtype(self.model)
        pixels, offsets = self.images.gather(images).to(device), self.offsets[columns].to(device)
        return plain_logits(model or self.model, pixels, offsets, self.placement)

    def batch(self, size: int, model: nn.Module | None = None) -> torch.Tensor:
        """Return the plain model's outputs (size, K) for the first images of the sample, one placement each.

        If the sample has fewer images, they repeat at other placements.
        """
        count = torch.arange(size)
        rows = count % len(self.sample.images)
        columns = self.sample.columns[rows, count // len(self.sample.images)]
        return self.at(self.sample.images[rows], columns, model)


def check_engine(engine: "PlacementEngine", check: SampleCheck) -> tuple[SelfCheck, float]:
    """Compare an engine with the plain model on the images of a sample before an audit.

    Returns:
        The comparison, and the engine's seconds per image.
    """
    device, _ = device_and_dtype(check.model)
    batch = check.images.gather(check.sample.images[:engine.images_per_call]).to(device)
    begun = time.perf_counter()
    logits, columns = engine.logits(batch), check.sample.columns.to(device)
    check.outputs = {row: logits[row, columns[row]].cpu() for row in range(len(batch))}  # waits for the device
    first = time.perf_counter() - begun
    seconds = (first if first > SLOW else fastest(lambda: engine.logits(batch))) / len(batch)
    if getattr(engine, "cut", None) is not None:  # its outputs take long
        engine.known, engine.seconds = (batch, logits), seconds  # pyright: ignore[reportAttributeAccessIssue]
    return check.result(), seconds


def passed(check: SelfCheck) -> bool:
    """Return True if rounding explains the difference."""
    return check["max_abs_logit_difference"] <= check["tolerance"]


def difference_message(check: SelfCheck) -> str:
    """Return the statement that the dense engine differs from the plain model."""
    return (f"the dense engine's outputs differ by {check['max_abs_logit_difference']:.3g} from the plain model's on a "
            f"random sample of {check['placements']}, more than rounding explains ({check['tolerance']:.3g})")
