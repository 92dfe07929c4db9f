"""Which results and which images a page shows."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from shiftscope.results import Audit, Evaluation, TrainResult
from shiftscope.results.agreement import agreement

MAX_IMAGES = 24


AnyResult = TypeVar("AnyResult", Audit, Evaluation, TrainResult)


def first_seeds(results: Sequence[AnyResult]) -> list[AnyResult]:
    """Return the first result of each model and training placement; the others are further seeds."""
    first: dict[tuple[str, str], AnyResult] = {}
    for result in results:
        first.setdefault((result.model, result.trained), result)
    return list(first.values())


def group_comparable(audits: Sequence[Audit]) -> list[list[int]]:
    """Group the indices of audits of the same dataset, split and placements; the number of images may differ.

    >>> group_comparable([])
    []
    """
    groups: dict[str, list[int]] = {}
    for index, audit in enumerate(audits):
        key = repr((audit.dataset, audit.split, audit.class_names, sorted(audit.placement.items()),
                    audit.offsets.tobytes(), audit.labels[:1].tobytes()))
        groups.setdefault(key, []).append(index)
    return list(groups.values())


def choose_images(audits: Sequence[Audit], limit: int = MAX_IMAGES) -> tuple[np.ndarray, int]:
    """Choose the images that a page shows: half are the first ones, half those with the lowest consistency.

    Consistency is the mean over the models, of all images whose pixels are stored in some audit. If too few images are
    inconsistent, more of the first ones are chosen.

    Args:
        audits: of the same images and placements.
        limit: largest number of images, at least 2.

    Returns:
        int64 image numbers, the first images before the others by ascending consistency; number of first images.
    """
    limit = max(2, limit)
    audited = min(len(audit.predictions) for audit in audits)
    stored = np.unique(np.concatenate([audit.shown_index for audit in audits]))
    stored = stored[stored < audited]
    rest = stored[limit - limit // 2:]
    consistency = mean_consistency(audits, rest)
    order = np.argsort(consistency, kind="stable")
    worst = rest[order][consistency[order] < 1 - 1e-9][:limit // 2]
    first = np.setdiff1d(stored, worst)[:limit - len(worst)]
    return np.concatenate((first, worst)).astype(np.int64), len(first)


def mean_consistency(audits: Sequence[Audit], numbers: np.ndarray) -> np.ndarray:
    """Return the consistency of images, mean over the models, float64."""
    return np.mean([agreement(audit.predictions[numbers], len(audit.class_names))[0] for audit in audits], axis=0)
