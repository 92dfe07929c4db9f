"""Activation maximization: synthesizes images that maximize an objective."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch

from shiftscope.data import ImageSet
from shiftscope.distributed import gathered, group, together
from shiftscope.errors import ShiftscopeError, UsageError
from shiftscope.hooks import channels_last, frozen
from shiftscope.models.adapt import Normalization, adapt, differentiable, title_of
from shiftscope.models.forward import device_and_dtype, evaluating
from shiftscope.modules import Classifier, as_module, model_name, reports_model_errors
from shiftscope.outputs import predicted_classes
from shiftscope.placement import Placement
from shiftscope.progress import Progress, SilentProgress, Task
from shiftscope.results import Synthesis
from shiftscope.settings import SynthesisSettings
from shiftscope.visualization.feature_extractor import FeatureExtractor, batch_size_for, in_chunks, predictions_of
from shiftscope.visualization.gradient_ascent import ascend
from shiftscope.visualization.initial_images import initial_images, seeded_noise
from shiftscope.visualization.model_info import CLASSES, OUTPUT, ModelInfo, input_shape, inspect_model
from shiftscope.visualization.objectives import Objective, objective
from shiftscope.visualization.parametrization import Fourier, Frame, Parametrization, maco, soft_window, to_logits
from shiftscope.visualization.presets import ResolvedSynthesis, resolve_settings
from shiftscope.visualization.targets import Target, resolve_objective
from shiftscope.visualization.transforms import Blur, Jitter, Noise, Scale, Transform, compose

DITHER = 1e-3  # std of noise on all initial logits, which breaks ties of maxima on a uniform canvas
TRIAL_STEPS = 3  # of the ascent, for an estimate of its time
COPY_NOISE = 0.3  # std of noise on the initial logits of several images of one unit, which would else stay equal


@together("progress")
@reports_model_errors
def visualize(model: Classifier, goal: str | Objective = "class:all", *, start: Any = None,
              settings: SynthesisSettings | None = None, shape: Sequence[int] | None = None,
              class_names: Sequence[str] = (), normalize: Normalization | None = None,
              preprocess: Callable[[torch.Tensor], torch.Tensor] | None = None, name: str | None = None,
              images: ImageSet | None = None, placement: Placement | None = None, copies: int = 1,
              transforms: Sequence[Transform] = (), judge: Classifier | None = None,
              progress: Progress | None = None) -> Synthesis:
    """Synthesize an image for each unit of an objective that maximizes its activation (activation maximization).

    Class objectives use logits before a final softmax. Other units use the output of their module: `fc1` is the output
    before a ReLU, `fc1+relu` after it. The activation of a channel is the mean over its positions.

    Args:
        model: takes pixels (batch, C, H, W) in [0, 1]; on any device. Its state is restored.
        goal: an objective, as "class:Bag", "fc1:0-99" or "class:Bag - 0.5 class:Shirt", see `objective`.
        start: "zero" (mid-gray), "black", "random", "mean" (of the images), the index of an image, or an image
            (C, H, W), uint8 or in [0, 1]. By default "zero" for units of the first layer, else that of the preset:
            "black" for gray models.
        settings: of the ascent; open values are taken from a preset for the model's input.
        shape: (C, H, W) of the model's input; by default its attribute `input_shape`, which models of Shiftscope have.
        class_names: for objectives like "class:Bag".
        normalize: (mean, std) for a model that expects normalized pixels.
        preprocess: replaces `normalize`: any function of pixels.
        name: of the model, in tables and figures.
        images: the training images, for starts and the parametrization maco that use them.
        placement: of the images on the model's canvas; defines the size of class images.
        copies: images per unit; add `diversity` to the goal to make them differ.
        transforms: additional transforms of each view.
        judge: another classifier with the same input and classes, whose predictions are recorded.

    Returns:
        Images (U, C, H, W) with their activations and predictions.

    Raises:
        UsageError: if a layer, class or unit is unknown, the start has the wrong size, the score does not depend on the
            image, `images` are missing, or the model raises an error.

    Example:
        >>> from shiftscope.models import TwoFullNet
        >>> result = visualize(TwoFullNet(canvas=(12, 10)), "fc1:0-3", settings=SynthesisSettings(steps=8))
        >>> result.units, result.images.shape, bool((result.activations > result.activations_start).all())
        (['fc1:0', 'fc1:1', 'fc1:2', 'fc1:3'], (4, 1, 12, 10), True)

    References:
        Erhan, Bengio, Courville & Vincent, "Visualizing higher-layer features of a deep network", 2009.
        Olah, Mordvintsev & Schubert, "Feature visualization", Distill, 2017.
    """
    start_time = time.perf_counter()
    with _prepared(model, goal, start=start, settings=settings, shape=shape, class_names=class_names,
                   normalize=normalize, preprocess=preprocess, name=name, images=images, placement=placement,
                   copies=copies, transforms=transforms) as ready:
        title, goal, plan = ready.title, ready.goal, ready.plan
        arrays = _synthesize(ready.extractor, plan, f"{title} {goal}", progress or SilentProgress())
    target = plan.target
    if not np.isfinite(arrays["images"]).all():
        raise ShiftscopeError(f"the images of {goal} are not finite: the gradient of {title} holds NaN or infinity; "
                              "check the model's weights")
    start = ready.start if isinstance(ready.start, str) else "image"
    return Synthesis(model=title, objective=str(goal), units=target.names, class_names=list(class_names), start=start,
                     settings=plan.settings.to_dict() | {"start": start}, device=str(plan.logits.device),
                     notes=_notes(target, arrays),
                     seconds=time.perf_counter() - start_time,
                     judged=np.zeros(0, np.int64) if judge is None else judge_images(judge, arrays["images"]), **arrays)


@dataclass(frozen=True, kw_only=True)
class _Prepared:
    """A model that is ready for the ascent."""

    title: str
    goal: Objective
    start: Any
    extractor: FeatureExtractor
    plan: "Plan"


@contextmanager
def _prepared(model: Classifier, goal: str | Objective, *, start: Any = None,
              settings: SynthesisSettings | None = None, shape: Sequence[int] | None = None,
              class_names: Sequence[str] = (), normalize: Normalization | None = None,
              preprocess: Callable[[torch.Tensor], torch.Tensor] | None = None, name: str | None = None,
              images: ImageSet | None = None, placement: Placement | None = None, copies: int = 1,
              transforms: Sequence[Transform] = ()) -> Iterator[_Prepared]:
    """Freeze a model within the block and resolve the arguments of `visualize`."""
    title, sizes = name or title_of(model), input_shape(as_module(model), shape)
    prepared = differentiable(adapt(model, normalize=normalize, preprocess=preprocess, shape=sizes))
    goal = objective(goal, class_names) if isinstance(goal, str) else goal
    info = inspect_model(prepared, sizes, class_names)
    device, dtype = device_and_dtype(prepared)
    extractor = FeatureExtractor(prepared, dtype)
    with frozen(prepared):
        target = resolve_objective(goal, info, copies=copies, extractor=extractor)
        chosen = resolve_settings(settings or SynthesisSettings(), info.shape, classes=target.only_classes,
                                  first_layer=info.first_weighted in target.layers, has_position=target.has_position,
                                  starts_with_linear=info.starts_with_linear, placement=placement)
        start = chosen.start if start is None else start
        plan = make_plan(target, chosen, info, start=start, images=images, placement=placement,
                         transforms=transforms, device=device, dtype=dtype)
        yield _Prepared(title=title, goal=goal, start=start, extractor=extractor, plan=plan)


@reports_model_errors
def synthesis_seconds(model: Classifier, goal: str | Objective = "class:all", **arguments: Any) -> float:
    """Estimate the time of `visualize` in seconds from `TRIAL_STEPS` steps of the first batch of images.

    Images whose activation no longer increases are finished earlier.

    Args:
        arguments: those of `visualize`, without `judge` and `progress`.

    Raises:
        UsageError: see `visualize`.
    """
    with _prepared(model, goal, **arguments) as ready:
        plan, task = ready.plan, SilentProgress().task("", 0)
        rows = torch.arange(min(len(plan.logits), plan.batch_size), device=plan.logits.device)
        seconds = 0.0
        for steps in (1, min(plan.settings.steps, TRIAL_STEPS)):  # the first call allocates
            trial = replace(plan, settings=replace(plan.settings, steps=steps))
            begun = time.perf_counter()
            in_chunks(partial(maximize, ready.extractor, trial, task=task), rows, plan.batch_size, plan.target.copies)
            seconds = (time.perf_counter() - begun) / steps
        return seconds * plan.settings.steps * len(plan.logits) / len(rows)


def judge_images(judge: Classifier, images: np.ndarray, classes: int | None = None) -> np.ndarray:
    """Return a classifier's predictions for images (B, C, H, W), int64 (B,); it must have `classes` outputs, if given.

    Raises:
        UsageError: if it raises an error, or has another number of classes.
    """
    name, judge = model_name(as_module(judge)), adapt(judge, shape=images.shape[1:])
    device, dtype = device_and_dtype(judge)
    try:
        with evaluating(judge):
            outputs = torch.cat([judge(part.to(device, dtype)) for part in torch.from_numpy(images).split(256)])
    except Exception as error:
        raise UsageError(f"the judge {name} failed for images of {' x '.join(map(str, images.shape[1:]))} (channels, "
                         f"height, width): {error}; choose a judge for the same canvas") from error
    if classes is not None and (outputs.ndim != 2 or outputs.shape[1] != classes):
        raise UsageError(f"the judge {name} must have the same {classes} classes as the model, its output has shape "
                         f"{tuple(outputs.shape)}: choose a judge trained on the same dataset")
    return predicted_classes(outputs).cpu().numpy()


@reports_model_errors
def default_objectives(model: Classifier, shape: Sequence[int] | None = None) -> list[str]:
    """Return objectives for a first look: all classes, and up to 100 units of the first fully connected layer."""
    sizes = input_shape(as_module(model), shape)
    info = inspect_model(adapt(model, shape=sizes), sizes)
    layer = info.first_hidden_linear
    if layer is None:
        return [f"{CLASSES}:all"]
    return [f"{CLASSES}:all", f"{layer}:all" if info.unit_count(layer) <= 100 else f"{layer}:0-99"]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The inputs of an ascent."""

    target: Target
    settings: ResolvedSynthesis
    frame: Frame
    logits: torch.Tensor  # initial, (B, C, H, W)
    parametrization: Parametrization
    transforms: tuple[Transform, ...] = ()
    batch_size: int = 1

    def view(self, rows: torch.Tensor) -> Callable[[int], Transform]:
        """Return the transform of the images `rows` as a function of the step."""
        chosen = self.settings
        ground = self.frame.ground[rows[:1]] if chosen.jitter_mode == "crop" else None

        def at(step: int) -> Transform:
            jitter = round(chosen.jitter * (1 - chosen.settle * step / chosen.steps))
            parts = ((chosen.scale, Scale(chosen.scale)), (jitter, Jitter(jitter, ground)),
                     (chosen.view_blur, Blur(chosen.view_blur)), (chosen.noise, Noise(chosen.noise)))
            return compose([*(part for amount, part in parts if amount), *self.transforms])

        return at


