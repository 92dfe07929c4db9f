"""How the trainings of a run stand, from its settings, its log and the marks that finished work leaves."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, TypeGuard

from shiftscope.reporting.formatting import series_title, shorten
from shiftscope.runs import Job, jobs_of, slug
from shiftscope.runs.log import parse_log
from shiftscope.server.run_files import RunFiles
from shiftscope.settings import RunSettings

RECENT = 5
"""Epochs whose median time says how long one takes now: short enough to follow a machine that got busier."""

_CURVES = ("train_loss", "train_accuracy", "val_accuracy")
_MOST_JOBS, _MOST_EPOCHS = 500, 1_000_000  # more than that is no run but somebody's joke


@dataclass(kw_only=True)
class Training:
    """One training as the page shows it."""

    key: str
    title: str
    status: str = "waiting"
    """waiting, training, evaluating, done, stopped, paused or silent."""
    epoch: int = 0
    """Epochs done."""
    epochs: int | None = None
    """Epochs in all; None before the first is done."""
    images_per_second: float | None = None
    epoch_seconds: float | None = None
    """Median of the last few."""
    seconds_left: float | None = None
    """At the time of the last line."""
    best: dict[str, Any] | None = None
    """The best validation accuracy: "epoch" and "val_accuracy"."""
    history: list[dict[str, Any]] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return the training as plain values."""
        return asdict(self)


def trainings_of(files: RunFiles, environment: Mapping[str, Any], metrics: Mapping[str, Any]
                 ) -> tuple[list[Training], list[str]]:
    """Return the trainings in the order of the work, and what the reader should know of the log.

    Args:
        files: the run folder.
        environment: what `env.json` says.
        metrics: what `metrics.json` says; its histories stand where the log has none.
    """
    lines, problems = read_lines(files)
    jobs = asked_jobs(environment)
    histories = _finished_histories(metrics) | lines
    keys = [job.key for job in jobs] + [key for key in histories if key not in {job.key for job in jobs}]
    titles = job_titles(jobs)
    trainings = [_training(files, key, titles.get(key, shorten(key, 60)), histories.get(key, []))
                 for key in keys[:_MOST_JOBS]]
    _mark_present(trainings)
    return trainings, problems


def _mark_present(trainings: Sequence[Training]) -> None:
    """Jobs are done one after the other: the first that waits is at work, unless one before it is."""
    for training in trainings:
        if training.status == "waiting":
            training.status = "training"
        if training.status != "done":
            return


# ---------------------------------------------------------------------- what was asked for


def asked_jobs(environment: Mapping[str, Any]) -> list[Job]:
    """Return the trainings that `env.json` asks for; none where it is of other work, or makes no sense.

    >>> [job.key for job in asked_jobs({"settings": {"model": "two-conv", "training": {"seed": 3}}})]
    ['two-conv-seed3']
    """
    settings = environment.get("settings")
    if not isinstance(settings, dict):
        return []
    run, training, model = (settings.get(name) for name in ("run", "training", "model"))
    if isinstance(training, dict) and isinstance(model, str) and _is_whole(training.get("seed")):
        return [Job(model=model, seed=training["seed"])]
    if not isinstance(run, dict):
        return []
    models, seed, seeds = run.get("models"), run.get("seed"), run.get("seeds")
    if not (isinstance(models, list) and models and all(isinstance(name, str) for name in models) and _is_whole(seed)
            and _is_whole(seeds) and 1 <= seeds <= _MOST_JOBS):
        return []
    return jobs_of(RunSettings(models=tuple(models), seed=seed, seeds=seeds, controls=run.get("controls") is True))


