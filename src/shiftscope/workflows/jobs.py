"""One job of a run: a model trained with one seed and then evaluated; done once, found again when resumed."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import torch

from shiftscope.data import Dataset
from shiftscope.errors import CheckpointError
from shiftscope.evaluation import evaluate
from shiftscope.models import REGISTRY, build_model, load
from shiftscope.models.forward import check_model
from shiftscope.models.registry import check_model_name
from shiftscope.placement import Placement
from shiftscope.progress import Progress
from shiftscope.results import Evaluation, TrainResult
from shiftscope.runs import EpochLog, Job, RunFolder
from shiftscope.settings import PRESET_ARGUMENTS, Preset, TrainSettings
from shiftscope.training import train
from shiftscope.training.state import load_state
from shiftscope.workflows.budget import Budget


@dataclass(frozen=True, kw_only=True)
class JobResult:
    """What came out of a job."""

    job: Job
    training: TrainResult
    test: Evaluation
    train: Evaluation


def build(name: str, data: Dataset, placement: Placement, seed: int, preset: Preset = "default") -> torch.nn.Module:
    """Return a fresh model that fits the dataset and the canvas, of the size that the preset says."""
    return build_model(name, canvas=placement.canvas, channels=data.shape[0], classes=data.classes, seed=seed,
                       **PRESET_ARGUMENTS[preset].get(name, {}))


def check_names(models: Iterable[str]) -> None:
    """Raise a `UsageError` for a model that nobody knows, before a dataset is read or downloaded."""
    for name in models:
        check_model_name(name)


def check_models(names: Iterable[str], data: Dataset, placement: Placement, preset: Preset = "default") -> None:
    """Try every model on two images, so that a wrong name or size is said before anything is trained or written."""
    images = data.test.gather(torch.arange(min(2, len(data.test))))
    for name in names:
        check_model(build(name, data, placement, 0, preset), images, placement, data.classes)


def do_job(job: Job, data: Dataset, placement: Placement, settings: TrainSettings, run: RunFolder, *,
           device: torch.device, progress: Progress, budget: Budget) -> JobResult | None:
    """Train and evaluate, or go on with what the run folder holds of it; None where the time is up before the end."""
    found = _finished(job, run)
    if found is not None:
        progress.note(f"{job.key}: already done")
        return found
    if not budget.begin():
        return None
    training, model = train_job(job, data, placement, replace(settings, max_time=budget.left()), run, device=device,
                                progress=progress)
    if training.epochs < training.settings["epochs"]:  # paused: its state lies in the folder
        return None
    common: dict[str, Any] = {"placement": placement, "seed": job.seed, "name": job.model, "trained": training.trained,
                              "validation": settings.validation, "progress": progress}
    evaluations = {split: evaluate(model, data, split=split, **common) for split in ("train", "test")}
    for split, evaluation in evaluations.items():
        evaluation.save(run.result(job.key, split))
    training.save(run.result(job.key, "training"))  # last: its presence says that the job is done
    return JobResult(job=job, training=training, **evaluations)


def train_job(job: Job, data: Dataset, placement: Placement, settings: TrainSettings, run: RunFolder, *,
              device: torch.device, progress: Progress) -> tuple[TrainResult, torch.nn.Module]:
    """Train a job's model, logging every epoch; go on from its training state where there is one."""
    model = build(job.model, data, placement, job.seed, settings.preset)
    folder = run.checkpoint(job.key)
    stored = load_state(folder, torch.device("cpu"), model)
    run.log.truncate(job.key, stored["state"].epoch if stored else 0)
    resolved, images = settings.resolve(job.model, data.name), len(data.split(settings.validation)[0])
    log = EpochLog(run.log, {"job": job.key, "model": job.model, "seed": job.seed}, epochs=resolved.epochs,
                   images=images, done=stored["state"].step * resolved.batch_size if stored else 0)
    training = train(model.to(device), data, placement=placement.center_only() if job.centered else placement,
                     settings=replace(settings, seed=job.seed), name=job.model, folder=folder, resume=True,
                     progress=progress, on_epoch=log.add)
    return replace(training, checkpoint=str(folder.relative_to(run.path))), model


def stored_model(job: Job, data: Dataset, placement: Placement, run: RunFolder) -> torch.nn.Module:
    """Return the trained model of a job from its checkpoint."""
    fresh = None if job.model in REGISTRY else build(job.model, data, placement, job.seed)
    return load(run.checkpoint(job.key), model=fresh)


def _finished(job: Job, run: RunFolder) -> JobResult | None:
    """Return a job's results where all are there and whole."""
    try:
        return JobResult(job=job, training=TrainResult.load(run.result(job.key, "training")),
                         test=Evaluation.load(run.result(job.key, "test")),
                         train=Evaluation.load(run.result(job.key, "train")))
    except CheckpointError:
        return None
