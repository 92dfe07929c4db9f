"""Where a run keeps what, and whether a folder may be used for one."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypedDict

from shiftscope import files
from shiftscope.errors import CheckpointError, UsageError, did_you_mean
from shiftscope.reading import as_type, read_json
from shiftscope.runs.claim import MARKER, Claim
from shiftscope.runs.jobs import slug
from shiftscope.runs.log import MetricsLog


class _Environment(TypedDict, total=False):
    """What is read of `env.json` again."""

    settings: dict[str, Any]
    resumed: list[list[str]]


class RunFolder:
    """The layout of one run folder, and the right to write into it."""

    def __init__(self, path: Path | str):
        self.path = Path(path)
        self.metrics = self.path / "metrics.json"
        self.report = self.path / "report.html"
        self.environment = self.path / MARKER
        self.figures = self.path / "figures"
        self.log = MetricsLog(self.path / "metrics.jsonl")
        self._claim = Claim(self.path)

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

    def check(self, *, resume: bool = False, overwrite: bool = False) -> None:
        """Raise an error where the folder cannot be used for a run, see `Claim.check`; nothing is written."""
        self._claim.check(resume=resume, overwrite=overwrite)

    def claim(self, *, resume: bool = False, overwrite: bool = False, check: Callable[[], None] | None = None,
              note: Callable[[str], None] | None = None) -> None:
        """Make the folder ready for a run until `release`, see `Claim.begin`."""
        self._claim.begin(resume=resume, overwrite=overwrite, check=check, note=note)

    def release(self) -> None:
        """Let other processes write into the folder."""
        self._claim.release()

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
        raise CheckpointError(f"{path} is not a checkpoint: it has no config.json; give the folder that holds "
                              "model.safetensors and config.json")
    if len(found) > 1:
        raise UsageError(f"{path} holds {len(found)} checkpoints; choose one: {', '.join(map(str, found))}")
    return found[0]
