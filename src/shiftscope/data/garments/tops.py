"""T-shirts, shirts, pullovers, coats and dresses: a body with two sleeves and a neckline in five variants."""

from dataclasses import dataclass

import numpy as np

from shiftscope.data.garments.painting import (
    SIZE,
    Array,
    Drawing,
    Random,
    box,
    ellipse,
    gray_level,
    points,
    polygon,
    stroke,
    texture,
)


@dataclass(frozen=True, kw_only=True)
class Measures:
    """Measures of a garment in pixels, each (B,); widths are measured from the vertical middle line."""

    middle: Array
    neck: Array
    neck_depth: Array
    shoulder: Array
    drop: Array
    """Rows from the neck down to the end of the shoulder."""
    armhole: Array
    """Row where the sleeve leaves the body."""
    chest: Array
    waist: Array
    hem: Array
    tail: Array
    """Rows from the middle of the hem up to its corners."""
    sleeve: Array
    """Length of the sleeve; below 1: no sleeve."""
    angle: Array
    """Angle of the sleeve from the vertical, radians."""
    cuff: Array
    """Width of the end of the sleeve."""


def body(fit: Measures) -> Array:
    """Return the mask of the body, from the top of the image to its bottom."""
    low, waist_row = SIZE - fit.tail, 0.5 * (fit.armhole + SIZE)
    half = ((fit.neck, 0), (fit.shoulder, fit.drop), (fit.chest, fit.armhole), (fit.waist, waist_row), (fit.hem, low))
    inner = 0.5 * fit.hem
    right = [(fit.middle + x, y) for x, y in half]
    left = [(fit.middle - x, y) for x, y in reversed(half)]
    return polygon(points(*right, (fit.middle + inner, SIZE), (fit.middle - inner, SIZE), *left))


def sleeve(fit: Measures, side: int) -> Array:
    """Return the mask of the left (`side` = -1) or right (1) sleeve."""
    across, down = np.sin(fit.angle), np.cos(fit.angle)
    top_x, top_y = fit.shoulder - 0.6, fit.drop - 0.2
    end_x, end_y = top_x + 0.6 + across * fit.sleeve, np.minimum(top_y + 0.6 + down * fit.sleeve, 27.5)
    corners = ((top_x, top_y), (end_x, end_y), (end_x - down * fit.cuff, end_y + across * fit.cuff),
               (fit.chest - 1.0, fit.armhole + 0.5))
    mask = polygon(points(*((fit.middle + side * x, y) for x, y in corners)))
    return mask * (fit.sleeve >= 1)[:, None, None]


def draw_body(random: Random, fit: Measures, cloth: Array) -> Drawing:
    """Draw body, sleeves and seams."""
    drawing = Drawing(len(random))
    for side in (-1, 1):
        drawing.paint(sleeve(fit, side), cloth * random.uniform(f"sleeve light {side}", 0.6, 1.0)[:, None, None])
    drawing.paint(body(fit), cloth)
    depth = random.uniform("seam", 0.45, 0.95)
    for side in (-1, 1):
        line = points((fit.middle + side * fit.shoulder, fit.drop + 1), (fit.middle + side * fit.chest, fit.armhole),
                      (fit.middle + side * fit.waist, 0.5 * (fit.armhole + SIZE)))
        drawing.shade(stroke(line, np.where(fit.sleeve >= 1, 0.9, 0.0)), depth)
    return drawing


def neckline(random: Random, drawing: Drawing, fit: Measures, pointed: float = 0.2, trim: float = 0.5) -> None:
    """Erase the neckline: round, or pointed with probability `pointed`; draw a trim with probability `trim`."""
    middle, zero = fit.middle, np.zeros(len(random))
    sharp = random.chance("neck pointed", pointed)
    round_ = ellipse(middle, zero, np.where(sharp, 0.1, fit.neck), fit.neck_depth)
    reach = np.where(sharp, fit.neck, 0)
    wedge = polygon(points((middle - reach, zero), (middle + reach, zero), (middle, 1.5 * fit.neck_depth)))
    hole = np.maximum(round_ * (~sharp)[:, None, None], wedge)
    width = np.where(~sharp & random.chance("neck trim", trim), 1.0, 0.0)
    rim = ellipse(middle, zero, fit.neck + width, fit.neck_depth + width) * (width > 0)[:, None, None]
    drawing.shade(rim, random.uniform("neck trim tone", 0.6, 1.3))
    lining = random.chance("neck lining", 0.4)
    drawing.erase(hole * (~lining)[:, None, None])
    drawing.shade(hole * lining[:, None, None], random.uniform("lining", 0.25, 0.6))


