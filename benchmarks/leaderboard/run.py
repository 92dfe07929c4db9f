"""Compute the missing records of the leaderboard, one at a time."""

from dataclasses import asdict
from pathlib import Path

from leaderboard.entries import Entry, LeaderboardSettings, entries_named
from leaderboard.make import Context, make_record
from leaderboard.records import LeaderboardRecord, read_record, read_records, record_path, write_record
from shiftscope.devices import resolve_device
from shiftscope.errors import Interrupted, UsageError
from shiftscope.files import plain
from shiftscope.progress import Progress
from shiftscope.runs import RunFolder
from shiftscope.runs.outputs import require_writable
from shiftscope.settings import DataSettings
from shiftscope.training.stopping import StopFlag
from shiftscope.workflows.begin_run import begin_run
from shiftscope.workflows.load_images import open_data


def run_leaderboard(data: DataSettings, settings: LeaderboardSettings, *, progress: Progress,
                    command: list[str] | None = None) -> list[LeaderboardRecord]:
    """Compute the requested records that are missing, and return all records of the folder.

    Args:
        data: dataset and placement.
        settings: entries, seeds and folders.

    Raises:
        UsageError: for unknown names, a work folder of other work, or a record with other settings.
        CheckpointError: if an existing record is corrupt.
        OutputError: if the folder of records cannot be written; checked before training.
        Interrupted: if stopped by a signal; `resume` continues.
    """
    requested = _requested(data, settings)
    missing = [pair for pair in _pairs(settings) if not _exists(settings.results, *pair, requested)]
    if missing:
        require_writable(settings.results)
        _compute(missing, data, settings, requested, progress, command or [])
    return read_records(settings.results)


def missing_records(settings: LeaderboardSettings) -> list[Path]:
    """Return the files of the requested records that are missing."""
    paths = (record_path(settings.results, entry.name, seed) for entry, seed in _pairs(settings))
    return [path for path in paths if not path.is_file()]


def _requested(data: DataSettings, settings: LeaderboardSettings) -> dict:
    kept = {name: value for name, value in asdict(data).items() if name != "data_dir"}
    return plain(kept | {"epochs": settings.epochs, "audit_images": settings.audit_images})


def _pairs(settings: LeaderboardSettings) -> list[tuple[Entry, int]]:
    """Return (entry, seed) pairs, all seeds of the first entry first."""
    seeds = range(settings.seed, settings.seed + settings.seeds)
    return [(entry, seed) for entry in entries_named(settings.entries) for seed in seeds]


def _exists(folder: Path, entry: Entry, seed: int, requested: dict) -> bool:
    path = record_path(folder, entry.name, seed)
    if not path.exists():
        return False
    stored = read_record(path).settings_requested
    changed = sorted(key for key in stored.keys() | requested.keys() if stored.get(key) != requested.get(key))
    if changed:
        differences = ", ".join(f"{key} {stored.get(key)!r}, now {requested.get(key)!r}" for key in changed)
        raise UsageError(f"the record {path} was computed with {differences}; give the same options, or another "
                         "folder with --results")
    return True


def _compute(missing: list[tuple[Entry, int]], data: DataSettings, settings: LeaderboardSettings, requested: dict,
          progress: Progress, command: list[str]) -> None:
    device, run = resolve_device(settings.device), RunFolder(settings.out)
    run.check(resume=settings.resume, overwrite=settings.overwrite)
    images, placement = open_data(data, progress)
    context = Context(data=images, placement=placement, settings_requested=requested, run=run, device=device,
                      epochs=settings.epochs, audit_images=settings.audit_images, progress=progress)
    stop, origin = StopFlag(), {"data": asdict(data), "epochs": settings.epochs}
    with begin_run(run, images, origin, device=device, seed=settings.seed, command=command, resume=settings.resume,
                   overwrite=settings.overwrite, progress=progress), stop.listening():
        for number, (entry, seed) in enumerate(missing, 1):
            if stop:
                raise Interrupted(f"interrupted before {entry.name}, seed {seed}; continue with --resume",
                                  stop.exit_code)
            progress.note(f"leaderboard: {entry.name}, seed {seed} ({number} of {len(missing)})")
            write_record(make_record(entry, seed, context, stop), settings.results)
