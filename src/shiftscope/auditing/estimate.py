"""How long an audit will take, from a short trial, and an estimate of its figures from a random sample.

A sample has the same number of placements of each of its images, drawn independently and uniformly. The intervals are
over images, so they hold for the images of the audit and for others like them.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from shiftscope import hashing
from shiftscope.auditing.engines import AuditInputs, EngineChoice, repeated_choice
from shiftscope.auditing.predictions import PlacementPredictions
from shiftscope.auditing.self_check import IMAGES
from shiftscope.auditing.statistics import has_labels
from shiftscope.distributed import group
from shiftscope.errors import UsageError
from shiftscope.evaluation.brute import BruteForceEngine
from shiftscope.evaluation.memory import MemoryChunks
from shiftscope.generators import seeded
from shiftscope.hashing import Stream
from shiftscope.metrics import mean_interval
from shiftscope.models.forward import device_and_dtype
from shiftscope.modules import out_of_memory
from shiftscope.progress import Progress, about, is_silent
from shiftscope.results.agreement import agreement

SAMPLE_FROM, SAMPLE_SECONDS = 60.0, 10.0
"""An audit that takes longer than the first number of seconds begins with a sample that takes the second number."""

TRIAL_SECONDS = 0.3
"""A trial grows until one measurement takes at least this long."""

TRIAL_SIZES = (1, 4, 16, 64, 256)
"""Numbers of images of the measurements of a trial."""

EACH, FEWEST = 8, 30
"""Placements per image of a sample, unless fewer than `FEWEST` images would be left."""

CHECK_BATCHES = 16
"""Batches of the size of the self-check's that the checks after an audit take at most, in addition to its sample."""

SUMMARY_SECONDS = 1e-7
"""Per prediction, for the figures at the end of an audit."""


@dataclass(frozen=True, kw_only=True)
class AuditTime:
    """Estimated seconds of an audit."""

    per_image: float
    """For one image at all placements."""
    images: int
    """N."""
    checks: float
    """For the self-check and the summary."""
    processes: int = 1
    """Number of processes that share the images."""

    @property
    def total(self) -> float:
        """Seconds for all images.

        >>> AuditTime(per_image=0.5, images=100, checks=2.0).total
        52.0
        """
        return self.per_image * self.images / self.processes + self.checks


def audit_time(choice: EngineChoice, classes: int) -> AuditTime:
    """Estimate the time of an audit from a trial on its first images, which takes about a second.

    For brute force nothing is computed for it but one batch of the self-check. The state of random generators is
    restored.

    Args:
        choice: the engine and its inputs.
        classes: K.
    """
    inputs = choice.inputs
    device, _ = device_and_dtype(inputs.model)
    with seeded([device], inputs.seed):
        per_image = _trial(choice, classes)
        check = inputs.check(1)
        batch = _seconds(lambda: check.at(check.sample.images.expand(check.sample.columns.shape[1]),
                                          check.sample.columns[0]))
    images = len(inputs.images)
    checks = batch * (min(IMAGES, images) + CHECK_BATCHES) + SUMMARY_SECONDS * images * len(inputs.offsets)
    return AuditTime(per_image=per_image, images=images, checks=checks, processes=group().size)


def _trial(choice: EngineChoice, classes: int) -> float:
    """Return the seconds per image of an engine; those of brute force are known from the trial of its batch size."""
    inputs, engine, placements = choice.inputs, choice.engine, len(choice.inputs.offsets)
    if isinstance(engine, BruteForceEngine):
        return placements * (_seconds_of_chunk(engine, inputs) if engine.seconds is None else engine.seconds)
    if (known := getattr(engine, "seconds", None)) is not None:
        return known
    most = min(len(inputs.images), engine.images_per_call)
    per_image = 0.0
    for size in TRIAL_SIZES:
        size = min(size, most)
        summary = PlacementPredictions(inputs.images.labels[:size], placements, classes)
        images = inputs.images.gather(torch.arange(size)).to(device_and_dtype(inputs.model)[0])

        def compute(images: torch.Tensor = images, summary: PlacementPredictions = summary) -> None:
            summary.add(0, engine.logits(images))

        try:
            seconds = _seconds(compute)
        except (MemoryError, RuntimeError) as error:  # the audit itself then uses smaller batches
            if not per_image or not out_of_memory(error):
                raise
            break
        per_image = seconds / size
        if seconds >= TRIAL_SECONDS or size == most:
            break
    return per_image


