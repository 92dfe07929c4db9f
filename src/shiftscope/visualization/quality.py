"""How good the pictures of a synthesis are: beside real images, rolled, made again from noise, shown to a judge."""

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
from shiftscope.models.forward import device_and_dtype, evaluating
from shiftscope.modules import model_name
from shiftscope.outputs import determine_output_type, predicted_classes, probabilities
from shiftscope.placement import Placement
from shiftscope.results import Neighbors, Quality, Synthesis
from shiftscope.settings import SynthesisSettings
from shiftscope.visualization.activations import Readout, lone_units, term_values
from shiftscope.visualization.anatomy import CLASSES
from shiftscope.visualization.objectives import Objective
from shiftscope.visualization.synthesize import visualize

SHIFT = 2
"""Pixels by which pictures are rolled unless another number is given: as far as the default jitter of the ascent."""

_CHUNK = 256  # pictures at once


def measure_quality(model: nn.Module, synthesis: Synthesis, *, goal: str | Objective | None = None,
                    neighbors: Neighbors | None = None, judge: nn.Module | None = None,
                    judge_name: str | None = None, seeds: int = 0, shift: int = SHIFT,
                    images: ImageSet | None = None, placement: Placement | None = None) -> Quality:
    """Return the figures of merit of the pictures that `visualize` made.

    Args:
        model: the one that they were made for; left as it was.
        synthesis: the pictures.
        goal: what `visualize` was asked for; what the synthesis says unless given.
        neighbors: what real images do to the same units, for `over_best`, `exceeds_real` and `dead`.
        judge: an independent classifier of the same classes that takes the same pictures, for `transfer`.
        judge_name: what figures call it.
        seeds: make the pictures again from this many random starts, 0 or at least 2, for `seed_stability`: costs as
            much time as they did, so many times.
        shift: pixels for `placement_stability`, 1 or more.
        images, placement: what `visualize` was given, for `seeds`.

    Raises:
        UsageError: neighbors of other units; a judge that tells another number of classes apart or cannot take the
            pictures; a number of seeds or a shift that cannot be.

    Example:
        >>> from shiftscope.models import TwoFullNet
        >>> model = TwoFullNet(canvas=(12, 10))
        >>> made = visualize(model, "class:all", settings=SynthesisSettings(steps=8))
        >>> found = measure_quality(model, made, judge=model, seeds=2)
        >>> found.judged.shape, found.seed_stability.shape, found.dead is None
        ((10,), (10,), True)
    """
    require(seeds == 0 or seeds >= 2, "seeds", seeds, "0 or at least 2: one picture has nothing to be compared with")
    require(shift >= 1, "shift", shift, "a whole number of at least 1")
    if neighbors is not None and neighbors.units != synthesis.units:
        raise UsageError(f"the neighbors are of {neighbors.objective}, the pictures of {synthesis.objective}: find "
                         "the neighbors of the same units")
    goal = synthesis.objective if goal is None else goal
    shape = (synthesis.images.shape[1], synthesis.images.shape[2], synthesis.images.shape[3])
    readout = Readout(model, [goal], shape, synthesis.class_names)
    pictures = torch.from_numpy(synthesis.images).to(device_and_dtype(model)[0])
    with frozen(model), torch.no_grad():
        shares = _selectivity(readout, pictures)
        kept = _kept(readout, pictures, shift)
    again = [_again(model, goal, synthesis, seed, images, placement) for seed in range(seeds)]
    return Quality(
        model=synthesis.model, objective=synthesis.objective, units=synthesis.units,
        seconds_per_unit=synthesis.seconds / len(synthesis.units), **_beside(synthesis, neighbors),
        judge=None if judge is None else judge_name or registry_name(judge) or model_name(judge),
        seeds=seeds, shift=shift, selectivity=shares.cpu().numpy(), placement_stability=kept.cpu().numpy(),
        seed_stability=mean_correlation(again, len(pictures)), **_verdict(readout, judge, pictures))


def judge_pictures(judge: nn.Module, pictures: torch.Tensor, classes: int) -> torch.Tensor:
    """Return the class that a model takes each picture (B, C, H, W) for, int64 (B,).

    Raises:
        UsageError: it raises on such pictures, or tells another number of classes apart.
    """
    name, (device, dtype) = model_name(judge), device_and_dtype(judge)
    try:
        with evaluating(judge):
            outputs = torch.cat([judge(part.to(device, dtype)) for part in pictures.split(_CHUNK)])
    except Exception as error:
        raise UsageError(f"the judge {name} cannot take pictures of {' x '.join(map(str, pictures.shape[1:]))} "
                         f"(channels, height, width): {error}; choose a judge of the same canvas") from error
    if outputs.ndim != 2 or outputs.shape[1] != classes:
        raise UsageError(f"the judge {name} must tell the same {classes} classes apart as the model, its output has "
                         f"the shape {tuple(outputs.shape)}: choose a judge that learned from the same dataset")
    return predicted_classes(outputs)


