"""Gradient ascent on a batch of images, each with its own score.

Symbols: theta parameters, z logits of the pixels, x pixels, f score summed over the views of a step, rms(.) root mean
square over the pixels with a nonzero gradient, J the parametrization's step (for pixels: the identity).

    g = df/dz / rms(df/dz) - total_variation * dTV/dx - l2 * (x - ground)
    v = momentum * v + step_size * J blur(g)
    theta = start + (1 - decay) * (theta - start) + v

Dividing by rms makes steps equally long for all units, whatever the scale of their activations and the size of their
receptive field.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from shiftscope.visualization.parametrization import Frame, Parametrization
from shiftscope.visualization.presets import ResolvedSynthesis
from shiftscope.visualization.transforms import Transform, blur, compose, view_key

# (pixels (B, C, H, W), negative slope of the ReLUs, int64 (B,) indices of the images) -> scores (B,)
Score = Callable[[torch.Tensor, float, torch.Tensor], torch.Tensor]

WARM_UP = 0.25  # fraction of the steps with leaky ReLUs
MIN_IMPROVEMENT = 0.005  # a score has improved if it exceeds its best by this fraction of its total gain
SMOOTHING = 0.8  # weight of the past in the running mean of scores


@dataclass(frozen=True)
class Ascent:
    """Parameters (B, ...) after the ascent, number of steps (B,), and whether any gradient was nonzero (B,)."""

    parameters: torch.Tensor
    steps: torch.Tensor
    has_gradient: torch.Tensor


@dataclass
class _State:
    """The images that are still optimized."""

    rows: torch.Tensor
    frame: Frame
    start: torch.Tensor
    theta: torch.Tensor
    v: torch.Tensor
    has_gradient: torch.Tensor
    mean: torch.Tensor
    best: torch.Tensor
    first: torch.Tensor
    waited: torch.Tensor

    def subset(self, chosen: torch.Tensor) -> "_State":
        values = {name: value[chosen] for name, value in vars(self).items() if name != "frame"}
        return _State(frame=self.frame.rows(chosen), **values)


def ascend(score: Score, start: torch.Tensor, frame: Frame, settings: ResolvedSynthesis, *,
           parametrization: Parametrization | None = None, view: Callable[[int], Transform] | None = None,
           copies: int = 1, advance: Callable[[int], None] = lambda steps: None) -> Ascent:
    """Maximize scores for `settings.steps` steps; images whose score stops improving leave the batch earlier.

    Args:
        score: an image's score may depend on the other images of its unit only.
        start: parameters (B, ...).
        frame: blends the images into their ground.
        parametrization: by default the logits of the pixels.
        view: step -> transform of the pixels; by default none.
        copies: consecutive images of a unit, which stop together.
        advance: called with the number of steps done.
    """
    parametrization = parametrization or Parametrization()
    rows = torch.arange(len(start), device=start.device)
    low, no_gradient = torch.full(rows.shape, -torch.inf, device=rows.device).double(), torch.zeros_like(rows).bool()
    state = _State(rows, frame, start, start.clone(), torch.zeros_like(start), no_gradient, low, low, low, 0 * rows)
    result = Ascent(start.clone(), 0 * rows, no_gradient.clone())
    for step in range(settings.steps):
        leak = settings.leak if step < WARM_UP * settings.steps else 0.0
        _step(state, score, parametrization, view(step) if view else compose([]), settings, step, leak)
        advance(1)
        if leak or not settings.patience:
            continue
        stopped = (state.waited.view(-1, copies) >= settings.patience).all(1).repeat_interleave(copies)
        if stopped.any():
            _store(result, state.subset(stopped), step + 1)
            state = state.subset(~stopped)
            if len(state.rows) == 0:
                advance(settings.steps - step - 1)
                return result
    _store(result, state, settings.steps)
    return result


def _store(result: Ascent, state: _State, steps: int) -> None:
    result.parameters[state.rows], result.steps[state.rows] = state.theta, steps
    result.has_gradient[state.rows] = state.has_gradient


def _step(state: _State, score: Score, parametrization: Parametrization, view: Transform, settings: ResolvedSynthesis,
          step: int, leak: float) -> None:
    z = parametrization.logits(state.theta)
    x = state.frame.pixels(z)
    leaf = x.detach().requires_grad_()
    total, gradient = torch.zeros(len(x), device=x.device, dtype=torch.float64), torch.zeros_like(x)
    for number in range(settings.views):
        scores = score(view(leaf, view_key(settings.seed, step, number)), leak, state.rows)
        gradient += torch.autograd.grad(scores.sum(), leaf)[0]
        total += scores.detach()
    g, nonzero = normalize_gradient(state.frame.gradient(z, gradient))
    state.has_gradient = state.has_gradient | nonzero
    if not leak:  # scores with leaky ReLUs are not comparable with later ones
        _update_progress(state, total)
    if settings.total_variation:
        g -= settings.total_variation * total_variation_gradient(x)
    if settings.l2:
        g -= settings.l2 * (x - state.frame.ground)
    direction = parametrization.step(state.theta, blur(g, settings.blur))
    state.v = settings.momentum * state.v + settings.step_size * direction
    state.theta = state.start + (1 - settings.decay) * (state.theta - state.start) + state.v
    if settings.radius is not None:
        state.theta = project_to_ball(state.theta, state.start, settings.radius)


def normalize_gradient(g: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return gradients (B, C, H, W) with root mean square 1 over nonzero pixels, and which have any, bool (B,)."""
    largest = g.abs().amax((1, 2, 3), keepdim=True)  # divide first, so that squares neither vanish nor overflow
    g = g / largest.clamp_min(torch.finfo(g.dtype).tiny)
    count = g.count_nonzero((1, 2, 3))[:, None, None, None].clamp_min(1)
    rms = g.flatten(1).norm(dim=1)[:, None, None, None] / count.sqrt()
    return g.div_(rms.clamp_min(torch.finfo(g.dtype).tiny)), largest.flatten() > 0


