"""Training steps: the notebook way, ours, the bare steps on a ready batch, and the arithmetic alone."""

import statistics
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from bench.batches import make_batches
from bench.machine import count_operations, product_speed
from bench.notebook_way import NOTEBOOK_MODELS, notebook_training
from bench.peers import installed_peers
from bench.record import OURS, Comparison, GrowthLine, compare
from bench.rounds import doublings, grow, in_turns
from bench.settings import TrainingBench
from bench.setup import Measurements, Setup, arrays, check_batch
from bench.worker import WorkerProcess, timed
from shiftscope.models.forward import to_pixels
from shiftscope.progress import SilentProgress
from shiftscope.settings import TrainSettings
from shiftscope.training import train

BUDGET = 30.0
"""Seconds per model for all rounds if the number of steps is not set: both models take a minute."""

TRIAL_STEPS = 3
"""Steps of the first call of each method, which is the warm-up and measures the time per step."""

GROWTH_STEPS = 5
"""Steps per canvas and width; up to eight times as many for images."""

WHAT = {
    "notebook": "PIL crop, ToTensor, Normalize image by image, DataLoader, plain loop, AdamW",
    OURS: "shiftscope train",
    "bare": "only forward, backward and step on one prepared batch, with our memory layout and micro-batches",
    "batches": "only our batches: order, placements, full canvases, pixels",
}


def measure_training(settings: TrainingBench, setup: Setup) -> Measurements:
    """Measure an epoch of each model, and its growth.

    Raises:
        UsageError: an unknown model, or fewer training images than a batch.
    """
    check_batch(setup.data.train, settings.batch_size, setup.data.name)
    for name in settings.model:
        setup.build(name)  # an unknown name fails before the measurements
    peers, notes = installed_peers()
    speed = product_speed(setup.device)
    comparisons = [_compare(name, settings, setup, peers, speed) for name in settings.model]
    growth = [line for name in settings.model for line in _grow(name, settings, setup)] if settings.growth else []
    return Measurements(comparisons=comparisons, growth=growth, notes=notes)


def _compare(name: str, settings: TrainingBench, setup: Setup, peers: dict[str, Callable[..., Any]],
             speed: float) -> Comparison:
    """Compare the methods for one model."""
    batch, epoch = settings.batch_size, len(setup.data.train)
    most = epoch // batch
    with ExitStack() as stack:
        given = (name, *arrays(setup.data.train), setup.placement.canvas, batch, setup.data.classes, str(setup.device))
        ways = {"notebook": notebook_training} | {way: make for way, make in peers.items() if name in NOTEBOOK_MODELS}
        contestants: dict[str, Callable[[int], float]] = {
            way: stack.enter_context(WorkerProcess(make, *given)) for way, make in ways.items()}
        ours = partial(_ours, setup, setup.build(name), name, batch)
        contestants |= {OURS: ours, "bare": _bare(setup, setup.build(name), batch, _plan(setup, name, batch)),
                        "batches": partial(make_batches, setup, batch, normalize=False)}
        trial = sum(run(min(TRIAL_STEPS, most)) for run in contestants.values()) / min(TRIAL_STEPS, most)
        steps = min(settings.steps or max(round(BUDGET / settings.repeats / trial), 2), most)
        seconds = in_turns({way: (lambda _, run=run: run(steps)) for way, run in contestants.items()},
                           settings.repeats, f"bench training {name}", setup.progress)
    scale = epoch / (steps * batch)
    an_epoch = {way: [scale * value for value in values] for way, values in seconds.items()}
    figures = {"steps": steps, "ours_step_ms": 1000 * statistics.median(seconds[OURS]) / steps}
    figures |= _limits(setup, name, batch, an_epoch, speed)
    what = WHAT | {way: make.__doc__.splitlines()[0] for way, make in peers.items() if make.__doc__}
    unit = f"seconds per epoch of {epoch:,} images, from {steps} steps of {batch} per round"
    return compare(name, unit, what, an_epoch, figures)


def _limits(setup: Setup, name: str, batch: int, seconds: dict[str, list[float]], speed: float) -> dict[str, float]:
    """Return the batches' fraction of an epoch, and the time of its arithmetic alone at `speed` operations/s."""
    model, (pixels, labels) = setup.build(name), _ready(setup, batch)
    operations = count_operations(model, pixels, labels)
    limit = operations * len(setup.data.train) / batch / speed
    fraction = statistics.median(part / whole for part, whole in zip(seconds["batches"], seconds[OURS], strict=True))
    return {"pipeline_share": fraction, "step_gflop": operations / 1e9, "product_gflop_per_second": speed / 1e9,
            "arithmetic_seconds": limit, "ours_over_arithmetic": statistics.median(seconds[OURS]) / limit}


def _plan(setup: Setup, name: str, batch: int) -> dict[str, Any]:
    """Return the memory layout and the micro-batches that `train` chooses."""
    result = train(setup.build(name), setup.data.limit(batch), placement=setup.placement, name=name,
                  settings=_settings(batch))
    return result.settings.get("plan", {})


def _settings(batch: int) -> TrainSettings:
    return TrainSettings(epochs=1, batch_size=batch, validation=0)


def _ours(setup: Setup, model: nn.Module, name: str, batch: int, steps: int) -> float:
    """Train for some steps; return the seconds of the steps alone, as stored by a run."""
    return train(model, setup.data.limit(steps * batch), placement=setup.placement, name=name,
                 settings=_settings(batch), progress=SilentProgress()).train_seconds


def _ready(setup: Setup, batch: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return one batch, pixels (B, C, H, W) and labels (B,), on the device."""
    first = torch.arange(batch)
    images, labels = setup.data.train.gather(first).to(setup.device), setup.data.train.labels[first].to(setup.device)
    return to_pixels(setup.placement.place(images, setup.placement.sample(first, seed=0))), labels


def _bare(setup: Setup, model: nn.Module, batch: int, plan: dict[str, Any]) -> Callable[[int], float]:
    """Return a function that runs steps on a prepared batch, with gradients summed over micro-batches as in ours."""
    pixels, labels = _ready(setup, batch)
    if plan.get("channels_last"):
        model = model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        pixels = pixels.contiguous(memory_format=torch.channels_last)
    size = plan.get("micro_batch") or batch
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    pieces = list(zip(pixels.split(size), labels.split(size), strict=True))
    model.train()

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        for part, wanted in pieces:
            (F.cross_entropy(model(part), wanted, reduction="sum") / batch).backward()
        optimizer.step()

    return lambda steps: timed(lambda: [step() for _ in range(steps)], setup.device)


def _grow(name: str, settings: TrainingBench, setup: Setup) -> list[GrowthLine]:
    """Measure our seconds against images, canvas and width."""
    batch, unit = settings.batch_size, "seconds of training steps"
    most = len(setup.data.train) // batch
    steps = min(settings.steps or GROWTH_STEPS, most)

    def line(axis: str, runs: dict[int, Callable[[], float]]) -> GrowthLine:
        return grow(name, axis, unit, runs, settings.repeats, setup.progress)

    model = setup.build(name)
    lines = [line("images", {count * batch: partial(_ours, setup, model, name, batch, count)
                             for count in doublings(min(8 * steps, most))})]
    lines.append(line("canvas pixels", {at.area: partial(_ours, at, at.build(name), name, batch, steps)
                                        for at in setup.canvases()}))
    axis, wider = setup.widths(name)
    if wider:
        lines.append(line(axis, {width: partial(_ours, setup, one, name, batch, steps)
                                 for width, one in wider.items()}))
    return lines
