"""Follows a run folder: one look serves all pages, and files are read again only when they changed."""

import hashlib
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from shiftscope.server.run_files import RunFiles
from shiftscope.server.run_state import run_state


@dataclass(frozen=True)
class Snapshot:
    """What the page shows at one moment; equal moments have equal names."""

    id: str
    text: str
    """JSON of `run_state`."""

    def event(self) -> str:
        """Return the snapshot as a server-sent event, with its name for a page that comes back.

        References:
            WHATWG, HTML, section "Server-sent events".
        """
        return f"id: {self.id}\nevent: state\ndata: {self.text}\n\n"


class Watcher:
    """Looks at a run folder whenever it is asked to.

    Each snapshot holds the whole history, so that whoever opens the page late, or comes back, misses nothing; and a
    log that gets shorter, as when a run is resumed or replaced, needs no care.

    Args:
        files: the run folder.
        clock: seconds since 1970.
    """

    def __init__(self, files: RunFiles, *, clock: Callable[[], float] = time.time):
        self.files, self.clock = files, clock
        self._lock = threading.Lock()
        self._traces: object = None
        self._silent_at: float | None = None
        self._last: Snapshot | None = None

    def look(self) -> Snapshot:
        """Return the present snapshot."""
        with self._lock:
            traces, now = self.files.traces(), self.clock()
            if self._last is None or traces != self._traces or (self._silent_at is not None and now >= self._silent_at):
                self._last = self._read(now)
                self._traces = traces
            return self._last

    def _read(self, now: float) -> Snapshot:
        state = run_state(self.files, now)
        self._silent_at = state["silent_at"] if state["phase"] != "silent" else None
        text = json.dumps(state, allow_nan=False)
        return Snapshot(hashlib.sha256(text.encode()).hexdigest()[:16], text)
