"""Comparison of two audits of the same images and placements."""

import math
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from shiftscope.errors import UsageError, require, shortened
from shiftscope.metrics import Z_95, mcnemar
from shiftscope.results import Audit
from shiftscope.results.agreement import agreement
from shiftscope.results.checks import METRICS, NEED_LABELS, Check

LEVEL = 0.05
"""Probability that `not_worse_checks` fails a model that is not worse than the baseline, over all metrics together."""


class CorrectCounts(Protocol):
    """The part of an audit that comparisons need: an `Audit`, or a record of the leaderboard."""

    @property
    def placements(self) -> int: ...

    @property
    def correct_counts(self) -> np.ndarray:
        """Number of placements at which each image is predicted correctly, (N,)."""
        ...

    @property
    def mean_accuracy(self) -> float: ...


def compare(a: Audit, b: Audit) -> dict[str, Any]:
    """Compare two audits image by image.

    Images that are correct at the middle placement, those correct at every placement, and those with a single label at
    all placements are compared with McNemar's exact test; the fractions of correct placements with a paired z-test over
    images.

    Returns:
        Plain JSON: {"models", "images", "middle", "worst_case", "mean", "unanimity"}; the first three comparisons are
        None without labels. "unanimity" has the keys of "middle", for images with a single label. "middle" and
        "worst_case" hold "a" and "b"
        (the accuracies), "only_a" and "only_b" (images that only one model predicts correctly) and "p_value"; "mean"
        holds "a", "b", "difference" (a - b), its 95 % "interval" over images, and "p_value".

    Raises:
        UsageError: if the audits have other images or other placements.

    References:
        McNemar, "Note on the sampling error of the difference between correlated proportions or percentages",
        Psychometrika 12, 1947.
    """
    _check(a, b)
    unanimous = [agreement(audit.predictions, len(audit.class_names))[1] for audit in (a, b)]
    common = {"models": [a.model, b.model], "images": a.images, "unanimity": _accuracies(*unanimous)}
    if not a.labeled:
        return common | {"middle": None, "worst_case": None, "mean": None}
    middle = [audit.predictions[:, audit.geometry.column(audit.offsets)] == audit.labels for audit in (a, b)]
    return common | {"middle": _accuracies(*middle), "worst_case": compare_worst_case(a, b),
                     "mean": compare_means(a, b)}


def compare_worst_case(a: CorrectCounts, b: CorrectCounts) -> dict[str, Any]:
    """Return McNemar's test of the images that are correct at every placement; both must have the same images."""
    return _accuracies(*(counts.correct_counts == counts.placements for counts in (a, b)))


def compare_means(a: CorrectCounts, b: CorrectCounts) -> dict[str, Any]:
    """Return the paired z-test of the fractions of correct placements; both must have the same images."""
    test = _paired(a.correct_counts / a.placements, b.correct_counts / b.placements)
    mean, half = test["difference"], min(2.0, Z_95 * test["error"])
    return {"a": a.mean_accuracy, "b": b.mean_accuracy, "difference": mean,
            "interval": [max(-1.0, mean - half), min(1.0, mean + half)], "p_value": test["p_value"]}


def not_worse_checks(audit: Audit, baseline: Audit, *, level: float = LEVEL) -> list[Check]:
    """Return one check per metric: it passes unless the metric is significantly lower than that of a baseline.

    The tests are one-sided and paired by image: McNemar's exact test for the worst case and unanimity, a z-test for
    mean accuracy and consistency. Each has the level `level` divided by their number (Bonferroni), so that a model as
    good as the baseline fails any of them with a probability of at most `level`. Few images detect only large losses.

    Args:
        level: above 0 and below 1.

    Raises:
        UsageError: if the baseline is of another model, other images, placements or outputs, or one of the two is
            partial.
    """
    require(0 < level < 1, "level", level, "a number above 0 and below 1")
    _check_baseline(audit, baseline)
    known = compare(audit, baseline)
    consistency = [agreement(part.predictions, len(part.class_names))[0] for part in (audit, baseline)]
    found = {"mean": known["mean"], "worst": known["worst_case"], "consistency": _paired(*consistency),
             "unanimity": known["unanimity"]}
    names = [name for name in METRICS if audit.labeled or name not in NEED_LABELS]
    return [_not_worse(name, found[name], level / len(names)) for name in names]


