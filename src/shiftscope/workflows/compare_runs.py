"""`shiftscope compare`: do the models of two runs differ by more than chance, and about which images?"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from shiftscope import files
from shiftscope.auditing import compare
from shiftscope.errors import CheckpointError, UsageError, unknown
from shiftscope.metrics import mcnemar, paired_interval, wilson_interval
from shiftscope.progress import Progress
from shiftscope.reporting import save_figure
from shiftscope.reporting.disagreements import disagreements_figure
from shiftscope.results import SCHEMA_VERSION, Audit, Evaluation
from shiftscope.runs import slug
from shiftscope.runs.outputs import figure_files, new_files
from shiftscope.runs.records import find_records
from shiftscope.workflows.disagreeing import between_audits, between_evaluations

SAME = ("dataset", "split", "images", "class_names", "placement")
"""What two evaluations must have in common."""


@dataclass
class Candidate:
    """One trained model of a run and what was measured of it."""

    model: str
    trained: str
    seed: int
    evaluations: dict[str, Evaluation] = field(default_factory=dict)
    """By split."""
    audit: Audit | None = None

    @property
    def name(self) -> str:
        """The model's name, with how it was trained where that was not the usual way."""
        return f"{self.model}-centered" if self.trained == "centered" else self.model

    @property
    def key(self) -> tuple[str, int]:
        return self.name, self.seed

    def described(self) -> dict[str, Any]:
        return {"model": self.model, "trained": self.trained, "seed": self.seed}


def compare_runs(first: Path, second: Path, *, models: Sequence[str] = (), out: Path | None = None,
                 overwrite: bool = False, progress: Progress) -> dict[str, Any]:
    """Compare models of two runs, or of one, image by image.

    Args:
        first, second: folders that `shiftscope run`, `evaluate --out`, `audit --out` or `repair --out` left.
        models: which model of the first, and which of the second; unless given, models of the same name, way of
            training and seed, or the only one of each.
        out: folder for the comparison and a figure of each pair's disagreements.
        overwrite: replace files that are there.

    Returns:
        Plain JSON: {"schema_version", "runs", "pairs", "notes"}. A pair holds "a" and "b" (model, trained, seed);
        from evaluations "random" and "centered" (McNemar's exact test, see `shares`); from audits "audit" (see
        `auditing.compare`). What cannot be compared is None, and a note says why.

    Raises:
        CheckpointError: a folder is missing, damaged, or holds neither evaluations nor audits.
        UsageError: no models to pair; other images or placements; a file in `out` exists.
        OutputError: `out` cannot be written.
    """
    pairs = paired(first, second, models)
    notes: list[str] = []
    with new_files(out, ["comparison.json", *figure_files(*(_figure(*pair) for pair in pairs))], overwrite=overwrite):
        found = [_compared(*pair, notes) for pair in pairs]
        document = {"schema_version": SCHEMA_VERSION, "runs": [str(first), str(second)], "pairs": found, "notes": notes}
        if out is not None:
            progress.note("drawing disagreements")
            for pair in pairs:
                _draw(*pair, out, notes)
            files.write_json(out / "comparison.json", document)
    return document


def candidates(run: Path) -> dict[tuple[str, int], Candidate]:
    """Return the models of a run that were evaluated or audited, by name and seed.

    Raises:
        CheckpointError: there are none.
    """
    found: dict[tuple[str, int], Candidate] = {}
    for stored in find_records(run):
        record = stored.record
        if isinstance(record, Evaluation | Audit):
            fresh = Candidate(record.model, record.trained, stored.seed)
            one = found.setdefault(fresh.key, fresh)
            if isinstance(record, Audit):
                one.audit = one.audit or record
            else:
                one.evaluations.setdefault(record.split, record)
    if not found:
        raise CheckpointError(f"{run} holds neither evaluations nor audits: give a folder that shiftscope run, "
                              "evaluate or audit wrote with --out")
    return found


def paired(first: Path, second: Path, models: Sequence[str]) -> list[tuple[Candidate, Candidate]]:
    """Return which models are compared, see `compare_runs`.

    Raises:
        UsageError: none fit together, or the same one would be compared with itself.
    """
    ours, theirs = candidates(first), candidates(second)
    alone = first.resolve() == second.resolve()
    if models:
        return _chosen(ours, theirs, models, alone=alone)
    if alone:
        raise UsageError(f"{first} was given twice: choose two of its models with --models, from "
                         f"{_names(ours.values())}")
    common = [(ours[key], theirs[key]) for key in ours if key in theirs]
    if common:
        return common
    if len(ours) == len(theirs) == 1:
        return [(next(iter(ours.values())), next(iter(theirs.values())))]
    raise UsageError(f"{first} holds {_names(ours.values())}, {second} holds {_names(theirs.values())}, none in both "
                     "with one seed: choose one of each with --models")


def _names(found: Iterable[Candidate]) -> str:
    return ", ".join(dict.fromkeys(one.name for one in found))


