"""Every placement: the dense engine, brute force, and a plain script."""

from collections.abc import Callable
from functools import partial

import torch
from torch import nn

from bench.apart import Apart, timed
from bench.plain_script import plain_audit
from bench.record import OURS, Comparison, GrowthLine, compare
from bench.rounds import doublings, grow, in_turns
from bench.settings import AuditBench
from bench.stage import Found, Stage, arrays
from shiftscope.auditing import audit
from shiftscope.auditing.self_check import IMAGES
from shiftscope.evaluation.brute import BruteForceEngine

WHAT = {
    OURS: "shiftscope audit with the dense engine, self-check and start included",
    "brute": "the model itself at every placement, in chunks that suit the caches, with all shortcuts",
    "plain": "every window cut out of a large field, image by image, and shown to the model",
}


def measure_audit(settings: AuditBench, stage: Stage) -> Found:
    """Measure the audit of each model, seconds an image, and how it grows.

    Raises:
        UsageError: an unknown model.
        ShiftscopeError: a model that the dense engine cannot take.
    """
    models = {name: stage.build(name) for name in settings.model}
    comparisons = [_compare(name, model, settings, stage) for name, model in models.items()]
    growth = [line for name in models for line in _grow(name, settings, stage)] if settings.growth else []
    return Found(comparisons=comparisons, growth=growth, notes=[])


def _compare(name: str, model: nn.Module, settings: AuditBench, stage: Stage) -> Comparison:
    """Put one model's audit side by side; brute force and the script see other images each round."""
    test, count = stage.data.test, min(settings.images, len(stage.data.test))
    sample = min(settings.sample, len(test) // settings.repeats or 1)
    images, _ = arrays(test, sample * settings.repeats)
    brute = BruteForceEngine(model, stage.placement, stage.data.shape)
    with Apart(plain_audit, name, images, stage.placement.canvas, stage.data.classes, str(stage.device)) as plain:

        def place(turn: int) -> tuple[int, int]:
            first = turn * sample % len(images)
            return first, min(first + sample, len(images))

        def by_brute_force(turn: int) -> float:
            first, end = place(turn)
            some = torch.from_numpy(images[first:end]).to(stage.device)
            return timed(lambda: [brute.logits(part) for part in some.split(brute.images_per_call)], stage.device) / (
                end - first)

        def by_script(turn: int) -> float:
            first, end = place(turn)
            return plain(first, end) / (end - first)

        contestants: dict[str, Callable[[int], float]] = {
            OURS: lambda _: _dense(model, stage, count) / count, "brute": by_brute_force, "plain": by_script}
        for run in contestants.values():
            run(0)  # imports, first allocations
        seconds = in_turns(contestants, settings.repeats, f"bench audit {name}", stage.progress)
    unit = (f"seconds an image at all {stage.placement.count:,} placements, from {count:,} images (ours) and {sample} "
            "(the others) a turn")
    return compare(name, unit, WHAT, seconds, {"images": count, "sample": sample, "placements": stage.placement.count})


def _dense(model: nn.Module, stage: Stage, count: int) -> float:
    """Return the seconds of a whole audit of the first images."""
    return audit(model, stage.data.limit(count), placement=stage.placement, engine="dense").seconds


def beyond_fixed(model: nn.Module, stage: Stage, count: int) -> float:
    """Return the seconds of an audit less those of one of so few images that little but its fixed part is left.

    Reading the graph, the trial and a self-check of `IMAGES` images at some placements are paid once an audit.
    """
    few = _dense(model, stage, IMAGES) if count > IMAGES else 0.0
    return _dense(model, stage, count) - few


def _grow(name: str, settings: AuditBench, stage: Stage) -> list[GrowthLine]:
    """Measure whole audits against images, canvas, width and number of placements."""
    count, unit = min(settings.images, len(stage.data.test)), "seconds of a whole audit"

    def line(axis: str, runs: dict[int, Callable[[], float]]) -> GrowthLine:
        return grow(name, axis, unit, runs, settings.repeats, stage.progress)

    model = stage.build(name)
    images = {some: partial(beyond_fixed, model, stage, some) for some in doublings(len(stage.data.test))}
    lines = [grow(name, "images", "seconds of an audit, less its fixed part", images, settings.repeats, stage.progress),
             line("canvas pixels", {at.area: partial(_dense, at.build(name), at, count) for at in stage.canvases()})]
    axis, wider = stage.widths(name)
    if wider:
        lines.append(line(axis, {width: partial(_dense, one, stage, count) for width, one in wider.items()}))
    fewer = [stage.narrowed(shift) for shift in doublings(max(stage.placement.middle))]
    lines.append(line("placements", {at.placement.count: partial(_dense, model, at, count) for at in fewer}))
    return lines
