"""`shiftscope doctor`: versions, devices and folders on this machine, and how to fix problems."""

import contextlib
import os
import platform
import re
import shutil
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from shiftscope.results import SCHEMA_VERSION

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "firefox", "microsoft-edge")
MIN_MEMORY = 1.5 * 2**30
"""Bytes for a run on 60,000 images."""
MIN_DISK = 500 * 2**20
"""Bytes for the downloaded dataset, its unpacked copy and a few runs."""


def examine(data_dir: Path | None = None) -> dict[str, Any]:
    """Return the findings as plain JSON; missing parts do not raise errors.

    Args:
        data_dir: a further folder of datasets.

    Returns:
        schema_version, versions, system, torch_threads, devices, folders, browser and problems (each {"problem",
        "remedy"}).
    """
    torch, import_error = _import_torch()
    findings: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "versions": versions(),
        "system": system(),
        "torch_threads": None if torch is None else torch.get_num_threads(),
        "devices": [] if torch is None else devices(torch),
        "folders": folders(data_dir),
        "browser": next(filter(None, map(shutil.which, BROWSERS)), None),
    }
    return findings | {"problems": problems(findings, import_error)}


def _import_torch() -> tuple[Any, str | None]:
    try:
        import torch
    except Exception as error:  # a broken installation raises anything: OSError for a library, RuntimeError, ...
        return None, f"{type(error).__name__}: {error}"
    return torch, None


def versions() -> dict[str, str | None]:
    """Return the versions of Shiftscope, Python and all dependencies; None if one is not installed."""
    found: dict[str, str | None] = {"shiftscope": package_version("shiftscope"),
                                    "python": platform.python_version()}
    with contextlib.suppress(metadata.PackageNotFoundError):
        for requirement in metadata.requires("shiftscope") or ():
            name = re.split(r"[^\w.-]", requirement, maxsplit=1)[0]
            if "extra ==" not in requirement:
                found[name] = package_version(name)
    return found


def package_version(package: str) -> str | None:
    """Return the version of a package; None if it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def system() -> dict[str, Any]:
    """Return platform, processor, usable cores, memory in bytes and load; None for unknown values."""
    total, free = _memory()
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1  # of this process
    return {"platform": platform.platform(), "processor": _processor(), "cores": cores, "memory": total,
            "memory_free": free, "load": list(os.getloadavg()) if hasattr(os, "getloadavg") else None}


def _processor() -> str:
    with contextlib.suppress(OSError):
        match = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
        if match:
            return match[1]
    return platform.processor() or platform.machine() or "unknown"


def _memory() -> tuple[int | None, int | None]:
    """Return total and available memory in bytes."""
    with contextlib.suppress(OSError, KeyError, ValueError):
        lines = (line.split() for line in Path("/proc/meminfo").read_text(encoding="utf-8").splitlines())
        sizes = {words[0]: int(words[1]) * 1024 for words in lines}
        return sizes["MemTotal:"], sizes["MemAvailable:"]
    with contextlib.suppress(AttributeError, OSError, ValueError):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), None
    return None, None


def devices(torch: Any) -> list[dict[str, str]]:
    """Return the devices that torch can use."""
    found = [{"name": "cpu", "description": "always available"}]
    for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        found.append({"name": f"cuda:{index}", "description": torch.cuda.get_device_name(index)})
    if torch.backends.mps.is_available():
        found.append({"name": "mps", "description": "Apple graphics processor"})
    return found


def folders(data_dir: Path | None) -> list[dict[str, Any]]:
    """Return the folders that are searched for datasets, and their entries."""
    import platformdirs

    places = (("SHIFTSCOPE_DATA_DIR", os.environ.get("SHIFTSCOPE_DATA_DIR")), ("--data-dir", data_dir),
              ("cache", platformdirs.user_cache_dir("shiftscope", appauthor=False)))
    roles: dict[Path, str] = {}
    for role, path in places:
        if path:
            roles.setdefault(Path(path), role)  # the variable also sets --data-dir
    return [_folder(role, path) for path, role in roles.items()]


def _folder(role: str, path: Path) -> dict[str, Any]:
    there = path.is_dir()
    existing = next(parent for parent in (path, *path.absolute().parents) if parent.exists())
    holds: list[str] = []
    with contextlib.suppress(OSError):
        holds = sorted(entry.name for entry in path.iterdir() if not entry.name.startswith("."))
    return {"role": role, "path": str(path), "exists": there,
            "writable": existing.is_dir() and os.access(existing, os.W_OK | os.X_OK),
            "free": shutil.disk_usage(existing).free, "holds": holds}


def problems(findings: dict[str, Any], import_error: str | None) -> list[dict[str, str]]:
    """Return problems with their remedies."""
    found: list[tuple[str, str]] = []
    if import_error:
        found.append((f"PyTorch does not import ({import_error})", "install it again: see PyTorch in the README"))
    for name, version in findings["versions"].items():
        if version is None and not (name == "torch" and import_error):
            found.append((f"{name} is not installed", f"pip install {name}"))
    found += _machine_problems(findings, torch_imports=import_error is None)
    for folder in findings["folders"]:
        found += _folder_problems(folder)
    if findings["browser"] is None and sys.platform == "linux":
        found.append(("no browser is on the PATH", "copy report.html to a machine that has one: it is a single file"))
    return [{"problem": problem, "remedy": remedy} for problem, remedy in found]


def _machine_problems(findings: dict[str, Any], *, torch_imports: bool) -> list[tuple[str, str]]:
    found = []
    here = findings["system"]
    if shutil.which("nvidia-smi") and torch_imports and not any(d["name"] != "cpu" for d in findings["devices"]):
        found.append(("there is an NVIDIA driver, but this PyTorch cannot use it", "install a CUDA build of PyTorch"))
    if here["memory_free"] is not None and here["memory_free"] < MIN_MEMORY:
        found.append((f"only {here['memory_free'] / 2**30:.1f} GB of memory are free", "close other programs, or "
                      "use fewer images with --limit"))
    if here["load"] and here["load"][0] > 1.5 * here["cores"]:
        found.append((f"other programs keep the {here['cores']} cores busy (load {here['load'][0]:.1f})",
                      "training will be slower than documented: wait, or close them"))
    return found


def _folder_problems(folder: dict[str, Any]) -> list[tuple[str, str]]:
    where = f"{folder['role']} folder {folder['path']}"
    found = []
    if not folder["exists"] and folder["role"] != "cache":  # the cache folder is created when it is needed
        found.append((f"the {where} does not exist", "name a folder that holds datasets, or leave it out"))
    if not folder["writable"] and not folder["holds"]:
        found.append((f"the {where} is not writable and has no dataset", "choose another with --data-dir"))
    if folder["writable"] and folder["free"] < MIN_DISK:
        found.append((f"only {folder['free'] / 2**20:.0f} MB are free in the {where}", "free some space"))
    return found
