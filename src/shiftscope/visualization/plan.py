"""What an ascent needs besides the model, and the ascent itself for some of the pictures."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from shiftscope.data import ImageSet
from shiftscope.outputs import NONFINITE_CLASS, classify
from shiftscope.placement import Placement
from shiftscope.progress import Task
from shiftscope.visualization.anatomy import OUTPUT, Anatomy
from shiftscope.visualization.ascent import ascend
from shiftscope.visualization.binding import Target
from shiftscope.visualization.parametrization import Frame, Parametrization, Pixels, soft_window, to_logits
from shiftscope.visualization.presets import ResolvedSynthesis
from shiftscope.visualization.probe import Probe, chunk_length
from shiftscope.visualization.spectrum import Fourier, maco
from shiftscope.visualization.starts import noise_of, start_pixels
from shiftscope.visualization.transforms import Blur, Jitter, Noise, Scale, Transform, in_order

DITHER = 1e-3
"""Noise on the logits of every start: on a flat canvas maxima are tied, and rounding would choose among them."""

APART = 0.3
"""Noise on the logits by which the pictures of one unit begin apart: equal ones have no reason to part."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All that an ascent needs besides the model."""

    target: Target
    settings: ResolvedSynthesis
    frame: Frame
    logits: torch.Tensor
    """(B, C, H, W), of the starts."""
    parametrization: Parametrization
    transforms: tuple[Transform, ...] = ()
    chunk: int = 1

    def view(self, rows: torch.Tensor) -> Callable[[int], Transform]:
        """Return what happens to the pictures of `rows` on their way to the model, by step."""
        chosen = self.settings
        ground = self.frame.ground[rows[:1]] if chosen.jitter_mode == "crop" else None

        def at(step: int) -> Transform:
            jitter = round(chosen.jitter * (1 - chosen.settle * step / chosen.steps))
            parts = ((chosen.scale, Scale(chosen.scale)), (jitter, Jitter(jitter, ground)),
                     (chosen.view_blur, Blur(chosen.view_blur)), (chosen.noise, Noise(chosen.noise)))
            return in_order([*(part for amount, part in parts if amount), *self.transforms])

        return at


def make_plan(target: Target, chosen: ResolvedSynthesis, anatomy: Anatomy, *, device: torch.device, dtype: torch.dtype,
              start: Any = None, images: ImageSet | None = None, placement: Placement | None = None,
              transforms: Sequence[Transform] = ()) -> Plan:
    """Return what an ascent needs besides the model.

    Args:
        chosen: settings with nothing left open.
        device, dtype: of the model.
        start, images, placement, transforms: see `visualize`.

    Raises:
        UsageError: see `start_pixels` and `spectrum.maco`.
    """
    start = chosen.start if start is None else start
    precise = torch.float64 if dtype == torch.float64 else torch.float32
    shape, names = anatomy.shape, target.names
    ground = start_pixels(start, shape, names, seed=chosen.seed, images=images, placement=placement, dtype=precise)
    logits = to_logits(ground) + DITHER * noise_of("dither", shape, chosen.seed, precise)
    if target.copies > 1:
        logits = logits + APART * torch.stack([noise_of(name, shape, chosen.seed, precise) for name in names])
    window = soft_window(*shape[1:], chosen.window)
    frame = Frame(ground.to(device), None if window is None else window.to(device, precise))
    return Plan(target=target, settings=chosen, frame=frame, logits=logits.to(device), transforms=tuple(transforms),
                 parametrization=_parametrization(chosen, shape, images, placement),
                 chunk=chunk_length(anatomy, target.copies, dtype, device, chosen.memory))


def _parametrization(chosen: ResolvedSynthesis, shape: tuple[int, int, int], images: ImageSet | None,
                     placement: Placement | None) -> Parametrization:
    if chosen.parametrization == "maco":
        return maco(images, shape, placement, one_image=min(chosen.window) < 1)
    return Fourier((shape[1], shape[2])) if chosen.parametrization == "fourier" else Pixels()


def climb(probe: Probe, plan: Plan, rows: torch.Tensor, task: Task) -> dict[str, torch.Tensor]:
    """Make the pictures of some rows, int64 (B,); return them with what they reach, by name."""
    target, how, frame = plan.target, plan.parametrization, plan.frame.rows(rows)

    def score(pixels: torch.Tensor, leak: float, within: torch.Tensor) -> torch.Tensor:
        return target.scores(probe.ask(pixels, target.layers, leak), rows[within], leak)

    start = how.start(plan.logits[rows])
    ended = ascend(score, start, frame, plan.settings, parametrization=how, view=plan.view(rows), copies=target.copies,
                   advance=task.advance)
    with torch.no_grad():
        pixels = frame.pixels(how.logits(ended.parameters))
        before = probe.ask(frame.pixels(how.logits(start)), target.layers)
        after = probe.ask(pixels, target.layers)
        return {"images": pixels, "steps": ended.steps, "dead": ~ended.felt | target.silent(after, rows),
                "activations": target.activations(after, rows),
                "activations_start": target.activations(before, rows), **answers_of(after[OUTPUT], len(pixels))}


def answers_of(outputs: torch.Tensor, count: int) -> dict[str, torch.Tensor]:
    """Return class and confidence of `count` rows of a model's output; -1 and 0 where there is no prediction."""
    if outputs.ndim != 2:
        return {"predictions": torch.full((count,), NONFINITE_CLASS), "confidence": torch.zeros(count)}
    classes, confidence = classify(outputs)
    return {"predictions": classes, "confidence": confidence.float()}
