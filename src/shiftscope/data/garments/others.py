"""Trousers and bags."""

import numpy as np

from shiftscope.data.garments import fabric
from shiftscope.data.garments.dice import Dice
from shiftscope.data.garments.fabric import Picture
from shiftscope.data.garments.raster import SIZE, Array, box, ellipse, points, polygon, rounded, stroke


def trouser(dice: Dice) -> Picture:
    """Two legs from a waistband."""
    middle, zero = 14 + dice.between("middle", -0.6, 0.6), np.zeros(len(dice))
    waist, hip = dice.between("waist", 3, 5.4), dice.between("hip", 0.3, 1.6)
    crotch, spread = dice.between("crotch", 7, 11.5), dice.between("spread", 0, 1.9)
    leg, lean = dice.between("leg", 1.8, 4.2), dice.between("lean", -0.8, 0.8)
    side = waist + hip
    picture = Picture(len(dice))
    cloth = fabric.cloth(dice, fabric.tone(dice), stripes=0.05, print_=0.15)
    picture.paint(polygon(points(
        (middle - waist, zero), (middle + waist, zero), (middle + side, crotch - 1),
        (middle + spread + leg + lean, zero + SIZE), (middle + spread + lean, zero + SIZE), (middle, crotch),
        (middle - spread + lean, zero + SIZE), (middle - spread - leg + lean, zero + SIZE),
        (middle - side, crotch - 1))), cloth)
    seam = stroke(points((middle, crotch), (middle + lean, zero + SIZE)), dice.between("gap", 0.6, 1.3))
    picture.shade(seam, dice.between("gap tone", 0, 0.5))
    band = np.where(dice.chance("waistband", 0.6), dice.between("waistband height", 1, 2), 0)
    picture.shade(box(zero, zero + SIZE, zero, band), dice.between("waistband tone", 0.6, 1.2))
    fly = stroke(points((middle, band), (middle, crotch)), np.where(dice.chance("fly", 0.6), 0.8, 0))
    picture.shade(fly, dice.between("fly tone", 0.6, 0.9))
    return picture


def bag(dice: Dice) -> Picture:
    """A body with a handle or a strap above, often a flap and a clasp."""
    wide = dice.chance("wide", 0.6)
    across = np.where(wide, 14.2, dice.between("half width", 8.5, 13))
    handle = np.where(wide, dice.between("handle wide", 0, 9), dice.between("handle tall", 5, 13))
    tall = np.where(wide, dice.between("height wide", 12, 19), 28.2 - handle)
    top = np.where(wide, 14 - 0.5 * (tall + handle) + handle, handle)
    bottom, middle = top + tall, np.full(len(dice), 14.0)
    picture = Picture(len(dice))
    gray = fabric.tone(dice, dark=0.3)
    cloth = fabric.cloth(dice, gray, stripes=0.08, checks=0.05, print_=0.14)
    _handle(dice, picture, top, handle, across, cloth)
    slant = dice.between("slant", -0.2, 0.16) * across
    upper, lower = across - np.clip(slant, 0, None), across + np.clip(slant, None, 0)
    corners = points((middle - upper, top), (middle, top), (middle + upper, top), (middle + lower, bottom),
                     (middle, bottom), (middle - lower, bottom))
    soft = dice.chance("rounded", 0.5)[:, None, None]
    shape = polygon(np.where(soft, rounded(corners), np.repeat(corners, 2, axis=1)))
    picture.paint(shape, cloth)
    _flap(dice, picture, shape, top, tall, upper)
    return picture


def _handle(dice: Dice, picture: Picture, top: Array, rise: Array, across: Array, cloth: Array) -> None:
    """Arch a handle of height `rise` over the body."""
    foot = across * dice.between("handle foot", 0.35, 0.85)
    width, peak = dice.between("handle width", 1.2, 2.4), dice.between("handle peak", 0.5, 0.9)
    high = top - rise + 0.5 * width
    arch = points((14 - foot, top + 2), (14 - peak * foot, top - 0.7 * rise), (14 - 0.4 * foot, high),
                  (14 + 0.4 * foot, high), (14 + peak * foot, top - 0.7 * rise), (14 + foot, top + 2))
    dim = dice.between("handle tone", 0.6, 1.1)[:, None, None]
    picture.paint(stroke(arch, np.where(rise > 2, width, 0)), cloth * dim)


def _flap(dice: Dice, picture: Picture, shape: Array, top: Array, tall: Array, across: Array) -> None:
    """Set a flap off, or a zip, and add a clasp."""
    flap, down = dice.chance("flap", 0.55), dice.between("flap depth", 0.3, 0.7) * tall
    narrow = dice.between("flap narrow", 0.5, 1) * across
    sheet = polygon(points((14 - across, top), (14 + across, top),
                           (14 + narrow, top + down), (14 - narrow, top + down)))
    picture.shade(sheet * shape * flap[:, None, None], dice.between("flap tone", 0.78, 1.2))
    zero = np.zeros(len(dice))
    edge = box(zero, zero + SIZE, top + down - 0.4, top + np.where(flap | dice.chance("zip", 0.5), down + 0.5, -1))
    picture.shade(edge * shape, dice.between("edge tone", 0.35, 0.8))
    clasp = ellipse(zero + 14, top + down, dice.between("clasp across", 0.7, 2), dice.between("clasp down", 0.7, 1.3))
    there = dice.chance("clasp", 0.5)[:, None, None]
    picture.paint(clasp * there, np.where(dice.chance("clasp light", 0.6), 240.0, 30.0))