def make_plan(target: Target, chosen: ResolvedSynthesis, info: ModelInfo, *, device: torch.device, dtype: torch.dtype,
              start: Any, images: ImageSet | None = None, placement: Placement | None = None,
              transforms: Sequence[Transform] = ()) -> Plan:
    """Return the inputs of an ascent; the arguments are those of `visualize`, resolved."""
    precise = torch.float64 if dtype == torch.float64 else torch.float32
    shape, names = info.shape, target.names
    ground = initial_images(start, shape, names, seed=chosen.seed, images=images, placement=placement, dtype=precise)
    logits = to_logits(ground) + DITHER * seeded_noise("dither", shape, chosen.seed, precise)
    if target.copies > 1:
        logits = logits + COPY_NOISE * torch.stack([seeded_noise(name, shape, chosen.seed, precise) for name in names])
    window = soft_window(*shape[1:], chosen.window)
    frame = Frame(ground.to(device), None if window is None else window.to(device, precise))
    parametrization = Fourier(shape[1:]) if chosen.parametrization == "fourier" else Parametrization()
    if chosen.parametrization == "maco":
        parametrization = maco(images, shape, placement, single_image=min(chosen.window) < 1)
    return Plan(target=target, settings=chosen, frame=frame, logits=logits.to(device), transforms=tuple(transforms),
                parametrization=parametrization,
                batch_size=batch_size_for(info, target.copies, dtype, device, chosen.memory))


