"""The interactive explorer: data for `mountExplorer` in `app.js`, and a page that holds nothing else."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from shiftscope.files import plain
from shiftscope.outputs import probabilities
from shiftscope.reporting.attribution import METHOD_TITLES, map_end, target_name
from shiftscope.reporting.audit_grid import (
    PlacementGrid,
    audit_credit,
    audit_title,
    describe_audits,
    position_map,
)
from shiftscope.reporting.formatting import image_title, percent
from shiftscope.reporting.selection import MAX_IMAGES, choose_images, first_seeds, group_comparable, mean_consistency
from shiftscope.reporting.web_page import asset, geometry_payload, pack, render_page, script_json
from shiftscope.results import Attribution, Audit
from shiftscope.results.agreement import agreement

MAX_MODELS, RANKS = 6, 3
"""Largest number of models side by side, and of classes with a confidence."""

MAX_BYTES, MAX_PIXEL_BYTES = 2_400_000, 6_000_000
"""Largest size of all predictions and of all pixels of a payload before compression: fewer images are included."""

_LOW = 0.5  # consistency of a filter
_LEVELS = 15  # of an attribution map in each direction: more would not be visible, but take more space
_UNKNOWN = 65535  # a confidence that was not stored; others are in thousandths

_STYLE = """html { color-scheme: light dark; }
body { margin: 0; padding: 4px 8px; background: light-dark(#ffffff, #14181d); }
.shiftscope .ss-strip { grid: none / auto-flow 2.75rem; overflow-x: auto; padding: 4px; }
"""


def render_explorer(audits: Sequence[Audit], *, title: str) -> str:
    """Return a self-contained page with the explorer of audits; its Content-Security-Policy allows no requests."""
    return render_page("explorer.html", style=asset("explorer.css") + _STYLE, title=title,
                       payload=Markup(script_json(explorer_payload(audits))))


def explorer_payload(audits: Sequence[Audit], attributions: Sequence[Attribution] = (), *,
                     rows: str = "") -> dict[str, Any]:
    """Return the data of `mountExplorer` in `app.js` as plain JSON.

    Audits of the same images and placements form a group, with one audit (the first seed) of each model and training
    placement.

    Args:
        attributions: maps of images of the audits; others are ignored.
        rows: all audited images in CSV format, offered as a download.

    Returns:
        {"groups": [...], "table"}, the largest group first. A group of S images, K classes and a grid of R x Q
        placements holds: title, dataset, credit, mode, image [h, w], canvas [H, W], background, classes (K names);
        rows, columns (dy and dx of the grid, ascending, signed in circular mode), middle ([row, column] of the
        centered image, or null); codes {nonfinite, not_computed} used instead of a class; scale [low, high] of the
        accuracy maps; labeled (false: labels are -1, and maps are agreement with the middle); images {numbers, names
        ("image 23" if unknown), labels, first (number of first images, before those of lowest consistency),
        consistency, pixels (S, C, h, w)}; models [{title, model, trained, images, accuracy, map (R * Q, in
        ten-thousandths), classes (3, S, R * Q), confidences (3, S, R * Q, in thousandths), attribution (see
        `_attribution`)}]; filters [{text, images (indices of shown images), audited (number of all audited images, or
        null)}]; notes. 65535 is an unknown number. Arrays are packed, see `pack`. `table` is null without rows, else
        {name, rows (without the header), data}.

    Example:
        >>> explorer_payload([])
        {'groups': [], 'table': None}
    """
    groups = sorted(([audits[index] for index in group] for group in group_comparable(audits)),
                    key=lambda group: -len(first_seeds(group)))
    payloads = [payload for group in groups if (payload := _group(group, attributions, len(groups))) is not None]
    table = {"name": "images.csv", "rows": rows.count("\n") - 1, "data": pack(np.frombuffer(rows.encode(), np.uint8))}
    return {"groups": payloads, "table": table if rows and payloads else None}


def _group(seeds: Sequence[Audit], attributions: Sequence[Attribution], groups: int) -> dict[str, Any] | None:
    """One set of images and placements; None if no images are stored."""
    models = first_seeds(seeds)
    audits, audit, grid = models[:MAX_MODELS], models[0], PlacementGrid(models[0])
    rows, columns = grid.shape
    limit = max(2, min(MAX_IMAGES, MAX_BYTES // (3 * RANKS * rows * columns * len(audits)),
                       MAX_PIXEL_BYTES // max(1, audit.shown_images[:1].nbytes)))
    numbers, first = choose_images(audits, limit // groups)
    if not len(numbers):
        return None
    largest = 255 if len(audit.class_names) <= 254 else 65535
    codes = {"nonfinite": largest, "not_computed": largest - 1}
    maps = [_attribution(part, attributions, numbers) for part in audits]
    return {
        "title": describe_audits(audit), "dataset": audit.dataset, "credit": audit_credit(audit),
        **geometry_payload(audit.geometry), "classes": list(audit.class_names),
        "rows": grid.axes[0].tolist(), "columns": grid.axes[1].tolist(),
        "middle": list(grid.middle) if grid.middle else None, "codes": codes,
        "scale": [0.0, 1.0],  # the same everywhere, so that views with different models are comparable
        "labeled": audit.labeled, "images": _images(audits, numbers, first),
        "models": [_model(part, numbers, codes) | {"attribution": one} for part, one in zip(audits, maps, strict=True)],
        "filters": _filters(audits, numbers, [one for one in maps if one is not None]),
        "notes": _notes(audits, seeds, models),
    }


def _images(audits: Sequence[Audit], numbers: np.ndarray, first: int) -> dict[str, Any]:
    pixels = {number: image for audit in reversed(audits)
              for number, image in zip(audit.shown_index.tolist(), audit.shown_images, strict=True)}
    names = [image_title(audits[0].image_names, number, width=80) for number in numbers.tolist()]
    return {"numbers": numbers.tolist(), "names": names, "labels": audits[0].labels[numbers].tolist(), "first": first,
            "consistency": mean_consistency(audits, numbers).round(4).tolist(),
            "pixels": pack(np.stack([pixels[number] for number in numbers.tolist()]))}


def _model(audit: Audit, numbers: np.ndarray, codes: dict[str, int]) -> dict[str, Any]:
    grid, ranks = PlacementGrid(audit), min(RANKS, len(audit.class_names))
    size = grid.shape[0] * grid.shape[1]
    dtype = np.uint8 if codes["nonfinite"] == 255 else np.uint16
    classes = np.full((ranks, len(numbers), size), codes["not_computed"], dtype)
    confidences = np.full((ranks, len(numbers), size), _UNKNOWN, np.uint16)
    cells = grid.cells[0] * grid.shape[1] + grid.cells[1]
    for index, number in enumerate(numbers.tolist()):
        classes[:, index, cells], confidences[:, index, cells] = _ranking(audit, number, ranks, codes)
    accuracy = grid.arrange(position_map(audit)).ravel()
    scaled = np.where(np.isfinite(accuracy), np.round(10_000 * np.nan_to_num(accuracy)), _UNKNOWN)
    return {"title": audit_title(audit), "model": audit.model, "trained": audit.trained, "images": audit.images,
            "accuracy": plain({"mean": audit.mean_accuracy, "worst": audit.worst_case_accuracy,
                               "consistency": audit.consistency}),
            "map": pack(scaled.astype(np.uint16)), "classes": pack(classes), "confidences": pack(confidences)}


def _ranking(audit: Audit, number: int, ranks: int, codes: dict[str, int]) -> tuple[np.ndarray, np.ndarray]:
    """The most probable classes of an image at each placement (ranks, P), and their confidences.

    The first class is the prediction of the audit: scores are stored in half precision, which may change a close
    decision.
    """
    predicted = audit.predictions[number].astype(np.int64)
    finite = predicted != np.iinfo(audit.predictions.dtype).max
    classes = np.full((ranks, len(predicted)), codes["not_computed"])
    confidences = np.full((ranks, len(predicted)), _UNKNOWN)
    classes[0] = np.where(finite, predicted, codes["nonfinite"])
    stored = np.flatnonzero(audit.shown_index == number)
    if len(stored) and finite.any():
        confidence = probabilities(audit.shown_logits[stored[0]][finite], audit.output_type)
        order = confidence.copy()
        np.put_along_axis(order, predicted[finite, None], 2.0, axis=1)
        best = np.argsort(-order, axis=1, kind="stable")[:, :ranks]
        classes[:, finite] = best.T
        confidences[:, finite] = np.round(1000 * np.take_along_axis(confidence, best, axis=1)).T
    return classes, confidences


def _attribution(audit: Audit, attributions: Sequence[Attribution], numbers: np.ndarray) -> dict[str, Any] | None:
    """The attribution maps of a model for shown images, by the first method of `METHOD_TITLES`; None without a map.

    Returns:
        {method, images (M indices of shown images), offsets (M [dy, dx]), targets (M names), levels, maps (M, H, W;
        packed): 0 to 2 * levels, where `levels` is zero and the ends are the largest magnitude of each map}.
    """
    fitting = sorted((one for one in attributions if _explains(one, audit)),
                     key=lambda one: list(METHOD_TITLES).index(one.method))
    shown = {number: index for index, number in enumerate(numbers.tolist())}
    rows = [row for row, number in enumerate(fitting[0].index) if number in shown] if fitting else []
    if not rows:
        return None
    one = fitting[0]
    scaled = np.stack([np.clip(values / map_end(values), -1, 1) for values in one.maps[rows]])
    return {"method": METHOD_TITLES[one.method], "images": [shown[one.index[row]] for row in rows],
            "offsets": [list(one.offsets[row]) for row in rows], "targets": [target_name(one, row) for row in rows],
            "levels": _LEVELS, "maps": pack(np.round(_LEVELS * (scaled + 1)).astype(np.uint8))}


def _explains(attribution: Attribution, audit: Audit) -> bool:
    """True if attribution maps are of the audited model and images."""
    same = all(getattr(attribution, name) == getattr(audit, name) for name in ("model", "trained", "dataset", "split"))
    index = np.array(attribution.index, np.int64)
    return bool(same and len(index) and len(attribution.offsets) and 0 <= index.min() <= index.max() < len(audit.labels)
                and attribution.maps.shape[1:] == audit.geometry.canvas and attribution.geometry.mode == audit.mode
                and (attribution.labels == audit.labels[index]).all())


def _filters(audits: Sequence[Audit], numbers: np.ndarray, maps: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Subsets of the shown images, and how many of all audited images belong to each."""
    count = min(len(audit.predictions) for audit in audits)
    low = [agreement(audit.predictions[:count], len(audit.class_names))[0] < _LOW for audit in audits]
    text = f"Consistency below {percent(_LOW, 0)}"
    subsets = [(f"{text}: any" if len(audits) > 1 else text, np.any(low, axis=0))]
    if len(audits) > 1:
        subsets += [(f"{text}: {audit_title(audit)}", part) for audit, part in zip(audits, low, strict=True)]
    found = [{"text": text, "images": np.flatnonzero(part[numbers]).tolist(), "audited": int(part.sum())}
             for text, part in subsets]
    explained = sorted({index for one in maps for index in one["images"]})
    return [*found, *([{"text": "With attribution map", "images": explained, "audited": None}] if explained else [])]


def _notes(audits: Sequence[Audit], seeds: Sequence[Audit], models: Sequence[Audit]) -> list[str]:
    notes = []
    if audits[0].geometry.background == "texture":
        notes.append("The models saw a textured background, which is not stored: the canvas is shown in gray.")
    if len(models) > len(audits):
        hidden = ", ".join(audit_title(audit) for audit in models[MAX_MODELS:])
        notes.append(f"The first {MAX_MODELS} of {len(models)} models are shown; not shown: {hidden}.")
    if len(seeds) > len(models):
        notes.append("Only the first seed of each model is shown.")
    if any(audit.sampled for audit in audits):
        notes.append("The placements were sampled: crossed-out cells were not computed.")
    elif not audits[0].geometry.is_grid:
        notes.append("The placements are a list of offsets: crossed-out cells are not among them.")
    if len({audit.images for audit in audits}) > 1:
        notes.append("The models were audited on different numbers of images, so their maps are not fully comparable.")
    return notes
