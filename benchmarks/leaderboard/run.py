"""`shiftscope leaderboard`: what is missing is made, a record at a time."""

from dataclasses import asdict
from pathlib import Path

from leaderboard.entries import Entry, entries_named
from leaderboard.make import Workshop, make_standing
from leaderboard.records import read_standing, read_standings, record_path, write_standing
from leaderboard.settings import LeaderboardSettings
from leaderboard.standing import Standing
from shiftscope.devices import resolve_device
from shiftscope.errors import Interrupted, UsageError
from shiftscope.files import plain
from shiftscope.progress import Progress
from shiftscope.runs import RunFolder
from shiftscope.runs.outputs import require_writable
from shiftscope.settings import DataSettings
from shiftscope.training.stopping import StopFlag
from shiftscope.workflows.begin_run import begin_run
from shiftscope.workflows.load_inputs import open_data


def run_leaderboard(data: DataSettings, settings: LeaderboardSettings, *, progress: Progress,
                    command: list[str] | None = None) -> list[Standing]:
    """Make every record that is asked for and not there, and return all that the folder of records holds.

    Args:
        data: which images, and how they lie.
        settings: which entries and seeds, and where they go.

    Raises:
        UsageError: unknown names; a work folder that holds other work; a record that was made in another way.
        CheckpointError: a record that is there is corrupt.
        OutputError: the folder of records cannot be written; said before anything is trained.
        Interrupted: stopped by a signal after saving; `resume` goes on.
    """
    asked = _asked(data, settings)
    missing = [pair for pair in _wanted(settings) if not _is_there(settings.results, *pair, asked)]
    if missing:
        require_writable(settings.results)
        _make(missing, data, settings, asked, progress, command or [])
    return read_standings(settings.results)


def missing_records(settings: LeaderboardSettings) -> list[Path]:
    """Return the files of the records that are asked for and not there."""
    paths = (record_path(settings.results, entry.name, seed) for entry, seed in _wanted(settings))
    return [path for path in paths if not path.is_file()]


def _asked(data: DataSettings, settings: LeaderboardSettings) -> dict:
    kept = {name: value for name, value in asdict(data).items() if name != "data_dir"}
    return plain(kept | {"epochs": settings.epochs, "audit_images": settings.audit_images})


def _wanted(settings: LeaderboardSettings) -> list[tuple[Entry, int]]:
    """Return entry by entry, seed by seed: whoever stops early has the first entries with all their seeds."""
    seeds = range(settings.seed, settings.seed + settings.seeds)
    return [(entry, seed) for entry in entries_named(settings.entries) for seed in seeds]


def _is_there(folder: Path, entry: Entry, seed: int, asked: dict) -> bool:
    path = record_path(folder, entry.name, seed)
    if not path.exists():
        return False
    there = read_standing(path).asked
    changed = sorted(key for key in there.keys() | asked.keys() if there.get(key) != asked.get(key))
    if changed:
        what = ", ".join(f"{key} {there.get(key)!r}, now {asked.get(key)!r}" for key in changed)
        raise UsageError(f"the record {path} was made with {what}: give the same options, or another folder with "
                         "--results")
    return True


def _make(missing: list[tuple[Entry, int]], data: DataSettings, settings: LeaderboardSettings, asked: dict,
          progress: Progress, command: list[str]) -> None:
    device, run = resolve_device(settings.device), RunFolder(settings.out)
    run.check(resume=settings.resume, overwrite=settings.overwrite)
    images, placement = open_data(data, progress)
    shop = Workshop(data=images, placement=placement, asked=asked, run=run, device=device, epochs=settings.epochs,
                    audit_images=settings.audit_images, progress=progress)
    stop, begun = StopFlag(), {"data": asdict(data), "epochs": settings.epochs}
    with begin_run(run, images, begun, device=device, seed=settings.seed, command=command, resume=settings.resume,
                   overwrite=settings.overwrite, progress=progress), stop.listening():
        for number, (entry, seed) in enumerate(missing, 1):
            if stop:
                raise Interrupted(f"interrupted before {entry.name}, seed {seed}; go on with --resume", stop.exit_code)
            progress.note(f"leaderboard: {entry.name}, seed {seed} ({number} of {len(missing)})")
            write_standing(make_standing(entry, seed, shop, stop), settings.results)