def chest_print(random: Random, drawing: Drawing, fit: Measures, probability: float) -> None:
    """Draw a box or an ellipse on the chest with the given probability."""
    gray = np.where(random.chance("motif dark", 0.5), random.uniform("motif low", 15, 90),
                    random.uniform("motif high", 190, 250))
    x, y = fit.middle + random.uniform("motif x", -1, 1), random.uniform("motif y", 8, 14)
    across, down = random.uniform("motif across", 1.5, 4.5), random.uniform("motif down", 0.8, 4)
    there = random.chance("motif", probability)
    boxed = there & random.chance("motif box", 0.5)
    drawing.paint(box(x - across, x + across, y - down, y + down) * boxed[:, None, None], gray)
    drawing.paint(ellipse(x, y, across, down) * (there & ~boxed)[:, None, None], gray)


def front(random: Random, drawing: Drawing, fit: Measures, *, visible: tuple[float, float], width: tuple[float, float],
          buttons: float) -> None:
    """Draw the front opening from neck to hem as a dark or light line, and buttons with probability `buttons`.

    `visible` is the range of the contrast of the line (0: invisible), `width` that of its width in pixels.
    """
    x = fit.middle + random.uniform("front x", -1.6, 1.6)
    contrast = random.uniform("front contrast", *visible)
    light = random.chance("front light", 0.25)
    line = stroke(points((x, fit.neck_depth), (x, SIZE)), random.uniform("front width", *width))
    drawing.shade(line, np.where(light, 1 + 0.5 * contrast, 1 - contrast))
    there = random.chance("buttons", buttons)[:, None, None]
    step, beside = random.uniform("button step", 3, 5.5), random.uniform("button side", -1.6, 1.6)
    for k in range(1, 6):
        dot = ellipse(x + beside, fit.neck_depth + k * step, np.full(len(random), 0.7), np.full(len(random), 0.7))
        drawing.shade(dot * there, np.where(light, 0.4, 1.6))


def collar(random: Random, drawing: Drawing, fit: Measures, *, probability: float, length: tuple[float, float]) -> None:
    """Draw two collar points or lapels beside the neckline with the given probability."""
    drop = random.uniform("collar length", *length)
    factor = np.where(random.chance("collar light", 0.5), random.uniform("collar up", 1.08, 1.35),
                      random.uniform("collar down", 0.55, 0.9))
    there = random.chance("collar", probability)[:, None, None]
    for side in (-1, 1):
        wing = points((fit.middle + side * fit.neck, 0 * drop), (fit.middle + side * (fit.neck + 1.8), 1 + 0.3 * drop),
                      (fit.middle + side * 0.45 * fit.neck, fit.neck_depth + drop))
        mask = polygon(wing) * there
        drawing.shade(mask, factor)


def hem_band(random: Random, drawing: Drawing, probability: float) -> None:
    """Shade the ribbing at the hem with the given probability."""
    height = np.where(random.chance("hem band", probability), random.uniform("hem height", 1, 3), 0)
    wide = np.zeros(len(random))
    drawing.shade(box(wide, wide + SIZE, SIZE - height, wide + SIZE), random.uniform("hem tone", 0.6, 0.95))


def _measure(random: Random, *, chest: tuple[float, float], long: float, short: tuple[float, float],
             neck: tuple[float, float], depth: tuple[float, float], flare: tuple[float, float] = (-1.5, 0.4),
             tail: tuple[float, float] = (0.0, 0.6)) -> Measures:
    """Draw random measures: `long` is the probability of long sleeves, `short` the range of other lengths."""
    width = random.uniform("chest", *chest)
    reach = random.chance("long sleeves", long)
    swing = random.uniform("angle long", 0.1, 0.28)
    shoulder = np.minimum(width - random.uniform("shoulder", -0.5, 0.9), 8.2)
    return Measures(
        middle=14 + random.uniform("middle", -0.6, 0.6), neck=random.uniform("neck", *neck),
        neck_depth=random.uniform("neck depth", *depth), shoulder=shoulder, drop=random.uniform("drop", 1.2, 3.4),
        armhole=random.uniform("armhole", 8, 11.5), chest=width, waist=width + random.uniform("waist", -1.6, 0.1),
        hem=width + random.uniform("flare", *flare), tail=random.uniform("tail", *tail),
        sleeve=np.where(reach, random.uniform("sleeve long", 18, 25.5), random.uniform("sleeve short", *short)),
        angle=np.where(reach, swing, random.uniform("angle short", 0.35, 0.95)),
        cuff=np.where(reach, random.uniform("cuff long", 2.2, 3.4), random.uniform("cuff short", 3.4, 5.2)))


