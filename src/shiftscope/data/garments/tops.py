"""What is worn above the waist, and dresses: one pattern (body, two sleeves, neckline) cut in five ways."""

from dataclasses import dataclass

import numpy as np

from shiftscope.data.garments import fabric
from shiftscope.data.garments.dice import Dice
from shiftscope.data.garments.fabric import Picture
from shiftscope.data.garments.raster import SIZE, Array, box, ellipse, points, polygon, stroke


@dataclass(frozen=True, kw_only=True)
class Cut:
    """Measures of a top in pixels, each (B,); widths are measured from the middle line outward."""

    middle: Array
    neck: Array
    neck_depth: Array
    shoulder: Array
    drop: Array
    """How much lower the shoulder's end lies than the neck."""
    armhole: Array
    """Row where sleeve and body part."""
    chest: Array
    waist: Array
    hem: Array
    tail: Array
    """How much the hem's corners rise above its middle."""
    sleeve: Array
    """Length of the sleeve; below 1 there is none."""
    angle: Array
    """Angle of the sleeve from straight down, radians."""
    cuff: Array
    """Width of the sleeve at its end."""


def body(cut: Cut) -> Array:
    """Return the mask of the body, from the frame's top to its bottom."""
    low, waist_row = SIZE - cut.tail, 0.5 * (cut.armhole + SIZE)
    half = ((cut.neck, 0), (cut.shoulder, cut.drop), (cut.chest, cut.armhole), (cut.waist, waist_row), (cut.hem, low))
    inner = 0.5 * cut.hem
    right = [(cut.middle + x, y) for x, y in half]
    left = [(cut.middle - x, y) for x, y in reversed(half)]
    return polygon(points(*right, (cut.middle + inner, SIZE), (cut.middle - inner, SIZE), *left))


def sleeve(cut: Cut, side: int) -> Array:
    """Return the mask of one sleeve; `side` is -1 for the left one, 1 for the right one."""
    across, down = np.sin(cut.angle), np.cos(cut.angle)
    top_x, top_y = cut.shoulder - 0.6, cut.drop - 0.2
    end_x, end_y = top_x + 0.6 + across * cut.sleeve, np.minimum(top_y + 0.6 + down * cut.sleeve, 27.5)
    corners = ((top_x, top_y), (end_x, end_y), (end_x - down * cut.cuff, end_y + across * cut.cuff),
               (cut.chest - 1.0, cut.armhole + 0.5))
    mask = polygon(points(*((cut.middle + side * x, y) for x, y in corners)))
    return mask * (cut.sleeve >= 1)[:, None, None]


def sew(dice: Dice, cut: Cut, cloth: Array) -> Picture:
    """Return body and sleeves in `cloth`, with seams, the neckline cut out."""
    picture = Picture(len(dice))
    for side in (-1, 1):
        picture.paint(sleeve(cut, side), cloth * dice.between(f"sleeve light {side}", 0.6, 1.0)[:, None, None])
    picture.paint(body(cut), cloth)
    depth = dice.between("seam", 0.45, 0.95)
    for side in (-1, 1):
        line = points((cut.middle + side * cut.shoulder, cut.drop + 1), (cut.middle + side * cut.chest, cut.armhole),
                      (cut.middle + side * cut.waist, 0.5 * (cut.armhole + SIZE)))
        picture.shade(stroke(line, np.where(cut.sleeve >= 1, 0.9, 0.0)), depth)
    return picture


def neckline(dice: Dice, picture: Picture, cut: Cut, pointed: float = 0.2, trim: float = 0.5) -> None:
    """Cut the neck out: round, or pointed for a share of the images, with a trim on some."""
    middle, zero = cut.middle, np.zeros(len(dice))
    sharp = dice.chance("neck pointed", pointed)
    round_ = ellipse(middle, zero, np.where(sharp, 0.1, cut.neck), cut.neck_depth)
    reach = np.where(sharp, cut.neck, 0)
    wedge = polygon(points((middle - reach, zero), (middle + reach, zero), (middle, 1.5 * cut.neck_depth)))
    hole = np.maximum(round_ * (~sharp)[:, None, None], wedge)
    width = np.where(~sharp & dice.chance("neck trim", trim), 1.0, 0.0)
    rim = ellipse(middle, zero, cut.neck + width, cut.neck_depth + width) * (width > 0)[:, None, None]
    picture.shade(rim, dice.between("neck trim tone", 0.6, 1.3))
    lining = dice.chance("neck lining", 0.4)
    picture.cut(hole * (~lining)[:, None, None])
    picture.shade(hole * lining[:, None, None], dice.between("lining", 0.25, 0.6))


