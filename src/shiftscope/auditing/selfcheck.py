"""Never wrong in silence: an engine's logits beside those of the plain model, on a random sample."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from shiftscope import hashing
from shiftscope.auditing.engine import Engine
from shiftscope.data.base import ImageSet
from shiftscope.distributed import gathered
from shiftscope.evaluation.brute import plain_logits
from shiftscope.evaluation.rounding import tolerance
from shiftscope.hashing import Stream
from shiftscope.models.forward import device_and_dtype
from shiftscope.outputs import determine_output_type
from shiftscope.placement import Placement
from shiftscope.results.audit import SelfCheck

TRIALS = 3
"""How often something is timed."""

IMAGES, EACH = 32, 8
"""Images of the sample, and placements of each."""

FLOOR = -80.0
"""Log-probabilities below this are equal: as float32 probabilities they are near the smallest normal number, exp(-87),
below which a logarithm is -inf or not by rounding."""


@dataclass(frozen=True)
class Sample:
    """Some images, and for each some placements."""

    images: torch.Tensor
    """int64 (n,), rising."""
    columns: torch.Tensor
    """int64 (n, m), placements of each."""

    @property
    def size(self) -> int:
        """Number of pairs."""
        return self.columns.numel()


def draw_sample(images: int, placements: int, *, seed: int, size: int = IMAGES) -> Sample:
    """Draw `size` different images (all, where there are fewer) and `EACH` placements of each.

    >>> draw_sample(10_000, 841, seed=0).columns.shape, draw_sample(3, 841, seed=0).images
    (torch.Size([32, 8]), tensor([0, 1, 2]))
    """
    size = min(size, images)
    chosen = hashing.permutation(hashing.stream(Stream.SELF_CHECK, seed, size), images)[:size].sort().values
    pairs = torch.arange(size * EACH)
    columns = hashing.draw(hashing.stream(Stream.SELF_CHECK, seed, size, 1), pairs, placements)
    return Sample(chosen, columns.view(size, EACH))


def difference(a: torch.Tensor, b: torch.Tensor) -> float:
    """Return the largest absolute difference; infinity where one is finite and the other is not.

    Log-probabilities are compared as if none were below `FLOOR`.

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
    apart = (a - b).abs()
    apart = apart.masked_fill((a == b) | (a.isnan() & b.isnan()), 0)  # also where both are the same infinity
    return float(apart.nan_to_num(nan=torch.inf, posinf=torch.inf).max()) if apart.numel() else 0.0


class SampleCheck:
    """Collects an engine's logits for a sample while they come by, and compares them in the end.

    Args:
        model: the plain one.
        images: all images.
        placement: where they lie.
        offsets: int64 (P, 2), the placements' offsets.
        sample: what to compare.
    """

    def __init__(self, model: nn.Module, images: ImageSet, placement: Placement, offsets: torch.Tensor, sample: Sample):
        self.model, self.images, self.placement, self.offsets = model, images, placement, offsets
        self.sample = sample
        self.found: dict[int, torch.Tensor] = {}

    def add(self, begin: int, logits: torch.Tensor) -> None:
        """Look at the logits (B, P, K) of the images from number `begin` on."""
        inside = (self.sample.images >= begin) & (self.sample.images < begin + len(logits))
        for row in inside.nonzero()[:, 0].tolist():
            columns = self.sample.columns[row].to(logits.device)
            self.found[row] = logits[int(self.sample.images[row]) - begin, columns]

    def merge(self) -> None:
        """Collect what all processes of a group have seen."""
        parts = gathered({row: logits.cpu() for row, logits in self.found.items()})
        self.found = {row: logits for part in parts for row, logits in part.items()}

    def result(self) -> SelfCheck:
        """Compute what was collected once more with the plain model; no images, no placements."""
        pairs = [(logits, self.plain(row).to(logits.device)) for row, logits in sorted(self.found.items())]
        engine, plain = (torch.cat(parts) for parts in zip(*pairs, strict=True)) if pairs else (torch.zeros(0, 1),) * 2
        return SelfCheck(placements=len(engine), max_abs_logit_difference=difference(engine, plain),
                         tolerance=tolerance(plain, device_and_dtype(self.model)[1]))

    def plain(self, row: int) -> torch.Tensor:
        """Return the plain model's outputs (m, K) for an image of the sample at its placements."""
        columns = self.sample.columns[row]
        return self.at(self.sample.images[row].expand(len(columns)), columns)

    def at(self, images: torch.Tensor, columns: torch.Tensor, model: nn.Module | None = None) -> torch.Tensor:
        """Return the plain model's outputs (n, K) for some images, each at a placement of its own, in one batch.

        Args:
            images: int64 (n,), their numbers.
            columns: int64 (n,), placements.
            model: another one, instead of the plain model.
        """
        device, _ = device_and_dtype(self.model)
        pixels, offsets = self.images.gather(images).to(device), self.offsets[columns].to(device)
        return plain_logits(model or self.model, pixels, offsets, self.placement)

    def batch(self, size: int, model: nn.Module | None = None) -> torch.Tensor:
        """Return the plain model's outputs (size, K) for the first images of the sample, one placement each, together.

        Where the sample has fewer images, they come again at other placements.

        Args:
            model: another one, instead of the plain model.
        """
        count = torch.arange(size)
        rows = count % len(self.sample.images)
        columns = self.sample.columns[rows, count // len(self.sample.images)]
        return self.at(self.sample.images[rows], columns, model)


def check_now(engine: Engine, check: SampleCheck) -> tuple[SelfCheck, float]:
    """Ask an engine about the images of a sample, before the long work.

    Returns:
        How far it lies from the plain model, and its seconds an image once it is warm.
    """
    device, _ = device_and_dtype(check.model)
    batch = check.images.gather(check.sample.images[:engine.images_at_once]).to(device)
    found, columns = engine.logits(batch), check.sample.columns.to(device)
    check.found = {row: found[row, columns[row]] for row in range(len(batch))}
    return check.result(), fastest(lambda: engine.logits(batch)) / len(batch)


def fastest(compute: Callable[[], torch.Tensor]) -> float:
    """Return the seconds that a computation takes, the least of a few trials: others may disturb some of them."""
    seconds = []
    for _ in range(TRIALS):
        begun = time.perf_counter()
        compute().sum().item()  # the sum waits for the device
        seconds.append(time.perf_counter() - begun)
    return min(seconds)


def passed(check: SelfCheck) -> bool:
    """Return whether the difference is one of rounding."""
    return check["max_abs_logit_difference"] <= check["tolerance"]
