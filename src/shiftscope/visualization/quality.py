"""Quality metrics of synthesized images: comparison with real images, stability, and an independent classifier."""

from collections.abc import Sequence
from dataclasses import fields, replace
from itertools import combinations
from typing import Any

import numpy as np
import torch
from torch import nn

from shiftscope.data import ImageSet
from shiftscope.errors import UsageError, require
from shiftscope.hooks import frozen
from shiftscope.models import registry_name
from shiftscope.models.forward import device_and_dtype
from shiftscope.modules import model_name
from shiftscope.outputs import determine_output_type, probabilities
from shiftscope.placement import Placement
from shiftscope.results import Neighbors, Quality, Synthesis
from shiftscope.settings import SynthesisSettings
from shiftscope.visualization.model_info import CLASSES
from shiftscope.visualization.objectives import Objective
from shiftscope.visualization.synthesis import judge_images, visualize
from shiftscope.visualization.targets import UnitActivations

SHIFT = 2  # default in pixels for placement stability: the default jitter of the ascent
_BATCH = 256  # images


def measure_quality(model: nn.Module, synthesis: Synthesis, *, goal: str | Objective | None = None,
                    neighbors: Neighbors | None = None, judge: nn.Module | None = None,
                    judge_name: str | None = None, seeds: int = 0, shift: int = SHIFT,
                    images: ImageSet | None = None, placement: Placement | None = None) -> Quality:
    """Compute quality metrics of the images that `visualize` made.

    Args:
        model: of the synthesis. Its state is restored.
        synthesis: the images.
        goal: objective of the synthesis; by default that of the record.
        neighbors: real images for the same units, for `over_best`, `exceeds_real` and `dead`.
        judge: an independent classifier with the same classes and input, for `transfer`.
        judge_name: its name in figures.
        seeds: number of additional syntheses from random starts, 0 or at least 2, for `seed_stability`.
        shift: pixels for `placement_stability`, at least 1.
        images, placement: as for `visualize`, for `seeds`.

    Raises:
        UsageError: if the neighbors belong to other units, the judge has another number of classes or raises an error,
            or `seeds` or `shift` is out of range.
    """
    require(seeds == 0 or seeds >= 2, "seeds", seeds, "0 or at least 2, because images are compared in pairs")
    require(shift >= 1, "shift", shift, "an integer of at least 1")
    if neighbors is not None and neighbors.units != synthesis.units:
        raise UsageError(f"the neighbors belong to {neighbors.objective}, the images to {synthesis.objective}: find "
                         "the neighbors of the same units")
    goal = synthesis.objective if goal is None else goal
    count, *sizes = synthesis.images.shape
    units = UnitActivations(model, [goal], (sizes[0], sizes[1], sizes[2]), synthesis.class_names)
    pixels = torch.from_numpy(synthesis.images).to(device_and_dtype(model)[0])
    with frozen(model), torch.no_grad():
        selectivity = _selectivity(units, pixels)
        stability = _placement_stability(units, pixels, shift)
    repeated = [visualize(model, goal, start="random", settings=same_settings(synthesis, seed), images=images,
                          placement=placement, shape=sizes, class_names=synthesis.class_names).images
                for seed in range(seeds)]
    return Quality(
        model=synthesis.model, objective=synthesis.objective, units=synthesis.units,
        seconds_per_unit=synthesis.seconds / len(synthesis.units), **_compare_with_real(synthesis, neighbors),
        judge=None if judge is None else judge_name or registry_name(judge) or model_name(judge),
        seeds=seeds, shift=shift, selectivity=selectivity.cpu().numpy(), placement_stability=stability.cpu().numpy(),
        seed_stability=mean_correlation(repeated, count), **_transfer(units, judge, synthesis.images))


