"""Requirements on an audit: smallest values, a baseline, and the JUnit file that states them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from shiftscope import files
from shiftscope.auditing import not_worse_checks
from shiftscope.data import Dataset
from shiftscope.errors import ThresholdError, UsageError
from shiftscope.reporting.junit import is_junit_file, junit_document
from shiftscope.results import Audit, WorstCase
from shiftscope.results.checks import NEED_LABELS, Check, threshold_checks
from shiftscope.runs.outputs import require_new_file


@dataclass(frozen=True, kw_only=True)
class Requirements:
    """What an audit must reach.

    Args:
        minimum: smallest values, by the names of `results.checks.METRICS`.
        baseline: folder of an earlier audit of this model, or its result.json; see `not_worse_checks`.
        junit: file for the result of each check.
        overwrite: replace `junit` if Shiftscope wrote it.
    """

    minimum: Mapping[str, float] = field(default_factory=dict)
    baseline: Path | None = None
    junit: Path | None = None
    overwrite: bool = False

    @cached_property
    def stored(self) -> Audit | None:
        """The baseline."""
        if self.baseline is None:
            return None
        return Audit.load(self.baseline.parent if self.baseline.name == "result.json" else self.baseline)

    def check_files(self) -> None:
        """Raise the error of a baseline that cannot be read, or of a JUnit file that cannot be written."""
        if self.junit is not None:
            require_new_file(self.junit, "the JUnit file", "audit.xml", is_junit_file, overwrite=self.overwrite)
        _ = self.stored  # read before the audit

    def check_inputs(self, data: Dataset, model: str) -> None:
        """Raise a `UsageError` if a metric needs labels that the images do not have, or the baseline is of another
        model or dataset."""
        needed = [name for name in self.minimum if name in NEED_LABELS]
        if needed and not data.labeled:
            raise UsageError(f"--fail-under {needed[0]}={self.minimum[needed[0]]:g} needs labels, and the images of "
                             f"{data.name} have none: use consistency or unanimity, or sort the images into one folder "
                             "per class")
        for name, ours, theirs in (() if self.stored is None else (
                ("model", model, self.stored.model), ("dataset", data.name, self.stored.dataset))):
            if ours != theirs:
                raise UsageError(f"the baseline {self.baseline} is of the {name} {theirs}, the audit of {ours}: name "
                                 "another baseline, or make one with --out")

    def checks(self, result: Audit | WorstCase) -> list[Check]:
        """Return the checks of a result; a baseline is compared with an `Audit` only."""
        checks = threshold_checks(result, self.minimum)
        if self.stored is None or not isinstance(result, Audit):
            return checks
        return checks + not_worse_checks(result, self.stored)

    def apply(self, result: Audit | WorstCase) -> None:
        """Write the JUnit file, and raise a `ThresholdError` that names each check that did not pass."""
        checks = self.checks(result)
        if self.junit is not None and isinstance(result, Audit):
            files.write_text(self.junit, junit_document(result, checks))
        failed = [check.sentence for check in checks if not check.passed]
        if failed:
            raise ThresholdError(f"{result.model} does not pass: {'; '.join(failed)}")


NONE = Requirements()
