"""Which pixels made a model say what it says: from pictures to an `Attribution`."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from shiftscope.errors import ShiftscopeError, UsageError, require, unknown
from shiftscope.hooks import find_layer, frozen, match_layer
from shiftscope.models.adapt import Normalization, adapt, differentiable, title_of
from shiftscope.models.forward import device_and_dtype
from shiftscope.modules import Classifier, as_module, reports_model_errors
from shiftscope.outputs import first_maximum
from shiftscope.progress import Progress, SilentProgress
from shiftscope.results import Attribution
from shiftscope.visualization.anatomy import CLASSES, Anatomy, examine, picture_shape
from shiftscope.visualization.explainers import METHODS, Question, at_once
from shiftscope.visualization.plan import answers_of
from shiftscope.visualization.questions import Aim, Score, Target, aim_at
from shiftscope.visualization.recordings import as_pixels

WINDOWS_ACROSS = 8
"""An occlusion window is an eighth of the picture: 7 of 56 pixels, about a sleeve of a garment of 28."""

LOOSE = 0.05
"""Integrated gradients that miss the score difference by more than this share of it are noted."""


@reports_model_errors
def attribute(model: Classifier, images: Any, target: Target = None, *, method: str = "integrated-gradients",
              layer: str | None = None, baseline: int | torch.Tensor | np.ndarray = 0,
              labels: Sequence[int] | torch.Tensor | np.ndarray | None = None, class_names: Sequence[str] = (),
              steps: int = 64, window: int | tuple[int, int] | None = None, normalize: Normalization | None = None,
              preprocess: Callable[[torch.Tensor], torch.Tensor] | None = None, name: str | None = None,
              progress: Progress | None = None) -> Attribution:
    """Say for each picture which pixels speak for a score and which against it, all pictures in one call.

    Scores are taken before a final softmax. The model is left as it was: modes, gradients, hooks, random state.

    Args:
        model: takes pixels (batch, C, H, W) in [0, 1]; on any device.
        images: (B, C, H, W) as the model sees them, laid on their canvases; uint8, or floats in [0, 1].
        target: a class, one a picture, "class:Bag", or a unit of any layer, "fc1:17" or "conv2:3" (a channel's mean
            over its places). Unless given, the class that the model takes each picture for.
        method: "integrated-gradients", "grad-cam", "occlusion" or "saliency".
        layer: for Grad-CAM, the layer whose map is shown, after its ReLU where it has one; the last convolution
            unless given.
        baseline: what an absent pixel looks like, before normalization: a raw value from 0 to 255, or a picture
            (C, H, W) or (H, W), as `Placement.background` has it. For integrated gradients and occlusion.
        labels: true classes (B,), kept for figures.
        class_names: for targets like "class:Bag", and for figures.
        steps: of integrated gradients.
        window: side, or (height, width), of an occlusion window; an eighth of the picture unless given. It moves by
            half of itself.
        normalize: (mean, std) for a model that wants its pixels normalized.
        preprocess: instead of `normalize`, whatever the model wants done to pixels first.
        name: of the model, in tables and figures.

    Returns:
        Signed maps (B, H, W), with the scores of the pictures and of the baseline.

    Raises:
        UsageError: an unknown method, layer or class, a unit out of range, images of another size or not finite, a
            layer without a map, a score that does not depend on the pixels; the model raises.
        ShiftscopeError: captum is missing, or the maps are not finite.

    Example:
        >>> from shiftscope.models import TwoFullNet
        >>> pictures = torch.rand(2, 1, 12, 10, generator=torch.Generator().manual_seed(0))
        >>> found = attribute(TwoFullNet(canvas=(12, 10)), pictures, 3)
        >>> found.maps.shape, found.targets.tolist()
        ((2, 12, 10), [3, 3])

    References:
        Sundararajan, Taly & Yan, "Axiomatic attribution for deep networks", ICML 2017 (integrated gradients).
        Selvaraju et al., "Grad-CAM", ICCV 2017. Zeiler & Fergus, "Visualizing and understanding convolutional
        networks", ECCV 2014 (occlusion). Simonyan, Vedaldi & Zisserman, "Deep inside convolutional networks", 2013
        (saliency). Kokhlikyan et al., "Captum", 2020.
    """
    begun = time.perf_counter()
    if method not in METHODS:
        raise unknown("method", method, METHODS)
    require(layer is None or method == "grad-cam", "layer", layer, f"left out for {method}, which looks at pixels")
    require(steps >= 1, "steps", steps, "at least 1")
    title, given = name or title_of(model), as_pixels(images)
    prepared = differentiable(adapt(model, normalize=normalize, preprocess=preprocess, shape=given.shape[1:]))
    device, dtype = device_and_dtype(prepared)
    pixels = given.to(device, torch.float64 if dtype == torch.float64 else torch.float32)
    anatomy = examine(prepared, picture_shape(prepared, pixels.shape[1:]), class_names)
    aim = aim_at(target, anatomy, len(pixels))
    known = _labels(labels, len(pixels))
    chosen = _map_layer(prepared, anatomy, layer) if method == "grad-cam" else ""
    sizes = _window(window, pixels)
    with frozen(prepared):
        score = Score(prepared, aim, dtype, chosen)
        question = Question(score=score, baseline=_baseline(baseline, pixels), steps=steps, window=sizes,
                            stride=(max(1, sizes[0] // 2), max(1, sizes[1] // 2)),
                            layer=_map_module(score, pixels[:1]) if chosen else None)
        found = _explain(question, method, aim, pixels, f"{method} of {title}", progress or SilentProgress())
    if not np.isfinite(found["maps"]).all():
        raise ShiftscopeError(f"the {method} maps are not finite: the scores or gradients of {title} hold NaN or "
                              "infinity; look for it in the model's weights")
    return Attribution(model=title, method=method, layer=chosen, target=aim.layer, class_names=list(class_names),
                       options=_options(question, method, baseline), labels=known, device=str(device),
                       notes=_notes(found), images=pixels.detach().float().cpu().numpy(),
                       seconds=time.perf_counter() - begun, **found)


@reports_model_errors
def default_methods(model: Classifier, shape: Sequence[int] | None = None) -> list[str]:
    """Return the methods that suit a model: all, but Grad-CAM only where there is a convolution.

    Args:
        shape: (C, H, W) of the model's pictures; its attribute `picture` unless given.

    Example:
        >>> from shiftscope.models import TwoFullNet
        >>> default_methods(TwoFullNet())
        ['integrated-gradients', 'occlusion', 'saliency']
    """
    sizes = picture_shape(as_module(model), shape)
    prepared = adapt(model, shape=sizes)
    anatomy = examine(prepared, sizes)
    return [method for method in METHODS if method != "grad-cam" or _convolutions(prepared, _maps(anatomy))]


def _labels(labels: Any, count: int) -> np.ndarray:
    known = torch.full((count,), -1) if labels is None else torch.as_tensor(labels).cpu().to(torch.int64)
    require(tuple(known.shape) == (count,), "labels", tuple(known.shape), f"one class for each of the {count} pictures")
    return known.numpy()


def _map_layer(model: nn.Module, anatomy: Anatomy, layer: str | None) -> str:
    """Return the full name of the layer that Grad-CAM looks at."""
    maps = _maps(anatomy)
    if layer is None:
        convolutions = _convolutions(model, maps)
        if not convolutions:
            raise UsageError(f"{anatomy.model} has no convolution whose map Grad-CAM could show: name another layer "
                             f"with a map ({', '.join(maps) or 'there is none'}), or choose integrated-gradients, "
                             "occlusion or saliency")
        return convolutions[-1]
    chosen = match_layer(layer, anatomy.layers, anatomy.model)
    if chosen not in maps:
        found = anatomy.layers[chosen]
        gave = found.gave if found.shape is None else f"{('batch', *found.shape)}".replace("'", "")
        raise UsageError(f"Grad-CAM needs a layer that gives a map (batch, channels, height, width), {layer!r} of "
                         f"{anatomy.model} gives {gave}: choose one of {', '.join(maps) or 'another model'}, or "
                         "another method")
    return chosen


def _maps(anatomy: Anatomy) -> list[str]:
    """Return the layers that give a map of more than one place."""
    return [name for name, found in anatomy.layers.items() if found.shape and len(found.shape) == 3
            and found.shape[1] * found.shape[2] > 1 and name != CLASSES]


def _convolutions(model: nn.Module, maps: Sequence[str]) -> list[str]:
    return [name for name in maps if isinstance(find_layer(model, name), nn.Conv2d)]


def _map_module(score: Score, pixels: torch.Tensor) -> nn.Module:
    """Return the module through which the layer's map passes, after its ReLU where it has one."""
    with torch.no_grad():
        score(pixels)
    return score.rectified if score.calls else find_layer(score.model, score.layer)


