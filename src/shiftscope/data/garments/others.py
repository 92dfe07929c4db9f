"""Trousers, bags and shoes."""

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
    rounded,
    stroke,
    texture,
)


def trouser(random: Random) -> Drawing:
    """Two legs and a waistband."""
    middle, zero = 14 + random.uniform("middle", -0.6, 0.6), np.zeros(len(random))
    waist, hip = random.uniform("waist", 3, 5.4), random.uniform("hip", 0.3, 1.6)
    crotch, spread = random.uniform("crotch", 7, 11.5), random.uniform("spread", 0, 1.9)
    leg, lean = random.uniform("leg", 1.8, 4.2), random.uniform("lean", -0.8, 0.8)
    side = waist + hip
    drawing = Drawing(len(random))
    cloth = texture(random, gray_level(random), stripes=0.05, spots=0.15)
    drawing.paint(polygon(points(
        (middle - waist, zero), (middle + waist, zero), (middle + side, crotch - 1),
        (middle + spread + leg + lean, zero + SIZE), (middle + spread + lean, zero + SIZE), (middle, crotch),
        (middle - spread + lean, zero + SIZE), (middle - spread - leg + lean, zero + SIZE),
        (middle - side, crotch - 1))), cloth)
    seam = stroke(points((middle, crotch), (middle + lean, zero + SIZE)), random.uniform("gap", 0.6, 1.3))
    drawing.shade(seam, random.uniform("gap tone", 0, 0.5))
    band = np.where(random.chance("waistband", 0.6), random.uniform("waistband height", 1, 2), 0)
    drawing.shade(box(zero, zero + SIZE, zero, band), random.uniform("waistband tone", 0.6, 1.2))
    fly = stroke(points((middle, band), (middle, crotch)), np.where(random.chance("fly", 0.6), 0.8, 0))
    drawing.shade(fly, random.uniform("fly tone", 0.6, 0.9))
    return drawing


def bag(random: Random) -> Drawing:
    """A body with a handle or strap, often a flap and a clasp."""
    wide = random.chance("wide", 0.6)
    across = np.where(wide, 14.2, random.uniform("half width", 8.5, 13))
    handle = np.where(wide, random.uniform("handle wide", 0, 9), random.uniform("handle tall", 5, 13))
    tall = np.where(wide, random.uniform("height wide", 12, 19), 28.2 - handle)
    top = np.where(wide, 14 - 0.5 * (tall + handle) + handle, handle)
    bottom, middle = top + tall, np.full(len(random), 14.0)
    drawing = Drawing(len(random))
    gray = gray_level(random, dark=0.3)
    cloth = texture(random, gray, stripes=0.08, checks=0.05, spots=0.14)
    _handle(random, drawing, top, handle, across, cloth)
    slant = random.uniform("slant", -0.2, 0.16) * across
    upper, lower = across - np.clip(slant, 0, None), across + np.clip(slant, None, 0)
    corners = points((middle - upper, top), (middle, top), (middle + upper, top), (middle + lower, bottom),
                     (middle, bottom), (middle - lower, bottom))
    soft = random.chance("rounded", 0.5)[:, None, None]
    shape = polygon(np.where(soft, rounded(corners), np.repeat(corners, 2, axis=1)))
    drawing.paint(shape, cloth)
    _flap(random, drawing, shape, top, tall, upper)
    return drawing


def _handle(random: Random, drawing: Drawing, top: Array, rise: Array, across: Array, cloth: Array) -> None:
    """Draw a handle of height `rise` above the body."""
    foot = across * random.uniform("handle foot", 0.35, 0.85)
    width, peak = random.uniform("handle width", 1.2, 2.4), random.uniform("handle peak", 0.5, 0.9)
    high = top - rise + 0.5 * width
    arch = points((14 - foot, top + 2), (14 - peak * foot, top - 0.7 * rise), (14 - 0.4 * foot, high),
                  (14 + 0.4 * foot, high), (14 + peak * foot, top - 0.7 * rise), (14 + foot, top + 2))
    dim = random.uniform("handle tone", 0.6, 1.1)[:, None, None]
    drawing.paint(stroke(arch, np.where(rise > 2, width, 0)), cloth * dim)