def _chosen(ours: dict[tuple[str, int], Candidate], theirs: dict[tuple[str, int], Candidate],
            models: Sequence[str], *, alone: bool) -> list[tuple[Candidate, Candidate]]:
    if len(models) != 2:
        raise UsageError(f"models must be two names, one of each run, got {len(models)}: {', '.join(models)}")
    if alone and models[0] == models[1]:
        raise UsageError(f"{models[0]} would be compared with itself: choose two models, or two runs")
    sides = []
    for known, name in ((ours, models[0]), (theirs, models[1])):
        sides.append({one.seed: one for one in known.values() if one.name == name})
        if not sides[-1]:
            raise unknown("model", name, {one.name for one in known.values()})
    a, b = sides
    found = [(a[seed], b[seed]) for seed in a if seed in b]
    if not found and len(a) == len(b) == 1:
        found = [(next(iter(a.values())), next(iter(b.values())))]
    if not found:
        raise UsageError(f"{models[0]} was trained with the seeds {sorted(a)}, {models[1]} with {sorted(b)}: no seed "
                         "in common")
    return found


def _compared(a: Candidate, b: Candidate, notes: list[str]) -> dict[str, Any]:
    """Compare what two models have in common; where nothing can be compared, say why."""
    found: dict[str, Any] = {"a": a.described(), "b": b.described(), "images": None, "random": None, "centered": None,
                             "audit": None}
    refused: list[UsageError] = []
    try:
        found |= _of_evaluations(a, b)
    except UsageError as error:
        refused.append(error)
    try:
        if a.audit is not None and b.audit is not None:
            found["audit"] = _of_audits(a.audit, b.audit)
    except UsageError as error:
        refused.append(error)
    if found["random"] is None and found["audit"] is None:
        raise refused[0] if refused else UsageError(
            f"{a.name} was {_measured(a)}, {b.name} was {_measured(b)}: evaluate or audit both on the same images")
    notes += [str(error) for error in refused]
    return found


def _measured(one: Candidate) -> str:
    parts = [f"evaluated on {split} images" for split in one.evaluations] + ["audited"] * (one.audit is not None)
    return " and ".join(parts)


def evaluations_of(a: Candidate, b: Candidate) -> tuple[Evaluation, Evaluation] | None:
    """Return the evaluations of two models on the same split, the test images where there are any.

    Raises:
        UsageError: they are of other images or other places.
    """
    split = next((split for split in ("test", *a.evaluations) if split in a.evaluations and split in b.evaluations),
                 None)
    if split is None:
        return None
    one, other = a.evaluations[split], b.evaluations[split]
    for what in SAME:
        if getattr(one, what) != getattr(other, what):
            raise UsageError(f"the evaluations of {a.name} and {b.name} differ in {what}: {getattr(one, what)!r} and "
                             f"{getattr(other, what)!r}; evaluate both on the same images")
    if not np.array_equal(one.labels, other.labels):
        raise UsageError(f"the evaluations of {a.name} and {b.name} are of other images: their labels differ")
    if not np.array_equal(one.offsets, other.offsets):
        raise UsageError(f"the evaluations of {a.name} and {b.name} have the images at other random places (seeds "
                         f"{one.seed} and {other.seed}): evaluate both with one --seed")
    return one, other


def _of_evaluations(a: Candidate, b: Candidate) -> dict[str, Any]:
    both = evaluations_of(a, b)
    if both is None:
        return {}
    random, centered = ([getattr(part, name) == part.labels for part in both]
                       for name in ("predictions", "predictions_centered"))
    return {"images": both[0].images, "random": shares(*random), "centered": shares(*centered)}


def _of_audits(a: Audit, b: Audit) -> dict[str, Any]:
    """Return what `auditing.compare` says, with the intervals of all differences."""
    found = compare(a, b)
    for key in ("middle", "worst_case"):
        part = found[key]
        found[key] = part | {"difference": part["a"] - part["b"],
                             "interval": paired_interval(part["only_a"], part["only_b"], a.images)}
    return found


def shares(right_a: np.ndarray, right_b: np.ndarray) -> dict[str, Any]:
    """Compare two shares of the same images with McNemar's exact test.

    Args:
        right_a: bool (N,), whether the first model is right about each image.
        right_b: the same of the second.

    Returns:
        "a" and "b" (the shares), "intervals" (Wilson's, of each), "difference" (a - b) and its "interval", "only_a"
        and "only_b" (images that one model alone gets right), "p_value".

    Example:
        >>> found = shares(np.array([True] * 9 + [False]), np.array([False] * 9 + [True]))
        >>> found["only_a"], found["only_b"], round(found["p_value"], 4), round(found["difference"], 2)
        (9, 1, 0.0215, 0.8)
    """
    only_a, only_b, p_value = mcnemar(right_a.tolist(), right_b.tolist())
    count = len(right_a)
    return {"a": float(right_a.mean()), "b": float(right_b.mean()),
            "intervals": [wilson_interval(int(right.sum()), count) for right in (right_a, right_b)],
            "difference": (only_a - only_b) / count, "interval": paired_interval(only_a, only_b, count),
            "only_a": only_a, "only_b": only_b, "p_value": p_value}


def _figure(a: Candidate, b: Candidate) -> str:
    return slug(f"disagreements-{a.name}-{b.name}-seed{a.seed}")


def _draw(a: Candidate, b: Candidate, out: Path, notes: list[str]) -> None:
    """Draw the disagreements of a pair, from evaluations where both were evaluated, else from audits."""
    try:
        both = evaluations_of(a, b)
    except UsageError:
        both = None
    if both is not None:
        found = between_evaluations(*both)
    elif a.audit is not None and b.audit is not None:
        found = between_audits(a.audit, b.audit)
    else:
        return
    try:
        save_figure(disagreements_figure(found), out, _figure(a, b))
    except UsageError as error:
        notes.append(f"{a.name} and {b.name}: {error}")
