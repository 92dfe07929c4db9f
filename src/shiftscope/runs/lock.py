"""The lock on a folder: only one process at a time writes into it."""

import errno
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

LOCK = ".lock"

_WITHOUT_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP}


def lock_folder(folder: Path, note: Callable[[str], None]) -> FileLock | None:
    """Lock a folder until the lock is released or this process ends, however it ends.

    The system releases the lock of a process that was killed. Forked processes do not inherit it.

    Args:
        folder: the folder; the empty file `.lock` is created in it and stays there.
        note: called with a warning where the file system has no locks.

    Returns:
        The lock; None where the file system has no locks.

    Raises:
        filelock.Timeout: another process holds it.
        OSError: the folder cannot be written.
    """
    lock = FileLock(folder / LOCK, timeout=0, thread_local=False, fallback_to_soft=False)
    try:
        lock.acquire()
    except OSError as error:
        if error.errno not in _WITHOUT_LOCKS:
            raise
        note(f"the file system of {folder} has no locks ({error.strerror}): make sure that no other process writes "
             "into this folder")
        return None
    return lock
