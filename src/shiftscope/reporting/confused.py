"""What a page needs to open the images behind the cells of a confusion matrix."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from shiftscope.reporting.page_data import geometry_payload, pack
from shiftscope.reporting.side_by_side import first_seeds
from shiftscope.reporting.wording import series_title
from shiftscope.results import Evaluation

BYTES = 600_000
"""Pixels of all matrices of a page take at most so much before compression: fewer images stand behind a cell then."""


def confusion_payload(evaluations: Sequence[Evaluation]) -> dict[str, Any]:
    """Return what `mountConfusion` of `app.js` shows of evaluations on test images, as plain JSON.

    Of several seeds of a model, trained in one way, the first is taken; matrices without classes are left out.

    Returns:
        {"matrices": [{title, classes (K names), counts (K, K; rows true, columns predicted), images}]}. `images` is
        None where the evaluation kept none, else {numbers, true, said, offsets [dy, dx], shares (None where not
        finite), pixels (M, C, h, w; packed), mode, canvas [H, W], background}.

    Example:
        >>> confusion_payload([])
        {'matrices': []}
    """
    first = first_seeds([one for one in evaluations if one.split == "test" and one.confusion.size])
    return {"matrices": [_matrix(evaluation, BYTES // len(first)) for evaluation in first]}


def _matrix(evaluation: Evaluation, budget: int) -> dict[str, Any]:
    return {"title": series_title(evaluation.model, evaluation.trained), "classes": list(evaluation.class_names),
            "counts": evaluation.confusion.tolist(), "images": _images(evaluation, budget)}


def _images(evaluation: Evaluation, budget: int) -> dict[str, Any] | None:
    pixels = evaluation.cell_images
    if not len(pixels):
        return None
    numbers = evaluation.cell_index
    true, said = evaluation.labels[numbers], evaluation.predictions[numbers]
    kept = _evenly(true * len(evaluation.class_names) + said, budget // max(1, pixels[0].size))
    numbers = numbers[kept]
    shares = [float(share) if np.isfinite(share) else None for share in evaluation.confidence[numbers]]
    return {"numbers": numbers.tolist(), "true": true[kept].tolist(), "said": said[kept].tolist(),
            "offsets": evaluation.offsets[numbers].tolist(), "shares": shares, "pixels": pack(pixels[kept]),
            **geometry_payload(evaluation.geometry)}


def _evenly(cells: np.ndarray, limit: int) -> np.ndarray:
    """Return places of at most `limit` images, in their order: the first one of each cell, then the second ones, ..."""
    order = np.argsort(cells, kind="stable")
    rank = np.empty(len(cells), np.int64)
    starts = np.flatnonzero(np.diff(cells[order], prepend=-1))
    lengths = np.diff(np.append(starts, len(cells)))
    rank[order] = np.arange(len(cells)) - np.repeat(starts, lengths)
    return np.sort(np.argsort(rank, kind="stable")[:limit])