def _window(window: int | tuple[int, int] | None, pixels: torch.Tensor) -> tuple[int, int]:
    height, width = pixels.shape[2:]
    if window is None:
        return max(1, round(height / WINDOWS_ACROSS)), max(1, round(width / WINDOWS_ACROSS))
    tall, wide = (window, window) if isinstance(window, int) else window
    require(1 <= tall <= height and 1 <= wide <= width, "window", window,
            f"at least 1 and at most the picture, {height} x {width} pixels")
    return tall, wide


def _baseline(baseline: int | torch.Tensor | np.ndarray, pixels: torch.Tensor) -> torch.Tensor:
    shape = pixels.shape[1:]
    if isinstance(baseline, int):
        require(0 <= baseline <= 255, "baseline", baseline, "a raw pixel value from 0 to 255, or a picture")
        return torch.full_like(pixels[:1], baseline / 255)
    picture = torch.as_tensor(baseline)
    picture = picture.expand(shape) if tuple(picture.shape) == shape[1:] else picture
    require(picture.shape == shape, "baseline", tuple(picture.shape),
            f"a picture {tuple(shape)} like the images, or a raw pixel value from 0 to 255")
    return as_pixels(picture[None], "baseline").to(pixels)


def _explain(question: Question, method: str, aim: Aim, pixels: torch.Tensor, title: str,
             progress: Progress) -> dict[str, np.ndarray]:
    """Explain all pictures, chunk by chunk."""
    task = progress.task(title, len(pixels), "images")
    parts = []
    try:
        for rows in torch.arange(len(pixels)).split(at_once(pixels)):
            units = None if aim.units is None else aim.units[rows].to(pixels.device)
            parts.append(_explain_chunk(question, method, pixels[rows.to(pixels.device)], units))
            task.advance(len(rows))
    finally:
        task.close()
    return {key: torch.cat([part[key] for part in parts]).cpu().numpy() for key in parts[0]}