def mean_correlation(sets: Sequence[np.ndarray], count: int) -> np.ndarray:
    """Return for each picture the mean correlation over all pairs of sets (count, ...), float32 (count,).

    NaN without pairs, and where a picture is of one color throughout.

    Example:
        >>> picture = np.array([[0.0, 1.0, 2.0]])
        >>> float(mean_correlation([picture, 2 * picture], 1)[0])
        1.0
    """
    flat = [pictures.reshape(count, -1).astype(np.float64) for pictures in sets]
    moved = [pictures - pictures.mean(1, keepdims=True) for pictures in flat]
    with np.errstate(divide="ignore", invalid="ignore"):
        unit = [pictures / np.linalg.norm(pictures, axis=1, keepdims=True) for pictures in moved]
    pairs = [(one * other).sum(1) for one, other in combinations(unit, 2)]
    return np.mean(pairs, axis=0).astype(np.float32) if pairs else np.full(count, np.nan, np.float32)


def _again(model: nn.Module, goal: str | Objective, synthesis: Synthesis, seed: int, images: ImageSet | None,
           placement: Placement | None) -> np.ndarray:
    """The same pictures from another random start, (U, C, H, W)."""
    return visualize(model, goal, start="random", settings=same_settings(synthesis, seed), images=images,
                     placement=placement, shape=synthesis.images.shape[1:], class_names=synthesis.class_names).images


def same_settings(synthesis: Synthesis, seed: int) -> SynthesisSettings:
    """Return the settings of a synthesis with another seed."""
    known = {field.name for field in fields(SynthesisSettings)}
    same: dict[str, Any] = {key: value for key, value in synthesis.settings.items() if key in known}
    window = same.get("window")
    if isinstance(window, Sequence):  # as it was worked out, (rows, columns); unequal ones follow from the placement
        same["window"] = window[0] if window[0] == window[1] else None
    return replace(SynthesisSettings(**same), seed=seed)


def _classes(readout: Readout) -> torch.Tensor | None:
    """The class of each picture, int64 (U,); None where they are not made for one class each."""
    units = lone_units(readout.targets[0])
    return units.numbers if units is not None and units.layer == CLASSES else None


def _verdict(readout: Readout, judge: nn.Module | None, pictures: torch.Tensor) -> dict[str, Any]:
    """What a judge makes of pictures of classes; without one, or for other pictures, nothing."""
    asked = _classes(readout)
    if judge is None or asked is None:
        nothing = np.full(len(pictures), -1)
        return {"transfer": None, "judged": nothing, "judged_correct": nothing >= 0}
    judged = judge_pictures(judge, pictures, readout.anatomy.units(CLASSES)).cpu()
    right = judged == asked
    return {"transfer": float(right.float().mean()), "judged": judged.numpy(), "judged_correct": right.numpy()}


def _selectivity(readout: Readout, pictures: torch.Tensor) -> torch.Tensor:
    """The share of each unit in its layer, (U,); NaN for sums of several units and where nothing is above 0."""
    units = lone_units(readout.targets[0])
    if units is None:
        return pictures.new_full((len(pictures),), torch.nan)
    everyone = replace(units, numbers=torch.arange(readout.anatomy.units(units.layer)))
    means = torch.cat([term_values(everyone, readout.ask(part)) for part in pictures.split(_CHUNK)]).float()
    above = means.clamp_min(0)
    shares = (probabilities(means, determine_output_type(means)) if units.layer == CLASSES
              else above / above.sum(1, keepdim=True))
    return shares[torch.arange(len(pictures)), units.numbers.to(shares.device)]


def _kept(readout: Readout, pictures: torch.Tensor, shift: int) -> torch.Tensor:
    """The mean share of each activation that is left after rolling, (U,)."""
    own = _own(readout, pictures)
    ways = [(dy, dx) for dy in (-shift, 0, shift) for dx in (-shift, 0, shift) if (dy, dx) != (0, 0)]
    rolled = torch.stack([_own(readout, torch.roll(pictures, way, dims=(2, 3))) for way in ways])
    return (rolled.mean(0) / own).masked_fill(own <= 0, torch.nan)


def _own(readout: Readout, pictures: torch.Tensor) -> torch.Tensor:
    """What each unit gives for its own picture, (U,)."""
    return torch.cat([readout.values(readout.ask(part)) for part in pictures.split(_CHUNK)]).diagonal()


def _beside(synthesis: Synthesis, neighbors: Neighbors | None) -> dict:
    """What real images tell."""
    if neighbors is None:
        return {"exceeds_real": None, "dead": None, "dead_units": [], "pictures": "",
                "over_best": np.full(len(synthesis.units), np.nan, np.float32)}
    best, silent = neighbors.maximum, neighbors.peaks <= 0
    over = np.divide(synthesis.activations, best, out=np.full_like(best, np.nan), where=best > 0)
    return {"exceeds_real": float((synthesis.activations > best).mean()), "over_best": over,
            "dead": float(silent.mean()) if len(silent) else None, "dead_units": np.flatnonzero(silent).tolist(),
            "pictures": neighbors.words}
