"""Speed of feature visualization: all units of a layer in one batch, against one unit at a time."""

from collections.abc import Callable
from functools import partial

import torch
from torch import nn

from bench.record import OURS, Comparison, GrowthLine, compare
from bench.rounds import grow, in_turns
from bench.settings import VisualizeBench
from bench.setup import Measurements, Setup
from bench.worker import timed
from shiftscope.hooks import channels_last, frozen
from shiftscope.models.forward import device_and_dtype
from shiftscope.progress import SilentProgress
from shiftscope.settings import SynthesisSettings
from shiftscope.visualization import default_objectives, visualize
from shiftscope.visualization.feature_extractor import FeatureExtractor
from shiftscope.visualization.model_info import inspect_model
from shiftscope.visualization.objectives import objective
from shiftscope.visualization.presets import resolve_settings
from shiftscope.visualization.synthesis import make_plan, maximize
from shiftscope.visualization.targets import resolve_objective

WHAT = {
    OURS: "shiftscope visualize: all units in one batch",
    "one by one": "the same gradient ascent with the same plan, one unit at a time",
}


def measure_visualize(settings: VisualizeBench, setup: Setup) -> Measurements:
    """Measure the synthesis of images for each model's classes and hidden neurons, and its growth.

    Early stopping is off, so that both methods take the same number of steps.

    Raises:
        UsageError: an unknown model, or units that a layer does not have.
    """
    models = {name: setup.build(name) for name in settings.model}
    synthesis = SynthesisSettings(patience=0, steps=settings.steps)
    comparisons = [_compare(f"{name} {goal}", model, goal, synthesis, setup) for name, model in models.items()
                   for goal in goals(model, settings.units, setup.data.shape[0], setup.placement.canvas)]
    growth = [line for name in models for line in _grow(name, synthesis, setup)] if settings.growth else []
    return Measurements(comparisons=comparisons, growth=growth, notes=[])


def goals(model: nn.Module, units: str, channels: int, canvas: tuple[int, int]) -> list[str]:
    """Return the objectives: the chosen units of the classes and of the first fully connected layer.

    >>> from shiftscope.models import TwoFullNet
    >>> goals(TwoFullNet(), "0-2", 1, (56, 56))
    ['class:0-2', 'fc1:0-2']
    """
    objectives = default_objectives(model, (channels, *canvas))
    return objectives if units == "all" else [f"{goal.partition(':')[0]}:{units}" for goal in objectives]


def _compare(title: str, model: nn.Module, goal: str, synthesis: SynthesisSettings, setup: Setup) -> Comparison:
    """Compare both methods for one objective."""
    contestants: dict[str, Callable[[int], float]] = {
        OURS: lambda _: batch(model, goal, synthesis, setup),
        "one by one": lambda _: one_by_one(model, goal, synthesis, setup)}
    batch(model, goal, synthesis, setup)  # imports, first allocations
    seconds = in_turns(contestants, setup.repeats, f"bench visualize {title}", setup.progress)
    units, steps = _size(model, goal, synthesis, setup)
    return compare(title, f"seconds for {units} images, {steps} steps each", WHAT, seconds,
                   {"units": units, "steps": steps})


def batch(model: nn.Module, goal: str, synthesis: SynthesisSettings, setup: Setup, copies: int = 1) -> float:
    """Return the seconds of `visualize` for all units in one batch, with `copies` images per unit."""
    shape = (setup.data.shape[0], *setup.placement.canvas)
    return timed(lambda: visualize(model, goal, settings=synthesis, shape=shape, copies=copies), setup.device)


def one_by_one(model: nn.Module, goal: str, synthesis: SynthesisSettings, setup: Setup) -> float:
    """Return the seconds of our fastest loop over the units: it inspects and checks the model only once."""
    return timed(lambda: _loop(model, goal, synthesis, setup), setup.device)


def _loop(model: nn.Module, goal: str, synthesis: SynthesisSettings, setup: Setup) -> None:
    info = inspect_model(model, (setup.data.shape[0], *setup.placement.canvas))
    (device, dtype), silent = device_and_dtype(model), SilentProgress()
    extractor = FeatureExtractor(model, dtype)
    with frozen(model):
        target = resolve_objective(objective(goal), info, extractor=extractor)
        chosen = resolve_settings(synthesis, info.shape, classes=target.only_classes, has_position=target.has_position,
                                  first_layer=info.first_weighted in target.layers,
                                  starts_with_linear=info.starts_with_linear)
        plan = make_plan(target, chosen, info, start=chosen.start, device=device, dtype=dtype)
        with channels_last(model):
            for row in torch.arange(len(target.names), device=device).split(1):
                maximize(extractor, plan, row, silent.task("", 0))


def _size(model: nn.Module, goal: str, synthesis: SynthesisSettings, setup: Setup) -> tuple[int, int]:
    """Return the number of images and of steps."""
    result = visualize(model, goal, settings=synthesis, shape=(setup.data.shape[0], *setup.placement.canvas))
    return len(result.units), int(result.settings["steps"])


def _grow(name: str, synthesis: SynthesisSettings, setup: Setup) -> list[GrowthLine]:
    """Measure the batch against the number of images, canvas and width; the objective is the first hidden layer."""
    def line(axis: str, runs: dict[int, Callable[[], float]]) -> GrowthLine:
        return grow(name, axis, "seconds of a synthesis", runs, setup.repeats, setup.progress)

    model = setup.build(name)
    goal = default_objectives(model, (setup.data.shape[0], *setup.placement.canvas))[-1]
    layer, (units, _) = goal.partition(":")[0], _size(model, goal, synthesis, setup)
    lines = [line("images", {units * copies: partial(batch, model, f"{layer}:all", synthesis, setup, copies)
                             for copies in (1, 2, 4, 8)}),
             line("canvas pixels", {at.area: partial(batch, at.build(name), f"{layer}:all", synthesis, at)
                                    for at in setup.canvases()})]
    axis, wider = setup.widths(name)
    if wider:
        lines.append(line(axis, {width: partial(batch, one, "class:all", synthesis, setup)
                                 for width, one in wider.items()}))
    return lines
