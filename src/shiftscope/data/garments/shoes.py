"""Shoes from the side, the toe at the left: sandals, sneakers, ankle boots."""

import numpy as np

from shiftscope.data.garments import fabric
from shiftscope.data.garments.dice import Dice
from shiftscope.data.garments.fabric import Picture
from shiftscope.data.garments.raster import SIZE, Array, ellipse, points, polygon, rounded, stroke


def _low(toe_height: Array, instep: Array, top: Array, collar: Array, base: Array) -> Array:
    """Return the mask of a low shoe: toe cap, rise to the instep, opening, heel.

    `instep` is the column where the opening begins, `top` its row, `collar` how far its middle dips.
    """
    rise, bend, back = base - toe_height, 0.55 * instep, SIZE + 0.3
    return polygon(rounded(points(
        (-0.4, base), (-0.4, base - 0.45 * toe_height), (2.2, rise), (bend, rise - 0.28 * (rise - top)),
        (instep - 0.6, top + 0.5), (instep + 1.4, top), (0.5 * (instep + back), top + collar), (back - 2, top),
        (back - 0.6, top + 0.4), (back - 0.9, 0.5 * (top + base)), (back, base - 1.5), (back, base))))


def _high(toe_height: Array, instep: Array, ankle: Array, top: Array, tilt: Array, base: Array) -> Array:
    """Return the mask of a boot: toe cap, vamp, a shaft from the row `ankle` up to `top` that leans by `tilt`."""
    rise, back = base - toe_height, SIZE + 0.3
    return polygon(rounded(points(
        (-0.4, base), (-0.4, base - 0.5 * toe_height), (2.0, rise), (0.55 * instep, rise - 0.3 * (rise - ankle)),
        (instep - 1, ankle + 1), (instep + 0.3, ankle - 1), (instep - tilt, top - 0.3), (instep - tilt + 1, top - 0.3),
        (back - 1.6, top), (back - 0.6, top), (back - 1.3, 0.5 * (top + base)), (back - 0.3, base - 4), (back, base))))


def _sole(dice: Dice, picture: Picture, base: Array, height: Array, gray: Array) -> None:
    """Lay the sole along the bottom, a little raised at the toe."""
    left, right, lift = np.zeros(len(dice)), np.full(len(dice), SIZE), dice.between("toe lift", 0, 1.4)
    picture.paint(polygon(points((left, base - height - lift), (left + 6, base - height), (right, base - height),
                                 (right, base), (left + 4, base), (left + 0.6, base - 0.8 * lift))), gray)


def _laces(dice: Dice, picture: Picture, instep: Array, top: Array, toe_height: Array, base: Array,
           share: float) -> None:
    """Draw short light or dark laces along the rise to the instep, on a share of the images."""
    there = dice.chance("laces", share)
    bright = np.where(dice.chance("laces light", 0.6), 1.45, 0.5)
    for k in range(4):
        x = instep - 1.0 - 2.0 * k
        y = top + 1.2 + (base - toe_height - top) * 0.2 * k
        picture.shade(stroke(points((x - 0.8, y + 0.2), (x + 1.0, y + 1.8)), np.where(there, 0.9, 0)), bright)


def sneaker(dice: Dice) -> Picture:
    """A laced shoe with a light sole and stripes on its side; low, or a high top shaped like a boot."""
    high = dice.chance("high top", 0.25)
    height = np.where(high, dice.between("height high", 13, 21), dice.between("height", 8, 13))
    base = 14 + 0.5 * height + dice.between("base", 0, 1.5)
    top, instep = base - height, dice.between("instep", 12, 17.5)
    toe_height = np.minimum(dice.between("toe height", 3.4, 5.6), 0.6 * height)
    ankle = base - np.minimum(toe_height + dice.between("vamp", 4, 8), height - 1.5)
    low_cut = _low(toe_height, instep, top, dice.between("collar", 0.5, 3), base)
    upper = np.where(high[:, None, None], _high(toe_height, instep, ankle, top, 0 * base, base), low_cut)
    picture = Picture(len(dice))
    picture.paint(upper, fabric.cloth(dice, fabric.tone(dice, dark=0.35), stripes=0.04, checks=0.04, print_=0.2))
    _side_stripes(dice, picture, upper, top, base)
    _laces(dice, picture, instep, np.where(high, ankle - 2, top), toe_height, base, share=0.65)
    _sole(dice, picture, base, dice.between("sole", 1.2, 2.6), dice.between("sole tone", 100, 250))
    return picture


def _side_stripes(dice: Dice, picture: Picture, upper: Array, top: Array, base: Array) -> None:
    """Set three stripes on the side of about half the sneakers."""
    x, there = dice.between("side x", 11, 19), dice.chance("side stripes", 0.55)
    lean, bright = dice.between("side lean", -3, 3), np.where(dice.chance("side light", 0.6), 1.5, 0.45)
    for k in range(3):
        foot = x + 2.2 * k
        mark = stroke(points((foot, 0.55 * top + 0.45 * base), (foot + lean, base - 2)), np.where(there, 0.9, 0))
        picture.shade(mark * upper, bright)

