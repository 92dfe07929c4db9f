"""Names of the files that a run writes. Release 0.1 stored no manifest, so its files are known by name only."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shiftscope import files
from shiftscope.runs.jobs import slug
from shiftscope.runs.log import parse_log

_ROOT = r"env\.json|metrics\.jsonl?|report\.html"
_CHECKPOINT = r"model\.safetensors|config\.json|training-state\.pt"
_RECORD = r"(?:result\.json|arrays\.npz)"
_RESULT = (rf"parameters\.json|(?:training|test|train|audit)/{_RECORD}|training/hardware\.json"
           rf"|[A-Za-z0-9_.]+-(?:all|0-99)/(?:(?:quality|neighbou?rs)/)?{_RECORD}")
_COMMON_FIGURES = "samples|two-by-two|curves|accuracy-map|placements-right"
_MODEL_FIGURES = ("confusion|classified|classes|neighbou?rs|neurons|class-neurons|weights|class-maps|changes"
                  "|remainders")

_LARGEST_LOG = 64 * 2**20


def run_files(folder: Path, environment: Mapping[str, Any]) -> set[str]:
    """Return the paths in `folder`, relative to it, that a run with the models in its `env.json` can have written."""
    known = _pattern(folder, environment)
    found = set()
    for top in ("figures", "checkpoints", "results"):
        for where, _, names in os.walk(folder / top):  # follows no symbolic links
            found |= {(Path(where) / name).relative_to(folder).as_posix() for name in names}
    found |= {entry.name for entry in folder.iterdir()}
    return {name for name in found if known.fullmatch(name)}


def _pattern(folder: Path, environment: Mapping[str, Any]) -> re.Pattern[str]:
    settings = environment.get("settings")
    settings = settings if isinstance(settings, dict) else {}
    repair = settings.get("repair", settings.get("mend"))
    if isinstance(repair, dict):
        models = _repaired(folder, str(repair.get("method", repair.get("how"))))
        jobs, extra = _any_of(models), r"|results/comparison\.json"
    else:
        models = _trained(folder, settings)
        jobs, extra = rf"{_any_of(models)}(?:-cent(?:er|re)d)?-seed\d+", ""
    figures = rf"(?:{_COMMON_FIGURES}|(?:{_MODEL_FIGURES})-{_any_of(models)}(?:-cent(?:er|re)d)?(?:-again-\d+)?)"
    return re.compile(rf"{_ROOT}{extra}|figures/{figures}\.(?:png|svg)|checkpoints/{jobs}/(?:{_CHECKPOINT})"
                      rf"|results/{jobs}/(?:{_RESULT})")


def _any_of(names: set[str]) -> str:
    return f"(?:{'|'.join(map(re.escape, sorted(names)))})" if names else "(?!)"


def _trained(folder: Path, settings: Mapping[str, Any]) -> set[str]:
    """Return the models of a run, from its settings, its log, and for a leaderboard from its checkpoints."""
    run = settings.get("run")
    models = run.get("models") if isinstance(run, dict) else [settings.get("model")]
    names = {name for name in models if isinstance(name, str)} if isinstance(models, list) else set()
    log = folder / "metrics.jsonl"
    readable = files.is_plain(log, most_bytes=_LARGEST_LOG)
    text = log.read_text(encoding="utf-8", errors="replace") if readable else ""
    names |= {name for record in parse_log(text)[0] if isinstance(name := record.get("model"), str)}
    if not isinstance(run, dict) and "model" not in settings:
        names |= {match[1] for job in _folders(folder / "checkpoints") if (match := re.fullmatch(r"(.+)-seed\d+", job))}
    names |= {"recentred"} if "recentered" in names else set()  # its name in release 0.1
    return {slug(name) for name in names}


def _repaired(folder: Path, method: str) -> set[str]:
    """Return the names of a repaired model and of the original model."""
    found = [re.fullmatch(rf"(.+)-{re.escape(method)}(?:-finetuned)?", job) for job in _folders(folder / "checkpoints")]
    return {name for match in found if match for name in (match[0], match[1])}


def _folders(folder: Path) -> list[str]:
    try:
        return [entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.is_symlink()]
    except OSError:
        return []
