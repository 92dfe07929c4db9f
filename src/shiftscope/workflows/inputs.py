"""From settings to the things they name: dataset, placement, environment."""

import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from shiftscope import files
from shiftscope.data import Dataset, load_dataset
from shiftscope.errors import UsageError
from shiftscope.placement import Placement, texture
from shiftscope.progress import Progress
from shiftscope.results import SCHEMA_VERSION
from shiftscope.runs import RunFolder
from shiftscope.settings import DataSettings

PACKAGES = ("shiftscope", "torch", "numpy", "pillow", "matplotlib", "rich", "cyclopts", "safetensors", "jinja2",
            "captum")


def open_data(settings: DataSettings, progress: Progress) -> tuple[Dataset, Placement]:
    """Return the dataset and the placement that the settings ask for."""
    data = load_data(settings, progress)
    return data, placement_for(data, settings)


def load_data(settings: DataSettings, progress: Progress) -> Dataset:
    """Return the dataset; pictures that do not fit on the canvas are refused before they are decoded.

    Raises:
        UsageError, DataError: see `load_dataset` and `Placement`.
    """
    return load_dataset(settings.data, data_dir=settings.data_dir, limit=settings.limit, progress=progress,
                        check_size=lambda size: Placement(image=size, canvas=settings.canvas, mode=settings.mode))


def placement_for(data: Dataset, settings: DataSettings) -> Placement:
    """Return how images of `data` lie on the canvas of the settings."""
    channels, height, width = data.shape
    background = settings.background
    ground = texture(settings.canvas, channels=channels) if background == "texture" else background
    return Placement(image=(height, width), canvas=settings.canvas, mode=settings.mode, background=ground)


def installed_versions() -> dict[str, str]:
    """Return versions of Python, Shiftscope and what it stands on."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "missing"
    return found


def environment(data: Dataset, *, device: torch.device, seed: int, command: list[str],
                settings: dict[str, Any]) -> dict[str, Any]:
    """Return what `env.json` says about how a run was made."""
    return {
        "schema_version": SCHEMA_VERSION, "command": command, "seed": seed, "settings": settings,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "dataset": {"name": data.name, "source": data.source, "license": data.license, "synthetic": data.synthetic,
                    "checksums": data.checksums},
        "device": str(device), "threads": torch.get_num_threads(), "cores": os.cpu_count(),
        "platform": f"{platform.system()} {platform.machine()}", "executable": Path(sys.executable).name,
        "versions": installed_versions(),
    }


@contextmanager
def begin_run(run: RunFolder, data: Dataset, settings: dict[str, Any], *, device: torch.device, seed: int,
              command: list[str], resume: bool, overwrite: bool, progress: Progress) -> Iterator[dict[str, Any]]:
    """Claim a run folder for the time of the block and write its `env.json`.

    Yields:
        What `env.json` holds.

    Raises:
        UsageError: the folder is taken, or its run was begun with other settings and is to be resumed.
        OutputError: the folder cannot be written.
    """
    now = environment(data, device=device, seed=seed, command=command, settings=files.plain(settings))

    def check() -> None:
        if resume and run.holds_run:
            _require_same(run, run.read_environment(), now)

    run.claim(resume=resume, overwrite=overwrite, check=check, note=progress.note)
    try:
        if run.holds_run:
            begun = run.read_environment()
            now = begun | {"settings": now["settings"], "resumed": [*begun.get("resumed", []), command]}
        run.write_environment(now)
        yield now
    finally:
        run.release()


def _require_same(run: RunFolder, begun: dict[str, Any], now: dict[str, Any]) -> None:
    """Raise a `UsageError` where a run would go on with other settings than it was begun with."""
    old, new = (_comparable(values.get("settings", {})) for values in (begun, now))
    changed = sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))
    if changed:
        what = ", ".join(f"{key} {old.get(key)!r}, now {new.get(key)!r}" for key in changed)
        raise UsageError(f"the run in {run.path} was begun with {what}: give the same settings, or replace the run "
                         "with --overwrite")


def _comparable(settings: dict[str, Any]) -> dict[str, Any]:
    """Flatten settings and leave out those that may change between beginning and resuming.

    Further seeds, models and controls are further jobs: they leave those alone that are done.
    """
    free = ("resume", "overwrite", "out", "data_dir", "device", "models", "seeds", "controls", "audit", "audit_images",
            "max_time")
    flat = {}
    for key, value in settings.items():
        flat |= value if isinstance(value, dict) else {key: value}
    return {key: value for key, value in flat.items() if key not in free}
