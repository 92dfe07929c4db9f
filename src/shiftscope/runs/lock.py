"""A lock on a folder, which lets only one process write into it."""

import errno
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

LOCK = ".lock"

_WITHOUT_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP}


def lock_folder(folder: Path, note: Callable[[str], None]) -> FileLock | None:
    """Lock a folder until the lock is released or this process ends.

    The system releases the lock of a process that was killed. Forked processes do not inherit it.

    Args:
        folder: the folder; the empty file `.lock` is created in it and stays there.
        note: called with a warning if the file system does not support locks.

    Returns:
        The lock; None if the file system does not support locks.

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
        note(f"the file system of {folder} does not support locks ({error.strerror}); make sure that no other process "
             "writes into this folder")
        return None
    return lock
