"""Gradient ascent on pictures: each climbs its own score, all of them in one batch.

Symbols: z logits of the pixels, x = sigmoid(z) pixels, f score, r(.) root mean square over a picture.

    g = df/dz / r(df/dz) - total_variation * dTV/dx
    v = momentum * v + step_size * blur(g)
    z = start + (1 - decay) * (z - start) + v

Dividing by r makes a step equally long for every unit of every layer, whatever the scale of its activations.
"""

from collections.abc import Callable

import torch

from shiftscope.settings import SynthesisSettings
from shiftscope.visualization.parametrisation import to_pixels
from shiftscope.visualization.transforms import blur, jitter, shift_of, variation_gradient

Score = Callable[[torch.Tensor, float], torch.Tensor]
"""(pixels (B, C, H, W), leak of the ReLUs) -> (B,), the score of each picture."""

WARM_UP = 0.25
"""Share of the steps in which ReLUs leak."""


def ascend(score: Score, start: torch.Tensor, settings: SynthesisSettings, *,
           advance: Callable[[int], None] = lambda steps: None) -> torch.Tensor:
    """Return the logits after `settings.steps` steps.

    Args:
        score: what each picture climbs; no picture's score depends on another picture.
        start: logits (B, C, H, W).
        advance: called after each step.

    Returns:
        (B, C, H, W), without a graph.
    """
    z, v = start.clone(), torch.zeros_like(start)
    for step in range(settings.steps):
        leak = settings.leak if step < WARM_UP * settings.steps else 0.0
        g = unit_gradient(score, z, leak, shift_of(step, settings.jitter, settings.seed))
        if settings.total_variation:
            g -= settings.total_variation * variation_gradient(to_pixels(z))
        v = settings.momentum * v + settings.step_size * blur(g, settings.blur)
        z = start + (1 - settings.decay) * (z - start) + v
        advance(1)
    return z


def unit_gradient(score: Score, z: torch.Tensor, leak: float, shift: tuple[int, int]) -> torch.Tensor:
    """Return the gradient of each picture's score by its logits (B, C, H, W), scaled to root mean square 1.

    Where there is no gradient it is 0.
    """
    z = z.detach().requires_grad_()
    total = score(jitter(to_pixels(z), shift), leak).sum()
    (g,) = torch.autograd.grad(total, z)
    scale = g.square().mean((1, 2, 3), keepdim=True).sqrt()
    return g / scale.clamp_min(torch.finfo(g.dtype).tiny)
