"""Attribution maps: how much each pixel contributes to a score."""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
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
from shiftscope.visualization.attribution_methods import METHODS, ScoreFunction, Setup, Target, max_batch, parse_target
from shiftscope.visualization.feature_extractor import predictions_of
from shiftscope.visualization.layer_outputs import as_pixels
from shiftscope.visualization.model_info import CLASSES, ModelInfo, input_shape, inspect_model

WINDOWS = 8  # default occlusion windows along an axis: 7 of 56 pixels, about a sleeve of a garment of 28
TOLERANCE = 0.05  # relative error of integrated gradients above which a note is added


@reports_model_errors
def attribute(model: Classifier, images: Any, target: Target = None, *, method: str = "integrated-gradients",
              layer: str | None = None, baseline: int | torch.Tensor | np.ndarray = 0,
              labels: Sequence[int] | torch.Tensor | np.ndarray | None = None, class_names: Sequence[str] = (),
              steps: int = 64, window: int | tuple[int, int] | None = None, normalize: Normalization | None = None,
              preprocess: Callable[[torch.Tensor], torch.Tensor] | None = None, name: str | None = None,
              progress: Progress | None = None) -> Attribution:
    """Compute signed maps (B, H, W) of how much each pixel of the images contributes to a score.

    The scores of classes are logits before a final softmax.

    Args:
        model: takes pixels (batch, C, H, W) in [0, 1]; on any device. Its state is restored.
        images: (B, C, H, W), placed on their canvases; uint8, or floats in [0, 1].
        target: a class, one class per image, "class:Bag", or a unit of any layer, "fc1:17" or "conv2:3" (the mean
            over the channel's positions). By default the predicted class of each image.
        method: "integrated-gradients", "grad-cam", "occlusion" or "saliency".
        layer: for Grad-CAM, the layer whose map is used, after its ReLU if it has one; by default the last convolution.
        baseline: value of an absent pixel before normalization: a raw value from 0 to 255, or an image (C, H, W) or
            (H, W), as `Placement.background`. For integrated gradients and occlusion.
        labels: true classes (B,), for figures.
        class_names: for targets like "class:Bag", and for figures.
        steps: of integrated gradients.
        window: side, or (height, width), of the occlusion window, by default an eighth of the image. Its stride is
            half its size.
        normalize: (mean, std) for a model that expects normalized pixels.
        preprocess: replaces `normalize`: any function of pixels.
        name: of the model, in tables and figures.

    Raises:
        UsageError: if a method, layer, class or unit is unknown, the images are invalid, the layer has no map, the
            score does not depend on the pixels, or the model raises an error.

    Example:
        >>> from shiftscope.models import TwoFullNet
        >>> images = torch.rand(2, 1, 12, 10, generator=torch.Generator().manual_seed(0))
        >>> result = attribute(TwoFullNet(canvas=(12, 10)), images, 3)
        >>> result.maps.shape, result.targets.tolist()
        ((2, 12, 10), [3, 3])

    References:
        Sundararajan et al., ICML 2017 (integrated gradients). Selvaraju et al., ICCV 2017 (Grad-CAM). Zeiler & Fergus,
        ECCV 2014 (occlusion). Simonyan et al., arXiv 1312.6034 (saliency). Kokhlikyan et al., "Captum", 2020.
    """
    start_time = time.perf_counter()
    if method not in METHODS:
        raise unknown("method", method, METHODS)
    require(layer is None or method == "grad-cam", "layer", layer, f"left out for {method}, which has no layer")
    require(steps >= 1, "steps", steps, "at least 1")
    title, given = name or title_of(model), as_pixels(images)
    prepared = differentiable(adapt(model, normalize=normalize, preprocess=preprocess, shape=given.shape[1:]))
    device, dtype = device_and_dtype(prepared)
    pixels = given.to(device, torch.float64 if dtype == torch.float64 else torch.float32)
    info = inspect_model(prepared, input_shape(prepared, pixels.shape[1:]), class_names)
    score_layer, units = parse_target(target, info, len(pixels))
    true_classes = _labels(labels, len(pixels))
    chosen = _cam_layer(prepared, info, layer) if method == "grad-cam" else ""
    sizes = _window(window, pixels)
    with frozen(prepared):
        score = ScoreFunction(prepared, score_layer, info.layers[score_layer].linear, dtype, chosen)
        setup = Setup(score=score, baseline=_baseline(baseline, pixels), steps=steps, window=sizes,
                      stride=(max(1, sizes[0] // 2), max(1, sizes[1] // 2)),
                      layer=_cam_module(score, pixels[:1]) if chosen else None)
        progress, task = progress or SilentProgress(), f"{method} of {title}"
        arrays: dict[str, Any] = _attribute(setup, method, units, pixels, task, progress)
    if not np.isfinite(arrays["maps"]).all():
        raise ShiftscopeError(f"the {method} maps are not finite: the scores or gradients of {title} hold NaN or "
                              "infinity; check the model's weights")
    return Attribution(model=title, method=method, layer=chosen, target=score_layer, class_names=list(class_names),
                       options=_options(setup, method, baseline), labels=true_classes, device=str(device),
                       notes=_notes(arrays), images=pixels.detach().float().cpu().numpy(),
                       seconds=time.perf_counter() - start_time, **arrays)


@reports_model_errors
def default_methods(model: Classifier, shape: Sequence[int] | None = None) -> list[str]:
    """Return the methods that apply to a model with input (C, H, W): Grad-CAM only if it has a convolution."""
    sizes = input_shape(as_module(model), shape)
    prepared = adapt(model, shape=sizes)
    convolutions = _convolutions(prepared, _map_layers(inspect_model(prepared, sizes)))
    return [method for method in METHODS if method != "grad-cam" or convolutions]


def _labels(labels: Any, count: int) -> np.ndarray:
    classes = torch.full((count,), -1) if labels is None else torch.as_tensor(labels).cpu().to(torch.int64)
    require(tuple(classes.shape) == (count,), "labels", tuple(classes.shape),
            f"one class for each of the {count} images")
    return classes.numpy()


def _cam_layer(model: nn.Module, info: ModelInfo, layer: str | None) -> str:
    """Return the full name of the layer for Grad-CAM."""
    maps = _map_layers(info)
    if layer is None:
        convolutions = _convolutions(model, maps)
        if not convolutions:
            raise UsageError(f"{info.model} has no convolution for Grad-CAM: name another layer with a map "
                             f"({', '.join(maps) or 'there is none'}), or choose integrated-gradients, occlusion or "
                             "saliency")
        return convolutions[-1]
    chosen = match_layer(layer, info.layers, info.model)
    if chosen not in maps:
        shape = info.layers[chosen].shape
        output = info.layers[chosen].description if shape is None else f"{('batch', *shape)}".replace("'", "")
        raise UsageError(f"Grad-CAM needs a layer with an output (batch, channels, height, width), {layer!r} of "
                         f"{info.model} returns {output}: choose one of {', '.join(maps) or 'another model'}, or "
                         "another method")
    return chosen


def _map_layers(info: ModelInfo) -> list[str]:
    """Return the layers whose output has several positions."""
    return [name for name, layer in info.layers.items() if layer.shape and len(layer.shape) == 3
            and layer.shape[1] * layer.shape[2] > 1 and name != CLASSES]


def _convolutions(model: nn.Module, layers: Sequence[str]) -> list[str]:
    return [name for name in layers if isinstance(find_layer(model, name), nn.Conv2d)]


def _cam_module(score: ScoreFunction, pixels: torch.Tensor) -> nn.Module:
    """Return the module whose output is the layer's map, after its ReLU if it has one."""
    with torch.no_grad():
        score(pixels)
    return score.relu_output if score.has_relu else find_layer(score.model, score.cam_layer)


def _window(window: int | tuple[int, int] | None, pixels: torch.Tensor) -> tuple[int, int]:
    height, width = pixels.shape[2:]
    if window is None:
        return max(1, round(height / WINDOWS)), max(1, round(width / WINDOWS))
    rows, columns = (window, window) if isinstance(window, int) else window
    require(1 <= rows <= height and 1 <= columns <= width, "window", window,
            f"at least 1 and at most the image, {height} x {width} pixels")
    return rows, columns


def _baseline(baseline: int | torch.Tensor | np.ndarray, pixels: torch.Tensor) -> torch.Tensor:
    shape = pixels.shape[1:]
    if isinstance(baseline, int):
        require(0 <= baseline <= 255, "baseline", baseline, "a raw pixel value from 0 to 255, or an image")
        return torch.full_like(pixels[:1], baseline / 255)
    image = torch.as_tensor(baseline)
    image = image.expand(shape) if tuple(image.shape) == shape[1:] else image
    require(image.shape == shape, "baseline", tuple(image.shape),
            f"an image of shape {tuple(shape)}, or a raw pixel value from 0 to 255")
    return as_pixels(image[None], "baseline").to(pixels)


def _attribute(setup: Setup, method: str, units: torch.Tensor | None, pixels: torch.Tensor, title: str,
               progress: Progress) -> dict[str, np.ndarray]:
    """Compute the maps of all images in batches."""
    task = progress.task(title, len(pixels), "images")
    parts = []
    try:
        for rows in torch.arange(len(pixels)).split(max_batch(pixels)):
            chosen = None if units is None else units[rows].to(pixels.device)
            parts.append(_attribute_batch(setup, method, pixels[rows.to(pixels.device)], chosen))
            task.advance(len(rows))
    finally:
        task.close()
    return {key: torch.cat([part[key] for part in parts]).cpu().numpy() for key in parts[0]}


def _attribute_batch(setup: Setup, method: str, pixels: torch.Tensor,
                     units: torch.Tensor | None) -> dict[str, torch.Tensor]:
    with torch.no_grad():
        (all_scores, outputs), of_baseline = setup.score.with_output(pixels), setup.score(setup.baseline)[0]
    predictions = predictions_of(outputs, len(pixels))
    if units is None:
        classes = predictions["predictions"].to(all_scores.device)
        units = torch.where(classes >= 0, classes, first_maximum(all_scores))
    scores, baseline_scores = all_scores.gather(1, units[:, None])[:, 0], of_baseline[units]
    if method != "occlusion":
        _check_gradient(setup, pixels[:1], int(units[0]))
    maps = METHODS[method](setup, pixels.clone(), units).detach()
    residuals = maps.double().sum((1, 2)) - (scores - baseline_scores)
    if method != "integrated-gradients":
        residuals = torch.full_like(scores, torch.nan)
    return {"maps": maps.float(), "targets": units, "scores": scores.float(),
            "scores_baseline": baseline_scores.float(), "residuals": residuals.float(), **predictions}


def _check_gradient(setup: Setup, pixels: torch.Tensor, unit: int) -> None:
    """Raise a `UsageError` if the score has no gradient with respect to the pixels, or to the layer's map."""
    sources: list[torch.Tensor] = [pixels.clone().requires_grad_()]

    def keep(module: nn.Module, inputs: Any, output: Any) -> None:
        sources.append(output)

    with ExitStack() as stack:
        if setup.layer is not None:
            stack.callback(setup.layer.register_forward_hook(keep).remove)
        score = setup.score(sources[0])[0, unit]
    source = sources[-1]
    differentiable = score.requires_grad and source.requires_grad
    if not differentiable or torch.autograd.grad(score, source, allow_unused=True)[0] is None:
        raise UsageError(f"the score does not depend on the {'pixels' if setup.layer is None else 'map of the layer'}: "
                         "the model stops the gradient (no_grad, detach or integer tensors), or the layer comes after "
                         "the target; choose another layer, or the method occlusion")


def _options(setup: Setup, method: str, baseline: object) -> dict[str, Any]:
    ground = {"baseline": baseline if isinstance(baseline, int) else "picture"}
    return {"integrated-gradients": {"steps": setup.steps} | ground,
            "grad-cam": {"after_relu": setup.layer is setup.score.relu_output},
            "saliency": {},
            "occlusion": {"window": list(setup.window), "stride": list(setup.stride)} | ground}[method]


def _notes(arrays: dict[str, np.ndarray]) -> list[str]:
    difference = np.abs(arrays["scores"] - arrays["scores_baseline"])
    inexact = np.abs(arrays["residuals"]) > TOLERANCE * np.maximum(difference, difference.mean())
    empty = ~arrays["maps"].any(axis=(1, 2))
    count = len(arrays["maps"])
    notes = ((inexact, f"differ from the score difference by more than {100 * TOLERANCE:.0f} %: increase steps"),
             (empty, "are zero everywhere: no pixel affects the score"))
    return [f"the maps of {int(rows.sum())} of {count} images {text}" for rows, text in notes if rows.any()]