def _flap(random: Random, drawing: Drawing, shape: Array, top: Array, tall: Array, across: Array) -> None:
    """Draw a flap or a zipper, and a clasp."""
    flap, down = random.chance("flap", 0.55), random.uniform("flap depth", 0.3, 0.7) * tall
    narrow = random.uniform("flap narrow", 0.5, 1) * across
    sheet = polygon(points((14 - across, top), (14 + across, top),
                           (14 + narrow, top + down), (14 - narrow, top + down)))
    drawing.shade(sheet * shape * flap[:, None, None], random.uniform("flap tone", 0.78, 1.2))
    zero = np.zeros(len(random))
    edge = box(zero, zero + SIZE, top + down - 0.4, top + np.where(flap | random.chance("zip", 0.5), down + 0.5, -1))
    drawing.shade(edge * shape, random.uniform("edge tone", 0.35, 0.8))
    clasp = ellipse(zero + 14, top + down, random.uniform("clasp across", 0.7, 2),
                    random.uniform("clasp down", 0.7, 1.3))
    there = random.chance("clasp", 0.5)[:, None, None]
    drawing.paint(clasp * there, np.where(random.chance("clasp light", 0.6), 240.0, 30.0))


# ---------------------------------------------------------------------- shoes from the side, toe on the left

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


def _sole(random: Random, drawing: Drawing, base: Array, height: Array, gray: Array) -> None:
    """Draw the sole, slightly raised at the toe."""
    left, right, lift = np.zeros(len(random)), np.full(len(random), SIZE), random.uniform("toe lift", 0, 1.4)
    drawing.paint(polygon(points((left, base - height - lift), (left + 6, base - height), (right, base - height),
                                 (right, base), (left + 4, base), (left + 0.6, base - 0.8 * lift))), gray)


def _laces(random: Random, drawing: Drawing, instep: Array, top: Array, toe_height: Array, base: Array,
           probability: float) -> None:
    """Draw short light or dark laces in front of the instep with the given probability."""
    there = random.chance("laces", probability)
    bright = np.where(random.chance("laces light", 0.6), 1.45, 0.5)
    for k in range(4):
        x = instep - 1.0 - 2.0 * k
        y = top + 1.2 + (base - toe_height - top) * 0.2 * k
        drawing.shade(stroke(points((x - 0.8, y + 0.2), (x + 1.0, y + 1.8)), np.where(there, 0.9, 0)), bright)


def sneaker(random: Random) -> Drawing:
    """A shoe with a light sole and stripes on its side, low or high."""
    high = random.chance("high top", 0.25)
    height = np.where(high, random.uniform("height high", 13, 21), random.uniform("height", 8, 13))
    base = 14 + 0.5 * height + random.uniform("base", 0, 1.5)
    top, instep = base - height, random.uniform("instep", 12, 17.5)
    toe_height = np.minimum(random.uniform("toe height", 3.4, 5.6), 0.6 * height)
    ankle = base - np.minimum(toe_height + random.uniform("vamp", 4, 8), height - 1.5)
    low_cut = _low(toe_height, instep, top, random.uniform("collar", 0.5, 3), base)
    upper = np.where(high[:, None, None], _high(toe_height, instep, ankle, top, 0 * base, base), low_cut)
    drawing = Drawing(len(random))
    drawing.paint(upper, texture(random, gray_level(random, dark=0.35), stripes=0.04, checks=0.04, spots=0.2))
    _side_stripes(random, drawing, upper, top, base)
    _laces(random, drawing, instep, np.where(high, ankle - 2, top), toe_height, base, probability=0.65)
    _sole(random, drawing, base, random.uniform("sole", 1.2, 2.6), random.uniform("sole tone", 100, 250))
    return drawing


def _side_stripes(random: Random, drawing: Drawing, upper: Array, top: Array, base: Array) -> None:
    """Draw three stripes on the side of about half of the sneakers."""
    x, there = random.uniform("side x", 11, 19), random.chance("side stripes", 0.55)
    lean, bright = random.uniform("side lean", -3, 3), np.where(random.chance("side light", 0.6), 1.5, 0.45)
    for k in range(3):
        foot = x + 2.2 * k
        mark = stroke(points((foot, 0.55 * top + 0.45 * base), (foot + lean, base - 2)), np.where(there, 0.9, 0))
        drawing.shade(mark * upper, bright)

def ankle_boot(random: Random) -> Drawing:
    """A closed shoe that covers the ankle, flat or with a heel."""
    height = np.where(random.chance("low", 0.3), random.uniform("height low", 11.5, 18),
                      random.uniform("height", 18, 28))
    base = np.minimum(14 + 0.5 * height + random.uniform("base", 0, 1), SIZE)
    top, instep = base - height, random.uniform("instep", 12.5, 18.5)
    toe_height = random.uniform("toe height", 3.8, 6.5)
    ankle = base - np.minimum(toe_height + random.uniform("vamp", 4, 8), height - 1.5)
    drawing, gray = Drawing(len(random)), gray_level(random, dark=0.4)
    drawing.paint(_high(toe_height, instep, ankle, top, random.uniform("tilt", -0.8, 1.5), base),
                  texture(random, gray, stripes=0.02, checks=0.02, spots=0.12))
    _laces(random, drawing, instep, ankle - 2, toe_height, base, probability=0.4)
    wide = instep + 2 + 0.4 * (SIZE - instep)
    elastic = polygon(points((wide - 2.5, top + 0.5), (wide + 2.5, top + 0.5), (wide, top + 0.5 * height)))
    drawing.shade(elastic * random.chance("elastic", 0.3)[:, None, None], random.uniform("elastic tone", 0.4, 0.75))
    _sole(random, drawing, base, random.uniform("sole", 0.8, 1.8), gray * random.uniform("sole tone", 0.3, 1.6))
    _raise_heel(random, drawing, base)
    return drawing


