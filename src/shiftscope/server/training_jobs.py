"""The training jobs of a run, from its settings, its log and the files of finished jobs."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeGuard

from shiftscope.reporting.formatting import series_title, shorten
from shiftscope.runs import Job, jobs_of, slug
from shiftscope.runs.log import parse_log
from shiftscope.server.run_files import RunFiles
from shiftscope.settings import RunSettings

RECENT = 5  # epochs whose median duration predicts the time left
_CURVES = ("train_loss", "train_accuracy", "val_accuracy")
_MAX_JOBS, _MAX_EPOCHS = 500, 1_000_000


@dataclass(kw_only=True)
class TrainingJob:
    """One training job as the page shows it."""

    key: str
    title: str
    status: str = "waiting"  # waiting, training, evaluating, done, stopped, paused or silent
    epoch: int = 0  # number of finished epochs
    epochs: int | None = None  # in total; None before the first is done
    images_per_second: float | None = None
    epoch_seconds: float | None = None  # median of the last few
    seconds_left: float | None = None  # at the time of the last log line
    best: dict[str, Any] | None = None  # best validation accuracy: "epoch" and "val_accuracy"
    history: list[dict[str, Any]] = field(default_factory=list)


def training_jobs(files: RunFiles, environment: Mapping[str, Any], metrics: Mapping[str, Any]
                  ) -> tuple[list[TrainingJob], list[str]]:
    """Return the jobs in the order of work, and messages about problems of the log.

    Args:
        files: the run folder.
        environment: content of `env.json`.
        metrics: content of `metrics.json`; its histories replace those missing from the log.
    """
    lines, problems = read_lines(files)
    requested = requested_jobs(environment)
    histories = _finished_histories(metrics) | lines
    several_seeds = len({job.seed for job in requested}) > 1
    titles = {job.key: series_title(job.model, "centered" if job.centered else "random")
              + (f", seed {job.seed}" if several_seeds else "") for job in requested}
    keys = list(dict.fromkeys([*titles, *histories]))
    jobs = [_job(files, key, titles.get(key, shorten(key, 60)), histories.get(key, [])) for key in keys[:_MAX_JOBS]]
    current = next((job for job in jobs if job.status != "done"), None)
    if current is not None and current.status == "waiting":  # jobs run one after the other
        current.status = "training"
    return jobs, problems


def requested_jobs(environment: Mapping[str, Any]) -> list[Job]:
    """Return the training jobs that `env.json` requests; none if it is of other work or invalid.

    >>> [job.key for job in requested_jobs({"settings": {"model": "two-conv", "training": {"seed": 3}}})]
    ['two-conv-seed3']
    """
    settings = environment.get("settings")
    if not isinstance(settings, dict):
        return []
    run, training, model = (settings.get(name) for name in ("run", "training", "model"))
    if isinstance(training, dict) and isinstance(model, str) and _is_integer(training.get("seed")):
        return [Job(model=model, seed=training["seed"])]
    if not isinstance(run, dict):
        return []
    models, seed, seeds = run.get("models"), run.get("seed"), run.get("seeds")
    if not (isinstance(models, list) and models and all(isinstance(name, str) for name in models)
            and _is_integer(seed) and _is_integer(seeds) and 1 <= seeds <= _MAX_JOBS):
        return []
    return jobs_of(RunSettings(models=tuple(models), seed=seed, seeds=seeds, controls=run.get("controls") is True))


def _is_integer(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63


def _is_epoch(value: object) -> TypeGuard[int]:
    return _is_integer(value) and 1 <= value <= _MAX_EPOCHS


def read_lines(files: RunFiles) -> tuple[dict[str, list[dict[str, Any]]], list[str]]:
    """Return the last line of each epoch in `metrics.jsonl` by job, and messages about invalid lines."""
    records, invalid = parse_log(files.text("metrics.jsonl") or "")
    by_job: dict[str, dict[int, dict[str, Any]]] = {}
    for record in records:
        job, epoch = record.get("job"), record.get("epoch")
        if isinstance(job, str) and _is_epoch(epoch):
            by_job.setdefault(job, {})[epoch] = record
        else:
            invalid += 1
    lines = {job: [epochs[epoch] for epoch in sorted(epochs)] for job, epochs in by_job.items()}
    verb = "line of metrics.jsonl is" if invalid == 1 else "lines of metrics.jsonl are"
    return lines, [f"{invalid} {verb} invalid and ignored."] if invalid else []


def _finished_histories(metrics: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Histories in `metrics.json`: those of the first seed of each model."""
    histories = {}
    for group in (metrics.get("models"), metrics.get("controls")):
        for entry in group if isinstance(group, list) else []:
            name, seed, history = (entry.get(key) if isinstance(entry, dict) else None
                                   for key in ("name", "seed", "history"))
            if isinstance(name, str) and _is_integer(seed) and isinstance(history, list):
                job = Job(model=name, seed=seed, centered=entry.get("trained") == "centered")
                histories[job.key] = [line | {"epochs": entry.get("epochs")} for line in history
                                      if isinstance(line, dict) and _is_epoch(line.get("epoch"))]
    return histories


def _job(files: RunFiles, key: str, title: str, lines: Sequence[Mapping[str, Any]]) -> TrainingJob:
    history = [{"epoch": line["epoch"]} | {name: number(line.get(name)) for name in _CURVES} for line in lines]
    last = lines[-1] if lines else {}
    times = [time for line in lines[-RECENT:] if (time := number(line.get("epoch_seconds"))) is not None]
    measured: list[dict[str, Any]] = [line for line in history if line["val_accuracy"] is not None]
    best = max(measured, key=lambda line: line["val_accuracy"], default=None)
    job = TrainingJob(
        key=key, title=title, epoch=last.get("epoch", 0), history=history,
        epochs=last["epochs"] if _is_epoch(last.get("epochs")) else None,
        images_per_second=number(last.get("images_per_second")),
        epoch_seconds=statistics.median(times) if times else None,
        best=None if best is None else {name: best[name] for name in ("epoch", "val_accuracy")})
    job.status = _status(files, job)
    if job.status == "training" and job.epochs is not None and job.epoch_seconds is not None:
        job.seconds_left = job.epoch_seconds * max(job.epochs - job.epoch, 0)
    return job


def _status(files: RunFiles, job: TrainingJob) -> str:
    """The status of one job according to its files; the training result is written last."""
    name = slug(job.key)
    if files.find("results", name, "training", "result.json"):
        return "done"
    if _was_stopped(files, name, job.epoch):
        return "stopped"
    if job.epochs is not None and job.epoch >= job.epochs:
        return "evaluating"
    return "training" if job.epoch else "waiting"


def _was_stopped(files: RunFiles, name: str, epoch: int) -> bool:
    """Return True if the checkpoint says that training stopped after the last epoch of the log, and is not older."""
    config, _ = files.document("checkpoints", name, "config.json")
    provenance = (config or {}).get("provenance")
    if not isinstance(provenance, dict) or provenance.get("finished") is not False:
        return False
    stopped, logged = files.time("checkpoints", name, "config.json"), files.time("metrics.jsonl")
    return provenance.get("epochs") == epoch and (logged is None or (stopped or 0.0) >= logged)


def number(value: object) -> float | None:
    """Return a finite number as a float, anything else as None.

    >>> number(3), number(float("nan")), number("3"), number(True)
    (3.0, None, None, None)
    """
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None
