"""`shiftscope compare`: do the models of two runs differ by more than chance, and on which images?"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from shiftscope import files
from shiftscope.auditing import compare
from shiftscope.errors import CheckpointError, UsageError, unknown
from shiftscope.metrics import mcnemar, paired_interval, wilson_interval
from shiftscope.progress import Progress
from shiftscope.reporting import save_figure
from shiftscope.reporting.formatting import image_credit, series_title
from shiftscope.reporting.gallery import Disagreements, disagreements_figure
from shiftscope.results import SCHEMA_VERSION, Audit, Evaluation
from shiftscope.runs import slug
from shiftscope.runs.outputs import figure_files, new_files
from shiftscope.runs.records import find_records
from shiftscope.workflows.common_images import common_images
from shiftscope.workflows.load_inputs import stored_placement

SAME = ("dataset", "split", "images", "class_names", "placement")
"""Fields in which two evaluations must agree."""

FILE = "comparison.json"


@dataclass
class Candidate:
    """A trained model of a run with its results."""

    model: str
    trained: str
    seed: int
    evaluations: dict[str, Evaluation] = field(default_factory=dict)
    """By split."""
    audit: Audit | None = None

    @property
    def name(self) -> str:
        return f"{self.model}-centered" if self.trained == "centered" else self.model

    def to_dict(self) -> dict[str, Any]:
        return {"model": self.model, "trained": self.trained, "seed": self.seed}


Candidates = dict[tuple[str, int], Candidate]
"""By name and seed."""


def compare_runs(first: Path, second: Path, *, models: Sequence[str] = (), out: Path | None = None,
                 overwrite: bool = False, progress: Progress) -> dict[str, Any]:
    """Compare models of two runs, or of one, on the images that both have.

    Args:
        first, second: folders that `shiftscope run`, `evaluate --out`, `audit --out` or `repair --out` wrote.
        models: a model of the first folder and one of the second; empty: models of the same name, training and seed, or
            the only one of each.
        out: folder for the comparison and a figure of each pair's disagreements.

    Returns:
        Plain JSON: {"schema_version", "runs", "pairs", "notes"}. A pair has "a" and "b" (model, trained, seed); from
        evaluations "random" and "centered", see `compare_correct`; from audits "audit", see `auditing.compare`. What
        cannot be compared is None, and a note gives the reason.

    Raises:
        CheckpointError: if a folder is missing, damaged, or has neither evaluations nor audits.
        UsageError: if no models can be paired, images or placements differ, or a file in `out` exists.
        OutputError: if `out` cannot be written.
    """
    notes: list[str] = []
    pairs = [on_common_images(*pair, notes) for pair in paired(first, second, models)]
    with new_files(out, [FILE, *figure_files(*(_figure_name(*pair) for pair in pairs))], overwrite=overwrite):
        compared = [_compare(*pair, notes) for pair in pairs]
        document = {"schema_version": SCHEMA_VERSION, "runs": [str(first), str(second)], "pairs": compared,
                    "notes": notes}
        if out is not None:
            progress.note("drawing disagreements")
            for pair in pairs:
                _draw(*pair, out, notes)
            files.write_json(out / FILE, document)
    return document


def candidates(run: Path) -> Candidates:
    """Return the models of a run that were evaluated or audited; a `CheckpointError` is raised if there are none."""
    found: Candidates = {}
    for stored in find_records(run):
        record = stored.record
        if isinstance(record, Evaluation | Audit):
            new = Candidate(record.model, record.trained, stored.seed)
            one = found.setdefault((new.name, new.seed), new)
            if isinstance(record, Audit):
                one.audit = one.audit or record
            else:
                one.evaluations.setdefault(record.split, record)
    if not found:
        raise CheckpointError(f"{run} has neither evaluations nor audits: use a folder that shiftscope run, evaluate "
                              "or audit wrote with --out")
    return found


def paired(first: Path, second: Path, models: Sequence[str]) -> list[tuple[Candidate, Candidate]]:
    """Return the pairs of models to compare, see `compare_runs`.

    Raises:
        UsageError: if there are none, or a model would be compared with itself.
    """
    a, b = candidates(first), candidates(second)
    same_run = first.resolve() == second.resolve()
    if models:
        return _chosen(a, b, models, same_run=same_run)
    if same_run:
        raise UsageError(f"{first} was given twice: choose two of its models with --models, from {_names(a.values())}")
    common = [(a[key], b[key]) for key in a if key in b] or _only_ones(a, b)
    if not common:
        raise UsageError(f"{first} has {_names(a.values())}, {second} has {_names(b.values())}, no model in both with "
                         "the same seed: choose one of each with --models")
    return common


def on_common_images(a: Candidate, b: Candidate, notes: list[str]) -> tuple[Candidate, Candidate]:
    """Return two models with their results restricted to the images that both have; a note gives the number."""
    a, b = replace(a, evaluations=dict(a.evaluations)), replace(b, evaluations=dict(b.evaluations))
    for split in a.evaluations.keys() & b.evaluations.keys():
        one, other = a.evaluations[split], b.evaluations[split]
        a.evaluations[split], b.evaluations[split] = common_images(one, other)
        _note_common(f"{split} images", one, other, notes)
    if a.audit is not None and b.audit is not None:
        one, other = a.audit, b.audit
        a.audit, b.audit = common_images(one, other)
        _note_common(f"audited {one.split} images", one, other, notes)
    return a, b


def _note_common(what: str, a: Evaluation | Audit, b: Evaluation | Audit, notes: list[str]) -> None:
    if a.images != b.images and (a.dataset, a.split) == (b.dataset, b.split):
        count = min(a.images, b.images)
        notes.append(f"{a.model} and {b.model} are compared on the first {count:,} {what}, which both have, of "
                     f"{a.images:,} and {b.images:,}")


def _names(models: Iterable[Candidate]) -> str:
    return ", ".join(dict.fromkeys(one.name for one in models))


def _only_ones(a: dict[Any, Candidate], b: dict[Any, Candidate]) -> list[tuple[Candidate, Candidate]]:
    return list(zip(a.values(), b.values(), strict=True)) if len(a) == len(b) == 1 else []


def _chosen(a: Candidates, b: Candidates, models: Sequence[str], *,
            same_run: bool) -> list[tuple[Candidate, Candidate]]:
    if len(models) != 2:
        raise UsageError(f"models must be two names, one of each run, got {len(models)}: {', '.join(models)}")
    if same_run and models[0] == models[1]:
        raise UsageError(f"{models[0]} would be compared with itself: choose two models, or two runs")
    sides = []
    for known, name in ((a, models[0]), (b, models[1])):
        sides.append({one.seed: one for one in known.values() if one.name == name})
        if not sides[-1]:
            raise unknown("model", name, {one.name for one in known.values()})
    pairs = [(sides[0][seed], sides[1][seed]) for seed in sides[0] if seed in sides[1]] or _only_ones(*sides)
    if not pairs:
        raise UsageError(f"{models[0]} was trained with the seeds {sorted(sides[0])}, {models[1]} with "
                         f"{sorted(sides[1])}: no seed in common")
    return pairs


def _compare(a: Candidate, b: Candidate, notes: list[str]) -> dict[str, Any]:
    """Compare the results that two models have in common; raise an error if there are none."""
    found: dict[str, Any] = {"a": a.to_dict(), "b": b.to_dict(), "images": None, "random": None, "centered": None,
                             "audit": None}
    errors: list[UsageError] = []
    try:
        found |= _compare_evaluations(a, b)
    except UsageError as error:
        errors.append(error)
    try:
        if a.audit is not None and b.audit is not None:
            found["audit"] = _compare_audits(a.audit, b.audit)
    except UsageError as error:
        errors.append(error)
    if found["random"] is None and found["audit"] is None:
        raise errors[0] if errors else UsageError(
            f"{a.name} was {_results(a)}, {b.name} was {_results(b)}: evaluate or audit both on the same images")
    notes += [str(error) for error in errors]
    return found


def _results(one: Candidate) -> str:
    parts = [f"evaluated on {split} images" for split in one.evaluations] + ["audited"] * (one.audit is not None)
    return " and ".join(parts)


def common_evaluations(a: Candidate, b: Candidate) -> tuple[Evaluation, Evaluation] | None:
    """Return the evaluations of two models on the same split, preferably the test images; None if there are none.

    Raises:
        UsageError: if they are of different images or placements.
    """
    split = next((split for split in ("test", *a.evaluations) if split in a.evaluations and split in b.evaluations),
                 None)
    if split is None:
        return None
    one, other = a.evaluations[split], b.evaluations[split]
    both = f"the evaluations of {a.name} and {b.name}"
    for name in SAME:
        if getattr(one, name) != getattr(other, name):
            raise UsageError(f"the evaluations of {a.name} and {b.name} differ in {name}: {getattr(one, name)!r} and "
                             f"{getattr(other, name)!r}; evaluate both on the same images")
    if not np.array_equal(one.labels, other.labels):
        raise UsageError(f"{both} are of different images: their labels differ; evaluate both on the same "
                         "images")
    if not np.array_equal(one.offsets, other.offsets):
        raise UsageError(f"{both} have different random placements (seeds {one.seed} and {other.seed}): evaluate both "
                         "with the same --seed")
    return one, other


def _compare_evaluations(a: Candidate, b: Candidate) -> dict[str, Any]:
    both = common_evaluations(a, b)
    if both is None:
        return {}
    random, centered = ([getattr(part, name) == part.labels for part in both]
                        for name in ("predictions", "predictions_centered"))
    return {"images": both[0].images, "random": compare_correct(*random), "centered": compare_correct(*centered)}


def _compare_audits(a: Audit, b: Audit) -> dict[str, Any]:
    """Return the result of `auditing.compare` with the intervals of all differences."""
    found = compare(a, b)
    for key in ("middle", "worst_case"):
        part = found[key]
        found[key] = part | {"difference": part["a"] - part["b"],
                             "interval": paired_interval(part["only_a"], part["only_b"], a.images)}
    return found


def compare_correct(correct_a: np.ndarray, correct_b: np.ndarray) -> dict[str, Any]:
    """Compare the accuracies of two models on the same images with McNemar's exact test.

    Args:
        correct_a, correct_b: bool (N,), True for images that the model classifies correctly.

    Returns:
        "a" and "b" (accuracies), "intervals" (Wilson's, of each), "difference" (a - b) and its "interval", "only_a" and
        "only_b" (images that only one model classifies correctly), "p_value".

    Example:
        >>> found = compare_correct(np.array([True] * 9 + [False]), np.array([False] * 9 + [True]))
        >>> found["only_a"], found["only_b"], round(found["p_value"], 4), round(found["difference"], 2)
        (9, 1, 0.0215, 0.8)
    """
    only_a, only_b, p_value = mcnemar(correct_a.tolist(), correct_b.tolist())
    count = len(correct_a)
    return {"a": float(correct_a.mean()), "b": float(correct_b.mean()),
            "intervals": [wilson_interval(int(correct.sum()), count) for correct in (correct_a, correct_b)],
            "difference": (only_a - only_b) / count, "interval": paired_interval(only_a, only_b, count),
            "only_a": only_a, "only_b": only_b, "p_value": p_value}


def _figure_name(a: Candidate, b: Candidate) -> str:
    return slug(f"disagreements-{a.name}-{b.name}-seed{a.seed}")


def _draw(a: Candidate, b: Candidate, out: Path, notes: list[str]) -> None:
    """Draw the disagreements of a pair, from evaluations if both were evaluated, otherwise from audits."""
    try:
        both = common_evaluations(a, b)
    except UsageError:
        both = None
    if both is not None:
        found = evaluation_disagreements(*both)
    elif a.audit is not None and b.audit is not None:
        found = audit_disagreements(a.audit, b.audit)
    else:
        return
    try:
        save_figure(disagreements_figure(found), out, _figure_name(a, b))
    except UsageError as error:
        notes.append(f"{a.name} and {b.name}: {error}")


def evaluation_disagreements(a: Evaluation, b: Evaluation) -> Disagreements:
    """Return the images, at their random placements, that only one of two models classifies correctly.

    Args:
        a, b: of the same images at the same placements; only images whose pixels one of them holds are returned.
    """
    canvases = _stored_canvases(a) | _stored_canvases(b)
    correct = [part.predictions == part.labels for part in (a, b)]
    index = np.array(sorted(image for image in canvases if correct[0][image] != correct[1][image]), np.int64)
    return Disagreements(
        **_common(a, b, *correct), population=f"{a.images:,} {a.split} images, each at one random position",
        labels=a.labels[index], predictions=np.stack((a.predictions[index], b.predictions[index]), 1),
        canvases=_stacked([canvases[image] for image in index.tolist()]))


def _common(a: Evaluation | Audit, b: Evaluation | Audit, correct_a: np.ndarray,
            correct_b: np.ndarray) -> dict[str, Any]:
    return {"models": (series_title(a.model, a.trained), series_title(b.model, b.trained)),
            "class_names": a.class_names, "credit": image_credit(a.dataset, synthetic=a.synthetic),
            "totals": (int((correct_a & ~correct_b).sum()), int((correct_b & ~correct_a).sum()))}


def _stored_canvases(evaluation: Evaluation) -> dict[int, np.ndarray]:
    """Return the canvases in an evaluation by image: those of its gallery and of its confusion matrix."""
    found = dict(zip(evaluation.gallery_index.tolist(), evaluation.gallery_canvases, strict=True))
    if len(evaluation.cell_index):
        placement = stored_placement(evaluation.placement, evaluation.cell_images.shape[1])
        offsets = torch.from_numpy(evaluation.offsets[evaluation.cell_index])
        canvases = placement.place(torch.from_numpy(evaluation.cell_images), offsets).numpy()
        found |= zip(evaluation.cell_index.tolist(), canvases, strict=True)
    return found


def _stacked(canvases: list[np.ndarray]) -> np.ndarray:
    return np.stack(canvases) if canvases else np.zeros((0, 1, 1, 1), np.uint8)


def audit_disagreements(a: Audit, b: Audit) -> Disagreements:
    """Return shown images, each at the placement nearest the middle at which only one model is correct.

    Args:
        a, b: of the same images and placements.
    """
    shown = dict(zip(a.shown_index.tolist(), a.shown_images, strict=True)) | dict(
        zip(b.shown_index.tolist(), b.shown_images, strict=True))
    if not (a.labeled and b.labeled):
        raise UsageError(f"the comparison of runs needs labels, and the images of {a.dataset} have none: use "
                         "`shiftscope audit MODEL --against OTHER`, which compares the unanimity")
    correct = [audit.predictions == audit.labels[:, None] for audit in (a, b)]
    placement = stored_placement(a.placement, next(iter(shown.values())).shape[0]) if shown else None
    order = np.abs(a.offsets - np.array(placement.middle)).sum(1).argsort(kind="stable") if placement else []
    index, columns = [], []
    for image in sorted(shown):
        differ = np.flatnonzero((correct[0][image] != correct[1][image])[order])
        if len(differ):
            index.append(image)
            columns.append(int(order[differ[0]]))
    canvases = _stacked([]) if placement is None or not index else placement.place(
        torch.from_numpy(np.stack([shown[image] for image in index])), torch.from_numpy(a.offsets[columns])).numpy()
    predictions = [audit.predictions[index, columns].astype(np.int64) for audit in (a, b)]
    return Disagreements(
        **_common(a, b, *correct), labels=a.labels[index], predictions=np.stack(predictions, 1),
        population=f"{a.predictions.size:,} predictions ({a.images:,} {a.split} images at {a.placements:,} placements)",
        canvases=canvases)
