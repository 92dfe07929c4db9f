"""Predictions of a model at every placement."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, TypedDict

import numpy as np

from shiftscope.geometry import Geometry
from shiftscope.outputs import UNKNOWN
from shiftscope.reading import typed_dict
from shiftscope.results.agreement import agreement, agreement_map
from shiftscope.results.base import NOTEBOOK, Record
from shiftscope.results.image_table import image_table, write_csv
from shiftscope.results.validation import Count, Seconds, table, unlike, wrong_image_names, wrong_placement

NONFINITE = 255
"""Value in `Audit.predictions` for a non-finite prediction (NaN or infinity)."""


FIGURES = ("mean_accuracy", "worst_case_accuracy", "consistency", "unanimity", "middle_accuracy")
"""Metrics with confidence intervals; `top5_accuracy` may have one too."""

INTERVALS = typed_dict(dict.fromkeys(FIGURES, tuple[float, float]))
_BY_PHASE = typed_dict({str(stride): table(stride, stride) for stride in (2, 4, 8)})


class SelfCheck(TypedDict):
    """Difference between outputs of the engine and of the plain model, on a random sample."""

    placements: Count
    """Number of images at placements that were computed both ways."""
    max_abs_logit_difference: float
    tolerance: float
    """Largest difference that rounding explains."""


@dataclass(frozen=True, kw_only=True)
class Audit(Record):
    """Predictions of one model for every image at every placement, and the metrics computed from them.

    Shapes: N images, P placements, K outputs of the model, S images shown in reports. The placements are the offsets
    (rows[i], columns[j]) in row-major order, R x Q in total; if sampled, a subset of them.

    Without labels, accuracies are NaN in Python and null in JSON, labels and counts of correct predictions are -1.
    """

    kind: ClassVar[str] = "audit"
    arrays: ClassVar[tuple[str, ...]] = (
        "rows", "columns", "offsets", "accuracy_map", "agreement_map", "class_maps", "labels", "predictions",
        "correct_counts", "top5_counts", "worst_offset", "margins", "top_margins", "confidences", "shown_index",
        "shown_images", "shown_logits")
    layout: ClassVar[Mapping[str, str]] = {
        "rows": "i R", "columns": "i Q", "offsets": "i P 2", "accuracy_map": "f R Q",
        "agreement_map": "f R Q", "class_maps": "f K R Q",
        "labels": "i N", "predictions": "u N P", "correct_counts": "i N", "top5_counts": "i N",
        "worst_offset": "i N 2", "margins": "f N 2", "top_margins": "f N 3", "confidences": "f N 2",
        "shown_index": "i S", "shown_images": "u S C h w", "shown_logits": "f S P K"}

    model: str
    dataset: str
    synthetic: bool
    """True if the images are synthetic; every figure states it."""
    split: str
    trained: str
    """"random", "centered" or "unknown"."""
    class_names: list[str]
    """Names of the K outputs."""
    images: Count
    placements: Count
    mode: str
    """"canvas", "circular", "crop" or "fill": a model that is invariant in one mode can be sensitive in another."""
    placement: dict[str, Any]
    """Return value of `Placement.to_dict`."""
    sampled: bool
    """True if only some placements were computed. Metrics are then estimates."""
    partial: bool
    """True if the audit was interrupted. Metrics are then of the first `images` images."""
    engine: Literal["dense", "brute"]
    reason: str
    """Why this engine was used, in a sentence."""
    seconds: Seconds
    device: str
    labeled: bool = True
    """False if the images have no labels."""
    mean_accuracy: float
    worst_case_accuracy: float
    """Fraction of images with a correct prediction at every placement."""
    consistency: float
    """Probability that two independent uniform placements of an image get the same label."""
    unanimity: float
    """Fraction of images with a single label at all placements."""
    middle_accuracy: float
    """Accuracy of the centered images."""
    top5_accuracy: float = math.nan
    """Fraction of placements of all images at which the true class is among the five largest outputs; NaN without
    labels, and for models with fewer than 100 outputs."""
    intervals: dict[str, list[float]]
    """95 % confidence intervals [low, high] over images, by the name of the metric."""
    per_class: list[float | None]
    """Mean accuracy of each class, None for a class without images."""
    by_phase: dict[str, list[list[float | None]]]
    """Accuracy by (dy mod s, dx mod s) for strides s = "2", "4", "8", which reveals aliasing."""
    nonfinite: Count
    """Non-finite predictions: the output holds a NaN or its maximum is infinite. They count as incorrect."""
    ties: Count
    """Near ties: predictions whose two largest outputs differ by at most `tie_tolerance`, so that rounding may decide
    them. Records of release 0.1 include exact ties."""
    exact_ties: Count = 0
    """Predictions whose two largest outputs are equal; the first is the label. Not included in `ties`."""
    tie_tolerance: float = 1e-5
    """Difference of two outputs that rounding explains; it scales with the outputs."""
    output_type: str = UNKNOWN
    """"logits", "probabilities" or "log-probabilities"; "unknown" in records of release 0.1, which treated all
    outputs as logits."""
    self_check: SelfCheck
    notes: list[str]
    protocol: str = ""
    """Name of the published evaluation that sets images and placements, see `shiftscope.protocols`; "": none."""
    preparation: str = ""
    """How many image files were resized, and how; every figure states it. "" if none was."""
    image_names: list[str] = field(default_factory=list)
    """Name of each image, such as the relative path of its file, in the order of the images; empty if unknown."""

    rows: np.ndarray
    """int64 (R,), values of dy in increasing order."""
    columns: np.ndarray
    """int64 (Q,), values of dx in increasing order."""
    offsets: np.ndarray
    """int64 (P, 2)."""
    accuracy_map: np.ndarray
    """float64 (R, Q), NaN at placements that were not computed."""
    agreement_map: np.ndarray
    """float64 (R, Q), fraction of images whose prediction at a placement is that at the middle one; NaN at placements
    that were not computed, and everywhere if the middle one was not."""
    class_maps: np.ndarray
    """float32 (K, R, Q), accuracy map of each class; NaN for a class without images."""
    labels: np.ndarray
    """int64 (N,), true classes as indices of outputs; -1 without labels."""
    predictions: np.ndarray
    """uint8 (N, P), predicted classes, `NONFINITE` if non-finite (uint16 and 65535 for K > 255)."""
    correct_counts: np.ndarray
    """int32 (N,), number of placements with a correct prediction; -1 without labels."""
    top5_counts: np.ndarray
    """int32 (N,), number of placements at which the true class is among the five largest outputs; -1 without labels,
    and for models with fewer than 100 outputs."""
    worst_offset: np.ndarray
    """int64 (N, 2), the placement with the smallest margin; without labels, with the smallest top margin."""
    margins: np.ndarray
    """float32 (N, 2): smallest and mean margin over the placements; the margin is the output of the true class minus
    the largest other output, negative if the prediction is incorrect. NaN without labels."""
    top_margins: np.ndarray
    """float32 (N, 3): smallest, median and largest top margin over the placements; the top margin is the difference of
    the two largest outputs. NaN in records of release 0.1."""
    confidences: np.ndarray
    """float32 (N, 2): smallest and largest confidence over the placements; the confidence is the probability of the
    predicted class, see `output_type`. NaN in records of release 0.1."""
    shown_index: np.ndarray
    """int64 (S,), images for figures and the report: the first images, then those with the lowest consistency, then
    images that a report shows for comparison with other models."""
    shown_images: np.ndarray
    """uint8 (S, C, h, w)."""
    shown_logits: np.ndarray
    """float16 (S, P, K), the outputs at every placement, see `output_type`."""

    def widget(self) -> Any:
        """Return a notebook widget in which the image can be dragged over the canvas to see the prediction at each
        offset.

        `shiftscope.notebook.widget.explorer` shows several audits side by side.

        Raises:
            UsageError: anywidget is not installed, or the record has no shown images.
        """
        return import_module(f"{NOTEBOOK}.widget").explorer([self])

    def table(self) -> dict[str, np.ndarray]:
        """Return one row per image as columns of equal length, for instance for `pandas.DataFrame(audit.table())`.

        The columns are listed in `shiftscope.results.image_table`. Rows are in the order of the dataset.
        """
        return image_table(self)

    def write_csv(self, path: Path | str) -> None:
        """Write `table` as a CSV file; an existing file is replaced.

        Undefined numbers are empty. Text that begins with one of = + - @ has an apostrophe in front, because
        spreadsheets would evaluate it as a formula.

        Raises:
            OutputError: the file cannot be written.
        """
        write_csv([self], path)

    def least_stable(self) -> np.ndarray:
        """Return the indices of all images by ascending consistency; of equal ones, by ascending smallest top margin.

        Returns:
            int64 (N,).
        """
        consistency, _ = agreement(self.predictions, len(self.class_names))
        return np.lexsort((self.top_margins[:, 0], consistency.round(12)))

    @classmethod
    def from_dict(cls, values: dict[str, Any], arrays: dict[str, np.ndarray] | None = None) -> Self:
        return super().from_dict(values, _with_added_arrays(values, arrays or {}))

    def sizes(self) -> dict[str, int]:
        return {"N": self.images, "P": self.placements, "K": len(self.class_names)}

    def ranges(self) -> dict[str, tuple[int, int]]:
        lowest = 0 if self.labeled else -1
        return {"labels": (lowest, len(self.class_names)), "shown_index": (0, self.images),
                "correct_counts": (lowest, self.placements + 1), "top5_counts": (-1, self.placements + 1)}

    def misfits(self) -> list[str]:
        return [*unlike("intervals", self.intervals, INTERVALS), *unlike("by_phase", self.by_phase, _BY_PHASE),
                *unlike("per_class", self.per_class, table(len(self.class_names))), *wrong_placement(self.placement),
                *wrong_image_names(self.image_names, self.images), *super().misfits()]


def _with_added_arrays(values: Mapping[str, Any], arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Add arrays that earlier releases did not store: the agreement map, and unknown numbers."""
    needed = [arrays.get(name) for name in ("predictions", "offsets", "rows", "columns")]
    damaged = any(array is None for array in needed) or wrong_placement(values.get("placement", {}))
    if "top_margins" in arrays or damaged:
        return arrays
    predictions, offsets, rows, columns = (np.asarray(array) for array in needed)
    if predictions.ndim != 2 or offsets.shape != (predictions.shape[1], 2):
        return arrays
    middle, count = Geometry.from_dict(values["placement"]).column(offsets), len(predictions)
    unknown = {name: np.full((count, length), np.nan, np.float32)
               for name, length in (("top_margins", 3), ("confidences", 2))}
    return {"agreement_map": agreement_map(predictions, middle, offsets, rows, columns),
            "top5_counts": np.full(count, -1, np.int32), **unknown, **arrays}
