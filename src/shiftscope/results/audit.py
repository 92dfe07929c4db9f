"""What a model answers at every placement."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, ClassVar, Literal, TypedDict

import numpy as np

from shiftscope.outputs import UNKNOWN
from shiftscope.reading import typed_dict
from shiftscope.results.base import NOTEBOOK, Record
from shiftscope.results.whole import Count, Seconds, table, unlike, wrong_placement

NONFINITE = 255
"""Stands in `Audit.predictions` for an answer that was not finite (NaN or infinity)."""


FIGURES = ("mean_accuracy", "worst_case_accuracy", "consistency", "unanimity", "middle_accuracy")
"""The five figures that have intervals."""

INTERVALS = typed_dict(dict.fromkeys(FIGURES, tuple[float, float]))
_BY_PHASE = typed_dict({str(stride): table(stride, stride) for stride in (2, 4, 8)})


class SelfCheck(TypedDict):
    """How far the engine's outputs lie from the plain model's, on a random sample."""

    placements: Count
    """Images at placements that were computed both ways: also where the engine is the plain model, in chunks."""
    max_abs_logit_difference: float
    tolerance: float
    """Largest difference that is put down to rounding."""


@dataclass(frozen=True, kw_only=True)
class Audit(Record):
    """The answers of one model for every image at every placement, and what follows from them.

    Shapes: N images, P placements, K classes, S images that are shown. The placements are the offsets (rows[i],
    columns[j]) in row-major order, R x Q of them; where they were sampled, some of those only.
    """

    kind: ClassVar[str] = "audit"
    arrays: ClassVar[tuple[str, ...]] = (
        "rows", "columns", "offsets", "accuracy_map", "class_maps", "labels", "predictions", "correct_counts", "worst_offset",
        "margins", "shown_index", "shown_images", "shown_logits")
    layout: ClassVar[Mapping[str, str]] = {
        "rows": "i R", "columns": "i Q", "offsets": "i P 2", "accuracy_map": "f R Q", "class_maps": "f K R Q",
        "labels": "i N", "predictions": "u N P", "correct_counts": "i N", "worst_offset": "i N 2", "margins": "f N 2",
        "shown_index": "i S", "shown_images": "u S C h w", "shown_logits": "f S P K"}

    model: str
    dataset: str
    synthetic: bool
    """True where the images were drawn by our own code: every figure says so."""
    split: str
    trained: str
    """"random", "centered" or "unknown"."""
    class_names: list[str]
    images: Count
    placements: Count
    mode: str
    """"canvas", "circular" or "crop": what is exact in one need not be in another."""
    placement: dict[str, Any]
    """What `Placement.to_dict` gave."""
    sampled: bool
    """True where only some of the placements were computed: no figure is then called exact."""
    partial: bool
    """True where the audit was interrupted: its figures are of the first `images` images."""
    engine: Literal["dense", "brute"]
    reason: str
    """Why this engine, in a sentence."""
    seconds: Seconds
    device: str
    mean_accuracy: float
    worst_case_accuracy: float
    """Share of images that are right at every placement."""
    consistency: float
    """Probability that two independent uniform placements of an image get the same label."""
    unanimity: float
    """Share of images that get one and the same label at every placement."""
    middle_accuracy: float
    """Accuracy of the centered images."""
    intervals: dict[str, list[float]]
    """95 % confidence intervals over images, [low, high], of the five figures above, by their names."""
    per_class: list[float | None]
    """Mean accuracy of each class, None for a class without images."""
    by_phase: dict[str, list[list[float | None]]]
    """Accuracy by (dy mod s, dx mod s) for strides s = "2", "4", "8": aliasing shows there."""
    nonfinite: Count
    """Non-finite predictions: the output holds a NaN or its maximum is infinite. They count as wrong."""
    ties: Count
    """Near ties: predictions whose two largest outputs differ by at most `tie_tolerance`, so rounding may decide them.
    In records of release 0.1 exact ties are among them."""
    exact_ties: Count = 0
    """Predictions whose two largest outputs are equal: the first of them is the label. Not among `ties`."""
    tie_tolerance: float = 1e-5
    """Difference of two outputs that rounding explains; it scales with the outputs."""
    output_type: str = UNKNOWN
    """"logits", "probabilities" or "log-probabilities"; "unknown" in records of release 0.1, which took all outputs
    for logits."""
    self_check: SelfCheck
    notes: list[str]

    rows: np.ndarray
    """int64 (R,), values of dy, rising."""
    columns: np.ndarray
    """int64 (Q,), values of dx, rising."""
    offsets: np.ndarray
    """int64 (P, 2)."""
    accuracy_map: np.ndarray
    """float64 (R, Q), NaN where no placement was computed."""
    class_maps: np.ndarray
    """float32 (K, R, Q), the same for the images of each class; NaN also for a class without images."""
    labels: np.ndarray
    """int64 (N,), true classes."""
    predictions: np.ndarray
    """uint8 (N, P), predicted classes, `NONFINITE` where a prediction is non-finite (uint16 and 65535 for K > 255)."""
    correct_counts: np.ndarray
    """int32 (N,), placements at which the image is classified right."""
    worst_offset: np.ndarray
    """int64 (N, 2), the placement with the smallest margin."""
    margins: np.ndarray
    """float32 (N, 2): smallest and mean margin over the placements; the margin is the true class's output less the
    largest other one, in the units of the model's output, negative where the answer is wrong."""
    shown_index: np.ndarray
    """int64 (S,), images for figures and the report: half of them the first ones, half those of worst consistency;
    after them those that a report shows for the sake of other models."""
    shown_images: np.ndarray
    """uint8 (S, C, h, w)."""
    shown_logits: np.ndarray
    """float16 (S, P, K), the outputs at every placement, see `output_type`."""

    def widget(self) -> Any:
        """Return the live view for a notebook: drag the image over its canvas, see the answer at every place.

        It is what `shiftscope.notebook.widget.explorer` returns, which shows several audits side by side as well.

        Raises:
            UsageError: anywidget is not installed, or no image is shown.
        """
        return import_module(f"{NOTEBOOK}.widget").explorer([self])

    def sizes(self) -> dict[str, int]:
        return {"N": self.images, "P": self.placements, "K": len(self.class_names)}

    def ranges(self) -> dict[str, tuple[int, int]]:
        return {"labels": (0, len(self.class_names)), "shown_index": (0, self.images),
                "correct_counts": (0, self.placements + 1)}

    def misfits(self) -> list[str]:
        return [*unlike("intervals", self.intervals, INTERVALS), *unlike("by_phase", self.by_phase, _BY_PHASE),
                *unlike("per_class", self.per_class, table(len(self.class_names))), *wrong_placement(self.placement),
                *super().misfits()]
