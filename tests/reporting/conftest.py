"""Small made-up results, worked out by hand, for the tests of figures and report."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from shiftscope.results import Evaluation, TrainResult

PLACEMENT = {"image": [28, 28], "canvas": [56, 56], "mode": "canvas", "background": 0}


def _evaluation(classes: int = 3, images: int = 12, channels: int = 1, canvas: tuple[int, int] = (20, 20),
                **changed: Any) -> Evaluation:
    """Labels run 0, 1, 2, ...; every third image is taken for the next class; all centred images are right."""
    labels = np.arange(images) % classes
    predictions = np.where(np.arange(images) % 3 == 2, (labels + 1) % classes, labels)
    confusion, centred = np.zeros((classes, classes), int), np.zeros((classes, classes), int)
    np.add.at(confusion, (labels, predictions), 1)
    np.add.at(centred, (labels, labels), 1)
    shown = min(images, 8)
    canvases = np.arange(shown * channels * canvas[0] * canvas[1]).reshape(shown, channels, *canvas) % 256
    values: dict[str, Any] = {
        "model": "two-full", "dataset": "fashion-mnist", "drawn": False, "split": "test", "trained": "moved",
        "images": images, "seed": 0, "placement": PLACEMENT, "class_names": [f"class {k}" for k in range(classes)],
        "accuracy": {"random": float((predictions == labels).mean()), "centred": 1.0},
        "per_class": {"random": [0.5] * classes, "centred": [1.0] * classes}, "not_finite": 0, "notes": [],
        "labels": labels, "predictions": predictions, "confidence": np.full(images, 0.75, np.float32),
        "offsets": np.zeros((images, 2), int), "predictions_centred": labels, "confusion": confusion,
        "confusion_centred": centred, "gallery_index": np.arange(shown), "gallery_canvases": canvases.astype(np.uint8),
    }
    return Evaluation(**(values | changed))


def _training(epochs: int = 3, final: float | None = 0.75, **changed: Any) -> TrainResult:
    """Validation accuracy is `final` in every epoch."""
    history = [{"epoch": epoch, "train_loss": 1.0 / epoch, "train_accuracy": 0.5, "val_accuracy": final}
               for epoch in range(1, epochs + 1)]
    values: dict[str, Any] = {
        "model": "two-full", "dataset": "fashion-mnist", "parameters": 314710, "epochs": epochs, "seed": 0,
        "trained": "moved", "train_images": 100, "validation_images": 20, "train_seconds": 30.0,
        "images_per_second": 5000.0, "history": history, "settings": {"learning_rate": 0.003}, "placement": PLACEMENT,
        "device": "cpu", "checkpoint": None, "notes": [],
    }
    return TrainResult(**(values | changed))


@pytest.fixture
def make_evaluation() -> Callable[..., Evaluation]:
    return _evaluation


@pytest.fixture
def make_training() -> Callable[..., TrainResult]:
    return _training
