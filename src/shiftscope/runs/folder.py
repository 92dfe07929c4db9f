"""Layout of a run folder."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypedDict

from shiftscope import files
from shiftscope.errors import CheckpointError, UsageError, did_you_mean
from shiftscope.migration import migrate, stored_path
from shiftscope.reading import as_type, read_json
from shiftscope.runs.claim import IMAGES, MARKER, Claim
from shiftscope.runs.jobs import slug
from shiftscope.runs.log import MetricsLog


class _Environment(TypedDict, total=False):
    """The part of `env.json` that is read again."""

    settings: dict[str, Any]
    resumed: list[list[str]]


class RunFolder:
    """Paths of one run folder, and exclusive access to it."""

    def __init__(self, path: Path | str):
        self.path = Path(path)
        self.metrics = self.path / "metrics.json"
        self.report = self.path / "report.html"
        self.images = self.path / IMAGES
        self.environment = self.path / MARKER
        self.figures = self.path / "figures"
        self.log = MetricsLog(self.path / "metrics.jsonl")
        self._claim = Claim(self.path)

    def checkpoint(self, job: str) -> Path:
        """Folder of the checkpoint and training state of a job."""
        return stored_path(self.path / "checkpoints" / slug(job))

    def result(self, job: str, what: str) -> Path:
        """Folder of a result of a job (training, test, train, audit)."""
        return stored_path(self.path / "results" / slug(job)) / what

    @property
    def holds_run(self) -> bool:
        """True if the folder contains a run."""
        return self.environment.is_file()

    def check(self, *, resume: bool = False, overwrite: bool = False) -> None:
        """Raise an error if the folder cannot be used for a run, see `Claim.check`; nothing is written."""
        self._claim.check(resume=resume, overwrite=overwrite)

    def claim(self, *, resume: bool = False, overwrite: bool = False, check: Callable[[], None] | None = None,
              note: Callable[[str], None] | None = None) -> None:
        """Claim the folder for a run until `release` is called, see `Claim.begin`."""
        self._claim.begin(resume=resume, overwrite=overwrite, check=check, note=note)

    def release(self) -> None:
        """Allow other processes to write into the folder."""
        self._claim.release()

    def write_environment(self, values: dict[str, Any]) -> None:
        """Write `env.json`, which also marks the folder as a run folder."""
        files.write_json(self.environment, values)

    def read_environment(self) -> dict[str, Any]:
        """Return the content of `env.json`.

        Raises:
            CheckpointError: the file cannot be read.
        """
        try:
            values = migrate(read_json(self.environment))
            as_type(values, _Environment)
        except OSError as error:
            raise CheckpointError(f"{self.environment} cannot be read ({files.reason(error)}); train again with "
                                  "--overwrite") from error
        return values


def find_checkpoint(path: Path | str) -> Path:
    """Return the checkpoint folder at `path`: the folder itself, or the only checkpoint of a run folder.

    Raises:
        CheckpointError: there is no checkpoint.
        UsageError: the run has several checkpoints.
    """
    path = Path(path)
    if (path / "config.json").is_file():
        return path
    found = sorted(folder.parent for folder in path.glob("checkpoints/*/config.json"))
    if not found and not path.exists():
        siblings = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
        hint = did_you_mean(path.name, siblings) or "give the folder that contains model.safetensors and config.json"
        raise CheckpointError(f"there is no checkpoint at {path}: {hint.strip()}")
    if not found:
        raise CheckpointError(f"{path} has no config.json, so it is not a checkpoint; give the folder that contains "
                              "model.safetensors and config.json")
    if len(found) > 1:
        raise UsageError(f"{path} contains {len(found)} checkpoints; choose one of {', '.join(map(str, found))}")
    return found[0]