def maximize(extractor: FeatureExtractor, plan: Plan, rows: torch.Tensor, task: Task) -> dict[str, torch.Tensor]:
    """Synthesize the images `rows`, int64 (B,), and return the arrays of `Synthesis`."""
    target, parametrization, frame = plan.target, plan.parametrization, plan.frame.rows(rows)

    def score(pixels: torch.Tensor, leak: float, within: torch.Tensor) -> torch.Tensor:
        return target.scores(extractor(pixels, target.layers, leak), rows[within], leak)

    start = parametrization.start(plan.logits[rows])
    result = ascend(score, start, frame, plan.settings, parametrization=parametrization, view=plan.view(rows),
                    copies=target.copies, advance=task.advance)
    with torch.no_grad():
        pixels = frame.pixels(parametrization.logits(result.parameters))
        before = extractor(frame.pixels(parametrization.logits(start)), target.layers)
        after = extractor(pixels, target.layers)
        return {"images": pixels, "steps": result.steps, "dead": ~result.has_gradient | target.is_dead(after, rows),
                "activations": target.activations(after, rows),
                "activations_start": target.activations(before, rows), **predictions_of(after[OUTPUT], len(pixels))}


def _synthesize(extractor: FeatureExtractor, plan: Plan, title: str, progress: Progress) -> dict[str, np.ndarray]:
    """Synthesize all images in batches, which the processes of a group share."""
    rows = torch.arange(len(plan.target.names), device=plan.logits.device)
    batches = [(number, batch) for number, batch in enumerate(rows.split(plan.batch_size)) if group().owns(number)]
    task = progress.task(title, len(batches) * plan.settings.steps, "steps")
    pixels = plan.frame.pixels(plan.logits)
    use_channels_last = _supports_channels_last(extractor, plan.target, pixels)
    own = []
    try:
        with channels_last(extractor.model) if use_channels_last else nullcontext():
            _check_gradient(extractor, plan.target, pixels)
            for number, batch in batches:
                parts = in_chunks(lambda some: maximize(extractor, plan, some, task), batch, plan.batch_size,
                                  plan.target.copies)
                own.append((number, _merge(parts)))
    finally:
        task.close()
    merged = sorted((part for parts in gathered(own) for part in parts), key=lambda part: part[0])
    return {key: np.concatenate([part[key] for _, part in merged]) for key in merged[0][1]}


