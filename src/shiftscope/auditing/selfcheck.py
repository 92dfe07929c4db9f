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
from shiftscope.models.forward import home
from shiftscope.placement import Placement
from shiftscope.results.audit import SelfCheck

TRIALS = 3
"""How often something is timed."""

IMAGES, EACH = 32, 8
"""Images of the sample, and placements of each."""

SHARE = 1e-5
"""Largest difference put down to rounding, as a share of the largest logit (of 1 where that is smaller). Sums of
thousands of float32 products in another order differ by some 1e-6 of it."""

_STREAM = 5  # keeps the sample independent of the other users of the same seed


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
    chosen = hashing.permutation(hashing.stream(_STREAM, seed, size), images)[:size].sort().values
    pairs = torch.arange(size * EACH)
    return Sample(chosen, hashing.draw(hashing.stream(_STREAM, seed, size, 1), pairs, placements).view(size, EACH))


def tolerance(logits: torch.Tensor, dtype: torch.dtype) -> float:
    """Return the largest difference that is put down to rounding.

    Args:
        logits: of the plain model.
        dtype: that the model computes in; below float32 its own rounding rules.
    """
    finite = logits[logits.isfinite()]
    largest = float(finite.abs().max()) if finite.numel() else 0.0
    return max(SHARE, 4 * torch.finfo(dtype).eps if dtype.itemsize < 4 else 0.0) * max(1.0, largest)


def difference(a: torch.Tensor, b: torch.Tensor) -> float:
    """Return the largest absolute difference; infinity where one is finite and the other is not.

    >>> difference(torch.tensor([1.0, float("nan")]), torch.tensor([1.5, float("nan")]))
    0.5
    >>> difference(torch.tensor([1.0]), torch.tensor([float("nan")]))
    inf
    """
    finite = a.isfinite()
    if not finite.equal(b.isfinite()):
        return torch.inf
    return float((a[finite].double() - b[finite].double()).abs().max()) if finite.any() else 0.0


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
                         tolerance=tolerance(plain, home(self.model)[1]))

    def plain(self, row: int) -> torch.Tensor:
        """Return the plain model's logits (m, K) for an image of the sample at its placements."""
        device, _ = home(self.model)
        image = self.images.gather(self.sample.images[row:row + 1]).to(device).expand(EACH, -1, -1, -1)
        offsets = self.offsets[self.sample.columns[row]].to(device)
        return plain_logits(self.model, image, offsets, self.placement)

    def batch(self, size: int) -> torch.Tensor:
        """Return the plain model's logits (size, K) for the first images of the sample, one placement each, together.

        Where the sample has fewer images, they come again at other placements.
        """
        device, _ = home(self.model)
        count = torch.arange(size)
        rows = count % len(self.sample.images)
        columns = self.sample.columns[rows, count // len(self.sample.images)]
        images = self.images.gather(self.sample.images[rows]).to(device)
        return plain_logits(self.model, images, self.offsets[columns].to(device), self.placement)


def check_now(engine: Engine, check: SampleCheck) -> tuple[SelfCheck, float]:
    """Ask an engine about the images of a sample, before the long work.

    Returns:
        How far it lies from the plain model, and its seconds an image once it is warm.
    """
    device, _ = home(check.model)
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


def doubts(check: SampleCheck) -> list[str]:
    """Ask the plain model twice, and in a smaller batch; return a sentence for each way in which it contradicts itself.

    Args:
        check: some images of its sample are asked about.
    """
    first, again, alone = check.batch(EACH), check.batch(EACH), check.batch(2)
    allowed = tolerance(first, home(check.model)[1])
    name = type(check.model).__name__
    if (apart := difference(first, again)) > allowed:
        return [f"{name} answers the same pictures otherwise when asked twice (logits {apart:.3g} apart): it draws "
                "random numbers in eval mode or keeps state between calls, so the figures hold for this run alone"]
    if (apart := difference(first[:len(alone)], alone)) > allowed:
        return [f"{name} answers a picture otherwise in another batch (logits {apart:.3g} apart): the pictures of a "
                "batch influence one another, also in eval mode, so the figures depend on how they are batched"]
    return []
