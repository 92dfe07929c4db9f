"""Four ways to say which pixels made a score, all through captum.

Symbols: f score of a picture x, b baseline (the empty canvas), A maps of a layer.

    saliency               df/dx
    integrated gradients   (x - b) * mean over a in [0, 1] of df/dx at b + a (x - b)
    Grad-CAM               sum over channels c of A_c * mean over places of df/dA_c
    occlusion              mean over the windows that cover the pixel of f(x) - f(x with the window set to b)

Each is signed, and summed over the channels of a pixel.
"""

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType

import torch
import torch.nn.functional as F
from torch import nn

from shiftscope.errors import ShiftscopeError
from shiftscope.visualization.questions import Score

MOST_PIXELS = 2**20
"""Pixels that go through the model at once: some 300 pictures of 56 x 56, or 6 color ones of 224 x 224."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is to be explained, and how."""

    score: Score
    baseline: torch.Tensor
    """(1, C, H, W)."""
    layer: nn.Module | None
    """For Grad-CAM."""
    steps: int
    """For integrated gradients: nodes of the Gauss-Legendre rule."""
    window: tuple[int, int]
    """For occlusion: rows and columns."""
    stride: tuple[int, int]


Explainer = Callable[[Question, torch.Tensor, torch.Tensor], torch.Tensor]
"""(question, pixels (B, C, H, W), targets (B,)) -> signed maps (B, H, W)."""


def captum_attr() -> ModuleType:
    """Return `captum.attr`, which is imported only when an attribution is asked for: it takes a second.

    Raises:
        ShiftscopeError: captum is not installed.
    """
    try:
        import captum.attr
    except ImportError as error:
        raise ShiftscopeError("attributions need the package captum, which cannot be imported "
                              f"({error}): pip install captum") from error
    return captum.attr


def at_once(pixels: torch.Tensor) -> int:
    """Return how many pictures of this size go through a model at once, at least 1."""
    return max(1, MOST_PIXELS // pixels[0].numel())


def saliency(question: Question, pixels: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Gradient of the score: what a pixel would change if all its channels brightened."""
    explainer = captum_attr().Saliency(question.score)
    return explainer.attribute(pixels.requires_grad_(), targets, abs=False).sum(1)


def integrated_gradients(question: Question, pixels: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Gradients on the straight way from the baseline to the picture; they sum to the difference of the scores."""
    explainer = captum_attr().IntegratedGradients(question.score)
    found = explainer.attribute(pixels.requires_grad_(), question.baseline, targets, n_steps=question.steps,
                                internal_batch_size=max(len(pixels), at_once(pixels)))
    return found.sum(1)


def grad_cam(question: Question, pixels: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """The layer's own map, weighted by its gradients and stretched to the picture.

    captum looks at one call of the layer, which has to see as many pictures as are asked about.
    """
    convention = getattr(question.score.model, "convention", None)
    if convention is not None and convention.one_by_one and len(pixels) > 1:
        return torch.cat([grad_cam(question, *one) for one in zip(pixels.split(1), targets.split(1), strict=True)])
    if convention is not None and convention.repeat_single and len(pixels) == 1:
        return grad_cam(question, torch.cat((pixels, pixels)), torch.cat((targets, targets)))[:1]
    explainer = captum_attr().LayerGradCam(question.score, question.layer)
    found = explainer.attribute(pixels.requires_grad_(), targets)  # (B, 1, h, w)
    return F.interpolate(found.to(pixels.dtype), size=pixels.shape[2:], mode="bilinear", align_corners=False)[:, 0]


def occlusion(question: Question, pixels: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """What the score loses when a window over the pixel shows the baseline."""
    channels = pixels.shape[1]
    explainer = captum_attr().Occlusion(question.score)
    found = explainer.attribute(pixels, (channels, *question.window), (channels, *question.stride), question.baseline,
                                targets, perturbations_per_eval=max(1, at_once(pixels) // len(pixels)))
    return found[:, 0]  # a window covers all channels, so all are equal


METHODS: dict[str, Explainer] = {"integrated-gradients": integrated_gradients, "grad-cam": grad_cam,
                                 "occlusion": occlusion, "saliency": saliency}
