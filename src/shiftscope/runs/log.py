"""`metrics.jsonl`: one line per epoch, which can be read during a run."""

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
"""Size limit of a log. Ten thousand epochs take two megabytes."""


def parse_log(text: str) -> tuple[list[dict[str, Any]], int]:
    """Return the records of a log and the number of lines that cannot be read.

    An incomplete last line (from a process that was killed or is still writing) is ignored.

    >>> parse_log('{"job": "a", "epoch": 1}\\nnonsense\\n{"job": "a", "ep')
    ([{'job': 'a', 'epoch': 1}], 1)
    """
    *lines, last = text.split("\n")  # names may contain characters that str.splitlines treats as line ends
    found = [_record(line) for line in lines if line.strip()]
    records = [record for record in (*found, _record(last)) if record is not None]
    return records, found.count(None)


def _record(line: str) -> dict[str, Any] | None:
    try:
        record = decode(line)
    except UnfitFileError:
        return None
    return renamed(record) if isinstance(record, dict) else None


def _is_up_to(value: Any, epoch: int) -> bool:
    return isinstance(value, int) and value <= epoch


class MetricsLog:
    """Appends records of jobs. Each record has the keys "job" and "epoch"."""

    def __init__(self, path: Path):
        self.path = path

    def read(self) -> list[dict[str, Any]]:
        """Return all records; an incomplete last line is ignored.

        Raises:
            CheckpointError: not a regular file, or above the size limit.
        """
        if not self.path.exists():
            return []
        try:
            return parse_log(files.read_regular(self.path, MOST_BYTES).decode(errors="replace"))[0]
        except OSError as error:
            raise CheckpointError(f"{self.path} cannot be read ({files.reason(error)}); move it away") from error

    def append(self, record: dict[str, Any]) -> None:
        """Write one line and flush it to disk."""
        files.append_text(self.path, json.dumps(files.plain(record), ensure_ascii=False, allow_nan=False) + "\n")

    def truncate(self, job: str, epoch: int) -> None:
        """Remove the records of a job after `epoch`, and an incomplete line, before the job is resumed."""
        kept = [record for record in self.read() if record.get("job") != job or _is_up_to(record.get("epoch"), epoch)]
        if not self.path.exists():
            return
        lines = [json.dumps(record, ensure_ascii=False) + "\n" for record in kept]
        files.write_text(self.path, "".join(lines))


class EpochLog:
    """Appends one line per epoch of a training, with its duration.

    A line contains the values of `job`, the record of the epoch, and
    "epochs" (total number of epochs),
    "epoch_seconds" (wall time since the previous line, including validation and saving; after resuming, the time since
    then), and
    "images_per_second" (training images in that time; lower than in `metrics.json`, which counts training steps only).
    The clock starts when the object is created.

    Args:
        log: the log of the run.
        job: values written to every line: "job", "model", "seed".
        epochs: total number of epochs.
        images: training images per epoch.
        done: images of the current epoch that were processed before the training was resumed.
    """

    def __init__(self, log: MetricsLog, job: Mapping[str, Any], *, epochs: int, images: int, done: int = 0):
        self.log, self.job, self.epochs, self.images = log, dict(job), epochs, images
        self.begun, self.left = time.perf_counter(), max(images - done, 0)

    def add(self, record: Mapping[str, Any]) -> None:
        """Append the record of an epoch that has ended."""
        now = time.perf_counter()
        seconds = max(now - self.begun, 1e-6)
        self.log.append(self.job | dict(record) | {"epochs": self.epochs, "epoch_seconds": round(seconds, 3),
                                                   "images_per_second": round(self.left / seconds, 1)})
        self.begun, self.left = now, self.images
