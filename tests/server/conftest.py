"""Constructed run folders, the real server in its own process, and a browser."""

import io
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from PIL import Image

from shiftscope import files
from shiftscope.runs import Job, MetricsLog, RunFolder
from shiftscope.settings import RunSettings, TrainSettings

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}


def _png() -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (60, 40), 128).save(buffer, format="png")
    return buffer.getvalue()


class FakeRun:
    """Writes the files of `shiftscope run` step by step."""

    jobs = (Job(model="two-full", seed=0), Job(model="two-full", seed=0, centered=True), Job(model="two-conv", seed=0))
    pixel = _png()

    def __init__(self, path: Path):
        self.folder = RunFolder(path)
        self.path = path

    def begin(self, **settings) -> "FakeRun":
        run = RunSettings(**settings)
        requested = {"models": run.models, "seed": run.seed, "seeds": run.seeds, "controls": run.controls}
        self.folder.write_environment({
            "schema_version": 1, "settings": {"data": {}, "run": files.plain(requested)},
            "started": "2026-01-02T03:04:05+00:00", "dataset": {"name": "garments"}})
        return self

    def begin_train(self, model: str, seed: int) -> "FakeRun":
        self.folder.write_environment({"schema_version": 1, "settings": {
            "data": {}, "training": TrainSettings(seed=seed).to_dict(), "model": model}})
        return self

    def log(self, job: Job, *epochs: int, of: int = 4, seconds: float = 2.0) -> None:
        for epoch in epochs:
            MetricsLog(self.path / "metrics.jsonl").append({
                "job": job.key, "model": job.model, "seed": job.seed, "epoch": epoch, "train_loss": 2.0 / epoch,
                "train_accuracy": 0.5 - 0.25 / epoch, "val_accuracy": 0.625 - abs(epoch - 3) / 8, "epochs": of,
                "epoch_seconds": seconds, "images_per_second": 1000.0 * epoch})

    def finish(self, job: Job) -> None:
        files.write_json(self.folder.result(job.key, "training") / "result.json", {"schema_version": 1})

    def stop(self, job: Job, epochs: int) -> None:
        provenance = {"finished": False, "epochs": epochs}
        files.write_json(self.folder.checkpoint(job.key) / "config.json",
                         {"schema_version": 1, "provenance": provenance})

    def metrics(self, **values) -> None:
        files.write_json(self.folder.metrics, {"schema_version": 1, "models": [], "controls": [], "paused": None}
                         | values)

    def draw(self, *names: str) -> None:
        for name in names:
            files.write_bytes(self.folder.figures / name, self.pixel)

    def done(self, report: str = "<!DOCTYPE html><title>report</title><h1>The report</h1>") -> "FakeRun":
        for job in self.jobs:
            self.log(job, 1, 2, 3, 4)
            self.finish(job)
        self.draw("samples.png", "samples.svg", "curves.png")
        self.metrics()
        files.write_text(self.folder.report, report)
        return self


@pytest.fixture(scope="session")
def fake_run():
    return FakeRun


@pytest.fixture
def run(tmp_path) -> FakeRun:
    """A run that has started and not trained yet."""
    return FakeRun(tmp_path / "my run").begin()


@pytest.fixture(scope="session")
def watching():
    """`with watching(folder, "--port", ...) as address:` runs the real command."""
    return _watching


@contextmanager
def _watching(folder: Path, *flags: str) -> Iterator[str]:
    """Run `shiftscope watch` on a folder; yields its address. Ctrl-C must end it cleanly."""
    server = subprocess.Popen([sys.executable, "-m", "shiftscope", "watch", str(folder), *flags], text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT)
    try:
        assert server.stdout is not None
        address = server.stdout.readline().strip()
        assert address.startswith("http://127.0.0.1:"), server.communicate(timeout=10)[1]
        yield address
    finally:
        server.send_signal(signal.SIGINT)
        _, errors = server.communicate(timeout=10)
    assert (server.returncode, errors) == (0, "")


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install -e .[dev]")
    if CHROMIUM is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()
