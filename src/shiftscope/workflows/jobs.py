"""The jobs of a run: train, evaluate, audit and describe one model with one seed. Finished results are not repeated."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from shiftscope import files
from shiftscope.auditing import audit
from shiftscope.data import Dataset
from shiftscope.errors import CheckpointError, Interrupted, UsageError
from shiftscope.evaluation import evaluate
from shiftscope.models import REGISTRY, build_model, load
from shiftscope.models.forward import check_model
from shiftscope.placement import Placement
from shiftscope.progress import Progress, duration
from shiftscope.reporting import alt_text, image_credit, model_title, save_figure
from shiftscope.results import SCHEMA_VERSION, Audit, Evaluation, ParameterRow, Record, TrainResult
from shiftscope.runs import EpochLog, Job, RunFolder, slug
from shiftscope.settings import PRESET_ARGUMENTS, Preset, RunSettings, TrainSettings
from shiftscope.training import train
from shiftscope.training.state import load_state
from shiftscope.training.stopping import Clock, StopFlag
from shiftscope.visualization import parameter_rows
from shiftscope.workflows.report.figures import StoredFigure, class_neurons_figure, training_credit, weights_figure
from shiftscope.workflows.report.gather import PARAMETERS_FILE
from shiftscope.workflows.syntheses import default_syntheses

SYNTHETIC_IMAGES = 500
"""Number of audited images of the synthetic garments, so that the demo ends within a minute and a half."""

MIN_SECONDS = 1e-9
"""Time limit of a training when no time is left: it does one step."""

LoadJob = Callable[[Job], nn.Module]
"""Loads the trained model of a job."""


class Budget:
    """The time limit of a run, shared by its trainings and audits.

    The first piece of work of a call always starts, so that a run that is resumed often enough always finishes. A
    training pauses when the time is up; an evaluation, an audit or a report that has started is finished.

    Args:
        limit: seconds for all work in this call; None: no limit.

    Example:
        >>> unlimited, spent = Budget(None), Budget(1e-9)
        >>> unlimited.start(), unlimited.start(), unlimited.remaining()
        (True, True, None)
        >>> spent.start(), spent.start(), spent.remaining()
        (True, False, 1e-09)
    """

    def __init__(self, limit: float | None):
        self.clock, self.started = Clock(limit), 0

    def start(self) -> bool:
        """Return True and count a started piece of work if there is time for it."""
        if self.started and self.clock.is_up():
            return False
        self.started += 1
        return True

    def remaining(self) -> float | None:
        """Return the remaining seconds, above 0; None: no limit."""
        return None if self.clock.limit is None else max(self.clock.limit - self.clock.seconds(), MIN_SECONDS)

    def paused(self, trainings: tuple[int, int], audits: tuple[int, int]) -> str | None:
        """Return a sentence about the work that remains; None if all is done.

        Args:
            trainings, audits: number done, and total number.
        """
        if trainings[0] == trainings[1] and audits[0] == audits[1]:
            return None
        done = f"{trainings[0]} of {trainings[1]} trainings"
        done += f" and {audits[0]} of {audits[1]} audits" if audits[1] else ""
        return (f"the run paused after {duration(self.clock.seconds())} because of --max-time: {done} are done and "
                "saved. Continue with the same command and --resume")


@dataclass(frozen=True, kw_only=True)
class JobResult:
    """The results of a job."""

    job: Job
    training: TrainResult
    test: Evaluation
    train: Evaluation


def build(name: str, data: Dataset, placement: Placement, seed: int, preset: Preset = "default") -> nn.Module:
    """Return a new model for the dataset and the canvas, of the preset's size."""
    return build_model(name, canvas=placement.canvas, channels=data.shape[0], classes=data.classes, seed=seed,
                       **PRESET_ARGUMENTS[preset].get(name, {}))


def check_models(names: Iterable[str], data: Dataset, placement: Placement, preset: Preset = "default") -> None:
    """Try every model on two images, to report a wrong name or size before any training."""
    images = data.test.gather(torch.arange(min(2, len(data.test))))
    for name in names:
        check_model(build(name, data, placement, 0, preset), images, placement, data.classes)


def do_job(job: Job, data: Dataset, placement: Placement, settings: TrainSettings, run: RunFolder, *,
           device: torch.device, progress: Progress, budget: Budget) -> JobResult | None:
    """Train and evaluate a model, or continue from the run folder; None if the time is up first."""
    result = _finished(job, run)
    if result is not None:
        progress.note(f"{job.key}: already done")
        return result
    if not budget.start():
        return None
    training, model = train_job(job, data, placement, replace(settings, max_time=budget.remaining()), run,
                                device=device, progress=progress)
    if training.epochs < training.settings["epochs"]:  # paused; its state is in the folder
        return None
    common: dict[str, Any] = {"placement": placement, "seed": job.seed, "name": job.model, "trained": training.trained,
                              "validation": settings.validation, "progress": progress}
    evaluations = {split: evaluate(model, data, split=split, **common) for split in ("train", "test")}
    for split, evaluation in evaluations.items():
        evaluation.save(run.result(job.key, split))
    training.save(run.result(job.key, "training"))  # last: its presence marks the job as done
    return JobResult(job=job, training=training, **evaluations)