def _seconds_of_chunk(engine: BruteForceEngine, inputs: AuditInputs) -> float:
    """Return the seconds per placement, from one batch."""
    pairs = engine.pairs(1)[:engine.chunk]
    image = inputs.images.gather(torch.zeros(1, dtype=torch.int64)).to(engine.device)
    return _seconds(lambda: engine.of_pairs(image, pairs)) / len(pairs)


def _seconds(compute: Callable[[], object]) -> float:
    begun = time.perf_counter()
    compute()
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return time.perf_counter() - begun


@dataclass(frozen=True, kw_only=True)
class SampledFigures:
    """Estimates of an audit's figures from some of its images, at random placements of each."""

    images: int
    """Number of images in the sample."""
    placements: int
    """Placements of each image."""
    possible: int
    """Placements of each image in the audit."""
    mean_accuracy: float
    """NaN without labels."""
    consistency: float
    """Without bias: the fraction of pairs of drawn placements whose predictions agree."""
    intervals: dict[str, list[float]]
    """95 % confidence intervals over images."""

    def sentence(self, title: str) -> str:
        """Return the estimates in one sentence that calls them sampled."""
        where = f"{self.placements:,} random placements each" if self.placements < self.possible else (
            f"all {self.possible:,} placements")
        figures = ", ".join(
            f"{name.replace('_', ' ')} {100 * getattr(self, name):.1f} % ({100 * low:.1f} to {100 * high:.1f})"
            for name, (low, high) in self.intervals.items())
        return f"sampled estimate of {title} ({self.images:,} random images at {where}): {figures}"


def sampled_figures(predictions: np.ndarray, labels: np.ndarray, classes: int, possible: int) -> SampledFigures:
    """Estimate mean accuracy and consistency from predictions at random placements.

    Args:
        predictions: (n, m), at m placements of each image, drawn independently; or at all placements, if m equals
            `possible`. Values of at least `classes` are non-finite predictions.
        labels: int64 (n,), true classes; -1 without labels.
        classes: K.
        possible: P, placements of each image in the audit.

    Example:
        >>> found = sampled_figures(np.array([[0, 0, 1], [1, 1, 1]]), np.array([0, 1]), classes=2, possible=9)
        >>> round(found.mean_accuracy, 4), round(found.consistency, 4)
        (0.8333, 0.6667)
    """
    each = predictions.shape[1]
    agreeing, _ = agreement(predictions, classes)
    if each < possible:  # sum_k (n_k / m)^2 counts each placement as a pair with itself
        agreeing = (each * agreeing - 1) / (each - 1)
    per_image = {"consistency": agreeing}
    if has_labels(labels):
        per_image = {"mean_accuracy": (predictions == labels[:, None]).mean(1)} | per_image
    means = {"mean_accuracy": math.nan} | {name: float(values.mean()) for name, values in per_image.items()}
    return SampledFigures(
        images=len(labels), placements=each, possible=possible,
        intervals={name: mean_interval(values.tolist()) for name, values in per_image.items()}, **means)


