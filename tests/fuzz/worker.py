"""Damages files and reads them, one input after the other, and prints a JSON line about each.

Usage: worker.py FOLDER SEED FIRST COUNT

Input number i of a seed is the same on every machine and in every process. The process limits its own address space
and time; test_fuzz.py starts it, and starts another one after an input that ended it.
"""

import hashlib
import json
import os
import random
import resource
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SECONDS, WAIT = 20, 120
"""Of computing, and of waiting for whatever the files name: other programs may slow this one down."""

MEMORY = 1536 * 2**20
"""Bytes that one input may take at most, beside what the process takes anyway."""

CODE = {"os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty", "subprocess.Popen",
        "socket.connect", "webbrowser.open", "pty.spawn", "ctypes.dlopen"}
"""Events of the interpreter that no damaged file may cause."""


class TooLong(BaseException):
    """The time of one input is up."""


class Guard:
    """Watches what the interpreter does while it is armed."""

    def __init__(self, folder: Path):
        self.folder, self.armed, self.seen = str(folder), False, []
        sys.addaudithook(self.hook)

    def hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.armed:
            return
        found = event == "pickle.find_class" and arguments[0].split(".")[0] in ("os", "posix", "builtins")
        if found or event in CODE:
            self.seen.append(f"{event} {arguments!r}"[:200])
        if event == "exec" and self.folder in getattr(arguments[0], "co_filename", ""):
            self.seen.append(f"exec {arguments[0].co_filename}")


def main() -> None:
    folder, seed, first, count = Path(sys.argv[1]), *map(int, sys.argv[2:5])
    chosen = sys.argv[5].split(",") if len(sys.argv) > 5 else []
    os.environ["XDG_CACHE_HOME"] = str(folder / "user cache")
    import matplotlib.pyplot as plt
    from mutations import mutate
    from readers import READERS

    readers = [reader for reader in READERS if not chosen or reader.name in chosen]
    torn = prepare(folder, readers)
    sys.path.insert(0, str(folder / "in"))  # where code lies that files name
    guard = Guard(folder / "in")
    limit_memory()
    for number in range(first, first + count):
        rng = random.Random(f"{seed} {number}")
        reader = rng.choices(torn, [one.share for one in torn])[0]
        made = damaged(rng, folder, reader.name, mutate)
        print(json.dumps({"input": number, "reader": reader.name, "changed": made, "begun": True}), flush=True)
        found = tried(reader.read, folder, guard)
        plt.close("all")
        print(json.dumps({"input": number, "reader": reader.name, "changed": made} | found), flush=True)


def prepare(folder: Path, readers: list[Any]) -> list[Any]:
    """Make the whole files, unless another process did, and read them once: that imports all that reading needs."""
    usable = []
    for reader in readers:
        whole = folder / "whole" / reader.name
        if not whole.is_dir():
            making = folder / "making"
            shutil.rmtree(making, ignore_errors=True)
            making.mkdir(parents=True)
            try:
                reader.make(making)
            except ImportError:  # an extra that is not installed
                continue
            whole.parent.mkdir(exist_ok=True)
            making.rename(whole)
        begin(folder, whole)
        outcome = attempt(reader.read, folder)
        if outcome["outcome"] == "unforeseen":
            raise SystemExit(f"{reader.name} cannot read whole files: {outcome['message']}\n{outcome['place']}")
        usable.append(reader)
    return usable


def begin(folder: Path, whole: Path) -> None:
    for name in ("in", "out"):
        shutil.rmtree(folder / name, ignore_errors=True)
    shutil.copytree(whole, folder / "in")
    (folder / "out").mkdir()
    planted = "open('sentinel', 'w').close()\ndef run(*a, **k): raise SystemExit\n"
    (folder / "in" / "planted_code.py").write_text(planted)


def damaged(rng: random.Random, folder: Path, name: str, mutate: Any) -> list[str]:
    """Copy the whole files of a reader and damage one to three of them; return their names."""
    begin(folder, folder / "whole" / name)
    paths = [path for path in sorted((folder / "in").rglob("*")) if path.is_file() and path.name != "planted_code.py"]
    changed = []
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        path = rng.choice(paths)
        changed.append(str(path.relative_to(folder / "in")))
        if rng.random() < 0.03:
            replace_by_special(rng, path)
        elif path.is_file() and not path.is_symlink() and path.stat().st_size < 2**26:
            path.write_bytes(mutate(rng, path.suffix, path.read_bytes()))
    return changed