def t_shirt(random: Random) -> Drawing:
    """Short sleeves or none, an open neck, often a print or stripes."""
    fit = _measure(random, chest=(5.2, 8.6), long=0.05, short=(0, 11), neck=(2.4, 4.4), depth=(1, 4), flare=(-1, 1.2))
    drawing = draw_body(random, fit, texture(random, gray_level(random), stripes=0.16, spots=0.15))
    chest_print(random, drawing, fit, probability=0.45)
    neckline(random, drawing, fit)
    return drawing


def shirt(random: Random) -> Drawing:
    """A collar and a row of buttons, long or short sleeves, often checks."""
    fit = _measure(random, chest=(5.8, 8.2), long=0.62, short=(4, 11), neck=(1.8, 3.6), depth=(0.8, 3), tail=(0, 2.6))
    drawing = draw_body(random, fit, texture(random, gray_level(random), stripes=0.14, checks=0.2, spots=0.22))
    front(random, drawing, fit, visible=(0.15, 0.5), width=(0.8, 1.2), buttons=0.85)
    neckline(random, drawing, fit, pointed=0.5, trim=0.2)
    collar(random, drawing, fit, probability=0.85, length=(0.8, 3.2))
    return drawing


def pullover(random: Random) -> Drawing:
    """Long sleeves, a closed neck, ribbing at the hem."""
    fit = _measure(random, chest=(6.2, 8.6), long=0.97, short=(8, 14), neck=(2.2, 4.2), depth=(0.9, 2.8))
    drawing = draw_body(random, fit, texture(random, gray_level(random), stripes=0.2, spots=0.14))
    chest_print(random, drawing, fit, probability=0.3)
    hem_band(random, drawing, probability=0.75)
    neckline(random, drawing, fit, pointed=0.12, trim=0.7)
    return drawing


def coat(random: Random) -> Drawing:
    """Long sleeves, lapels, an open front and pockets."""
    fit = _measure(random, chest=(6.2, 8.4), long=1.0, short=(8, 14), neck=(1.6, 3.2), depth=(0.4, 2.5),
                   flare=(-1.0, 1.8))
    gray = gray_level(random, dark=0.38)
    drawing = draw_body(random, fit, texture(random, gray, stripes=0.03, checks=0.05, spots=0.08))
    front(random, drawing, fit, visible=(0.4, 0.95), width=(1.1, 2.2), buttons=0.3)
    row, there = random.uniform("pocket row", 16, 21), random.chance("pockets", 0.55)
    for side in (-1, 1):
        x = fit.middle + side * 0.55 * fit.chest
        line = stroke(points((x - 1.3, row), (x + 1.3, row)), np.where(there, 0.9, 0))
        drawing.shade(line, random.uniform("pocket tone", 0.4, 0.8))
    neckline(random, drawing, fit, pointed=0.35, trim=0.3)
    collar(random, drawing, fit, probability=0.8, length=(2, 8))
    return drawing


def dress(random: Random) -> Drawing:
    """A narrow upper part, a waist, and a skirt that may flare."""
    chest = random.uniform("chest", 3.4, 6.6)
    length, none = random.uniform("sleeve", 2, 8), random.chance("no sleeves", 0.45)
    long = random.chance("long sleeves", 0.2)
    fit = Measures(
        middle=14 + random.uniform("middle", -0.6, 0.6), neck=random.uniform("neck", 1.2, 2.8),
        neck_depth=random.uniform("neck depth", 0.8, 4), shoulder=chest + random.uniform("shoulder", -1, 0.6),
        drop=random.uniform("drop", 0.6, 2), armhole=random.uniform("armhole", 5, 7.5), chest=chest,
        waist=chest + random.uniform("waist", -1.2, 0.6), hem=chest + random.uniform("flare", -0.3, 4.2),
        tail=random.uniform("tail", 0, 1), angle=np.where(long, 0.14, random.uniform("angle", 0.2, 0.9)),
        sleeve=np.where(none, 0, np.where(long, random.uniform("sleeve long", 11, 18), length)),
        cuff=random.uniform("cuff", 1.5, 2.6))
    drawing = draw_body(random, fit, texture(random, gray_level(random), stripes=0.1, spots=0.2))
    belt, row = random.chance("belt", 0.4), random.uniform("belt row", 9, 15)
    wide = np.zeros(len(random))
    band = box(wide, wide + SIZE, row, row + np.where(belt, 1.2, 0)) * body(fit)
    drawing.shade(band, random.uniform("belt tone", 0.3, 1.2))
    neckline(random, drawing, fit, pointed=0.35)
    return drawing
