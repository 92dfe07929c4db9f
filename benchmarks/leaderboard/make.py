"""Compute one record: train or load, repair, audit."""

import time
import zlib
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from bench.machine import describe_machine
from leaderboard.entries import Entry
from leaderboard.records import METRICS, LeaderboardRecord, pack_counts
from shiftscope import files
from shiftscope.auditing import audit
from shiftscope.data import Dataset
from shiftscope.errors import CheckpointError, Interrupted
from shiftscope.models import count_parameters, load
from shiftscope.models.claims import claims_of
from shiftscope.models.repair import repair
from shiftscope.placement import Placement
from shiftscope.progress import Progress
from shiftscope.reading import read_json
from shiftscope.results import Audit, TrainResult
from shiftscope.runs import RunFolder
from shiftscope.settings import TrainSettings
from shiftscope.training import train
from shiftscope.training.stopping import StopFlag
from shiftscope.workflows.jobs import build
from shiftscope.workflows.load_inputs import use_one_pass
from shiftscope.workflows.repair_checkpoint import finetune_rate, whole_image

HARDWARE_FILE = "hardware.json"


@dataclass(frozen=True, kw_only=True)
class Context:
    """Data, settings and folders that all records of a leaderboard share."""

    data: Dataset
    placement: Placement
    settings_requested: dict[str, Any]
    """See `LeaderboardRecord.settings_requested`."""
    run: RunFolder
    device: torch.device
    epochs: int | None
    audit_images: int | None
    progress: Progress


@dataclass(frozen=True)
class TrainedModel:
    """A classifier with its training result and the hardware of the training."""

    model: nn.Module
    training: TrainResult
    hardware: dict[str, Any]


def make_record(entry: Entry, seed: int, context: Context, stop: StopFlag) -> LeaderboardRecord:
    """Compute the record of an entry and seed; a training in the work folder is reused.

    Raises:
        Interrupted: if stopped by a signal; the training is saved in the work folder.
    """
    trained = _trained(entry, seed, context, stop)
    if entry.repair is not None:
        trained = _repaired(trained, entry, seed, context, stop)
    result = audit(trained.model, context.data, placement=context.placement, limit=context.audit_images,
                   name=entry.name, trained=entry.trained, seed=seed, stop=stop, progress=context.progress)
    if stop:
        raise Interrupted(f"interrupted while auditing {entry.name}, seed {seed}; continue with --resume",
                          stop.exit_code)
    return record_of(entry, trained, result, context.settings_requested)


def _trained(entry: Entry, seed: int, context: Context, stop: StopFlag) -> TrainedModel:
    """Train the entry's model, or load it from the work folder."""
    key = f"{entry.training}-seed{seed}"
    stored = _stored(key, context)
    if stored is not None:
        return TrainedModel(load(context.run.checkpoint(key), device=context.device), *stored)
    placement = context.placement.center_only() if entry.centered else context.placement
    model = build(entry.model, context.data, context.placement, seed, entry.preset).to(context.device)
    settings = TrainSettings(preset=entry.preset, epochs=context.epochs, seed=seed)
    return _fit(model, key, entry, placement, settings, context, stop)


def _repaired(trained: TrainedModel, entry: Entry, seed: int, context: Context, stop: StopFlag) -> TrainedModel:
    """Repair a trained model and fine-tune it if the entry requires it."""
    placement, method = context.placement, str(entry.repair)
    background = placement.background if isinstance(placement.background, int) else 0
    model = use_one_pass(repair(trained.model, (context.data.shape[0], *placement.canvas), method=method,
                               background=background / 255, image=whole_image(placement))).eval()
    if not entry.finetune:
        return replace(trained, model=model)
    key = f"{entry.name}-seed{seed}"
    stored = _stored(key, context)
    if stored is not None:
        loaded = load(context.run.checkpoint(key), model=model, device=context.device)
        return _with_first_training(trained, TrainedModel(loaded, *stored))
    first = TrainSettings(preset=entry.preset, seed=seed).resolve(entry.model, context.data.name)
    settings = TrainSettings(preset=entry.preset, epochs=min(entry.finetune, context.epochs or entry.finetune),
                             seed=seed, learning_rate=finetune_rate(method, first.learning_rate))
    return _with_first_training(trained, _fit(model, key, entry, placement, settings, context, stop))


def _with_first_training(first: TrainedModel, second: TrainedModel) -> TrainedModel:
    """Add time and epochs of the first training to those of the fine-tuning."""
    seconds = first.training.train_seconds + second.training.train_seconds
    epochs = first.training.epochs + second.training.epochs
    return replace(second, training=replace(second.training, train_seconds=seconds, epochs=epochs))


def _fit(model: nn.Module, key: str, entry: Entry, placement: Placement, settings: TrainSettings, context: Context,
         stop: StopFlag) -> TrainedModel:
    """Train, and save hardware and result in the work folder; the result comes last and marks the training complete."""
    start = time.perf_counter()
    training = train(model, context.data, placement=placement, settings=settings, name=entry.model,
                     folder=context.run.checkpoint(key), resume=True, progress=context.progress, stop=stop)
    hardware = describe_machine(context.device)
    context.progress.note(f"{key}: trained in {time.perf_counter() - start:.0f} s")
    folder = context.run.result(key, "training")
    files.write_json(folder / HARDWARE_FILE, hardware)
    training.save(folder)
    return TrainedModel(model.eval(), training, hardware)


def _stored(key: str, context: Context) -> tuple[TrainResult, dict[str, Any]] | None:
    """Return result and hardware of a completed training in the work folder."""
    folder: Path = context.run.result(key, "training")
    try:
        return TrainResult.load(folder), read_json(folder / HARDWARE_FILE)
    except (CheckpointError, OSError):
        return None


def record_of(entry: Entry, trained: TrainedModel, result: Audit,
              settings_requested: dict[str, Any]) -> LeaderboardRecord:
    """Return the record of an audit."""
    training = trained.training
    copied = ("dataset", "synthetic", "split", "images", "placements", "mode", "placement", "engine", "reason",
              "intervals", "nonfinite", "self_check", "notes", *METRICS)
    return LeaderboardRecord(
        entry=entry.name, title=entry.title, description=entry.description, model=entry.model, repair=entry.repair,
        preset=entry.preset, trained=entry.trained, seed=training.seed, parameters=count_parameters(trained.model),
        epochs=training.epochs, train_images=training.train_images, train_seconds=training.train_seconds,
        settings=training.settings, settings_requested=settings_requested, hardware=trained.hardware,
        claims={mode: claim.to_dict() for mode, claim in claims_of(entry.model, entry.repair).items()},
        measured=datetime.now(UTC).date().isoformat(), classes=len(result.class_names), audit_seconds=result.seconds,
        flips=_flips(result), labels=digest(result.labels),
        packed_counts=pack_counts(result.correct_counts, result.placements), ties=result.ties + result.exact_ties,
        **{name: getattr(result, name) for name in copied})


def _flips(result: Audit) -> int:
    """Count the predictions that differ from the image's prediction at the middle placement."""
    middle = result.predictions[:, result.geometry.column(result.offsets)]
    return int((result.predictions != middle[:, None]).sum())


def digest(labels: np.ndarray) -> int:
    """Return the CRC-32 of labels in their order.

    >>> digest(np.array([1, 2])) == digest(np.array([1, 2])), digest(np.array([1, 2])) == digest(np.array([2, 1]))
    (True, False)
    """
    return zlib.crc32(np.ascontiguousarray(labels, dtype="<i8").tobytes())
