"""Attribution methods of captum, and the score function that they explain.

Symbols: f score of an image x, b baseline (by default the empty canvas), A maps of a layer.

    saliency               df/dx
    integrated gradients   (x - b) * mean over a in [0, 1] of df/dx at b + a (x - b)
    Grad-CAM               sum over channels c of A_c * mean over positions of df/dA_c
    occlusion              mean over the windows that cover the pixel of f(x) - f(x with the window set to b)

Maps are signed and summed over the channels of a pixel. captum is imported on first use because that takes a second.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from shiftscope.errors import UsageError, require
from shiftscope.hooks import SoftmaxInput, capture
from shiftscope.visualization.layer_outputs import after_relu
from shiftscope.visualization.model_info import CLASSES, ModelInfo
from shiftscope.visualization.objective_terms import unit_maps
from shiftscope.visualization.objectives import objective
from shiftscope.visualization.targets import resolve_objective

MAX_PIXELS = 2**20  # of a forward pass: about 300 images of 56 x 56, or 6 color images of 224 x 224

Target = int | str | Sequence[int] | torch.Tensor | np.ndarray | None


def parse_target(target: Target, info: ModelInfo, count: int) -> tuple[str, torch.Tensor | None]:
    """Return the layer and the units, int64 (B,), of a target: a class, a class per image, or "layer:unit".

    For None the layer is "class" and the units are None, for the predicted classes.
    """
    if target is None:
        return CLASSES, None
    if isinstance(target, str):
        term = resolve_objective(objective(target, info.class_names), info).unit_term
        if term is None or len(term.names) != 1 or term.position is not None or term.after_relu:
            raise UsageError(f"target must be one unit of a layer, as in class:2, class:Bag, fc1:17 or conv2:3, got "
                             f"{target!r}")
        return term.layer, term.indices.expand(count).clone()
    units, classes = torch.as_tensor(target), info.unit_count(CLASSES)
    require(units.dtype in (torch.int64, torch.int32, torch.int16, torch.uint8), "target", target, "integers")
    require(units.ndim == 0 or tuple(units.shape) == (count,), "target", tuple(units.shape),
            f"one class, or one for each of the {count} images")
    require(bool(((units >= 0) & (units < classes)).all()), "target", units.tolist(),
            f"a class from 0 to {classes - 1}")
    return CLASSES, units.to(torch.int64).expand(count).clone()


class ScoreFunction:
    """The function that captum explains: pixels (B, C, H, W) -> activation of each unit of `layer`, (B, units).

    The activation of a channel is the mean over its positions. Scores have the dtype of the pixels, whatever the
    model's dtype, to keep the precision of sums over them. `cam_layer` is the layer for Grad-CAM, or "".
    """

    def __init__(self, model: nn.Module, layer: str, units_last: bool, dtype: torch.dtype, cam_layer: str = ""):
        self.model, self.layer, self.units_last, self.dtype = model, layer, units_last, dtype
        self.cam_layer, self.has_relu = cam_layer, False
        self.relu_output = nn.Identity()  # the output of the ReLU after `cam_layer` passes here, so captum can hook it

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.with_output(pixels)[0]

    def with_output(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the scores, for classes before a final softmax, and the model's output."""
        inner = [] if self.layer == CLASSES else [self.layer]
        followed = [self.cam_layer] if self.cam_layer else []
        with (capture(self.model, inner) as outputs, after_relu(self.model, followed, self._pass),
              SoftmaxInput() as watch):
            output = self.model(pixels.to(self.dtype, copy=True))  # a model may change its input in place
            outputs[CLASSES] = watch.logits(output)
        scores = unit_maps(outputs[self.layer], self.units_last).flatten(2).mean(2)
        return scores.to(pixels.dtype), output

    def _pass(self, layer: str, values: torch.Tensor) -> torch.Tensor:
        self.has_relu = True
        return self.relu_output(values)


@dataclass(frozen=True, kw_only=True)
class Setup:
    """The score function and the options of the methods."""

    score: ScoreFunction
    baseline: torch.Tensor  # (1, C, H, W)
    layer: Any  # module for Grad-CAM, or None
    steps: int  # for integrated gradients
    window: tuple[int, int]  # for occlusion: height and width
    stride: tuple[int, int]


Method = Callable[[Setup, torch.Tensor, torch.Tensor], torch.Tensor]
"""(setup, pixels (B, C, H, W), targets (B,)) -> signed maps (B, H, W)."""


def max_batch(pixels: torch.Tensor) -> int:
    """Return the number of images of this size in a forward pass, at least 1."""
    return max(1, MAX_PIXELS // pixels[0].numel())


def saliency(setup: Setup, pixels: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the gradient of the score."""
    from captum.attr import Saliency

    return Saliency(setup.score).attribute(pixels.requires_grad_(), targets, abs=False).sum(1)


def integrated_gradients(setup: Setup, pixels: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return integrated gradients, which sum to the difference of the scores of image and baseline."""
    from captum.attr import IntegratedGradients

    maps = IntegratedGradients(setup.score).attribute(
        pixels.requires_grad_(), setup.baseline, targets, n_steps=setup.steps,
        internal_batch_size=max(len(pixels), max_batch(pixels)))
    return maps.sum(1)


def grad_cam(setup: Setup, pixels: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return interpolated Grad-CAM maps; captum uses one call of the layer, so it must hold exactly the batch."""
    from captum.attr import LayerGradCam

    convention = getattr(setup.score.model, "convention", None)
    if convention is not None and convention.one_by_one and len(pixels) > 1:
        return torch.cat([grad_cam(setup, *one) for one in zip(pixels.split(1), targets.split(1), strict=True)])
    if convention is not None and convention.repeat_single and len(pixels) == 1:
        return grad_cam(setup, torch.cat((pixels, pixels)), torch.cat((targets, targets)))[:1]
    maps: Any = LayerGradCam(setup.score, setup.layer).attribute(pixels.requires_grad_(), targets)  # (B, 1, h, w)
    return LayerGradCam.interpolate(maps.to(pixels.dtype), tuple(pixels.shape[2:]), "bilinear")[:, 0]


def occlusion(setup: Setup, pixels: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the decrease of the score when a window is set to the baseline."""
    from captum.attr import Occlusion

    channels = pixels.shape[1]
    maps = Occlusion(setup.score).attribute(
        pixels, (channels, *setup.window), (channels, *setup.stride), setup.baseline, targets,
        perturbations_per_eval=max(1, max_batch(pixels) // len(pixels)))
    return maps[:, 0]  # a window covers all channels, so they are equal


METHODS: dict[str, Method] = {"integrated-gradients": integrated_gradients, "grad-cam": grad_cam,
                              "occlusion": occlusion, "saliency": saliency}
