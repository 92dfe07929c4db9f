"""Choose the images that a report shows: the same for all models. Missing scores are computed again."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from shiftscope.auditing.predictions import shown_count
from shiftscope.auditing.scores import Scores, scores
from shiftscope.data.base import Subset
from shiftscope.errors import CheckpointError, Interrupted, ShiftscopeError
from shiftscope.progress import Progress, SilentProgress
from shiftscope.reporting.selection import MAX_IMAGES, first_seeds, group_comparable
from shiftscope.results import Audit
from shiftscope.results.agreement import agreement
from shiftscope.workflows.load_inputs import ModelWithData

MAX_DIFFERENT = 0.001
"""Maximum fraction of predictions that may differ from those of the audit, because of rounding near ties."""

LoadModel = Callable[[Audit], ModelWithData]
"""Loads the model and the images of an audit, or raises a `ShiftscopeError`."""


@dataclass(frozen=True, kw_only=True)
class ChosenImages:
    """Audits with the images that a report shows."""

    audits: list[Audit]
    """All audits, with the pixels and scores of the chosen images as far as they are available."""
    shown: list[Audit]
    """The same audits, limited to the chosen images; other seeds of a model are unchanged."""
    notes: list[str]
    """A sentence for each audit that lacks scores."""


def choose_images(audits: Sequence[Audit], load_model: LoadModel | None = None,
                  progress: Progress | None = None) -> ChosenImages:
    """Choose the same images for all audits of the same images and placements, and compute missing scores.

    Args:
        audits: of any models and images; each set of images and placements is treated separately.
        load_model: called once for each audit that lacks scores; None: scores are not completed.
    """
    complete, shown, notes = list(audits), list(audits), []
    for group in group_comparable(audits):
        compared = set(map(id, first_seeds([audits[i] for i in group])))
        group = [i for i in group if id(audits[i]) in compared]
        index = shared_index([audits[i] for i in group])
        for i in group:
            missing = np.setdiff1d(index, audits[i].shown_index)
            if len(missing) and load_model is not None:
                try:
                    complete[i] = extended(audits[i], missing, load_model(audits[i]), progress)
                except Interrupted:
                    raise
                except ShiftscopeError as error:
                    notes.append(f"{audits[i].model}: its confidence is not available for {len(missing)} of "
                                 f"{len(index)} images in the explorer, because the model could not be evaluated "
                                 f"again: {error}")
            shown[i] = limited_to(complete[i], index)
    return ChosenImages(audits=complete, shown=shown, notes=notes)


def shared_index(audits: Sequence[Audit], limit: int = MAX_IMAGES) -> np.ndarray:
    """Choose the images to show for audits of the same images.

    Half of them are the first images. For the others, each model in turn adds the image with its lowest consistency.

    Returns:
        int64 (S,): the first images, then the others in the order in which they were chosen. If too few images are
        inconsistent, there are more of the first images.
    """
    images = min(audit.images for audit in audits)
    count = min(limit, shown_count(images, audits[0].placements, len(audits[0].class_names)))
    first = count - count // 2
    chosen = dict.fromkeys(range(first))
    sources = [iter(_inconsistent(audit, images)) for audit in audits]
    while len(chosen) < count and sources:
        turns = [(source, next((index for index in source if index not in chosen), None)) for source in sources]
        sources = [source for source, index in turns if index is not None]
        chosen |= dict.fromkeys([index for _, index in turns if index is not None][:count - len(chosen)])
    unused = (index for index in range(first, images) if index not in chosen)
    more = [index for index, _ in zip(unused, range(count - len(chosen)), strict=False)]
    order = list(chosen)
    return np.array([*order[:first], *more, *order[first:]], np.int64)


def _inconsistent(audit: Audit, images: int) -> list[int]:
    """Return those of the first `images` images that get more than one label, by rising consistency."""
    consistency, unanimous = agreement(audit.predictions[:images], len(audit.class_names))
    order = np.argsort(consistency, kind="stable")
    return order[~unanimous[order]].tolist()


def limited_to(audit: Audit, index: np.ndarray) -> Audit:
    """Return an audit that shows only the images of `index` that it holds, in this order."""
    rows_of = {image: row for row, image in enumerate(audit.shown_index.tolist())}
    rows = np.array([rows_of[image] for image in index.tolist() if image in rows_of], np.int64)
    return replace(audit, shown_index=audit.shown_index[rows], shown_images=audit.shown_images[rows],
                   shown_logits=audit.shown_logits[rows])


def extended(audit: Audit, index: np.ndarray, model: ModelWithData, progress: Progress | None = None) -> Audit:
    """Return an audit that also holds the pixels and scores of the images in `index`, computed by its engine.

    Raises:
        CheckpointError: if the model or the images are not those of the audit.
        ShiftscopeError: if the model cannot be evaluated with the same engine.
    """
    images = model.data.split_images(audit.split, model.validation)
    if len(images) <= index.max() or not np.array_equal(images.labels[index].numpy(), audit.labels[index]):
        raise CheckpointError(f"the {audit.split} images of {model.data.name} are not those that were audited")
    chosen = Subset(images, torch.from_numpy(index))
    new = scores(model.model, chosen, len(audit.class_names), placement=model.placement, engine=audit.engine,
                 offsets=torch.from_numpy(audit.offsets), progress=progress or SilentProgress())
    _check_predictions(audit, index, new)
    pixels = chosen.gather(torch.arange(len(index))).cpu().numpy()
    return replace(audit, shown_index=np.concatenate((audit.shown_index, index)),
                   shown_images=np.concatenate((audit.shown_images, pixels)),
                   shown_logits=np.concatenate((audit.shown_logits, new.logits)))


def _check_predictions(audit: Audit, index: np.ndarray, new: Scores) -> None:
    """Compare with the predictions of the audit: another model gives others."""
    if new.predictions.shape != (len(index), audit.placements):
        raise CheckpointError("its placements are not those that were audited")
    different = float((new.predictions != audit.predictions[index]).mean())
    if different > MAX_DIFFERENT:
        raise CheckpointError(f"{100 * different:.1f} % of its predictions differ from those of the audit")
