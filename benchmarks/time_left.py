"""How true is the time left that work shows, and the sentence that tells a training's length beforehand?

Usage: python benchmarks/time_left.py [--models two-full two-conv] [--epochs N] [--limit N] [--threads N]

Trains each model as `shiftscope train` does, evaluates it on its training images and audits it on the test images, and
listens to what is shown: for every task that takes `--least` seconds the time left when its first line is due and at
25, 50 and 75 % of its work, beside what the rest then took; and the same for the forecast of a training. Written to
benchmarks/results/time-left.json; exits with 1 where a time left is more than 20 % off. Others that take processor
time by turns make any forecast wrong: a busy machine is marked.
"""

import argparse
import re
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

import shiftscope
from bench.load import LoadWatch
from bench.machine import describe_machine
from bench.record import is_busy
from shiftscope import files
from shiftscope.models import build_model
from shiftscope.placement import default_placement
from shiftscope.progress import FIRST_LINE, LineProgress, Pace
from shiftscope.results.base import SCHEMA_VERSION
from shiftscope.settings import TrainSettings

RESULTS = Path(__file__).parent / "results" / "time-left.json"
ALLOWED = 0.20
SHARES = (0.25, 0.5, 0.75)
FORECAST = re.compile(r"(train .+): about (?:(\d+):)?(\d+):(\d\d) (?:min|h) for ")


class Heard:
    """A task as it shows itself: (share done, seconds since its beginning, seconds left) at every advance."""

    def __init__(self, title: str, pace: Pace):
        self.title, self.pace, self.seconds = title, pace, 0.0
        self.said: list[tuple[float, float, float]] = []
        self.forecast: tuple[float, float] | None = None
        """Seconds since the beginning when it was told, and seconds that it tells."""

    def advance(self, count: int, **_: float) -> None:
        """Note what a line would say now."""
        self.pace.done += count
        now, pace = time.monotonic(), self.pace
        share = (pace.done - pace.before) / max(pace.total - pace.before, 1)
        self.said.append((share, now - pace.begun, pace.left(now)))

    def close(self) -> None:
        """Note the end."""
        self.seconds = time.monotonic() - self.pace.begun

    def estimates(self) -> list[dict[str, Any]]:
        """Return what was told at each moment worth looking at, beside the truth."""
        moments = {} if self.forecast is None else {"forecast": self.forecast}
        first = next((one for one in self.said if one[1] >= FIRST_LINE), None)
        moments |= {"first line": first[1:]} if first else {}
        for share in SHARES:
            reached = next((one for one in self.said if one[0] >= share), None)
            moments |= {f"{100 * share:.0f} %": reached[1:]} if reached else {}
        return [self._estimate(name, elapsed, left) for name, (elapsed, left) in moments.items()]

    def _estimate(self, name: str, elapsed: float, left: float) -> dict[str, Any]:
        """Return one estimate; its error is that of the time left, as a share of the truth."""
        truth = max(self.seconds - elapsed, 1e-9)
        return {"at": name, "seconds": round(elapsed, 2), "left": round(left, 2), "truly_left": round(truth, 2),
                "predicted_total": round(elapsed + left, 2), "error": round(left / truth - 1, 4)}


class Listener:
    """A `Progress` that shows lines and keeps what tasks said."""

    def __init__(self) -> None:
        self.lines, self.heard = LineProgress(), list[Heard]()

    def task(self, title: str, total: int, unit: str = "images", done: int = 0) -> Heard:
        """Begin to listen to a task."""
        self.heard.append(Heard(title, Pace(total, done)))
        return self.heard[-1]

    def note(self, message: str) -> None:
        """Pass a sentence on; a forecast belongs to the task that runs."""
        self.lines.note(message)
        told = FORECAST.match(message)
        if told is not None and self.heard and self.heard[-1].title == told[1]:
            hours, minutes, seconds = (int(part or 0) for part in told.groups()[1:])
            elapsed = time.monotonic() - self.heard[-1].pace.begun
            self.heard[-1].forecast = (elapsed, 3600 * hours + 60 * minutes + seconds)


def listen(name: str, data: shiftscope.Dataset, epochs: int | None) -> list[Heard]:
    """Train, evaluate and audit a model, and return all tasks that were shown."""
    listener, canvas = Listener(), default_placement(data.shape).canvas
    model = build_model(name, canvas=canvas, channels=data.shape[0], classes=data.classes, seed=0)
    with tempfile.TemporaryDirectory() as folder:
        shiftscope.train(model, data, settings=TrainSettings(epochs=epochs), name=name, folder=folder,
                         progress=listener)
    shiftscope.evaluate(model, data, split="train", name=name, progress=listener)
    shiftscope.audit(model, data, name=name, progress=listener)
    return listener.heard


def rows(heard: list[Heard], least: float) -> list[dict[str, Any]]:
    """Return the record of every task that took at least so many seconds."""
    return [{"task": task.title, "seconds": round(task.seconds, 2), "estimates": task.estimates()}
            for task in heard if task.seconds >= least]


def show(tasks: list[dict[str, Any]]) -> None:
    """Print a line a task and estimate."""
    for task in tasks:
        print(f"{task['task']}, {task['seconds']:.1f} s")
        for one in task["estimates"]:
            print(f"  {one['at']:>10}: after {one['seconds']:.1f} s {one['left']:.1f} s left, truly "
                  f"{one['truly_left']:.1f} s ({100 * one['error']:+.0f} %)")


def main() -> None:
    """Measure, print and write; exit 1 where an estimate is more than `ALLOWED` off."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="fashion-mnist")
    parser.add_argument("--models", nargs="+", default=["two-full", "two-conv"])
    parser.add_argument("--epochs", type=int, help="default: the recipes'")
    parser.add_argument("--limit", type=int, help="the first so many training and test images")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--least", type=float, default=10.0, help="tasks that take fewer seconds are left out")
    parser.add_argument("--out", type=Path, default=RESULTS)
    asked = parser.parse_args()
    if asked.threads:
        torch.set_num_threads(asked.threads)
    data, watch = shiftscope.load_dataset(asked.data, limit=asked.limit), LoadWatch()
    tasks = rows([task for name in asked.models for task in listen(name, data, asked.epochs)], asked.least)
    load, errors = watch.load(), [abs(one["error"]) for task in tasks for one in task["estimates"]]
    worst = max(errors, default=None)
    show(tasks)
    files.write_json(asked.out, {
        "schema_version": SCHEMA_VERSION, "measured": datetime.now(UTC).isoformat(timespec="seconds"),
        "data": asked.data, "limit": asked.limit, "models": asked.models, "epochs": asked.epochs,
        "least_seconds": asked.least, "allowed": ALLOWED, "largest_error": worst, "tasks": tasks,
        "others": load, "marked": is_busy(load), "machine": describe_machine(torch.device("cpu"))})
    if worst is None:
        raise SystemExit(f"no task took {asked.least:.0f} seconds: choose a larger --limit, or a smaller --least")
    print(f"largest error of {len(errors)} times left: {100 * worst:.0f} % (allowed: {100 * ALLOWED:.0f} %)"
          f"{'; marked: other programmes were at work' if is_busy(load) else ''}")
    raise SystemExit(int(worst > ALLOWED))


if __name__ == "__main__":
    main()
