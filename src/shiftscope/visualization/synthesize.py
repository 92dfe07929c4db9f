"""Pictures that excite units of a model: from an objective to a `Synthesis`."""

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from torch import nn

from shiftscope.errors import ShiftscopeError, UsageError
from shiftscope.hooks import Watch, capture, channels_last, frozen
from shiftscope.models import registry_name
from shiftscope.models.adapt import Normalization, adapt
from shiftscope.models.forward import home
from shiftscope.progress import Progress, SilentProgress, Task
from shiftscope.results import Synthesis
from shiftscope.settings import SynthesisSettings
from shiftscope.visualization.anatomy import CLASSES, examine, picture_shape
from shiftscope.visualization.ascent import ascend
from shiftscope.visualization.objectives import Objective, Target, bind, objective
from shiftscope.visualization.parametrisation import start_logits, start_name, to_pixels

CHUNK_PIXELS = {"cpu": 2**17, "gpu": 2**22}
"""Pixels of all pictures that are made at once: on CPUs what their caches hold, 41 of 56 x 56."""


def visualize(model: nn.Module, goal: str | Objective = "class:all", *, start: Any = None,
              settings: SynthesisSettings | None = None, shape: Sequence[int] | None = None,
              class_names: Sequence[str] = (), normalize: Normalization | None = None,
              preprocess: Callable[[torch.Tensor], torch.Tensor] | None = None, name: str | None = None,
              progress: Progress | None = None) -> Synthesis:
    """Make a picture for each unit that excites it as much as possible, all units in one batch.

    Classes are climbed before the softmax where the model ends in one; layers as their module gives them, so the
    neurons of `fc1` before their ReLU; a channel of a convolution as the mean over its places. The model is left as it
    was: modes, gradients, hooks, random state.

    Args:
        model: takes pixels (batch, C, H, W) in [0, 1]; on any device.
        goal: "class:2", "class:Bag", "class:all", "fc1:all", "fc1:0-99", "conv2:7", or `Objective`s put together.
        start: "zero" (mid-grey), "black", "random", or a picture (C, H, W), uint8 or in [0, 1]. Unless given: zero for
            units of the first layer, which weigh pixels up and down alike, and black, an empty canvas, for all others.
        settings: how; the defaults suit small nets on grey images.
        shape: (C, H, W) of the model's pictures; its attribute `picture` unless given.
        class_names: for objectives like "class:Bag".
        normalize: (mean, deviation) for a model that wants its pixels normalised.
        preprocess: instead of `normalize`, whatever the model wants done to pixels first.
        name: of the model, in tables and figures.

    Returns:
        Images (U, C, H, W), what they reach, and what the model takes them for.

    Raises:
        UsageError: an unknown layer or class, a unit out of range, a start of another size, a score that does not
            depend on the picture. What the model itself raises is not caught.

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
    settings = settings or SynthesisSettings()
    title = name or registry_name(model) or type(model).__name__
    model = adapt(model, normalize=normalize, preprocess=preprocess)
    goal = objective(goal) if isinstance(goal, str) else goal
    sizes = picture_shape(model, shape)
    anatomy = examine(model, sizes, class_names)
    target = bind(goal, anatomy)
    device, dtype = home(model)
    if start is None:
        start = "zero" if any(map(anatomy.reads_pixels, target.layers)) else "black"
    precise = torch.float64 if dtype == torch.float64 else torch.float32
    z0 = start_logits(start, sizes, len(target.names), seed=settings.seed, dtype=precise)
    with frozen(model):
        climber = _Climber(model, target, dtype)
        found = _climb_all(climber, z0.to(device), settings, f"{title} {goal}", progress or SilentProgress())
    if not np.isfinite(found["images"]).all():
        raise ShiftscopeError(f"the pictures of {goal} are not finite: the gradient of {title} holds NaN or infinity; "
                              "look for it in the model's weights")
    return Synthesis(model=title, objective=str(goal), units=target.names, class_names=list(class_names),
                     start=start_name(start), settings=settings.to_dict(), device=str(device),
                     seconds=time.perf_counter() - begun, notes=_notes(target, found["activations"]), **found)


def default_objectives(model: nn.Module, shape: Sequence[int] | None = None) -> list[str]:
    """Return what is worth seeing first: all classes, and (up to 100) neurons of the first fully connected layer.

    Example:
        >>> from shiftscope.models import TwoFullNet
        >>> default_objectives(TwoFullNet())
        ['class:all', 'fc1:all']
    """
    anatomy = examine(model, picture_shape(model, shape))
    layer = anatomy.first_linear
    if layer is None:
        return [f"{CLASSES}:all"]
    return [f"{CLASSES}:all", f"{layer}:all" if anatomy.units(layer) <= 100 else f"{layer}:0-99"]


class _Climber:
    """A model and the units that pictures are made for."""

    def __init__(self, model: nn.Module, target: Target, dtype: torch.dtype):
        self.model, self.target, self.dtype = model, target, dtype

    def ask(self, pixels: torch.Tensor, leak: float = 0.0) -> dict[str, torch.Tensor]:
        """Return what the target's layers give, and under "class" the model's output before its softmax."""
        with capture(self.model, self.target.layers) as outputs, Watch(leak) as watch:
            outputs[CLASSES] = watch.logits(self.model(pixels.to(self.dtype)))
        return outputs

    def climb(self, z0: torch.Tensor, rows: slice, settings: SynthesisSettings, task: Task) -> dict[str, torch.Tensor]:
        """Make the pictures of the units in `rows` from logits `z0`."""
        def score(pixels: torch.Tensor, leak: float) -> torch.Tensor:
            return self.target.scores(self.ask(pixels, leak), rows)

        z = ascend(score, z0, settings, advance=task.advance)
        with torch.no_grad():
            before, after = self.ask(to_pixels(z0)), self.ask(to_pixels(z))
            return {"images": to_pixels(z), "activations": self.target.activations(after, rows),
                    "activations_start": self.target.activations(before, rows), **_answers(after[CLASSES])}

    def check(self, z0: torch.Tensor) -> None:
        """Raise a `UsageError` unless the first score depends on its picture."""
        first = slice(0, 1)
        score = self.target.scores(self.ask(to_pixels(z0[first].clone().requires_grad_())), first)
        if not score.requires_grad:
            raise UsageError(f"{self.target.names[0]} does not depend on the picture: the model cuts the gradient "
                             "(no_grad, detach or whole numbers) on the way; choose an earlier layer")

    def takes_channels_last(self, z0: torch.Tensor) -> bool:
        """Return whether the model works with its filters in another memory layout: a `view` of its own may not."""
        try:
            with channels_last(self.model):
                self.check(z0)
        except RuntimeError:  # an error that has other causes comes again in the usual layout
            return False
        return True


def _answers(outputs: torch.Tensor) -> dict[str, torch.Tensor]:
    """Class and softmax confidence of each row; -1 and 0 where the output is no row of finite scores."""
    if outputs.ndim != 2:
        return {"predictions": torch.full((len(outputs),), -1), "confidence": torch.zeros(len(outputs))}
    confidence, classes = outputs.float().softmax(1).max(1)
    finite = outputs.isfinite().all(1)
    return {"predictions": classes.masked_fill(~finite, -1), "confidence": confidence.masked_fill(~finite, 0)}


def _climb_all(climber: _Climber, z0: torch.Tensor, settings: SynthesisSettings, title: str,
               progress: Progress) -> dict[str, np.ndarray]:
    """Make all pictures, chunk by chunk."""
    chunk = max(1, CHUNK_PIXELS["cpu" if z0.device.type == "cpu" else "gpu"] // z0[0].numel())
    rows = [slice(begin, begin + chunk) for begin in range(0, len(z0), chunk)]
    task = progress.task(title, len(rows) * settings.steps, "steps")
    layout = channels_last(climber.model) if climber.takes_channels_last(z0) else nullcontext()
    try:
        with layout:
            climber.check(z0)
            parts = [climber.climb(z0[part], part, settings, task) for part in rows]
    finally:
        task.close()
    merged = {key: torch.cat([part[key] for part in parts]).cpu() for key in parts[0]}
    return {key: (value if key == "predictions" else value.float()).numpy() for key, value in merged.items()}


def _notes(target: Target, activations: np.ndarray) -> list[str]:
    silent = int((activations <= 0).sum())
    if not silent or not target.layers:
        return []
    return [f"{silent} of {len(activations)} units stay at or below zero for their own picture: nothing excites them"]
