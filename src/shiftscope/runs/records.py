"""Which results lie below a folder, whatever command left them there, and what a run lacks that is not finished."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from shiftscope.errors import CheckpointError, UsageError, did_you_mean, require
from shiftscope.files import UnfitFileError, reason
from shiftscope.migration import migrate
from shiftscope.reading import as_type, object_of, read_json
from shiftscope.results import Record, load_record
from shiftscope.results.base import RESULT_FILE, check_version
from shiftscope.runs.folder import RunFolder
from shiftscope.runs.jobs import Job, jobs_of, slug
from shiftscope.settings import RunSettings

JOBS = ("models", "seed", "seeds", "controls", "audit")
"""Settings of a run that say which jobs it has."""

MOST_JOBS = 10_000
"""No run has so many: a file that says so was tampered with."""

WHATS = ("training", "test", "train", "audit")
"""Results of a job of the main job."""


@dataclass(frozen=True)
class StoredRecord:
    """A result and where it lies."""

    record: Record
    folder: Path
    run: Path
    """The folder that was asked for, which `folder` is or lies below."""

    @property
    def job(self) -> str | None:
        """Name of the job of a run whose result this is, None elsewhere."""
        parts = self.folder.relative_to(self.run).parts
        return parts[1] if len(parts) >= 3 and parts[0] == "results" else None

    @property
    def seed(self) -> int:
        """The seed of the training: that of the record or of its job's name, 0 where neither tells."""
        found = re.search(r"-seed(\d+)$", self.job or "")
        return int(getattr(self.record, "seed", int(found[1]) if found else 0))


def find_records(run: Path | str) -> list[StoredRecord]:
    """Read all results below a folder: of `shiftscope run`, or what `audit --out`, `evaluate --out` and others wrote.

    Returns:
        Those of a run in the order of its jobs, others by their folders.

    Raises:
        CheckpointError: nothing there; a result is damaged or from another version.
        UsageError: a file.
    """
    run = Path(run)
    if run.is_file():
        raise UsageError(f"{run} is a file: give the folder that shiftscope run or another command with --out wrote")
    if not run.is_dir():
        siblings = [entry.name for entry in run.parent.iterdir()] if run.parent.is_dir() else []
        hint = did_you_mean(run.name, siblings) or "give the folder that shiftscope run or another command wrote"
        raise CheckpointError(f"there is no folder {run}: {hint.strip()}")
    order = [slug(job.key) for job in expected_jobs(run)]
    found = [StoredRecord(load_record(path.parent), path.parent, run) for path in sorted(run.rglob(RESULT_FILE))]
    if not found:
        raise CheckpointError(f"{run} holds no results{_begun(run)}: give a folder that shiftscope run, train, "
                              "evaluate, audit, visualize or repair wrote with --out")
    return sorted(found, key=lambda one: order.index(one.job) if one.job in order else len(order))


def _begun(run: Path) -> str:
    return " yet, for its run was begun and nothing of it is finished" if RunFolder(run).holds_run else ""


def read_document(path: Path) -> dict[str, Any]:
    """Return a JSON document of a run folder; an empty one where there is none.

    Raises:
        CheckpointError: unreadable, or from another version.
    """
    if not path.exists():
        return {}
    try:
        values = migrate(read_json(path))
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({reason(error)}); make it anew") from error
    check_version(values, str(path))
    return values


def expected_jobs(run: Path) -> list[Job]:
    """Return the jobs that the settings of a main job ask for; none for other folders."""
    settings = _run_settings(run)
    return [] if settings is None else jobs_of(settings)


def _run_settings(run: Path) -> RunSettings | None:
    asked = read_document(RunFolder(run).environment).get("settings")
    values = asked.get("run") if isinstance(asked, dict) else None
    if not isinstance(values, dict):
        return None
    others = [field.name for field in fields(RunSettings) if field.name not in JOBS]
    try:
        kept = RunSettings(**as_type(values, object_of(RunSettings, without=others), "settings.run"))
        require(kept.seeds * len(kept.models) <= MOST_JOBS, "seeds times models", kept.seeds, f"at most {MOST_JOBS:,}")
    except (UnfitFileError, UsageError) as error:
        raise CheckpointError(f"{RunFolder(run).environment} holds no settings of a run: {error}; make it "
                              "anew") from error
    return kept


def unfinished(run: Path) -> Iterator[str]:
    """Yield a sentence for each job of a run that lacks results, for instance while it goes on."""
    settings = _run_settings(run)
    if settings is None:
        return
    wanted = WHATS if settings.audit else WHATS[:-1]
    for job in jobs_of(settings):
        missing = [what for what in wanted if not (RunFolder(run).result(job.key, what) / RESULT_FILE).is_file()]
        if missing:
            yield (f"{run} is not finished: {job.key} lacks its results {', '.join(missing)}; go on with shiftscope "
                   "run and --resume")
