"""Plugin for pytest: `assert_shift_robust` and the fixture `shiftscope_audit`.

The plugin is active wherever Shiftscope is installed. Importing it imports neither torch nor NumPy.

Example:
    A test file::

        from shiftscope.pytest import assert_shift_robust

        def test_robust_to_shifts():
            assert_shift_robust("my_models:net", "folder:photos", consistency=0.9)
"""

import os
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from shiftscope.errors import UsageError

if TYPE_CHECKING:
    from shiftscope.placement import Placement
    from shiftscope.results import Audit

__all__ = ["assert_shift_robust", "shiftscope_audit"]

WORST_IMAGES = 5
"""Number of images that a failure message lists."""


@pytest.fixture(scope="session")
def shiftscope_audit() -> "Callable[..., Audit]":
    """Return a function that audits a model once per session: `shiftscope_audit(model, data, placement, **options)`.

    The arguments are those of `assert_shift_robust`, without requirements. A call with the same arguments returns the
    same `Audit`.
    """
    known: list[tuple[tuple[Any, ...], Audit]] = []

    def audit(model: Any, data: Any = None, placement: "Placement | None" = None, **options: Any) -> "Audit":
        key = (model, data, placement, options)
        for other, found in known:
            if _same(key, other):
                return found
        found = _audit(model, data, placement, options)
        known.append((key, found))
        return found

    return audit


def assert_shift_robust(model: Any, data: Any = None, placement: "Placement | None" = None, *,
                        consistency: float | None = None, worst: float | None = None, mean: float | None = None,
                        unanimity: float | None = None, baseline: Path | str | None = None, **options: Any) -> None:
    """Audit a model and fail if a metric is below its minimum, or significantly lower than in a baseline.

    Args:
        model: any classifier, or a source as in `shiftscope.load_model`; or an `Audit`, then alone.
        data: a dataset or images as in `shiftscope.audit`, or what `shiftscope audit --data` takes, such as
            "folder:photos"; a checkpoint needs none.
        placement: the placements (default: those of `shiftscope.audit`; or protocol="imagenet-consistency" and others).
        consistency, worst, mean, unanimity: smallest values, from 0 to 1; at least one, or a baseline.
        baseline: folder of an audit that `Audit.save` or `shiftscope audit --out` wrote; see
            `shiftscope.auditing.not_worse_checks`.
        options: further arguments of `shiftscope.audit` or, for a source, also of `shiftscope.load_model`.

    Raises:
        AssertionError: with the metrics, the least stable images, and a command that repeats the audit.
        UsageError: if there is no requirement, or a minimum is not from 0 to 1; see also `shiftscope.audit`.
    """
    __tracebackhide__ = True
    minimum = {name: value for name, value in (("mean", mean), ("worst", worst), ("consistency", consistency),
                                               ("unanimity", unanimity)) if value is not None}
    _check_requirements(minimum, baseline)
    from shiftscope.results import Audit
    from shiftscope.workflows.requirements import Requirements

    requirements = Requirements(minimum=minimum, baseline=None if baseline is None else Path(baseline))
    requirements.check_files()
    found = model if isinstance(model, Audit) else _audit(model, data, placement, options)
    failed = [check.sentence for check in requirements.checks(found) if not check.passed]
    if failed:
        raise AssertionError("\n".join([f"{found.model} is not robust to shifts:", *(f"  {text}" for text in failed),
                                        *_figures(found), *_least_stable(found),
                                        f"repeat: {_command(model, data, found, options)}"]))


def _check_requirements(minimum: dict[str, float], baseline: Path | str | None) -> None:
    if not minimum and baseline is None:
        raise UsageError("assert_shift_robust got no requirement: give consistency=, worst=, mean=, unanimity= or "
                         "baseline=")
    for name, value in minimum.items():
        if not 0 <= value <= 1:
            raise UsageError(f"{name} must be a fraction from 0 to 1, got {value!r}")


def _same(a: Any, b: Any) -> bool:
    """Return True for the same object, or for equal plain values.

    >>> _same({"seed": 3}, {"seed": 3}), _same((0.5, "a"), (0.5, "b")), _same([object()], [object()])
    (True, False, False)
    """
    if a is b or type(a) is not type(b):
        return a is b
    if isinstance(a, (tuple, list)):
        return len(a) == len(b) and all(map(_same, a, b))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_same(a[key], b[key]) for key in a)
    return isinstance(a, (str, int, float, Path)) and a == b


