"""From what was kept of two models to pictures of what exactly one of them gets right."""

import numpy as np
import torch

from shiftscope.reporting.disagreements import Disagreements
from shiftscope.reporting.wording import image_credit, series_title
from shiftscope.results import Audit, Evaluation
from shiftscope.workflows.load_inputs import stored_placement


def between_evaluations(a: Evaluation, b: Evaluation) -> Disagreements:
    """Return the images, at their random places, that one model alone gets right: those whose pictures either kept.

    Args:
        a, b: of the same images at the same places.
    """
    pictures = _gallery(a) | _gallery(b) | _cells(a) | _cells(b)
    right = [part.predictions == part.labels for part in (a, b)]
    index = np.array(sorted(number for number in pictures if right[0][number] != right[1][number]), np.int64)
    canvases = [pictures[number] for number in index.tolist()]
    return Disagreements(
        models=(series_title(a.model, a.trained), series_title(b.model, b.trained)), class_names=a.class_names,
        totals=(int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum())),
        of=f"{a.images:,} {a.split} images, each at one random place", each="image", labels=a.labels[index],
        said=np.stack((a.predictions[index], b.predictions[index]), 1), canvases=_stacked(canvases),
        credit=image_credit(a.dataset, synthetic=a.synthetic))


def _gallery(found: Evaluation) -> dict[int, np.ndarray]:
    return dict(zip(found.gallery_index.tolist(), found.gallery_canvases, strict=True))


def _cells(found: Evaluation) -> dict[int, np.ndarray]:
    """Return the canvases of the images behind the cells of the confusion matrix, by number."""
    if not len(found.cell_index):
        return {}
    place = stored_placement(found.placement, found.cell_images.shape[1])
    offsets = torch.from_numpy(found.offsets[found.cell_index])
    canvases = place.place(torch.from_numpy(found.cell_images), offsets).numpy()
    return dict(zip(found.cell_index.tolist(), canvases, strict=True))


def _stacked(canvases: list[np.ndarray]) -> np.ndarray:
    return np.stack(canvases) if canvases else np.zeros((0, 1, 1, 1), np.uint8)


def between_audits(a: Audit, b: Audit) -> Disagreements:
    """Return shown images, each at the placement nearest the middle at which one model alone is right.

    Args:
        a, b: of the same images and placements.
    """
    shown = dict(zip(a.shown_index.tolist(), a.shown_images, strict=True)) | dict(
        zip(b.shown_index.tolist(), b.shown_images, strict=True))
    right = [audit.predictions == audit.labels[:, None] for audit in (a, b)]
    place = stored_placement(a.placement, next(iter(shown.values())).shape[0]) if shown else None
    nearest = np.abs(a.offsets - np.array(place.middle)).sum(1).argsort(kind="stable") if place else []
    index, columns = [], []
    for number in sorted(shown):
        differ = np.flatnonzero((right[0][number] != right[1][number])[nearest])
        if len(differ):
            index.append(number)
            columns.append(int(nearest[differ[0]]))
    canvases = _stacked([]) if place is None or not index else place.place(
        torch.from_numpy(np.stack([shown[number] for number in index])), torch.from_numpy(a.offsets[columns])).numpy()
    said = [_said(audit, index, columns) for audit in (a, b)]
    return Disagreements(
        models=(series_title(a.model, a.trained), series_title(b.model, b.trained)), class_names=a.class_names,
        totals=(int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum())),
        of=f"{a.predictions.size:,} answers ({a.images:,} {a.split} images at {a.placements:,} placements)",
        each="answer", labels=a.labels[index], said=np.stack(said, 1), canvases=canvases,
        credit=image_credit(a.dataset, synthetic=a.synthetic))


def _said(audit: Audit, index: list[int], columns: list[int]) -> np.ndarray:
    return audit.predictions[index, columns].astype(np.int64)
