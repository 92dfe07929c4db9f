"""Records of the leaderboard as files: one an entry and seed. No torch here."""

from collections.abc import Sequence
from pathlib import Path

from leaderboard.standing import Standing
from shiftscope import files
from shiftscope.errors import CheckpointError, UsageError, quoted
from shiftscope.reading import read_json

TOGETHER = ("asked", "dataset", "split", "images", "labels", "placements", "mode", "placement")
"""What the records of one table have in common."""

MOST_BYTES = 2**18
"""Size limit of a record, which has 30 kB."""


def record_path(folder: Path, entry: str, seed: int) -> Path:
    """Return where the record of an entry and seed lies."""
    return folder / f"{entry}-seed{seed}.json"


def write_standing(standing: Standing, folder: Path) -> Path:
    """Write a record into the folder, whole or not at all; return its path."""
    path = record_path(folder, standing.entry, standing.seed)
    files.write_json(path, standing.to_dict())
    return path


def read_standing(path: Path) -> Standing:
    """Read a record and check that its figures follow from its counts.

    Raises:
        CheckpointError: unreadable, corrupt, from another version, or another entry's.
    """
    try:
        standing = Standing.from_dict(read_json(path, limit=MOST_BYTES))
        standing.check()
        if path.name != record_path(path.parent, standing.entry, standing.seed).name:
            raise CheckpointError(f"it says that it is of {standing.entry} and seed {standing.seed}")
    except (OSError, CheckpointError) as error:
        why = files.reason(error) if isinstance(error, OSError) else error
        raise CheckpointError(f"{path} is no record of the leaderboard: {why}; remove it to have it made "
                              "anew") from error
    return standing


def read_standings(folder: Path) -> list[Standing]:
    """Return all records of a folder, by entry and seed; none where there is no such folder.

    Raises:
        CheckpointError: one of them is unreadable or corrupt.
        UsageError: two of them were not made alike, and do not belong in one table.
    """
    found = [read_standing(path) for path in sorted(folder.glob("*.json"))]
    for standing in found[1:]:
        for name in TOGETHER:
            one, other = getattr(found[0], name), getattr(standing, name)
            if one != other:
                raise UsageError(f"the records {found[0].key} and {standing.key} in {folder} differ in {name} "
                                 f"({quoted(one)} and {quoted(other)}) and do not belong in one table: give one of "
                                 "them a folder of its own with --results")
    return sorted(found, key=lambda standing: (standing.entry, standing.seed))


def by_entry(standings: Sequence[Standing]) -> dict[str, list[Standing]]:
    """Return the records of each entry, in the order of their seeds."""
    groups: dict[str, list[Standing]] = {}
    for standing in sorted(standings, key=lambda one: one.seed):
        groups.setdefault(standing.entry, []).append(standing)
    return groups
