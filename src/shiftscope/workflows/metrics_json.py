"""`metrics.json`: what other tools read of a run."""

from collections.abc import Mapping, Sequence
from typing import Any

from shiftscope.data import Dataset
from shiftscope.placement import Placement
from shiftscope.reporting import ControlCell
from shiftscope.reporting.controls import mean_and_spread
from shiftscope.results import SCHEMA_VERSION, Audit, TrainResult
from shiftscope.workflows.audits import audit_summary
from shiftscope.workflows.jobs import JobResult


def dataset_summary(data: Dataset, placement: Placement) -> dict[str, Any]:
    """Return what all metrics say about the dataset; training images are counted before the validation split."""
    return {"name": data.name, "train_images": len(data.train), "test_images": len(data.test),
            "canvas": list(placement.canvas), "image": list(data.shape), "mode": placement.mode, "synthetic": data.synthetic,
            "class_names": list(data.class_names), "source": data.source, "license": data.license,
            "checksums": data.checksums}


def training_summary(result: TrainResult) -> dict[str, Any]:
    """Return what all metrics say about one training."""
    keys = ("parameters", "epochs", "seed", "trained", "train_seconds", "images_per_second", "history", "settings",
            "checkpoint", "notes")
    return {"name": result.model} | {key: getattr(result, key) for key in keys}


def run_metrics(data: Dataset, placement: Placement, results: Sequence[JobResult], cells: Sequence[ControlCell],
                audits: Mapping[str, Audit], *, seed: int, device: str, paused: str | None = None) -> dict[str, Any]:
    """Return the whole of `metrics.json` of a run.

    `models` holds one entry a model trained on moved images: figures of the first seed, and under `seeds` the
    accuracies of all, with their mean and sample standard deviation. `controls` holds the same for models trained centered.
    `paused` says what is left for later: a run that its time limit cut short holds what is trained and evaluated, and
    nothing of the training in which it paused.
    """
    groups: dict[tuple[str, bool], list[JobResult]] = {}
    for result in results:
        groups.setdefault((result.job.model, result.job.centered), []).append(result)
    entries = {key: _entry(group) | audit_summary(audits, [result.job for result in group])
               for key, group in groups.items()}
    return {
        "schema_version": SCHEMA_VERSION, "dataset": dataset_summary(data, placement), "seed": seed, "device": device,
        "models": [entry for (_, centered), entry in entries.items() if not centered],
        "controls": [entry for (_, centered), entry in entries.items() if centered],
        "two_by_two": [cell.to_dict() for cell in cells], "paused": paused,
    }


def _entry(group: Sequence[JobResult]) -> dict[str, Any]:
    first = group[0]
    entry = training_summary(first.training) | {
        "test_accuracy": first.test.accuracy, "train_set_accuracy": first.train.accuracy,
        "test_accuracy_per_class": first.test.per_class,
        "seeds": [{"seed": result.job.seed, "test_accuracy": result.test.accuracy,
                   "train_set_accuracy": result.train.accuracy, "train_seconds": result.training.train_seconds,
                   "checkpoint": result.training.checkpoint} for result in group],
    }
    for which in ("random", "centered"):
        mean, spread = mean_and_spread([result.test.accuracy[which] for result in group])
        entry.setdefault("test_accuracy_over_seeds", {})[which] = {"mean": mean, "std": spread}
    return entry
