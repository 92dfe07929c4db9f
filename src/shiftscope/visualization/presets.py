"""What suits a model's pictures: a value for everything that `SynthesisSettings` leaves open.

| preset | for |
|---|---|
| small classes | classes of nets with sides below 128, gray or on a known canvas: one garment on a dark canvas |
| small units | all other units of such nets: they look at fixed places, so pictures fill the canvas |
| small color | other nets on several channels, sides below 128 |
| large | sides of 128 and more, as the 224 pixels of ImageNet's nets |
"""

import math
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from shiftscope.placement import Placement
from shiftscope.settings import Parametrization, SynthesisSettings

LARGE = 128
"""Sides from here on are large: natural images, whose frequencies want the 1/f of their spectrum."""

CANVAS = 40
"""Gray pictures with sides from here on are canvases twice as large as their images, unless a placement says else:
those of Shiftscope are, and gray datasets themselves have 28 or 32 pixels."""


@dataclass(frozen=True, kw_only=True)
class Preset:
    """Values for what is left open."""

    preset: str
    parametrization: Parametrization = "pixels"
    steps: int = 20
    step_size: float = 0.25
    momentum: float = 0.5
    views: int = 1
    jitter: int = 2
    jitter_mode: Literal["circular", "crop"] = "circular"
    settle: float = 0.0
    scale: float = 0.0
    noise: float = 0.0
    view_blur: float = 0.0
    window: tuple[float, float] = (1.0, 1.0)
    """Shares of height and width."""
    blur: float = 1.5
    total_variation: float = 0.1
    l2: float = 0.0
    decay: float = 0.05
    radius: float | None = None
    leak: float = 0.1
    patience: int = 10
    start: str = "black"
    """What the pictures begin with."""


@dataclass(frozen=True, kw_only=True)
class ResolvedSynthesis(Preset):
    """`SynthesisSettings` with nothing left open."""

    seed: int = 0
    memory: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as plain JSON."""
        return asdict(self) | {"window": list(self.window)}


UNITS = Preset(preset="small units")
CLASSES = Preset(preset="small classes", steps=60, views=2, jitter_mode="crop", settle=0.7,
                 total_variation=0.3, decay=0.03)
COLOR = Preset(preset="small color", steps=60, start="zero")
LARGE_COLOR = Preset(preset="large", parametrization="fourier", steps=128, step_size=1.0, jitter=8, scale=0.1,
                      blur=0.0, total_variation=0.0, decay=0.02, start="zero")


def resolve(settings: SynthesisSettings, shape: tuple[int, int, int], *, classes: bool = False, first: bool = False,
            placed: bool = False, anchored: bool = False, placement: Placement | None = None) -> ResolvedSynthesis:
    """Return settings with everything open taken from the preset.

    Args:
        shape: (C, H, W) of the model's pictures.
        classes: whether classes are asked for, and nothing else.
        first: whether units of the first layer are, which weigh pixels up and down alike: they begin in mid-gray.
        placed: whether units are asked for at one place: the picture then stays where it is, and keeps its details.
        anchored: whether the model weighs each place by itself, as a perceptron: no picture works everywhere, and one
            that should looks like nothing, so that it moves a third as far.
        placement: how the images that the model knows lie on its canvas.

    Example:
        >>> chosen = resolve(SynthesisSettings(steps=3), (1, 56, 56), classes=True)
        >>> chosen.preset, chosen.steps, chosen.jitter, chosen.window[0] < 0.6
        ('small classes', 3, 12, True)
    """
    preset = choose_preset(shape, classes=classes, canvas=placement is not None and placement.mode != "crop")
    given = {name: value for name, value in settings.to_dict().items() if value is not None}
    if preset is CLASSES:
        preset = replace(preset, window=window_of(shape, placement))
    if "window" in given:
        given["window"] = (given["window"],) * 2
    window = given.get("window", preset.window)
    if preset.preset == CLASSES.preset:
        preset = replace(preset, jitter=_room(shape, window) // (3 if anchored else 1))
    if placed:
        preset = replace(preset, jitter=0, blur=0.0, total_variation=0.02, step_size=0.06)  # larger ones saturate
    if first:
        preset = replace(preset, start="zero")
    if given.get("parametrization", preset.parametrization) == "maco":
        preset = replace(preset, **MACO)
    elif given.get("parametrization") == "fourier":
        preset = replace(preset, blur=0.0, step_size=2.0)
    return ResolvedSynthesis(**(asdict(preset) | given))


MACO: dict[str, Any] = {"step_size": 0.1, "blur": 0.0, "decay": 0.0, "total_variation": 0.0, "steps": 100,
                        "start": "mean"}
"""What differs where only phases move: the spectrum keeps the picture smooth, and phases have nowhere to fade to. From
random phases a bright ground may never turn dark; those of the mean image are right about it."""


def choose_preset(shape: tuple[int, int, int], *, classes: bool = False, canvas: bool = False) -> Preset:
    """Return the preset for pictures of a shape; `canvas` says that they are known to be canvases with an image.

    >>> choose_preset((3, 224, 224)).preset, choose_preset((1, 28, 28)).preset
    ('large', 'small units')
    """
    channels, height, width = shape
    if max(height, width) >= LARGE:
        return LARGE_COLOR
    if channels > 1 and not canvas:
        return COLOR
    return CLASSES if classes else UNITS


def window_of(shape: tuple[int, int, int], placement: Placement | None) -> tuple[float, float]:
    """Return the shares of height and width that an image takes, and a pixel more on each side for the soft edge.

    >>> window_of((1, 56, 56), None)[0] * 56, window_of((1, 28, 28), None)
    (30.0, (1.0, 1.0))
    """
    canvas = shape[1:]
    if placement is not None:
        image = placement.image if placement.mode != "crop" else canvas
    else:
        image = tuple(size // 2 for size in canvas) if min(canvas) >= CANVAS else canvas
    return min(1.0, (image[0] + 2) / canvas[0]), min(1.0, (image[1] + 2) / canvas[1])


def _room(shape: tuple[int, int, int], window: tuple[float, float]) -> int:
    """Return how far the window may move without its picture leaving the canvas, and at least 2 pixels."""
    room = min(math.floor(size * (1 - share) / 2) for size, share in zip(shape[1:], window, strict=True))
    return max(2, room - 1)