def sample_size(images: int, placements: int, predictions: int) -> tuple[int, int]:
    """Return the numbers of images and of placements of each for a sample of about that number of predictions.

    >>> sample_size(10_000, 841, 200_000), sample_size(10_000, 841, 400), sample_size(10_000, 841, 90)
    ((10000, 20), (50, 8), (30, 3))
    """
    each = max(EACH if predictions >= EACH * FEWEST else predictions // FEWEST, predictions // images, 2)
    each = min(each, placements)
    return min(images, max(2, predictions // each)), each


def draw_columns(inputs: AuditInputs, images: torch.Tensor, each: int) -> torch.Tensor:
    """Return indices of random placements of images, int64 (n, each), for the indices of the images, int64 (n,)."""
    counters = images[:, None] * each + torch.arange(each)
    return hashing.draw(hashing.stream(Stream.SAMPLED_FIGURES, inputs.seed, each), counters, len(inputs.offsets))


def sample_figures(choice: EngineChoice, classes: int, needed: AuditTime, *, seconds: float = SAMPLE_SECONDS,
                   stop: Callable[[], bool] = lambda: False) -> SampledFigures | None:
    """Estimate the figures of an audit from random images and placements; None if stopped before any image.

    The dense engine computes all placements of the sampled images; brute force some random ones of each.

    Args:
        choice: the engine and its inputs.
        classes: K.
        needed: from `audit_time`.
        seconds: time for the sample; it ends after twice this time if the trial was too optimistic.
        stop: read between batches.
    """
    inputs, engine, possible = choice.inputs, choice.engine, len(choice.inputs.offsets)
    device, _ = device_and_dtype(inputs.model)
    if isinstance(engine, BruteForceEngine):
        count, each = sample_size(len(inputs.images), possible, int(seconds / needed.per_image * possible))
        at_a_time = max(1, engine.chunk // each)
    else:
        count, each = max(2, min(len(inputs.images), int(seconds / needed.per_image))), possible
        at_a_time = max(1, engine.images_per_call)
    chosen = hashing.permutation(hashing.stream(Stream.SAMPLED_FIGURES, inputs.seed), len(inputs.images))[:count]
    summary = PlacementPredictions(inputs.images.labels[chosen], each, classes)
    done, begun = 0, time.perf_counter()
    with seeded([device], inputs.seed):
        for chunk in MemoryChunks(len(chosen), at_a_time):
            with chunk as rows:
                pixels = inputs.images.gather(chosen[rows]).to(device)
                summary.add(rows.start, _outputs(choice, pixels, chosen[rows], each))
                done = rows.stop
            if stop() or time.perf_counter() - begun > 2 * seconds:
                break
    return sampled_figures(summary.classes[:done], summary.labels[:done].numpy(), classes, possible) if done else None


def _outputs(choice: EngineChoice, pixels: torch.Tensor, images: torch.Tensor, each: int) -> torch.Tensor:
    """Return outputs (n, each, K): of the dense engine at all placements, of brute force at random ones."""
    engine = choice.engine
    if not isinstance(engine, BruteForceEngine):
        return engine.logits(pixels)
    columns = draw_columns(choice.inputs, images, each).flatten()
    pairs = torch.stack((torch.arange(len(images)).repeat_interleave(each), columns), 1).to(engine.device)
    return engine.of_pairs(pixels, pairs, use_windows=False).unflatten(0, (len(images), each))


MARGIN = 0.9
"""Part of a time budget that is planned: estimates are not exact."""


def within_budget(choice: EngineChoice, classes: int, budget: float, spent: float) -> EngineChoice:
    """Return the choice itself if the audit fits into a time budget, else brute force at as many placements as fit.

    Args:
        choice: the engine and its inputs.
        classes: K.
        budget: seconds for the whole audit.
        spent: seconds that are over.

    Raises:
        UsageError: if one placement of each image does not fit.
    """
    inputs, needed = choice.inputs, audit_time(choice, classes)
    left = budget - spent - needed.checks
    if needed.per_image * needed.images / needed.processes <= left:
        return choice
    if choice.kind != "brute":
        choice = EngineChoice(inputs.tuned_engine, inputs, choice.reason, "brute")
    each = _trial(choice, classes) / len(inputs.offsets)
    count = int(MARGIN * left * needed.processes / (each * needed.images))
    if count < 1:
        least = spent + needed.checks + each * needed.images / (MARGIN * needed.processes)
        raise UsageError(f"budget must be time for at least one placement of each of the {needed.images:,} images, "
                         f"here {about(least)}, got {budget:g} s; use a larger budget, or fewer images with limit")
    reason = f"brute force, because {count:,} placements of each image fit into the time budget of {budget:g} s"
    return repeated_choice(inputs, choice.settings() | {"reason": reason, "sample": min(count, len(inputs.offsets))})


def announce(choice: EngineChoice, classes: int, title: str, progress: Progress, stop: Callable[[], bool]) -> float:
    """Report how long an audit will take; if that is over a minute, also estimates of its figures from a sample.

    Returns:
        The seconds that this took; nothing is measured if the progress shows nothing.
    """
    begun = time.perf_counter()
    if is_silent(progress):
        return 0.0
    needed, count = audit_time(choice, classes), len(choice.inputs.offsets)
    long = needed.total > SAMPLE_FROM
    progress.note(f"audit of {title}: {about(needed.total)} for {needed.images:,} images at {count:,} placements each"
                  + (f"; first a sample of {about(SAMPLE_SECONDS)}" if long else ""))
    if long and not stop():
        found = sample_figures(choice, classes, needed, stop=stop)
        if found is not None and not stop():
            progress.note(f"{found.sentence(title)}; the audit of all {needed.images:,} images follows")
    return time.perf_counter() - begun
