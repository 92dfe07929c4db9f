"""Gradient ascent on pictures: each climbs its own score, all of them in one batch.

Symbols: theta parameters, z logits of the pixels, x pixels, f score summed over the step's views, r(.) root mean
square over the pixels that have a slope, J what the parametrization makes of a slope (for pixels: the slope itself).

    g = df/dz / r(df/dz) - total_variation * dTV/dx - l2 * (x - ground)
    v = momentum * v + step_size * J blur(g)
    theta = start + (1 - decay) * (theta - start) + v

Dividing by r makes a step equally long for every unit of every layer, whatever the scale of its activations and
however few pixels it sees.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from shiftscope.visualization.parametrization import Frame, Parametrization, Pixels
from shiftscope.visualization.presets import ResolvedSynthesis
from shiftscope.visualization.transforms import Transform, blur, in_order, key_of, variation_gradient

Score = Callable[[torch.Tensor, float, torch.Tensor], torch.Tensor]
"""(pixels (B, C, H, W), leak of the ReLUs, int64 (B,) numbers of the pictures) -> (B,), the score of each picture."""

WARM_UP = 0.25
"""Share of the steps in which ReLUs leak."""

RISE = 0.005
"""A score has risen where it beats its best by this share of what it has gained since the start."""

MEMORY = 0.8
"""Share of the running mean of scores that each step keeps: a view in a lucky place is no rise."""


@dataclass(frozen=True)
class Climb:
    """Where an ascent ended."""

    parameters: torch.Tensor
    """(B, ...), without a graph."""
    steps: torch.Tensor
    """int64 (B,), steps that each picture took."""
    felt: torch.Tensor
    """bool (B,), whether its score ever had a slope."""


@dataclass
class _State:
    """The pictures that still climb."""

    rows: torch.Tensor
    frame: Frame
    start: torch.Tensor
    theta: torch.Tensor
    v: torch.Tensor
    felt: torch.Tensor
    mean: torch.Tensor
    best: torch.Tensor
    first: torch.Tensor
    waited: torch.Tensor

    @classmethod
    def begin(cls, start: torch.Tensor, frame: Frame) -> "_State":
        count = len(start)
        rows = torch.arange(count, device=start.device)
        low = torch.full((count,), -torch.inf, device=start.device, dtype=torch.float64)
        return cls(rows, frame, start, start.clone(), torch.zeros_like(start), torch.zeros_like(rows, dtype=torch.bool),
                   low, low.clone(), low.clone(), torch.zeros_like(rows))

    def only(self, chosen: torch.Tensor) -> "_State":
        """Return the state of some of the pictures."""
        chosen_of = {name: value[chosen] for name, value in vars(self).items() if name != "frame"}
        return _State(frame=self.frame.rows(chosen), **chosen_of)


def ascend(score: Score, start: torch.Tensor, frame: Frame, settings: ResolvedSynthesis, *,
           parametrization: Parametrization | None = None, view: Callable[[int], Transform] | None = None,
           copies: int = 1, advance: Callable[[int], None] = lambda steps: None) -> Climb:
    """Return the parameters after `settings.steps` steps, or when the score of a picture has stopped rising.

    A picture that stops is frozen, and the batch shrinks.

    Args:
        score: what each picture climbs; no picture's score depends on another picture, but on those of its unit.
        start: parameters (B, ...).
        frame: lays the pictures on their ground.
        parametrization: gives logits of the parameters; `Pixels` unless given.
        view: step -> what happens to pixels on their way to the model; nothing unless given.
        copies: pictures of a unit, which lie one after the other and stop together.
        advance: called with the number of steps done.
    """
    parametrization = parametrization or Pixels()
    result = Climb(start.clone(), torch.zeros(len(start), dtype=torch.int64, device=start.device),
                   torch.zeros(len(start), dtype=torch.bool, device=start.device))
    state = _State.begin(start, frame)
    for step in range(settings.steps):
        leak = settings.leak if step < WARM_UP * settings.steps else 0.0
        transform = view(step) if view else in_order([])
        _move(state, score, parametrization, transform, settings, step, leak)
        advance(1)
        stopped = _stopped(state, settings, copies) if not leak else None
        if stopped is not None and stopped.any():
            _keep(result, state.only(stopped), step + 1)
            state = state.only(~stopped)
            if len(state.rows) == 0:
                advance(settings.steps - step - 1)
                return result
    _keep(result, state, settings.steps)
    return result


def _keep(result: Climb, state: _State, steps: int) -> None:
    result.parameters[state.rows], result.steps[state.rows], result.felt[state.rows] = state.theta, steps, state.felt


def _move(state: _State, score: Score, parametrization: Parametrization, view: Transform, settings: ResolvedSynthesis,
          step: int, leak: float) -> None:
    """Take one step with all pictures of the state."""
    z = parametrization.logits(state.theta)
    x = state.frame.pixels(z)
    reached, by_pixels = _views(score, state, x, view, settings, step, leak)
    g, felt = unit(state.frame.slope(z, by_pixels))
    state.felt = state.felt | felt
    if not leak:  # what leaking ReLUs gave is no measure for what comes after
        _note(state, reached)
    if settings.total_variation:
        g -= settings.total_variation * variation_gradient(x)
    if settings.l2:
        g -= settings.l2 * (x - state.frame.ground)
    pull = parametrization.pull(state.theta, blur(g, settings.blur))
    state.v = settings.momentum * state.v + settings.step_size * pull
    state.theta = state.start + (1 - settings.decay) * (state.theta - state.start) + state.v
    if settings.radius is not None:
        state.theta = bounded(state.theta, state.start, settings.radius)


def _views(score: Score, state: _State, x: torch.Tensor, view: Transform, settings: ResolvedSynthesis, step: int,
           leak: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Return each picture's score and its slope by pixels, both summed over the views."""
    leaf = x.detach().requires_grad_()
    reached, slope = torch.zeros(len(x), device=x.device, dtype=torch.float64), torch.zeros_like(x)
    for number in range(settings.views):
        scores = score(view(leaf, key_of(settings.seed, step, number)), leak, state.rows)
        (by_pixels,) = torch.autograd.grad(scores.sum(), leaf)
        reached += scores.detach()
        slope += by_pixels
    return reached, slope