def _explain_chunk(question: Question, method: str, pixels: torch.Tensor,
                   units: torch.Tensor | None) -> dict[str, torch.Tensor]:
    with torch.no_grad():
        (given, outputs), empty = question.score.ask(pixels), question.score(question.baseline)[0]
    predictions = answers_of(outputs, len(pixels))
    units = _chosen(given, predictions["predictions"], question.score.aim.layer) if units is None else units
    scores, nothing = given.gather(1, units[:, None])[:, 0], empty[units]
    if method != "occlusion":
        _check_gradient(question, pixels[:1], int(units[0]))
    maps = METHODS[method](question, pixels.clone(), units).detach()
    complete = method == "integrated-gradients"
    residuals = maps.double().sum((1, 2)) - (scores - nothing) if complete else torch.full_like(scores, torch.nan)
    return {"maps": maps.float(), "targets": units, "scores": scores.float(), "scores_baseline": nothing.float(),
            "residuals": residuals.float(), **predictions}


def _chosen(given: torch.Tensor, predictions: torch.Tensor, layer: str) -> torch.Tensor:
    """Return the unit that gives most, int64 (B,); of the classes, the one that the model predicts."""
    most, predictions = first_maximum(given), predictions.to(given.device)
    return torch.where(predictions >= 0, predictions, most) if layer == CLASSES else most


def _check_gradient(question: Question, pixels: torch.Tensor, unit: int) -> None:
    """Raise a `UsageError` unless the score's gradient reaches the pixels, or the layer's map."""
    sources: list[torch.Tensor] = [pixels.clone().requires_grad_()]

    def keep(module: nn.Module, inputs: Any, output: Any) -> None:
        sources.append(output)

    handles = [] if question.layer is None else [question.layer.register_forward_hook(keep)]
    try:
        score = question.score(sources[0])[0, unit]
    finally:
        for handle in handles:
            handle.remove()
    source = sources[-1]
    reaches = score.requires_grad and source.requires_grad
    if not reaches or torch.autograd.grad(score, source, allow_unused=True)[0] is None:
        where = "pixels" if question.layer is None else "layer's map"
        raise UsageError(f"the score does not depend on the {where}: the model cuts the gradient on the way (no_grad, "
                         "detach or whole numbers), or the layer comes after the target; choose another layer, or the "
                         "method occlusion")


def _options(question: Question, method: str, baseline: object) -> dict[str, Any]:
    ground = {"baseline": baseline if isinstance(baseline, int) else "picture"}
    return {"integrated-gradients": {"steps": question.steps} | ground,
            "grad-cam": {"after_relu": question.layer is question.score.rectified},
            "saliency": {},
            "occlusion": {"window": list(question.window), "stride": list(question.stride)} | ground}[method]


def _notes(found: dict[str, np.ndarray]) -> list[str]:
    difference = np.abs(found["scores"] - found["scores_baseline"])
    loose = np.abs(found["residuals"]) > LOOSE * np.maximum(difference, difference.mean())
    empty = ~found["maps"].any(axis=(1, 2))
    told = ((loose, f"miss the score difference by more than {100 * LOOSE:.0f} %: raise steps"),
            (empty, "are zero everywhere: nothing there reaches the score"))
    count = len(found["maps"])
    return [f"the maps of {int(rows.sum())} of {count} pictures {what}" for rows, what in told if rows.any()]
