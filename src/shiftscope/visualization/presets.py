"""Presets: default values for everything that `SynthesisSettings` leaves open."""

import math
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from shiftscope.placement import Placement
from shiftscope.settings import Parametrization, SynthesisSettings

LARGE = 128  # minimum side of large images
CANVAS = 40
"""Gray inputs with at least this side are canvases twice as large as their images, unless a placement is given."""


@dataclass(frozen=True, kw_only=True)
class Preset:
    """Default values."""

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
    window: tuple[float, float] = (1.0, 1.0)  # fractions of height and width
    blur: float = 1.5
    total_variation: float = 0.1
    l2: float = 0.0
    decay: float = 0.05
    radius: float | None = None
    leak: float = 0.1
    patience: int = 10
    start: str = "black"


@dataclass(frozen=True, kw_only=True)
class ResolvedSynthesis(Preset):
    """`SynthesisSettings` with all values set."""

    seed: int = 0
    memory: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as plain JSON."""
        return asdict(self) | {"window": list(self.window)}


# Small gray models or known canvases: one object on a dark canvas for classes, images that fill it for other units.
UNITS = Preset(preset="small units")
CLASSES = Preset(preset="small classes", steps=60, views=2, jitter_mode="crop", settle=0.7,
                 total_variation=0.3, decay=0.03)
COLOR = Preset(preset="small color", steps=60, start="zero")
LARGE_COLOR = Preset(preset="large", parametrization="fourier", steps=128, step_size=1.0, jitter=8, scale=0.1,
                     blur=0.0, total_variation=0.0, decay=0.02, start="zero")

MACO: dict[str, Any] = {"step_size": 0.1, "blur": 0.0, "decay": 0.0, "total_variation": 0.0, "steps": 100,
                        "start": "mean"}
"""Overrides for phases: the spectrum keeps images smooth. With random initial phases the background may stay bright."""


def resolve_settings(settings: SynthesisSettings, shape: tuple[int, int, int], *, classes: bool = False,
                     first_layer: bool = False, has_position: bool = False, starts_with_linear: bool = False,
                     placement: Placement | None = None) -> ResolvedSynthesis:
    """Return settings with open values taken from the preset.

    Args:
        shape: (C, H, W) of the model's input.
        classes: the objective consists of classes only.
        first_layer: it uses units of the first layer, which are linear in the pixels: images start in mid-gray.
        has_position: it uses a unit at one position: there is no jitter and less smoothing.
        starts_with_linear: the model has separate weights for each pixel: the jitter is a third, because no image
            activates its units at all offsets.
        placement: of the model's images on the canvas.
    """
    preset = _choose_preset(shape, classes, placement is not None and placement.geometry.keeps_pixels)
    values = {name: value for name, value in settings.to_dict().items() if value is not None}
    if "window" in values:
        values["window"] = (values["window"],) * 2
    if preset is CLASSES:
        preset = replace(preset, window=_window_of(shape, placement))
        margin = _margin(shape, values.get("window", preset.window))
        preset = replace(preset, jitter=margin // (3 if starts_with_linear else 1))
    if has_position:
        preset = replace(preset, jitter=0, blur=0.0, total_variation=0.02, step_size=0.06)  # larger steps saturate
    if first_layer:
        preset = replace(preset, start="zero")
    if values.get("parametrization", preset.parametrization) == "maco":
        preset = replace(preset, **MACO)
    elif values.get("parametrization") == "fourier":
        preset = replace(preset, blur=0.0, step_size=2.0)
    return ResolvedSynthesis(**(asdict(preset) | values))


def _choose_preset(shape: tuple[int, int, int], classes: bool, is_canvas: bool) -> Preset:
    channels, height, width = shape
    if max(height, width) >= LARGE:
        return LARGE_COLOR
    if channels > 1 and not is_canvas:
        return COLOR
    return CLASSES if classes else UNITS


def _window_of(shape: tuple[int, int, int], placement: Placement | None) -> tuple[float, float]:
    """Return the fractions of height and width of an image with one more pixel on each side for the soft edge."""
    canvas = image = shape[1:]
    if placement is not None and placement.geometry.keeps_pixels:
        image = placement.image
    elif placement is None and min(canvas) >= CANVAS:
        image = canvas[0] // 2, canvas[1] // 2
    return min(1.0, (image[0] + 2) / canvas[0]), min(1.0, (image[1] + 2) / canvas[1])


def _margin(shape: tuple[int, int, int], window: tuple[float, float]) -> int:
    """Return the number of pixels by which the window can shift within the canvas, at least 2."""
    margin = min(math.floor(size * (1 - fraction) / 2) for size, fraction in zip(shape[1:], window, strict=True))
    return max(2, margin - 1)