def _update_progress(state: _State, scores: torch.Tensor) -> None:
    """Update the running mean of each score and the number of steps since it improved."""
    is_first = state.first.isinf()
    state.first = torch.where(is_first, scores, state.first)
    state.mean = torch.where(is_first, scores, SMOOTHING * state.mean + (1 - SMOOTHING) * scores)
    gain = torch.where(is_first, 0, state.best - state.first)
    improved = state.mean > state.best + MIN_IMPROVEMENT * gain
    state.best = torch.where(improved, state.mean, state.best)
    state.waited = torch.where(improved, 0, state.waited + 1)


def total_variation_gradient(images: torch.Tensor) -> torch.Tensor:
    """Return the gradient of the smoothed total variation, from -4 to 4 per pixel.

    The total variation is the sum of sqrt(d^2 + e^2) - e over the differences d of neighboring pixels, with e = 0.05.
    """
    gradient = torch.zeros_like(images)
    for axis in (2, 3):
        d = images.diff(dim=axis)
        slope = d / (d.square() + 0.05**2).sqrt()  # -1 to 1
        size = images.shape[axis] - 1
        gradient.narrow(axis, 1, size).add_(slope)
        gradient.narrow(axis, 0, size).sub_(slope)
    return gradient


def project_to_ball(z: torch.Tensor, start: torch.Tensor, radius: float) -> torch.Tensor:
    """Return the logits of the nearest pixels with an L2 distance of at most `radius` from the initial pixels."""
    center = torch.sigmoid(start)
    change = torch.sigmoid(z) - center
    length = change.flatten(1).norm(dim=1)[:, None, None, None]
    inside = center + change * (radius / length.clamp_min(torch.finfo(z.dtype).tiny)).clamp_max(1)
    return torch.where(length > radius, torch.logit(inside), z)