def unit(g: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return slopes (B, C, H, W) scaled to root mean square 1 where they are not 0, and which are so anywhere.

    >>> unit(torch.tensor([[[[3.0, 4.0]]], [[[0.0, 0.0]]]]))[1]
    tensor([ True, False])
    """
    largest = g.abs().amax((1, 2, 3), keepdim=True)  # first, so that squares neither vanish nor overflow
    g = g / largest.clamp_min(torch.finfo(g.dtype).tiny)
    seen = g.count_nonzero((1, 2, 3))[:, None, None, None].clamp_min(1)
    scale = g.flatten(1).norm(dim=1)[:, None, None, None] / seen.sqrt()
    return g.div_(scale.clamp_min(torch.finfo(g.dtype).tiny)), largest.flatten() > 0


def _note(state: _State, reached: torch.Tensor) -> None:
    """Remember for how long the running mean of each score has not risen."""
    begins = state.first.isinf()
    state.first = torch.where(begins, reached, state.first)
    state.mean = torch.where(begins, reached, MEMORY * state.mean + (1 - MEMORY) * reached)
    gained = torch.where(begins, 0, state.best - state.first)
    risen = state.mean > state.best + RISE * gained
    state.best = torch.where(risen, state.mean, state.best)
    state.waited = torch.where(risen, 0, state.waited + 1)


def _stopped(state: _State, settings: ResolvedSynthesis, copies: int) -> torch.Tensor | None:
    """Return which pictures stop, bool; a unit's pictures stop together."""
    if not settings.patience:
        return None
    return (state.waited.view(-1, copies) >= settings.patience).all(1).repeat_interleave(copies)


def bounded(z: torch.Tensor, start: torch.Tensor, radius: float) -> torch.Tensor:
    """Return the logits of the nearest pixels whose L2 distance from the start's is at most `radius`.

    >>> torch.sigmoid(bounded(torch.tensor([[[[2.0]]]]), torch.zeros(1, 1, 1, 1), 0.25)).flatten()
    tensor([0.7500])
    """
    ground = torch.sigmoid(start)
    change = torch.sigmoid(z) - ground
    length = change.flatten(1).norm(dim=1)[:, None, None, None]
    inside = ground + change * (radius / length.clamp_min(torch.finfo(z.dtype).tiny)).clamp_max(1)
    return torch.where(length > radius, torch.logit(inside), z)