def chest_print(dice: Dice, picture: Picture, cut: Cut, share: float) -> None:
    """Put a box or a roundel on the chest of a share of the images."""
    gray = np.where(dice.chance("motif dark", 0.5), dice.between("motif low", 15, 90),
                    dice.between("motif high", 190, 250))
    x, y = cut.middle + dice.between("motif x", -1, 1), dice.between("motif y", 8, 14)
    across, down = dice.between("motif across", 1.5, 4.5), dice.between("motif down", 0.8, 4)
    there = dice.chance("motif", share)
    boxed = there & dice.chance("motif box", 0.5)
    picture.paint(box(x - across, x + across, y - down, y + down) * boxed[:, None, None], gray)
    picture.paint(ellipse(x, y, across, down) * (there & ~boxed)[:, None, None], gray)


def front(dice: Dice, picture: Picture, cut: Cut, *, visible: tuple[float, float], width: tuple[float, float],
          buttons: float) -> None:
    """Draw the front opening from neck to hem as a dark or light line, and buttons on a share of the images.

    `visible` is the range of the line's contrast, where 0 cannot be seen; `width` is in pixels.
    """
    x = cut.middle + dice.between("front x", -1.6, 1.6)
    contrast = dice.between("front contrast", *visible)
    light = dice.chance("front light", 0.25)
    line = stroke(points((x, cut.neck_depth), (x, SIZE)), dice.between("front width", *width))
    picture.shade(line, np.where(light, 1 + 0.5 * contrast, 1 - contrast))
    there = dice.chance("buttons", buttons)[:, None, None]
    step, beside = dice.between("button step", 3, 5.5), dice.between("button side", -1.6, 1.6)
    for k in range(1, 6):
        dot = ellipse(x + beside, cut.neck_depth + k * step, np.full(len(dice), 0.7), np.full(len(dice), 0.7))
        picture.shade(dot * there, np.where(light, 0.4, 1.6))


def collar(dice: Dice, picture: Picture, cut: Cut, *, share: float, length: tuple[float, float]) -> None:
    """Lay two collar points or lapels beside the neckline on a share of the images."""
    drop = dice.between("collar length", *length)
    factor = np.where(dice.chance("collar light", 0.5), dice.between("collar up", 1.08, 1.35),
                      dice.between("collar down", 0.55, 0.9))
    there = dice.chance("collar", share)[:, None, None]
    for side in (-1, 1):
        wing = points((cut.middle + side * cut.neck, 0 * drop), (cut.middle + side * (cut.neck + 1.8), 1 + 0.3 * drop),
                      (cut.middle + side * 0.45 * cut.neck, cut.neck_depth + drop))
        mask = polygon(wing) * there
        picture.shade(mask, factor)


def hem_band(dice: Dice, picture: Picture, share: float) -> None:
    """Set off the ribbing at the hem of a share of the images."""
    height = np.where(dice.chance("hem band", share), dice.between("hem height", 1, 3), 0)
    wide = np.zeros(len(dice))
    picture.shade(box(wide, wide + SIZE, SIZE - height, wide + SIZE), dice.between("hem tone", 0.6, 0.95))


def _measure(dice: Dice, *, chest: tuple[float, float], long: float, short: tuple[float, float],
             neck: tuple[float, float], depth: tuple[float, float], flare: tuple[float, float] = (-1.5, 0.4),
             tail: tuple[float, float] = (0.0, 0.6)) -> Cut:
    """Return the measures of a jacket-like top: `long` is the share with long sleeves, `short` the others' length."""
    width = dice.between("chest", *chest)
    reach = dice.chance("long sleeves", long)
    swing = dice.between("angle long", 0.1, 0.28)
    shoulder = np.minimum(width - dice.between("shoulder", -0.5, 0.9), 8.2)
    return Cut(
        middle=14 + dice.between("middle", -0.6, 0.6), neck=dice.between("neck", *neck),
        neck_depth=dice.between("neck depth", *depth), shoulder=shoulder, drop=dice.between("drop", 1.2, 3.4),
        armhole=dice.between("armhole", 8, 11.5), chest=width, waist=width + dice.between("waist", -1.6, 0.1),
        hem=width + dice.between("flare", *flare), tail=dice.between("tail", *tail),
        sleeve=np.where(reach, dice.between("sleeve long", 18, 25.5), dice.between("sleeve short", *short)),
        angle=np.where(reach, swing, dice.between("angle short", 0.35, 0.95)),
        cuff=np.where(reach, dice.between("cuff long", 2.2, 3.4), dice.between("cuff short", 3.4, 5.2)))


