"""Where a run keeps what, and whether a folder may be used for one."""

import re
import shutil
import tempfile
from pathlib import Path
from typing import Any, TypedDict

from shiftscope import files
from shiftscope.errors import CheckpointError, OutputError, UsageError, did_you_mean
from shiftscope.reading import as_type, read_json
from shiftscope.runs.log import MetricsLog

MARKER = "env.json"
_FILES = ("metrics.json", "metrics.jsonl", "report.html", MARKER)
_FOLDERS = ("figures", "results", "checkpoints")


def slug(name: str) -> str:
    """Return `name` as a file name.

    >>> slug("my_models:Net")
    'my_models-Net'
    """
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip(".-") or "model"


class _Environment(TypedDict, total=False):
    """What is read of `env.json` again."""

    settings: dict[str, Any]
    resumed: list[list[str]]


class RunFolder:
    """The layout of one run folder."""

    def __init__(self, path: Path | str):
        self.path = Path(path)
        self.metrics = self.path / "metrics.json"
        self.report = self.path / "report.html"
        self.environment = self.path / MARKER
        self.figures = self.path / "figures"
        self.log = MetricsLog(self.path / "metrics.jsonl")

    def checkpoint(self, job: str) -> Path:
        """Folder of a job's checkpoint and training state."""
        return self.path / "checkpoints" / slug(job)

    def result(self, job: str, what: str) -> Path:
        """Folder of a job's result record (training, test, train)."""
        return self.path / "results" / slug(job) / what

    @property
    def holds_run(self) -> bool:
        """Whether a run was begun here."""
        return self.environment.is_file()

    def claim(self, *, resume: bool = False, overwrite: bool = False) -> None:
        """Make the folder ready for a run, or say why it cannot be.

        Raises:
            UsageError: it holds a run or other files, and neither `resume` nor `overwrite` was said.
            OutputError: it cannot be written.
        """
        if self.path.exists() and not self.path.is_dir():
            raise UsageError(f"--out {self.path} is a file; choose a folder")
        files.remove_partial(self.path)
        if self.holds_run and overwrite:
            self._clear()
        elif self.holds_run and not resume:
            raise UsageError(f"--out {self.path} already holds a run: say --resume to go on with it, --overwrite to "
                             "replace it, or choose another folder")
        elif not self.holds_run and self.path.is_dir() and any(self.path.iterdir()):
            raise UsageError(f"--out {self.path} is not empty and holds no run; choose a new or an empty folder")
        self._check_writable()

    def _check_writable(self) -> None:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.path):
                pass
        except OSError as error:
            raise OutputError(f"cannot write into {self.path}: {error.strerror}; choose another folder with "
                              "--out") from error

    def _clear(self) -> None:
        """Remove what a run wrote, and nothing else."""
        try:
            for name in _FOLDERS:
                shutil.rmtree(self.path / name, ignore_errors=False) if (self.path / name).is_dir() else None
            for name in _FILES:
                (self.path / name).unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(f"cannot clear {self.path}: {error.strerror}; choose another folder") from error

    def write_environment(self, values: dict[str, Any]) -> None:
        """Write `env.json`, which also marks the folder as a run."""
        files.write_json(self.environment, values)

    def read_environment(self) -> dict[str, Any]:
        """Return `env.json`.

        Raises:
            CheckpointError: it cannot be read.
        """
        try:
            values = read_json(self.environment)
            as_type(values, _Environment)
        except OSError as error:
            raise CheckpointError(f"{self.environment} cannot be read ({files.reason(error)}); train anew with "
                                  "--overwrite") from error
        return values


def find_checkpoint(path: Path | str) -> Path:
    """Return the checkpoint folder that `path` means: itself, or the only one of a run folder.

    Raises:
        CheckpointError: nothing there.
        UsageError: a run with several checkpoints.
    """
    path = Path(path)
    if (path / "config.json").is_file():
        return path
    found = sorted(folder.parent for folder in path.glob("checkpoints/*/config.json"))
    if not found and not path.exists():
        siblings = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
        hint = did_you_mean(path.name, siblings) or "give the folder that holds model.safetensors and config.json"
        raise CheckpointError(f"there is no checkpoint at {path}: {hint.strip()}")
    if not found:
        raise CheckpointError(f"{path} is no checkpoint: it has no config.json; give the folder that holds "
                              "model.safetensors and config.json")
    if len(found) > 1:
        raise UsageError(f"{path} holds {len(found)} checkpoints; choose one: {', '.join(map(str, found))}")
    return found[0]
