"""Pictures that excite units of a model: from an objective to a `Synthesis`."""

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch

from shiftscope.data import ImageSet
from shiftscope.distributed import gathered, group, together
from shiftscope.errors import ShiftscopeError
from shiftscope.hooks import channels_last, frozen
from shiftscope.models.adapt import Normalization, adapt, differentiable, title_of
from shiftscope.models.forward import device_and_dtype, evaluating
from shiftscope.modules import Classifier, as_module, reports_model_errors
from shiftscope.outputs import predicted_classes
from shiftscope.placement import Placement
from shiftscope.progress import Progress, SilentProgress
from shiftscope.results import Synthesis
from shiftscope.settings import SynthesisSettings
from shiftscope.visualization.anatomy import CLASSES, examine, picture_shape
from shiftscope.visualization.binding import Target, bind
from shiftscope.visualization.language import objective
from shiftscope.visualization.objectives import Objective
from shiftscope.visualization.plan import Plan, climb, make_plan
from shiftscope.visualization.presets import resolve
from shiftscope.visualization.probe import Probe, in_chunks
from shiftscope.visualization.starts import start_name
from shiftscope.visualization.transforms import Transform


@together("progress")
@reports_model_errors
def visualize(model: Classifier, goal: str | Objective = "class:all", *, start: Any = None,
              settings: SynthesisSettings | None = None, shape: Sequence[int] | None = None,
              class_names: Sequence[str] = (), normalize: Normalization | None = None,
              preprocess: Callable[[torch.Tensor], torch.Tensor] | None = None, name: str | None = None,
              images: ImageSet | None = None, placement: Placement | None = None, copies: int = 1,
              transforms: Sequence[Transform] = (), judge: Classifier | None = None,
              progress: Progress | None = None) -> Synthesis:
    """Make a picture for each unit that excites it as much as possible, all units in one batch.

    Classes are climbed before the softmax where the model ends in one; layers as their module gives them, so the
    neurons of `fc1` before their ReLU and those of `fc1+relu` after it; a channel of a convolution as the mean over
    its places. The model is left as it was: modes, gradients, hooks, random state.

    Args:
        model: takes pixels (batch, C, H, W) in [0, 1]; on any device.
        goal: "class:2", "class:Bag", "class:all", "fc1:0-99", "conv2:7", "conv2:7@3,4", "conv2:*", a sum as in
            "class:Bag - 0.5 class:Shirt", see `language.objective`; or `Objective`s put together.
        start: "zero" (mid-gray), "black", "random", "mean" (of the images), the number of an image, or a picture
            (C, H, W), uint8 or in [0, 1]. Unless given: zero for units of the first layer, which weigh pixels up and
            down alike, and what the preset says for all others: black, an empty canvas, for gray nets.
        settings: how; what is open in them is taken from the preset that suits the model's pictures.
        shape: (C, H, W) of the model's pictures; its attribute `picture` unless given.
        class_names: for objectives like "class:Bag".
        normalize: (mean, std) for a model that wants its pixels normalized.
        preprocess: instead of `normalize`, whatever the model wants done to pixels first.
        name: of the model, in tables and figures.
        images: the training images, for starts made of them and for the parametrization maco.
        placement: how such images lie on the model's canvas; says how large the picture of a class is to be.
        copies: pictures of each unit, which begin apart; add `diversity` to the goal to keep them so.
        transforms: done to each view besides what the settings say, see `transforms`.
        judge: another classifier of the same pictures and classes, which says what it takes the results for.

    Returns:
        Images (U, C, H, W), what they reach, and what the model takes them for.

    Raises:
        UsageError: an unknown layer or class, a unit out of range, a start of another size, a score that does not
            depend on the picture, images missing where they are needed; the model raises.

    Example:
        >>> from shiftscope.models import TwoFullNet
        >>> found = visualize(TwoFullNet(canvas=(12, 10)), "fc1:0-3", settings=SynthesisSettings(steps=8))
        >>> found.units, found.images.shape, bool((found.activations > found.activations_start).all())
        (['fc1:0', 'fc1:1', 'fc1:2', 'fc1:3'], (4, 1, 12, 10), True)

    References:
        Erhan, Bengio, Courville & Vincent, "Visualizing higher-layer features of a deep network", 2009.
        Olah, Mordvintsev & Schubert, "Feature visualization", Distill, 2017.
    """
    begun = time.perf_counter()
    title, sizes = name or title_of(model), picture_shape(as_module(model), shape)
    prepared = differentiable(adapt(model, normalize=normalize, preprocess=preprocess, shape=sizes))
    goal = objective(goal, class_names) if isinstance(goal, str) else goal
    anatomy = examine(prepared, sizes, class_names)
    device, dtype = device_and_dtype(prepared)
    probe = Probe(prepared, dtype)
    with frozen(prepared):
        target = bind(goal, anatomy, copies=copies, ask=probe.ask_layer)
        chosen = resolve(settings or SynthesisSettings(), anatomy.shape, classes=target.of_classes,
                         first=any(map(anatomy.reads_pixels, target.layers)), placed=target.placed,
                         anchored=anatomy.knows_places, placement=placement)
        start = chosen.start if start is None else start
        plan = make_plan(target, chosen, anatomy, start=start, images=images, placement=placement,
                         transforms=transforms, device=device, dtype=dtype)
        found = _climb_all(probe, plan, f"{title} {goal}", progress or SilentProgress())
    if not np.isfinite(found["images"]).all():
        raise ShiftscopeError(f"the pictures of {goal} are not finite: the gradient of {title} holds NaN or infinity; "
                              "look for it in the model's weights")
    return Synthesis(model=title, objective=str(goal), units=target.names, class_names=list(class_names),
                     start=start_name(start), settings=chosen.to_dict() | {"start": start_name(start)},
                     device=str(device), seconds=time.perf_counter() - begun, notes=_notes(target, found), **found,
                     judged=_judged(judge, found["images"]) if judge is not None else np.zeros(0, np.int64))