def _not_worse(name: str, test: Mapping[str, Any], level: float) -> Check:
    """Return the check of one metric; half of the two-sided p-value is that of the lower side."""
    worse = test["a"] < test["b"] and test["p_value"] / 2 < level
    p_value = test["p_value"] / 2 if test["a"] < test["b"] else 1 - test["p_value"] / 2
    return Check(metric=name, value=test["a"], passed=not worse,
                 required=f"not worse than {test['b']:.4f} of the baseline (p = {p_value:.2g}, level {level:.3g})")


def _check_baseline(audit: Audit, baseline: Audit) -> None:
    """Raise a `UsageError` unless both audits are complete and of the same model, outputs, images and pixels."""
    for name, a, b in (("model", audit.model, baseline.model), ("outputs", audit.class_names, baseline.class_names),
                       ("labeled", audit.labeled, baseline.labeled), ("partial", audit.partial, baseline.partial)):
        if a != b:
            ours, theirs = (shortened(repr(value), 60) for value in (a, b))
            raise UsageError(f"the baseline has another value of {name}, {theirs}, than the audit, {ours}: make a new "
                             "baseline with --out")
    _check(audit, baseline)
    common, first, second = np.intersect1d(audit.shown_index, baseline.shown_index, return_indices=True)
    if len(common) and not np.array_equal(audit.shown_images[first], baseline.shown_images[second]):
        raise UsageError(f"the images of the baseline have other pixels than those of {audit.dataset}: prepare them in "
                         "the same way, or make a new baseline with --out")


def _paired(a: np.ndarray, b: np.ndarray) -> dict[str, Any]:
    """Return the paired z-test of two arrays with one number per image."""
    mean, error = float((a - b).mean()), float((a - b).std(ddof=1)) / math.sqrt(len(a)) if len(a) > 1 else math.inf
    p_value = math.erfc(abs(mean) / (error * math.sqrt(2))) if error > 0 else float(mean == 0)
    return {"a": float(a.mean()), "b": float(b.mean()), "difference": mean, "error": error, "p_value": p_value}


def _check(a: Audit, b: Audit) -> None:
    for name in ("dataset", "split", "images", "mode"):
        if getattr(a, name) != getattr(b, name):
            raise UsageError(f"the audits of {a.model} and {b.model} differ in {name}: {getattr(a, name)!r} and "
                             f"{getattr(b, name)!r}; audit both on the same images, to the end")
    if not np.array_equal(a.labels, b.labels):
        raise UsageError(f"the audits of {a.model} and {b.model} have different labels; audit both on the same images")
    if a.placement != b.placement or not np.array_equal(a.offsets, b.offsets):
        names = [name for name, value in a.placement.items() if value != b.placement.get(name)]
        different = ", ".join(shortened(f"{name} {a.placement[name]} and {b.placement.get(name)}", 50)
                              for name in names if name != "placements")
        raise UsageError(f"the audits of {a.model} and {b.model} have different placements: {a.placements:,} and "
                         f"{b.placements:,}{f', {different}' if different else ''}; audit both with one placement (and "
                         "one seed, if it is sampled)")


def _accuracies(a: np.ndarray, b: np.ndarray) -> dict[str, Any]:
    only_a, only_b, p_value = mcnemar(a.tolist(), b.tolist())
    return {"a": float(a.mean()), "b": float(b.mean()), "only_a": only_a, "only_b": only_b, "p_value": p_value}
