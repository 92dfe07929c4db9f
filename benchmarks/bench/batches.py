"""Speed of batches without a model: one gather and one placement per batch, against PIL and a DataLoader."""

from collections.abc import Callable
from functools import partial

import torch

from bench.notebook_way import MEAN, STD, notebook_batches
from bench.record import OURS, GrowthLine, compare
from bench.rounds import doublings, grow, in_turns
from bench.settings import DataBench
from bench.setup import Measurements, Setup, arrays, check_batch
from bench.worker import WorkerProcess, timed
from shiftscope.models.forward import to_pixels

WHAT = {
    OURS: "order, placements, one gather and one placement per batch, pixels normalized",
    "notebook": "PIL crop, ToTensor, Normalize image by image, batches from a DataLoader",
}


def measure_batches(settings: DataBench, setup: Setup) -> Measurements:
    """Measure an epoch of batches with both methods, and its growth.

    Raises:
        UsageError: fewer training images than a batch.
    """
    check_batch(setup.data.train, settings.batch_size, setup.data.name)
    batch, epoch = settings.batch_size, len(setup.data.train)
    steps = min(settings.steps, epoch // batch)
    with WorkerProcess(notebook_batches, *arrays(setup.data.train), setup.placement.canvas, batch,
                       str(setup.device)) as worker:
        contestants: dict[str, Callable[[int], float]] = {
            "notebook": lambda _: worker(steps), OURS: lambda _: make_batches(setup, batch, steps)}
        for run in contestants.values():
            run(0)  # imports, first allocations
        seconds = in_turns(contestants, settings.repeats, "bench data", setup.progress)
    scale = epoch / (steps * batch)
    an_epoch = {way: [scale * value for value in values] for way, values in seconds.items()}
    unit = f"seconds per epoch of {epoch:,} images, from {steps} batches of {batch} per round"
    result = compare(setup.data.name, unit, WHAT, an_epoch, {"steps": steps})
    rates = {f"{one['name']}_images_per_second": epoch / one["median"] for one in result["contestants"]}
    result["figures"] |= rates
    growth = _grow(batch, steps, setup) if settings.growth else []
    return Measurements(comparisons=[result], growth=growth, notes=[])


def make_batches(setup: Setup, batch: int, steps: int, *, normalize: bool = True) -> float:
    """Create batches as training does, with full canvases, optionally normalized; return the seconds."""
    images = setup.data.limit(steps * batch).train.to(setup.device)

    def make() -> None:
        order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
        offsets = setup.placement.sample(order, seed=0)
        for chosen, where in zip(order.split(batch), offsets.split(batch), strict=True):
            pixels = to_pixels(setup.placement.place(images.gather(chosen), where))
            if normalize:
                pixels.sub_(MEAN).div_(STD)

    return timed(make, setup.device)


def _grow(batch: int, steps: int, setup: Setup) -> list[GrowthLine]:
    """Measure our seconds against images and canvas."""
    unit = "seconds of making batches"
    images = {count * batch: partial(make_batches, setup, batch, count) for count in doublings(steps)}
    canvases = {at.area: partial(make_batches, at, batch, steps) for at in setup.canvases()}
    return [grow("batches", axis, unit, runs, setup.repeats, setup.progress)
            for axis, runs in (("images", images), ("canvas pixels", canvases))]