def t_shirt(dice: Dice) -> Picture:
    """Short sleeves or none, an open neck, often a print or stripes."""
    cut = _measure(dice, chest=(5.2, 8.6), long=0.05, short=(0, 11), neck=(2.4, 4.4), depth=(1, 4), flare=(-1, 1.2))
    picture = sew(dice, cut, fabric.cloth(dice, fabric.tone(dice), stripes=0.16, print_=0.15))
    chest_print(dice, picture, cut, share=0.45)
    neckline(dice, picture, cut)
    return picture


def shirt(dice: Dice) -> Picture:
    """Collar and a row of buttons, long or short sleeves, often checked."""
    cut = _measure(dice, chest=(5.8, 8.2), long=0.62, short=(4, 11), neck=(1.8, 3.6), depth=(0.8, 3), tail=(0, 2.6))
    picture = sew(dice, cut, fabric.cloth(dice, fabric.tone(dice), stripes=0.14, checks=0.2, print_=0.22))
    front(dice, picture, cut, visible=(0.15, 0.5), width=(0.8, 1.2), buttons=0.85)
    neckline(dice, picture, cut, pointed=0.5, trim=0.2)
    collar(dice, picture, cut, share=0.85, length=(0.8, 3.2))
    return picture


def pullover(dice: Dice) -> Picture:
    """Long sleeves, a closed neck, ribbing at the hem."""
    cut = _measure(dice, chest=(6.2, 8.6), long=0.97, short=(8, 14), neck=(2.2, 4.2), depth=(0.9, 2.8))
    picture = sew(dice, cut, fabric.cloth(dice, fabric.tone(dice), stripes=0.2, print_=0.14))
    chest_print(dice, picture, cut, share=0.3)
    hem_band(dice, picture, share=0.75)
    neckline(dice, picture, cut, pointed=0.12, trim=0.7)
    return picture


def coat(dice: Dice) -> Picture:
    """Long sleeves, lapels, an open front and pockets."""
    cut = _measure(dice, chest=(6.2, 8.4), long=1.0, short=(8, 14), neck=(1.6, 3.2), depth=(0.4, 2.5),
                   flare=(-1.0, 1.8))
    picture = sew(dice, cut, fabric.cloth(dice, fabric.tone(dice, dark=0.38), stripes=0.03, checks=0.05, print_=0.08))
    front(dice, picture, cut, visible=(0.4, 0.95), width=(1.1, 2.2), buttons=0.3)
    row, there = dice.between("pocket row", 16, 21), dice.chance("pockets", 0.55)
    for side in (-1, 1):
        x = cut.middle + side * 0.55 * cut.chest
        line = stroke(points((x - 1.3, row), (x + 1.3, row)), np.where(there, 0.9, 0))
        picture.shade(line, dice.between("pocket tone", 0.4, 0.8))
    neckline(dice, picture, cut, pointed=0.35, trim=0.3)
    collar(dice, picture, cut, share=0.8, length=(2, 8))
    return picture


def dress(dice: Dice) -> Picture:
    """Narrow above, a waist, a skirt that may flare."""
    chest = dice.between("chest", 3.4, 6.6)
    length, none = dice.between("sleeve", 2, 8), dice.chance("no sleeves", 0.45)
    long = dice.chance("long sleeves", 0.2)
    cut = Cut(
        middle=14 + dice.between("middle", -0.6, 0.6), neck=dice.between("neck", 1.2, 2.8),
        neck_depth=dice.between("neck depth", 0.8, 4), shoulder=chest + dice.between("shoulder", -1, 0.6),
        drop=dice.between("drop", 0.6, 2), armhole=dice.between("armhole", 5, 7.5), chest=chest,
        waist=chest + dice.between("waist", -1.2, 0.6), hem=chest + dice.between("flare", -0.3, 4.2),
        tail=dice.between("tail", 0, 1), angle=np.where(long, 0.14, dice.between("angle", 0.2, 0.9)),
        sleeve=np.where(none, 0, np.where(long, dice.between("sleeve long", 11, 18), length)),
        cuff=dice.between("cuff", 1.5, 2.6))
    picture = sew(dice, cut, fabric.cloth(dice, fabric.tone(dice), stripes=0.1, print_=0.2))
    belt, row = dice.chance("belt", 0.4), dice.between("belt row", 9, 15)
    wide = np.zeros(len(dice))
    band = box(wide, wide + SIZE, row, row + np.where(belt, 1.2, 0)) * body(cut)
    picture.shade(band, dice.between("belt tone", 0.3, 1.2))
    neckline(dice, picture, cut, pointed=0.35)
    return picture
