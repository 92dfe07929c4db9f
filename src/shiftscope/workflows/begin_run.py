"""Begin or resume a run folder, and record the environment of the run in `env.json`."""

import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from shiftscope import files
from shiftscope.data import Dataset
from shiftscope.errors import UsageError
from shiftscope.progress import Progress
from shiftscope.results import SCHEMA_VERSION
from shiftscope.runs import RunFolder
from shiftscope.workflows.doctor import package_version

PACKAGES = ("shiftscope", "torch", "numpy", "pillow", "matplotlib", "rich", "cyclopts", "safetensors", "jinja2",
            "captum")


def environment(data: Dataset, *, device: torch.device, seed: int, command: list[str],
                settings: dict[str, Any]) -> dict[str, Any]:
    """Return the contents of `env.json`."""
    return {
        "schema_version": SCHEMA_VERSION, "command": command, "seed": seed, "settings": settings,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "dataset": {"name": data.name, "source": data.source, "license": data.license, "synthetic": data.synthetic,
                    "preparation": data.preparation,
                    "checksums": data.checksums},
        "device": str(device), "threads": torch.get_num_threads(), "cores": os.cpu_count(),
        "platform": f"{platform.system()} {platform.machine()}", "executable": Path(sys.executable).name,
        "versions": {"python": platform.python_version()} | {
            name: package_version(name) or "missing" for name in PACKAGES},
    }


@contextmanager
def begin_run(run: RunFolder, data: Dataset, settings: dict[str, Any], *, device: torch.device, seed: int,
              command: list[str], resume: bool, overwrite: bool, progress: Progress) -> Iterator[dict[str, Any]]:
    """Lock a run folder for the duration of the block and write its `env.json`.

    Yields:
        The contents of `env.json`.

    Raises:
        UsageError: if the folder holds another run, or the run to resume was started with other settings.
        OutputError: if the folder cannot be written.
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
    """Raise a `UsageError` if the settings of a resumed run have changed."""
    old, new = (_comparable(values.get("settings", {})) for values in (begun, now))
    changed = sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))
    if changed:
        what = ", ".join(f"{key} {old.get(key)!r}, now {new.get(key)!r}" for key in changed)
        raise UsageError(f"the run in {run.path} was started with {what}: use the same settings, or replace the run "
                         "with --overwrite")


def _comparable(settings: dict[str, Any]) -> dict[str, Any]:
    """Flatten settings and remove those that may change when a run is resumed.

    Additional seeds, models and controls are additional jobs and do not affect finished ones.
    """
    free = ("resume", "overwrite", "out", "data_dir", "device", "models", "seeds", "controls", "audit", "audit_images",
            "max_time")
    flat = {}
    for key, value in settings.items():
        flat |= value if isinstance(value, dict) else {key: value}
    return {key: value for key, value in flat.items() if key not in free}