def mean_correlation(sets: Sequence[np.ndarray], count: int) -> np.ndarray:
    """Return the mean correlation of each image over all pairs of sets (count, ...), float32 (count,).

    NaN without pairs, and for constant images.
    """
    flat = [images.reshape(count, -1).astype(np.float64) for images in sets]
    centered = [images - images.mean(1, keepdims=True) for images in flat]
    with np.errstate(divide="ignore", invalid="ignore"):
        unit = [images / np.linalg.norm(images, axis=1, keepdims=True) for images in centered]
    pairs = [(one * other).sum(1) for one, other in combinations(unit, 2)]
    return np.mean(pairs, axis=0).astype(np.float32) if pairs else np.full(count, np.nan, np.float32)


def same_settings(synthesis: Synthesis, seed: int) -> SynthesisSettings:
    """Return the settings of a synthesis with another seed."""
    names = {field.name for field in fields(SynthesisSettings)}
    settings: dict[str, Any] = {key: value for key, value in synthesis.settings.items() if key in names}
    window = settings.get("window")
    if isinstance(window, Sequence):  # resolved (rows, columns); unequal ones follow from the placement
        settings["window"] = window[0] if window[0] == window[1] else None
    return replace(SynthesisSettings(**settings), seed=seed)


def _transfer(units: UnitActivations, judge: nn.Module | None, images: np.ndarray) -> dict[str, Any]:
    """Compare a judge's predictions with the classes of the images; empty without a judge, or for other units."""
    term = units.targets[0].unit_term
    if judge is None or term is None or term.layer != CLASSES:
        return {"transfer": None, "judged": np.full(len(images), -1), "judged_correct": np.zeros(len(images), bool)}
    judged = judge_images(judge, images, units.info.unit_count(CLASSES))
    correct = judged == term.indices.numpy()
    return {"transfer": float(correct.astype(np.float32).mean()), "judged": judged, "judged_correct": correct}


def _selectivity(units: UnitActivations, images: torch.Tensor) -> torch.Tensor:
    """Return each unit's fraction of its layer's activation, (U,); NaN for sums and if no activation is above 0."""
    term = units.targets[0].unit_term
    if term is None:
        return images.new_full((len(images),), torch.nan)
    whole_layer = replace(term, indices=torch.arange(units.info.unit_count(term.layer)))
    means = torch.cat([whole_layer.all_values(units.outputs(part)) for part in images.split(_BATCH)]).float()
    positive = means.clamp_min(0)
    fractions = (probabilities(means, determine_output_type(means)) if term.layer == CLASSES
                 else positive / positive.sum(1, keepdim=True))
    return fractions[torch.arange(len(images)), term.indices.to(fractions.device)]


def _placement_stability(units: UnitActivations, images: torch.Tensor, shift: int) -> torch.Tensor:
    """Return the mean activation after rolling relative to the original one, (U,)."""
    def own(pixels: torch.Tensor) -> torch.Tensor:  # activation of each unit for its own image
        return torch.cat([units.values(units.outputs(part)) for part in pixels.split(_BATCH)]).diagonal()

    original = own(images)
    shifts = [(dy, dx) for dy in (-shift, 0, shift) for dx in (-shift, 0, shift) if (dy, dx) != (0, 0)]
    rolled = torch.stack([own(torch.roll(images, by, dims=(2, 3))) for by in shifts])
    return (rolled.mean(0) / original).masked_fill(original <= 0, torch.nan)


def _compare_with_real(synthesis: Synthesis, neighbors: Neighbors | None) -> dict[str, Any]:
    if neighbors is None:
        return {"exceeds_real": None, "dead": None, "dead_units": [], "pictures": "",
                "over_best": np.full(len(synthesis.units), np.nan, np.float32)}
    best, dead = neighbors.maximum, neighbors.peaks <= 0
    ratio = np.divide(synthesis.activations, best, out=np.full_like(best, np.nan), where=best > 0)
    return {"exceeds_real": float((synthesis.activations > best).mean()), "over_best": ratio,
            "dead": float(dead.mean()) if len(dead) else None, "dead_units": np.flatnonzero(dead).tolist(),
            "pictures": neighbors.words}
