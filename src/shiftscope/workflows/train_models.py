"""`shiftscope run` and `shiftscope train`: from a dataset to trained models, and for a run to figures and a report."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from shiftscope import files
from shiftscope.data import Dataset
from shiftscope.devices import resolve_device
from shiftscope.models.registry import check_model_name
from shiftscope.placement import Placement
from shiftscope.progress import Progress
from shiftscope.reporting import ControlCell, control_cells
from shiftscope.reporting.controls import mean_and_spread
from shiftscope.results import SCHEMA_VERSION, Audit, Record, TrainResult
from shiftscope.runs import Job, RunFolder, jobs_of
from shiftscope.runs.current_task import RecordedProgress
from shiftscope.settings import DataSettings, RunSettings, TrainSettings
from shiftscope.workflows.begin_run import begin_run
from shiftscope.workflows.jobs import (
    Budget,
    JobResult,
    LoadJob,
    audit_jobs,
    check_models,
    describe_job,
    do_job,
    load_job,
    store_figure,
    train_job,
)
from shiftscope.workflows.load_images import open_data
from shiftscope.workflows.load_inputs import ModelWithData
from shiftscope.workflows.report.attributions import attribute_shown
from shiftscope.workflows.report.choose import choose_images
from shiftscope.workflows.report.figures import StoredFigure, samples_figure
from shiftscope.workflows.report.gather import ReportContents
from shiftscope.workflows.report.page import write_page

CACHED_MODELS = 8
"""Models that stay in memory between their audit and the report."""

AUDIT_METRICS = ("mean_accuracy", "worst_case_accuracy", "consistency", "unanimity", "middle_accuracy")


def run_models(data: DataSettings, run: RunSettings, *, progress: Progress,
               command: list[str] | None = None) -> dict[str, Any]:
    """Train every model with every seed, evaluate and audit them, and write figures and a report into `run.out`.

    With `run.max_time` it pauses when the time is up: finished results are saved and listed in `metrics.json`; the call
    that finishes the run draws figures and report, see `Budget`.

    Returns:
        The contents of `metrics.json`, see `run_metrics`.

    Raises:
        UsageError: if a name is unknown, or the folder holds another run.
        Interrupted: if stopped by a signal; the state is saved and `resume` continues.
    """
    budget, folder, device = Budget(run.max_time), RunFolder(run.out), resolve_device(run.device)
    for name in run.models:
        check_model_name(name)
    folder.check(resume=run.resume, overwrite=run.overwrite)
    images, placement = open_data(data, progress)
    images.require_training("training")
    check_models(run.models, images, placement)
    settings = {"data": asdict(data), "run": asdict(run)}
    with begin_run(folder, images, settings, device=device, seed=run.seed, command=command or [], resume=run.resume,
                   overwrite=run.overwrite, progress=progress) as environment:
        return _run(run, folder, images, placement, device, environment, budget,
                    RecordedProgress(progress, folder.path))


def _run(run: RunSettings, folder: RunFolder, images: Dataset, placement: Placement, device: torch.device,
         environment: dict[str, Any], budget: Budget, progress: Progress) -> dict[str, Any]:
    samples = store_figure("samples", "", samples_figure(images, placement, run.seed), folder)  # for the live page
    jobs, settings = jobs_of(run), TrainSettings(epochs=run.epochs, seed=run.seed)
    done = [do_job(job, images, placement, settings, folder, device=device, progress=progress, budget=budget)
            for job in jobs]
    results = [result for result in done if result is not None]
    load_model = lru_cache(CACHED_MODELS)(lambda job: load_job(job, images, placement, folder))
    audits = audit_jobs(results, images, placement, run, folder, load_model, progress=progress, budget=budget)
    paused = budget.paused((len(results), len(jobs)), (len(audits), len(jobs) if run.audit else 0))
    metrics = run_metrics(images, placement, results, audits, seed=run.seed, device=str(device), paused=paused)
    files.write_json(folder.metrics, metrics)
    if paused is not None:
        progress.note(paused)
        return metrics
    progress.note("drawing figures and report")
    write_report(folder, images, placement, results, audits, samples, environment, load_model, progress)
    return metrics


def write_report(folder: RunFolder, data: Dataset, placement: Placement, results: Sequence[JobResult],
                 audits: Mapping[str, Audit], samples: StoredFigure, environment: dict[str, Any], load_model: LoadJob,
                 progress: Progress) -> None:
    """Draw the figures of a run and write its `report.html`; audits with additional images are saved again."""
    jobs = {id(audits[result.job.key]): result.job for result in results if result.job.key in audits}

    def load_audited(audit: Audit, job: Job) -> ModelWithData:
        return ModelWithData(model=load_model(job), name=audit.model, trained=audit.trained, data=data,
                             placement=placement)

    images = choose_images(list(audits.values()), lambda audit: load_audited(audit, jobs[id(audit)]), progress)
    for key, audit in zip(audits, images.audits, strict=True):
        if audit is not audits[key]:
            audit.save(folder.result(key, "audit"))
    first = results[0].job.seed
    maps = [found for audit, job in zip(images.shown, jobs.values(), strict=True) if job.seed == first and (
        found := attribute_shown(audit, load_audited(audit, job), folder.result(job.key, "attribution"), progress))]
    described = {result.job.model: describe_job(result.job, load_model(result.job), data, placement, folder)
                 for result in results if result.job.seed == first and not result.job.centered}
    records: list[Record] = [part for result in results for part in (result.training, result.test, result.train)]
    contents = ReportContents(
        records=[*records, *images.audits, *maps, *(record for one in described.values() for record in one.records)],
        dataset=dataset_summary(data, placement), environment=environment,
        remarks=[note for one in described.values() for note in one.notes],
        parameters={model: one.parameters for model, one in described.items()},
        figures=[samples, *(figure for one in described.values() for figure in one.figures)])
    write_page(folder.report, contents, images, table=folder.images, folder=folder.figures)


def train_one(model: str, data: DataSettings, settings: TrainSettings, *, device: str = "auto", out: Path,
              resume: bool = False, overwrite: bool = False, progress: Progress,
              command: list[str] | None = None) -> TrainResult:
    """Train one model and write a run folder with its checkpoint, log and metrics.

    Raises:
        UsageError: if `out` holds a run and neither `resume` nor `overwrite` is set, or a run with other settings.
        Interrupted: if stopped by a signal; the state is saved.
    """
    run, torch_device = RunFolder(out), resolve_device(device)
    check_model_name(model)
    run.check(resume=resume, overwrite=overwrite)
    images, placement = open_data(data, progress)
    images.require_training("training")
    check_models([model], images, placement, settings.preset)
    stored = {"data": asdict(data), "training": settings.to_dict(), "model": model}
    with begin_run(run, images, stored, device=torch_device, seed=settings.seed, command=command or [],
                   resume=resume, overwrite=overwrite, progress=progress):
        job = Job(model=model, seed=settings.seed)
        training, _ = train_job(job, images, placement, settings, run, device=torch_device,
                                progress=RecordedProgress(progress, run.path))
        training.save(run.result(job.key, "training"))
        files.write_json(run.metrics, {
            "schema_version": SCHEMA_VERSION, "dataset": dataset_summary(images, placement), "seed": settings.seed,
            "device": str(torch_device), "models": [training_summary(training)]})
    return training


def dataset_summary(data: Dataset, placement: Placement) -> dict[str, Any]:
    """Return the dataset entry of `metrics.json`; training images include the validation split."""
    return {"name": data.name, "train_images": len(data.train), "test_images": len(data.test),
            "canvas": list(placement.canvas), "image": list(data.shape), "mode": placement.mode,
            "synthetic": data.synthetic, "class_names": list(data.class_names), "source": data.source,
            "preparation": data.preparation, "license": data.license, "checksums": data.checksums}


def training_summary(result: TrainResult) -> dict[str, Any]:
    """Return the entry of `metrics.json` for one training."""
    keys = ("parameters", "epochs", "seed", "trained", "train_seconds", "images_per_second", "history", "settings",
            "checkpoint", "notes")
    return {"name": result.model} | {key: getattr(result, key) for key in keys}


def run_metrics(data: Dataset, placement: Placement, results: Sequence[JobResult], audits: Mapping[str, Audit], *,
                seed: int, device: str, paused: str | None = None) -> dict[str, Any]:
    """Return the contents of `metrics.json` of a run.

    `models` has one entry per model trained on random placements: values of the first seed, and under `seeds` the
    accuracies of all seeds, with mean and sample standard deviation. `controls` has the same for models trained on
    centered images. `paused` is a sentence about the work that remains; the entries then cover finished jobs only.
    """
    groups: dict[tuple[str, bool], list[JobResult]] = {}
    for result in results:
        groups.setdefault((result.job.model, result.job.centered), []).append(result)
    entries = {key: _entry(group) | audit_summary([audits[result.job.key] for result in group
                                                   if result.job.key in audits]) for key, group in groups.items()}
    cells: list[ControlCell] = control_cells([result.test for result in results])
    return {
        "schema_version": SCHEMA_VERSION, "dataset": dataset_summary(data, placement), "seed": seed, "device": device,
        "models": [entry for (_, centered), entry in entries.items() if not centered],
        "controls": [entry for (_, centered), entry in entries.items() if centered],
        "two_by_two": [cell.to_dict() for cell in cells], "paused": paused,
    }


def _entry(group: Sequence[JobResult]) -> dict[str, Any]:
    first = group[0]
    seeds = [{"seed": result.job.seed, "test_accuracy": result.test.accuracy,
              "train_set_accuracy": result.train.accuracy, "train_seconds": result.training.train_seconds,
              "checkpoint": result.training.checkpoint} for result in group]
    return training_summary(first.training) | {
        "test_accuracy": first.test.accuracy, "train_set_accuracy": first.train.accuracy,
        "test_accuracy_per_class": first.test.per_class, "seeds": seeds,
        "test_accuracy_over_seeds": {which: _mean_and_std([result.test.accuracy[which] for result in group])
                                     for which in ("random", "centered")}}


def audit_summary(audits: Sequence[Audit]) -> dict[str, Any]:
    """Return the part of an entry about the audits of a model's seeds; empty without audits."""
    if not audits:
        return {}
    keys = ("images", "placements", "mode", "engine", "seconds", *AUDIT_METRICS)
    return {"audit": {key: getattr(audits[0], key) for key in keys},
            "audit_over_seeds": {name: _mean_and_std([getattr(audit, name) for audit in audits])
                                 for name in AUDIT_METRICS}}


def _mean_and_std(values: Sequence[float]) -> dict[str, float | None]:
    mean, std = mean_and_spread(values)
    return {"mean": mean, "std": std}
