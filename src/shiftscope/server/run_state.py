"""How a whole run stands, in a word and in a sentence, from what its folder holds."""

import datetime
from collections.abc import Mapping, Sequence
from typing import Any

from shiftscope.server.run_files import RunFiles
from shiftscope.server.trainings import Training, asked_jobs, trainings_of

QUIET_SECONDS = 8.0
"""A training that has not written for so long, and for `QUIET_EPOCHS` times its usual epoch, is called silent."""
QUIET_EPOCHS = 3.0
QUIET_STEP = 180.0
"""The same for work that leaves no line an epoch: loading, the first epoch, evaluation, audits, figures."""

RESUME = "the same command with --resume goes on"


def run_state(files: RunFiles, now: float) -> dict[str, Any]:
    """Return all that the page shows, as plain JSON.

    Args:
        files: the run folder.
        now: seconds since 1970; whoever has not written for long is called silent.

    Returns:
        "phase" (missing, training, finishing, done, stopped, paused, silent, other), "sentence" (the phase in words),
        "name", "dataset", "started", "changed" (when the run last wrote, seconds since 1970),
        "silent_at" (when it will be called silent), "trainings", "figures" (name and time), "report" (its time),
        "problems" (sentences on what cannot be read).
    """
    environment, problem = files.document("env.json")
    traces = files.traces()
    changed = max((trace[2] / 1e9 for trace in traces), default=0.0)
    state = {"name": files.name, "dataset": None, "started": None, "changed": changed, "silent_at": None,
             "trainings": [], "figures": [], "report": None, "problems": [problem] if problem else []}
    if environment is None and problem is None:
        return state | {"phase": "missing", "sentence": "The folder holds no run any more: it was moved or deleted. "
                        "This page goes on as soon as it is there again."}
    environment = environment or {}
    metrics, problem = files.document("metrics.json")
    trainings, found = trainings_of(files, environment, metrics or {})
    phase = _phase(files, environment, metrics, trainings)
    silent_at = None if phase in ("done", "stopped", "paused", "other") else changed + _patience(trainings)
    if silent_at is not None and now >= silent_at:
        phase = "silent"
    _mark(trainings, phase)
    return state | {
        "phase": phase, "sentence": _sentence(phase, trainings, changed), "silent_at": silent_at,
        "dataset": _dataset(environment), "started": _text(environment.get("started")),
        "trainings": [training.to_dict() for training in trainings],
        "figures": [{"name": name, "time": time} for name, time in files.figures().items()],
        "report": files.time("report.html") if phase == "done" else None,
        "problems": [*state["problems"], *([problem] if problem else []), *found]}


def _phase(files: RunFiles, environment: Mapping[str, Any], metrics: Mapping[str, Any] | None,
           trainings: Sequence[Training]) -> str:
    if not trainings:
        return "other" if not asked_jobs(environment) else "training"
    unfinished = [training for training in trainings if training.status != "done"]
    if metrics is not None and metrics.get("paused") and _is_newer(files, "metrics.json", "env.json"):
        return "paused"
    if not unfinished:
        settings = environment.get("settings")
        writes_report = isinstance(settings, Mapping) and "run" in settings
        complete = metrics is not None and (not writes_report or files.find("report.html") is not None)
        return "done" if complete else "finishing"
    if unfinished[0].status == "stopped":
        return "stopped"
    return "training"


def _is_newer(files: RunFiles, name: str, other: str) -> bool:
    """Whether a file was written after another: going on with a run writes env.json anew."""
    return (files.time(name) or 0.0) >= (files.time(other) or 0.0)


def _patience(trainings: Sequence[Training]) -> float:
    """Seconds without a sign of life after which a run is called silent."""
    present = next((training for training in trainings if training.status == "training"), None)
    if present is None or present.epoch_seconds is None:
        return QUIET_STEP
    return max(QUIET_SECONDS, QUIET_EPOCHS * present.epoch_seconds)


def _mark(trainings: Sequence[Training], phase: str) -> None:
    """Let the training at which the run came to a halt say so."""
    if phase not in ("silent", "paused"):
        return
    for training in trainings:
        if training.status in ("training", "evaluating", "stopped"):
            training.status = phase
            training.seconds_left = None
            return


def _sentence(phase: str, trainings: Sequence[Training], changed: float) -> str:
    done = sum(training.status == "done" for training in trainings)
    halted = next((training for training in trainings if training.status not in ("done", "waiting")), None)
    name, epoch = (halted.title, halted.epoch) if halted else ("", 0)
    count = f"{done} of {len(trainings)} trainings" if len(trainings) != 1 else f"{done} of 1 training"
    return {
        "training": f"Training: {name} ({count} done).",
        "finishing": "All trainings are done; evaluation, audits, figures and report follow.",
        "done": f"Done: {'1 training' if done == 1 else f'{done} trainings'}.",
        "stopped": f"Stopped in good order: {name} after {epoch} epochs, all of it saved; {RESUME}.",
        "paused": f"Paused, as --max-time asks: {count} done, all of it saved; {RESUME}.",
        "silent": f"Silent since {_clock(changed)}: nothing was written. It may be busy with a long step; if it was "
                  f"interrupted, {RESUME}.",
        "other": f"Work without a log of epochs; its figures stand here as they come. Last written {_clock(changed)}.",
    }[phase]


def _clock(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M:%S")


def _dataset(environment: Mapping[str, Any]) -> str | None:
    dataset = environment.get("dataset")
    return _text(dataset.get("name")) if isinstance(dataset, dict) else None


def _text(value: object) -> str | None:
    return value[:200] if isinstance(value, str) else None
