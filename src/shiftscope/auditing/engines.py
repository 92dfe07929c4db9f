"""Engines that compute a model's outputs at all placements, and the choice of one for an audit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, Protocol

import torch
from torch import nn

from shiftscope import hashing
from shiftscope.auditing.self_check import (
    EACH,
    IMAGES,
    LEAST_OF_CUT,
    LEAST_SHARE,
    SampleCheck,
    border_placements,
    check_engine,
    difference_message,
    draw_sample,
    passed,
)
from shiftscope.data.base import ImageSet
from shiftscope.dense import NotInvariant, prove_invariance
from shiftscope.dense.shifts import build_engine
from shiftscope.distributed import from_first
from shiftscope.errors import ShiftscopeError, reason_of, require
from shiftscope.evaluation.brute import BruteForceEngine
from shiftscope.graph import shared_traces
from shiftscope.hashing import Stream
from shiftscope.layers import (
    LearnedPolyphase2d,
    PhaseAverage,
    PhaseToOrigin,
    PlacementAverage,
    PolyphaseDownsample2d,
    Recenter,
)
from shiftscope.placement import Placement

MOST_PLACEMENTS, SAMPLED = 10_000, 1000
"""Brute force samples `SAMPLED` placements if there are more than `MOST_PLACEMENTS`. The standard error of an image's
fraction of correct placements is then at most 0.016, that of the mean over images far smaller."""

TRIED, TRIED_IN_PART = 16, 2
"""Images in the trial of the dense engine: enough for its full speed, which takes fewer images if only a part of the
operations is shared."""

SHORT = 2.0
"""Seconds. If brute force takes less for all images, `auto` uses it directly: reading the graph of a model takes as
long, and several seconds in a new process, which loads `torch.export`."""

TIMED = 64
"""Placements that take as long as the timing of all operations."""

FAR = 4
"""If the dense engine is this many times faster than the plain model in the checks before an audit, its time is not
compared with that of the best batch size: no batch size is so much faster."""

CLEARLY = 0.9
"""Brute force is used if it takes less than this fraction of the dense engine's time on a trial. Trials are noisy, so
no ratio is reported."""

INVARIANT_LAYERS = (LearnedPolyphase2d, PhaseAverage, PhaseToOrigin, PlacementAverage, PolyphaseDownsample2d, Recenter)
"""Layers of translation-invariant models. The reason for the engine then states why the proof of invariance failed."""


class PlacementEngine(Protocol):
    """Computes a model's outputs at all placements for which it was built."""

    @property
    def name(self) -> str:
        """"dense" or "brute"."""
        ...

    @property
    def images_per_call(self) -> int:
        """Number of images per call that fits into memory."""
        ...

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        """Return outputs (B, P, K) on the model's device, for images uint8 (B, C, h, w) on that device."""
        ...


@dataclass(frozen=True, kw_only=True)
class AuditInputs:
    """A model, images and their placements."""

    model: nn.Module
    images: ImageSet
    placement: Placement
    offsets: torch.Tensor
    """int64 (P, 2): all offsets of the placement, or a sample of them."""
    sampled: bool
    """True if the offsets are a sample."""
    seed: int
    memory: int
    """Bytes, see `BruteForceEngine`."""

    def check(self, size: int = IMAGES) -> SampleCheck:
        """Return a comparison with the plain model on a sample of `size` images, often at corners and edges."""
        sample = draw_sample(len(self.images), len(self.offsets), seed=self.seed, size=size,
                             rims=border_placements(self.offsets))
        return SampleCheck(self.model, self.images, self.placement, self.offsets, sample)

    def check_of_first(self, size: int) -> SampleCheck:
        """Return a comparison on the first `size` images, whose outputs the audit can use."""
        sample = draw_sample(min(size, len(self.images)), len(self.offsets), seed=self.seed, size=size,
                             rims=border_placements(self.offsets))
        return SampleCheck(self.model, self.images, self.placement, self.offsets, sample)

    def brute_force_engine(self, *, short_cuts: bool = True) -> BruteForceEngine:
        """Return the plain model as an engine."""
        return BruteForceEngine(self.model, self.placement, self.images.shape, self.offsets, memory=self.memory,
                                short_cuts=short_cuts)

    @cached_property
    def tuned_engine(self) -> BruteForceEngine:
        """The plain model as an engine, with the batch size and layout that are fastest on the first images."""
        engine = self.brute_force_engine()
        engine.tune(self.images)
        return engine

    def at_sample(self, count: int) -> "AuditInputs":
        """Return the inputs with a random sample of `count` placements that contains the middle one."""
        if count >= len(self.offsets):
            return self
        chosen = hashing.permutation(hashing.stream(Stream.SAMPLED_PLACEMENTS, self.seed), len(self.offsets))[:count]
        if self.middle not in chosen:
            chosen[0] = self.middle
        return replace(self, offsets=self.offsets[chosen.sort().values], sampled=True)

    @property
    def middle(self) -> int:
        """Index of the middle placement."""
        column = self.placement.geometry.column(self.offsets.numpy())
        require(column is not None, "offsets", f"{len(self.offsets)} offsets", f"{self.placement.middle} among them")
        return int(column or 0)


