"""Small constructed results for the tests of figures and report."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from shiftscope.geometry import Geometry
from shiftscope.results import NONFINITE, Audit, Evaluation, TrainResult
from shiftscope.results.agreement import agreement_map

PLACEMENT = {"image": [28, 28], "canvas": [56, 56], "mode": "canvas", "background": 0}


def _evaluation(classes: int = 3, images: int = 12, channels: int = 1, canvas: tuple[int, int] = (20, 20),
                **changed: Any) -> Evaluation:
    """Labels are 0, 1, 2, ...; every third image is predicted as the next class; all centered images are correct."""
    labels = np.arange(images) % classes
    predictions = np.where(np.arange(images) % 3 == 2, (labels + 1) % classes, labels)
    confusion, centered = np.zeros((classes, classes), int), np.zeros((classes, classes), int)
    np.add.at(confusion, (labels, predictions), 1)
    np.add.at(centered, (labels, labels), 1)
    shown = min(images, 8)
    canvases = np.arange(shown * channels * canvas[0] * canvas[1]).reshape(shown, channels, *canvas) % 256
    values: dict[str, Any] = {
        "model": "two-full", "dataset": "fashion-mnist", "synthetic": False, "split": "test", "trained": "random",
        "images": images, "seed": 0, "placement": PLACEMENT, "class_names": [f"class {k}" for k in range(classes)],
        "accuracy": {"random": float((predictions == labels).mean()), "centered": 1.0},
        "per_class": {"random": [0.5] * classes, "centered": [1.0] * classes}, "nonfinite": 0, "notes": [],
        "labels": labels, "predictions": predictions, "confidence": np.full(images, 0.75, np.float32),
        "offsets": np.zeros((images, 2), int), "predictions_centered": labels, "confusion": confusion,
        "confusion_centered": centered, "gallery_index": np.arange(shown),
        "gallery_canvases": canvases.astype(np.uint8),
    }
    return Evaluation(**(values | changed))


def _training(epochs: int = 3, final: float | None = 0.75, **changed: Any) -> TrainResult:
    """Validation accuracy is `final` in every epoch."""
    history = [{"epoch": epoch, "train_loss": 1.0 / epoch, "train_accuracy": 0.5, "val_accuracy": final}
               for epoch in range(1, epochs + 1)]
    values: dict[str, Any] = {
        "model": "two-full", "dataset": "fashion-mnist", "parameters": 314710, "epochs": epochs, "seed": 0,
        "trained": "random", "train_images": 100, "validation_images": 20, "train_seconds": 30.0,
        "images_per_second": 5000.0, "history": history, "settings": {"learning_rate": 0.003}, "placement": PLACEMENT,
        "device": "cpu", "checkpoint": None, "notes": [],
    }
    return TrainResult(**(values | changed))


def _audit(logits: np.ndarray, labels: np.ndarray, rows: np.ndarray, columns: np.ndarray,
           computed: np.ndarray | None = None, images: np.ndarray | None = None, **changed: Any) -> Audit:
    """An audit from logits (N, R * Q, K) at the offsets rows x columns, with metrics computed in plain NumPy.

    `computed` (P,) are the indices of the offsets that are kept (default: all); `images` uint8 (N, C, h, w).
    """
    count, _, classes = logits.shape
    grid = (len(rows), len(columns))
    canvas = (27 + grid[0], 27 + grid[1])
    offsets = np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1).reshape(-1, 2)
    kept = np.arange(len(offsets)) if computed is None else computed
    logits, offsets = logits[:, kept].astype(float), offsets[kept]
    finite = np.isfinite(logits).all(axis=-1)
    predictions = np.where(finite, np.nan_to_num(logits).argmax(axis=-1), NONFINITE).astype(np.uint8)
    right = predictions == labels[:, None]
    own = np.take_along_axis(logits, labels[:, None, None].repeat(logits.shape[1], 1), axis=-1)[..., 0]
    margin = own - np.where(np.arange(classes) == labels[:, None, None], -np.inf, logits).max(axis=-1)
    shares = (predictions[:, :, None] == np.arange(256)).mean(axis=1)
    consistency = np.square(shares).sum(axis=1)
    maps = np.full((classes + 1, grid[0] * grid[1]), np.nan)
    maps[classes, kept] = right.mean(axis=0)
    for cls in set(labels.tolist()):
        maps[cls, kept] = right[labels == cls].mean(axis=0)
    shown = np.argsort(consistency, kind="stable")[:24]
    if images is None:
        images = (np.arange(count * 28 * 28).reshape(count, 1, 28, 28) % 256).astype(np.uint8)
    figures = {"mean_accuracy": right.mean(), "worst_case_accuracy": right.all(axis=1).mean(),
               "consistency": consistency.mean(), "unanimity": (shares.max(axis=1) == 1).mean(),
               "middle_accuracy": right[:, 0 if changed.get("mode") == "circular" else len(kept) // 2].mean()}
    values: dict[str, Any] = {
        "model": "two-full", "dataset": "fashion-mnist", "synthetic": False, "split": "test", "trained": "random",
        "class_names": [f"class {k}" for k in range(classes)], "images": count, "placements": len(kept),
        "mode": "canvas", "placement": Geometry(image=(28, 28), canvas=canvas).to_dict(),
        "sampled": computed is not None, "partial": False, "engine": "brute", "reason": "made up", "seconds": 1.0,
        "device": "cpu", "intervals": {name: [value - 0.01, value + 0.01] for name, value in figures.items()},
        "per_class": [None if np.isnan(part).all() else float(np.nanmean(part)) for part in maps[:classes]],
        "by_phase": {str(s): [[_mean(maps[classes, kept], (offsets % s == (y, x)).all(axis=1)) for x in range(s)]
                              for y in range(s)] for s in (2, 4, 8)},
        "nonfinite": int((~finite).sum()), "ties": 0, "notes": [],
        "self_check": {"placements": 0, "max_abs_logit_difference": 0.0, "tolerance": 1e-5},
        "rows": rows, "columns": columns, "offsets": offsets, "accuracy_map": maps[classes].reshape(grid),
        "class_maps": maps[:classes].reshape(classes, *grid).astype(np.float32), "labels": labels,
        "predictions": predictions, "correct_counts": right.sum(axis=1).astype(np.int32),
        "worst_offset": offsets[margin.argmin(axis=1)], "top5_counts": np.full(count, -1, np.int32),
        "agreement_map": agreement_map(predictions, _middle(offsets, canvas, changed), offsets, rows, columns),
        **_stability(logits, finite),
        "margins": np.stack([margin.min(axis=1), margin.mean(axis=1)], axis=1).astype(np.float32),
        "shown_index": shown, "shown_images": images[shown], "shown_logits": logits[shown].astype(np.float16),
    }
    return Audit(**(values | {name: float(value) for name, value in figures.items()} | changed))


def _middle(offsets: np.ndarray, canvas: tuple[int, int], changed: dict[str, Any]) -> int | None:
    placement = changed.get("placement") or Geometry(image=(28, 28), canvas=canvas).to_dict()
    return Geometry.from_dict(placement).column(offsets)


def _stability(logits: np.ndarray, finite: np.ndarray) -> dict[str, np.ndarray]:
    ordered = np.sort(np.where(finite[..., None], logits, np.nan), axis=-1)
    gap, best = ordered[..., -1] - ordered[..., -2], ordered[..., -1:]
    confidence = 1 / np.exp(ordered - best).sum(axis=-1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # images without a finite prediction
        columns = [[find(values, axis=1) for find in finds] for values, finds in (
            (gap, (np.nanmin, np.nanmedian, np.nanmax)), (confidence, (np.nanmin, np.nanmax)))]
    return {name: np.stack(parts, axis=1).astype(np.float32)
            for name, parts in zip(("top_margins", "confidences"), columns, strict=True)}


def _mean(values: np.ndarray, chosen: np.ndarray) -> float | None:
    return float(values[chosen].mean()) if chosen.any() else None


@pytest.fixture
def audit_of() -> Callable[..., Audit]:
    return _audit


@pytest.fixture
def make_audit() -> Callable[..., Audit]:
    """Twelve images of three classes at 5 x 7 offsets; image n is correct if dy + dx < n, and at the first offset."""
    def make(**changed: Any) -> Audit:
        labels, rows, columns = np.arange(12) % 3, np.arange(5), np.arange(7)
        reach = (rows[:, None] + columns).ravel()
        right = (reach < np.arange(12)[:, None]) | (reach == 0)
        predictions = np.where(right, labels[:, None], (labels[:, None] + 1) % 3)
        return _audit(np.eye(3)[predictions], labels, rows, columns, **changed)

    return make


@pytest.fixture
def make_evaluation() -> Callable[..., Evaluation]:
    return _evaluation


@pytest.fixture
def make_training() -> Callable[..., TrainResult]:
    return _training
