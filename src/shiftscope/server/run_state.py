"""The state of a run, determined from the files in its folder."""

import datetime
import hashlib
import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from shiftscope.runs.current_task import PROGRESS
from shiftscope.server.run_files import RunFiles
from shiftscope.server.training_jobs import TrainingJob, number, requested_jobs, training_jobs

QUIET_SECONDS, QUIET_EPOCHS = 8.0, 3.0
"""A training without output for this time, and for this multiple of its usual epoch, is called silent."""
QUIET_STEP = 180.0
"""The same for work without a log line per epoch: loading, first epoch, evaluation, audits, figures."""

RESUME = "continue with the same command and --resume"


def run_state(files: RunFiles, now: float) -> dict[str, Any]:
    """Return everything that the page shows as plain JSON.

    Args:
        files: the run folder.
        now: seconds since 1970, compared with the last write to detect silent runs.

    Returns:
        "phase" (waiting, missing, training, finishing, done, stopped, paused, silent, other), "message" (the phase as
        text), "name", "dataset", "started", "changed" (time of the last write, seconds since 1970), "silent_at" (time
        at which the run will be called silent), "work" (the current task, see `current_work`), "trainings", "figures"
        (name and time), "report" (its time), "problems" (messages about files that cannot be read).
    """
    if not files.begun:
        files.locate()
    environment, problem = files.document("env.json")
    files.begun |= environment is not None or problem is not None
    changed = max((trace[2] / 1e9 for trace in files.traces()), default=0.0)
    state = {"name": files.name, "dataset": None, "started": None, "changed": changed, "silent_at": None,
             "work": None, "trainings": [], "figures": [], "report": None, "problems": [problem] if problem else []}
    if not files.begun:
        return state | {"phase": "waiting", "message": "No run was started in this folder yet. This page shows "
                        "it as soon as it starts."}
    if environment is None and problem is None:
        return state | {"phase": "missing", "message": "The folder no longer contains a run: it was moved or deleted. "
                        "This page continues if the run comes back."}
    environment = environment or {}
    metrics, problem = files.document("metrics.json")
    jobs, log_problems = training_jobs(files, environment, metrics or {})
    phase = _phase(files, environment, metrics, jobs)
    silent_at = None if phase in ("done", "stopped", "paused", "other") else changed + _patience(jobs)
    if silent_at is not None and now >= silent_at:
        phase = "silent"
    _mark_halted(jobs, phase)
    dataset = environment.get("dataset")
    return state | {
        "phase": phase, "message": _message(phase, jobs, changed), "silent_at": silent_at,
        "work": current_work(files) if phase in ("training", "finishing", "other") else None,
        "dataset": _text(dataset.get("name")) if isinstance(dataset, dict) else None,
        "started": _text(environment.get("started")), "trainings": [asdict(job) for job in jobs],
        "figures": [{"name": name, "time": time} for name, time in files.figures().items()],
        "report": files.time("report.html") if phase == "done" else None,
        "problems": [*state["problems"], *([problem] if problem else []), *log_problems]}


def _phase(files: RunFiles, environment: Mapping[str, Any], metrics: Mapping[str, Any] | None,
           jobs: Sequence[TrainingJob]) -> str:
    if not jobs:
        return "other" if not requested_jobs(environment) else "training"
    unfinished = [job for job in jobs if job.status != "done"]
    resumed = (files.time("metrics.json") or 0.0) < (files.time("env.json") or 0.0)  # a resumed run rewrites env.json
    if metrics is not None and metrics.get("paused") and not resumed:
        return "paused"
    if unfinished:
        return "stopped" if unfinished[0].status == "stopped" else "training"
    settings = environment.get("settings")
    has_report = isinstance(settings, Mapping) and "run" in settings
    complete = metrics is not None and (not has_report or files.find("report.html") is not None)
    return "done" if complete else "finishing"