class InvariantModelEngine:
    """Engine for models that are proven to be invariant: each image is computed at one placement.

    Args:
        inputs: the model, images and placements; the placements may be a sample.

    Attributes:
        proof: see `dense.prove_invariance`.

    Raises:
        NotInvariant: if the model is not proven to be invariant.
    """

    name = "dense"

    def __init__(self, inputs: AuditInputs):
        channels, height, width = inputs.images.shape
        self.proof = prove_invariance(inputs.model, inputs.placement, (channels, height, width))
        self.placements = len(inputs.offsets)
        middle = torch.tensor([inputs.placement.middle])
        self._middle = BruteForceEngine(inputs.model, inputs.placement, inputs.images.shape, middle,
                                        memory=inputs.memory)
        image = torch.zeros(1, channels, height, width, dtype=torch.uint8, device=self._middle.device)
        bytes_per_image = 8 * self.placements * self._middle.logits(image).nbytes  # summaries of the expanded outputs
        self.images_per_call = max(1, min(self._middle.chunk, inputs.memory // bytes_per_image))

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        """Return outputs (B, P, K), an expanded view of (B, 1, K)."""
        return self._middle.logits(images).expand(-1, self.placements, -1)


@dataclass(frozen=True)
class EngineChoice:
    """An engine, its inputs, and a sentence with the reason for the choice."""

    engine: PlacementEngine
    inputs: AuditInputs
    reason: str
    kind: Literal["invariant", "dense", "brute"]

    @property
    def checked_images(self) -> int:
        """Number of images of the self-check."""
        share = len(self.inputs.images) * len(self.inputs.offsets) // (LEAST_SHARE * EACH)
        if self.kind == "brute":
            return max(1, min(IMAGES, share))
        return IMAGES if getattr(self.engine, "cut", None) is None else max(LEAST_OF_CUT, min(IMAGES, share))

    def settings(self) -> dict[str, Any]:
        """Return the choice and what was measured for it, as plain JSON for `repeated_choice`."""
        found: dict[str, Any] = {"kind": self.kind, "reason": self.reason,
                                 "sample": len(self.inputs.offsets) if self.inputs.sampled else None}
        if isinstance(self.engine, BruteForceEngine):
            found |= {"chunk": self.engine.chunk, "channels_last": self.engine.channels_last,
                      "short_cuts": self.engine.short_cuts}
        shared = getattr(self.engine, "shared", None)
        return found if shared is None else found | {"shared": shared}


def repeated_choice(inputs: AuditInputs, settings: Mapping[str, Any]) -> EngineChoice:
    """Return the engine that another process, or an earlier one, has chosen; nothing is measured again.

    Args:
        settings: return value of `EngineChoice.settings`; if it has the key "block", this many images are computed at
            a time.
    """
    kind, reason = settings["kind"], settings["reason"]
    if settings["sample"] is not None:
        inputs = inputs.at_sample(settings["sample"])
    if kind == "brute":
        engine: PlacementEngine = inputs.brute_force_engine(short_cuts=settings["short_cuts"])
        engine.set_layout(inputs.images.gather(torch.zeros(2, dtype=torch.int64)).to(engine.device),
                          channels_last=settings["channels_last"])
        engine.chunk = settings["chunk"]
    elif kind == "invariant":
        engine = InvariantModelEngine(inputs)
    else:
        engine = build_engine(inputs.model, inputs.placement, inputs.images.shape, shared=settings.get("shared"))
    if "block" in settings:
        engine.images_per_call = settings["block"]  # pyright: ignore[reportAttributeAccessIssue]
    return EngineChoice(engine, inputs, reason, kind)


def choose_in_group(inputs: AuditInputs, requested: str, doubts: list[str],
                    seconds: float | None = None) -> EngineChoice:
    """Choose in the first process of a group, because times differ between processes; the others do the same."""
    choices: list[EngineChoice] = []

    def choose() -> dict[str, Any]:
        choices.append(choose_engine(inputs, requested, doubts, seconds))
        return choices[0].settings()

    settings = from_first(choose)
    return choices[0] if choices else repeated_choice(inputs, settings)


@shared_traces()
def choose_engine(inputs: AuditInputs, requested: str, doubts: list[str],
                  seconds: float | None = None) -> EngineChoice:
    """Choose one placement for all if the model is proven to be invariant; else the dense engine, if it supports the
    model, agrees with the plain model on a trial and is faster; else brute force.

    Args:
        requested: "auto", "dense" or "brute".
        doubts: ways in which the plain model contradicts itself: no engine can then agree with it.
        seconds: of the plain model per placement, if known; it bounds the time of trials.

    Raises:
        ShiftscopeError: if "dense" is requested and not possible; the message names the layer or the difference.
    """
    if requested == "brute":
        return brute_force(inputs, "brute force was requested", doubts)
    single = len(inputs.offsets) == 1
    if requested == "auto" and single:
        return brute_force(inputs, "brute force, because there is a single placement", doubts)
    if requested == "auto" and seconds is not None and _is_short(inputs, seconds):
        return brute_force(inputs, "brute force, because it takes less time than an analysis of the model", doubts)
    choice, remark = (None, "") if doubts or single else _invariant(inputs)
    if choice is not None:
        return choice
    try:
        found = _dense(inputs, requested, doubts, seconds)
        return replace(found, reason=found.reason + remark)
    except ShiftscopeError as refusal:
        why, cause = str(refusal), refusal
    except Exception as error:  # user code may raise anything while it is traced
        why, cause = f"the dense engine raised {type(error).__name__}: {reason_of(error)}", error
    why += remark
    if requested == "dense":
        raise ShiftscopeError(f"engine 'dense' is not possible: {why}; use engine 'auto' or 'brute'") from cause
    return brute_force(inputs, f"brute force, because {why}", doubts)


def _is_short(inputs: AuditInputs, seconds: float) -> bool:
    """Return True if brute force takes less time than an export of the model, the timing of its operations, and a trial
    on two images."""
    placements, images = len(inputs.offsets), len(inputs.images)
    analysis = SHORT + (seconds * (TIMED + TRIED_IN_PART * placements) if SHORT else 0.0)
    return not _has_invariant_layers(inputs) and seconds * placements * images < analysis


def _has_invariant_layers(inputs: AuditInputs) -> bool:
    return any(isinstance(module, INVARIANT_LAYERS) for module in inputs.model.modules())


def _invariant(inputs: AuditInputs) -> tuple[EngineChoice | None, str]:
    """Return the choice of `InvariantModelEngine`, or None and a remark for the reason."""
    try:
        engine = InvariantModelEngine(inputs)
        check, _ = check_engine(engine, inputs.check(TRIED))
    except NotInvariant as refusal:
        return None, f"; {refusal}" if _has_invariant_layers(inputs) else ""
    except Exception as error:  # user code may raise anything while it is traced
        return None, f"; the proof of invariance raised {type(error).__name__}: {reason_of(error)}"
    if not passed(check):
        return None, (f"; the model is proven to be invariant, but the outputs of a random sample of "
                      f"{check['placements']} differ by {check['max_abs_logit_difference']:.3g}, more than rounding "
                      f"explains ({check['tolerance']:.3g}): a selection within the model may be close to a tie")
    reason = (f"each image was computed once, because none of the {engine.placements} placements can change the "
              f"model's prediction: {engine.proof.sentence}")
    return EngineChoice(engine, inputs, reason, "invariant"), ""


def _dense(inputs: AuditInputs, requested: str, doubts: list[str], plain: float | None = None) -> EngineChoice:
    if inputs.sampled:
        raise ShiftscopeError("a sample of placements was requested, and the dense engine computes all of them")
    if doubts:
        raise ShiftscopeError(doubts[0])
    engine = build_engine(inputs.model, inputs.placement, inputs.images.shape)
    cut = getattr(engine, "cut", None)
    check, seconds = check_engine(engine, inputs.check(TRIED) if cut is None else inputs.check_of_first(TRIED_IN_PART))
    if not passed(check):
        raise ShiftscopeError(difference_message(check))
    if requested == "dense":
        reason = "the dense engine was requested" if cut is None else f"the dense engine was requested: {cut.sentence}"
        return EngineChoice(engine, inputs, reason, "dense")
    count = len(inputs.offsets)
    is_far = plain is not None and plain * count > FAR * seconds
    if not is_far and _brute_force_seconds(inputs) < (CLEARLY if cut is None else 1) * seconds:
        raise ShiftscopeError(f"one pass for all {count} placements of an image is slower for this model")
    reason = f"one pass computes all {count} placements of an image" if cut is None else cut.sentence
    return EngineChoice(engine, inputs, reason, "dense")


def brute_force(inputs: AuditInputs, reason: str, doubts: Sequence[str] = ()) -> EngineChoice:
    """Choose the plain model, with short cuts if they agree with it, and a sample if there are many placements.

    Args:
        doubts: ways in which the model contradicts itself. Batch sizes are then not tried: the number of calls, which
            depends on the time they take, would change the outputs of a model that draws random numbers.
    """
    if len(inputs.offsets) > MOST_PLACEMENTS:
        inputs = inputs.at_sample(SAMPLED)
    engine, check = inputs.brute_force_engine() if doubts else inputs.tuned_engine, inputs.check(1)
    image = inputs.images.gather(check.sample.images).to(engine.device)
    check.outputs = {0: engine.of_pairs(image, _pairs(check.sample.columns[0].to(engine.device)))}
    if not passed(check.result()):
        engine = inputs.brute_force_engine(short_cuts=False)
        if not doubts:
            engine.tune(inputs.images)
    return EngineChoice(engine, inputs, reason, "brute")


def _brute_force_seconds(inputs: AuditInputs) -> float:
    """Return the seconds that brute force takes per image, from the trial of its batch size."""
    return (inputs.tuned_engine.seconds or 0.0) * len(inputs.offsets)


def _pairs(placements: torch.Tensor) -> torch.Tensor:
    """Return pairs of the first image with each of `placements`."""
    return torch.stack((torch.zeros_like(placements), placements), 1)
