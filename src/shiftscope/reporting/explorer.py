"""What the explorer of a page needs: a few images, and what each model says of them at every placement.

`app.js` draws it; the shapes below are the contract between the two.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from shiftscope.outputs import probabilities
from shiftscope.reporting.audit_grid import Grid, audit_credit, audit_title, common_scale, how_audited
from shiftscope.reporting.page_data import geometry_payload, pack
from shiftscope.reporting.side_by_side import first_seeds, same_sets
from shiftscope.reporting.wording import thing
from shiftscope.results import Audit
from shiftscope.results.agreement import agreement

IMAGES, MODELS, RANKS = 24, 6, 3
"""At most so many images, models side by side, and classes whose confidence is shown."""

BYTES = 2_400_000
"""All answers of a payload take at most so much before compression (to about a third): fewer images are shown then."""

_UNKNOWN = 65535  # stands for a confidence that was not kept; others are in thousandths


def explorer_payload(audits: Sequence[Audit]) -> dict[str, Any]:
    """Return what `mountExplorer` of `app.js` shows of audits, as plain JSON.

    Audits of the same images and placements stand side by side, one of each model and way of training (the first: the
    others are its seeds); each other set of images or placements is a group of its own, to choose from.

    Args:
        audits: of any models, datasets and placements; none of them is changed.

    Returns:
        {"groups": [...]}, the largest group first. A group of S images, K classes and a grid of R x Q placements
        holds: title, dataset, credit, thing, mode, image [h, w], canvas [H, W], background, classes (K names);
        rows, columns (dy and dx of the grid, rising, in circular mode the nearer way around), middle ([row, column] of
        the centered image, or null); codes {nonfinite, not_computed} that stand for a class; scale [low, high] of the
        accuracy maps; images {numbers, labels, first (so many are the first ones, the others those of worst
        consistency), consistency, pixels (S, C, h, w)}; models [{title, model, trained, images, accuracy, map (R * Q,
        in ten-thousandths), classes (3, S, R * Q), shares (3, S, R * Q, in thousandths)}]; notes. 65535 is a number
        that is not known. Arrays are packed, see `pack`.

    Example:
        >>> explorer_payload([])
        {'groups': []}
    """
    groups = [[audits[place] for place in places] for places in same_sets(audits)]
    kinds = sorted(groups, key=lambda group: -len(first_seeds(group)))
    made = [_group(group, len(kinds)) for group in kinds]
    return {"groups": [group for group in made if group is not None]}


def _group(every: Sequence[Audit], groups: int) -> dict[str, Any] | None:
    """One set of images and placements; None where no image was kept."""
    different = first_seeds(every)
    audits = different[:MODELS]
    numbers, first = chosen_images(audits, _affordable(audits) // groups)
    if not len(numbers):
        return None
    audit, grid = audits[0], Grid(audits[0])
    scale = common_scale([part.accuracy_map for part in audits])
    codes = _codes(audit)
    return {
        "title": how_audited(audit), "dataset": audit.dataset, "credit": audit_credit(audit),
        "thing": thing(audit.dataset), **geometry_payload(audit.geometry),
        "classes": list(audit.class_names),
        "rows": grid.axes[0].tolist(), "columns": grid.axes[1].tolist(),
        "middle": list(grid.middle) if grid.middle else None, "codes": codes,
        "scale": [float(scale.vmin or 0.0), float(scale.vmax or 1.0)],
        "images": _images(audits, numbers, first),
        "models": [_model(part, numbers, codes) for part in audits],
        "notes": _notes(audits, every, different),
    }


def _affordable(audits: Sequence[Audit]) -> int:
    rows, columns = Grid(audits[0]).shape
    return max(2, min(IMAGES, BYTES // (3 * RANKS * rows * columns * len(audits))))


def chosen_images(audits: Sequence[Audit], limit: int = IMAGES) -> tuple[np.ndarray, int]:
    """Return which images a page shows, and how many of them are the first ones.

    Half are the first images of the set, not picked. The others are those of the lowest consistency, mean over the
    models, of all whose pixels some audit kept; where too few change any mind, there are more of the first ones.

    Args:
        audits: of the same images and placements.
        limit: images at most, at least 2.

    Returns:
        Numbers of the images, int64: the first ones, then the others by rising consistency; how many come first.
    """
    limit = max(2, limit)
    answered = min(len(audit.predictions) for audit in audits)
    known = np.unique(np.concatenate([audit.shown_index for audit in audits]))
    known = known[known < answered]
    rest = known[limit - limit // 2:]
    consistency = _consistency(audits, rest)
    order = np.argsort(consistency, kind="stable")
    worst = rest[order][consistency[order] < 1 - 1e-9][:limit // 2]
    first = np.setdiff1d(known, worst)[:limit - len(worst)]
    return np.concatenate((first, worst)).astype(np.int64), len(first)


def _consistency(audits: Sequence[Audit], numbers: np.ndarray) -> np.ndarray:
    """Consistency of some images, mean over the models, float64."""
    return np.mean([agreement(audit.predictions[numbers], len(audit.class_names))[0] for audit in audits], axis=0)


def _images(audits: Sequence[Audit], numbers: np.ndarray, first: int) -> dict[str, Any]:
    pixels = []
    for number in numbers:
        audit = next(part for part in audits if number in part.shown_index)
        pixels.append(audit.shown_images[np.flatnonzero(audit.shown_index == number)[0]])
    return {"numbers": numbers.tolist(), "labels": audits[0].labels[numbers].tolist(), "first": first,
            "consistency": _consistency(audits, numbers).round(4).tolist(), "pixels": pack(np.stack(pixels))}


def _codes(audit: Audit) -> dict[str, int]:
    most = 255 if len(audit.class_names) <= 254 else 65535
    return {"nonfinite": most, "not_computed": most - 1}


def _model(audit: Audit, numbers: np.ndarray, codes: dict[str, int]) -> dict[str, Any]:
    grid = Grid(audit)
    ranks = min(RANKS, len(audit.class_names))
    cells = grid.shape[0] * grid.shape[1]
    dtype = np.uint8 if codes["nonfinite"] == 255 else np.uint16
    classes = np.full((ranks, len(numbers), cells), codes["not_computed"], dtype)
    shares = np.full((ranks, len(numbers), cells), _UNKNOWN, np.uint16)
    where = grid.places[0] * grid.shape[1] + grid.places[1]
    for place, number in enumerate(numbers):
        classes[:, place, where], shares[:, place, where] = _ranked(audit, int(number), ranks, codes)
    share = grid.lay(audit.accuracy_map).ravel()
    return {"title": audit_title(audit), "model": audit.model, "trained": audit.trained, "images": audit.images,
            "accuracy": {"mean": audit.mean_accuracy, "worst": audit.worst_case_accuracy,
                         "consistency": audit.consistency},
            "map": pack(np.where(np.isfinite(share), np.round(10_000 * np.nan_to_num(share)), _UNKNOWN)
                        .astype(np.uint16)),
            "classes": pack(classes), "shares": pack(shares)}


def _ranked(audit: Audit, number: int, ranks: int, codes: dict[str, int]) -> tuple[np.ndarray, np.ndarray]:
    """The likeliest classes of an image at each placement (ranks, P), the model's answer first, and their shares.

    The answer comes from the audit itself: scores are kept in half precision, which may turn a close call around.
    """
    answer = audit.predictions[number].astype(np.int64)
    finite = answer != np.iinfo(audit.predictions.dtype).max
    classes = np.full((ranks, len(answer)), codes["not_computed"])
    shares = np.full((ranks, len(answer)), _UNKNOWN)
    classes[0] = np.where(finite, answer, codes["nonfinite"])
    kept = np.flatnonzero(audit.shown_index == number)
    if len(kept) and finite.any():
        confidence = probabilities(audit.shown_logits[kept[0]][finite], audit.output_type)
        order = confidence.copy()
        np.put_along_axis(order, answer[finite, None], 2.0, axis=1)
        best = np.argsort(-order, axis=1, kind="stable")[:, :ranks]
        classes[:, finite] = best.T
        shares[:, finite] = np.round(1000 * np.take_along_axis(confidence, best, axis=1)).T
    return classes, shares


def _notes(audits: Sequence[Audit], every: Sequence[Audit], different: Sequence[Audit]) -> list[str]:
    notes = []
    if audits[0].geometry.background == "texture":
        notes.append("The models saw a textured background. It is not kept: here the canvas is plain gray.")
    if len(different) > len(audits):
        left_out = ", ".join(audit_title(audit) for audit in different[MODELS:])
        notes.append(f"The first {MODELS} of {len(different)} models are shown; not here: {left_out}.")
    if len(every) > len(different):
        notes.append("Of several seeds of a model the first is shown.")
    if any(audit.sampled for audit in audits):
        notes.append("The placements were sampled: cells that are crossed out were not computed.")
    if len({audit.images for audit in audits}) > 1:
        notes.append("The models were audited on different numbers of images: compare their maps with care.")
    return notes