def _is_whole(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63


def job_titles(jobs: Sequence[Job]) -> dict[str, str]:
    """Return what people call each training; the seed is said where there are several.

    >>> job_titles([Job(model="two-full", seed=1), Job(model="two-full", seed=1, centered=True)])
    {'two-full-seed1': 'perceptron', 'two-full-centered-seed1': 'perceptron, trained centered'}
    """
    several = len({job.seed for job in jobs}) > 1
    return {job.key: series_title(job.model, "centered" if job.centered else "random")
            + (f", seed {job.seed}" if several else "") for job in jobs}


# ---------------------------------------------------------------------- what was done


def read_lines(files: RunFiles) -> tuple[dict[str, list[dict[str, Any]]], list[str]]:
    """Return the lines of `metrics.jsonl` by job, one an epoch and in their order, and what is wrong with the file."""
    records, unread = parse_log(files.text("metrics.jsonl") or "")
    found: dict[str, dict[int, dict[str, Any]]] = {}
    for record in records:
        job, epoch = record.get("job"), record.get("epoch")
        if isinstance(job, str) and _is_epoch(epoch):
            found.setdefault(job, {})[epoch] = record
        else:
            unread += 1
    lines = {job: [epochs[epoch] for epoch in sorted(epochs)] for job, epochs in found.items()}
    if unread == 0:
        return lines, []
    plural = "line" if unread == 1 else "lines"
    return lines, [f"{unread} {plural} of metrics.jsonl cannot be read and {'is' if unread == 1 else 'are'} left out."]


def _is_epoch(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= _MOST_EPOCHS


def _finished_histories(metrics: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Histories that `metrics.json` holds: of the first seed of each model."""
    found = {}
    for entry in [*_entries(metrics, "models"), *_entries(metrics, "controls")]:
        name, seed, history = entry.get("name"), entry.get("seed"), entry.get("history")
        if isinstance(name, str) and _is_whole(seed) and isinstance(history, list):
            job = Job(model=name, seed=seed, centered=entry.get("trained") == "centered")
            lines = [line for line in history if isinstance(line, dict) and _is_epoch(line.get("epoch"))]
            found[job.key] = [line | {"epochs": entry.get("epochs")} for line in lines]
    return found


def _entries(metrics: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    entries = metrics.get(name)
    return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []


def _training(files: RunFiles, key: str, title: str, lines: Sequence[Mapping[str, Any]]) -> Training:
    history = [{"epoch": line["epoch"]} | {name: number(line.get(name)) for name in _CURVES} for line in lines]
    last = lines[-1] if lines else {}
    epochs = last.get("epochs")
    training = Training(
        key=key, title=title, epoch=last.get("epoch", 0), epochs=epochs if _is_epoch(epochs) else None, history=history,
        images_per_second=number(last.get("images_per_second")), epoch_seconds=_usual_seconds(lines),
        best=_best(history))
    training.status = _status(files, training)
    if training.status == "training" and training.epochs is not None and training.epoch_seconds is not None:
        training.seconds_left = training.epoch_seconds * max(training.epochs - training.epoch, 0)
    return training


def _best(history: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """The first of the epochs with the highest validation accuracy."""
    measured = [line for line in history if line["val_accuracy"] is not None]
    if not measured:
        return None
    best = max(measured, key=lambda line: line["val_accuracy"])
    return {name: best[name] for name in ("epoch", "val_accuracy")}


def _usual_seconds(lines: Sequence[Mapping[str, Any]]) -> float | None:
    times = [time for line in lines[-RECENT:] if (time := number(line.get("epoch_seconds"))) is not None]
    return statistics.median(times) if times else None


def _status(files: RunFiles, training: Training) -> str:
    """What the files say of one training: the record of its result is written last."""
    job = slug(training.key)
    if files.find("results", job, "training", "result.json"):
        return "done"
    if _was_stopped(files, job, training.epoch):
        return "stopped"
    if training.epochs is not None and training.epoch >= training.epochs:
        return "evaluating"
    return "training" if training.epoch else "waiting"


def _was_stopped(files: RunFiles, job: str, epoch: int) -> bool:
    """Whether the training was stopped in good order after the epoch that the log ends with: it then leaves a
    checkpoint that says so, and going on with it writes the log anew."""
    config, _ = files.document("checkpoints", job, "config.json")
    provenance = (config or {}).get("provenance")
    if not isinstance(provenance, dict) or provenance.get("finished") is not False:
        return False
    stopped, logged = files.time("checkpoints", job, "config.json"), files.time("metrics.jsonl")
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
