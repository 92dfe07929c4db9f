"""What garments are made of: tone, weave, pattern, folds and light, and the picture that shapes are painted on."""

from collections.abc import Callable

import numpy as np

from shiftscope.data.garments.dice import Dice
from shiftscope.data.garments.raster import SIZE, Array, X, Y, per_image


class Picture:
    """Gray images (B, 28, 28) on black, painted layer upon layer."""

    def __init__(self, count: int):
        self.value = np.zeros((count, SIZE, SIZE), dtype=np.float32)
        self.cover = np.zeros_like(self.value)

    def paint(self, mask: Array, tone: Array) -> None:
        """Lay `tone`, gray 0 to 255, (B,) or (B, 28, 28), over what `mask` covers."""
        tone = per_image(tone) if tone.ndim == 1 else tone
        self.value += mask * (tone - self.value)
        np.maximum(self.cover, mask, out=self.cover)

    def shade(self, mask: Array, factor: Array) -> None:
        """Multiply what is there by `factor`, (B,), where `mask` covers it."""
        self.value *= 1 + mask * (per_image(factor) - 1)

    def cut(self, mask: Array) -> None:
        """Take away what `mask` covers, down to the black ground."""
        self.value *= 1 - mask
        self.cover *= 1 - mask

    def finish(self, dice: Dice) -> Array:
        """Return uint8 (B, 28, 28): grain on the garment, none on the ground."""
        grain = dice.grain("grain") * per_image(dice.between("grain strength", 3, 11)) * self.cover
        return np.clip(np.rint(self.value + grain), 0, 255).astype(np.uint8)


Painter = Callable[[Dice], Picture]
"""Draws one class: a picture for every image of the dice."""


def tone(dice: Dice, dark: float = 0.25) -> Array:
    """Return the gray level of the cloth, (B,): mostly light, a share of `dark` ones."""
    light = dice.between("tone light", 130, 240)
    return np.where(dice.chance("tone dark?", dark), dice.between("tone dark", 65, 125), light)


def cloth(dice: Dice, gray: Array, *, stripes: float = 0.1, checks: float = 0.03, print_: float = 0.1) -> Array:
    """Return cloth of mean level `gray` with pattern, folds and light, (B, 28, 28).

    Args:
        dice: the random numbers.
        gray: gray level (B,).
        stripes: share of images with horizontal or vertical stripes.
        checks: share with checks.
        print_: share with an all-over print of blotches.
    """
    pick = dice.between("pattern")
    checked, striped = pick < checks, (pick >= checks) & (pick < checks + stripes)
    blotched = (pick >= checks + stripes) & (pick < checks + stripes + print_)
    upright = dice.chance("stripes upright", 0.3)
    strength = dice.between("pattern strength", 0.15, 0.6)
    across = np.where(checked | (striped & ~upright), strength, 0)
    along = np.where(checked | (striped & upright), strength, 0)
    field = 1 + per_image(across) * _waves(dice, "across", Y) + per_image(along) * _waves(dice, "along", X)
    field += per_image(np.where(blotched, 2.2 * strength, 0.06)) * _blotches(dice)
    return per_image(gray) * field * _light(dice)


def _waves(dice: Dice, name: str, coordinate: Array) -> Array:
    """Soft-edged stripes between -1 and 1."""
    turns = per_image(2 * np.pi / dice.between(f"{name} period", 2.6, 8))
    phase = per_image(dice.between(f"{name} phase", 0, 2 * np.pi))
    return np.clip(2 * np.sin(coordinate * turns + phase), -1, 1)


def _blotches(dice: Dice) -> Array:
    """Noise with spots about three pixels wide, std about 0.3."""
    noise = dice.grain("blotches")
    for axis in (1, 2):
        noise = noise + np.roll(noise, 1, axis) + np.roll(noise, -1, axis)
    return noise * 0.17


def _light(dice: Dice) -> Array:
    """Folds and light from one side: factors around 1."""
    fall = per_image(dice.between("light x", -0.012, 0.012)) * (X - 14)
    fall = fall + per_image(dice.between("light y", -0.008, 0.008)) * (Y - 14)
    wave = X * per_image(dice.between("fold x", 0.2, 1.1)) + Y * per_image(dice.between("fold y", -0.5, 0.5))
    folds = per_image(dice.between("folds", 0, 0.1)) * np.sin(wave + per_image(dice.between("fold phase", 0, 6.3)))
    return 1 + fall + folds