@reports_model_errors
def default_objectives(model: Classifier, shape: Sequence[int] | None = None) -> list[str]:
    """Return what is worth seeing first: all classes, and (up to 100) neurons of the first fully connected layer.

    Example:
        >>> from shiftscope.models import TwoFullNet
        >>> default_objectives(TwoFullNet())
        ['class:all', 'fc1:all']
    """
    sizes = picture_shape(as_module(model), shape)
    anatomy = examine(adapt(model, shape=sizes), sizes)
    layer = anatomy.first_linear
    if layer is None:
        return [f"{CLASSES}:all"]
    return [f"{CLASSES}:all", f"{layer}:all" if anatomy.units(layer) <= 100 else f"{layer}:0-99"]


def _climb_all(probe: Probe, plan: Plan, title: str, progress: Progress) -> dict[str, np.ndarray]:
    """Make all pictures, chunk by chunk; the processes of a group share the chunks."""
    rows = torch.arange(len(plan.target.names), device=plan.logits.device)
    chunks = [(number, chunk) for number, chunk in enumerate(rows.split(plan.chunk)) if group().owns(number)]
    task = progress.task(title, len(chunks) * plan.settings.steps, "steps")
    begin = plan.frame.pixels(plan.logits)
    layout = channels_last(probe.model) if probe.takes_channels_last(plan.target, begin) else nullcontext()
    own = []
    try:
        with layout:
            probe.check(plan.target, begin)
            for number, chunk in chunks:
                parts = in_chunks(lambda some: climb(probe, plan, some, task), chunk, plan.chunk, plan.target.copies)
                own.append((number, _merged(parts)))
    finally:
        task.close()
    every = sorted((part for found in gathered(own) for part in found), key=lambda part: part[0])
    return {key: np.concatenate([part[key] for _, part in every]) for key in every[0][1]}


def _merged(parts: list[dict[str, torch.Tensor]]) -> dict[str, np.ndarray]:
    merged = {key: torch.cat([part[key] for part in parts]).cpu() for key in parts[0]}
    return {key: (value.float() if value.is_floating_point() else value).numpy() for key, value in merged.items()}


def _judged(judge: Classifier, images: np.ndarray) -> np.ndarray:
    """Return the class that another model takes each picture for."""
    judge = adapt(judge, shape=images.shape[1:])
    device, dtype = device_and_dtype(judge)
    with evaluating(judge):
        return predicted_classes(judge(torch.from_numpy(images).to(device, dtype))).cpu().numpy()


def _notes(target: Target, found: dict[str, np.ndarray]) -> list[str]:
    dead = [name for name, is_dead in zip(target.names, found["dead"], strict=True) if is_dead]
    if not dead:
        return []
    listed = ", ".join(dead[:10]) + (", ..." if len(dead) > 10 else "")
    return [f"{len(dead)} of {len(target.names)} units stay silent: their own picture does not bring them above zero "
            f"(a channel in the mean over its places), or no pixel changes them ({listed})"]
