"""`metrics.jsonl`: one flushed line an epoch, readable while a run goes on."""

import json
import os
from pathlib import Path
from typing import Any

from shiftscope import files
from shiftscope.errors import OutputError


class MetricsLog:
    """Appends records of jobs; every record holds "job" and "epoch"."""

    def __init__(self, path: Path):
        self.path = path

    def read(self) -> list[dict[str, Any]]:
        """Return all whole records; a torn last line (the writer was killed) is left out."""
        if not self.path.is_file():
            return []
        records = []
        for line in self.path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                record = json.loads(line)
            except ValueError:
                continue
            if isinstance(record, dict):
                records.append(record)
        return records

    def append(self, record: dict[str, Any]) -> None:
        """Write one line and flush it to the disk."""
        line = json.dumps(files.plain(record), ensure_ascii=False, allow_nan=False) + "\n"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as stream:
                stream.write(line)
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as error:
            raise OutputError(f"cannot write {self.path}: {error.strerror}; free some space or choose another "
                              "folder") from error

    def truncate(self, job: str, epoch: int) -> None:
        """Drop what a resumed job will write again: its records after `epoch`, and a torn line."""
        if not self.path.is_file():
            return
        kept = [record for record in self.read() if record.get("job") != job or record.get("epoch", 0) <= epoch]
        lines = [json.dumps(record, ensure_ascii=False) + "\n" for record in kept]
        files.write_text(self.path, "".join(lines))