def replace_by_special(rng: random.Random, path: Path) -> None:
    """Put something in the place of a file that is none, or a very large one."""
    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)
    kind = rng.randrange(5)
    if kind == 0:
        os.mkfifo(path)
    elif kind == 1:
        path.symlink_to(rng.choice(("/dev/zero", "/dev/null", "/dev/tty", path.name, "/nowhere")))
    elif kind == 2:
        path.mkdir()
    elif kind == 3:
        with path.open("wb") as stream:
            stream.truncate(2**36)


def tried(read: Any, folder: Path, guard: Guard) -> dict[str, Any]:
    """Read the files; return what came of it, what it cost, and what it should not have done."""
    before, base = state_of(folder / "in"), reset_peak()
    begun = time.process_time()
    guard.seen.clear()
    guard.armed = True
    try:
        found = attempt(read, folder)
    finally:
        guard.armed = False
    harm = [*guard.seen]
    if state_of(folder / "in") != before:
        harm.append("changed the input")
    if any(path.name == "sentinel" for path in folder.rglob("sentinel")) or Path("sentinel").exists():
        harm.append("ran code")
    return found | {"seconds": round(time.process_time() - begun, 3), "bytes": max(peak() - base, 0), "harm": harm}


def attempt(read: Any, folder: Path) -> dict[str, Any]:
    from shiftscope.errors import ShiftscopeError

    try:
        with alarm():
            read(folder / "in", folder / "out")
    except ShiftscopeError as error:
        length, text = len(str(error)), str(error)[:300]
        fine = 0 < length < 400
        return {"outcome": "refused" if fine else "unforeseen", "error": type(error).__name__,
                "message": text if fine else f"a message of {length} characters: {text}", "place": place_of(error)}
    except BaseException as error:
        return {"outcome": "unforeseen", "error": type(error).__name__, "message": str(error)[:300],
                "place": place_of(error)}
    return {"outcome": "read", "error": "", "message": "", "place": ""}


def place_of(error: BaseException) -> str:
    """Return the innermost lines of the package in the traceback."""
    frames = [f"{frame.filename.split('shiftscope/')[-1]}:{frame.lineno} {frame.name}"
              for frame in traceback.extract_tb(error.__traceback__) if "/shiftscope/" in frame.filename]
    return " < ".join(reversed(frames[-3:]))


@contextmanager
def alarm() -> Iterator[None]:
    def ring(*_: object) -> None:
        raise TooLong(f"more than {SECONDS} s of computing or {WAIT} s in all")

    timers = ((signal.SIGALRM, signal.ITIMER_REAL, WAIT), (signal.SIGPROF, signal.ITIMER_PROF, SECONDS))
    before = [signal.signal(name, ring) for name, _, _ in timers]
    for _, timer, seconds in timers:
        signal.setitimer(timer, seconds)
    try:
        yield
    finally:
        for (name, timer, _), handler in zip(timers, before, strict=True):
            signal.setitimer(timer, 0)
            signal.signal(name, handler)


def state_of(folder: Path) -> str:
    """Return a digest of all that lies in a folder: names, kinds, contents."""
    found = hashlib.sha1()
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        found.update(f"{path} {status.st_mode} {status.st_size} {status.st_mtime_ns}".encode(errors="surrogateescape"))
        if path.is_file() and not path.is_symlink() and status.st_size < 2**26:
            found.update(path.read_bytes())
    return found.hexdigest()


def limit_memory() -> None:
    """Let the process take no more address space than it has, and twice what an input may take in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * os.sysconf("SC_PAGE_SIZE") + 2 * MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def reset_peak() -> int:
    """Let the system count the peak anew; return what the process takes now, bytes."""
    Path("/proc/self/clear_refs").write_text("5")
    return peak()


def peak() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


if __name__ == "__main__":
    main()