def _raise_heel(random: Random, drawing: Drawing, base: Array) -> None:
    """Erase the arch in front of the heel with probability 0.4."""
    heel, there = random.uniform("heel", 2.5, 8), random.chance("heeled", 0.4)[:, None, None]
    arch = points((random.uniform("arch", 7, 11), base + 0.5), (22 - 0.25 * heel, base - heel),
                  (random.uniform("heel x", 21, 24.5), base - heel + 0.2),
                  (random.uniform("heel tip", 22, 25.5), base + 0.5))
    drawing.erase(polygon(arch) * there)


def sandal(random: Random) -> Drawing:
    """A flat, wedge or heeled sole with a few straps."""
    heel = np.where(random.chance("heeled", 0.5), random.uniform("heel", 4, 15), random.uniform("flat", 0, 2))
    tall = heel + random.uniform("straps", 5, 11)
    base = np.minimum(14 + 0.5 * tall + random.uniform("base", 0, 1.5), SIZE - 0.3)
    gray, width = gray_level(random, dark=0.3), random.uniform("strap width", 1.1, 2.4)
    shine = texture(random, gray, spots=0.2)
    drawing, zero = Drawing(len(random)), np.zeros(len(random))
    ball = random.uniform("ball", 8, 11)
    tread = points((zero + 0.5, base - 0.7), (ball, base - 1), (ball + 7, base - 1 - 0.55 * heel),
                   (zero + 23, base - 0.9 - heel), (zero + 27.3, base - 1 - heel))
    drawing.paint(stroke(tread, random.uniform("tread", 1.4, 2.6)), shine)
    wedge = random.chance("wedge", 0.35)
    filled = points((ball - 4, base), (ball, base - 1), (ball + 7, base - 1 - 0.55 * heel),
                    (zero + 23, base - 1 - heel), (zero + 28, base - 1 - heel), (zero + 27.5, base))
    drawing.paint(polygon(filled) * wedge[:, None, None], shine * random.uniform("wedge tone", 0.5, 1)[:, None, None])
    spike = stroke(points((zero + 26, base - 1 - heel), (zero + 26.6, base)), random.uniform("spike", 1, 3))
    drawing.paint(spike * (heel > 3)[:, None, None], shine)
    closed = random.chance("closed toe", 0.3)[:, None, None]
    toe = points((zero, base - 0.5), (zero + 1, base - 3), (ball - 2, base - 0.5 * tall),
                 (ball + 5, base - 1 - 0.4 * heel))
    drawing.paint(polygon(rounded(toe)) * closed, shine)
    _straps(random, drawing, shine, width, tall, heel, base, ball)
    return drawing


def _straps(random: Random, drawing: Drawing, shine: Array, width: Array, tall: Array, heel: Array, base: Array,
            ball: Array) -> None:
    """Draw up to three straps over the foot and one around the ankle."""
    top = base - tall
    for k in range(3):
        x = 3 + random.uniform(f"strap x {k}", 0, 2.5) + k * random.uniform(f"strap step {k}", 2.5, 4.5)
        low = base - 1.5 - np.clip(x - ball, 0, None) / 14 * heel
        peak = low - 0.4 * tall + 0.38 * heel - random.uniform(f"strap peak {k}", -0.5, 1.5)
        over = points((x, low), (x + 2.2, peak + 0.8), (x + 5.5, peak))
        drawing.paint(stroke(over, width * random.chance(f"strap {k}", 0.75)), shine)
    ankle = random.chance("ankle strap", 0.75)[:, None, None]
    zero = np.zeros(len(random))
    ring = points((ball + 6, base - 2 - 0.5 * heel), (18 + zero, top + 1.5), (22 + zero, top + 0.8),
                  (zero + 26.8, top + 1.6), (zero + 27, base - 1 - heel))
    drawing.paint(stroke(ring, 0.8 * width) * ankle, shine)
    buckle = ellipse(zero + 22, top + 1, zero + 0.7, zero + 0.7)
    drawing.shade(buckle * ankle, random.uniform("buckle", 0.6, 1.5))