def current_work(files: RunFiles) -> dict[str, Any] | None:
    """Return the task in `progress.json`; None if there is none, it has ended or it is invalid.

    Returns:
        "task" (its title), "unit", "done", "total", "rate" (units per second), "seconds_left" (at "time"), "time" (of
        the last write, seconds since 1970).
    """
    found, _ = files.document(PROGRESS)
    if found is None or found.get("ended") is not False:
        return None
    task, unit = _text(found.get("task")), _text(found.get("unit"))
    numbers = {name: number(found.get(name)) for name in ("done", "total", "rate", "seconds_left")}
    total, done = numbers["total"], numbers["done"]
    if task is None or unit is None or total is None or done is None or not 0 <= done <= total or total == 0:
        return None
    return {"task": task, "unit": unit, **numbers, "time": files.time(PROGRESS)}


def _patience(jobs: Sequence[TrainingJob]) -> float:
    """Seconds without output after which a run is called silent."""
    current = next((job for job in jobs if job.status == "training"), None)
    if current is None or current.epoch_seconds is None:
        return QUIET_STEP
    return max(QUIET_SECONDS, QUIET_EPOCHS * current.epoch_seconds)


def _mark_halted(jobs: Sequence[TrainingJob], phase: str) -> None:
    """Set the status of the job at which a run halted."""
    halted = next((job for job in jobs if job.status in ("training", "evaluating", "stopped")), None)
    if phase in ("silent", "paused") and halted is not None:
        halted.status, halted.seconds_left = phase, None


def _message(phase: str, jobs: Sequence[TrainingJob], changed: float) -> str:
    done = sum(job.status == "done" for job in jobs)
    current = next((job for job in jobs if job.status not in ("done", "waiting")), None)
    name, epoch = (current.title, current.epoch) if current else ("", 0)
    count = f"{done} of {len(jobs)} training jobs" if len(jobs) != 1 else f"{done} of 1 training job"
    clock = datetime.datetime.fromtimestamp(changed).strftime("%Y-%m-%d %H:%M:%S")
    return {
        "training": f"Training: {name} ({count} done).",
        "finishing": "All training jobs are done. Evaluation, audits, figures and the report follow.",
        "done": f"Done: {'1 training job' if done == 1 else f'{done} training jobs'}.",
        "stopped": f"Stopped and saved: {name} after {epoch} epochs; {RESUME}.",
        "paused": f"Paused by --max-time and saved: {count} done; {RESUME}.",
        "silent": f"No output since {clock}. The run may be in a long step; if it was interrupted, {RESUME}.",
        "other": f"This run has no training log. Its figures appear here. Last write: {clock}.",
    }[phase]


def _text(value: object) -> str | None:
    return value[:200] if isinstance(value, str) else None


@dataclass(frozen=True)
class Snapshot:
    """What the page shows at one moment; equal states have equal ids."""

    id: str
    text: str
    """JSON of `run_state`."""

    def event(self) -> str:
        """Return a server-sent event (WHATWG HTML) whose id a reconnecting page sends back."""
        return f"id: {self.id}\nevent: state\ndata: {self.text}\n\n"


class Watcher:
    """Makes snapshots of a run folder for all pages, and reads files again only if they changed.

    Each snapshot holds the whole history: pages may connect late or reconnect, and logs may become shorter.

    Args:
        files: the run folder.
        clock: returns seconds since 1970.
    """

    def __init__(self, files: RunFiles, *, clock: Callable[[], float] = time.time):
        self.files, self.clock = files, clock
        self._lock = threading.Lock()
        self._traces: object = None
        self._silent_at: float | None = None
        self._last: Snapshot | None = None

    def snapshot(self) -> Snapshot:
        """Return the current snapshot."""
        with self._lock:
            traces, now = self.files.traces(), self.clock()
            if self._last is None or traces != self._traces or (self._silent_at is not None and now >= self._silent_at):
                state = run_state(self.files, now)
                self._silent_at = state["silent_at"] if state["phase"] != "silent" else None
                text = json.dumps(state, allow_nan=False)
                self._last = Snapshot(hashlib.sha256(text.encode()).hexdigest()[:16], text)
                self._traces = traces
            return self._last
