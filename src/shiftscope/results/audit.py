"""What a model answers at every placement."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypedDict

import numpy as np

from shiftscope.results.base import Record

NOT_FINITE = 255
"""Stands in `Audit.answers` for an answer that was not finite (NaN or infinity)."""


class SelfCheck(TypedDict):
    """How far the engine's logits lie from the plain model's, on a random sample."""

    placements: int
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
        "rows", "columns", "offsets", "accuracy_map", "class_maps", "labels", "answers", "right_counts", "worst_offset",
        "margins", "shown_index", "shown_images", "shown_logits")

    model: str
    dataset: str
    drawn: bool
    """True where the images were drawn by our own code: every figure says so."""
    split: str
    trained: str
    """"moved", "centred" or "unknown"."""
    class_names: list[str]
    images: int
    placements: int
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
    seconds: float
    device: str
    mean_accuracy: float
    worst_case_accuracy: float
    """Share of images that are right at every placement."""
    consistency: float
    """Probability that two independent uniform placements of an image get the same label."""
    unanimity: float
    """Share of images that get one and the same label at every placement."""
    middle_accuracy: float
    """Accuracy of the centred images."""
    intervals: dict[str, list[float]]
    """95 % confidence intervals over images, [low, high], of the five figures above, by their names."""
    per_class: list[float | None]
    """Mean accuracy of each class, None for a class without images."""
    by_phase: dict[str, list[list[float | None]]]
    """Accuracy by (dy mod s, dx mod s) for strides s = "2", "4", "8": aliasing shows there."""
    not_finite: int
    """Answers that were not finite: they count as wrong."""
    ties: int
    """Answers whose two largest logits lie within 1e-5: rounding may decide them."""
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
    answers: np.ndarray
    """uint8 (N, P), predicted classes, `NOT_FINITE` where the logits are not (uint16 and 65535 for K > 255)."""
    right_counts: np.ndarray
    """int32 (N,), placements at which the image is classified right."""
    worst_offset: np.ndarray
    """int64 (N, 2), the placement with the smallest margin."""
    margins: np.ndarray
    """float32 (N, 2): smallest and mean margin over the placements; the margin is the true class's logit less the
    largest other one, negative where the answer is wrong."""
    shown_index: np.ndarray
    """int64 (S,), images for figures and the report: half of them the first ones, half those of worst consistency."""
    shown_images: np.ndarray
    """uint8 (S, C, h, w)."""
    shown_logits: np.ndarray
    """float16 (S, P, K), class scores at every placement."""