def train_job(job: Job, data: Dataset, placement: Placement, settings: TrainSettings, run: RunFolder, *,
              device: torch.device, progress: Progress) -> tuple[TrainResult, nn.Module]:
    """Train the model of a job and log every epoch; continue from its training state if there is one."""
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


def load_job(job: Job, data: Dataset, placement: Placement, run: RunFolder) -> nn.Module:
    """Load the trained model of a job from its checkpoint."""
    new = None if job.model in REGISTRY else build(job.model, data, placement, job.seed)
    return load(run.checkpoint(job.key), model=new)


def _finished(job: Job, run: RunFolder) -> JobResult | None:
    """Return the results of a job if all of them exist."""
    try:
        return JobResult(job=job, training=TrainResult.load(run.result(job.key, "training")),
                         test=Evaluation.load(run.result(job.key, "test")),
                         train=Evaluation.load(run.result(job.key, "train")))
    except CheckpointError:
        return None


def audit_jobs(results: Sequence[JobResult], data: Dataset, placement: Placement, settings: RunSettings,
               run: RunFolder, load_model: LoadJob, *, progress: Progress, budget: Budget) -> dict[str, Audit]:
    """Audit the model of every job, or load its audit from the run folder.

    Returns:
        Audits by `Job.key`. Empty if the settings exclude audits; without those for which no time was left.
    """
    if not settings.audit:
        return {}
    images = data.limit(settings.audit_images or (SYNTHETIC_IMAGES if data.synthetic else None))
    audits = {}
    for result in results:
        folder = run.result(result.job.key, "audit")
        found = _stored_audit(folder, len(images.test))
        if found is None and budget.start():
            found = _audit(result, images, placement, folder, load_model, progress)
        if found is not None:
            audits[result.job.key] = found
    return audits


def _audit(result: JobResult, images: Dataset, placement: Placement, folder: Path, load_model: LoadJob,
           progress: Progress) -> Audit:
    job, stop = result.job, StopFlag()
    with stop.listening():
        found = audit(load_model(job), images, placement=placement, name=job.model, trained=result.training.trained,
                      seed=job.seed, stop=stop, progress=progress)
    if stop:
        raise Interrupted(f"interrupted while auditing {job.key}; continue with --resume", stop.exit_code)
    found.save(folder)
    return found


def _stored_audit(folder: Path, images: int) -> Audit | None:
    """Return the audit in a folder if it is complete and of this number of images."""
    try:
        found = Audit.load(folder)
    except CheckpointError:
        return None
    return found if found.images == images and not found.partial else None


@dataclass(frozen=True, kw_only=True)
class ModelDescription:
    """What a report shows of a model itself: syntheses, weights and parameters."""

    records: list[Record] = field(default_factory=list)
    figures: list[StoredFigure] = field(default_factory=list)
    parameters: list[ParameterRow]
    notes: list[str] = field(default_factory=list)


def describe_job(job: Job, model: nn.Module, data: Dataset, placement: Placement, run: RunFolder) -> ModelDescription:
    """Synthesize images for the units of a model, draw its weights, and write all of it into the run folder."""
    found = ModelDescription(parameters=parameter_rows(model))
    credit = training_credit(data.name, synthetic=data.synthetic)
    try:
        for measured in default_syntheses(model, data, placement, job.model):
            measured.save(run.result(job.key, slug(measured.synthesis.objective)))
            parts: Mapping[str, Record | None] = vars(measured)
            found.records.extend(part for part in parts.values() if part is not None)
            figure = class_neurons_figure(model, measured.synthesis, credit=credit)
            if figure is not None:
                found.figures.append(store_figure("class-neurons", job.model, figure, run))
    except UsageError as error:  # an own model may have no gradients; the rest of the run is still valid
        found.notes.append(f"{model_title(job.model)}: no synthesized images: {error}")
    weights = weights_figure(model, job.model, (data.shape[0], *placement.canvas),
                             credit=image_credit(data.name, synthetic=data.synthetic))
    if weights is not None:
        found.figures.append(store_figure("weights", job.model, weights, run))
    write_parameters(run.result(job.key, PARAMETERS_FILE), job.model, found.parameters)
    return found


def store_figure(kind: str, model: str, figure: Any, run: RunFolder) -> StoredFigure:
    """Write a figure into the run folder and return it for the report."""
    stored = StoredFigure(kind=kind, model=model, png=b"", alt=alt_text(figure))
    return replace(stored, png=save_figure(figure, run.figures, stored.name)[0].read_bytes())


def write_parameters(path: Path, model: str, rows: Sequence[ParameterRow]) -> None:
    """Write a model's table of parameters, so that a later report can show it without the model."""
    files.write_json(path, {"schema_version": SCHEMA_VERSION, "model": model,
                            "parameters": [vars(row) for row in rows]})
