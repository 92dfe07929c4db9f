"""`metrics.jsonl`: one flushed line an epoch, readable while a run goes on."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shiftscope import files
from shiftscope.errors import CheckpointError
from shiftscope.files import UnfitFileError
from shiftscope.migration import renamed
from shiftscope.reading import decode

MOST_BYTES = 64 * 2**20
"""Size limit of a log: ten thousand epochs have two megabytes."""


def parse_log(text: str) -> tuple[list[dict[str, Any]], int]:
    """Return the records in the text of a log, and how many lines could not be read.

    A torn last line (the writer was killed, or is just writing) is left out and not counted.

    >>> parse_log('{"job": "a", "epoch": 1}\\nnonsense\\n{"job": "a", "ep')
    ([{'job': 'a', 'epoch': 1}], 1)
    """
    *whole, torn = text.split("\n")  # names may hold what str.splitlines takes for the end of a line
    found = [_record(line) for line in whole if line.strip()]
    records = [record for record in (*found, _record(torn)) if record is not None]
    return records, found.count(None)


def _record(line: str) -> dict[str, Any] | None:
    try:
        record = decode(line)
    except UnfitFileError:
        return None
    return renamed(record) if isinstance(record, dict) else None


def _is_by(value: Any, epoch: int) -> bool:
    return isinstance(value, int) and value <= epoch


class MetricsLog:
    """Appends records of jobs; every record holds "job" and "epoch"."""

    def __init__(self, path: Path):
        self.path = path

    def read(self) -> list[dict[str, Any]]:
        """Return all whole records; a torn last line (the writer was killed) is left out.

        Raises:
            CheckpointError: the file is no regular file, or larger than any log.
        """
        if not self.path.exists():
            return []
        try:
            return parse_log(files.read_regular(self.path, MOST_BYTES).decode(errors="replace"))[0]
        except OSError as error:
            raise CheckpointError(f"{self.path} cannot be read ({files.reason(error)}); move it away") from error

    def append(self, record: dict[str, Any]) -> None:
        """Write one line and flush it to the disk."""
        files.append_text(self.path, json.dumps(files.plain(record), ensure_ascii=False, allow_nan=False) + "\n")

    def truncate(self, job: str, epoch: int) -> None:
        """Drop what a resumed job will write again: its records after `epoch`, and a torn line."""
        kept = [record for record in self.read() if record.get("job") != job or _is_by(record.get("epoch"), epoch)]
        if not self.path.exists():
            return
        lines = [json.dumps(record, ensure_ascii=False) + "\n" for record in kept]
        files.write_text(self.path, "".join(lines))


TIMES = ("epoch_seconds", "images_per_second")
"""Keys of a line that differ when a training is repeated; all others are the same to the last digit."""


class EpochLog:
    """Appends the epochs of one training, each with how long it took; its clock starts when it is made.

    A line holds what `job` says, the record of the epoch, and
    "epochs" (how many the training has in all),
    "epoch_seconds" (wall time since the line before, validation and saving counted in; in the epoch with which a
    resumed training goes on, the time since then), and
    "images_per_second" (training images in that time: somewhat less than in `metrics.json`, where only steps count).

    Args:
        log: the log of the run.
        job: what every line says of the job: "job", "model", "seed".
        epochs: epochs of the training.
        images: images that an epoch is trained on.
        done: how many of them had their turn before, in the epoch with which a resumed training goes on.
    """

    def __init__(self, log: MetricsLog, job: Mapping[str, Any], *, epochs: int, images: int, done: int = 0):
        self.log, self.job, self.epochs, self.images = log, dict(job), epochs, images
        self.begun, self.left = time.perf_counter(), max(images - done, 0)

    def add(self, record: Mapping[str, Any]) -> None:
        """Append the record of the epoch that has just ended."""
        now = time.perf_counter()
        seconds = max(now - self.begun, 1e-6)
        self.log.append(self.job | dict(record) | {"epochs": self.epochs, "epoch_seconds": round(seconds, 3),
                                                   "images_per_second": round(self.left / seconds, 1)})
        self.begun, self.left = now, self.images
