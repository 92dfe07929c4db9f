"""Speed of an audit of every placement: the dense engine, brute force, and a plain script."""

from collections.abc import Callable
from functools import partial

import torch
from torch import nn

from bench.plain_script import plain_audit
from bench.record import OURS, Comparison, GrowthLine, compare
from bench.rounds import doublings, grow, in_turns
from bench.settings import AuditBench
from bench.setup import Measurements, Setup, arrays
from bench.worker import WorkerProcess, timed
from shiftscope.auditing import audit
from shiftscope.auditing.self_check import IMAGES
from shiftscope.evaluation.brute import BruteForceEngine

WHAT = {
    OURS: "shiftscope audit with the dense engine, including self-check and setup",
    "brute": "the model itself at every placement, in chunks that fit the processor caches, with all optimizations",
    "plain": "every window cut out of a large field, image by image, and passed to the model",
}


def measure_audit(settings: AuditBench, setup: Setup) -> Measurements:
    """Measure the audit of each model in seconds per image, and its growth.

    Raises:
        UsageError: an unknown model.
        ShiftscopeError: a model that the dense engine does not support.
    """
    models = {name: setup.build(name) for name in settings.model}
    comparisons = [_compare(name, model, settings, setup) for name, model in models.items()]
    growth = [line for name in models for line in _grow(name, settings, setup)] if settings.growth else []
    return Measurements(comparisons=comparisons, growth=growth, notes=[])


def _compare(name: str, model: nn.Module, settings: AuditBench, setup: Setup) -> Comparison:
    """Compare the audits of one model; brute force and the script get other images in each round."""
    test, count = setup.data.test, min(settings.images, len(setup.data.test))
    sample = min(settings.sample, len(test) // settings.repeats or 1)
    images, _ = arrays(test, sample * settings.repeats)
    brute = BruteForceEngine(model, setup.placement, setup.data.shape)
    with WorkerProcess(plain_audit, name, images, setup.placement.canvas, setup.data.classes,
                       str(setup.device)) as plain:

        def image_range(turn: int) -> tuple[int, int]:
            first = turn * sample % len(images)
            return first, min(first + sample, len(images))

        def by_brute_force(turn: int) -> float:
            first, end = image_range(turn)
            some = torch.from_numpy(images[first:end]).to(setup.device)
            return timed(lambda: [brute.logits(part) for part in some.split(brute.images_per_call)], setup.device) / (
                end - first)

        def by_script(turn: int) -> float:
            first, end = image_range(turn)
            return plain(first, end) / (end - first)

        contestants: dict[str, Callable[[int], float]] = {
            OURS: lambda _: _dense(model, setup, count) / count, "brute": by_brute_force, "plain": by_script}
        for run in contestants.values():
            run(0)  # imports, first allocations
        seconds = in_turns(contestants, settings.repeats, f"bench audit {name}", setup.progress)
    unit = (f"seconds per image at all {setup.placement.count:,} placements, from {count:,} images (ours) and {sample} "
            "(the others) per round")
    return compare(name, unit, WHAT, seconds, {"images": count, "sample": sample, "placements": setup.placement.count})


def _dense(model: nn.Module, setup: Setup, count: int) -> float:
    """Return the seconds of an audit of the first images."""
    return audit(model, setup.data.limit(count), placement=setup.placement, engine="dense").seconds


def beyond_fixed(model: nn.Module, setup: Setup, count: int) -> float:
    """Return the seconds of an audit minus those of an audit of `IMAGES` images, which is little but fixed cost.

    Reading the graph, the timed trial, and the self-check of `IMAGES` images at some placements occur once per audit.
    """
    few = _dense(model, setup, IMAGES) if count > IMAGES else 0.0
    return _dense(model, setup, count) - few


def _grow(name: str, settings: AuditBench, setup: Setup) -> list[GrowthLine]:
    """Measure complete audits against images, canvas, width and number of placements."""
    count, unit = min(settings.images, len(setup.data.test)), "seconds of an audit"

    def line(axis: str, runs: dict[int, Callable[[], float]]) -> GrowthLine:
        return grow(name, axis, unit, runs, settings.repeats, setup.progress)

    model = setup.build(name)
    images = {some: partial(beyond_fixed, model, setup, some) for some in doublings(len(setup.data.test))}
    lines = [grow(name, "images", "seconds of an audit without its fixed cost", images, settings.repeats,
                  setup.progress),
             line("canvas pixels", {at.area: partial(_dense, at.build(name), at, count) for at in setup.canvases()})]
    axis, wider = setup.widths(name)
    if wider:
        lines.append(line(axis, {width: partial(_dense, one, setup, count) for width, one in wider.items()}))
    fewer = [setup.narrowed(shift) for shift in doublings(max(setup.placement.middle))]
    lines.append(line("placements", {at.placement.count: partial(_dense, model, at, count) for at in fewer}))
    return lines
