"""One record: the training or what was kept of it, the repair, the audit."""

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
from leaderboard.repairing import repaired
from leaderboard.standing import FIGURES, Standing, pack_counts
from shiftscope import files
from shiftscope.auditing import audit
from shiftscope.data import Dataset
from shiftscope.errors import CheckpointError, Interrupted
from shiftscope.models import count_parameters, load
from shiftscope.models.claims import claims_of
from shiftscope.placement import Placement
from shiftscope.progress import Progress
from shiftscope.reading import read_json
from shiftscope.results import Audit, TrainResult
from shiftscope.runs import RunFolder
from shiftscope.settings import TrainSettings
from shiftscope.training import train
from shiftscope.training.stopping import StopFlag
from shiftscope.workflows.jobs import build
from shiftscope.workflows.repair_checkpoint import finetune_rate, whole_image

HARDWARE_FILE = "hardware.json"


@dataclass(frozen=True, kw_only=True)
class Workshop:
    """What all records of a leaderboard are made with."""

    data: Dataset
    placement: Placement
    asked: dict[str, Any]
    """What distinguishes this leaderboard from others, see `Standing.asked`."""
    run: RunFolder
    device: torch.device
    epochs: int | None
    audit_images: int | None
    progress: Progress


@dataclass(frozen=True)
class Made:
    """A classifier, ready to be audited."""

    model: nn.Module
    training: TrainResult
    hardware: dict[str, Any]


def make_standing(entry: Entry, seed: int, shop: Workshop, stop: StopFlag) -> Standing:
    """Return the record of an entry and seed; a training that the work folder holds is not done again.

    Raises:
        Interrupted: stopped by a signal; the training is saved in the work folder.
    """
    made = _trained(entry, seed, shop, stop)
    if entry.repair is not None:
        made = _repaired(made, entry, seed, shop, stop)
    found = audit(made.model, shop.data, placement=shop.placement, limit=shop.audit_images, name=entry.name,
                  trained=entry.trained, seed=seed, stop=stop, progress=shop.progress)
    if stop:
        raise Interrupted(f"interrupted while auditing {entry.name}, seed {seed}; go on with --resume", stop.exit_code)
    return standing_of(entry, made, found, shop.asked)


def _trained(entry: Entry, seed: int, shop: Workshop, stop: StopFlag) -> Made:
    """Train the entry's model, or load it where the work folder has it trained."""
    key = f"{entry.training}-seed{seed}"
    kept = _kept(key, shop)
    if kept is not None:
        return Made(load(shop.run.checkpoint(key), device=shop.device), *kept)
    placement = shop.placement.center_only() if entry.centered else shop.placement
    model = build(entry.model, shop.data, shop.placement, seed, entry.preset).to(shop.device)
    settings = TrainSettings(preset=entry.preset, epochs=shop.epochs, seed=seed)
    return _fit(model, key, entry, placement, settings, shop, stop)


def _repaired(made: Made, entry: Entry, seed: int, shop: Workshop, stop: StopFlag) -> Made:
    """Repair a trained model and, where the entry says so, train it a little more."""
    level = shop.placement.background
    model = repaired(made.model, str(entry.repair), (shop.data.shape[0], *shop.placement.canvas),
                   level if isinstance(level, int) else 0, whole_image(shop.placement))
    if not entry.finetune:
        return replace(made, model=model)
    key = f"{entry.name}-seed{seed}"
    kept = _kept(key, shop)
    if kept is not None:
        return _after(made, Made(load(shop.run.checkpoint(key), model=model, device=shop.device), *kept))
    first = TrainSettings(preset=entry.preset, seed=seed).resolve(entry.model, shop.data.name)
    settings = TrainSettings(preset=entry.preset, epochs=min(entry.finetune, shop.epochs or entry.finetune), seed=seed,
                             learning_rate=finetune_rate(str(entry.repair), first.learning_rate))
    return _after(made, _fit(model, key, entry, shop.placement, settings, shop, stop))


def _after(first: Made, then: Made) -> Made:
    """Count the first training in with the second."""
    seconds = first.training.train_seconds + then.training.train_seconds
    epochs = first.training.epochs + then.training.epochs
    return replace(then, training=replace(then.training, train_seconds=seconds, epochs=epochs))


def _fit(model: nn.Module, key: str, entry: Entry, placement: Placement, settings: TrainSettings, shop: Workshop,
         stop: StopFlag) -> Made:
    """Train, and leave result and hardware in the work folder; the result comes last: it says that all is there."""
    begun = time.perf_counter()
    training = train(model, shop.data, placement=placement, settings=settings, name=entry.model,
                     folder=shop.run.checkpoint(key), resume=True, progress=shop.progress, stop=stop)
    hardware = describe_machine(shop.device)
    shop.progress.note(f"{key}: trained in {time.perf_counter() - begun:.0f} s")
    where = shop.run.result(key, "training")
    files.write_json(where / HARDWARE_FILE, hardware)
    training.save(where)
    return Made(model.eval(), training, hardware)


def _kept(key: str, shop: Workshop) -> tuple[TrainResult, dict[str, Any]] | None:
    """Return what the work folder holds of a training that is done."""
    where: Path = shop.run.result(key, "training")
    try:
        return TrainResult.load(where), read_json(where / HARDWARE_FILE)
    except (CheckpointError, OSError):
        return None


def standing_of(entry: Entry, made: Made, found: Audit, asked: dict[str, Any]) -> Standing:
    """Return the record that says of an audit what the leaderboard shows and what later comparisons need."""
    training = made.training
    same = ("dataset", "synthetic", "split", "images", "placements", "mode", "placement", "engine", "reason", "intervals",
            "nonfinite", "self_check", "notes", *FIGURES)
    return Standing(
        entry=entry.name, title=entry.title, made=entry.made, model=entry.model, repair=entry.repair, preset=entry.preset,
        trained=entry.trained, seed=training.seed, parameters=count_parameters(made.model), epochs=training.epochs,
        train_images=training.train_images, train_seconds=training.train_seconds, settings=training.settings,
        asked=asked, hardware=made.hardware, claims=_claims(entry), measured=datetime.now(UTC).date().isoformat(),
        classes=len(found.class_names), audit_seconds=found.seconds, flips=_flips(found), labels=digest(found.labels),
        packed_counts=pack_counts(found.correct_counts, found.placements), ties=found.ties + found.exact_ties,
        **{name: getattr(found, name) for name in same})


def _claims(entry: Entry) -> dict[str, dict[str, str]]:
    return {mode: claim.to_dict() for mode, claim in claims_of(entry.model, entry.repair).items()}


def _flips(found: Audit) -> int:
    """Count the answers that differ from the image's answer at the middle placement."""
    middle = found.predictions[:, found.geometry.column(found.offsets)]
    return int((found.predictions != middle[:, None]).sum())


def digest(labels: np.ndarray) -> int:
    """Return the CRC-32 of labels in their order.

    >>> digest(np.array([1, 2])) == digest(np.array([1, 2])), digest(np.array([1, 2])) == digest(np.array([2, 1]))
    (True, False)
    """
    return zlib.crc32(np.ascontiguousarray(labels, dtype="<i8").tobytes())