def ankle_boot(dice: Dice) -> Picture:
    """A closed shoe whose shaft rises over the ankle; flat or with a heel."""
    height = np.where(dice.chance("low", 0.3), dice.between("height low", 11.5, 18), dice.between("height", 18, 28))
    base = np.minimum(14 + 0.5 * height + dice.between("base", 0, 1), SIZE)
    top, instep = base - height, dice.between("instep", 12.5, 18.5)
    toe_height = dice.between("toe height", 3.8, 6.5)
    ankle = base - np.minimum(toe_height + dice.between("vamp", 4, 8), height - 1.5)
    picture, gray = Picture(len(dice)), fabric.tone(dice, dark=0.4)
    picture.paint(_high(toe_height, instep, ankle, top, dice.between("tilt", -0.8, 1.5), base),
                  fabric.cloth(dice, gray, stripes=0.02, checks=0.02, print_=0.12))
    _laces(dice, picture, instep, ankle - 2, toe_height, base, share=0.4)
    wide = instep + 2 + 0.4 * (SIZE - instep)
    elastic = polygon(points((wide - 2.5, top + 0.5), (wide + 2.5, top + 0.5), (wide, top + 0.5 * height)))
    picture.shade(elastic * dice.chance("elastic", 0.3)[:, None, None], dice.between("elastic tone", 0.4, 0.75))
    _sole(dice, picture, base, dice.between("sole", 0.8, 1.8), gray * dice.between("sole tone", 0.3, 1.6))
    _raise_heel(dice, picture, base)
    return picture


def _raise_heel(dice: Dice, picture: Picture, base: Array) -> None:
    """Cut the arch out in front of the heel of about half the boots."""
    heel, there = dice.between("heel", 2.5, 8), dice.chance("heeled", 0.4)[:, None, None]
    arch = points((dice.between("arch", 7, 11), base + 0.5), (22 - 0.25 * heel, base - heel),
                  (dice.between("heel x", 21, 24.5), base - heel + 0.2),
                  (dice.between("heel tip", 22, 25.5), base + 0.5))
    picture.cut(polygon(arch) * there)


def sandal(dice: Dice) -> Picture:
    """A sole, flat, wedged or on a heel, held by a few straps."""
    heel = np.where(dice.chance("heeled", 0.5), dice.between("heel", 4, 15), dice.between("flat", 0, 2))
    tall = heel + dice.between("straps", 5, 11)
    base = np.minimum(14 + 0.5 * tall + dice.between("base", 0, 1.5), SIZE - 0.3)
    gray, width = fabric.tone(dice, dark=0.3), dice.between("strap width", 1.1, 2.4)
    shine = fabric.cloth(dice, gray, print_=0.2)
    picture, zero = Picture(len(dice)), np.zeros(len(dice))
    ball = dice.between("ball", 8, 11)
    tread = points((zero + 0.5, base - 0.7), (ball, base - 1), (ball + 7, base - 1 - 0.55 * heel),
                   (zero + 23, base - 0.9 - heel), (zero + 27.3, base - 1 - heel))
    picture.paint(stroke(tread, dice.between("tread", 1.4, 2.6)), shine)
    wedge = dice.chance("wedge", 0.35)
    filled = points((ball - 4, base), (ball, base - 1), (ball + 7, base - 1 - 0.55 * heel),
                    (zero + 23, base - 1 - heel), (zero + 28, base - 1 - heel), (zero + 27.5, base))
    picture.paint(polygon(filled) * wedge[:, None, None], shine * dice.between("wedge tone", 0.5, 1)[:, None, None])
    spike = stroke(points((zero + 26, base - 1 - heel), (zero + 26.6, base)), dice.between("spike", 1, 3))
    picture.paint(spike * (heel > 3)[:, None, None], shine)
    closed = dice.chance("closed toe", 0.3)[:, None, None]
    toe = points((zero, base - 0.5), (zero + 1, base - 3), (ball - 2, base - 0.5 * tall),
                 (ball + 5, base - 1 - 0.4 * heel))
    picture.paint(polygon(rounded(toe)) * closed, shine)
    _straps(dice, picture, shine, width, tall, heel, base, ball)
    return picture


def _straps(dice: Dice, picture: Picture, shine: Array, width: Array, tall: Array, heel: Array, base: Array,
            ball: Array) -> None:
    """Arch two to four straps over the foot, and hold the heel on most."""
    top = base - tall
    for k in range(3):
        x = 3 + dice.between(f"strap x {k}", 0, 2.5) + k * dice.between(f"strap step {k}", 2.5, 4.5)
        low = base - 1.5 - np.clip(x - ball, 0, None) / 14 * heel
        peak = low - 0.4 * tall + 0.38 * heel - dice.between(f"strap peak {k}", -0.5, 1.5)
        over = points((x, low), (x + 2.2, peak + 0.8), (x + 5.5, peak))
        picture.paint(stroke(over, width * dice.chance(f"strap {k}", 0.75)), shine)
    ankle = dice.chance("ankle strap", 0.75)[:, None, None]
    zero = np.zeros(len(dice))
    ring = points((ball + 6, base - 2 - 0.5 * heel), (18 + zero, top + 1.5), (22 + zero, top + 0.8),
                  (zero + 26.8, top + 1.6), (zero + 27, base - 1 - heel))
    picture.paint(stroke(ring, 0.8 * width) * ankle, shine)
    buckle = ellipse(zero + 22, top + 1, zero + 0.7, zero + 0.7)
    picture.shade(buckle * ankle, dice.between("buckle", 0.6, 1.5))
