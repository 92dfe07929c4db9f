"""The images that a report shows are the same for all models: what an audit did not keep of them is asked for again."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn

from shiftscope.auditing.scores import Scores, scores
from shiftscope.auditing.shown import shown_count
from shiftscope.data.base import Dataset, Subset
from shiftscope.errors import CheckpointError, Interrupted, ShiftscopeError
from shiftscope.placement import Placement
from shiftscope.progress import Progress
from shiftscope.reporting.explorer import IMAGES
from shiftscope.reporting.side_by_side import first_seeds, same_sets
from shiftscope.results import Audit
from shiftscope.results.agreement import agreement

DIFFERING = 0.001
"""Largest share of answers that may differ from those of the audit: ties that rounding decides anew."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A model that can still be asked, and the images that its audit was about."""

    model: nn.Module
    data: Dataset
    placement: Placement
    validation: int = 5000


def together(audits: Sequence[Audit]) -> list[list[int]]:
    """Return which audits stand side by side in a report, as places in `audits`: of the same images and placements, the
    first seed of each model."""
    found = []
    for places in same_sets(audits):
        shown = set(map(id, first_seeds([audits[place] for place in places])))
        found.append([place for place in places if id(audits[place]) in shown])
    return found


def shared_index(audits: Sequence[Audit], most: int = IMAGES) -> np.ndarray:
    """Choose the images to be shown of audits of the same images: the first ones, and of the others by turns the one
    about which each model changes its mind most.

    Returns:
        int64 (S,): the first ones, then the others in the order in which they were chosen. Where fewer images change
        any mind, more of the first ones.
    """
    images, first = min(audit.images for audit in audits), audits[0]
    count = min(most, shown_count(images, first.placements, len(first.class_names)))
    chosen = dict.fromkeys(range(count - count // 2))
    worst = [iter(_wavering(audit, images)) for audit in audits]
    while len(chosen) < count and worst:
        turns = [(source, next((index for index in source if index not in chosen), None)) for source in worst]
        worst = [source for source, index in turns if index is not None]
        chosen |= dict.fromkeys([index for _, index in turns if index is not None][:count - len(chosen)])
    begin = count - count // 2
    spare = (index for index in range(begin, images) if index not in chosen)
    missing = [index for index, _ in zip(spare, range(count - len(chosen)), strict=False)]
    found = list(chosen)
    return np.array([*found[:begin], *missing, *found[begin:]], np.int64)


def _wavering(audit: Audit, images: int) -> list[int]:
    """Return those of the first images that get more than one label, by rising consistency."""
    consistency, unanimous = agreement(audit.predictions[:images], len(audit.class_names))
    order = np.argsort(consistency, kind="stable")
    return order[~unanimous[order]].tolist()


def narrowed(audit: Audit, index: np.ndarray) -> Audit:
    """Return an audit that shows the images of `index` alone, in its order; those that it does not hold are left out.
    """
    places = {number: place for place, number in enumerate(audit.shown_index.tolist())}
    rows = np.array([places[number] for number in index.tolist() if number in places], np.int64)
    return replace(audit, shown_index=audit.shown_index[rows], shown_images=audit.shown_images[rows],
                   shown_logits=audit.shown_logits[rows])


def extended(audit: Audit, index: np.ndarray, asked: Asked, progress: Progress | None = None) -> Audit:
    """Return an audit that holds the pixels and scores of further images, computed by the engine that it used.

    Args:
        index: int64, numbers of images that the audit does not show yet.

    Raises:
        CheckpointError: the model or the images are not those of the audit.
        ShiftscopeError: the model cannot be asked as it was then.
    """
    images = asked.data.split_images(audit.split, asked.validation)
    if len(images) <= index.max() or not np.array_equal(images.labels[index].numpy(), audit.labels[index]):
        raise CheckpointError(f"the {audit.split} images of {asked.data.name} are not those that were audited")
    chosen = Subset(images, torch.from_numpy(index))
    found = scores(asked.model, chosen, len(audit.class_names), placement=asked.placement, engine=audit.engine,
                   offsets=torch.from_numpy(audit.offsets), progress=progress)
    _check(audit, index, found)
    pixels = chosen.gather(torch.arange(len(index))).cpu().numpy()
    return replace(audit, shown_index=np.concatenate((audit.shown_index, index)),
                   shown_images=np.concatenate((audit.shown_images, pixels)),
                   shown_logits=np.concatenate((audit.shown_logits, found.logits)))


def _check(audit: Audit, index: np.ndarray, found: Scores) -> None:
    """The answers to these images are known from the audit: a model that gives others is another one."""
    if found.predictions.shape != (len(index), audit.placements):
        raise CheckpointError("its placements are not those that were audited")
    differing = float((found.predictions != audit.predictions[index]).mean())
    if differing > DIFFERING:
        raise CheckpointError(f"{100 * differing:.1f} % of its answers are not those of the audit")


def share_images(audits: Sequence[Audit], ask: Callable[[int], Asked],
                 progress: Progress) -> tuple[list[Audit], list[str]]:
    """Let audits of the same images and placements show the same images, with scores at every placement.

    Args:
        audits: of any models and images; each set of images and placements has its own.
        ask: returns the model of the audit in a place of `audits`; called only where scores are missing. It raises a
            `ShiftscopeError` where the model is gone or would need code.

    Returns:
        The audits, those that stand side by side with all images that `shown_alike` shows, and a note for each that
        could not be completed.
    """
    found, notes = list(audits), []
    for group in together(audits):
        index = shared_index([audits[place] for place in group])
        for place in group:
            missing = np.setdiff1d(index, audits[place].shown_index)
            if not len(missing):
                continue
            try:
                found[place] = extended(audits[place], missing, ask(place), progress)
            except Interrupted:
                raise
            except ShiftscopeError as error:
                notes.append(f"{audits[place].model}: its confidence is not known for {len(missing)} of {len(index)} "
                             f"images in the explorer, for the model could not be asked again: {error}")
    return found, notes


def shown_alike(audits: Sequence[Audit]) -> list[Audit]:
    """Return audits that show the images which `share_images` chose, and no others; further seeds as they are."""
    found = list(audits)
    for group in together(audits):
        index = shared_index([audits[place] for place in group])
        for place in group:
            found[place] = narrowed(audits[place], index)
    return found