def _audit(model: Any, data: Any, placement: "Placement | None", options: dict[str, Any]) -> "Audit":
    """Return the audit of a model or a source, on images or on what `--data` names."""
    from shiftscope.auditing import audit
    from shiftscope.models import load_model
    from shiftscope.models.sources import SourceOptions

    named = data is None or isinstance(data, (str, Path))
    if not isinstance(model, (str, Path)):
        if named:
            raise UsageError(f"data is {data!r}, but the model is not named by a source: give a dataset or images, "
                             "such as shiftscope.load_dataset(...), or a source as model")
        return audit(model, data, placement=placement, **options)
    loading: Any = {name: value for name, value in options.items() if name in SourceOptions.__annotations__}
    others: dict[str, Any] = {name: value for name, value in options.items() if name not in loading}
    if not named:
        others.setdefault("name", str(model))
        return audit(load_model(model, **loading), data, placement=placement, **others)
    from shiftscope.progress import SilentProgress
    from shiftscope.protocols import protocol_named
    from shiftscope.workflows.load_inputs import open_model

    overrides = {"limit": others.pop("limit", None)} | _overrides(data, placement)
    protocol = None if others.get("protocol") is None else protocol_named(others["protocol"])
    opened = open_model(model, {name: value for name, value in overrides.items() if value is not None},
                        protocol=protocol, progress=SilentProgress(), **loading)
    if protocol is not None:
        protocol.check_input(opened.info.input_size, opened.placement.canvas, opened.name)
    return audit(opened.model, opened.data, placement=placement or opened.placement, validation=opened.validation,
                 **{"name": opened.name, "trained": opened.trained, **opened.outputs()} | others)


def _overrides(data: Any, placement: "Placement | None") -> dict[str, Any]:
    """Return the settings of `DataSettings` that data and a placement state."""
    if placement is None:
        return {"data": None if data is None else str(data)}
    background = placement.background if isinstance(placement.background, int) else 0
    return {"data": None if data is None else str(data), "canvas": placement.canvas, "mode": placement.mode,
            "fill": placement.fill, "background": background}


# ---------------------------------------------------------------------- the message

def _figures(found: "Audit") -> list[str]:
    from shiftscope.results.checks import METRICS

    values = ", ".join(f"{name} {getattr(found, field):.4f}" for name, field in METRICS.items()
                       if getattr(found, field) == getattr(found, field))
    sampled = "sampled " if found.sampled else ""
    return [f"{found.images:,} images of {found.dataset} at {found.placements:,} {sampled}placements, mode "
            f"{found.geometry.mode_label}: {values}"]


def _least_stable(found: "Audit") -> list[str]:
    """Return one line per image with the lowest consistency: name, label, and share of each prediction."""
    import numpy as np

    lines = ["least stable images:"]
    for index in found.least_stable()[:WORST_IMAGES].tolist():
        labels, counts = np.unique(found.predictions[index], return_counts=True)
        order = np.argsort(-counts, kind="stable")[:3]
        names = {label: found.class_names[label] if label < len(found.class_names) else "non-finite"
                 for label in labels.tolist()}
        shares = ", ".join(f"{names[int(labels[at])]} {100 * counts[at] / found.placements:.0f} %" for at in order)
        name = found.image_names[index] if found.image_names else f"image {index}"
        label = f" ({found.class_names[found.labels[index]]})" if found.labeled else ""
        lines.append(f"  {name}{label}: {shares}{', ...' if len(labels) > 3 else ''}")
    return lines


_FLAGS = {"weights": "--weights", "engine": "--engine", "sample": "--sample", "seed": "--seed", "limit": "--limit",
          "output_type": "--output-type", "select_output": "--select-output", "split": "--split",
          "protocol": "--protocol"}
"""Options of `assert_shift_robust` that are options of `shiftscope audit`."""


def _command(model: Any, data: Any, found: "Audit", options: dict[str, Any]) -> str:
    """Return the command that repeats an audit of a source, else the one that repeats the test."""
    place, named = found.geometry, isinstance(model, (str, Path)) and (data is None or isinstance(data, (str, Path)))
    stated = bool(options.get("protocol")) or (place.is_grid and place.background == 0)
    if not named or not stated or not options.keys() <= {*_FLAGS, "normalize"}:
        test = os.environ.get("PYTEST_CURRENT_TEST", "").rpartition(" ")[0]
        return f"python -m pytest {shlex.quote(test)}" if test else "call assert_shift_robust again"
    words = ["shiftscope", "audit", str(model), *([] if data is None else ["--data", str(data)])]
    if not options.get("protocol"):
        words += ["--canvas", "x".join(map(str, place.canvas)), "--mode", place.mode]
        for name, value, default in (("--fill", place.fill, None), ("--max-shift", place.max_shift, None),
                                     ("--step", place.step, 1)):
            words += [] if value == default else [name, str(value)]
    for name, value in options.items():
        words += ["--normalize", _normalize(value)] if name == "normalize" else [_FLAGS[name], str(value)]
    return shlex.join(words)


def _normalize(value: Any) -> str:
    """Return a normalization as `shiftscope audit --normalize` takes it.

    >>> _normalize(((0.5, 0.4), 0.25))
    '0.5,0.4/0.25'
    """
    return "/".join(",".join(map(str, part)) if isinstance(part, (tuple, list)) else str(part) for part in value)