def _check_gradient(extractor: FeatureExtractor, target: Target, pixels: torch.Tensor) -> None:
    """Raise a `UsageError` if the scores of the first unit do not depend on its images."""
    rows = torch.arange(target.copies, device=pixels.device)
    leaf = pixels[:target.copies].clone().requires_grad_()
    scores = target.scores(extractor(leaf, target.layers), rows)
    if not scores.requires_grad or torch.autograd.grad(scores.sum(), leaf, allow_unused=True)[0] is None:
        raise UsageError(f"{target.names[0]} does not depend on the image: the model stops the gradient (no_grad, "
                         "detach or integer tensors); choose an earlier layer")


def _supports_channels_last(extractor: FeatureExtractor, target: Target, pixels: torch.Tensor) -> bool:
    """Return True if the model runs in channels-last format; models that call `view` may not."""
    try:
        with channels_last(extractor.model):
            _check_gradient(extractor, target, pixels)
    except RuntimeError:  # an error with another cause is raised again in the default layout
        return False
    return True


def _merge(parts: list[dict[str, torch.Tensor]]) -> dict[str, np.ndarray]:
    merged = {key: torch.cat([part[key] for part in parts]).cpu() for key in parts[0]}
    return {key: (value.float() if value.is_floating_point() else value).numpy() for key, value in merged.items()}


def _notes(target: Target, arrays: dict[str, np.ndarray]) -> list[str]:
    dead = [name for name, is_dead in zip(target.names, arrays["dead"], strict=True) if is_dead]
    if not dead:
        return []
    listed = ", ".join(dead[:10]) + (", ..." if len(dead) > 10 else "")
    return [f"{len(dead)} of {len(target.names)} units are dead: their synthesized image does not bring them above "
            f"zero (for channels, at any position), or no pixel affects them ({listed})"]
