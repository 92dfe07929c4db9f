"""Finds the results below a folder, and the results that an unfinished run still lacks."""

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
"""Settings that define the jobs of a run."""

MOST_JOBS = 10_000
"""Limit on the number of jobs in a settings file."""

WHATS = ("training", "test", "train", "audit")
"""Results of each job of a run."""


@dataclass(frozen=True)
class StoredRecord:
    """A result and its folder."""

    record: Record
    folder: Path
    run: Path
    """The folder that was searched; it contains `folder` or is the same."""

    @property
    def job(self) -> str | None:
        """Name of the job, None outside of runs."""
        parts = self.folder.relative_to(self.run).parts
        return parts[1] if len(parts) >= 3 and parts[0] == "results" else None

    @property
    def seed(self) -> int:
        """Seed of the training, from the record or the name of its job; 0 if neither has one."""
        found = re.search(r"-seed(\d+)$", self.job or "")
        return int(getattr(self.record, "seed", int(found[1]) if found else 0))


def find_records(run: Path | str) -> list[StoredRecord]:
    """Read all results below a folder: those of a run, or of commands with --out.

    Returns:
        Results of a run in the order of its jobs, others sorted by folder.

    Raises:
        CheckpointError: there are no results; a result is damaged or has another version.
        UsageError: the path is a file.
    """
    run = Path(run)
    if run.is_file():
        raise UsageError(f"{run} is a file; give the folder that shiftscope run or another command wrote with --out")
    if not run.is_dir():
        siblings = [entry.name for entry in run.parent.iterdir()] if run.parent.is_dir() else []
        hint = did_you_mean(run.name, siblings) or "give the folder that shiftscope run or another command wrote"
        raise CheckpointError(f"there is no folder {run}: {hint.strip()}")
    order = [slug(job.key) for job in expected_jobs(run)]
    found = [StoredRecord(load_record(path.parent), path.parent, run) for path in sorted(run.rglob(RESULT_FILE))]
    if not found:
        raise CheckpointError(f"{run} contains no results{_begun(run)}; give a folder that shiftscope run, train, "
                              "evaluate, audit, visualize or repair wrote with --out")
    return sorted(found, key=lambda one: order.index(one.job) if one.job in order else len(order))


def _begun(run: Path) -> str:
    return " yet, because no job of its run is finished" if RunFolder(run).holds_run else ""


def read_document(path: Path) -> dict[str, Any]:
    """Return a JSON document of a run folder; an empty dictionary if the file does not exist.

    Raises:
        CheckpointError: the file cannot be read or has another version.
    """
    if not path.exists():
        return {}
    try:
        values = migrate(read_json(path))
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({reason(error)}); create it again") from error
    check_version(values, str(path))
    return values


def expected_jobs(run: Path) -> list[Job]:
    """Return the jobs of a run from its settings; an empty list for other folders."""
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
        raise CheckpointError(f"{RunFolder(run).environment} does not contain the settings of a run: {error}; create "
                              "it again") from error
    return kept


def unfinished(run: Path) -> Iterator[str]:
    """Yield a sentence for each job of a run that lacks results."""
    settings = _run_settings(run)
    if settings is None:
        return
    wanted = WHATS if settings.audit else WHATS[:-1]
    for job in jobs_of(settings):
        missing = [what for what in wanted if not (RunFolder(run).result(job.key, what) / RESULT_FILE).is_file()]
        if missing:
            yield (f"{run} is not finished: {job.key} has no results {', '.join(missing)} yet; continue with "
                   "shiftscope run --resume")
